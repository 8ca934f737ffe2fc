"""Restores are recorded, and an erasure beside one leaves a note of what must go."""

import json
from contextlib import closing
from dataclasses import replace

import pytest

from reflexio_mcp.state.keys import Keys
from reflexio_mcp.state.records import Copied, CopyNote, Erasure, Meant, MustGo, Owner
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import StateUnusable
from tests.state.conftest import (
    ALICE,
    KEY,
    OPERATOR,
    Place,
    copied,
    deleted,
    deletion,
    ended,
    learned,
    restored,
    restoring,
)


def erased(state: State, *names: str) -> int:
    return deleted(state, OPERATOR, erase=names)


def named(state: State, owner: Owner = OPERATOR, restore: int = 0) -> list[tuple[int, str]]:
    return [(one.restore, one.id) for one in state.must_go.waiting(owner, restore)]


def test_a_restore_is_on_record_before_and_after_it(place: Place) -> None:
    state = place.process(limit=1)
    number = deleted(state, ALICE, copied())
    restore = state.begin_restore(ALICE, restoring(number, 3))
    [running, _] = state.last(ALICE)
    assert (running.number, running.restores, running.asked, running.outcome) == (restore, number, 3, "")
    assert running.target == f"restore of deletion {number}"
    assert [one.number for one in state.last(ALICE, restorable=True)] == [number]
    assert restored(state, ALICE, restore, back=2, outcome="incomplete")
    [over, _] = place.process().last(ALICE)
    assert (over.outcome, over.gone, bool(over.finished)) == ("incomplete", 2, True)
    begin, end = [json.loads(entry.line) for entry in state.log.entries()][-2:]
    assert (begin["event"], begin["deletion"], begin["restore"]) == ("restoring", number, restore)
    assert (end["event"], end["restore"], end["outcome"]) == ("restored", restore, "incomplete")
    assert state.log.verify().wrong is None


def test_an_erasure_beside_a_restore_leaves_a_note_of_what_it_named_and_of_nothing_else(place: Place) -> None:
    state, other = place.process(), place.process()
    number = deleted(state, ALICE, copied("r1"), copied("r2"), learned("profile:p", source="r1"))
    elsewhere = deleted(state, ALICE, copied("r1", text="another copy"))
    restore = state.begin_restore(ALICE, restoring(number))
    erasure = erased(other, "r:r1", "i:of r1")
    assert named(state) == named(other) == [(restore, "r1"), (restore, "profile:p")]
    note = state.must_go.waiting(OPERATOR)[0]
    assert (note.erasure, note.kind, note.user) == (erasure, "request", "alice")
    assert state.must_go.has_text(note, "some words of r1")
    assert not state.must_go.has_text(note, "some other words")
    assert [one.id for one in state.copies.read(ALICE)] == ["r2"]
    assert not named(state, Owner("account", "bob"))
    assert not named(state, Owner("another account"))
    assert elsewhere not in [one.restore for one in state.must_go.waiting(OPERATOR)]
    record = next(one for one in state.last(OPERATOR) if one.number == erasure)
    assert record.may_return == 2
    line = [json.loads(entry.line) for entry in state.log.entries()][-1]
    assert (line["event"], line["outcome"], line["may_return"]) == ("end", "incomplete", 2)


def test_a_note_contains_no_text_and_no_name_without_the_key(place: Place) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied("canary-id", "canary-user", "canary words"))
    state.begin_restore(OPERATOR, restoring(number))
    erased(state, "r:canary-id")
    assert len(state.must_go.waiting(OPERATOR)) == 1
    assert "canary" not in repr(place.rows("SELECT * FROM main.must_go"))
    newer = place.process(keys=(b"another key of the same length !", KEY))
    [note] = newer.must_go.waiting(OPERATOR)
    assert newer.must_go.has_text(note, "canary words of canary-id")
    newer.prune()  # who writes notes the newer key, and servers with that one alone start
    assert not place.process(keys=(b"another key of the same length !",)).must_go.waiting(OPERATOR)


