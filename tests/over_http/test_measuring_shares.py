"""The benchmark of shares runs every kind of call, and what it says is measured."""

import re
import sys

import pytest

from benchmarks import shares
from benchmarks.shares_callers import FLOODS, STREAMS

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]


@pytest.mark.parametrize(
    ("backend", "kind"), [("http", "sessions"), ("embedded", "pipeline"), ("embedded", "unread-stream")]
)
def test_a_line_of_the_benchmark_is_measured_while_the_fourth_is_answered(backend: str, kind: str) -> None:
    waiting, memory, failed = shares.measured([kind], [2], ["small"], [backend], seconds=0.5)
    assert waiting.measured > 0
    assert memory.met
    assert failed.met
    assert "nothing answered" not in waiting.detail


@pytest.mark.parametrize(
    ("kind", "clients", "data"),
    [("unread", 64, "large"), ("unread-stream", 20, "large"), ("unread-stream", 20, "small")],
)
def test_clients_that_never_read_their_answers_take_little_memory_and_stop_nobody(
    kind: str, clients: int, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "STREAM_CONNECTIONS", clients)
    waiting, memory, failed = shares.measured([kind], [], [data], ["embedded"], seconds=10)
    assert memory.met, memory
    assert failed.met, failed
    assert waiting.measured < 5_000, waiting
    if data == "small":
        [sent] = re.findall(r"(\d+) HTTP 202", waiting.detail)
        assert int(sent) > 100, "so many short answers are unread"


def test_the_benchmark_has_eighteen_kinds_of_call() -> None:
    assert len(FLOODS) + len(STREAMS) == 18
