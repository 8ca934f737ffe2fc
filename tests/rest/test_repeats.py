"""What is repeated after a failure, and that a publish is stored once and told as it is."""

import json
from collections.abc import Callable, Sequence
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
)
from reflexio_mcp.rest.models import Interaction, RequestQuery, RetrievedLearning, ToolUse
from tests.rest.helpers import PAYLOAD, FakeTime, body, client_over
from tests.support.serving import until
from tests.support.wire import Reaction, answering, response, serve

pytestmark = pytest.mark.anyio

ARRIVED = 1_700_000_000
LIMIT = {"error": "Rate limit exceeded: 60 per 1 minute"}
BEFORE = {
    "refused": httpx.ConnectError("refused"),
    "lost before it was stored": httpx.ReadError("reset"),
    "503 before": httpx.Response(503, text="busy"),
    "500 before": httpx.Response(500, text="Internal Server Error"),
    "429": httpx.Response(429, json=LIMIT),
}
AFTER = {
    "lost after it was stored": httpx.ReadError("reset"),
    "504 after": httpx.Response(504, json={"detail": "Request timeout"}),
    "500 after": httpx.Response(500, text="Internal Server Error"),
    "half a reply": httpx.Response(200, content=b'{"success": tr'),
}


def give(fault: Exception | httpx.Response) -> httpx.Response:
    if isinstance(fault, Exception):
        raise fault
    return httpx.Response(fault.status_code, content=fault.content, headers=fault.headers)


class Memory:
    """A service that keeps requests by id, as the real one does, and fails on the way as it is told."""

    def __init__(self, faults: list[str], stored: dict[str, Any] | None = None) -> None:
        self.faults = list(faults)
        self.stored: dict[str, Any] = stored or {}
        self.writes = 0
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        sent = json.loads(request.content)
        if request.url.path == "/api/get_requests":
            return self.read(sent["request_id"])
        self.calls += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault in BEFORE:
            return give(BEFORE[fault])
        request_id = sent["request_id"]
        if request_id in self.stored:
            reply = {"success": False, "message": f"request_id {request_id!r} already exists"}
        else:
            self.stored[request_id] = sent
            self.writes += 1
            reply = {"success": True, "request_id": request_id}
        return give(AFTER[fault]) if fault in AFTER else httpx.Response(200, json=reply)

    def read(self, request_id: str) -> httpx.Response:
        sent = self.stored.get(request_id)
        if sent is None:
            return httpx.Response(200, json={"success": True, "sessions": []})
        labels = {
            name: sent[name] for name in ("request_id", "user_id", "session_id", "source") if name in sent
        }
        # The real service drops an interaction that says nothing, and returns the others by their time.
        interactions = [
            {"interaction_id": number, "created_at": ARRIVED, **interaction}
            for number, interaction in enumerate(sent["interaction_data_list"])
            if set(interaction) - {"role"}
        ]
        interactions.sort(key=lambda interaction: interaction["created_at"])
        found = {"request": {"agent_version": "agent-v0", **labels}, "interactions": interactions}
        group = {"session_id": sent["session_id"], "requests": [found]}
        return httpx.Response(200, json={"success": True, "sessions": [group]})


faults_on_the_way = st.lists(st.sampled_from([*BEFORE, *AFTER]), max_size=6)


@settings(max_examples=150, deadline=None)
@given(faults=faults_on_the_way, minted=st.booleans())
def test_whatever_happens_on_the_way_a_publish_is_stored_once_at_most_and_told_as_it_is(
    faults: list[str], minted: bool
) -> None:
    async def publish() -> None:
        service = Memory(faults)
        effect = "stored"
        async with client_over(service) as client:
            try:
                await client.publish(body(), minted=minted)
            except ReflexioError as error:
                effect = error.effect
        assert service.writes <= 1
        assert effect == "unknown" or service.writes == (effect == "stored")

    anyio.run(publish)


@settings(max_examples=100, deadline=None)
@given(faults=faults_on_the_way)
def test_an_id_that_named_another_request_before_is_never_reported_as_stored(faults: list[str]) -> None:
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
    sent = body()
    sent.interaction_data_list += [Interaction(role="Agent"), Interaction(content=" spaces ")]
    async with client_over(service) as client:
        assert (await client.publish(sent, minted=False)).already_stored
    assert service.calls == 2


@pytest.mark.parametrize("times", [(5, 6), (6, 5), (None, 5)], ids=str)
async def test_a_publish_whose_interactions_are_not_in_the_order_of_time_had_arrived_too(
    times: Sequence[int | None],
) -> None:
    sent = body()
    sent.interaction_data_list += [Interaction(content=f"at {at}", created_at=at) for at in times]
    async with client_over(Memory(["lost after it was stored"])) as client:
        assert (await client.publish(sent, minted=False)).already_stored


