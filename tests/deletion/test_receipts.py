"""A receipt says what reading again showed, whatever the service claims."""

import json
from typing import Any

import pytest

from reflexio_mcp.traffic.deletion import execute
from tests.deletion.support import BY_IDS, READ, World, text_of
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


def refused(why: str, count: int, ids: list[str]) -> dict[str, Any]:
    return {"why": why, "count": count, "ids": ids}


async def test_plan_and_receipt_count_the_same_things_and_add_up(world: World) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    await world.learn("p", "r0")
    arguments = {"session_id": "s", "include_learnings": True}
    async with world.connect() as caller:
        plan = await caller.plan("delete_session", **arguments)
        result = await caller.result("delete_session", **arguments, confirm=plan["confirm"])
    assert result.structured_content
    receipt = result.structured_content["receipt"]
    assert receipt["planned"] == receipt["deleted"] == plan["selected"]
    assert plan["selected"] == {"requests": 3, "interactions": 3, "learnings": 1}
    assert "not_deleted" not in receipt
    assert text_of(result).startswith(
        f"Deletion {receipt['number']}: 3 requests with 3 interactions, 1 learning deleted; checked by reading again."
    )


async def test_a_service_that_claims_to_delete_and_does_not_is_not_believed(world: World) -> None:
    await world.put("r1")
    world.backend.answering[BY_IDS] = {"success": True, "deleted_count": 1}
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1")
    assert (receipt["status"], receipt["deleted"]) == ("incomplete", {})
    assert receipt["not_deleted"] == [refused("still_present", 1, ["r1"])]
    assert "Call again with the same arguments to finish." in receipt["text"]


async def test_a_lost_answer_to_a_deletion_that_took_effect_is_still_a_deletion(world: World) -> None:
    await world.put("r1")
    world.backend.after[BY_IDS] = 503
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1")
    assert (receipt["status"], receipt["deleted"]["requests"]) == ("complete", 1)
    assert world.backend.calls[BY_IDS] == 1


async def test_what_is_stored_after_a_deletion_whose_answer_was_lost_is_not_deleted_too(world: World) -> None:
    await world.put("r1")

    async def store_again() -> None:
        await world.put("r1", text="other words")

    async def when_deleted() -> None:
        world.backend.before[READ] = [store_again]

    world.backend.before[BY_IDS] = [when_deleted]
    world.backend.after[BY_IDS] = 503
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1")
    assert receipt["not_deleted"] == [refused("changed", 1, ["r1"])]
    assert await world.ids() == {"r1"}


async def test_after_a_lost_answer_what_is_still_there_may_yet_be_deleted(world: World) -> None:
    await world.put("r1")
    world.backend.failing[BY_IDS] = (0, 503)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1")
        assert "1 item is still stored and may disappear" in receipt["text"]
        # It may be needed: the copy is kept.
        assert receipt["way_back"]["state"] == "words"
        world.backend.failing.clear()
        again = await caller.receipt("delete_request", request_id="r1")
    assert again["status"] == "complete"


async def test_a_receipt_says_that_the_service_does_not_allow_it(world: World) -> None:
    await world.put("r1")
    world.backend.failing[BY_IDS] = (0, 403)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1")
    assert receipt["not_deleted"] == [refused("still_present", 1, ["r1"])]
    assert "403" in str(fact_of(receipt, "access_refused"))
    assert "The work ended early. Reflexio refused access. Check REFLEXIO_API_KEY" in receipt["text"]


async def test_of_two_failures_a_receipt_names_the_one_that_ended_the_deletion(world: World) -> None:
    await world.put("r1")

    async def then_fail() -> None:
        world.backend.failing[READ] = (0, 500)

    world.backend.failing[BY_IDS] = (0, 403)
    world.backend.before[BY_IDS] = [then_fail]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1")
    assert fact_of(receipt, "access_refused")


