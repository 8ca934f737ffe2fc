"""An id that another request has taken since the plan: what was not agreed to is never deleted."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reflexio_mcp.traffic.deletion.execute import execute
from reflexio_mcp.traffic.deletion.plan import plan_ids
from reflexio_mcp.traffic.deletion.turn_plan import plan_turns
from reflexio_mcp.traffic.deletion.verify import read_again
from reflexio_mcp.traffic.scope import Scope
from tests.deletion.support import BY_IDS, READ, World, agreeing, text_of

pytestmark = pytest.mark.anyio

Act = Callable[[], Awaitable[None]]


def thinking(act: Act) -> Any:
    """A person who agrees, and while they read the question something happens."""
    person = agreeing()

    async def answer(context: Any, params: Any) -> Any:
        await act()
        return await person(context, params)

    return answer


def swap(world: World, *ids: str, **fields: Any) -> Act:
    """Each id deleted and stored again, in the same second it was."""

    async def act() -> None:
        for one in ids:
            await world.rest.delete_request(one)
            world.clock.now -= 1
            await world.put(one, **fields)

    return act


async def nothing() -> None:
    return None


@pytest.mark.parametrize("days", ["0", "7"])
@pytest.mark.parametrize(
    "fields", [{"user": "bob"}, {"session": "t"}, {"text": "others"}], ids=["user", "session", "text"]
)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("delete_request", {"request_id": "r1"}),
        ("delete_session", {"session_id": "s"}),
        ("delete_requests", {"request_ids": ["r1"]}),
    ],
)
async def test_another_request_under_the_id_is_left_alone_and_named(
    world: World, fields: dict[str, str], tool: str, arguments: dict[str, Any], days: str
) -> None:
    await world.put("r1")
    person = thinking(swap(world, "r1", **fields))
    async with world.connect("legacy", person, RECOVERY_DAYS=days) as caller:
        result = await caller.result(tool, **arguments)
        facts = result.structured_content
        assert facts
        assert facts["outcomes"] == {"changed": ["r1"]}
        assert facts["deleted"] == 0
        assert facts["status"] == "incomplete"
        assert "was left alone" in facts["next"]
        assert "Call the same deletion again" not in text_of(result)
        assert "copy_id" not in facts
    assert await world.ids() == {"r1"}
    assert not world.backend.calls[BY_IDS]


@pytest.mark.parametrize("days", ["0", "7"])
async def test_a_user_confined_to_their_own_never_deletes_anothers_request(world: World, days: str) -> None:
    await world.put("r1", user="ada")
    person = thinking(swap(world, "r1", user="bob", text="bob's words"))
    options = {"REFLEXIO_USER_ID": "ada", "RECOVERY_DAYS": days}
    async with world.connect("legacy", person, **options) as caller:
        result = await caller.result("delete_request", request_id="r1")
    facts = result.structured_content
    assert facts
    assert facts["outcomes"] == {"not_found": ["r1"]}
    assert "bob" not in text_of(result)
    assert await world.ids(user_id="bob") == {"r1"}


async def test_the_turns_of_another_user_under_the_id_are_not_counted_as_what_is_left(world: World) -> None:
    await world.put("r1")
    scope = Scope(world.rest)
    plan = await plan_turns(scope, "r1", list(await world.interactions("r1")))
    assert (await read_again(scope, plan)).interactions == 1
    await swap(world, "r1", user="bob")()
    again = await read_again(scope, plan)
    assert (again.same, again.interactions) == (set(), None)


async def test_the_rest_of_a_large_set_goes(world: World) -> None:
    for number in range(40):
        await world.put(f"r{number}")
    person = thinking(swap(world, "r0", "r7", user="bob"))
    async with world.connect("legacy", person) as caller:
        facts = await caller.call("delete_requests", user_id="ada")
    assert facts["counts"]["deleted"] == 38
    assert facts["deleted"] == 38
    assert {"r0", "r7"} == await world.ids(session_id="s")


@pytest.mark.parametrize("wait", [True, False])
async def test_a_reading_that_is_old_is_made_again_whoever_agreed(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch, wait: bool
) -> None:
    monkeypatch.setattr("reflexio_mcp.traffic.deletion.execute.FRESH_SECONDS", -1)
    await world.put("r1")
    world.backend.before[READ] = [nothing, swap(world, "r1", user="bob")]
    server = world.server(CONFIRM="off")
    async with world.connect(era, server=server) as caller:
        facts = await caller.call("delete_request", request_id="r1", wait_for_response=wait)
        if not wait:
            await server.runtime.jobs.drain()
            facts = (await caller.call("get_status"))["deletions"][0]["receipt"]
    assert facts["outcomes"] == {"changed": ["r1"]}
    assert await world.ids() == {"r1"}


@pytest.mark.parametrize(("age", "left_alone"), [(4.9, False), (5.1, True)])
async def test_a_reading_serves_for_five_seconds(world: World, age: float, left_alone: bool) -> None:
    await world.put("r1")
    scope = Scope(world.rest)
    plan = await plan_ids(scope, ["r1"])
    await swap(world, "r1", user="bob")()
    done = await execute(scope, plan, read_at=0.0, clock=lambda: age)
    assert (done.outcomes == {"r1": "changed"}) is left_alone
    assert await world.ids() == ({"r1"} if left_alone else set())


async def test_each_batch_is_read_again_when_its_turn_comes_late(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.traffic.deletion.execute.FRESH_SECONDS", -1)
    monkeypatch.setattr("reflexio_mcp.traffic.deletion.execute.BATCH", 2)
    for number in range(4):
        await world.put(f"r{number}")
    # The newest go first, so r0 is in the second batch.
    world.backend.before[BY_IDS] = [swap(world, "r0", user="bob")]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert facts["outcomes"] == {"deleted": ["r3", "r2", "r1"], "changed": ["r0"]}
    assert await world.ids() == {"r0"}


async def test_a_call_that_acts_at_once_reads_no_more_than_it_needs(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era, CONFIRM="off") as caller:
        await caller.call("get_status")
        before = world.backend.calls[READ]
        await caller.call("delete_request", request_id="r1")
    assert world.backend.calls[READ] - before == 2


async def test_when_it_cannot_be_read_again_nothing_is_deleted(world: World) -> None:
    await world.put("r1")
    log = world.folder / "log.jsonl"

    async def fails() -> None:
        world.backend.failing[READ] = (0, 403)

    async with world.connect("legacy", thinking(fails), AUDIT_LOG=str(log)) as caller:
        said = await caller.refused("delete_request", request_id="r1")
    assert "Nothing was changed" in said
    world.backend.failing.clear()
    assert await world.ids() == {"r1"}
    assert not world.backend.calls[BY_IDS]
    ends = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert ends[-1]["outcome"] == "nothing_deleted"


async def test_learnings_of_the_request_that_took_the_id_stay(world: World) -> None:
    await world.put("r1")
    await world.put("r2")
    await world.learn("old", "r1")

    async def taken() -> None:
        await swap(world, "r1", session="t")()
        await world.learn("new", "r1")

    async with world.connect("legacy", thinking(taken)) as caller:
        facts = await caller.call("delete_session", session_id="s", include_learnings=True)
    assert facts["outcomes"] == {"deleted": ["r2"], "changed": ["r1"]}
    assert set(world.backend.profiles) == {"new"}


async def test_a_code_does_not_fit_another_request_that_took_the_id_in_the_same_second(
    world: World, era: str
) -> None:
    await world.put("r1", text="planned")
    async with world.connect(era) as caller:
        code = (await caller.call("delete_request", request_id="r1"))["confirm"]
        await swap(world, "r1", text="written by somebody else")()
        facts = await caller.call("delete_request", request_id="r1", confirm=code)
    assert facts["status"] == "changed"
    assert facts["changed"]["added"] == facts["changed"]["removed"] == ["r1"]
    assert await world.ids() == {"r1"}


@pytest.mark.parametrize("days", ["0", "7"])
async def test_another_content_is_told_apart_where_a_service_numbers_no_interactions(
    world: World, days: str
) -> None:
    await world.put("r1", text="what was agreed to")

    def unnumbered(asked: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        for group in reply["sessions"]:
            for one in group["requests"]:
                for turn in one["interactions"]:
                    turn["interaction_id"] = 0
        return reply

    world.backend.rewriting[READ] = unnumbered
    async with world.connect(CONFIRM="preview", RECOVERY_DAYS=days) as caller:
        plan = await caller.call("delete_request", request_id="r1")
        await swap(world, "r1", text="written by somebody else")()
        answered = await caller.call("delete_request", request_id="r1", confirm=plan["confirm"])
    assert answered["status"] == "changed"
    assert await world.ids() == {"r1"}
