"""Rows of the state that were changed, or whose key is missing, are left out and named, and stop nothing else."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.deletion.support import Caller, World, text_of
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


def change(world: World, *statements: str) -> None:
    with closing(sqlite3.connect(world.folder / "state.db")) as state:
        for statement in statements:
            assert state.execute(statement).rowcount
        state.commit()


async def deleted(world: World) -> int:
    for name in ("r1", "r2", "r3"):
        await world.put(name)
    async with world.connect(CONFIRM="off") as caller:
        return (await caller.receipt("delete_session", session_id="s"))["number"]


def copies(world: World) -> int:
    with closing(sqlite3.connect(world.folder / "state.db")) as state:
        return state.execute("SELECT count(*) FROM copies").fetchone()[0]


def hold(folder: Path, names: str) -> str:
    policy = folder / "policy.toml"
    policy.write_text(f'[[hold]]\n{names}\nreason = "a case"\n', encoding="utf-8")
    return str(policy)


CHANGED_COPY = "UPDATE copies SET sealed = x'00' WHERE id = 2"
# With another key, every tag of the row is another one, too.
OTHER_KEY = "UPDATE copies SET sealing_key = 'x', account = 'x', user_id = 'x', names = 'x'"
HIDING = ["account = 'x'", "user_id = 'x'", "until = 0, seen_until = 0", "until = 'zzz'", "seen_until = 'x'"]
ONE_DAMAGED = {"code": "copies_damaged", "number": 1}


async def test_a_copy_that_was_changed_is_named_by_a_restore_which_puts_the_others_back(world: World) -> None:
    number = await deleted(world)
    change(world, CHANGED_COPY)
    async with world.connect() as caller:
        assert (await caller.call("restore_requests"))["deletions"][0]["number"] == number
        plan = await caller.call("restore_requests", deletion=number)
        done = await caller.call("restore_requests", deletion=number, confirm=plan["confirm"])
        [restore, deletion] = (await caller.call("get_status"))["deletions"]
    assert (plan["planned"]["requests"], fact_of(plan, "copies_damaged")) == (2, ONE_DAMAGED)
    assert (done["status"], done["restored"]["requests"]) == ("incomplete", 2)
    assert fact_of(done, "copies_damaged") == ONE_DAMAGED
    assert "1 recovery copy was changed in the state and cannot be opened." in done["text"]
    assert await world.ids() == {"r1", "r3"}
    assert (restore["status"], deletion["status"]) == ("incomplete", "partly_restored")


async def test_an_erasure_names_a_copy_that_was_changed_and_erases_the_others(world: World) -> None:
    number = await deleted(world)
    change(world, "UPDATE copies SET names = 'x' WHERE id = 2")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", request_ids=["r1", "r2"], erase=True)
        assert (receipt["deleted"], receipt["not_deleted"]) == (
            {"only_in_copies": 1},
            [{"why": "not_found", "count": 1, "ids": ["r2"]}],
        )
        assert fact_of(receipt, "copies_damaged") == ONE_DAMAGED
        done = await caller.call("restore_requests", deletion=number)
    assert done["restored"]["requests"] == 1
    assert await world.ids() == {"r3"}


async def test_an_erasure_of_what_is_stored_again_or_of_its_user_removes_a_copy_that_was_changed(
    world: World,
) -> None:
    number = await deleted(world)
    change(world, CHANGED_COPY)
    await world.put("r2")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r2", erase=True)
        assert copies(world) == 2
        change(world, "UPDATE copies SET sealed = x'00'")
        await caller.receipt("delete_requests", user_id="ada", include_learnings=True, erase=True)
        assert copies(world) == 0
        assert "copies_damaged" not in await caller.refused("restore_requests", deletion=number)


@pytest.mark.parametrize("ids", [["r1", "r2"], ["r2"]])
async def test_a_changed_copy_that_is_put_back_is_not_restored_if_an_erasure_named_its_id(
    world: World, ids: list[str]
) -> None:
    number = await deleted(world)
    names = changed_so_that_nothing_finds_it(world)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", request_ids=ids, erase=True)
        assert fact_of(receipt, "copies_damaged") == ONE_DAMAGED
        change(world, f"UPDATE copies SET names = '{names}' WHERE id = 2")
        await caller.call("restore_requests", deletion=number)
    assert await world.ids() == {"r1", "r2", "r3"} - set(ids)


async def test_a_changed_copy_that_is_put_back_is_not_restored_if_an_erasure_named_its_user(
    world: World,
) -> None:
    number = await deleted(world)
    names = changed_so_that_nothing_finds_it(world)
    async with world.connect(CONFIRM="off") as caller:
        everything = {"user_id": "ada", "include_learnings": True, "erase": True}
        assert fact_of(await caller.receipt("delete_requests", **everything), "copies_damaged") == ONE_DAMAGED
        change(world, f"UPDATE copies SET names = '{names}' WHERE id = 2")
        await caller.refused("restore_requests", deletion=number)
    assert await world.ids() == set()


def changed_so_that_nothing_finds_it(world: World) -> str:
    """Change the names of the copy of r2, and return what they were."""
    with closing(sqlite3.connect(world.folder / "state.db")) as state:
        [(names,)] = state.execute("SELECT names FROM copies WHERE id = 2")
    change(world, "UPDATE copies SET names = 'x' WHERE id = 2")
    return names


async def test_a_copy_that_was_changed_stays_while_a_hold_may_cover_it(world: World, tmp_path: Path) -> None:
    await deleted(world)
    change(world, CHANGED_COPY)
    await world.put("r2")
    async with world.connect(CONFIRM="off", POLICY=hold(tmp_path, 'sessions = ["miller"]')) as caller:
        receipt = await caller.receipt("delete_request", request_id="r2", erase=True)
    assert (receipt["status"], receipt["deleted"]["requests"]) == ("incomplete", 1)
    assert fact_of(receipt, "copies_on_hold") == {"code": "copies_on_hold", "number": 1}
    assert copies(world) == 3


async def test_a_restore_of_what_was_changed_alone_says_so(world: World) -> None:
    number = await deleted(world)
    change(world, "UPDATE copies SET sealed = x'00'")
    async with world.connect() as caller:
        said = await caller.refused("restore_requests", deletion=number)
    assert "has no recovery copy that you can restore" in said
    assert "3 recovery copies were changed in the state and cannot be opened." in said


@pytest.mark.parametrize("column", ["intention", "receipt"])
async def test_a_record_that_was_changed_is_named_and_the_others_are_shown(world: World, column: str) -> None:
    number = await deleted(world)
    await world.put("r4")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r4", erase=True)
        change(world, f"UPDATE deletions SET {column} = x'00' WHERE id = {number}")
        status = await caller.result("get_status")
        listed = await caller.call("restore_requests")
        assert status.structured_content
        past = {one["number"]: one for one in status.structured_content["deletions"]}
        assert (past[number]["damaged"], "damaged" in past[number + 1]) == (True, False)
        assert "its record was changed in the state" in text_of(status)
        assert [one["damaged"] for one in listed["deletions"]] == [True]
        await caller.receipt("delete_requests", request_ids=["r2"], erase=True)
        done = await caller.call("restore_requests", deletion=number)
    assert done["restored"]["requests"] == 2
    assert await world.ids() == {"r1", "r3"}


async def test_a_deletion_that_a_changed_row_gives_to_another_user_is_not_told_to_that_user(
    world: World,
) -> None:
    await world.put("r1", session="canary session")
    await world.put("r2", user="bob", session="of bob")
    async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        await caller.receipt("delete_session", session_id="canary session", reason="canary reason")
    async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="bob") as caller:
        await caller.receipt("delete_session", session_id="of bob")
        change(
            world, "UPDATE deletions SET user_id = (SELECT user_id FROM deletions WHERE id = 2) WHERE id = 1"
        )
        status = await caller.result("get_status")
    assert status.structured_content
    assert fact_of(status.structured_content, "records_changed") == {"code": "records_changed", "number": 1}
    assert "canary" not in repr(status)
    assert "1 record of deletions or restores was changed in the state" in text_of(status)
    async with world.connect() as operator:
        found = (await operator.call("get_status"))["deletions"]
    assert {past["number"]: (past["status"], past.get("damaged", False)) for past in found} == {
        1: ("unknown", True),
        2: ("complete", False),
    }


async def test_an_erasure_that_is_incomplete_is_not_called_complete_because_its_row_was_changed(
    world: World,
) -> None:
    await deleted(world)
    change(world, "UPDATE copies SET names = 'x' WHERE id = 2")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", request_ids=["r1", "r2"], erase=True)
        change(world, f"UPDATE deletions SET outcome = 'complete' WHERE id = {receipt['number']}")
        found = await caller.call("get_status")
    [erasure] = [past for past in found["deletions"] if past["number"] == receipt["number"]]
    assert (erasure["status"], erasure["damaged"]) == ("incomplete", True)
    assert fact_of(found, "records_changed")


async def test_a_record_of_a_removed_state_is_not_shown_in_the_place_of_a_new_one(world: World) -> None:
    """Its key is the same, and so is its number."""
    await world.put("r1", session="really erased")
    await world.put("r2", session="another")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_session", session_id="really erased", erase=True)
    state = world.folder / "state.db"
    columns = "account, user_id, caller, code, intention, gone, finished, outcome, receipt, chain"
    with closing(sqlite3.connect(state)) as old:
        values = old.execute(f"SELECT {columns} FROM deletions").fetchone()
    state.unlink()
    (world.folder / "state.end").unlink()
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_session", session_id="another")
        with closing(sqlite3.connect(state)) as new, new:
            new.execute(f"UPDATE deletions SET ({columns}) = ({', '.join('?' * len(values))})", values)
        found = await caller.call("get_status")
    [past] = found["deletions"]
    assert (past["number"], past["status"], past["damaged"]) == (1, "unknown", True)
    assert "really erased" not in repr(found["deletions"])
    assert fact_of(found, "records_changed")


CHANGED_LINES = {"words": "'no line'", "a list": "'[]'", "deep": f"'{'[' * 50_000}'", "bytes": "x'00ff'"}


@pytest.mark.parametrize("line", CHANGED_LINES)
async def test_a_deletion_whose_line_of_the_log_was_changed_is_named_and_the_rest_is_shown(
    world: World, line: str
) -> None:
    number = await deleted(world)
    await world.put("r4")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r4")
        change(world, f"UPDATE log SET line = {CHANGED_LINES[line]} WHERE id IN (1, 2)")
        status = await caller.call("get_status")
        listed = await caller.call("restore_requests")
        done = await caller.call("restore_requests", deletion=number)
    for found in (status, listed):
        damaged = {deletion["number"]: deletion.get("damaged", False) for deletion in found["deletions"]}
        assert damaged == {number: True, number + 1: False}
    assert fact_of(status, "log_unsound")
    assert done["restored"]["requests"] == 3


async def test_a_line_about_a_hold_that_was_changed_is_found_by_the_status_which_shows_the_rest(
    world: World,
) -> None:
    number = await deleted(world)
    change(world, """UPDATE log SET line = '{"event": "held", "account": 1}'""")
    async with world.connect() as caller:
        found = await caller.call("get_status")
    assert [deletion["number"] for deletion in found["deletions"]] == [number]
    assert fact_of(found, "log_unsound")


async def test_a_restore_names_the_copies_that_are_sealed_with_a_missing_key(world: World) -> None:
    number = await deleted(world)
    change(world, f"{OTHER_KEY} WHERE id = 2")
    async with world.connect() as caller:
        plan = await caller.call("restore_requests", deletion=number)
        done = await caller.call("restore_requests", deletion=number, confirm=plan["confirm"])
        refused = await caller.refused("restore_requests", deletion=number, request_ids=["r2"])
        [_, deletion] = (await caller.call("get_status"))["deletions"]
    one_sealed = {"code": "copies_sealed", "number": 1}
    assert (plan["planned"]["requests"], fact_of(plan, "copies_sealed")) == (2, one_sealed)
    assert (done["status"], done["restored"]["requests"]) == ("incomplete", 2)
    assert fact_of(done, "copies_sealed") == one_sealed
    assert "1 recovery copy is encrypted with a key that this server does not have." in done["text"]
    assert deletion["status"] == "partly_restored"
    assert "encrypted with a key that this server does not have" in refused


@pytest.mark.parametrize("erase", [False, True])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("names", ['sessions = ["miller"]', 'sources = ["chat"]'])
async def test_a_learning_is_kept_while_its_source_may_be_in_a_copy_whose_key_is_missing(
    world: World, tmp_path: Path, names: str, listed: bool, erase: bool
) -> None:
    await world.put("held", session="miller", source="chat")
    await world.put("later", session="other", source="other")
    await world.learn("p", "held", "later")
    await world.learn("q", "later")
    if not listed:
        world.backend.profiles["p"] = world.backend.profiles["p"]._replace(interactions=())
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="held")
    change(world, OTHER_KEY)
    named = {"user_id": "ada", "learning_ids": ["profile:p"], "erase": erase}
    async with world.connect(CONFIRM="off", POLICY=hold(tmp_path, names)) as caller:
        said = await caller.refused("delete_learnings", **named)
        assert (
            "Nothing was deleted. It is unknown whether a hold keeps these learnings. 1 recovery copy" in said
        )
        # Everything that this one may have come from is stored.
        await caller.receipt("delete_learnings", user_id="ada", learning_ids=["profile:q"])
    assert set(world.backend.profiles) == {"p"}


async def test_a_copy_whose_key_is_missing_keeps_no_learning_that_a_hold_cannot_cover(
    world: World, tmp_path: Path
) -> None:
    await world.put("r1")
    await world.learn("p", "r1")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r1")
    change(world, OTHER_KEY)
    async with world.connect(CONFIRM="off", POLICY=hold(tmp_path, 'users = ["bob"]')) as caller:
        receipt = await caller.receipt("delete_learnings", user_id="ada")
    assert (receipt["status"], receipt["deleted"]["learnings"]) == ("complete", 1)


async def test_a_deletion_whose_state_was_removed_writes_into_no_other_record(world: World) -> None:
    """The numbers of a new state begin again, also those of another user."""
    await world.put("r1")
    await world.put("r2", user="bob", session="of bob")
    other: list[dict[str, Any]] = []

    async def remove_and_delete() -> None:
        for name in ("state.db", "state.end"):
            (world.folder / name).unlink()
        async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="bob") as caller:
            other.append(await caller.receipt("delete_request", request_id="r2", reason="of bob"))

    world.backend.before["/api/delete_requests_by_ids"] = [remove_and_delete]
    async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        mine = await caller.receipt("delete_request", request_id="r1", reason="of ada")
    assert mine["number"] == other[0]["number"] == 1
    assert fact_of(mine, "not_recorded")
    async with world.connect(READ_ONLY="1", REFLEXIO_USER_ID="bob") as caller:
        [recorded] = (await caller.call("get_status"))["deletions"]
    assert recorded["receipt"]["reason"] == "of bob"
    assert recorded["copied"]["requests"] == 1


@pytest.mark.parametrize("columns", ["names = 'r:0'", "account = '0'", "until = 0, seen_until = 0"])
async def test_plan_and_receipt_of_an_erasure_count_a_copy_that_a_changed_column_hides(
    world: World, columns: str
) -> None:
    await deleted(world)
    await world.put("r1")
    changed = f"UPDATE copies SET {columns} WHERE id = 1"
    change(world, changed)
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", request_id="r1", erase=True)
        receipt = await caller.receipt("delete_request", request_id="r1", erase=True, confirm=plan["confirm"])
    assert fact_of(plan, "copies_damaged") == fact_of(receipt, "copies_damaged") == ONE_DAMAGED
    assert plan["way_back"]["state"] == "off"
    assert (receipt["status"], receipt["way_back"]["state"]) == ("incomplete", "unknown")
    assert not fact_of(receipt, "repeat_call")


@pytest.mark.parametrize("columns", ["names = 'r:0'", "account = '0'", "until = 0, seen_until = 0"])
async def test_a_copy_that_a_changed_column_hid_from_an_erasure_is_not_restored_when_it_is_put_back(
    world: World, columns: str
) -> None:
    """Nor is it shown. The copies that the erasure did not name are restored."""
    number = await deleted(world)
    with closing(sqlite3.connect(world.folder / "state.db")) as state:
        before = state.execute("SELECT * FROM copies WHERE id = 1").fetchone()
    change(world, f"UPDATE copies SET {columns} WHERE id = 1")
    async with world.connect(CONFIRM="off") as caller:
        await world.put("r1")
        receipt = await caller.receipt("delete_request", request_id="r1", erase=True)
        [past] = [
            past
            for past in (await caller.call("get_status"))["deletions"]
            if past["number"] == receipt["number"]
        ]
        change(world, "DELETE FROM copies WHERE id = 1")
        with closing(sqlite3.connect(world.folder / "state.db")) as state:
            state.execute(f"INSERT INTO copies VALUES ({', '.join('?' * len(before))})", before)
            state.commit()
        async with world.connect() as asking:
            plan = await asking.call("restore_requests", deletion=number)
        done = await caller.restored(number)
        again = await caller.receipt("delete_requests", request_ids=["r1", "r2"], erase=True)
    assert past["status"] == "incomplete"
    assert plan["planned"]["requests"] == done["restored"]["requests"] == 2
    assert await world.ids() == {"r3"}
    assert (again["status"], copies(world)) == ("complete", 1)


@pytest.mark.parametrize(
    "columns", ["names = 'r:0'", "account = '0'", "until = 0, seen_until = 0", "kind = 'x'"]
)
async def test_a_learning_is_kept_while_a_changed_column_hides_a_copy_that_a_hold_may_name(
    world: World, tmp_path: Path, columns: str
) -> None:
    await world.put("held", session="miller", text="My sister is called Vreni")
    await world.learn("p", "held", content="her sister is Vreni", quote="sister is called Vreni")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="held")
    change(world, f"UPDATE copies SET {columns}")
    async with world.connect(CONFIRM="off", POLICY=hold(tmp_path, 'sessions = ["miller"]')) as caller:
        said = await caller.refused("delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert "1 recovery copy was changed in the state and cannot be opened." in said
    assert set(world.backend.profiles) == {"p"}


@pytest.mark.parametrize(
    "target", [{"user_id": "ada"}, {"session_id": "s"}, {"user_id": "ada", "session_id": "s"}]
)
@pytest.mark.parametrize("include_learnings", [False, True])
@pytest.mark.parametrize("columns", HIDING)
async def test_an_erasure_by_user_or_session_counts_a_copy_that_a_changed_column_hides(
    world: World, columns: str, target: dict[str, str], include_learnings: bool
) -> None:
    """Nobody can look at it: the erasure is incomplete, and the same call is, too, until the row is put back."""
    number = await deleted(world)
    with closing(sqlite3.connect(world.folder / "state.db")) as state:
        before = state.execute(
            "SELECT account, user_id, until, seen_until FROM copies WHERE id = 1"
        ).fetchone()
    change(world, f"UPDATE copies SET {columns} WHERE id = 1")
    given = target | {"include_learnings": include_learnings, "erase": True}
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", **given)
        receipt = await caller.receipt("delete_requests", **given, confirm=plan["confirm"])
        status = (await caller.call("get_status"))["deletions"][0]
    assert fact_of(plan, "copies_damaged") == fact_of(receipt, "copies_damaged") == ONE_DAMAGED
    assert plan["way_back"]["state"] == "off"
    assert (receipt["status"], receipt["way_back"]["state"]) == ("incomplete", "unknown")
    assert (status["number"], status["status"]) == (receipt["number"], "incomplete")
    with closing(sqlite3.connect(world.folder / "state.db")) as state:
        state.execute(
            "UPDATE copies SET account = ?, user_id = ?, until = ?, seen_until = ? WHERE id = 1", before
        )
        state.commit()
    async with world.connect(CONFIRM="off") as caller:
        await caller.call("delete_requests", **given)
        await caller.refused("restore_requests", deletion=number)
    assert (copies(world), await world.ids()) == (0, set())


async def test_copies_that_were_removed_from_the_state_are_missed_by_plan_restore_and_status(
    world: World,
) -> None:
    number = await deleted(world)
    change(world, "DELETE FROM copies WHERE id = 2")
    async with world.connect() as caller:
        plan = await caller.call("restore_requests", deletion=number)
        done = await caller.call("restore_requests", deletion=number, confirm=plan["confirm"])
        status = (await caller.call("get_status"))["deletions"][1]
    one_gone = {"code": "copies_gone", "number": 1}
    assert (plan["planned"]["requests"], fact_of(plan, "copies_gone")) == (2, one_gone)
    assert (done["restored"]["requests"], fact_of(done, "copies_gone")) == (2, one_gone)
    assert "1 deleted item or more has no recovery copy any more" in done["text"]
    assert (status["number"], status["status"]) == (number, "partly_restored")
    assert status["copied"]["requests"] == 2


async def test_a_learning_whose_copy_was_removed_from_the_state_is_missed_by_a_restore(world: World) -> None:
    await world.put("r1")
    await world.learn("p", "r1", content="likes tea")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1", include_learnings=True)
        assert receipt["deleted"]["learnings"] == 1
        change(world, "DELETE FROM copies WHERE id = 2")  # that of the learning
        done = await caller.call("restore_requests", deletion=receipt["number"])
    assert (done["restored"].get("requests"), done["restored"].get("learnings")) == (1, None)
    assert fact_of(done, "copies_gone") == {"code": "copies_gone", "number": 1}


async def test_once_all_copies_are_gone_neither_status_nor_receipt_offers_an_undo(world: World) -> None:
    number = await deleted(world)
    change(world, "DELETE FROM copies")
    async with world.connect() as caller:
        [past] = (await caller.call("get_status"))["deletions"]
        said = await caller.refused("restore_requests", deletion=number)
    assert not {"copied", "until", "way_back"} & {*past, *past["receipt"]}
    assert f"Deletion {number} has no recovery copy that you can restore." in said


async def erase_and_put_back(world: World, caller: Caller) -> Path:
    """Erase what `deleted` has copied, and put the state back as it was before. Returns its file."""
    file = world.folder / "state.db"
    backup = file.read_bytes()
    await caller.receipt("delete_requests", request_ids=["r1", "r2", "r3"], erase=True)
    file.write_bytes(backup)
    return file


async def test_copies_of_a_backup_of_the_state_are_not_restored_and_newer_ones_are(world: World) -> None:
    """They may have been erased since. That the state is older is seen by the end of its log."""
    number = await deleted(world)
    async with world.connect(CONFIRM="off") as caller:
        await erase_and_put_back(world, caller)
        said = await caller.refused("restore_requests", deletion=number)
        await world.put("r4")
        newer = await caller.receipt("delete_request", request_id="r4")
        # Now a line of the log says that lines are gone.
        again = await caller.refused("restore_requests", deletion=number)
        await caller.restored(newer["number"])
    for refusal in (said, again):
        assert "the audit log lacks lines, so this copy may come from a backup" in refusal
        assert "docs/shared-server.md" in refusal
    assert await world.ids() == {"r4"}


@pytest.mark.parametrize("change", ["DELETE FROM deletions", "UPDATE deletions SET begun = 'late'"])
async def test_copies_of_a_backup_without_their_record_are_not_restored(world: World, change: str) -> None:
    number = await deleted(world)
    async with world.connect(CONFIRM="off") as caller:
        file = await erase_and_put_back(world, caller)
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(change)
        said = await caller.refused("restore_requests", deletion=number)
    assert "the audit log lacks lines, so this copy may come from a backup" in said
    assert not await world.ids()


async def test_a_state_that_is_put_back_while_a_person_is_asked_restores_nothing(world: World) -> None:
    number = await deleted(world)
    file = world.folder / "state.db"
    async with world.connect() as caller:
        backup = file.read_bytes()
        plan = await caller.call("restore_requests", deletion=number)
        await caller.plan("delete_request", request_id="r1", erase=True)
        async with world.connect(CONFIRM="off") as other:
            await other.receipt("delete_request", request_id="r1", erase=True)
        file.write_bytes(backup)
        said = await caller.refused("restore_requests", deletion=number, confirm=plan["confirm"])
    assert "the audit log lacks lines" in said
    assert await world.ids() == set()


ERASES: list[dict[str, Any]] = [
    {"session_id": "s"},
    {"user_id": "ada", "session_id": "s"},
    {"user_id": "ada", "everything": True},
    {"user_id": "ada", "everything": True, "include_learnings": True},
    {"request_ids": ["r1"]},
]


@pytest.mark.parametrize("target", ERASES, ids=" ".join)
async def test_a_copy_that_was_damaged_during_an_erasure_is_not_restored_when_it_is_put_back(
    world: World, target: dict[str, Any]
) -> None:
    """Nothing that can be opened shows what is in it. Copies of another session, or of another user, come back."""
    number = await deleted(world)
    await world.put("r4", session="t")
    await world.put("r5", user="bob", session="of bob")
    async with world.connect(CONFIRM="off") as caller:
        others = (await caller.receipt("delete_requests", request_ids=["r4", "r5"]))["number"]
        change(world, "UPDATE copies SET names = replace(names, ':', ';') WHERE deletion = 1")
        receipt = await caller.receipt("delete_requests", **target, erase=True)
        change(world, "UPDATE copies SET names = replace(names, ';', ':') WHERE deletion = 1")
        if "request_ids" in target:
            await caller.restored(number)
        else:
            await caller.refused("restore_requests", deletion=number)
        if "session_id" in target:
            await caller.restored(others)
    assert receipt["status"] == "incomplete"
    wanted = {"session_id": {"r4", "r5"}, "request_ids": {"r2", "r3"}}
    assert await world.ids() == next((ids for name, ids in wanted.items() if name in target), set())