async def test_what_cannot_be_read_again_is_not_known(world: World) -> None:
    await world.put("r1")

    async def then_fail() -> None:
        world.backend.failing[READ] = (0, 403)

    world.backend.before[BY_IDS] = [then_fail]
    async with world.connect(CONFIRM="off") as caller:
        result = await caller.result("delete_request", request_id="r1")
    assert result.structured_content
    assert result.structured_content["status"] == "incomplete"
    receipt = result.structured_content["receipt"]
    assert (receipt["deleted"], receipt["not_deleted"]) == ({}, [refused("unknown", 1, ["r1"])])
    assert "not everything could be read again" in text_of(result)


async def test_nothing_is_deleted_if_what_is_there_cannot_be_read_first(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:

        async def then_fail() -> None:
            world.backend.failing[READ] = (0, 403)

        world.backend.before["/api/whoami"] = [then_fail]
        said = await caller.refused("delete_request", request_id="r1")
        assert BY_IDS not in world.backend.calls
        world.backend.failing.clear()
        assert "deleted" not in said.lower().replace("nothing was deleted", "")
    assert await world.ids() == {"r1"}


async def test_what_somebody_else_deleted_or_replaced_since_the_plan_is_not_claimed(world: World) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    async with world.connect() as caller:

        async def meanwhile() -> None:
            await world.rest.delete_requests_by_ids(["r0", "r1"])
            await world.put("r1", text="another one")

        plan = await caller.plan("delete_session", session_id="s")
        world.backend.before["/api/get_profiles"] = [meanwhile]
        receipt = await caller.receipt("delete_session", session_id="s", confirm=plan["confirm"])
    why = {one["why"]: one["ids"] for one in receipt["not_deleted"]}
    assert why == {"gone_before": ["r0"], "changed": ["r1"]}
    assert receipt["deleted"]["requests"] == 1
    assert await world.ids() == {"r1"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (True, "1 request with 1 interaction deleted, of 2 requests with 2 interactions planned;"),
        (False, "2 requests with 2 interactions deleted;"),
    ],
)
async def test_a_receipt_says_how_many_were_planned_if_fewer_are_gone(
    world: World, changes: bool, said: str
) -> None:
    await world.put("r0")
    await world.put("r1")
    async with world.connect() as caller:

        async def meanwhile() -> None:
            if changes:
                await world.rest.delete_requests_by_ids(["r1"])
                await world.put("r1", text="another one")

        plan = await caller.plan("delete_session", session_id="s")
        world.backend.before["/api/get_profiles"] = [meanwhile]
        answer = await caller.result("delete_session", session_id="s", confirm=plan["confirm"])
    assert said in text_of(answer)


async def test_after_an_early_end_every_planned_id_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "BATCH", 2)
    for number in range(6):
        await world.put(f"r{number}")
    world.backend.failing[BY_IDS] = (1, 500)

    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_session", session_id="s")
    assert receipt["deleted"]["requests"] == 2
    assert receipt["not_deleted"] == [refused("still_present", 4, ["r5", "r4", "r3", "r2"])]
    assert await world.ids() == {"r2", "r3", "r4", "r5"}


async def test_a_large_deletion_is_done_in_batches_and_all_of_it_is_checked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "BATCH", 50)
    for number in range(120):
        await world.put(f"r{number:03}")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_session", session_id="s")
    assert (receipt["status"], receipt["deleted"]["requests"]) == ("complete", 120)
    assert world.backend.calls[BY_IDS] == 3


async def test_requests_that_the_service_cannot_return_are_named_and_go_only_without_a_copy(
    world: World,
) -> None:
    await world.put("r1")
    world.backend.unreturned.add("r1")
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", request_id="r1")
        assert fact_of(plan, "unreadable") == {"code": "unreadable", "number": 1}
        said = await caller.refused("delete_request", request_id="r1", confirm=plan["confirm"])
        assert said.endswith("Delete them with erase, which keeps no copy.")
        receipt = await caller.confirmed("delete_request", request_id="r1", erase=True)
    world.backend.unreturned.clear()
    assert receipt["deleted"]["requests"] == 1
    assert await world.ids() == set()