def test_a_note_about_a_copy_of_an_older_key_is_carried_out_after_that_key_was_taken_out(
    place: Place,
) -> None:
    state, new_key = place.process(), b"another key of the same length !"
    number = deleted(state, ALICE, copied("r1"))
    restore = state.begin_restore(ALICE, restoring(number))
    erased(place.process(keys=(new_key, KEY)), "r:r1")
    without_the_old_key = place.process(keys=(new_key,))
    [note] = without_the_old_key.must_go.waiting(ALICE)
    assert (note.restore, note.id) == (restore, "r1")
    assert without_the_old_key.must_go.has_text(note, "some words of r1")


def test_a_note_that_was_changed_stops_its_own_restore_and_no_other(place: Place) -> None:
    state = place.process()
    first, second = deleted(state, ALICE, copied("r1")), deleted(state, ALICE, copied("r2"))
    mine, other = state.begin_restore(ALICE, restoring(first)), state.begin_restore(ALICE, restoring(second))
    erasure = erased(state, "r:r1")
    erased(state, "r:r2")
    place.sql("UPDATE main.must_go SET sealed = (SELECT sealed FROM main.must_go WHERE id = 2) WHERE id = 1")
    assert named(state) == named(state, restore=other) == [(other, "r2")]
    with pytest.raises(StateUnusable, match="was changed or moved"):
        named(state, restore=mine)
    assert [one.may_return for one in state.last(OPERATOR, number=erasure)] == [1], "it is not forgotten"


CHANGES = {
    "account": "account = 'x'",
    "user": "user_id = 'x'",
    "restore": "restore = {other}",
    "erasure": "erasure = 1",
    "content": "sealed = (SELECT sealed FROM main.must_go WHERE id = 2)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_note_of_which_any_column_was_changed_is_carried_out_for_nobody_and_keeps_its_erasure_open(
    place: Place, change: str
) -> None:
    state = place.process()
    first, second = deleted(state, ALICE, copied("r1")), deleted(state, ALICE, copied("r2"))
    mine, other = state.begin_restore(ALICE, restoring(first)), state.begin_restore(ALICE, restoring(second))
    erasure, _ = erased(state, "r:r1"), erased(state, "r:r2")
    place.sql(f"UPDATE main.must_go SET {CHANGES[change].format(other=other)} WHERE id = 1")
    assert named(state) == named(state, ALICE) == [(other, "r2")]
    assert not named(state, Owner("x"))
    assert not named(state, Owner("account", "x"))
    if change != "restore":
        with pytest.raises(StateUnusable, match="was changed or moved"):
            state.must_go_of(ALICE, mine)
    records = state.last(OPERATOR)
    assert sum(record.may_return for record in records) == 2, "it is not forgotten"
    if change != "erasure":
        assert [record.may_return for record in records if record.number == erasure] == [1]


def test_the_account_of_a_note_cannot_be_changed_to_that_of_another_owner(place: Place) -> None:
    """Another store can have the same words of the same user under the same id."""
    state, elsewhere = place.process(), Owner("another account")
    state.begin_restore(ALICE, restoring(deleted(state, ALICE, copied("r1"))))
    erased(state, "r:r1")
    deleted(state, elsewhere, copied("r9"))
    place.sql(
        "UPDATE main.must_go SET account = "
        "(SELECT account FROM main.copies WHERE account NOT IN (SELECT account FROM main.must_go))"
    )
    assert not named(state, elsewhere)
    later = state.begin(elsewhere, deletion())
    assert not state.keep(elsewhere, later, [copied("r1")]).must_go
    assert [record.may_return for record in state.last(OPERATOR) if record.may_return] == [1]


def test_a_settled_note_cannot_be_opened_again(place: Place) -> None:
    state = place.process()
    restore = state.begin_restore(ALICE, restoring(deleted(state, ALICE, copied("r1"))))
    erased(state, "r:r1")
    notes = state.must_go.waiting(ALICE, restore)
    assert restored(state, ALICE, restore, absent={note.number for note in notes})
    assert [note.given_up for note in state.must_go.waiting(ALICE, restore)] == [True]
    place.sql("UPDATE main.must_go SET settled = NULL")
    assert not named(state)
    later = state.begin(ALICE, deletion())
    assert not state.keep(ALICE, later, [copied("r1")]).must_go
    state.note_taken_out(notes, [])
    assert [record.may_return for record in state.last(OPERATOR) if record.may_return] == [1]


