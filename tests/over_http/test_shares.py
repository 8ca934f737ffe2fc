"""One caller cannot stop the others: calls take turns, and each caller has a share of calls, sessions and streams."""

import gc
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from errno import ECONNRESET
from functools import partial
from socket import SO_ERROR, SO_RCVBUF, SOL_SOCKET, create_server, socket
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
import uvicorn
from mcp.types import ElicitResult, JSONRPCRequest
from starlette.requests import Request

from reflexio_mcp.http import bodies
from reflexio_mcp.http import serving as serving_module
from reflexio_mcp.http.answers import PIECE_BYTES, counting
from reflexio_mcp.http.app import SESSIONS_EACH
from reflexio_mcp.http.refusal import Refusal
from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic import turns
from reflexio_mcp.traffic.tasks import for_each
from reflexio_mcp.traffic.turns import REFUSAL_SECONDS
from tests.support.serving import (
    AUTHORIZED,
    BOTH,
    Served,
    bearer,
    connected,
    events,
    interactions,
    legacy_initialize,
    message_of,
    modern_call,
    post,
    serving,
    until,
)
from tests.support.tenants import TenantBackend, tenant_backend

pytestmark = pytest.mark.anyio

READ = "/api/whoami"
LISTED = "/api/get_requests"
PUBLISH = "/api/publish_interaction"
DELETE = "/api/delete_requests_by_ids"
HERE, THERE = "192.0.2.1", "192.0.2.2"
TWO = ("ann:token-of-ann", "bob:token-of-bob")
ANN, BOB = "token-of-ann", "token-of-bob"


@pytest.fixture
async def backend() -> AsyncIterator[TenantBackend]:
    async with tenant_backend() as backend:
        yield backend


def settings(backend: TenantBackend, **more: Any) -> Settings:
    options: dict[str, Any] = {"url": backend.url, "api_key": "key", "confirm": "off", "auth_token": TWO}
    return Settings(**options | more)


def waiting(served: Served) -> list[int]:
    """How many calls of each caller wait or run."""
    assert served.app
    return [one.calls for one in served.app._turns._accounts.values() if one.calls]


async def post_for(served: Served, tool: str, arguments: dict[str, Any]) -> None:
    await post(served, tool, arguments, token=ANN)


def is_busy(reply: httpx.Response) -> bool:
    result = message_of(reply)["result"]
    return bool(result.get("isError")) and "Busy" in result["content"][0]["text"]


