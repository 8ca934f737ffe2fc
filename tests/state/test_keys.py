"""The keys of the state: which server may use it, and what another key has sealed."""

import pytest

from reflexio_mcp.state.keys import WrongKey
from reflexio_mcp.state.records import CapReached, JobNumber
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
    restored,
    restoring,
)

NEW = b"a new key, which is just as long"
WRONG = b"the key of some other state, long"


def test_a_server_with_another_key_is_refused_and_troubles_nobody(place: Place) -> None:
    state = place.process()
    number = deleted(state, OPERATOR, copied())
    wrong = place.process(keys=(WRONG,))
    for use in (
        lambda: wrong.begin(OPERATOR, deletion()),
        lambda: wrong.check_room(OPERATOR, 1),
        lambda: wrong.keep(OPERATOR, number, [copied("r2")]),
        lambda: wrong.copies.listed(OPERATOR),
        lambda: list(wrong.copies.read(OPERATOR, deletion=number)),
        lambda: wrong.last(OPERATOR),
        lambda: wrong.log.verify(),
        lambda: wrong.note_held(OPERATOR, "everything", ["a hold"], 1),
        lambda: wrong.judgements.of(OPERATOR),
        wrong.check,
        wrong.prune,
    ):
        with pytest.raises(WrongKey, match="encrypted with a key that this server does not have") as refused:
            use()
        assert "REFLEXIO_MCP_STATE_KEYS" in refused.value.advice
    assert [one.id for one in place.process().copies.read(OPERATOR)] == ["r1"]
    assert state.log.verify().sound
    assert len(list(wrong.log.entries())) == 2, "the lines can be read without a key"


def test_the_first_server_of_an_empty_state_decides_on_its_key(place: Place) -> None:
    unused = place.process(keys=(WRONG,))
    unused.check()
    place.process().begin(OPERATOR, deletion())
    for one in (unused, place.process(keys=(WRONG,))):
        with pytest.raises(WrongKey):
            one.check()


@pytest.mark.parametrize("noted", [True, False])
def test_a_state_that_has_only_lines_of_the_log_has_a_key(place: Place, noted: bool) -> None:
    place.process().note_export(OPERATOR, "everything", {"requests": 1})
    if not noted:  # by a version that noted keys with deletions alone
        place.sql("DELETE FROM main.keys")
    with pytest.raises(WrongKey):
        place.process(keys=(WRONG,)).check()
    right = place.process()
    right.check()
    right.note_export(OPERATOR, "everything", {"requests": 1})
    assert right.log.verify().sound
    with pytest.raises(WrongKey):
        place.process(keys=(WRONG,)).check()


def test_keys_are_exchanged_one_server_after_the_other(place: Place) -> None:
    def works(*servers: State) -> None:
        for one in servers:
            number = deleted(one, ALICE, copied())
            for other in servers:
                assert number in other.copies.listed(ALICE)
                assert other.last(ALICE)

    old = [place.process() for _ in range(2)]
    works(*old)
    both = [place.process(keys=(KEY, NEW)) for _ in range(2)]
    works(*old, *both)
    moved = place.process(keys=(NEW, KEY))
    works(moved, both[1])
    with pytest.raises(WrongKey):
        place.process().check()
    works(place.process(keys=(KEY, NEW)), moved, place.process(keys=(NEW, KEY)))
    assert place.process(keys=(NEW,)).copies.listed(ALICE)


def test_what_another_key_has_sealed_is_skipped_and_counted(place: Place) -> None:
    running = place.process()
    mine = deleted(running, OPERATOR, copied())
    erasing = running.begin(OPERATOR, deletion())
    moved = place.process(keys=(NEW, KEY))
    others = deleted(moved, OPERATOR, copied("r2"), copied("r3"))
    assert list(running.copies.listed(OPERATOR)) == [mine]
    assert [one.id for one in running.copies.read(OPERATOR)] == ["r1"]
    assert [one.number for one in running.last(OPERATOR)] == [erasing, mine]
    assert (running.copies.count_unreadable(), running.copies.count_unreadable(others)) == (2, 2)
    assert running.copies.count_unreadable(mine) == moved.copies.count_unreadable() == 0
    ended(running, OPERATOR, erasing, erase=("r:r1", "r:r2"))
    assert [one.id for one in moved.copies.read(OPERATOR, erasing=True)] == ["r2", "r3"]
    assert [one.id for one in moved.copies.read(OPERATOR)] == ["r3"], "erased, although nobody could open it"


