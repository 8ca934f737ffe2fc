"""The audit log."""

import json

import pytest

from reflexio_mcp.logs import named_call
from reflexio_mcp.state.state import State
from tests.state.conftest import OPERATOR, Place, deletion, ended


def test_a_deletion_has_a_line_before_it_and_one_after_it(state: State) -> None:
    with named_call("somebody", "call 7"):
        number = state.begin(OPERATOR, deletion())
    ended(state, OPERATOR, number, facts={"counts": {"deleted": 1}})
    with state.database.transaction() as transaction:
        state.log.add(transaction, {"event": "refused", "request_ids": ["r\ud800\0"]})
    begin, end, refused = (json.loads(entry.line) for entry in state.log.entries())
    assert begin == begin | {
        "event": "begin",
        "deletion": number,
        "tool": "delete_requests",
        "request_ids": ["r1"],
    }
    assert begin == begin | {"caller": "somebody", "call_id": "call 7"}
    assert end == end | {"event": "end", "deletion": number, "outcome": "complete", "counts": {"deleted": 1}}
    assert refused["request_ids"] == ["r\ud800\0"]
    assert all(line["time"].endswith("+00:00") for line in (begin, end, refused))


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE main.log SET line = replace(line, 'begin', 'begun') WHERE id = 3", 3),
        ("DELETE FROM main.log WHERE id = 2", 3),
        ("DELETE FROM main.log WHERE id = 1", 2),
        ("UPDATE main.log SET chain = (SELECT chain FROM main.log WHERE id = 1) WHERE id = 2", 2),
    ],
)
def test_a_line_that_was_changed_or_taken_out_is_found(
    place: Place, state: State, statement: str, wrong: int
) -> None:
    for _ in range(3):
        ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    assert state.log.verify() == state.log.verify(noted=state.last(OPERATOR)[0].chain)
    assert state.log.verify().wrong is None
    assert state.log.verify().lines == 6
    place.sql(statement)
    assert state.log.verify().wrong == wrong


def test_an_end_that_was_cut_off_is_found_by_what_a_receipt_noted(place: Place, state: State) -> None:
    noted, _ = ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    place.sql("DELETE FROM main.log WHERE id = 2")
    assert state.log.verify().missing == {noted}
    place.sql("DELETE FROM main.deletions")
    assert not state.log.verify().missing
    found = state.log.verify(noted)
    assert found.wrong is None
    assert found.missing == {noted}


def test_a_line_cannot_be_made_up_without_the_key(place: Place, state: State) -> None:
    state.begin(OPERATOR, deletion())
    other = place.process(keys=(b"a key that somebody made up, long",))
    other.begin(OPERATOR, deletion())
    assert state.log.verify().wrong == 2


def test_a_long_log_is_read_to_its_end(state: State) -> None:
    numbers = [state.begin(OPERATOR, deletion()) for _ in range(7)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reflexio_mcp.state.state.LINES_AT_ONCE", 3)
        assert [json.loads(entry.line)["deletion"] for entry in state.log.entries()] == numbers
