"""`reflexio-mcp log`: the audit log as lines, and whether it is whole."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from reflexio_mcp.backend import open_state
from reflexio_mcp.cli import main
from reflexio_mcp.settings import load
from tests.state.conftest import OPERATOR, deletion, ended


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def deleted(store: Path) -> str:
    state = open_state(load({"REFLEXIO_MCP_STORE": str(store)}))
    return ended(state, OPERATOR, state.begin(OPERATOR, deletion())).chain


def test_it_prints_a_line_before_and_after_each_deletion(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deleted(store)
    assert main(["log", "--store", str(store)]) == 0
    begin, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert (begin["event"], begin["request_ids"]) == ("begin", ["r1"])
    assert (end["event"], end["outcome"]) == ("end", "complete")


def test_it_says_whether_a_line_was_changed_or_is_missing(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = deleted(store)
    deleted(store)
    assert main(["log", "--store", str(store), "--verify", noted]) == 0
    assert "4 lines, none changed or missing" in capsys.readouterr().out
    assert main(["log", "--store", str(store), "--verify", "0" * 32]) == 1
    assert "the end of the log was cut off" in capsys.readouterr().out
    with closing(sqlite3.connect(store.with_name("state.db"))) as state, state:
        state.execute("UPDATE log SET line = replace(line, 'r1', 'r2') WHERE id = 1")
    assert main(["log", "--store", str(store), "--verify"]) == 1
    assert "Line 1 was changed" in capsys.readouterr().out


def test_a_log_that_cannot_be_read_is_no_empty_log(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deleted(store)
    store.with_name("state.db").write_bytes(b"x" * 4096)
    assert main(["log", "--store", str(store)]) == 1
    said = capsys.readouterr()
    assert not said.out
    assert "the audit log cannot be read: the state file cannot be used" in said.err
