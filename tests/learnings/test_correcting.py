"""A learning is corrected in place: plan with the difference, consent, read again, and the old text can come back."""

import json
import time
from typing import Any

import pytest

from reflexio_mcp.state import tables
from tests.deletion.support import Person, World, text_of
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio

OLD, NEW = "Lives at 1 Oak Road", "Lives at 5 Elm Road"
ASKED = {"user_id": "ada", "learning_id": "profile:p", "content": NEW}


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    from reflexio_mcp.traffic.learnings import remove

    monkeypatch.setattr(remove, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(remove, "WAIT_SECONDS", 0.1)


async def known(world: World) -> None:
    await world.put("r1", text="I live at 1 Oak Road")
    await world.learn("p", "r1", content=OLD, quote="I live at 1 Oak Road")
    await world.learn(7, "r1", content="Ship to Oak Road", trigger="when ordering")
    await world.put("r2", user="bob")
    await world.learn("q", "r2", user="bob", content="likes coffee")


async def test_the_plan_shows_both_texts_and_its_code_changes_this_one(world: World) -> None:
    await known(world)
    async with world.connect() as caller:
        plan = await caller.plan("correct_learning", **ASKED)
        assert plan["change"] == {
            "before": OLD,
            "after": NEW,
            "quote": "I live at 1 Oak Road",
            "known_since": plan["change"]["known_since"],
        }
        assert "still say the old" in plan["text"]
        assert plan["text"].startswith("Nothing is changed yet: this is the plan.")
        assert world.backend.profiles["p"].content == OLD
        receipt = await caller.receipt("correct_learning", **ASKED, confirm=plan["confirm"])
        listed = await caller.call("list_learnings", user_id="ada", contains="elm")
    assert (receipt["status"], receipt["corrected"], receipt["deleted"]) == ("complete", 1, {})
    assert f"restore_requests deletion={receipt['number']} undoes it." in receipt["text"]
    assert fact_of(receipt, "sources_stay") == {"code": "sources_stay", "number": 1, "names": ["r1"]}
    assert [one["content"] for one in listed["learnings"]] == [NEW]
    before, after = world.backend.playbooks[7], world.backend.profiles["p"]
    assert (before.content, after.interactions) == ("Ship to Oak Road", (1,))


async def test_the_plan_of_a_correction_says_what_undoes_it_and_nothing_of_a_deletion(world: World) -> None:
    await known(world)
    async with world.connect() as caller:
        plan = await caller.plan("correct_learning", **ASKED)
        deletion = await caller.plan("delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert "restore_requests undoes the correction." in plan["text"]
    assert "undoes the deletion" not in plan["text"]
    assert "restore_requests undoes the deletion." in deletion["text"]


async def test_a_correction_beside_running_learning_is_looked_at_later_not_repeated(world: World) -> None:
    await known(world)
    world.backend.learning = [{"status": "processing", "reason": "extracting"}] * 1_000
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("correct_learning", **ASKED)
    assert (receipt["status"], receipt["corrected"]) == ("incomplete", 1)
    assert fact_of(receipt, "look_later")


async def test_a_playbook_is_corrected_and_comes_back(world: World) -> None:
    await known(world)
    asked = {"user_id": "ada", "learning_id": "user_playbook:7", "content": "Ship to Elm Road"}
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("correct_learning", **asked)
        assert world.backend.playbooks[7].content == "Ship to Elm Road"
        done = await caller.restored(receipt["number"])
    assert (done["status"], done["restored"]) == ("complete", {"learnings": 1})
    assert world.backend.playbooks[7].content == "Ship to Oak Road"
    assert len(world.backend.playbooks) == 1


UPDATE = "/api/update_user_profile"


async def test_a_correction_beside_an_undo_leaves_the_learning_to_it(world: World) -> None:
    await known(world)
    async with world.connect(CONFIRM="off") as caller, world.connect(CONFIRM="off") as other:
        first = await caller.receipt("correct_learning", **ASKED)
        receipts: list[dict[str, Any]] = []

        async def correct() -> None:
            asked = ASKED | {"content": "Lives in Rome", "erase": True}
            receipts.append(await other.receipt("correct_learning", **asked))

        world.backend.before[UPDATE] = [correct]
        undone = await caller.restored(first["number"])
        [receipt] = receipts
        assert (receipt["status"], receipt.get("corrected", 0)) == ("incomplete", 0)
        assert fact_of(receipt, "learning_being_changed")
        assert (undone["status"], undone["restored"]) == ("complete", {"learnings": 1})
        assert world.backend.profiles["p"].content == OLD
        again = await other.receipt("correct_learning", **ASKED | {"content": "Lives in Rome", "erase": True})
    assert (again["status"], again["corrected"]) == ("complete", 1)
    assert world.backend.profiles["p"].content == "Lives in Rome"


async def test_an_undo_beside_a_correction_leaves_the_learning_to_it(world: World) -> None:
    await known(world)
    async with world.connect(CONFIRM="off") as caller, world.connect(CONFIRM="off") as other:
        first = await caller.receipt("correct_learning", **ASKED)
        undone: list[dict[str, Any]] = []

        async def undo() -> None:
            undone.append(await other.restored(first["number"]))

        world.backend.before[UPDATE] = [undo]
        second = await caller.receipt("correct_learning", **ASKED | {"content": "Lives in Rome"})
        assert undone[0]["status"] == "incomplete"
        assert fact_of(undone[0], "learning_being_changed")
        assert second["status"] == "complete"
        assert world.backend.profiles["p"].content == "Lives in Rome"
        await caller.restored(second["number"])
        assert world.backend.profiles["p"].content == NEW, "no text was overwritten without a copy"


@pytest.mark.parametrize("tool", ["correct_learning", "delete_learnings"])
async def test_of_two_calls_that_change_one_learning_the_second_leaves_it(world: World, tool: str) -> None:
    await known(world)
    second = ASKED | {"content": "Lives in Rome"}
    if tool == "delete_learnings":
        second = {"user_id": "ada", "learning_ids": ["profile:p"]}
    async with world.connect(CONFIRM="off") as caller, world.connect(CONFIRM="off") as other:
        receipts: list[dict[str, Any]] = []

        async def change() -> None:
            receipts.append(await other.receipt(tool, **second))

        world.backend.before[UPDATE] = [change]
        first = await caller.receipt("correct_learning", **ASKED)
    assert (first["status"], receipts[0]["status"]) == ("complete", "incomplete")
    assert fact_of(receipts[0], "learning_being_changed")
    assert world.backend.profiles["p"].content == NEW


async def test_a_correction_whose_call_may_take_ten_minutes_keeps_the_learning_for_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(world)
    world.rest.timeout = 600
    others: list[dict[str, Any]] = []
    async with world.connect(CONFIRM="off") as caller, world.connect(CONFIRM="off") as other:

        async def correct_after_three_minutes() -> None:
            now = time.time()
            monkeypatch.setattr(tables.time, "time", lambda: now + 590)
            others.append(await other.receipt("correct_learning", **ASKED | {"content": "Lives in Rome"}))

        world.backend.before[UPDATE] = [correct_after_three_minutes]
        receipt = await caller.receipt("correct_learning", **ASKED)
    assert fact_of(others[0], "learning_being_changed")
    assert (receipt["status"], world.backend.profiles["p"].content) == ("complete", NEW)


async def test_a_correction_whose_answer_was_lost_keeps_the_learning_for_three_minutes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(world)
    world.backend.after[UPDATE] = 503
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("correct_learning", **ASKED)
        del world.backend.after[UPDATE]
        second = ASKED | {"content": "Lives in Rome"}
        assert fact_of(await caller.receipt("correct_learning", **second), "learning_being_changed")
        now = time.time()
        monkeypatch.setattr(tables.time, "time", lambda: now + 181)
        corrected = await caller.receipt("correct_learning", **second)
        unrelated = await caller.receipt("correct_learning", **second | {"content": "Lives in Oslo"})
    assert (corrected["status"], fact_of(corrected, "may_still_go")) == (
        "complete",
        {"code": "may_still_go", "number": 1},
    )
    assert fact_of(unrelated, "may_still_go"), "the lost call may still come after that"


async def test_a_correction_after_one_that_was_answered_says_nothing_of_other_calls(world: World) -> None:
    await known(world)
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("correct_learning", **ASKED)
        second = await caller.receipt("correct_learning", **ASKED | {"content": "Lives in Rome"})
    assert not fact_of(second, "may_still_go")


async def test_the_old_text_comes_back_only_in_place_of_the_text_that_took_its_place(world: World) -> None:
    await known(world)
    async with world.connect(CONFIRM="off") as caller:
        first = await caller.receipt("correct_learning", **ASKED)
        second = await caller.receipt("correct_learning", **ASKED | {"content": "Lives in Rome"})
        refused = await caller.restored(first["number"])
        assert refused["not_restored"] == [{"why": "id_taken", "count": 1, "ids": ["profile:p"]}]
        assert world.backend.profiles["p"].content == "Lives in Rome"
        for number in (second["number"], first["number"]):
            assert (await caller.restored(number))["restored"] == {"learnings": 1}
    assert world.backend.profiles["p"].content == OLD


async def test_the_old_text_comes_back_also_if_another_learning_has_it(world: World) -> None:
    await known(world)
    await world.learn("same", "r1", content=OLD, quote="I live at 1 Oak Road")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("correct_learning", **ASKED)
        assert world.backend.profiles["p"].content == NEW
        done = await caller.restored(receipt["number"])
    assert (done["status"], done["restored"]) == ("complete", {"learnings": 1})
    assert world.backend.profiles["p"].content == world.backend.profiles["same"].content == OLD


async def test_the_old_text_comes_back_in_place_of_the_new_one_although_the_playbook_has_another_id(
    world: World,
) -> None:
    await known(world)
    playbook = {"user_id": "ada", "learning_id": "user_playbook:7"}
    async with world.connect(CONFIRM="off") as caller:
        correction = await caller.receipt("correct_learning", **playbook, content="Ship to Elm Road")
        deletion = await caller.receipt("delete_learnings", user_id="ada", learning_ids=["user_playbook:7"])
        await caller.restored(deletion["number"])
        assert [one.content for one in world.backend.playbooks.values()] == ["Ship to Elm Road"]
        back = await caller.restored(correction["number"])
    assert (back["status"], back["restored"]) == ("complete", {"learnings": 1})
    assert [one.content for one in world.backend.playbooks.values()] == ["Ship to Oak Road"]


async def test_an_erasing_correction_leaves_no_copy_of_the_old_text(world: World) -> None:
    await known(world)
    async with world.connect(CONFIRM="off") as caller:
        first = await caller.receipt("correct_learning", **ASKED)
        last = await caller.receipt("correct_learning", **ASKED | {"content": "Lives in Rome", "erase": True})
        assert last["way_back"]["state"] == "erased"
        assert "has no recovery copy" in await caller.refused("restore_requests", deletion=first["number"])


async def test_a_recorded_receipt_has_neither_text_so_a_later_erasure_leaves_neither(world: World) -> None:
    await known(world)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("correct_learning", **ASKED)
        assert (receipt["change"]["before"], receipt["change"]["after"]) == (OLD, NEW)
        erased = await caller.receipt("delete_requests", user_id="ada", include_learnings=True, erase=True)
        assert erased["status"] == "complete"
        status = await caller.result("get_status")
    assert "a correction" in text_of(status)
    assert "Road" not in json.dumps(status.structured_content)


@pytest.mark.parametrize("changes", [{"content": "Lives in Rome"}, {"erase": True}])
async def test_a_code_does_not_fit_another_text_or_other_options(
    world: World, changes: dict[str, Any]
) -> None:
    await known(world)
    async with world.connect() as caller:
        plan = await caller.plan("correct_learning", **ASKED)
        answer = await caller.call("correct_learning", **ASKED | changes, confirm=plan["confirm"])
        assert answer["status"] == "changed"
        await world.learn("p", "r1", content="Lives in Paris")
        answer = await caller.call("correct_learning", **ASKED, confirm=plan["confirm"])
    assert answer["status"] == "changed"
    assert world.backend.profiles["p"].content == "Lives in Paris"


async def test_nobody_corrects_a_learning_of_another_user_or_one_that_is_not_there(world: World) -> None:
    await known(world)
    async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        for learning_id in ("profile:q", "user_playbook:99"):
            answer = await caller.call("correct_learning", learning_id=learning_id, content=NEW)
            assert (answer["status"], answer["plan"]["not_found"]) == ("not_found", [learning_id])
            # Nothing would change, so no copy of it is promised.
            assert answer["text"].startswith("Nothing was changed, because nothing was found.")
            assert "way_back" not in answer["plan"]
    assert not world.backend.calls["/api/update_user_playbook"]
    assert world.backend.profiles["q"].content == "likes coffee"


async def test_what_cannot_be_a_correction_is_refused(world: World) -> None:
    await known(world)
    await world.learn("old", "r1", status="superseded")
    token = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
    async with world.connect(CONFIRM="off", PUBLISH_SECRETS="refuse") as caller:
        for changes, said in (
            ({"content": " "}, "must not be blank"),
            ({"content": OLD}, "says already"),
            ({"content": f"The token is {token}"}, "contains a secret"),
            ({"learning_id": "profile:old"}, "is superseded"),
            ({"user_id": ""}, "user_id is required"),
        ):
            assert said in await caller.refused("correct_learning", **ASKED | changes)
    assert world.backend.profiles["p"].content == OLD


async def test_a_person_is_shown_both_texts(world: World) -> None:
    await known(world)
    answers: list[dict[str, Any]] = [{"change": False}, {"delete": True}, {"change": True}]
    person = Person(lambda _: answers.pop(0))
    async with world.connect(person=person) as caller:
        for status in ("declined", "declined", "complete"):
            assert (await caller.call("correct_learning", **ASKED))["status"] == status
    assert OLD in person.seen[0]
    assert NEW in person.seen[0]
    assert list(person.schemas[0]["properties"]) == ["change"]
    assert world.backend.profiles["p"].content == NEW


async def test_hidden_content_and_secrets_are_not_shown(world: World) -> None:
    await known(world)
    token = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
    await world.learn("p", "r1", content=f"The token is {token}", quote="I live at 1 Oak Road")
    async with world.connect() as caller:
        result = await caller.result("correct_learning", **ASKED)
        assert token not in text_of(result) + json.dumps(result.structured_content)
    async with world.connect(MASK="1") as caller:
        result = await caller.result("correct_learning", **ASKED)
        shown = text_of(result) + json.dumps(result.structured_content)
        assert "token is" not in shown
        assert "1 Oak Road" not in shown


async def test_a_change_that_did_not_happen_is_not_called_done(world: World) -> None:
    await known(world)
    world.backend.answering["/api/update_user_profile"] = {"success": True}
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("correct_learning", **ASKED)
    assert (receipt["status"], receipt.get("corrected")) == ("incomplete", None)
    assert receipt["not_deleted"] == [{"why": "still_present", "count": 1, "ids": ["profile:p"]}]
    assert fact_of(receipt, "repeat_call")
    assert not fact_of(receipt, "learnings_may_be_missed"), "nothing was to be deleted"


async def test_a_learning_that_was_edited_since_the_plan_keeps_that_text(world: World) -> None:
    await known(world)

    async def edit() -> None:
        world.backend.profiles["p"] = world.backend.profiles["p"]._replace(content="Lives in Bern")

    async with world.connect(CONFIRM="off") as caller:
        world.backend.before["/api/learning_status"] = [edit]
        receipt = await caller.receipt("correct_learning", **ASKED)
    assert receipt["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["profile:p"]}]
    assert world.backend.profiles["p"].content == "Lives in Bern"


async def test_a_playbook_that_was_replaced_since_the_plan_keeps_its_text(world: World) -> None:
    await known(world)

    async def replace() -> None:
        old = world.backend.playbooks[7]
        world.backend.playbooks[7] = old._replace(status="superseded")
        world.backend.playbooks[8] = old._replace(content="Ship to Elm Road, too")

    world.backend.before["/api/get_operation_status"] = [replace]
    asked = ASKED | {"learning_id": "user_playbook:7"}
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("correct_learning", **asked)
    assert receipt["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["user_playbook:7"]}]
    assert world.backend.playbooks[7].content == "Ship to Oak Road"


async def test_the_log_names_the_correction_and_not_its_text(world: World) -> None:
    await known(world)
    server = world.server(CONFIRM="off")
    async with world.connect(server=server) as caller:
        await caller.receipt("correct_learning", **ASKED)
    lines = [entry.line for entry in server.runtime.state.log.entries()]
    assert '"tool": "correct_learning"' in lines[0]
    assert '"corrected": 1' in lines[1]
    assert "Road" not in "".join(lines)


async def test_a_learning_that_a_running_extraction_takes_is_not_corrected_and_its_successor_is_named(
    world: World,
) -> None:
    await known(world)
    await world.put("r3", text="I moved")
    [first] = await world.interactions("r1")
    [second] = await world.interactions("r3")

    async def merge() -> None:
        old = world.backend.profiles["p"]
        world.backend.profiles["p"] = old._replace(status="superseded")
        world.backend.profiles["new"] = old._replace(
            content="Moved from Oak Road", interactions=(first, second), request_id="r3"
        )

    world.backend.before["/api/get_operation_status"] = [merge]
    async with world.connect(CONFIRM="off") as caller:
        result = await caller.result("correct_learning", **ASKED)
    assert result.structured_content
    receipt = result.structured_content["receipt"]
    assert "corrected" not in receipt
    assert result.structured_content["status"] == "incomplete"
    assert (fact_of(receipt, "learning_replaced") or {})["names"] == ["profile:new"]
    assert "profile:new" in text_of(result)
    assert world.backend.profiles["p"].content == OLD
    assert world.backend.profiles["new"].content == "Moved from Oak Road"


async def test_a_playbook_that_only_got_another_id_meanwhile_is_corrected_under_it(world: World) -> None:
    await known(world)

    async def churn() -> None:
        old = world.backend.playbooks[7]
        world.backend.playbooks[7] = old._replace(status="merged")
        world.backend.playbooks[8] = old

    world.backend.before["/api/get_operation_status"] = [churn]
    asked = {"user_id": "ada", "learning_id": "user_playbook:7", "content": "Ship to Elm Road"}
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("correct_learning", **asked)
    assert receipt["corrected"] == 1
    assert world.backend.playbooks[8].content == "Ship to Elm Road"
    assert world.backend.playbooks[7].content == "Ship to Oak Road"


async def test_an_undo_that_lands_late_over_a_correction_that_erased_its_text_does_not_delete_the_learning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await known(world)
    receipts: list[dict[str, Any]] = []
    async with world.connect(CONFIRM="off") as caller, world.connect(CONFIRM="off") as other:
        first = await caller.receipt("correct_learning", **ASKED)

        async def correct_much_later() -> None:
            with monkeypatch.context() as patch:
                now = time.time()
                patch.setattr(tables.time, "time", lambda: now + 181)
                asked = ASKED | {"content": "Lives in Rome", "erase": True}
                receipts.append(await other.receipt("correct_learning", **asked))

        world.backend.before[UPDATE] = [correct_much_later]
        undone = await caller.restored(first["number"])
        assert (receipts[0]["status"], receipts[0]["corrected"]) == ("incomplete", 1)
        assert fact_of(receipts[0], "may_return")
        assert "a corrected learning is not, and has to be corrected again" in receipts[0]["text"]
        assert fact_of(receipts[0], "may_still_go")
        assert undone["status"] == "incomplete"
        assert world.backend.profiles["p"].content == OLD
        again = await other.receipt("correct_learning", **ASKED | {"content": "Lives in Rome", "erase": True})
    assert again["corrected"] == 1
    assert world.backend.profiles["p"].content == "Lives in Rome"