async def test_a_caller_with_too_many_calls_is_told_so_and_another_is_not_counted(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    backend.held = READ
    one = settings(backend, max_in_flight=2)
    async with serving(one, tokens=TWO) as served, anyio.create_task_group() as tasks:

        async def call() -> None:
            await post(served, "get_status", token=ANN)

        tasks.start_soon(call)
        tasks.start_soon(call)
        await until(lambda: waiting(served) == [2])
        began = anyio.current_time()

        async def refused() -> None:
            assert is_busy(await post(served, "list_sessions", token=ANN))

        async with anyio.create_task_group() as too_many:
            for _ in range(3):
                too_many.start_soon(refused)
        assert anyio.current_time() - began >= 3 * REFUSAL_SECONDS  # one after another
        assert not is_busy(await post(served, "list_sessions", token=BOB))
        backend.held = ""
        backend.release.set()
    assert [line["outcome"] for line in events(caplog, "call")] == ["busy"] * 3 + ["ok"] * 3


async def post_from(address: str, served: Served, tool: str) -> httpx.Response:
    """A call with the token of Ann, which a proxy passes on for an address."""
    return await post(served, tool, {}, token=ANN, **{"x-forwarded-for": address})


async def test_the_first_call_of_an_address_is_not_refused_for_those_of_another_with_the_same_token(
    backend: TenantBackend,
) -> None:
    backend.held, answered = READ, list[str]()
    one = settings(backend, max_in_flight=2)
    async with serving(one, tokens=TWO) as served, anyio.create_task_group() as tasks:

        async def call(address: str) -> None:
            assert not is_busy(await post_from(address, served, "get_status"))
            answered.append(address)

        for number, address in enumerate((HERE, HERE, THERE), 1):
            tasks.start_soon(call, address)
            await until(lambda: waiting(served) == [number])  # noqa: B023
        for address in (HERE, THERE):
            assert is_busy(await post_from(address, served, "get_status"))
        backend.held = ""
        backend.release.set()
    assert answered == [HERE, HERE, THERE]


@pytest.mark.ci
async def test_a_flood_of_calls_locks_out_nobody_who_has_the_same_token(backend: TenantBackend) -> None:
    flooded = list[httpx.Response]()
    async with serving(settings(backend), tokens=TWO) as served, anyio.create_task_group() as tasks:

        async def flood() -> None:
            while True:
                flooded.append(await post_from(HERE, served, "list_sessions"))

        for _ in range(100):
            tasks.start_soon(flood)
        await until(lambda: len(flooded) > 100)
        for _ in range(10):
            with anyio.fail_after(30):
                reply = await post_from(THERE, served, "list_sessions")
            assert not is_busy(reply)
        tasks.cancel_scope.cancel()
    assert any(map(is_busy, flooded))


async def test_calls_of_one_caller_take_turns_and_another_does_not_wait_for_them(
    backend: TenantBackend,
) -> None:
    done: list[str] = []
    async with serving(settings(backend), tokens=TWO) as served, anyio.create_task_group() as tasks:

        async def audit(number: int) -> None:
            await post(served, "audit_traffic", token=ANN)
            done.append(f"ann {number}")

        backend.held = LISTED
        for number in range(3):
            tasks.start_soon(audit, number)
            await until(lambda: waiting(served) == [number + 1])  # noqa: B023
        await until(lambda: backend.holding == 1)
        backend.held = ""
        await post(served, "list_requests", token=BOB)
        done.append("bob")
        backend.release.set()
    assert done == ["bob", "ann 0", "ann 1", "ann 2"]


async def test_an_export_lets_waiting_calls_of_its_caller_go_first(backend: TenantBackend) -> None:
    done: list[str] = []
    async with serving(settings(backend), tokens=TWO) as served:
        for number in range(3):
            stored = {"session_id": f"s{number}", "interactions": interactions("x")}
            await post(served, "publish_interaction", stored, token=ANN)
        plan = message_of(await post(served, "export_data", token=ANN))["result"]["structuredContent"]

        async def call(tool: str, **arguments: Any) -> None:
            await post(served, tool, arguments, token=ANN)
            done.append(tool)

        backend.held = LISTED
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(call, "export_data", redact=False, confirm=plan["confirm"]))
            await until(lambda: backend.holding == 1)
            tasks.start_soon(call, "get_status")
            await until(lambda: waiting(served) == [2])
            backend.held = ""
            backend.release.set()
    assert done == ["get_status", "export_data"]


async def test_a_call_makes_fewer_calls_of_the_service_at_once_beside_another_caller() -> None:
    each, at_once = turns.Turns(most=9), list[int]()

    async def most_at_once() -> int:
        running = list[int]()
        at_once.clear()

        async def work(number: int) -> None:
            running.append(number)
            at_once.append(len(running))
            await anyio.wait_all_tasks_blocked()
            running.remove(number)

        await for_each(range(20), work, at_once=8)
        return max(at_once)

    async with each.take("ann"):
        assert await most_at_once() == 8
        async with each.take("bob"):
            pass
        assert await most_at_once() == turns.FEW_AT_ONCE


async def test_what_is_told_beside_a_request_is_read_at_once(backend: TenantBackend) -> None:
    stored = {"session_id": "s", "interactions": interactions("x"), "request_id": "r"}
    async with serving(settings(backend), tokens=TWO) as served, anyio.create_task_group() as tasks:
        await post(served, "publish_interaction", stored, token=ANN)
        before = backend.calls["key"]
        backend.held = "/api/get_session_outcomes"
        tasks.start_soon(post_for, served, "get_request", {"request_id": "r"})
        # The request, its state of learning, profiles and playbooks, while the outcome is not there yet.
        await until(lambda: backend.calls["key"] == before + 5)
        backend.release.set()


