"""The audit log, wherever it is kept."""

from reflexio_mcp.state.audit_log import named_call
from tests.state.conftest import Engine


def test_a_deletion_has_a_line_before_it_and_one_after_it(engine: Engine) -> None:
    log = engine.audit_log()
    with named_call("somebody", "call-1"):
        entry = log.open({"tool": "delete_request", "request_ids": ["r\0\ud800"]})
        [begin] = engine.lines()
        assert entry.close("complete", counts={"deleted": 1})
    end = engine.lines()[1]
    assert (begin["event"], begin["caller"], begin["call_id"]) == ("begin", "somebody", "call-1")
    assert (end["event"], end["outcome"], end["counts"]) == ("end", "complete", {"deleted": 1})
    assert begin["correlation_id"] == end["correlation_id"] == entry.correlation_id


def test_the_end_of_one_entry_and_the_beginning_of_the_next_are_one_step(engine: Engine) -> None:
    first = engine.audit_log().open({"tool": "delete_session"})
    second = first.hand_over("complete", {}, {"follow_up_of": ["r1"]})
    assert second
    assert second.close("incomplete")
    lines = engine.lines()
    assert [line["event"] for line in lines] == ["begin", "end", "begin", "end"]
    ids = [line["correlation_id"] for line in lines]
    assert ids == [first.correlation_id] * 2 + [second.correlation_id] * 2
