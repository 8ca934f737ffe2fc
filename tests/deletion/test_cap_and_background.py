"""The hourly cap, deletions that run on by themselves, and what a stop waits for."""

import anyio
import pytest

from reflexio_mcp.state.records import JobNumber
from reflexio_mcp.traffic.deletion.jobs import Jobs
from tests.deletion.support import BY_IDS, World
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


async def test_more_than_an_hour_may_have_is_refused_before_anybody_is_asked(world: World) -> None:
    for number in range(4):
        await world.put(f"r{number}")
    async with world.connect(CONFIRM="off", DELETE_CAP="3") as caller:
        said = await caller.refused("delete_session", session_id="s")
        assert said.startswith(
            "Nothing was deleted. This would delete or change 4 items. 3 an hour are allowed."
        )
        assert "3 are left now." in said
        await caller.receipt("delete_requests", request_ids=["r0", "r1"])
        said = await caller.refused("delete_requests", request_ids=["r2", "r3"])
    assert "There is room in 60 minutes; do not retry before." in said or "61 minutes" in said
    assert await world.ids(session_id="s") == {"r2", "r3"}


async def test_the_cap_counts_in_every_process_and_what_was_not_deleted_is_given_back(world: World) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    limits = {"CONFIRM": "off", "DELETE_CAP": "2"}
    world.backend.answering[BY_IDS] = {"success": False, "message": "read only"}
    async with world.connect(**limits) as caller:
        world.backend.failing[BY_IDS] = (0, 422)
        await caller.receipt("delete_request", request_id="r0")
        world.backend.failing.clear()
        world.backend.answering.clear()
        await caller.receipt("delete_request", request_id="r0")
    async with world.connect(**limits) as another:
        said = await another.refused("delete_requests", request_ids=["r1", "r2"])
    assert "There is room in" in said, "for as many as the whole cap, too"
    assert await world.ids(session_id="s") == {"r1", "r2"}


async def test_the_cap_counts_what_was_sent_and_may_still_be_deleted(world: World) -> None:
    """Nothing is gone, but the service may carry out the call whose answer was lost."""
    for number in range(3):
        await world.put(f"r{number}")
    async with world.connect(CONFIRM="off", DELETE_CAP="2") as caller:
        world.backend.failing[BY_IDS] = (0, 503)
        receipt = await caller.receipt("delete_request", request_id="r0")
        assert (receipt["deleted"].get("requests", 0), receipt["status"]) == (0, "incomplete")
        world.backend.failing.clear()
        said = await caller.refused("delete_requests", request_ids=["r1", "r2"])
    assert "2 an hour are allowed. 1 is left now." in said
    assert await world.ids(session_id="s") == {"r0", "r1", "r2"}


async def test_the_cap_counts_what_an_erasure_removed_from_copies_alone(world: World) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    async with world.connect(CONFIRM="off", DELETE_CAP="3") as caller:
        await caller.receipt("delete_request", request_id="r0")
        erased = await caller.receipt("delete_request", request_id="r0", erase=True)
        assert erased["deleted"]["only_in_copies"] == 1
        said = await caller.refused("delete_requests", request_ids=["r1", "r2"])
    assert "3 an hour are allowed. 1 is left now." in said
    assert await world.ids() == {"r1", "r2"}


@pytest.mark.parametrize(("cap", "stay"), [("2", {"q0", "q1", "q2"}), ("5", set[str]())])
async def test_what_appears_during_a_deletion_counts_too_and_stays_if_the_cap_has_no_room(
    world: World, cap: str, stay: set[str]
) -> None:
    await world.put("r1")
    await world.learn("p", "r1")

    async def appear() -> None:
        for number in range(3):
            await world.learn(f"q{number}", "r1")

    world.backend.before[BY_IDS] = [appear]
    async with world.connect(CONFIRM="off", DELETE_CAP=cap) as caller:
        receipt = await caller.receipt("delete_request", request_id="r1", include_learnings=True)
        await world.put("r2")
        said = await caller.refused("delete_request", request_id="r2")
    assert set(world.backend.profiles) == stay
    code = "learnings_over_cap" if stay else "learnings_appeared"
    assert fact_of(receipt, code) == {"code": code, "number": 3}
    assert receipt["status"] == ("incomplete" if stay else "complete")
    assert f"{cap} an hour are allowed. 0 are left now." in said


async def test_a_deletion_that_is_not_waited_for_leaves_its_receipt_in_the_status(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        answer = await caller.call("delete_request", request_id="r1", wait_for_response=False)
        assert answer["status"] == "scheduled"
        assert answer["plan"]["selected"]["requests"] == 1
        with anyio.fail_after(60):
            while True:
                [past] = (await caller.call("get_status"))["deletions"]
                if past["status"] != "running":
                    break
    assert past["number"] == answer["plan"]["number"]
    assert (past["status"], past["receipt"]["deleted"]["requests"]) == ("complete", 1)


async def test_the_log_does_not_call_a_restore_that_failed_a_deletion(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def begin() -> JobNumber:
        return JobNumber(2, b"")

    async def carry_out(number: JobNumber) -> None:
        raise KeyError(number)

    async with anyio.create_task_group() as tasks:
        job = await Jobs().start(tasks, begin, carry_out)
        with pytest.raises(KeyError):
            await job.outcome()

    assert "deletion or restore 2 failed: KeyError" in caplog.text
