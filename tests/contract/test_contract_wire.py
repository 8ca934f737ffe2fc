"""What every call has in common: headers, refusals and their form."""

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx
import pytest

from reflexio_mcp.rest import api_limits
from tests.contract.calls import REFUSED_AGENT_WORDS, Api, fields_of, fresh

pytestmark = pytest.mark.anyio

POST_ROUTES = ("publish_interaction", "get_requests", "get_profiles", "get_user_playbooks")
DELETE_ROUTES = (
    "delete_request",
    "delete_session",
    "delete_requests_by_ids",
    "delete_interaction",
    "delete_profiles_by_ids",
    "delete_user_playbooks_by_ids",
)


async def test_every_reply_has_a_correlation_id_of_its_own_and_a_date(api: Api) -> None:
    replies = [
        await api.client.get("/api/whoami"),
        await api.try_get(top_k=0),
        await api.client.get("/nothing"),
    ]
    identifiers = {reply.headers["x-correlation-id"] for reply in replies}
    assert len(identifiers) == len(replies)
    assert all(re.fullmatch(r"[0-9a-f]{8}", one) for one in identifiers)
    assert all(parsedate_to_datetime(reply.headers["date"]).year > 2020 for reply in replies)
    assert all(reply.headers["content-type"] == "application/json" for reply in replies)


@pytest.mark.live
async def test_an_unknown_route_is_404_and_a_wrong_method_405(real_api: Api) -> None:
    unknown = await real_api.client.get("/api/no_such_route")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Not Found"})
    wrong = await real_api.client.get("/api/publish_interaction")
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert wrong.headers["allow"] == "POST"


@pytest.mark.parametrize("word", REFUSED_AGENT_WORDS)
@pytest.mark.live
async def test_an_agent_with_a_refused_word_gets_403(real_api: Api, word: str) -> None:
    reply = await real_api.client.get("/api/whoami", headers={"user-agent": f"My{word.upper()}/1"})
    assert (reply.status_code, reply.json()) == (403, {"detail": "Forbidden: Suspicious user agent"})


@pytest.mark.live
async def test_an_empty_agent_gets_403_but_may_ask_for_health(real_api: Api) -> None:
    nameless = {"user-agent": ""}
    reply = await real_api.client.get("/meta/version", headers=nameless)
    assert (reply.status_code, reply.json()) == (403, {"detail": "Forbidden: Missing user agent"})
    assert (await real_api.client.get("/health", headers=nameless)).status_code == 200


@pytest.mark.parametrize("route", POST_ROUTES)
@pytest.mark.live
async def test_a_body_that_is_missing_or_no_object_is_422(real_api: Api, route: str) -> None:
    nothing = await real_api.client.post(f"/api/{route}")
    assert fields_of(nothing) == [["body"]]
    for body in ([], "text", None, 1):
        reply = await real_api.client.post(f"/api/{route}", json=body)
        assert fields_of(reply) == [["body"]]


@pytest.mark.live
async def test_a_body_that_is_not_json_is_422_and_names_the_place(real_api: Api) -> None:
    json_type = {"content-type": "application/json"}
    for content, place in ((b"{bad", 1), (b"[[[[", 4), (b'{"a":1}x', 7)):
        reply = await real_api.client.post("/api/get_requests", content=content, headers=json_type)
        assert reply.json()["detail"][0]["type"] == "json_invalid"
        assert fields_of(reply) == [["body", place]]


@pytest.mark.live
async def test_a_body_that_is_not_text_is_400(real_api: Api) -> None:
    reply = await real_api.client.post(
        "/api/get_requests", content=b"\xff\xfe{", headers={"content-type": "application/json"}
    )
    assert reply.status_code == 400


@pytest.mark.live
async def test_a_body_that_does_not_say_it_is_json_is_422(real_api: Api) -> None:
    reply = await real_api.client.post("/api/get_requests", content=b"{}")
    assert fields_of(reply) == [["body"]]


@pytest.mark.live
async def test_a_422_names_each_faulty_field_and_repeats_what_was_sent(real_api: Api) -> None:
    reply = await real_api.try_get(top_k=0, offset=-1, start_time="soon")
    assert sorted(fields_of(reply)) == [["body", "offset"], ["body", "start_time"], ["body", "top_k"]]
    assert {error["loc"][1]: error["input"] for error in reply.json()["detail"]} == {
        "top_k": 0,
        "offset": -1,
        "start_time": "soon",
    }
    assert all(error["msg"] and error["type"] for error in reply.json()["detail"])


@pytest.mark.parametrize("route", DELETE_ROUTES)
@pytest.mark.live
async def test_a_delete_without_its_fields_is_422(real_api: Api, route: str) -> None:
    assert fields_of(await real_api.try_delete(route))[0][0] == "body"


@pytest.mark.live
async def test_a_body_over_10_mib_is_not_taken(real_api: Api) -> None:
    at_most = "x" * 999_000
    body = {
        "user_id": real_api.user,
        "session_id": real_api.session,
        "interaction_data_list": [{"content": at_most} for _ in range(11)],
    }
    try:
        reply = await real_api.client.post("/api/publish_interaction", json=body)
    except httpx.TransportError:
        pass  # the server closes the connection while the body is still on its way
    else:
        assert reply.status_code == 413
    assert await real_api.ids() == []


async def test_whoami_names_the_storage(api: Api) -> None:
    reply = (await api.client.get("/api/whoami")).json()
    assert reply["success"] is True
    assert reply["storage_configured"] is True
    assert reply["storage_type"] == "sqlite"
    assert reply["org_id"]
    assert reply["storage_label"]
    assert "/" not in reply["storage_label"]


async def test_health_says_healthy(api: Api) -> None:
    assert (await api.client.get("/health")).json() == {"status": "healthy"}


async def test_the_version_names_server_api_and_oldest_client(api: Api) -> None:
    reply = (await api.client.get("/meta/version")).json()
    assert set(reply) == {"server_version", "api_version", "min_client_version"}
    assert reply["api_version"] == "v1"


@pytest.mark.live
async def test_the_server_refuses_a_publish_after_60_valid_ones_without_saying_when_to_retry(
    reflexio_url: str, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> None:
    session = fresh("session")
    body = {
        "user_id": fresh("user"),
        "session_id": session,
        "evaluation_only": True,
        "interaction_data_list": [{"content": "x"}],
    }
    async with httpx.AsyncClient(
        transport=live_transport(),
        base_url=reflexio_url,
        headers={"user-agent": "reflexio-mcp-tests/0"},
        timeout=30,
    ) as client:
        for _ in range(api_limits.PUBLISHES_PER_MINUTE):
            assert (await client.post("/api/publish_interaction", json=body)).status_code == 200
        invalid = await client.post("/api/publish_interaction", json={})
        assert invalid.status_code == 422
        refused = await client.post("/api/publish_interaction", json=body)
        assert refused.status_code == 429
        assert "Rate limit exceeded" in refused.json()["error"]
        assert "retry-after" not in refused.headers
        assert (
            await client.request("DELETE", "/api/delete_session", json={"session_id": session})
        ).is_success
