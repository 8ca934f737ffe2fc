"""What commands print: columns that fit, rows that a program can read, and how far a long command is."""

import contextlib
import io
import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp import delete_command
from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import COMMANDS, main
from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.results.progress import Step
from reflexio_mcp.screen import Table, TerminalProgress
from reflexio_mcp.settings import Settings

ID = "0b9f3c1e-6f0e-4c53-9a31-0f6d1c8f2a77"


def table() -> Table:
    made = Table(["request_id", "user_id", "first_words"], frozenset({"first_words"}))
    made.add([ID, "ada", "I am flying to Lisbon in May and need a hotel for two"])
    made.add(["r2", "", "旅行\nの\t話"])
    return made


def test_a_text_is_cut_where_the_terminal_is_narrow_and_an_id_never() -> None:
    wide, narrow = table().fitted(200).splitlines(), table().fitted(70).splitlines()
    assert wide[0].split() == ["request", "id", "user", "id", "first", "words"]
    assert wide[1].endswith("a hotel for two")
    assert narrow[1].startswith(f"{ID}  ada")
    assert narrow[1].endswith("…")
    assert max(map(len, narrow)) <= 70


def test_rows_become_blocks_where_ids_alone_are_too_wide() -> None:
    assert table().fitted(40).splitlines() == [
        f"request id: {ID}",
        "user id: ada",
        "first words: I am flying to Lisbon in May and need a hotel for two",
        "",
        "request id: r2",
        "first words: 旅行 の 話",
    ]


def test_wide_letters_take_two_cells() -> None:
    made = Table(["a", "b"])
    made.add(["旅行", "x"])
    made.add(["four", "y"])
    assert made.fitted(None).splitlines()[1:] == ["旅行  x", "four  y"]


def test_a_cell_holds_neither_a_tab_nor_the_end_of_a_line() -> None:
    assert table().tab_separated().splitlines()[1] == "r2\t\t旅行 の 話"


