"""The cap, plan codes and records of deletions."""

import json

import pytest

from reflexio_mcp.state.job_rows import COLUMNS, JobRow, JobSeals
from reflexio_mcp.state.keys import Keys
from reflexio_mcp.state.records import (
    CapReached,
    Claimed,
    CodeUsed,
    Intention,
    JobNumber,
    Name,
    Owner,
)
from reflexio_mcp.state.restores import jobs_not_over
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

NEW = b"a new key, which is just as long"


def test_the_cap_counts_what_every_process_deletes_for_an_hour(place: Place) -> None:
    one, another = place.process(limit=5), place.process(limit=5)
    one.begin(OPERATOR, deletion(3))
    assert another.check_room(OPERATOR) == 2
    with pytest.raises(CapReached) as reached:
        another.begin(OPERATOR, deletion(3))
    assert (reached.value.limit, reached.value.room) == (5, 2)
    assert 3_590 < reached.value.wait <= 3_600
    assert len(one.last(OPERATOR)) == 1, "a refused deletion leaves no record"
    place.pass_time(3_601)
    another.begin(OPERATOR, deletion(5))


def test_a_deletion_larger_than_the_cap_never_fits_and_a_part_of_it_does(place: Place) -> None:
    state = place.process(limit=5)
    with pytest.raises(CapReached) as reached:
        state.check_room(OPERATOR, 6)
    assert (reached.value.room, reached.value.wait) == (5, 0)


def test_each_caller_has_a_cap_and_another_user_in_the_call_makes_no_more_room(place: Place) -> None:
    state = place.process(limit=1)
    state.begin(ALICE, deletion())
    with pytest.raises(CapReached):
        state.begin(Owner(ALICE.account, "bob", ALICE.caller), deletion())
    state.begin(OPERATOR, deletion())


def test_without_a_cap_nothing_is_refused(place: Place) -> None:
    state = place.process(limit=0)
    state.begin(OPERATOR, deletion(1_000_000))
    assert state.check_room(OPERATOR) is None