def test_a_restore_of_one_user_ends_whatever_an_erasure_named_of_another_user(place: Place) -> None:
    state, bob = place.process(), Owner("account", "bob")
    number = deleted(state, OPERATOR, copied("r1"), copied("r2", "bob"))
    restore = state.begin_restore(bob, restoring(number))
    erased(state, "r:r1")
    assert not state.must_go_of(bob, restore)
    assert restored(state, bob, restore)


def test_a_note_of_an_earlier_version_is_carried_out_and_settled(place: Place) -> None:
    state, keys = place.process(), Keys(lambda: [KEY])
    restore = state.begin_restore(ALICE, restoring(deleted(state, ALICE, copied("r1"))))
    erasure = erased(state, "r:r1")
    [(account, user, sealed)] = place.rows("SELECT account, user_id, sealed FROM main.must_go")
    text = keys.open(sealed, f"must go {json.dumps([restore, erasure, account, user, False])}")
    with closing(place.database()) as database, database.transaction() as transaction:
        earlier = keys.seal(text, f"must go {restore} {erasure}")
        transaction.execute("UPDATE main.must_go SET sealed = ?", earlier)
    [note] = state.must_go.waiting(ALICE, restore)
    assert restored(state, ALICE, restore, absent={note.number})
    assert not state.must_go.any()


def test_a_restore_does_not_end_before_it_has_looked_after_every_note(state: State) -> None:
    number = deleted(state, ALICE, copied("r1"), copied("r2"))
    restore = state.begin_restore(ALICE, restoring(number))
    erasure = erased(state, "r:r1")
    assert not restored(state, ALICE, restore)
    [note] = state.must_go.waiting(ALICE, restore)
    state.note_taken_out([note], [note])
    assert [one.number for one in state.must_go.waiting(ALICE, restore)] == [note.number], (
        "it may still store it"
    )
    erased(state, "r:r2")
    assert not restored(state, ALICE, restore, absent={note.number})
    looked = {one.number for one in state.must_go.waiting(ALICE, restore)}
    assert restored(state, ALICE, restore, absent=looked)
    assert not state.must_go.waiting(ALICE)
    assert not state.must_go.any()
    assert next(one for one in state.last(OPERATOR) if one.number == erasure).may_return == 0


@pytest.mark.parametrize("clock", [-60, 0, 60, 86_400, 30 * 86_400])
def test_a_restore_without_an_end_leaves_notes_open_until_the_state_was_in_use_on_two_more_days(
    place: Place, clock: int
) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied())
    restore = state.begin_restore(ALICE, restoring(number, seconds=300))
    place.advance_clock(clock)  # the clock steps, or the restore is suspended
    erasure = erased(state, "r:r1")
    notes = state.must_go.waiting(OPERATOR)
    assert [one.id for one in notes] == ["r1"]
    state.note_taken_out(notes, notes)
    assert state.must_go.any()
    assert [one.may_return for one in state.last(OPERATOR, number=erasure)] == [1]
    place.pass_time(2 * 86_400 + 300)
    state.note_taken_out(notes, [])
    assert not state.must_go.any()
    lines = [json.loads(entry.line) for entry in state.log.entries() if "erased_again" in entry.line]
    assert [(one["restores"], one["ids"], one["settled"]) for one in lines] == [
        ([restore], ["r1"], []),
        ([restore], [], [erasure]),
    ]
    mine = state.must_go_of(ALICE, restore)
    assert [(one.id, one.given_up) for one in mine] == [("r1", True)], "it still leaves that out"


