"""The benchmark of shares runs every kind of call, and what it says is measured."""

import sys

import pytest

from benchmarks.shares import measured
from benchmarks.shares_callers import FLOODS, STREAMS

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]


@pytest.mark.parametrize(
    ("backend", "kind"), [("http", "sessions"), ("embedded", "pipeline"), ("embedded", "unread-stream")]
)
def test_a_line_of_the_benchmark_is_measured_while_the_fourth_is_answered(backend: str, kind: str) -> None:
    waiting, memory, failed = measured([kind], [2], ["small"], [backend], seconds=0.5)
    assert waiting.measured > 0
    assert memory.met
    assert failed.met
    assert "nothing answered" not in waiting.detail


def test_the_benchmark_has_eighteen_kinds_of_call() -> None:
    assert len(FLOODS) + len(STREAMS) == 18