async def test_learnings_that_the_same_call_cannot_find_again_are_said_to_need_another_one(
    world: World,
) -> None:
    await world.put("r1")
    await world.learn("p", "r1")
    async with world.connect(CONFIRM="off") as caller:
        world.backend.failing["/api/delete_profiles_by_ids"] = (0, 500)
        receipt = await caller.receipt("delete_request", request_id="r1", include_learnings=True, erase=True)
        assert "pass their ids to delete_learnings" in receipt["text"]
        del world.backend.failing["/api/delete_profiles_by_ids"]
        [left] = receipt["not_deleted"]
        await caller.receipt("delete_learnings", user_id="ada", learning_ids=left["ids"], erase=True)
    assert not world.backend.profiles


async def test_a_deletion_that_ended_without_its_receipt_does_not_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put("r\n1")

    async def broken(*_: object) -> None:
        raise ValueError

    async with world.connect(CONFIRM="off") as caller:
        with monkeypatch.context() as patch:
            patch.setattr(execute._Act, "close", broken)
            await caller.refused("delete_request", request_id="r\n1")
        [past] = (await caller.call("get_status"))["deletions"]
        world.backend.failing[READ] = (0, 403)
        [unread] = (await caller.call("get_status"))["deletions"]
    assert (past["status"], past["gone"]) == ("unfinished", 1)
    assert (unread["status"], unread["gone"]) == ("unfinished", 0)


async def test_a_deletion_that_found_nothing_left_to_delete_has_no_way_back(world: World) -> None:
    await world.put("r1")

    async def meanwhile() -> None:
        await world.rest.delete_requests_by_ids(["r1"])

    async with world.connect() as caller:
        plan = await caller.plan("delete_request", request_id="r1")
        world.backend.before["/api/get_profiles"] = [meanwhile]
        receipt = await caller.receipt("delete_request", request_id="r1", confirm=plan["confirm"])
    assert receipt["not_deleted"] == [{"why": "gone_before", "count": 1, "ids": ["r1"]}]
    assert receipt["way_back"] == {"state": "none"}


@pytest.mark.parametrize(
    "target", [("delete_request", "request_id", "r1"), ("delete_session", "session_id", "s")]
)
async def test_the_same_call_takes_the_learnings_that_an_interrupted_deletion_has_left(
    world: World, monkeypatch: pytest.MonkeyPatch, target: tuple[str, str, str]
) -> None:
    await world.put("r1")
    await world.learn("p", "r1")

    async def killed(*_: object) -> None:
        raise ValueError

    tool, name, value = target
    arguments: dict[str, Any] = {name: value, "include_learnings": True}
    async with world.connect(CONFIRM="off") as caller:
        with monkeypatch.context() as patch:
            patch.setattr(execute._Act, "delete_learnings", killed)
            await caller.refused(tool, **arguments)
        assert await world.ids() == set()
        assert world.backend.profiles
        receipt = await caller.receipt(tool, **arguments)
    assert receipt["deleted"] == {"learnings": 1}
    assert not world.backend.profiles


async def test_the_reason_is_in_the_log_and_in_the_receipt_and_no_part_of_what_the_code_stands_for(
    world: World,
) -> None:
    await world.put("r1")
    server = world.server()
    token = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
    async with world.connect(server=server) as caller:
        assert "200 characters" in await caller.refused("delete_request", request_id="r1", reason="x" * 201)
        plan = await caller.plan("delete_request", request_id="r1", reason="asked on the phone")
        given = {"request_id": "r1", "confirm": plan["confirm"], "reason": f"ticket 7, {token}"}
        result = await caller.result("delete_request", **given)
    assert result.structured_content
    reason = result.structured_content["receipt"]["reason"]
    assert reason.startswith("ticket 7, [redacted")
    assert f"reason: {reason}" in text_of(result)
    begin = json.loads(next(server.runtime.state.log.entries()).line)
    assert begin["reason"] == reason