def test_copies_older_than_an_erasure_under_a_key_that_was_lost_are_not_restored(place: Place) -> None:
    """Nobody can tell whether it named them. The row of the lost key was deleted, as docs/shared-server.md says."""
    older = deleted(place.process(), OPERATOR, copied())
    with_both = place.process(keys=(NEW, KEY))
    deleted(with_both, OPERATOR, erase=("r:r9",))
    with_both.refuse_if_maybe_erased(older)
    deleted(place.process(keys=(NEW,)), OPERATOR, erase=("r:r1",))
    place.sql("DELETE FROM main.keys WHERE at = (SELECT max(at) FROM main.keys)")
    without = place.process()
    newer = deleted(without, OPERATOR, copied("r2"))
    with pytest.raises(StateUnusable, match="cannot be read, so it may have erased this copy") as refused:
        without.refuse_if_maybe_erased(older)
    assert "REFLEXIO_MCP_STATE_KEYS" in refused.value.advice
    without.refuse_if_maybe_erased(newer)
    assert without.older_copies() == 1


def test_who_only_looks_with_a_new_key_stops_no_server(place: Place) -> None:
    running = place.process()
    deleted(running, OPERATOR, copied())
    looking = place.process(keys=(NEW, KEY))
    looking.check()
    assert looking.last(OPERATOR)
    assert looking.copies.listed(OPERATOR)
    assert looking.log.verify().sound
    assert running.begin(OPERATOR, deletion())


def test_a_running_server_without_the_new_key_of_the_others_begins_no_deletion(place: Place) -> None:
    """It would not see how many items its caller has deleted through them."""
    running = place.process(limit=3)
    deleted(running, OPERATOR, copied())
    moved = place.process(limit=3, keys=(NEW, KEY))
    for name in ("r2", "r3"):
        deleted(moved, OPERATOR, copied(name))
    with pytest.raises(WrongKey):
        running.begin(OPERATOR, deletion())
    with pytest.raises(WrongKey):
        running.check()
    with pytest.raises(CapReached):
        moved.begin(OPERATOR, deletion())
    assert [one.id for one in running.copies.read(OPERATOR)] == ["r1"], "a restore of its own copies goes on"


def test_the_tables_of_version_12_go_on_with_what_they_have(place: Place) -> None:
    first = place.process()
    number = deleted(first, OPERATOR, copied())
    running = first.begin(OPERATOR, deletion(code="code"))
    place.make_first()
    [(intention,)] = place.rows(f"SELECT intention FROM main.deletions WHERE id = {running}")
    running = JobNumber(running, intention)
    with pytest.raises(WrongKey):
        place.process(keys=(WRONG,)).check()
    upgraded = place.process(keys=(NEW, KEY))
    assert [
        (one.number, one.target, one.outcome, one.receipt, one.damaged) for one in upgraded.last(OPERATOR)
    ] == [
        (running, "some requests", "", "", False),
        (number, "some requests", "complete", "a receipt", False),
    ]
    assert [one.id for one in upgraded.copies.read(OPERATOR, deletion=number)] == ["r1"]
    assert upgraded.log.verify().sound
    assert restored(upgraded, OPERATOR, upgraded.begin_restore(OPERATOR, restoring(number)))
    assert [(one.outcome, one.damaged) for one in upgraded.last(OPERATOR, number=number)] == [
        ("partly_restored", False)
    ]
    ended(upgraded, OPERATOR, running, erase=("r:r1",))
    assert not upgraded.copies.listed(OPERATOR)
    with pytest.raises(WrongKey):
        place.process().check()


def test_a_state_of_version_12_in_which_a_wrong_key_has_sealed_something_is_used_with_the_right_one(
    place: Place,
) -> None:
    deleted(place.process(), OPERATOR, copied())
    place.make_first()
    upgraded = place.process(keys=(WRONG, KEY))
    deleted(upgraded, OPERATOR, copied("r2"))
    place.make_first()
    right = place.process()
    assert [one.id for one in right.copies.read(OPERATOR)] == ["r1"]
    assert right.copies.count_unreadable() == 1
