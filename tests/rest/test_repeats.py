"""What is retried, when and how often, and that no retry does harm or hides what happened."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import (
    AlreadyExists,
    ConnectionLost,
    OperationFailed,
    RateLimited,
    ReflexioError,
    ServerFault,
    Unreachable,
)
from reflexio_mcp.rest.models import Interaction, RequestQuery
from tests.rest.helpers import FakeTime, body, client_over
from tests.support.wire import Reaction, Received, answering, free_port, response, serve

pytestmark = pytest.mark.anyio

FAULTS_BEFORE = {
    "refused": httpx.ConnectError("refused"),
    "lost before it was stored": httpx.ReadError("reset"),
    "503 before": httpx.Response(503, text="busy"),
    "500 before": httpx.Response(500, text="Internal Server Error"),
    "429": httpx.Response(429, json={"error": "Rate limit exceeded: 60 per 1 minute"}),
}
FAULTS_AFTER = {
    "lost after it was stored": httpx.ReadError("reset"),
    "504 after": httpx.Response(504, json={"detail": "Request timeout"}),
    "500 after": httpx.Response(500, text="Internal Server Error"),
    "half a reply": httpx.Response(200, content=b'{"success": tr'),
}


class Memory:
    """A service that keeps requests by id, as the real one does, and fails on the way as it is told."""

    def __init__(self, faults: list[str], stored: dict[str, Any] | None = None) -> None:
        self.faults = list(faults)
        self.stored: dict[str, Any] = stored or {}
        self.writes = 0
        self.bodies: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        sent = json.loads(request.content)
        if request.url.path == "/api/get_requests":
            return self.read(sent["request_id"])
        self.bodies.append(request.content)
        fault = self.faults.pop(0) if self.faults else ""
        if fault in FAULTS_BEFORE:
            return give(FAULTS_BEFORE[fault])
        request_id = sent["request_id"]
        if request_id in self.stored:
            reply = {"success": False, "message": f"request_id {request_id!r} already exists"}
        else:
            self.stored[request_id] = sent
            self.writes += 1
            reply = {"success": True, "request_id": request_id, "learning_status": "deferred"}
        return give(FAULTS_AFTER[fault]) if fault in FAULTS_AFTER else httpx.Response(200, json=reply)

    def read(self, request_id: str) -> httpx.Response:
        sent = self.stored.get(request_id)
        if sent is None:
            return httpx.Response(200, json={"success": True, "sessions": []})
        request = {
            "request_id": request_id,
            "user_id": sent["user_id"],
            "session_id": sent["session_id"],
            "agent_version": sent.get("agent_version") or "agent-v0",
        }
        turns = [
            {"interaction_id": number, **turn} for number, turn in enumerate(sent["interaction_data_list"])
        ]
        group = {"session_id": sent["session_id"], "requests": [{"request": request, "interactions": turns}]}
        return httpx.Response(200, json={"success": True, "sessions": [group]})


def give(fault: Exception | httpx.Response) -> httpx.Response:
    if isinstance(fault, Exception):
        raise fault
    return httpx.Response(fault.status_code, content=fault.content, headers=fault.headers)


fault_sequences = st.lists(st.sampled_from([*FAULTS_BEFORE, *FAULTS_AFTER]), max_size=6)


@settings(max_examples=300, deadline=None)
@given(faults=fault_sequences, minted=st.booleans())
def test_whatever_happens_on_the_way_a_publish_is_stored_once_at_most_and_told_as_it_is(
    faults: list[str], minted: bool
) -> None:
    async def publish() -> None:
        service = Memory(faults)
        try:
            async with client_over(service) as client:
                reply = await client.publish(body(), minted=minted)
        except ReflexioError as error:
            if error.effect == "none":
                assert service.stored == {}
        else:
            assert set(service.stored) == {"r-1"}
            assert reply.request_id == "r-1"
            assert reply.success
        assert service.writes <= 1
        assert len(set(service.bodies)) == 1

    anyio.run(publish)


@settings(max_examples=200, deadline=None)
@given(faults=fault_sequences)
def test_an_id_that_held_something_else_before_is_never_reported_as_stored(faults: list[str]) -> None:
    async def publish() -> None:
        before = json.loads(body(content="something else").model_dump_json(exclude_defaults=True))
        service = Memory(faults, {"r-1": before})
        async with client_over(service) as client:
            with pytest.raises(ReflexioError) as caught:
                await client.publish(body(), minted=False)
        assert service.writes == 0
        if isinstance(caught.value, AlreadyExists):
            assert caught.value.effect == "none"

    anyio.run(publish)


async def test_a_publish_whose_reply_was_lost_is_repeated_and_says_that_it_had_arrived() -> None:
    service = Memory(["lost after it was stored"])
    async with client_over(service) as client:
        reply = await client.publish(body(), minted=True)
    assert reply.already_stored
    assert len(service.bodies) == 2


async def test_a_first_reply_does_not_say_that_it_had_arrived_before() -> None:
    async with client_over(Memory([])) as client:
        reply = await client.publish(body(), minted=True)
    assert not reply.already_stored


async def test_a_callers_id_that_exists_is_an_error_at_the_first_try() -> None:
    service = Memory([])
    async with client_over(service) as client:
        await client.publish(body(), minted=False)
        with pytest.raises(AlreadyExists):
            await client.publish(body(), minted=False)
    assert service.writes == 1


async def test_a_callers_id_after_a_lost_reply_is_read_back_before_it_is_called_stored() -> None:
    rich = body(agent_version="v2")
    rich.interaction_data_list = [
        Interaction(content=" spaces "),
        Interaction(role="Agent"),
        Interaction(role="Agent", user_action="click", user_action_description="the button"),
    ]
    service = Memory(["lost after it was stored"])
    service_read = service.read

    def read_as_stored(request_id: str) -> httpx.Response:
        # The real service drops a turn that says nothing.
        service.stored[request_id]["interaction_data_list"] = [
            turn for turn in service.stored[request_id]["interaction_data_list"] if set(turn) - {"role"}
        ]
        return service_read(request_id)

    service.read = read_as_stored
    async with client_over(service) as client:
        reply = await client.publish(rich, minted=False)
    assert reply.already_stored


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "v"},
        {"session_id": "t"},
        {"agent_version": "w"},
        {"source": "x"},
        {"evaluation_only": True},
        {"interaction_data_list": [Interaction(content="canary payload words", expert_content="better")]},
        {"interaction_data_list": [Interaction(content="canary payload words"), Interaction(content="more")]},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_callers_id_that_holds_something_different_is_an_error_after_a_lost_reply(
    change: dict[str, Any],
) -> None:
    before = json.loads(body().model_dump_json(exclude_defaults=True))
    service = Memory(["lost before it was stored"], {"r-1": before})
    async with client_over(service) as client:
        with pytest.raises(AlreadyExists) as caught:
            await client.publish(body().model_copy(update=change), minted=False)
    assert caught.value.effect == "none"


async def test_a_callers_id_that_cannot_be_read_back_leaves_the_outcome_unknown() -> None:
    service = Memory(["lost after it was stored"])
    service.read = lambda request_id: httpx.Response(403, json={"detail": "no"})
    async with client_over(service) as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.publish(body(), minted=False)
    assert caught.value.effect == "unknown"


async def test_a_refusal_after_a_lost_reply_does_not_claim_that_nothing_changed() -> None:
    service = Memory(["lost after it was stored", "refused", "refused", "refused"])
    async with client_over(service) as client:
        with pytest.raises(Unreachable) as caught:
            await client.publish(body(), minted=True)
    assert caught.value.effect == "unknown"


async def test_on_a_real_socket_a_publish_reset_after_storing_is_stored_once() -> None:
    stored: set[str] = set()

    def store_then_break(received: Received) -> Reaction:
        request_id = json.loads(received.body)["request_id"]
        if request_id not in stored:
            stored.add(request_id)
            return Reaction((response(200, b'{"success": true}')[:-5],), end="reset")
        reply = {"success": False, "message": f"request_id {request_id!r} already exists"}
        return Reaction((response(200, json.dumps(reply).encode()),))

    fake_time = FakeTime()
    with anyio.fail_after(60):
        async with (
            serve(store_then_break) as server,
            ReflexioClient(server.url, sleep=fake_time.sleep, clock=fake_time.clock) as client,
        ):
            reply = await client.publish(body(), minted=True)
    assert reply.already_stored
    assert len(server.received) == 2


async def test_a_connection_that_the_server_closed_while_idle_is_replaced_unnoticed() -> None:
    def answer_and_close(_received: Received) -> Reaction:
        return Reaction((response(200, b'{"status": "healthy"}'),), end="close")

    fake_time = FakeTime()
    with anyio.fail_after(60):
        async with (
            serve(answer_and_close) as server,
            ReflexioClient(server.url, sleep=fake_time.sleep, clock=fake_time.clock) as client,
        ):
            for _ in range(3):
                assert (await client.health()).status == "healthy"


Act = Callable[[ReflexioClient], Any]
READ: Act = lambda client: client.get_requests(RequestQuery())  # noqa: E731
DELETE: Act = lambda client: client.delete_session("s")  # noqa: E731
PUBLISH: Act = lambda client: client.publish(body(), minted=True)  # noqa: E731


@pytest.mark.parametrize(
    ("act", "fault", "tries"),
    [
        (READ, httpx.ConnectError("refused"), 4),
        (READ, httpx.ReadError("reset"), 4),
        (READ, 500, 4),
        (READ, 502, 4),
        (READ, 503, 4),
        (READ, 504, 4),
        (READ, 501, 1),
        (READ, 400, 1),
        (READ, 401, 1),
        (READ, 404, 1),
        (READ, 422, 1),
        (READ, 302, 1),
        (DELETE, httpx.ConnectError("refused"), 4),
        (DELETE, httpx.RemoteProtocolError("cut"), 4),
        (DELETE, 503, 4),
        (DELETE, 500, 1),
        (DELETE, 403, 1),
        (PUBLISH, httpx.ConnectTimeout("slow"), 4),
        (PUBLISH, httpx.ReadError("reset"), 4),
        (PUBLISH, 504, 4),
        (PUBLISH, 500, 1),
        (PUBLISH, 422, 1),
    ],
)
async def test_only_what_may_pass_is_tried_again(act: Act, fault: int | Exception, tries: int) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return give(httpx.Response(fault) if isinstance(fault, int) else fault)

    async with client_over(answer) as client:
        with pytest.raises(ReflexioError):
            await act(client)
    assert len(seen) == tries


async def test_waits_between_tries_grow_and_are_spread_by_chance() -> None:
    async def waits(chance: float) -> list[float]:
        fake_time = FakeTime()
        transport = httpx.MockTransport(lambda _request: httpx.Response(503))
        async with ReflexioClient(
            "http://reflexio.test",
            transport=transport,
            sleep=fake_time.sleep,
            clock=fake_time.clock,
            jitter=lambda: chance,
        ) as client:
            with pytest.raises(ServerFault):
                await client.whoami()
        return fake_time.slept

    assert await waits(0.0) == [0.25, 0.5, 1.0]
    assert await waits(0.5) == [0.375, 0.75, 1.5]


async def test_a_delete_repeated_after_a_lost_reply_does_not_pass_on_the_count_of_the_repetition() -> None:
    replies: list[Exception | httpx.Response] = [
        httpx.ReadError("reset"),
        httpx.Response(200, json={"success": True, "deleted_requests_count": 0, "deleted_count": 0}),
    ]
    async with client_over(lambda _request: give(replies.pop(0))) as client:
        reply = await client.delete_session("s")
    assert reply.repeated
    assert reply.deleted_requests_count is None
    assert reply.deleted_count is None


async def test_a_delete_repeated_after_a_refused_connection_keeps_its_count() -> None:
    replies: list[Exception | httpx.Response] = [
        httpx.ConnectError("refused"),
        httpx.Response(200, json={"success": True, "deleted_requests_count": 3}),
    ]
    async with client_over(lambda _request: give(replies.pop(0))) as client:
        reply = await client.delete_session("s")
    assert not reply.repeated
    assert reply.deleted_requests_count == 3


class Limiter:
    """A service that refuses until its clock has reached a time."""

    def __init__(self, fake_time: FakeTime, until: float, **refusal: Any) -> None:
        self.fake_time = fake_time
        self.until = until
        self.refusal = refusal
        self.refused = 0

    def __call__(self, _request: httpx.Request) -> httpx.Response:
        if self.fake_time.now < self.until:
            self.refused += 1
            return httpx.Response(429, **self.refusal)
        return httpx.Response(200, json={"success": True, "request_id": "r-1"})


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "7"},
        {"retry-after": "Tue, 24 Nov 2026 10:00:07 GMT", "date": "Tue, 24 Nov 2026 10:00:00 GMT"},
    ],
    ids=["seconds", "date"],
)
async def test_a_rate_limit_is_waited_out_for_as_long_as_the_server_says(headers: dict[str, str]) -> None:
    fake_time = FakeTime()
    limiter = Limiter(fake_time, fake_time.now + 7, headers=headers)
    async with client_over(limiter, fake_time=fake_time) as client:
        assert (await client.publish(body(), minted=True)).success
    assert limiter.refused == 1
    assert len(fake_time.slept) == 1
    assert 7 <= fake_time.slept[0] < 8


async def test_a_rate_limit_without_a_time_is_waited_out_within_the_time_of_the_call() -> None:
    fake_time = FakeTime()
    refusal = {"error": "Rate limit exceeded: 60 per 1 minute"}
    limiter = Limiter(fake_time, fake_time.now + 20, json=refusal)
    async with client_over(limiter, fake_time=fake_time) as client:
        assert (await client.publish(body(), minted=True)).success
    assert limiter.refused > 3
    assert sum(fake_time.slept) < 30


async def test_a_longer_rate_limit_ends_at_once_and_says_how_long_to_wait() -> None:
    fake_time = FakeTime()
    limiter = Limiter(fake_time, fake_time.now + 600, headers={"retry-after": "90"})
    async with client_over(limiter, fake_time=fake_time) as client:
        with pytest.raises(RateLimited) as caught:
            await client.get_requests(RequestQuery())
    assert fake_time.slept == []
    assert caught.value.retry_after == 90
    assert caught.value.effect == "none"


async def test_an_implied_rate_limit_says_what_is_left_of_its_window() -> None:
    fake_time = FakeTime()
    refusal = {"error": "Rate limit exceeded: 60 per 1 minute"}
    limiter = Limiter(fake_time, fake_time.now + 600, json=refusal)
    async with client_over(limiter, fake_time=fake_time) as client:
        with pytest.raises(RateLimited) as caught:
            await client.publish(body(), minted=True)
    waited = sum(fake_time.slept)
    assert waited <= 30
    assert caught.value.retry_after == pytest.approx(60 - waited)


async def test_a_rate_limit_that_says_nothing_ends_within_the_time_of_the_call() -> None:
    fake_time = FakeTime()
    async with client_over(Limiter(fake_time, 1e9, text="no"), fake_time=fake_time) as client:
        with pytest.raises(RateLimited) as caught:
            await client.whoami()
    assert caught.value.retry_after is None
    assert sum(fake_time.slept) <= 30


async def test_an_overloaded_server_that_names_a_time_is_left_alone_until_then() -> None:
    fake_time = FakeTime()
    replies = [
        httpx.Response(503, headers={"retry-after": "5"}),
        httpx.Response(200, json={"success": True, "org_id": "o"}),
    ]
    async with client_over(lambda _request: replies.pop(0), fake_time=fake_time) as client:
        await client.whoami()
    assert 5 <= fake_time.slept[0] < 6


async def test_no_try_begins_after_the_time_of_the_call() -> None:
    fake_time = FakeTime()

    def slow(_request: httpx.Request) -> httpx.Response:
        fake_time.now += 2
        return httpx.Response(503)

    async with client_over(slow, fake_time=fake_time, timeout=3.0) as client:
        with pytest.raises(ServerFault):
            await client.whoami()
    assert fake_time.now <= 1000 + 2 * 2 + 1


async def test_a_failed_operation_is_not_repeated() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(200, json={"success": False, "message": "StorageError: locked"})

    async with client_over(answer) as client:
        with pytest.raises(OperationFailed):
            await client.delete_request("r-1")
    assert len(seen) == 1


async def test_cancelling_a_call_in_flight_ends_it_without_another_try() -> None:
    arrived = anyio.Event()

    def hang(_received: Received) -> Reaction:
        arrived.set()
        return Reaction(end="hang")

    with anyio.fail_after(60):
        async with serve(hang) as server, ReflexioClient(server.url) as client:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.delete_request, "r-1")
                await arrived.wait()
                tasks.cancel_scope.cancel()
            assert tasks.cancel_scope.cancelled_caught
            assert len(server.received) == 1


async def test_cancelling_between_two_tries_ends_the_call() -> None:
    sleeping = anyio.Event()

    async def sleep_for_ever(_seconds: float) -> None:
        sleeping.set()
        await anyio.sleep_forever()

    url = f"http://127.0.0.1:{free_port()}"
    with anyio.fail_after(60):
        async with ReflexioClient(url, sleep=sleep_for_ever) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(client.delete_request, "r-1")
            await sleeping.wait()
            tasks.cancel_scope.cancel()
    assert tasks.cancel_scope.cancelled_caught


async def test_the_pool_still_works_after_a_cancelled_call() -> None:
    hang = True

    def script(_received: Received) -> Reaction:
        return Reaction(end="hang") if hang else Reaction((response(200, b'{"status": "healthy"}'),))

    with anyio.fail_after(60):
        async with serve(script) as server, ReflexioClient(server.url) as client:
            with anyio.move_on_after(0.1) as scope:
                await client.health()
            assert scope.cancelled_caught
            hang = False
            assert (await client.health()).status == "healthy"


async def test_many_calls_at_once_share_one_pool() -> None:
    made: list[httpx.MockTransport] = []

    def make() -> httpx.MockTransport:
        reply = {"success": True, "org_id": "o"}
        made.append(httpx.MockTransport(lambda _request: httpx.Response(200, json=reply)))
        return made[-1]

    async with ReflexioClient("http://reflexio.test", transport=make) as client:
        assert made == []
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(client.whoami)
    assert len(made) == 1


async def test_the_answer_of_a_wrong_server_is_not_asked_for_again() -> None:
    with anyio.fail_after(60):
        async with serve(answering(200, b"<html>")) as server, ReflexioClient(server.url) as client:
            with pytest.raises(ReflexioError):
                await client.whoami()
    assert len(server.received) == 1


async def test_a_connection_that_a_fault_has_closed_does_not_hide_the_fault() -> None:
    """Servers close the connection behind a 500; the next call on it finds it closed."""
    answers = itertools.cycle([httpx.Response(500, text="Internal Server Error"), None])

    def answer(request: httpx.Request) -> httpx.Response:
        if (response := next(answers)) is None:
            raise httpx.ReadError("closed", request=request)
        return response

    async with client_over(answer) as client:
        with pytest.raises(ServerFault):
            await client.get_requests(RequestQuery())


@pytest.mark.parametrize(("repeat", "calls"), [(True, 4), (False, 1)])
async def test_a_read_that_is_not_to_be_repeated_is_sent_once(repeat: bool, calls: int) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(500)

    async with client_over(answer) as client:
        with pytest.raises(ServerFault):
            await client.get_requests(RequestQuery(), repeat=repeat)
    assert len(sent) == calls
