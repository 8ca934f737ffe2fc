"""What every call has in common: headers, refusals and their form."""

import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx
import pytest

from reflexio_mcp.rest import api_limits
from tests.contract.calls import REFUSED_AGENT_WORDS, Api, fields_of, fresh

pytestmark = pytest.mark.anyio


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


@pytest.mark.live
@pytest.mark.parametrize("agent", [f"My{word.upper()}/1" for word in REFUSED_AGENT_WORDS] + [""])
async def test_an_agent_with_a_refused_word_or_none_gets_403(real_api: Api, agent: str) -> None:
    reply = await real_api.client.get("/api/whoami", headers={"user-agent": agent})
    assert reply.status_code == 403
    assert "user agent" in reply.json()["detail"]


async def test_the_backend_says_who_and_how_it_is(api: Api) -> None:
    about = (await api.client.get("/api/whoami")).json()
    assert (about["success"], about["storage_configured"], about["storage_type"]) == (True, True, "sqlite")
    assert about["org_id"]
    assert (await api.client.get("/health")).json() == {"status": "healthy"}
    assert (await api.client.get("/meta/version")).json().keys() >= {"server_version", "api_version"}