async def test_a_publish_whose_reply_was_lost_late_is_not_repeated_because_somebody_may_have_erased_it() -> (
    None
):
    service, time = Memory(["lost after it was stored"]), FakeTime()

    def late(request: httpx.Request) -> httpx.Response:
        time.now += 3
        return service(request)

    async with client_over(late, fake_time=time) as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.publish(body(), minted=True)
    assert (caught.value.effect, service.writes) == ("unknown", 1)


async def test_a_callers_id_that_is_taken_is_an_error_at_the_first_try() -> None:
    service = Memory([])
    async with client_over(service) as client:
        assert not (await client.publish(body(), minted=False)).already_stored
        with pytest.raises(AlreadyExists):
            await client.publish(body(), minted=False)
    assert service.writes == 1


OTHERS: dict[str, dict[str, Any]] = {
    "another user": {"user_id": "v"},
    "another source": {"source": "x"},
    "for evaluation": {"evaluation_only": True},
    "another text": {"interaction_data_list": [Interaction(content="a")]},
    "another use of a tool": {
        "interaction_data_list": [
            Interaction(content=PAYLOAD, tools_used=[ToolUse(tool_name="search", tool_data={"for": "b"})])
        ]
    },
    "another learning": {
        "interaction_data_list": [
            Interaction(
                content=PAYLOAD, retrieved_learnings=[RetrievedLearning(kind="profile", learning_id="p1")]
            )
        ]
    },
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
async def test_a_callers_id_of_a_different_request_is_an_error_after_a_lost_reply(
    change: dict[str, Any],
) -> None:
    before = json.loads(body().model_dump_json(exclude_defaults=True))
    async with client_over(Memory(["lost before it was stored"], {"r-1": before})) as client:
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


async def test_a_connection_that_the_server_closed_while_idle_is_replaced_unnoticed() -> None:
    healthy, time = response(200, b'{"status": "healthy"}'), FakeTime()
    async with (
        serve(lambda _: Reaction((healthy,), end="close")) as server,
        ReflexioClient(server.url, sleep=time.sleep, clock=time.clock) as client,
    ):
        for _ in range(3):
            assert (await client.health()).status == "healthy"


async def test_calls_in_turn_share_a_connection_and_calls_at_once_leave_few_open() -> None:
    async with (
        serve(answering(200, b'{"status": "healthy"}')) as server,
        ReflexioClient(server.url) as client,
    ):
        for _ in range(3):
            await client.health()
        assert len(server.connections) == 1
        async with anyio.create_task_group() as group:
            for _ in range(30):
                group.start_soon(client.health)
        await until(lambda: len(server.connections) <= 20)


Act = Callable[[ReflexioClient], Any]
ACTS: dict[str, Act] = {
    "read": lambda client: client.get_requests(RequestQuery()),
    "read once": lambda client: client.get_requests(RequestQuery(), repeat=False),
    "delete": lambda client: client.delete_requests_by_ids(["r"]),
    "delete a user": lambda client: client.clear_user_data("u"),
    "publish": lambda client: client.publish(body(), minted=True),
    "add": lambda client: client.add_user_playbooks([]),
    "correct": lambda client: client.update_user_playbook(7, "text"),
    "decide": lambda client: client.set_agent_playbook_status(7, "approved"),
}
LOST, REFUSED = httpx.ReadError("reset"), httpx.ConnectError("refused")
TRIES: dict[str, dict[Any, int]] = {
    "read": {REFUSED: 4, LOST: 4, 500: 4, 503: 4, 501: 1, 401: 1, 404: 1, 302: 1},
    "read once": {503: 1, 500: 1, LOST: 4},
    "delete": {REFUSED: 4, LOST: 4, 503: 1, 500: 1, 403: 1},
    "delete a user": {REFUSED: 1, LOST: 4, 503: 1, 429: 1},
    "publish": {REFUSED: 4, LOST: 4, 504: 4, 500: 1, 422: 1},
    "add": {LOST: 1, 503: 1, 500: 1},
    "correct": {503: 1, 500: 1},
    "decide": {503: 1, 500: 1},
}


@pytest.mark.parametrize(
    ("act", "fault", "tries"), [(act, *row) for act, rows in TRIES.items() for row in rows.items()]
)
async def test_only_what_may_pass_is_tried_again(act: str, fault: int | Exception, tries: int) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return give(httpx.Response(fault) if isinstance(fault, int) else fault)

    async with client_over(answer) as client:
        with pytest.raises(ReflexioError):
            await ACTS[act](client)
    assert len(seen) == tries


async def test_a_failed_operation_is_not_repeated() -> None:
    replies = [httpx.Response(200, json={"success": False, "message": "StorageError: locked"})]
    async with client_over(lambda _: replies.pop()) as client:
        with pytest.raises(OperationFailed):
            await client.delete_requests_by_ids(["r-1"])


@pytest.mark.parametrize("fault", [httpx.ReadTimeout("late"), httpx.Response(500)])
async def test_the_end_of_a_session_that_got_no_answer_is_not_told_as_a_call_that_changed_nothing(
    fault: httpx.Response | Exception,
) -> None:
    async with client_over(lambda _: give(fault)) as client:
        with pytest.raises(ReflexioError) as caught:
            await client.finalize_session("ada", "s-1")
    assert caught.value.effect == "unknown"


@pytest.mark.parametrize("after", [LOST, httpx.ReadTimeout("late")])
async def test_what_comes_after_a_fault_does_not_hide_the_fault(after: Exception) -> None:
    replies = [httpx.Response(500), after, after, after]
    async with client_over(lambda _: give(replies.pop(0))) as client:
        with pytest.raises(ServerFault):
            await client.whoami()


async def test_waits_between_tries_grow_and_no_try_begins_after_the_time_of_the_call() -> None:
    time = FakeTime()
    async with client_over(lambda _: httpx.Response(503), fake_time=time) as client:
        with pytest.raises(ServerFault):
            await client.whoami()
    assert time.slept == [0.25, 0.5, 1.0]
    time = FakeTime()
    async with client_over(lambda _: httpx.Response(503), fake_time=time, timeout=0.7) as client:
        with pytest.raises(ServerFault):
            await client.whoami()
    assert time.slept == [0.25]


@pytest.mark.parametrize(("fault", "counted"), [(LOST, None), (REFUSED, 3)])
async def test_a_repeated_delete_passes_on_no_count_of_a_second_deletion(
    fault: Exception, counted: int | None
) -> None:
    replies = [fault, httpx.Response(200, json={"success": True, "deleted_count": 3})]
    async with client_over(lambda _: give(replies.pop(0))) as client:
        reply = await client.delete_requests_by_ids(["r"])
    assert reply.deleted_count == counted


@pytest.mark.parametrize("act", ["delete", "delete a user", "correct", "decide"])
async def test_a_write_whose_connection_breaks_later_is_not_repeated_because_something_may_have_changed_since(
    act: str,
) -> None:
    seen, time = list[str](), FakeTime()

    def late(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        time.now += 1
        raise LOST

    async with client_over(late, fake_time=time) as client:
        with pytest.raises(ConnectionLost):
            await ACTS[act](client)
    assert len(seen) == 1


class Limiter:
    """A service that refuses until its clock has reached a time."""

    def __init__(self, time: FakeTime, seconds: float, **refusal: Any) -> None:
        self.time = time
        self.until = time.now + seconds
        self.refusal = refusal

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.time.now < self.until:
            return httpx.Response(429, **self.refusal)
        return httpx.Response(200, json={"success": True, "org_id": "o"})


@pytest.mark.parametrize("refusal", [{"headers": {"retry-after": "7"}}, {"json": LIMIT}, {"text": "no"}])
async def test_a_rate_limit_is_waited_out_within_the_time_of_the_call(refusal: dict[str, Any]) -> None:
    time = FakeTime()
    async with client_over(Limiter(time, 7, **refusal), fake_time=time) as client:
        await client.whoami()
    assert 7 <= sum(time.slept) < 12
    assert (len(time.slept) == 1) == ("headers" in refusal)


@pytest.mark.parametrize(
    ("refusal", "seconds"), [({"headers": {"retry-after": "90"}}, 90), ({"json": LIMIT}, 60), ({}, None)]
)
async def test_a_longer_rate_limit_says_how_long_to_wait(
    refusal: dict[str, Any], seconds: float | None
) -> None:
    time = FakeTime()
    async with client_over(Limiter(time, 600, **refusal), fake_time=time) as client:
        with pytest.raises(RateLimited) as caught:
            await client.publish(body(), minted=True)
    assert caught.value.retry_after == seconds
    assert caught.value.effect == "none"
    assert sum(time.slept) <= 30
    assert time.slept == [] or "headers" not in refusal


async def test_a_cancelled_call_ends_without_another_try_and_the_pool_still_works() -> None:
    arrived = anyio.Event()

    def first_hangs(received: Any) -> Reaction:
        if arrived.is_set():
            return Reaction((response(200, b'{"status": "healthy"}'),))
        arrived.set()
        return Reaction(end="hang")

    async with serve(first_hangs) as server, ReflexioClient(server.url) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.whoami)
            await arrived.wait()
            group.cancel_scope.cancel()
        assert (await client.health()).status == "healthy"
    assert len(server.received) == 2