@pytest.mark.parametrize("ahead", [3_660, 365 * 86_400])
def test_a_clock_that_is_ahead_for_a_moment_makes_no_room_and_takes_none(
    place: Place, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = place.process(limit=2)
    state.begin(OPERATOR, deletion(1))
    place.advance_clock(ahead)
    assert (state.check_room(OPERATOR), state.least_room()) == (1, 1)
    state.begin(OPERATOR, deletion(1))
    place.advance_clock(-ahead)
    with pytest.raises(CapReached) as reached:
        state.begin(OPERATOR, deletion(1))
    assert 3_590 < reached.value.wait <= 3_600
    assert state.least_room() == 0, "what operators measure is what the cap leaves"
    place.pass_time(3_601)
    assert (state.check_room(OPERATOR), state.least_room()) == (2, 2)


def test_what_operators_measure_counts_a_caller_under_every_key_and_nobody_who_has_a_cap_of_their_own(
    place: Place,
) -> None:
    before, after = place.process(limit=10), place.process(limit=10, keys=(NEW, KEY))
    before.begin(OPERATOR, deletion(3))
    before.begin(ALICE, deletion(2))
    after.begin(OPERATOR, deletion(4))
    assert (after.check_room(OPERATOR), after.least_room()) == (3, 3)
    for account in ("account", "another account"):
        after.begin(Owner(account, caller="expired"), deletion(10))
    assert (after.least_room(), after.least_room({"expired"})) == (0, 3)
    place.sql("UPDATE main.deletions SET restores = 7 WHERE counted = 4")
    assert after.check_room(OPERATOR) == 3, "its record was changed, and the cap counts it"
    after.begin(OPERATOR, deletion(1))
    assert (after.check_room(OPERATOR), after.least_room({"expired"})) == (2, 2)


def test_what_another_machine_dated_in_the_future_counts_until_the_state_is_in_use_on_another_day(
    place: Place,
) -> None:
    state = place.process(limit=1)
    state.begin(OPERATOR, deletion(1))
    place.sql("UPDATE main.deletions SET boot = 'another', at = at + ?", 365 * 86_400)
    with pytest.raises(CapReached):
        state.begin(OPERATOR, deletion(1))
    place.sql("UPDATE main.deletions SET seen = seen - 1")
    assert state.check_room(OPERATOR) == 1


AHEAD = 400 * 86_400


def test_a_claim_dated_in_the_future_counts_until_the_state_is_in_use_on_another_day(place: Place) -> None:
    """A correction was killed while the clock was ahead, so nobody has ended its claim."""
    state = place.process()
    learning = [("alice", Name.of("learning", "profile:1"))]
    killed, number = (state.begin(OPERATOR, deletion(1)) for _ in range(2))
    state.claim(OPERATOR, killed, learning, 10, alone=True)
    place.sql(
        f"UPDATE main.deletions SET at = at + {AHEAD}, claimed_until = claimed_until + {AHEAD} WHERE id = {killed}"
    )
    with pytest.raises(Claimed):
        state.claim(OPERATOR, number, learning, 10, alone=True)
    place.sql(f"UPDATE main.deletions SET seen = seen - 1 WHERE id = {killed}")
    assert state.claim(OPERATOR, number, learning, 10, alone=True), (
        "a call of the killed one may still overwrite it"
    )
    place.sql(f"UPDATE main.deletions SET seen = seen - 1 WHERE id = {killed}")
    assert not state.claim(OPERATOR, number, learning, 10, alone=True)


@pytest.mark.parametrize(("days", "is_over"), [(1, False), (2, True)])
def test_a_restore_that_was_killed_while_the_clock_was_ahead_is_given_up_after_two_days_of_use(
    place: Place, days: int, is_over: bool
) -> None:
    state = place.process()
    restore = state.begin_restore(OPERATOR, restoring(deleted(state, OPERATOR, copied())))
    place.sql(
        f"UPDATE main.deletions SET at = at + {AHEAD}, stores_until = stores_until + {AHEAD}, seen = seen - {days} "
        f"WHERE id = {restore}"
    )
    with state.database.transaction(writes=False) as transaction:
        assert (restore in jobs_not_over(transaction).jobs) is not is_over


def test_what_was_not_deleted_after_all_no_longer_counts(place: Place) -> None:
    state = place.process(limit=5)
    ended(state, OPERATOR, state.begin(OPERATOR, deletion(5)), counted=2)
    assert state.check_room(OPERATOR) == 3


def test_a_plan_code_is_good_for_one_deletion_in_all_processes(place: Place) -> None:
    one, another = place.process(), place.process()
    number = one.begin(OPERATOR, deletion(code="2-abc-XYZ"))
    with pytest.raises(CodeUsed) as used:
        another.begin(OPERATOR, deletion(code="2-abc-XYZ"))
    assert used.value.number == number
    place.pass_time(2 * 86_400)
    another.prune()
    with pytest.raises(CodeUsed):
        another.begin(OPERATOR, deletion(code="2-abc-XYZ"))


def test_a_record_is_there_before_anything_is_deleted_and_has_the_receipt_afterwards(place: Place) -> None:
    one, another = place.process(), place.process()
    number = one.begin(OPERATOR, Intention("delete_session", "session s\ud800\0", 2, planned=["r1", "r\n2"]))
    [record] = another.last(OPERATOR)
    assert (record.number, record.target) == (number, "session s\ud800\0")
    assert (record.asked, record.gone, record.planned) == (2, 0, ["r1", "r\n2"])
    assert (record.outcome, record.finished, record.receipt) == ("", None, "")
    chain, _ = ended(
        one, OPERATOR, number, 2, receipt="2 requests are gone \ud800", facts={"counts": {"deleted": 2}}
    )
    [record] = another.last(OPERATOR)
    assert (record.outcome, record.gone, record.receipt) == ("complete", 2, "2 requests are gone \ud800")
    assert record.finished
    assert record.chain == chain


def test_deletions_are_listed_for_their_user_and_for_operators_of_the_account(place: Place) -> None:
    state = place.process()
    state.begin(ALICE, deletion())
    assert state.last(OPERATOR)
    assert not state.last(Owner("account", "bob", ALICE.caller))
    assert not state.last(Owner("another account", "alice", ALICE.caller))
    assert state.last(Owner("account", "alice", "another key of alice"))


def test_an_operator_finds_any_deletion_by_its_number_and_a_person_only_their_own(place: Place) -> None:
    state = place.process()
    number = state.begin(ALICE, deletion())
    bob, elsewhere = Owner("account", "bob"), Owner("another account")
    found = [
        [one.number for one in state.last(who, number=number)] for who in (ALICE, OPERATOR, bob, elsewhere)
    ]
    assert found == [[number], [number], [], []]


def test_a_deletion_is_marked_as_restored_once_nothing_of_other_users_is_left(place: Place) -> None:
    state = place.process()
    shared = deleted(state, OPERATOR, copied(), copied("r2", user="bob"))
    of_alice = deleted(state, OPERATOR, copied())
    untouched = deleted(state, OPERATOR, copied("r3"))

    def restore(owner: Owner, number: int, back: int = 1, *, all_of_it: bool = False) -> None:
        begun = state.begin_restore(owner, restoring(number))
        assert restored(state, owner, begun, back, all_of_it=all_of_it)

    def outcomes() -> list[str]:
        return [one.outcome for one in state.last(OPERATOR) if not one.restores]

    restore(ALICE, shared, all_of_it=True)
    restore(ALICE, of_alice, all_of_it=True)
    assert outcomes() == ["complete", "restored", "partly_restored"]
    restore(OPERATOR, shared, all_of_it=True)
    restore(OPERATOR, shared)
    restore(OPERATOR, untouched, back=0)
    assert outcomes() == ["complete", "restored", "restored"]
    assert not any(one.damaged for one in state.last(OPERATOR))
    assert state.log.verify().sound


def test_a_record_is_kept_for_a_week_or_as_long_as_its_copies(place: Place) -> None:
    state = place.process(days=30)
    copy = deleted(state, OPERATOR, copied())
    state.begin(OPERATOR, deletion())
    place.pass_time(8 * 86_400)
    state.prune()
    assert [one.number for one in state.last(OPERATOR)] == [copy]
    place.pass_time(23 * 86_400)
    state.prune()
    assert not state.last(OPERATOR)
    assert not state.copies.listed(OPERATOR)


def test_no_words_ids_or_names_can_be_read_in_the_tables_and_no_digest_without_the_key(place: Place) -> None:
    state = place.process()
    number = state.begin(
        ALICE, Intention("delete_request", "canary of the target", 1, "canary-code", ["canary planned"])
    )
    state.keep(
        ALICE, number, [copied("canary-id", "canary-user", "canary words"), learned("canary-learning")]
    )
    ended(state, ALICE, number, receipt="canary receipt")
    kept = repr(place.rows("SELECT * FROM main.deletions") + place.rows("SELECT * FROM main.copies"))
    assert "canary" not in kept
    assert "alice" not in kept
    again = place.process(keys=(b"another key of the same length !", KEY))
    again.keep(ALICE, number, [copied("canary-id", "canary-user", "canary words")])
    one, _, other = place.rows("SELECT account, user_id, names FROM main.copies ORDER BY id")
    assert set(one).isdisjoint(other)


def by_call(state: State, owner: Owner, call: str) -> JobNumber:
    return state.begin(owner, Intention("delete_requests", "requests that contain words", 1, call=call))


def test_a_call_that_did_not_finish_is_found_until_the_same_call_has(place: Place) -> None:
    state = place.process()
    first = by_call(state, ALICE, "canary of a call")
    ended(state, ALICE, by_call(state, ALICE, "another call"))
    for _ in range(30):
        deleted(state, ALICE)
    found = state.last_unfinished(ALICE, "canary of a call")
    assert found
    assert (found.number, found.outcome) == (first, "")
    assert state.last_unfinished(ALICE, "another call") is None
    second = by_call(state, ALICE, "canary of a call")
    ended(state, ALICE, second, outcome="incomplete")
    found = state.last_unfinished(ALICE, "canary of a call")
    assert found
    assert (found.number, found.outcome) == (second, "incomplete")
    ended(state, ALICE, by_call(state, ALICE, "canary of a call"))
    assert state.last_unfinished(ALICE, "canary of a call") is None


def test_a_call_that_did_not_finish_is_found_by_its_owner_and_an_operator_alone(place: Place) -> None:
    state = place.process()
    number = by_call(state, ALICE, "call")
    bob, elsewhere = Owner("account", "bob"), Owner("another account")
    found = {owner: state.last_unfinished(owner, "call") for owner in (ALICE, OPERATOR, bob, elsewhere)}
    assert {owner for owner, one in found.items() if one and one.number == number} == {ALICE, OPERATOR}


def test_a_call_is_found_under_a_newer_key_and_after_more_was_noted_of_it(place: Place) -> None:
    state = place.process()
    state.note_back(by_call(state, ALICE, "call"), [("p", "alice")])
    found = place.process(keys=(b"another key of the same length !", KEY)).last_unfinished(ALICE, "call")
    assert found
    assert found.back == [("p", "alice")]


def test_no_call_is_the_same_as_one_of_an_earlier_version_that_recorded_none(place: Place) -> None:
    state = place.process()
    number = state.begin(ALICE, deletion())
    keys = Keys(lambda: [KEY])
    seals = JobSeals(keys)
    [values] = place.rows(f"SELECT {COLUMNS} FROM main.deletions")
    row = JobRow.of(values)
    *earlier, call, _caller = seals.open_intention(row.identity, row.intention)
    assert call == ""
    sealed = keys.seal(json.dumps(earlier), row.identity.sealing_context("intention"))
    place.sql("UPDATE main.deletions SET intention = ? WHERE id = ?", sealed, number)
    assert state.last_unfinished(ALICE, "") is None
    [found] = state.last(ALICE)
    assert (found.number, found.target, found.damaged) == (number, "some requests", False)


def test_the_words_of_a_call_are_not_recorded(place: Place) -> None:
    state = place.process()
    by_call(state, ALICE, "canary of a call")
    [values] = place.rows(f"SELECT {COLUMNS} FROM main.deletions")
    row = JobRow.of(values)
    intended = JobSeals(Keys(lambda: [KEY])).open_intention(row.identity, row.intention)
    assert intended.call
    assert "canary" not in repr(intended)
    assert "canary" not in repr(place.rows("SELECT * FROM main.log"))


def test_a_receipt_that_was_moved_to_another_deletion_is_not_shown_and_the_others_are(place: Place) -> None:
    state = place.process()
    first, second = state.begin(ALICE, deletion()), state.begin(ALICE, deletion())
    ended(state, ALICE, first, receipt="everything is gone")
    ended(state, ALICE, second, receipt="nothing is gone")
    place.sql(
        "UPDATE main.deletions SET receipt = (SELECT receipt FROM main.deletions WHERE id = ?) WHERE id = ?",
        first,
        second,
    )
    assert [(one.number, one.receipt, one.target, one.damaged) for one in state.last(ALICE)] == [
        (second, "", "some requests", True),
        (first, "everything is gone", "some requests", False),
    ]


@pytest.mark.parametrize("change", ["intention = NULL", "outcome = 'lost'", "code = 'another'"])
def test_a_record_that_was_changed_is_marked_and_the_others_are_shown(place: Place, change: str) -> None:
    state = place.process()
    first, second = deleted(state, ALICE), deleted(state, ALICE)
    place.sql(f"UPDATE main.deletions SET {change} WHERE id = {second}")
    assert [(one.number, one.damaged) for one in state.last(ALICE)] == [(second, True), (first, False)]


NOT_ENDED = "outcome = '', gone = 0, finished = NULL, chain = '', receipt = NULL"


@pytest.mark.parametrize(
    "change",
    [
        *(
            "outcome = 'complete'",
            "outcome = 'restored'",
            "outcome = ''",
            "gone = 7",
            "finished = finished + 1",
        ),
        *("finished = NULL", "chain = ''", "restores = 1", "caller = 'x'", "receipt = NULL", "begun = 1"),
        NOT_ENDED,
    ],
)
def test_how_a_deletion_ended_is_not_believed_from_a_row_that_was_changed(place: Place, change: str) -> None:
    state = place.process()
    first, second = deleted(state, ALICE), state.begin(ALICE, deletion())
    ended(state, ALICE, second, outcome="incomplete")
    assert state.log.verify().sound
    place.sql(f"UPDATE main.deletions SET {change} WHERE id = {second}")
    [found, other] = state.last(ALICE)
    assert (found.outcome in ("", "incomplete"), found.gone in (0, 1), found.restores) == (True, True, 0)
    assert found.damaged or change == NOT_ENDED, "the log alone shows that it had ended"
    assert (other.number, other.outcome, other.damaged) == (first, "complete", False)
    checked = place.process().log.verify()
    assert (checked.records, checked.has_all_lines, checked.sound) == ([second], True, False)


def test_an_end_that_was_changed_is_not_believed_of_a_restore_or_of_a_deletion_that_has_none(
    place: Place,
) -> None:
    state = place.process()
    running = state.begin(ALICE, deletion())
    restore = state.begin_restore(ALICE, restoring(deleted(state, ALICE, copied())))
    restored(state, ALICE, restore, outcome="incomplete", absent=None)
    assert state.log.verify().sound
    place.sql("UPDATE main.deletions SET outcome = 'complete', finished = at")
    outcomes = {one.number: (one.outcome, one.damaged) for one in state.last(ALICE)}
    assert (outcomes[running], outcomes[restore]) == (("", True), ("incomplete", True))
    assert {running, restore} < set(state.log.verify().records)


@pytest.mark.parametrize("column", ["user_id", "account"])
def test_a_deletion_that_a_changed_row_gives_to_somebody_else_tells_them_nothing(
    place: Place, column: str
) -> None:
    state = place.process()
    other = Owner("account", "bob") if column == "user_id" else Owner("another account", "alice")
    facts = {"reason": "of alice"}
    number = state.begin(ALICE, Intention("delete_session", "session of alice", 1, "", ["r"], facts=facts))
    ended(state, ALICE, number, receipt="receipt of alice")
    theirs = state.begin(other, deletion())
    place.sql(
        f"UPDATE main.deletions SET {column} = (SELECT {column} FROM main.deletions WHERE id = ?) WHERE id = ?",
        theirs,
        number,
    )
    [mine, given] = state.last(other)
    assert (mine.number, mine.damaged, given.number, given.damaged) == (theirs, False, number, True)
    assert (given.target, given.receipt, given.began, given.outcome, given.planned) == ("", "", "", "", [])
    assert state.log.verify().records == [number]


def test_a_record_names_the_line_of_no_other_deletion_as_its_first(place: Place) -> None:
    state = place.process()
    number = state.begin(ALICE, Intention("delete_session", "of alice", 1, facts={"reason": "of alice"}))
    theirs = state.begin(Owner("account", "bob"), deletion())
    place.sql(
        "UPDATE main.deletions SET begun = (SELECT begun FROM main.deletions WHERE id = ?) WHERE id = ?",
        number,
        theirs,
    )
    [shown] = state.last(Owner("account", "bob"))
    assert (shown.began, shown.damaged) == ("", True)


def test_a_key_is_exchanged_without_losing_cap_codes_records_or_copies(place: Place) -> None:
    before, between = place.process(limit=3), place.process(limit=3, keys=(NEW, KEY))
    before.begin(OPERATOR, deletion(code="code"))
    deleted(before, OPERATOR, copied())
    assert between.check_room(OPERATOR) == 1
    with pytest.raises(CodeUsed):
        between.begin(OPERATOR, deletion(code="code"))
    assert len(between.last(OPERATOR)) == 2
    assert [one.id for one in between.copies.read(ALICE)] == ["r1"]
    assert between.log.verify().wrong is None
    deleted(between, OPERATOR, copied("r2"))
    after = place.process(keys=(NEW,))
    assert (after.copies.count_unreadable(), after.copies.count_unreadable(3)) == (1, 0)
    assert [one.id for one in after.copies.read(OPERATOR)] == ["r2"]
    deleted(after, OPERATOR, erase=("r:r2",))
    assert not list(after.copies.read(OPERATOR))
    assert [one.id for one in between.copies.read(OPERATOR)] == ["r1"]


def test_what_was_done_to_learnings_outlives_the_record_and_is_told_to_those_whom_it_concerns(
    place: Place,
) -> None:
    state = place.process()
    stranger = Owner("another account")
    deeds = {"alice": {"deleted": ["profile:a"]}, "bob": {"put_back": ["profile:b"]}}
    number = state.begin(OPERATOR, deletion())
    ended(state, OPERATOR, number, deeds=deeds)
    place.pass_time(8 * 86_400)
    state.prune()
    assert not state.last(OPERATOR)
    told = state.learning_deeds(OPERATOR, 0)
    assert [(one.job, one.user, one.deed, one.learning_id) for one in told] == [
        (number, "alice", "deleted", "profile:a"),
        (number, "bob", "put_back", "profile:b"),
    ]
    assert state.learning_deeds(ALICE, 0) == told[:1]
    assert not state.learning_deeds(stranger, 0)
    assert not state.learning_deeds(OPERATOR, told[0].at + 1)


def test_a_job_ends_no_other_record_that_has_its_number(place: Place) -> None:
    """After a state was removed, the numbers begin again."""
    state = place.process()
    mine, other = state.begin(ALICE, deletion()), state.begin(OPERATOR, deletion())
    place.sql(
        "UPDATE main.deletions SET intention = (SELECT intention FROM main.deletions WHERE id = ?) WHERE id = ?",
        other,
        mine,
    )
    for use in (
        lambda: state.keep(ALICE, mine, [copied()]),
        lambda: state.count_more(ALICE, mine, 1),
        lambda: state.note_back(mine, [("profile:1", "alice")]),
        lambda: ended(state, ALICE, mine),
        lambda: restored(state, ALICE, mine),
    ):
        with pytest.raises(StateUnusable, match="record of this deletion is gone"):
            use()
    assert ended(state, OPERATOR, other)


def test_what_restores_have_stored_is_known_to_every_process_of_the_account(
    place: Place, state: State
) -> None:
    number = state.begin_restore(OPERATOR, restoring(1))
    assert state.restored_ids(OPERATOR) == set()
    assert restored(state, OPERATOR, number, facts={"ids": ["r1", "r2-interaction-7"]})
    assert place.process().restored_ids(ALICE) == {"r1", "r2-interaction-7"}
    assert state.restored_ids(Owner("another account")) == set()
