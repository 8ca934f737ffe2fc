"""POST /api/get_requests: filters, order, pages."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import anyio
import pytest

from tests.contract.calls import Api, fields_of, fresh

pytestmark = pytest.mark.anyio


def iso(second: int, **offset: int) -> str:
    return datetime.fromtimestamp(second + offset.get("seconds", 0), UTC).isoformat()


async def test_no_match_is_success_with_an_empty_list(api: Api) -> None:
    assert await api.get() == {
        "success": True,
        "sessions": [],
        "has_more": False,
        "msg": "Found 0 request(s) in 0 session(s)",
    }


async def test_sessions_and_their_requests_come_newest_first(api: Api) -> None:
    early, late = fresh("session"), fresh("session")
    first = (await api.publish(session_id=early))["request_id"]
    await api.next_second()
    second = (await api.publish(session_id=late))["request_id"]
    await api.next_second()
    third = (await api.publish(session_id=early))["request_id"]
    assert await api.ids() == [[third, first], [second]]
    # Ordered by the newest request that matches: without the third, the other session is the newer one.
    end = (await api.request(second))["request"]["created_at"]
    assert await api.ids(end_time=end) == [[second], [first]]


async def test_sessions_of_the_same_second_come_in_descending_order_of_their_ids(api: Api) -> None:
    sessions = [f"{name}-{api.session}" for name in ("b", "a", "ä", "Z", "c")]
    page = await api.get()
    for _ in range(10):  # until all five arrive within one second
        await api.next_second()
        async with anyio.create_task_group() as group:
            for session in sessions:
                group.start_soon(partial(api.publish, session_id=session, request_id=f"request-{session}"))
        page = await api.get()
        if len({one["request"]["created_at"] for each in page["sessions"] for one in each["requests"]}) == 1:
            break
        await api.delete("delete_requests_by_ids", request_ids=[f"request-{session}" for session in sessions])
    assert [group["session_id"] for group in page["sessions"]] == sorted(sessions, reverse=True)


async def test_each_filter_selects_requests_and_all_must_match(api: Api) -> None:
    other_user, other_session = fresh("user"), fresh("session")
    mine = (await api.publish(source="chat"))["request_id"]
    shared = (await api.publish(source="ide", user_id=other_user))["request_id"]
    elsewhere = (await api.publish(source="chat", session_id=other_session))["request_id"]
    assert sorted(map(sorted, await api.ids())) == sorted([[mine], [elsewhere]])
    assert await api.ids(user_id=other_user) == [[shared]]
    assert [set(group) for group in await api.ids(user_id=None, session_id=api.session)] == [{mine, shared}]
    assert await api.ids(request_id=shared, user_id=None) == [[shared]]
    assert await api.ids(request_id=shared) == []
    assert await api.ids(user_id=None, session_id=api.session, source="ide") == [[shared]]
    assert await api.ids(session_id=other_session, source="chat") == [[elsewhere]]
    assert await api.ids(session_id=other_session, source="ide") == []


async def test_an_empty_source_selects_requests_without_one(api: Api) -> None:
    await api.publish(source="chat")
    bare = (await api.publish(source=""))["request_id"]
    assert await api.ids(source="") == [[bare]]


async def test_an_empty_id_is_no_filter(api: Api) -> None:
    mine = (await api.publish())["request_id"]
    assert await api.ids(request_id="", session_id="") == [[mine]]
    assert await api.ids(user_id="", session_id=api.session) == [[mine]]


async def test_ids_in_filters_are_taken_as_they_are(api: Api) -> None:
    mine = (await api.publish())["request_id"]
    for spaced in (
        {"request_id": f" {mine}"},
        {"session_id": f"{api.session} "},
        {"user_id": f" {api.user}"},
    ):
        assert await api.ids(**spaced) == []
    assert await api.ids(session_id=api.session.upper()) == []


async def test_without_a_filter_everybodys_traffic_comes_back(api: Api) -> None:
    other = fresh("user")
    await api.publish()
    await api.publish(user_id=other, session_id=fresh("session"))
    page = (await api.try_get(top_k=100)).json()
    users = {one["request"]["user_id"] for group in page["sessions"] for one in group["requests"]}
    assert {api.user, other} <= users


async def test_both_bounds_are_inclusive_at_a_second(api: Api) -> None:
    mine = (await api.publish())["request_id"]
    second = (await api.request(mine))["request"]["created_at"]
    for inside in (
        {"start_time": iso(second)},
        {"end_time": iso(second)},
        {"start_time": iso(second), "end_time": iso(second + 1)},
        {"start_time": iso(second - 1), "end_time": iso(second)},
        {"start_time": second, "end_time": second + 1},
        # Fractions are cut off, so a bound within the second covers it.
        {"start_time": f"{iso(second)[:19]}.900Z"},
        {"start_time": f"{iso(second)[:19]}.200Z", "end_time": f"{iso(second)[:19]}.300Z"},
    ):
        assert await api.ids(**inside) == [[mine]], inside
    for outside in (
        {"start_time": iso(second + 1)},
        {"end_time": iso(second - 1)},
        {"end_time": f"{iso(second - 1)[:19]}.999Z"},
    ):
        assert await api.ids(**outside) == [], outside


async def test_pages_count_sessions_and_a_session_comes_whole(api: Api) -> None:
    sessions = [fresh("session") for _ in range(3)]
    for session in sessions:
        await api.publish(session_id=session)
        await api.publish(session_id=session)
    seen: list[str] = []
    for offset in range(3):
        page = await api.get(top_k=1, offset=offset)
        ((group),) = page["sessions"]
        assert len(group["requests"]) == 2
        seen.append(group["session_id"])
    assert sorted(seen) == sorted(sessions)
    assert seen == [group["session_id"] for group in (await api.get())["sessions"]]
    assert (await api.get(offset=3))["sessions"] == []
    assert (await api.get(offset=10_000))["sessions"] == []


async def test_a_full_page_claims_more_even_when_it_was_the_last(api: Api) -> None:
    await api.publish()
    await api.publish(session_id=fresh("session"))
    assert (await api.get(top_k=1))["has_more"] is True
    assert (await api.get(top_k=2))["has_more"] is True
    assert (await api.get(top_k=3))["has_more"] is False
    assert (await api.get(top_k=2, offset=1))["has_more"] is False


async def test_the_request_keeps_its_arrival_time_whatever_its_interactions_say(api: Api) -> None:
    reply = await api.publish(interaction_data_list=[{"content": "x", "created_at": 5}])
    arrived = (await api.request(reply["request_id"]))["request"]["created_at"]
    assert arrived > 1_700_000_000
    assert await api.ids(start_time=arrived) == [[reply["request_id"]]]


@pytest.mark.live
@pytest.mark.parametrize(
    "query",
    [
        {"top_k": 0},
        {"offset": -1},
        {"start_time": "yesterday"},
        {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:00Z"},
    ],
)
async def test_the_server_refuses_queries_that_the_client_never_sends(
    real_api: Api, query: dict[str, Any]
) -> None:
    assert fields_of(await real_api.try_get(**query))


@pytest.mark.live
async def test_a_page_number_beyond_64_bits_fails_on_the_server(real_api: Api) -> None:
    reply = await real_api.try_get(user_id=real_api.user, top_k=2**63)
    assert (reply.status_code, reply.json()["success"]) == (200, False)
