"""Recovery copies: who sees them, what an erasure reaches, and what happens beside each other."""

from contextlib import suppress
from typing import Any

import pytest

from reflexio_mcp.state.records import Copied, Erasure, Name, Owner
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import StateUnusable, Transaction
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
    restoring,
)


def ids(state: State, owner: Owner, number: int | None = None) -> list[str]:
    return [one.id for one in state.copies.read(owner, deletion=number)]


def test_a_copy_is_listed_and_read_in_every_process_until_its_days_are_over(place: Place) -> None:
    state = place.process()
    many = [copied(f"r{number}", text=f"words {number}") for number in range(45)]
    first = deleted(state, OPERATOR, *many, learned())
    second = deleted(state, OPERATOR, copied("other"))
    another = place.process()
    found = another.copies.listed(OPERATOR)
    assert list(found) == [second, first]
    oldest = found[first]
    assert oldest.counts == {"request": 45, "profile": 1}
    assert oldest.until == pytest.approx(state.last(OPERATOR)[1].at + 7 * 86_400)
    assert [one.content for one in another.copies.read(OPERATOR, deletion=first)][:45] == [
        one.content for one in many
    ]
    place.pass_time(7 * 86_400 + 1)
    assert not another.copies.listed(OPERATOR)
    assert not ids(another, OPERATOR)