class Terminal(io.StringIO):
    """A terminal on which something is `seen` once it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.seen.set()


def test_progress_is_shown_while_it_runs_and_leaves_nothing_behind() -> None:
    stream = Terminal()
    progress = TerminalProgress(stream, seconds=0)
    anyio.run(progress, Step.ITEMS_DELETED, 1500, 6000)
    with progress.shown():
        assert stream.seen.wait(30)
    assert stream.getvalue().startswith("\r\x1b[K1,500 of 6,000 deleted … ")
    assert stream.getvalue().endswith("\r\x1b[K")
    assert progress.last == "1,500 of 6,000 deleted"


def test_what_counts_nothing_says_for_how_long_it_has_run() -> None:
    stream = Terminal()
    with TerminalProgress(stream, seconds=0).shown():
        assert stream.seen.wait(30)
    assert stream.getvalue().startswith("\r\x1b[Kworking … 0 s")


def test_a_pipe_gets_no_progress_and_what_is_quick_shows_none() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    for stream, seconds in ((pipe, 0.0), (terminal, 60.0)):
        with TerminalProgress(stream, seconds).shown():
            pass
        assert stream.getvalue() == ""


LONG = (
    ("requests",), ("sessions",), ("learned", "--url", "http://127.0.0.1:9"), ("show", "r1"), ("audit",),
    ("export", "--output", "new.zip"), ("report", "--output", "new.html"), ("log", "--verify"),
    ("delete", "--source", "ci.e2e", "--yes"), ("restore",), ("import", "a.zip", "--yes"), ("state", "check"),
    ("publish", "--user-id", "ada", "--user", "x"), ("install",), ("receipt", "1", "--output", "new"),
)  # fmt: skip
"""Every command that can take longer than two seconds. `doctor`, `demo` and `explore` print as they go."""


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("words", LONG, ids=lambda words: words[0])
def test_every_command_that_may_take_long_shows_its_progress(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--output", "a.zip"]) == 0
    began: list[str] = []
    monkeypatch.setattr(TerminalProgress, "shown", lambda _: contextlib.nullcontext(began.append("shown")))
    main(list(words))
    capsys.readouterr()
    assert began


def test_no_command_is_missing_from_the_long_ones() -> None:
    others = {"doctor", "demo", "explore", "completion", "tools", "serve", "uninstall", "correct"}
    names = {name for group in COMMANDS.values() for name in group}
    assert {words[0] for words in LONG} == names - others


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    async def fill() -> None:
        async with open_client(Settings(store=path)) as client:
            for number in range(150):
                body = PublishBody(
                    user_id="ada", session_id="s", request_id=f"r{number}", source="ci.e2e",
                    interaction_data_list=[Interaction(content=f"Words {number}.")],
                )  # fmt: skip
                await client.publish(body, minted=False)

    path = str(tmp_path / "store.db")
    monkeypatch.setenv("REFLEXIO_MCP_STORE", path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    anyio.run(fill)
    return path


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("keeps", "undo"), [("", ", or `reflexio-mcp restore 1`"), ("--erase", ""), ("off", "")]
)
def test_a_deletion_that_is_interrupted_says_how_much_is_done_what_goes_on_and_how_to_undo_what_has_a_copy(
    keeps: str, undo: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(TerminalProgress):
        async def __call__(self, step: Step, done: int, total: int | None) -> None:
            await super().__call__(step, done, total)
            if step is Step.ITEMS_DELETED:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(delete_command, "TerminalProgress", Interrupted)
    if keeps == "off":
        monkeypatch.setenv("REFLEXIO_MCP_RECOVERY_DAYS", "0")
    erase = ["--erase"] if keeps == "--erase" else []
    assert main(["delete", "--source", "ci.e2e", "--yes", *erase]) == 130
    said = capsys.readouterr().err
    assert f"of 150 deleted. Run the command again to finish{undo}" in said
    assert ("restore" in said) is bool(undo)
    monkeypatch.undo()


@pytest.mark.usefixtures("store")
def test_each_command_that_tells_facts_can_answer_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> Any:
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    archive = str(tmp_path / "a.zip")
    assert told("export", "--output", archive)["file"] == archive
    dry = told("delete", "--source", "ci.e2e", "--dry-run")
    assert (dry["status"], dry["plan"]["selected"]["requests"], "receipt" in dry) == ("planned", 150, False)
    done = told("delete", "--source", "ci.e2e", "--yes")
    assert (done["status"], done["receipt"]["deleted"]["requests"]) == ("complete", 150)
    assert told("restore")["deletions"][0]["number"] == 1
    assert [line["event"] for line in told("log")] == ["exported", "begin", "end"]
    assert told("log", "--verify") | {"sound": True, "lines": 3, "missing": []} == told("log", "--verify")
    assert told("state", "check")["deletions_can_be_recorded"] is True
    files = [str(tmp_path / name) for name in ("r.json", "r.html")]
    assert told("receipt", "1", "--output", str(tmp_path / "r"))["files"] == files
    page = str(tmp_path / "report.html")
    assert told("report", "--output", page)["files"] == [page]
    assert told("publish", "--user-id", "bob", "--user", "x")["request_id"]
    assert told("restore", "1", "--yes")["restored"]["requests"] == 150
    assert told("import", archive, "--yes")["status"] == "complete"
    [listed] = [tool for tool in told("tools") if tool["name"] == "list_requests"]
    assert "contains" in listed["inputSchema"]["properties"]
    assert "sessions" in listed["outputSchema"]["properties"]


@pytest.mark.usefixtures("store")
def test_json_is_refused_where_a_question_would_stand_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["delete", "--source", "ci.e2e", "--json"]) == 2
    assert "--json asks no question. Add --yes" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_a_dry_run_says_that_nothing_was_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["delete", "--source", "ci.e2e", "--dry-run"]) == 0
    assert "Nothing was deleted (--dry-run)." in capsys.readouterr().out
