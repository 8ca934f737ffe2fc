"""What was erased does not come back: restores that end early, locked states, clocks, two restores, other owners."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.server.runtime import Runtime
from reflexio_mcp.state import tables
from reflexio_mcp.traffic.deletion.restore import Storing
from tests.deletion.support import BY_IDS, PUBLISH, World, broken, nothing, text_of
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


async def deleted(world: World, *ids: str, **arguments: Any) -> int:
    for one in ids:
        await world.put(one)
    async with world.connect(CONFIRM="off") as caller:
        return (await caller.receipt("delete_requests", request_ids=list(ids), **arguments))["number"]


def erasing(world: World, receipts: list[dict[str, Any]]) -> Callable[[], Awaitable[None]]:
    """Erases r1 in another process."""

    async def erase() -> None:
        async with world.connect(CONFIRM="off") as other:
            receipts.append(await other.receipt("delete_request", request_id="r1", erase=True))

    return erase


async def past(world: World) -> dict[int, dict[str, Any]]:
    async with world.connect(CONFIRM="off", READ_ONLY="1") as caller:
        return {one["number"]: one for one in (await caller.call("get_status"))["deletions"]}


async def died_after_storing_r1(world: World, monkeypatch: pytest.MonkeyPatch, number: int) -> dict[str, Any]:
    """Restore in a process that stores r1 again after its erasure, and then reaches the state no more."""
    receipts: list[dict[str, Any]] = []
    server = world.server(CONFIRM="off")
    state = server.runtime.state
    erase = erasing(world, receipts)

    async def erase_and_lock() -> None:
        await erase()
        monkeypatch.setattr(state.must_go, "waiting", broken)
        monkeypatch.setattr(state, "finish_restore", broken)

    world.backend.before[PUBLISH] = [nothing, erase_and_lock]
    async with world.connect(server=server) as caller:
        done = await caller.call("restore_requests", deletion=number)
    assert receipts[0]["deleted"] == {"only_in_copies": 1}
    assert receipts[0]["status"] == "incomplete"
    assert fact_of(receipts[0], "may_return") == {"code": "may_return", "number": 1}
    return done


async def test_what_an_interrupted_restore_stored_of_an_erasure_is_deleted_by_the_next_deletion_which_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await deleted(world, "r0", "r1", "r2")
    done = await died_after_storing_r1(world, monkeypatch, number)
    assert done["status"] == "incomplete"
    assert done["restored"]["requests"] == 2, "it says what it has stored"
    assert (fact_of(done, "restore_not_recorded") or {})["names"] == ["the file is locked"]
    assert await world.ids() == {"r0", "r1"}
    found = await past(world)
    restore, erasure = found[number + 1], found[number + 2]
    assert (restore["restores"], restore["status"]) == (number, "unfinished")
    assert (erasure["status"], erasure["may_return"]) == ("incomplete", 1)
    await world.put("other")
    monkeypatch.setattr(Runtime, "_keep_taking_out", nothing)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="other")
    assert fact_of(receipt, "deleted_again") == {"code": "deleted_again", "number": 1}
    assert await world.ids() == {"r0"}


async def test_a_server_that_starts_deletes_it_and_logs_it(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    number = await deleted(world, "r0", "r1")
    await died_after_storing_r1(world, monkeypatch, number)
    server = world.server(CONFIRM="off")
    noted: list[dict[str, Any]] = []
    async with world.connect(server=server) as caller:
        while not noted:  # it is logged after it is gone
            await caller.call("get_status")
            lines = [json.loads(entry.line) for entry in server.runtime.state.log.entries()]
            noted = [line for line in lines if line["event"] == "erased_again"]
    assert await world.ids() == {"r0"}
    [again] = noted
    assert (again["restores"], again["ids"]) == ([number + 1], ["r1"])
    assert "1 item that was erased for good and that a restore had stored again was deleted." in caplog.text


async def test_a_repeated_restore_deletes_it_and_does_not_call_it_stored_already(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await deleted(world, "r0", "r1", "r2")
    await died_after_storing_r1(world, monkeypatch, number)
    async with world.connect(CONFIRM="off") as caller:
        again = await caller.call("restore_requests", deletion=number)
    assert again["not_restored"] == [{"why": "already_there", "count": 1, "ids": ["r0"]}]
    assert again["restored"]["requests"] == 1
    assert await world.ids() == {"r0", "r2"}


async def test_a_read_only_server_deletes_nothing_for_others_and_shows_what_is_left_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await deleted(world, "r0", "r1")
    await died_after_storing_r1(world, monkeypatch, number)
    async with world.connect(READ_ONLY="1") as caller:
        said = text_of(await caller.result("get_status"))
    assert "a restore or a deletion can still store 1 erased item again" in said
    assert f"restore of deletion {number}" in said
    assert await world.ids() == {"r0", "r1"}


async def test_something_else_that_is_stored_under_the_id_by_then_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await deleted(world, "r0", "r1")
    await died_after_storing_r1(world, monkeypatch, number)
    await world.rest.delete_requests_by_ids(["r1"])
    await world.put("r1", text="quite another thing")
    async with world.connect(CONFIRM="off") as caller:
        await caller.call("restore_requests", deletion=number)
    assert await world.ids() == {"r0", "r1"}


async def test_something_else_that_was_deleted_under_the_id_by_then_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await deleted(world, "r0", "r1")
    await died_after_storing_r1(world, monkeypatch, number)
    await world.rest.delete_requests_by_ids(["r1"])
    await world.put("r1", text="quite another thing")
    async with world.connect(CONFIRM="off") as caller:
        later = (await caller.receipt("delete_request", request_id="r1"))["number"]
        assert await world.ids() == {"r0"}
        done = await caller.call("restore_requests", deletion=later)
    assert (done["status"], done["restored"].get("requests")) == ("complete", 1)
    assert await world.ids() == {"r0", "r1"}


async def test_a_hold_that_is_set_by_then_keeps_it(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    number = await deleted(world, "r0", "r1")
    await died_after_storing_r1(world, monkeypatch, number)
    policy = tmp_path / "policy.toml"
    policy.write_text('[[hold]]\nusers = ["ada"]\nreason = "a case"\n', encoding="utf-8")
    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        await caller.call("restore_requests", deletion=number)
    assert await world.ids() == {"r0", "r1"}
    async with world.connect(CONFIRM="off") as caller:
        await caller.call("restore_requests", deletion=number)
    assert await world.ids() == {"r0"}


@pytest.mark.parametrize("step", [-60.0, 60.0])
async def test_a_clock_that_steps_while_a_restore_runs_brings_nothing_back(
    world: World, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    number = await deleted(world, "r0", "r1", "r2")
    receipts: list[dict[str, Any]] = []
    erase = erasing(world, receipts)
    real = time.time

    async def step_and_erase() -> None:
        monkeypatch.setattr(tables.time, "time", lambda: real() + step)
        await erase()

    world.backend.before[PUBLISH] = [nothing, step_and_erase]
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.call("restore_requests", deletion=number)
    assert done["not_restored"] == [{"why": "erased", "count": 1, "ids": ["r1"]}]
    assert await world.ids() == {"r0", "r2"}
    assert (await past(world))[receipts[0]["number"]]["status"] == "complete"


async def test_what_is_erased_before_its_turn_is_not_stored_at_all(world: World) -> None:
    number = await deleted(world, "r0", "r1", "r2")
    receipts: list[dict[str, Any]] = []
    world.backend.before[PUBLISH] = [erasing(world, receipts)]
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.call("restore_requests", deletion=number)
    assert done["restored"]["requests"] == 2
    assert done["not_restored"] == [{"why": "erased", "count": 1, "ids": ["r1"]}]
    assert world.backend.calls[PUBLISH] == 3 + 2


@pytest.mark.parametrize("fails", ["finish_restore", "waiting"])
async def test_a_state_that_fails_during_a_restore_does_not_hide_what_was_restored(
    world: World, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    number = await deleted(world, "r0", "r1", "r2")
    server = world.server(CONFIRM="off")
    owner: Any = server.runtime.state if fails == "finish_restore" else server.runtime.state.must_go
    works = getattr(owner, fails)
    left = [1, 2]  # looks before the state fails

    def failing(*arguments: Any, **named: Any) -> Any:
        if fails == "waiting" and left:
            left.pop()
            return works(*arguments, **named)
        return broken()

    monkeypatch.setattr(owner, fails, failing)
    async with world.connect(server=server) as caller:
        done = await caller.call("restore_requests", deletion=number)
        monkeypatch.undo()
        again = await caller.call("restore_requests", deletion=number)
    assert (done["status"], bool(done["text"])) == ("incomplete", True)
    assert done["restored"]["requests"] == (3 if fails == "finish_restore" else 2)
    assert "the file is locked" in str(done["facts"])
    assert again["status"] == "complete"
    assert await world.ids() == {"r0", "r1", "r2"}


async def test_two_restores_of_one_copy_tell_the_truth_together(world: World) -> None:
    ids = [f"r{one}" for one in range(6)]
    number = await deleted(world, *ids)
    others: list[dict[str, Any]] = []
    async with world.connect(CONFIRM="off") as one, world.connect(CONFIRM="off") as other:

        async def overtake() -> None:
            others.append(await other.call("restore_requests", deletion=number))

        world.backend.before[PUBLISH] = [nothing, nothing, overtake]
        done = await one.call("restore_requests", deletion=number)
    both = [done, *others]
    assert [answer["status"] for answer in both] == ["complete", "complete"]
    assert [answer["restored"]["requests"] for answer in both] == [2, 4]
    assert [[(one["why"], one["count"]) for one in answer["not_restored"]] for answer in both] == [
        [("already_there", 4)],
        [("already_there", 2)],
    ]
    assert await world.ids() == set(ids)


async def test_a_restore_of_ids_that_others_have_taken_is_incomplete(world: World) -> None:
    number = await deleted(world, "r0")
    await world.put("r0", user="bob", session="of bob")
    async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        done = await caller.call("restore_requests", deletion=number)
    assert done["not_restored"] == [{"why": "id_taken", "count": 1, "ids": ["r0"]}]
    assert (done["status"], done.get("restored")) == ("incomplete", {})
    assert "next" not in done, "another call would do no better"
    assert await world.ids(user_id="bob") == {"r0"}


async def test_a_restore_of_what_a_person_reads_again_compares_contents(world: World) -> None:
    """Between the look and the store, somebody stores the same or something else under the id."""
    number = await deleted(world, "r0", "r1")

    async def same() -> None:
        await world.put("r0")

    async def other() -> None:
        await world.put("r1", text="something else")

    world.backend.before[PUBLISH] = [same]
    storing = Storing.look_for_erasures

    async def between(self: Storing, stored: Any = ()) -> None:
        if stored == ["r0"]:
            await other()
        await storing(self, stored)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Storing, "look_for_erasures", between)
        async with world.connect(CONFIRM="off") as caller:
            done = await caller.call("restore_requests", deletion=number)
    assert {one["why"]: one["ids"] for one in done["not_restored"]} == {
        "already_there": ["r0"],
        "id_taken": ["r1"],
    }
    assert done["status"] == "incomplete"


@pytest.mark.parametrize("meets", ["/api/add_user_playbook", "/api/get_user_playbooks"])
async def test_two_restores_of_one_copy_store_a_playbook_once(world: World, meets: str) -> None:
    """Each looks before the other stores: the playbook gets two ids, and the newer one goes again."""
    await world.put("r1")
    await world.learn(7, "r1", content="ships to Oak Road")
    await world.learn(8, "r1", content="ships to Elm Road")
    others: list[dict[str, Any]] = []
    async with world.connect(CONFIRM="off") as one, world.connect(CONFIRM="off") as other:
        number = (await one.receipt("delete_request", request_id="r1", include_learnings=True))["number"]
        assert not world.backend.playbooks

        async def overtake() -> None:
            others.append(await other.call("restore_requests", deletion=number))

        # The second look of a restore comes after it has stored its own.
        world.backend.before[meets] = [overtake] if "add" in meets else [nothing, overtake]
        done = await one.call("restore_requests", deletion=number)
    contents = sorted(known.content for known in world.backend.playbooks.values())
    assert contents == ["ships to Elm Road", "ships to Oak Road"]
    both = [done, *others]
    assert [answer["status"] for answer in both] == ["complete", "complete"]
    assert sum(answer["restored"].get("learnings", 0) for answer in both) == 2


async def test_a_repeated_undo_of_a_deletion_that_has_not_ended_does_not_say_that_all_is_stored(
    world: World,
) -> None:
    said = [Interaction(content=text) for text in ("first", "second", "third")]
    body = PublishBody(user_id="ada", session_id="s", request_id="r1", interaction_data_list=said)
    await world.rest.publish(body, minted=False)
    [first, second, _] = await world.interactions("r1")
    undone: list[dict[str, Any]] = []

    async def undo_twice() -> None:
        async with world.connect(CONFIRM="off") as other:
            undone.append(await other.call("restore_requests", deletion=1))
            undone.append(await other.call("restore_requests", deletion=1))

    world.backend.before["/api/delete_interaction"] = [nothing, undo_twice]
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r1", interaction_ids=[first, second])
    assert [undo["status"] for undo in undone] == ["incomplete", "incomplete"]
    assert fact_of(undone[1], "may_still_go") == {"code": "may_still_go", "number": 2}


async def test_a_playbook_that_was_stored_twice_comes_back_twice(world: World) -> None:
    await world.put("r1")
    for number in (7, 8):
        await world.learn(number, "r1", content="ships to Oak Road")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1", include_learnings=True)
        assert not world.backend.playbooks
        done = await caller.call("restore_requests", deletion=receipt["number"])
    assert (done["status"], done["restored"]["learnings"]) == ("complete", 2)
    assert len(world.backend.playbooks) == 2


@pytest.mark.parametrize("ahead", [0, 2 * 3600], ids=["clock_right", "clock_two_hours_ahead"])
async def test_an_undo_of_a_deletion_that_has_not_ended_does_not_say_that_all_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    await world.put("r1")
    undone: list[dict[str, Any]] = []
    now = time.time

    async def undo() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda: now() + ahead)
            async with world.connect(CONFIRM="off") as other:
                undone.append(await other.call("restore_requests", deletion=1))

    world.backend.before[BY_IDS] = [undo]
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r1")
        assert undone[0]["status"] == "incomplete"
        assert fact_of(undone[0], "may_still_go") == {"code": "may_still_go", "number": 1}
        listed = (await caller.call("get_status"))["deletions"]
        assert listed[-1]["status"] == "complete", "it is not restored"
        assert (await caller.call("restore_requests", deletion=1))["status"] == "complete"
    assert await world.ids() == {"r1"}