def test_the_copies_of_one_deletion_are_read_without_those_of_the_others(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted(state, OPERATOR, *(copied(f"r{number}") for number in range(50)))
    second = deleted(state, OPERATOR, copied("other"))
    execute, read = Transaction.execute, list[int]()

    def counted(self: Transaction, sql: str, *parameters: Any) -> list[Any]:
        rows = execute(self, sql, *parameters)
        if "FROM main.copies" in sql:
            read.append(len(rows))
        return rows

    monkeypatch.setattr(Transaction, "execute", counted)
    assert ids(state, OPERATOR, second) == ["other"]
    assert list(state.copies.listed(OPERATOR, second)) == [second]
    assert max(read) == 1


def test_a_user_sees_what_was_theirs_whoever_deleted_it_and_an_operator_sees_all_of_the_account(
    state: State,
) -> None:
    by_operator = deleted(state, OPERATOR, copied("r1", "alice"), copied("r2", "bob"))
    by_alice = deleted(state, ALICE, copied("r3", "alice"))
    assert ids(state, ALICE) == ["r1", "r3"]
    assert ids(state, Owner("account", "alice", "another key")) == ["r1", "r3"]
    assert state.copies.listed(ALICE)[by_operator].counts == {"request": 1}
    assert ids(state, OPERATOR) == ["r1", "r2", "r3"]
    assert ids(state, OPERATOR, by_alice) == ["r3"]
    assert ids(state, Owner("account", "bob"), by_operator) == ["r2"]
    assert not ids(state, Owner("another account"))


def test_an_erasure_reaches_the_copies_of_everybody(state: State) -> None:
    deleted(state, ALICE, copied("r1"), copied("r2"))
    deleted(state, Owner("account", "alice", "another key"), copied("r1", text="as it was later"))
    erasing = state.begin(OPERATOR, deletion())
    ended(state, OPERATOR, erasing, erase=["r:r1"])
    assert ids(state, ALICE) == ["r2"]
    erasing = state.begin(OPERATOR, deletion())
    ended(state, OPERATOR, erasing, erase=["u:alice"])
    assert not ids(state, OPERATOR)


def test_an_erasure_leaves_no_copy_whose_days_are_over_either(place: Place) -> None:
    state = place.process()
    deleted(state, ALICE, copied())
    place.pass_time(7 * 86_400 + 1)
    deleted(state, OPERATOR, erase=("r:r1",))
    assert not place.rows("SELECT id FROM main.copies")


def test_an_erasure_of_a_learning_reaches_the_texts_it_had_before_under_another_id(state: State) -> None:
    first = Copied("user_playbook", "1", "alice", [Name("l:1"), Name("t:old"), Name("i:1")], "the old text")
    corrected = Copied(
        "user_playbook",
        "2",
        "alice",
        [Name("l:2"), Name("t:old"), Name("t:new"), Name("i:1")],
        "the old text",
    )
    deleted(state, OPERATOR, first)
    deleted(state, OPERATOR, corrected)
    deleted(state, OPERATOR, erase=("l:2", "t:new"))
    assert not ids(state, OPERATOR)


def test_the_erasure_of_a_user_reaches_nobody_else(state: State) -> None:
    deleted(state, OPERATOR, copied("r1", "bob"))
    deleted(state, ALICE, erase=("r:r1", "u:bob"))
    deleted(state, Owner("another account"), erase=("r:r1", "u:bob"))
    assert ids(state, OPERATOR) == ["r1"]


def test_an_erasure_of_a_request_reaches_the_learnings_from_its_interactions(state: State) -> None:
    # Put back, an interaction has a new id; only the copy still knows the old one.
    deleted(state, OPERATOR, copied("r1"))
    deleted(state, OPERATOR, learned("p1", source="r1"), learned("p2", source="r2"))
    assert [one.id for one in state.copies.read(OPERATOR, names=["r:r1", "i:101"])] == ["r1", "p1"]
    deleted(state, OPERATOR, erase=("r:r1", "i:101"))
    assert ids(state, OPERATOR) == ["p2"]


def test_an_erasure_of_a_learning_leaves_the_requests_that_it_came_from(state: State) -> None:
    deleted(state, OPERATOR, copied("r1"), learned("p1", source="r1"))
    deleted(state, OPERATOR, erase=("l:p1",))
    assert ids(state, OPERATOR) == ["r1"]


def test_nothing_is_erased_and_nothing_noted_unless_the_whole_end_is_recorded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = place.process()
    deleted(state, OPERATOR, copied())
    number = state.begin(OPERATOR, deletion())
    with monkeypatch.context() as patch:
        patch.setattr("reflexio_mcp.state.state.Keys.seal", lambda *_: 1 / 0)
        with suppress(ZeroDivisionError):
            ended(state, OPERATOR, number, erase=["r:r1"])
    assert ids(state, OPERATOR) == ["r1"]
    assert state.last(OPERATOR)[0].finished is None
    assert state.log.verify().lines == 3
    ended(state, OPERATOR, number, erase=["r:r1"])
    assert not ids(state, OPERATOR)


def test_a_deletion_that_runs_beside_an_erasure_keeps_no_copy_of_it(place: Place) -> None:
    state = place.process()
    running = state.begin(ALICE, deletion(3))
    state.keep(ALICE, running, [copied("r1")])
    erasing = place.process()
    deleted(erasing, OPERATOR, erase=("r:r1", "r:r2", "u:bob"))
    refused = state.keep(ALICE, running, [copied("r2"), copied("r3"), copied("r4", "bob")]).erased
    assert refused == {("request", "r2"), ("request", "r4")}
    ended(state, ALICE, running)
    assert ids(state, OPERATOR) == ["r3"]
    # What comes later under the same id is another thing.
    deleted(state, ALICE, copied("r1"))
    assert "r1" in ids(state, ALICE)


def test_the_erasure_of_a_user_does_not_stop_a_deletion_of_another_user(state: State) -> None:
    running = state.begin(OPERATOR, deletion())
    deleted(state, ALICE, erase=("r:r1",))
    assert not state.keep(OPERATOR, running, [copied("r1", "bob")]).erased


def test_any_text_comes_back_as_it_was(state: State) -> None:
    odd = Copied("request", "r\ud800\0", "al\0ice", [Name("r:r\ud800\0")], "text \ud83d \0 \U0001f600")
    deleted(state, OPERATOR, odd)
    [read] = state.copies.read(OPERATOR, names=["r:r\ud800\0"])
    assert (read.id, read.user, read.content) == (odd.id, odd.user, odd.content)


@pytest.mark.parametrize("column", ["user_id", "deletion", "kind"])
def test_a_row_that_was_moved_or_made_up_is_never_handed_out(place: Place, column: str) -> None:
    state = place.process()
    deleted(state, OPERATOR, copied("r1", "alice"))
    deleted(state, OPERATOR, learned("p1", user="bob"))
    place.sql(
        f"UPDATE main.copies SET {column} = (SELECT {column} FROM main.copies WHERE id = 2) WHERE id = 1"
    )
    reading = state.copies.read(OPERATOR)
    assert ([copy.id for copy in reading], reading.damaged) == (["p1"], 1)


@pytest.mark.parametrize("names", ["''", "(SELECT names FROM main.copies WHERE id = 2)"])
def test_a_copy_whose_names_were_changed_is_restored_by_nobody_and_is_not_taken_for_another(
    place: Place, names: str
) -> None:
    before = place.process(keys=(b"an earlier key of the same length",))
    deleted(before, OPERATOR, copied("r1"), copied("r2"), learned(source="r2"))
    state = place.process(keys=(KEY, b"an earlier key of the same length"))
    assert ids(state, OPERATOR) == ["r1", "r2", "p1"]
    place.sql(f"UPDATE main.copies SET names = {names} WHERE id = 1")
    for found in (state.copies.read(OPERATOR), state.copies.read(OPERATOR, names=[Name("r:r2")])):
        assert [copy.id for copy in found] == ["r2", "p1"]
    everything = state.copies.read(OPERATOR)
    assert (len(list(everything)), everything.damaged) == (2, 1)


@pytest.mark.parametrize(
    "change",
    [
        "names = 'r:0'",
        "account = '0'",
        "user_id = '0'",
        "kind = 'profile'",
        "deletion = 77",
        "until = 0, seen_until = 0",
        "until = 9e99",
        "at = 5",
    ],
)
def test_who_looks_for_names_is_told_of_each_copy_that_a_changed_column_hides(
    place: Place, change: str
) -> None:
    state = place.process()
    deleted(state, OPERATOR, copied("r1"), copied("r2"))
    place.sql(f"UPDATE main.copies SET {change} WHERE id = 1")
    state.prune()
    for reading in (
        state.copies.read(ALICE, names=["r:r1"]),
        state.copies.read(ALICE, having=["i:of r1"]),
        state.copies.read(ALICE, names=["r:r3"], erasing=True),
    ):
        assert ([copy.id for copy in reading], reading.damaged) == ([], 1)
    assert state.copies.count_changed() == 1
    assert ids(state, OPERATOR) == ["r2"]


def test_a_running_server_notices_that_the_content_of_a_copy_was_changed_after_it_had_opened_it(
    place: Place,
) -> None:
    state = place.process()
    deleted(state, OPERATOR, copied("r1"), copied("r2"))
    for _ in range(2):
        assert state.copies.count_changed() == 0
    place.sql("UPDATE main.copies SET sealed = (SELECT sealed FROM main.copies WHERE id = 2) WHERE id = 1")
    assert state.copies.count_changed() == 1
    assert state.copies.count_changed_besides(OPERATOR, Erasure(names=[Name("r:r3")])) == 1
    searching = state.copies.read(OPERATOR, names=["r:r3"])
    assert (list(searching), searching.damaged) == ([], 1)


def test_a_copy_that_an_earlier_version_made_is_read_like_another(place: Place) -> None:
    state = place.process()
    number = deleted(state, OPERATOR, copied("r1"))
    place.reseal(earlier=True)
    assert (ids(state, OPERATOR), state.copies.count_changed()) == (["r1"], 0)
    state.begin_restore(ALICE, restoring(number))
    ended(state, OPERATOR, state.begin(OPERATOR, deletion()), erase=["r:r1"], means=lambda copy: None)
    assert (ids(state, OPERATOR), state.copies.count_changed()) == ([], 0)


def test_an_erasure_removes_a_copy_that_was_changed(place: Place) -> None:
    state = place.process()
    deleted(state, OPERATOR, copied("r1"), copied("r2"))
    place.sql("UPDATE main.copies SET sealed = (SELECT sealed FROM main.copies WHERE id = 2) WHERE id = 1")
    deleted(state, OPERATOR, erase=("r:r1",))
    assert [row for (row,) in place.rows("SELECT id FROM main.copies")] == [2]
    assert ids(state, OPERATOR) == ["r2"]


def test_the_record_of_a_deletion_that_is_gone_stops_it(place: Place) -> None:
    state = place.process()
    number = state.begin(OPERATOR, deletion())
    place.sql("DELETE FROM main.deletions")
    with pytest.raises(StateUnusable, match="the record of this deletion is gone"):
        state.keep(OPERATOR, number, [copied()])
    with pytest.raises(StateUnusable, match="the record of this deletion is gone"):
        ended(state, OPERATOR, number)


def test_a_clock_that_is_ahead_for_a_moment_removes_no_copy_and_no_record(place: Place) -> None:
    state = place.process()
    number = deleted(state, OPERATOR, copied())
    place.advance_clock(31 * 86_400)
    for use in (state.prune, lambda: deleted(state, ALICE, copied("r2", "bob"))):
        use()
        assert ids(state, ALICE) == ["r1"]
        assert [one.number for one in state.last(OPERATOR, number=number)] == [number]
    # The days have to be seen, too.
    for day in range(1, 8):
        assert ids(state, ALICE) == ["r1"]
        place.sql(f"INSERT INTO main.days (day) VALUES ({day})")
    state.prune()
    assert not ids(state, ALICE)
    assert not place.rows(f"SELECT id FROM main.copies WHERE deletion = {number}")
    assert not state.last(OPERATOR, number=number)


def test_a_copy_is_not_over_before_the_clock_says_so(place: Place) -> None:
    state = place.process()
    deleted(state, OPERATOR, copied())
    for day in range(1, 30):
        place.sql(f"INSERT INTO main.days (day) VALUES ({day})")
    state.prune()
    assert ids(state, OPERATOR) == ["r1"]


def test_an_interaction_of_another_request_with_the_same_number_keeps_its_copy(state: State) -> None:
    of_ada = Copied("request", "r1", "ada", [Name("r:r1"), Name("i:ada/1")], "words of ada")
    learned_of_ada = Copied(
        "profile", "p1", "ada", [Name("l:p1"), Name("t:what"), Name("i:ada/1")], "learned from ada"
    )
    deleted(state, OPERATOR, of_ada, learned_of_ada)
    deleted(state, OPERATOR, erase=("r:r2", "i:bob/1"))
    assert ids(state, OPERATOR) == ["r1", "p1"]
    deleted(state, OPERATOR, erase=("r:r1", "i:ada/1"))
    assert not ids(state, OPERATOR)


def test_copies_that_version_12_made_are_found_by_their_request_and_by_the_numbers_of_interactions(
    state: State,
) -> None:
    request = Copied("request", "r1", "ada", [Name("r:r1"), Name("i:1")], "words")
    deleted(
        state,
        OPERATOR,
        request,
        Copied("profile", "p1", "ada", [Name("l:p1"), Name("t:what"), Name("i:1")], "learned"),
    )
    deleted(
        state,
        OPERATOR,
        Copied("profile", "p2", "ada", [Name("l:p2"), Name("t:what 2"), Name("i:2")], "learned"),
    )
    deleted(state, OPERATOR, erase=("r:r3", "i:bob/1", "i:bob/2"))
    assert ids(state, OPERATOR) == ["r1", "p1", "p2"], "another store can have the same numbers"
    deleted(state, OPERATOR, erase=("r:r1", "i:ada/1"))
    assert ids(state, OPERATOR) == ["p2"]
    deleted(state, OPERATOR, erase=("r:r2", "i:ada/2"))
    assert not ids(state, OPERATOR)


def test_the_copies_of_a_store_are_found_under_its_id_and_under_the_place_where_it_had_none(
    place: Place,
) -> None:
    state = place.process()
    deleted(state, Owner("the file\0embedded"), copied("r1"))
    upgraded = Owner("embedded\0its id", earlier_account="the file\0embedded")
    another = Owner("embedded\0another id")
    deleted(state, upgraded, copied("r2"))
    deleted(state, another, copied("r1"))
    assert (ids(state, upgraded), ids(state, another)) == (["r1", "r2"], ["r1"])
    deleted(state, another, erase=("r:r1", "r:r2"))
    assert (ids(state, upgraded), ids(state, another)) == (["r1", "r2"], [])


def test_an_erasure_stays_on_record_as_long_as_a_copy_that_was_written_before_it(place: Place) -> None:
    """Should somebody put back a copy that was hidden from it, its names are needed."""
    state = place.process(days=30)
    first = deleted(state, OPERATOR, copied("r1"), copied("r2"))
    erasure = deleted(state, OPERATOR, erase=("r:r1",))
    without = deleted(state, OPERATOR)
    place.pass_time(8 * 86_400)
    state.prune()
    assert {record.number for record in state.last(OPERATOR)} == {first, erasure}
    assert without not in {first, erasure}
    place.pass_time(23 * 86_400)
    state.prune()
    assert not state.last(OPERATOR)


def test_an_erasure_stays_on_record_as_long_as_a_copy_that_it_removed_could_last(place: Place) -> None:
    state = place.process(days=30)
    deleted(state, OPERATOR, copied("r1"))
    erasure = deleted(state, OPERATOR, erase=("r:r1",))
    for days, on_record in ((8, [erasure]), (23, [])):
        place.pass_time(days * 86_400)
        state.prune()
        assert [record.number for record in state.last(OPERATOR)] == on_record


def test_a_row_that_opened_before_is_noticed_when_a_column_of_it_changes(place: Place) -> None:
    state = place.process()
    deleted(state, OPERATOR, copied("r1"), copied("r2"))
    wanted = [Name.of("request", "r2")]
    for statement, damaged in (
        ("UPDATE main.copies SET kind = kind", 0),
        ("UPDATE main.copies SET names = 'r:0' WHERE id = 1", 1),
        ("UPDATE main.copies SET user_id = 'x' WHERE id = 2", 2),
    ):
        place.sql(statement)
        reading = state.copies.read(OPERATOR, names=wanted, erasing=True)
        found = [copy.id for copy in reading]
        assert (found, reading.damaged) == (["r2"] if damaged < 2 else [], damaged)