def test_an_erasure_reckons_with_restores_that_ran_since_it_began_and_with_no_earlier_ones(
    place: Place,
) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied())
    before = state.begin_restore(ALICE, restoring(number))
    assert restored(state, ALICE, before)
    erasure = state.begin(OPERATOR, deletion())
    meanwhile = state.begin_restore(ALICE, restoring(number))
    place.pass_time(60)
    assert restored(state, ALICE, meanwhile)
    ended(state, OPERATOR, erasure, erase=["r:r1"])
    notes = state.must_go.waiting(OPERATOR)
    assert [one.restore for one in notes] == [meanwhile]
    state.note_taken_out(notes, notes)
    assert not state.must_go.any(), "a restore that has ended stores nothing more"


def test_an_erasure_leaves_a_note_of_a_copy_that_it_has_seen_and_that_another_one_has_removed(
    place: Place,
) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied("r1"), copied("r2"))
    first = state.begin(OPERATOR, deletion())
    seen = [CopyNote(number, state.must_go.note_of(copied(id_), Meant())) for id_ in ("r1", "r2")]
    restore = state.begin_restore(ALICE, restoring(number))
    assert restored(state, ALICE, restore)
    erased(state, "r:r1")
    assert not state.must_go.any(), "the other one has begun after the restore"
    what = {"outcome": "complete", "counted": 1, "gone": 1, "receipt": "a receipt", "facts": {}}
    end = state.finish(OPERATOR, first, erasure=Erasure(["r:r1", "r:r2"], seen=seen), **what)
    assert end.may_return == 2
    notes = state.must_go.waiting(ALICE)
    assert sorted((one.restore, one.erasure, one.id) for one in notes) == [
        (restore, first, "r1"),
        (restore, first, "r2"),
    ]
    assert all(state.must_go.has_text(one, f"some words of {one.id}") for one in notes)


def test_a_restore_whose_last_answer_was_lost_is_reckoned_with(state: State) -> None:
    number = deleted(state, ALICE, copied())
    restore = state.begin_restore(ALICE, restoring(number))
    assert restored(state, ALICE, restore, outcome="incomplete", absent=None)
    assert state.last(ALICE)[0].outcome == "incomplete"
    erased(state, "r:r1")
    assert named(state) == [(restore, "r1")]


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_deletion_that_runs_beside_an_erasure_keeps_no_copy_of_it_whatever_the_clock_does(
    place: Place, seconds: int
) -> None:
    state = place.process()
    running = state.begin(ALICE, deletion())
    place.sql("UPDATE main.deletions SET at = at + ?", seconds)
    erased(state, "r:r1")
    place.sql("UPDATE main.deletions SET finished = finished - ?", seconds)
    assert state.keep(ALICE, running, [copied("r1"), copied("r2")]).erased == {("request", "r1")}


def test_notes_and_their_restores_are_kept_until_they_are_settled(place: Place) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied())
    state.begin_restore(ALICE, restoring(number))
    erased(state, "r:r1")
    place.pass_time(30 * 86_400)
    state.prune()
    notes: list[MustGo] = state.must_go.waiting(OPERATOR)
    assert len(notes) == 1
    state.note_taken_out(notes, [])
    state.prune()
    state.prune()
    assert not place.rows("SELECT id FROM main.must_go")
    assert not state.last(OPERATOR)


def test_a_deletion_keeps_no_copy_of_what_an_open_note_names(place: Place) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied("r1"), copied("r2"))
    restore = state.begin_restore(ALICE, restoring(number))
    erased(state, "r:r1")
    later = state.begin(ALICE, deletion())
    not_kept = state.keep(ALICE, later, [copied("r1"), copied("r2")])
    of_bob = state.keep(OPERATOR, later, [copied("r1", "bob"), copied("r3")])
    assert not of_bob.must_go, "it is another user's"
    assert (not_kept.erased, not_kept.must_go, not_kept.partly) == (set(), {("request", "r1")}, set())
    assert [(one.id, one.user) for one in state.copies.read(OPERATOR, deletion=later)] == [
        ("r2", "alice"),
        ("r1", "bob"),
        ("r3", "alice"),
    ]
    other = copied("r1", text="something else")
    assert not state.keep(ALICE, later, [other]).must_go, "it is another request by now"
    notes = state.must_go.waiting(ALICE, restore)
    assert restored(state, ALICE, restore, absent={one.number for one in notes})
    assert not state.keep(ALICE, later, [copied("r1")]).must_go


