"""What people judged to be no problem, on each engine."""

import json

from reflexio_mcp.logs import named_call
from reflexio_mcp.state.judgements import StoredAt
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State
from tests.state.conftest import ALICE, KEY, OPERATOR, Place, deleted

FIRST, SECOND = StoredAt("r1", 1_790_000_000), StoredAt("r2", 1_790_000_000)
NEWER_KEY = b"Qp8sLw2nV6xT4mR9jK1hG7dF3cB5aZ0y"


def test_a_judgement_is_remembered_for_its_finding_request_and_account_until_it_is_taken_back(
    place: Place, state: State
) -> None:
    state.judgements.note(ALICE, "possible-secret", [FIRST, SECOND], no_problem=True)
    state.judgements.note(OPERATOR, "possible-secret", [FIRST], no_problem=True)
    judged = place.process().judgements.of(OPERATOR)
    assert judged.has("possible-secret", FIRST)
    assert not judged.has("probable-secret", FIRST)
    assert not judged.has("possible-secret", StoredAt("r1", FIRST.created_at + 1)), "stored anew"
    assert not state.judgements.of(Owner("another account")).has("possible-secret", FIRST)
    state.judgements.note(OPERATOR, "possible-secret", [FIRST], no_problem=False)
    judged = place.process().judgements.of(ALICE)
    assert (judged.has("possible-secret", FIRST), judged.has("possible-secret", SECOND)) == (False, True)


def test_a_judgement_is_found_and_taken_back_under_a_newer_key(place: Place, state: State) -> None:
    state.judgements.note(OPERATOR, "possible-secret", [FIRST], no_problem=True)
    renewed = place.process(keys=(NEWER_KEY, KEY))
    assert renewed.judgements.of(OPERATOR).has("possible-secret", FIRST)
    renewed.judgements.note(OPERATOR, "possible-secret", [FIRST], no_problem=False)
    assert not renewed.judgements.of(OPERATOR).has("possible-secret", FIRST)


def test_the_log_says_who_judged_what_and_the_table_names_nothing(place: Place, state: State) -> None:
    with named_call("somebody", "call 7"):
        state.judgements.note(ALICE, "possible-secret", [FIRST], no_problem=True)
    [line] = [json.loads(entry.line) for entry in state.log.entries()]
    assert line == line | {
        "event": "judged",
        "caller": "somebody",
        "user_id": "alice",
        "finding": "possible-secret",
        "no_problem": True,
        "request_ids": ["r1"],
    }
    [row] = place.rows("SELECT account, caller, place FROM main.judged")
    assert not {"account", "alice", "r1", "possible-secret"}.intersection(row)
    assert state.log.verify().sound


def test_tables_of_the_first_version_take_judgements(place: Place, state: State) -> None:
    deleted(state, OPERATOR)
    place.make_first()
    upgraded = place.process()
    upgraded.judgements.note(OPERATOR, "possible-secret", [FIRST], no_problem=True)
    assert upgraded.judgements.of(OPERATOR).has("possible-secret", FIRST)