async def test_a_call_has_no_turn_while_a_person_answers_its_form(backend: TenantBackend) -> None:
    answers = anyio.Event()

    async def think(_context: object, _params: object) -> ElicitResult:
        asked.set()
        await answers.wait()
        return ElicitResult(action="accept", content={"delete": True})

    asked = anyio.Event()
    stored = {"session_id": "s", "interactions": interactions("x"), "request_id": "r"}
    one = settings(backend, confirm="auto")
    async with serving(one, tokens=TWO) as served, anyio.create_task_group() as tasks:
        await post(served, "publish_interaction", stored, token=ANN)

        async def delete() -> None:
            client = connected(served.url, bearer(ANN), mode="legacy", elicitation_callback=think)
            async with client as person:
                await person.call_tool("delete_request", {"request_id": "r"})

        tasks.start_soon(delete)
        await asked.wait()
        with anyio.fail_after(10):
            listed = await post(served, "list_requests", token=ANN)
        assert "r" in listed.text
        answers.set()


async def test_a_call_whose_form_waits_ends_when_its_client_closes_the_connection(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    stored = {"session_id": "s", "interactions": interactions("x"), "request_id": "r"}
    headers, body = legacy_initialize()
    body["params"]["capabilities"] = {"elicitation": {}}
    headers |= bearer(ANN)
    call = {"name": "delete_request", "arguments": {"request_id": "r"}}
    one = settings(backend, confirm="auto")
    async with serving(one, tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:
        await post(served, "publish_interaction", stored, token=ANN)
        opened = await http.post(f"{served.url}/mcp", headers=headers, json=body)
        headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        started = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await http.post(f"{served.url}/mcp", headers=headers, json=started)
        message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
        async with http.stream("POST", f"{served.url}/mcp", headers=headers, json=message) as reply:
            async for line in reply.aiter_lines():
                if "elicitation/create" in line:
                    break
            assert waiting(served) == [1]
        await until(lambda: not waiting(served), seconds=10)
        assert "r" in (await post(served, "list_requests", token=ANN)).text
    assert [line["outcome"] for line in events(caplog, "call") if line["tool"] == "delete_request"] == ["ok"]


async def test_a_publish_has_no_turn_while_it_waits_for_learning(backend: TenantBackend) -> None:
    stored = {"session_id": "s", "interactions": interactions("x"), "wait_for_response": True}
    async with serving(settings(backend), tokens=TWO) as served, anyio.create_task_group() as tasks:
        backend.held = PUBLISH
        tasks.start_soon(post_for, served, "publish_interaction", stored)
        await until(lambda: backend.holding == 1)
        with anyio.fail_after(10):
            await post(served, "list_requests", token=ANN)
        backend.release.set()


async def test_a_cancellation_overtakes_the_calls_that_wait(backend: TenantBackend) -> None:
    headers, body = legacy_initialize()
    headers |= bearer(ANN)
    async with serving(settings(backend), tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:

        async def send(**message: Any) -> httpx.Response:
            return await http.post(f"{served.url}/mcp", headers=headers, json={"jsonrpc": "2.0", **message})

        opened = await http.post(f"{served.url}/mcp", headers=headers, json=body)
        headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        await send(method="notifications/initialized")
        backend.held = READ
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                await send(id=2, method="tools/call", params={"name": "get_status", "arguments": {}})

            tasks.start_soon(call)
            await until(lambda: backend.holding == 1)
            await send(method="notifications/cancelled", params={"requestId": 2})
            await until(lambda: backend.ended == 1)
            tasks.cancel_scope.cancel()


async def test_calls_wait_while_their_caller_does_not_read_answers() -> None:
    """A client that asks on and on, and reads nothing, fills its connections and no more."""
    taking, taken, read = turns.Turns(64), list[str](), anyio.Event()

    async def unread(_message: object) -> None:
        await read.wait()

    async def call(account: str, notice: bool = False) -> None:
        async with taking.take(account, notice=notice):
            taken.append(f"a notice of {account}" if notice else account)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            answer = {"type": "http.response.body", "body": b"x" * (turns.UNREAD_BYTES + 1)}
            send: Any = counting(taking, "ann", unread)
            tasks.start_soon(send, answer)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(call, "ann")
            await anyio.wait_all_tasks_blocked()
            for account, notice in (("ann", True), ("bob", False)):
                tasks.start_soon(call, account, notice)
            await anyio.wait_all_tasks_blocked()
            assert taken == ["bob"]
            read.set()
    assert sorted(taken) == ["a notice of ann", "ann", "bob"]


async def test_an_answer_is_sent_in_pieces_and_complete() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    body = bytes(range(256)) * 1000
    await counting(turns.Turns(1), "ann", send)({"type": "http.response.body", "body": body})
    assert b"".join(one["body"] for one in sent) == body
    assert [one.get("more_body", False) for one in sent] == [True, True, True, False]
    assert max(len(one["body"]) for one in sent) == PIECE_BYTES


async def test_a_connection_whose_client_reads_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "UNREAD_SECONDS", 0.2)

    async def long_answer(_scope: object, _receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * PIECE_BYTES, "more_body": True})

    with create_server(("127.0.0.1", 0)) as listener:
        protocol: Any = serving_module._Protocol
        server = uvicorn.Server(uvicorn.Config(long_answer, http=protocol, lifespan="off", log_config=None))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            await until(lambda: server.started)
            with socket() as client:
                client.setsockopt(SOL_SOCKET, SO_RCVBUF, 2048)
                client.connect(listener.getsockname())
                client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
                await until(lambda: client.getsockopt(SOL_SOCKET, SO_ERROR) == ECONNRESET)
            server.should_exit = True


async def test_large_publishes_that_arrive_together_wait_for_each_other(backend: TenantBackend) -> None:
    given = {"session_id": "s", "interactions": interactions("x" * 9_000_000)}
    replies: list[int] = []
    async with serving(settings(backend), tokens=TWO) as served, anyio.create_task_group() as tasks:

        async def publish() -> None:
            reply = await post(served, "publish_interaction", given, token=ANN)
            replies.append(reply.status_code)

        for _ in range(5):
            tasks.start_soon(publish)
    assert replies == [200] * 5


async def test_a_large_body_that_is_being_read_is_not_refused_for_what_is_held(
    backend: TenantBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "SHARE_BYTES", 1_000_000)
    given = {"session_id": "s", "interactions": interactions("x" * 3_000_000)}
    async with serving(settings(backend), tokens=TWO) as served:
        assert (await post(served, "publish_interaction", given, token=ANN)).status_code == 200


async def test_a_large_body_does_not_wait_behind_one_whose_client_has_gone() -> None:
    read, complete = bodies.Bodies(), set[str]()

    async def arrive(name: str, size: int) -> None:
        messages = iter(
            [{"body": bytes(bodies.LIGHT_BYTES + 1), "more_body": True}, {"body": b"", "more_body": False}]
        )

        async def receive() -> Any:
            return next(messages)

        async with read.read(receive, "ann", opens_session=False, declared=size):
            complete.add(name)
            await anyio.sleep_forever()

    async def arrive_and_leave() -> None:
        with leaving:
            await arrive("gone", bodies.LARGE_BYTES // 4)

    leaving = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(arrive, "first", bodies.LARGE_BYTES * 9 // 20)
        tasks.start_soon(arrive, "second", bodies.LARGE_BYTES * 9 // 20)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(arrive_and_leave)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(arrive, "small", bodies.LARGE_BYTES // 20)
        await anyio.wait_all_tasks_blocked()
        assert complete == {"first", "second"}
        leaving.cancel()
        await until(lambda: "small" in complete)
        tasks.cancel_scope.cancel()


async def test_bodies_that_arrive_at_the_same_time_all_count_and_end_counting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bodies, "SHARE_BYTES", 2 * bodies.LIGHT_BYTES)
    read, answers = bodies.Bodies(), list[int]()
    sent = anyio.Event()

    async def receive() -> Any:
        await sent.wait()
        return {"body": bytes(bodies.LIGHT_BYTES), "more_body": False}

    async def arrive() -> None:
        try:
            async with read.read(receive, "ann", opens_session=False, declared=None):
                answers.append(200)
                await anyio.sleep_forever()
        except Refusal as refused:
            answers.append(refused.status_code)

    for _ in range(2):  # what the first ones counted is given back
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(arrive)
            await anyio.wait_all_tasks_blocked()
            sent.set()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        sent = anyio.Event()
    assert answers == [200, 200, 503, 200, 200, 503]


@pytest.mark.parametrize(
    "odd", [b"[" * 200_000, b'{"a":' + b"1," * 60_000], ids=["no JSON", "too many values"]
)
async def test_refused_bodies_of_one_caller_are_answered_slowly_and_nobody_else_waits(
    backend: TenantBackend, odd: bytes
) -> None:
    headers, _ = modern_call("list_sessions", {})
    refused: list[int] = []
    async with serving(settings(backend), tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:

        async def send() -> None:
            reply = await http.post(f"{served.url}/mcp", headers=headers | bearer(ANN), content=odd)
            refused.append(reply.status_code)

        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(send)
            assert not is_busy(await post(served, "list_sessions", token=BOB))
            assert len(refused) < 5
        assert anyio.current_time() - began >= 5 * REFUSAL_SECONDS
    assert set(refused) <= {400, 413}


REFUSED = {
    "the end of an unknown session": ("DELETE", "/mcp", bearer(ANN) | {"mcp-session-id": "unknown"}),
    "a method": ("HEAD", "/mcp", bearer(ANN)),
    "a stream of no session": ("GET", "/mcp", bearer(ANN)),
    "an unknown download": ("GET", "/downloads/unknown", bearer(ANN)),
    "a message of an unknown session": ("POST", f"/messages/?session_id={'0' * 32}", bearer(ANN)),
    "a wrong token": ("POST", "/mcp", bearer("wrong-wrong-wrong")),
    "no token": ("POST", "/mcp", {}),
    "an unknown path": ("GET", "/unknown", {}),
}


@pytest.mark.parametrize("refused", REFUSED)
async def test_refusals_of_every_kind_come_slowly_and_nobody_else_waits(
    backend: TenantBackend, refused: str
) -> None:
    method, path, headers = REFUSED[refused]
    statuses: list[int] = []
    async with serving(settings(backend), tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:

        async def send() -> None:
            reply = await http.request(method, f"{served.url}{path}", headers={"accept": BOTH} | headers)
            statuses.append(reply.status_code)

        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(send)
            assert not is_busy(await post(served, "list_sessions", token=BOB))
            assert len(statuses) < 5
        in_line = 5 if headers.get("authorization") == bearer(ANN)["authorization"] else 1
        assert anyio.current_time() - began >= in_line * REFUSAL_SECONDS
    assert set(statuses) <= {400, 401, 404, 405}


async def test_the_end_of_a_session_does_not_wait_for_calls(backend: TenantBackend) -> None:
    headers, body = legacy_initialize()
    headers |= bearer(ANN)
    async with serving(settings(backend), tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:
        opened = await http.post(f"{served.url}/mcp", headers=headers, json=body)
        headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        backend.held = READ
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post_for, served, "get_status", {})
            await until(lambda: backend.holding == 1)
            with anyio.fail_after(10):
                assert (await http.delete(f"{served.url}/mcp", headers=headers)).status_code == 200
            backend.release.set()


async def test_long_work_rests_only_while_another_caller_has_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(time, "sleep", rests.append)
    monkeypatch.setattr(anyio, "sleep", rest)
    now = 1.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    each = turns.Turns(most=9)
    turns.give_way()  # over stdio
    await turns.give_way_in_loop()
    async with each.take("ann"):
        await anyio.to_thread.run_sync(turns.give_way)
    async with each.take("ann"):
        await turns.give_way_in_loop()
    assert rests == []

    async def others_have_a_turn() -> None:
        async with each.take("bob"):
            had.set()
            await done.wait()

    had, done = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks, each.take("ann"):
        tasks.start_soon(others_have_a_turn)
        await had.wait()
        turns.give_way()
        assert rests == [], "the event loop never sleeps, as everybody would wait for it"
        await anyio.to_thread.run_sync(turns.give_way)
        now += turns.WORK_SECONDS / 2
        await anyio.to_thread.run_sync(turns.give_way)  # the work since the rest was short
        assert rests == [turns.REST_SECONDS]
        now += turns.WORK_SECONDS
        await anyio.to_thread.run_sync(turns.give_way)
        assert rests == [turns.REST_SECONDS] * 2
        async with each.take("carol"):
            await turns.give_way_in_loop()
            await turns.give_way_in_loop()
        assert rests == [turns.REST_SECONDS] * 3
        done.set()


async def test_a_caller_who_may_delete_no_more_does_not_stop_another(backend: TenantBackend) -> None:
    tokens = (*TWO, "ann:another-token-of-ann")
    more = {"auth_token": tokens, "delete_cap": 1, "store": ":memory:"}
    async with serving(settings(backend, **more), tokens=tokens) as served:
        refused: list[bool] = []
        for number, token in enumerate((ANN, ANN, "another-token-of-ann", BOB)):
            stored = {"session_id": "s", "interactions": interactions("x"), "request_id": f"r{number}"}
            await post(served, "publish_interaction", stored, token=token)
            done = await post(served, "delete_request", {"request_id": f"r{number}"}, token=token)
            refused.append("an hour are allowed" in done.text)
    assert refused == [False, True, True, False]


@pytest.mark.parametrize(
    "way", [{"mode": "auto"}, {"mode": "legacy"}, {"sse": True}], ids=["2026", "2025", "sse"]
)
async def test_a_body_counts_until_its_call_is_over(
    backend: TenantBackend, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "SHARE_BYTES", 150_000)
    given = {"session_id": "s", "interactions": interactions("x" * 100_000)}
    async with serving(settings(backend), tokens=TWO) as served, anyio.create_task_group() as tasks:

        async def publish() -> None:
            async with connected(served.url, bearer(ANN), **way) as client:
                await client.call_tool("publish_interaction", given)

        backend.held = PUBLISH
        tasks.start_soon(publish)
        await until(lambda: backend.holding == 1)
        backend.held = ""
        refused = await post(served, "publish_interaction", given, token=ANN)
        others = await post(served, "publish_interaction", given, token=BOB)
        assert (refused.status_code, others.status_code) == (503, 200)
        backend.release.set()
        assert served.app
        held = served.app._bodies._held
        await until(lambda: not held)


async def test_a_session_does_not_keep_what_its_last_call_was_sent(backend: TenantBackend) -> None:
    headers, body = legacy_initialize()
    headers |= bearer(ANN)
    async with serving(settings(backend), tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:
        opened = await http.post(f"{served.url}/mcp", headers=headers, json=body)
        headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        begun = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await http.post(f"{served.url}/mcp", headers=headers, json=begun)
        call = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {
                "name": "publish_interaction",
                "arguments": {"session_id": "s", "interactions": interactions("canary")},
            },
        }
        content = json.dumps(call)
        call.clear()
        reply = await http.post(f"{served.url}/mcp", headers=headers, content=content)
        assert message_of(reply)["result"]["isError"] is False
        gc.collect()
        objects = gc.get_objects()
        kept = [one for one in objects if isinstance(one, JSONRPCRequest)]
        assert "canary" not in str(kept)
        requests = [vars(one) for one in objects if isinstance(one, Request) and one.url.path == "/mcp"]
        bodies_kept = [vars(one) for one in objects if isinstance(one, bodies.Body)]
        assert requests
        assert "canary" not in str(requests) + str(bodies_kept)


async def test_no_caller_takes_every_session_and_stream(backend: TenantBackend) -> None:
    headers, body = legacy_initialize()
    async with (
        serving(settings(backend), tokens=TWO) as served,
        httpx.AsyncClient(timeout=60) as http,
        AsyncExitStack() as stack,
    ):

        async def open_session(token: str) -> int:
            reply = await http.post(f"{served.url}/mcp", headers=headers | bearer(token), json=body)
            return reply.status_code

        async def open_stream(token: str) -> int:
            client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
            reply = await stack.enter_async_context(
                client.stream("GET", f"{served.url}/sse", headers=bearer(token))
            )
            return reply.status_code

        for opened in (open_session, open_stream):
            assert [await opened(ANN) for _ in range(SESSIONS_EACH + 1)] == [200] * SESSIONS_EACH + [503]
            assert await opened(BOB) == 200
        export = f"{served.url}/downloads/none"
        assert (await http.get(export, headers=bearer(ANN))).status_code == 503
        assert (await http.get(export, headers=bearer(BOB))).status_code == 404
        assert (await post(served, "list_sessions", token=ANN)).status_code == 200


async def test_openings_that_arrive_together_are_counted_together(backend: TenantBackend) -> None:
    headers, body = legacy_initialize()
    content = json.dumps(body).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in (headers | bearer(ANN)).items())
    begin = f"POST /mcp HTTP/1.1\r\nhost: localhost\r\n{head}content-length: {len(content)}\r\n\r\n"
    async with serving(settings(backend), tokens=TWO) as served, AsyncExitStack() as stack:
        streams: list[anyio.abc.SocketStream] = []
        for _ in range(SESSIONS_EACH + 5):
            stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", served.port))
            await stream.send(begin.encode() + content[:-1])
            streams.append(stream)
        await post(served, "list_sessions", token=ANN)  # by now every head has been read
        for stream in streams:
            await stream.send(content[-1:])
        answers = [(await stream.receive())[9:12] for stream in streams]
    assert sorted(answers) == [b"200"] * SESSIONS_EACH + [b"503"] * 5


async def test_an_idle_session_is_closed() -> None:
    headers, body = legacy_initialize()
    async with serving(Settings(session_idle=0.1)) as served, httpx.AsyncClient(timeout=60) as http:
        opened = await http.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body)
        assert served.app
        manager = served.app._manager
        await until(lambda: not manager._server_instances)
        again = headers | AUTHORIZED | {"mcp-session-id": opened.headers["mcp-session-id"]}
        assert (await http.post(f"{served.url}/mcp", headers=again, json=body)).status_code == 404


@pytest.mark.parametrize("way", [{"mode": "auto"}, {"sse": True}], ids=["2026", "sse"])
async def test_a_caller_that_goes_away_ends_its_rest_call_but_no_deletion_that_has_begun(
    backend: TenantBackend, way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    async with serving(settings(backend), tokens=TWO) as served:
        stored = {"session_id": "s", "interactions": interactions("x"), "request_id": "r"}
        await post(served, "publish_interaction", stored, token=ANN)

        async def leave(held: str, tool: str, arguments: dict[str, Any]) -> None:
            backend.held, before = held, backend.holding
            async with anyio.create_task_group() as tasks:

                async def talk() -> None:
                    async with connected(served.url, bearer(ANN), **way) as client:
                        await client.call_tool(tool, arguments)

                tasks.start_soon(talk)
                await until(lambda: backend.holding > before)
                tasks.cancel_scope.cancel()
            backend.held = ""

        await leave(READ, "get_status", {})
        await until(lambda: backend.ended == 1)
        backend.release = anyio.Event()
        await leave(DELETE, "delete_session", {"session_id": "s"})
        await post(served, "list_sessions", token=BOB)
        assert backend.ended == 1
        backend.release.set()
        await until(lambda: "delete_session" in str(events(caplog, "call")))
        gone = message_of(await post(served, "get_request", {"request_id": "r"}, token=ANN))
        assert gone["result"]["isError"]


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_a_call_leaves_one_line_and_its_trace_goes_on_into_the_rest_call(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    headers, body = modern_call("list_sessions", {})
    body["params"]["_meta"]["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
    async with serving(settings(backend), tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:
        await http.post(f"{served.url}/mcp", headers=headers | bearer(ANN), json=body)
    [line] = events(caplog, "call")
    assert (line["tool"], line["outcome"], line["trace_id"]) == ("list_sessions", "ok", TRACE)
    assert backend.headers["traceparent"].split("-")[1] == TRACE
    assert re.fullmatch(r"[0-9a-f]{16}", line["caller"])


async def test_the_audit_log_names_the_caller_its_user_and_the_call_in_the_log(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    async with serving(settings(backend), tokens=TWO) as served:
        for user, token in (("ann", ANN), ("bob", BOB)):
            stored = {"session_id": user, "interactions": [{"role": "User", "content": "canary"}]}
            await post(served, "publish_interaction", stored, token=token)
            await post(served, "delete_session", {"session_id": user}, token=token)
        assert served.app
        written = [entry.line for entry in served.app._runtime.state.log.entries()]
    begun = [line for line in map(json.loads, written) if line["event"] == "begin"]
    calls = {line["call_id"]: line for line in events(caplog, "call")}
    assert [line["user_id"] for line in begun] == ["ann", "bob"]
    assert len({line["caller"] for line in begun}) == 2
    for line in begun:
        assert calls[line["call_id"]]["caller"] == line["caller"]
        assert calls[line["call_id"]]["tool"] == "delete_session"
    assert not any(word in repr(written) for word in ("canary", ANN, BOB))