def test_a_note_names_what_the_erasure_means_of_its_copies(place: Place) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied("r1"), learned("profile:p", source="r1"))
    restore = state.begin_restore(ALICE, restoring(number))
    erasure = state.begin(OPERATOR, deletion())

    def means(copy: Copied) -> Meant | None:
        return Meant({"the digest of one interaction": 1}) if copy.kind == "request" else None

    ended(state, OPERATOR, erasure, erase=["r:r1", "i:of r1"], means=means)
    [note] = state.must_go.waiting(OPERATOR)
    assert (note.restore, note.id) == (restore, "r1")
    assert not list(state.copies.read(OPERATOR)), "the copies go all the same"
    same = "the digest of one interaction"
    assert state.must_go.parts_in(note, [same, "another", same]) == [0]
    assert state.must_go.parts_in(note, [same, "another"]) == []
    whole = replace(copied("r1"), said=[same, same])
    later = state.begin(ALICE, deletion())
    assert state.keep(ALICE, later, [whole]).partly == {("request", "r1")}


def test_a_copy_of_which_an_erasure_names_a_part_stays_for_later_erasures_as_long_as_a_restore_runs(
    place: Place,
) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied("r1"), learned("profile:p", source="r1"))
    restore = state.begin_restore(ALICE, restoring(number))
    part = state.begin(OPERATOR, deletion())

    def means(copy: Copied) -> Meant | None:
        return Meant({"the digest of one interaction": 0}) if copy.kind == "request" else None

    ended(state, OPERATOR, part, erase=["r:r1", "i:of r1"], means=means)
    assert not state.copies.listed(OPERATOR), "nobody else is given it"
    assert not list(state.copies.read(OPERATOR))
    assert [one.id for one in state.copies.read(OPERATOR, erasing=True)] == ["r1", "profile:p"]
    everything = erased(state, "u:alice")
    assert [one.may_return for one in state.last(OPERATOR, number=everything)] == [2]
    assert not list(state.copies.read(OPERATOR, erasing=True)), "all of it is noted"
    notes = state.must_go_of(ALICE, restore)
    assert [(one.id, bool(one.parts)) for one in notes] == [
        ("r1", True),
        ("r1", False),
        ("profile:p", False),
    ]
    assert restored(state, ALICE, restore, absent={one.number for one in notes})
    assert not state.must_go.any()


def test_such_a_copy_goes_with_the_end_of_the_restore(place: Place) -> None:
    state = place.process()
    number = deleted(state, ALICE, copied("r1"))
    restore = state.begin_restore(ALICE, restoring(number))
    part = state.begin(OPERATOR, deletion())
    ended(state, OPERATOR, part, erase=["r:r1"], means=lambda copy: Meant({"one interaction": 0}))
    assert len(place.rows("SELECT id FROM main.copies")) == 1
    notes = state.must_go_of(ALICE, restore)
    assert restored(state, ALICE, restore, absent={one.number for one in notes})
    assert not place.rows("SELECT id FROM main.copies")


def test_an_erasure_finds_a_copy_whose_days_ended_while_a_restore_of_it_runs(place: Place) -> None:
    state = place.process(days=1)
    number = deleted(state, ALICE, copied("r1"))
    place.pass_time(86_000)
    restore = state.begin_restore(ALICE, restoring(number, seconds=3_600))
    place.advance_clock(500)
    place.reseal(lambda row: row._replace(seen_until=0))
    state.prune()
    assert not list(state.copies.read(OPERATOR))
    erasure = erased(state, "r:r1")
    assert named(state) == [(restore, "r1")]
    assert [one.may_return for one in state.last(OPERATOR, number=erasure)] == [1]


def test_a_restore_whose_record_is_gone_may_store_nothing_more(place: Place) -> None:
    state = place.process()
    restore = state.begin_restore(ALICE, restoring(deleted(state, ALICE, copied("r1"))))
    place.sql("DELETE FROM main.deletions")
    with pytest.raises(StateUnusable, match="the record of this deletion is gone"):
        state.must_go_of(ALICE, restore)
