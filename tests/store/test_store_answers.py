"""What the store does that the contract leaves open, or where the real server fails."""

import threading
from email.utils import parsedate_to_datetime
from pathlib import Path

import anyio
import httpx
import pytest

from reflexio_mcp.embedded_store import routes
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.embedded_store.database import MAX_READERS, TakesLonger
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import RequestQuery

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


def publish_body(turn: str) -> bytes:
    return f'{{"user_id":"u","session_id":"s","interaction_data_list":[{turn}]}}'.encode()


async def test_the_clock_gives_arrival_times_and_the_date_of_replies(tmp_path: Path) -> None:
    now = 1_234_567_890.9
    store = EmbeddedStore(str(tmp_path / "store.db"), clock=lambda: now)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=store), base_url="http://store", headers={"user-agent": "t"}
    ) as client:
        reply = await client.post(
            "/api/publish_interaction", content=publish_body('{"content":"x"}'), headers=JSON
        )
        assert parsedate_to_datetime(reply.headers["date"]).timestamp() == 1_234_567_890
        page = (await client.post("/api/get_requests", json={})).json()
    ((one,),) = (group["requests"] for group in page["sessions"])
    assert one["request"]["created_at"] == one["interactions"][0]["created_at"] == 1_234_567_890
    await store.aclose()


async def test_times_with_and_without_a_zone_can_be_mixed(store_client: httpx.AsyncClient) -> None:
    query = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01"}
    assert (await store_client.post("/api/get_requests", json=query)).json()["success"]
    query["end_time"] = "2026-01-01T00:00:00"
    assert (await store_client.post("/api/get_requests", json=query)).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        publish_body('{"content":"x","created_at":NaN}'),
        publish_body('{"tools_used":[{"tool_name":"t","tool_data":{"a":NaN}}]}'),
        publish_body('{"tools_used":[{"tool_name":"t","tool_data":{"a":-Infinity}}]}'),
        publish_body('{"tools_used":[{"tool_name":"t","tool_data":{"a":1e999}}]}'),
        publish_body('{"tools_used":[{"tool_name":"t","tool_data":{"a":"\\ud800"}}]}'),
        publish_body('{"tools_used":[{"tool_name":"t","tool_data":{"\\udfff":1}}]}'),
        publish_body('{"content":"\\ud800"}'),
        publish_body('{"content":"x","created_at":' + "9" * 5000 + "}"),
        b"[" * 100_000,
    ],
    ids=[
        "nan time",
        "nan",
        "infinity",
        "overflow",
        "surrogate",
        "surrogate key",
        "text",
        "digits",
        "depth",
    ],
)
async def test_what_could_not_be_read_back_is_422(store_client: httpx.AsyncClient, body: bytes) -> None:
    reply = await store_client.post("/api/publish_interaction", content=body, headers=JSON)
    assert reply.status_code == 422
    assert reply.json()["detail"]


@pytest.mark.parametrize("depth", [10, 200, 900, 990, 2000, 50_000])
async def test_deep_data_is_stored_and_read_back_or_refused(
    store_client: httpx.AsyncClient, depth: int
) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    body = publish_body(f'{{"tools_used":[{{"tool_name":"t","tool_data":{deep}}}]}}')
    reply = await store_client.post("/api/publish_interaction", content=body, headers=JSON)
    assert reply.status_code == (200 if depth <= 200 else reply.status_code)
    assert reply.status_code in (200, 422)
    page = await store_client.post("/api/get_requests", json={})
    assert (page.status_code, page.text.count('"a":')) == (200, depth if reply.status_code == 200 else 0)


async def test_a_fault_in_the_store_is_a_500_without_a_trace(
    store_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(call: routes.Call) -> routes.Json:
        raise RuntimeError("a secret in a message")

    monkeypatch.setitem(routes.READING, ("POST", "/api/get_requests"), broken)
    reply = await store_client.post("/api/get_requests", json={})
    assert (reply.status_code, reply.text) == (500, "Internal Server Error")


async def test_publishes_at_once_are_all_stored_once(
    store_app: EmbeddedStore, store_client: httpx.AsyncClient
) -> None:
    async def publish(number: int) -> None:
        body = {
            "user_id": "u",
            "session_id": "s",
            "request_id": f"r{number % 20}",
            "interaction_data_list": [{"content": "x"}],
        }
        results.append((await store_client.post("/api/publish_interaction", json=body)).json()["success"])

    results: list[bool] = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(publish, number)
    assert sorted(results) == [False] * 20 + [True] * 20
    page = (await store_client.post("/api/get_requests", json={})).json()
    assert len(page["sessions"][0]["requests"]) == 20


async def test_a_caller_who_goes_away_is_not_kept_by_reads(store_app: EmbeddedStore) -> None:
    async with ReflexioClient("http://store", transport=lambda: store_app) as client:
        with anyio.fail_after(60), anyio.move_on_after(0.05) as patience:
            while True:
                await client.get_requests(RequestQuery())
        assert patience.cancelled_caught
        with anyio.CancelScope() as gone:
            gone.cancel()
            await client.get_requests(RequestQuery())
        assert gone.cancelled_caught


async def test_a_read_that_waits_for_its_turn_can_be_given_up(
    store_app: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, begun = threading.Event(), threading.Semaphore(0)
    answers = routes.READING["POST", "/api/get_requests"]

    def slow(call: routes.Call) -> routes.Json | list[bytes]:
        if call.at_once:
            raise TakesLonger
        begun.release()
        assert going.wait(60)
        return answers(call)

    monkeypatch.setitem(routes.READING, ("POST", "/api/get_requests"), slow)
    try:
        async with (
            ReflexioClient("http://store", transport=lambda: store_app) as client,
            anyio.create_task_group() as group,
        ):
            for _ in range(MAX_READERS):
                group.start_soon(client.get_requests, RequestQuery())
            for _ in range(MAX_READERS):
                assert await anyio.to_thread.run_sync(begun.acquire, True, 60)
            with anyio.fail_after(60), anyio.move_on_after(0.05) as patience:
                await client.get_requests(RequestQuery())
            assert patience.cancelled_caught
            going.set()
    finally:
        going.set()


async def test_a_cancelled_caller_leaves_a_whole_publish_or_none(store_client: httpx.AsyncClient) -> None:
    for number in range(21):
        with anyio.move_on_after(0.0005 * number if number < 20 else 20):
            body = {
                "user_id": "u",
                "session_id": "s",
                "request_id": f"r{number}",
                "interaction_data_list": [{"content": "x"}] * 3,
            }
            await store_client.post("/api/publish_interaction", json=body)
    page = (await store_client.post("/api/get_requests", json={})).json()
    assert page["success"]
    turns = [len(one["interactions"]) for group in page["sessions"] for one in group["requests"]]
    assert turns
    assert turns == [3] * len(turns)
