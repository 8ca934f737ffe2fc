"""The command line: what it knows, what it says about what it does not know, and how it ends."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from reflexio_mcp import __version__
from reflexio_mcp.cli import COMMANDS, main, parse
from reflexio_mcp.settings import OPTIONS
from tests.support.stdio import environment

NAMES = [name for commands in COMMANDS.values() for name in commands]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes and terminals work in another way there")


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    return capsys.readouterr().err


def helped(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped(["--help"], capsys)
    for title, commands in COMMANDS.items():
        assert f"\n{title}:\n" in said
        for name, command in commands.items():
            assert re.search(rf"^  {name} +{re.escape(command.about)}$", said, re.MULTILINE)
    assert helped(["help"], capsys) == said


@pytest.mark.parametrize("name", NAMES)
def test_a_command_has_help_and_its_examples_work(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = helped([name, "--help"], capsys)
    assert said.startswith(f"usage: reflexio-mcp {name} ")
    assert helped(["help", name], capsys) == said
    for group in COMMANDS.values():
        for line in group[name].examples.splitlines() if name in group else ():
            words = shlex.split(re.split(r" {3,}|\|", line)[0])
            assert parse(words[words.index("reflexio-mcp") + 1 :]).command == name


def test_help_shows_choices_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join(helped(["serve", "--help"], capsys).split())
    assert "--confirm {auto,ask,preview,off}" in said
    assert "--transport {stdio,http,sse,streamable-http}" in said
    assert re.search(r"--port PORT Port of the HTTP server\. Default: 8765\. \[REFLEXIO_MCP_PORT\]", said)
    assert "(default: 20)" in helped(["requests", "--help"], capsys)


def test_a_command_has_only_the_flags_that_it_uses(capsys: pytest.CaptureFixture[str]) -> None:
    http = {option.flag for option in OPTIONS if option.group == "http" and option.flag}
    for name in NAMES:
        flags = set(re.findall(r"^ +(--[a-z-]+)", helped([name, "--help"], capsys), re.MULTILINE))
        assert flags >= http if name == "serve" else not flags & http
        assert len(flags) <= (60 if name in ("serve", "tools", "install", "doctor") else 25)


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_the_version_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert helped(words, capsys) == f"reflexio-mcp {__version__}\n"


@pytest.mark.parametrize("words", [[], ["--read-only"], ["--transport", "http"]])
def test_without_a_command_it_serves(words: list[str]) -> None:
    assert parse(words).command == "serve"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["instal"], "invalid choice: 'instal' (choose from"),
        (["--frobnicate"], "reflexio-mcp serve: error: unknown option `--frobnicate`"),
        (["sessions", "--confirm", "off"], "reflexio-mcp sessions: error: unknown option `--confirm`"),
        (["install", "cursor", "codex"], "reflexio-mcp install: error: unexpected argument `codex`"),
        (["--url", "http://127.0.0.1:1", "doctor"], "unexpected argument `doctor`"),
        (["serve", "--transport", "htpp"], "invalid choice: 'htpp' (choose from"),
        (["serve", "--url"], "--url: expected one argument"),
        (["show"], "required: REQUEST_ID"),
        (["sessions", "--limit", "many"], "--limit: takes a whole number from 1 to 1000000"),
    ],
)
def test_a_wrong_word_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(words, capsys)


@pytest.mark.parametrize(
    "words", [["--api-key", "canary"], ["--api-key=canary"], ["audit", "--api-key=canary"]]
)
def test_a_key_as_a_flag_is_told_its_variable_and_not_repeated(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(words, capsys)
    assert "set REFLEXIO_API_KEY instead" in said
    assert "canary" not in said


def test_an_id_that_begins_with_a_dash_goes_behind_two_dashes() -> None:
    typed = parse(["delete", "--", "--yes"])
    assert (typed.request_ids, typed.yes) == (["--yes"], False)
    assert parse(["show", "--", "-r"]).request_id == "-r"


@pytest.mark.parametrize("words", [["--user-id", ""], ["sessions", "--url", " "]])
def test_an_empty_flag_stops_the_start(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert words[-2] in capsys.readouterr().err


@POSIX
def test_a_reader_that_goes_away_makes_no_traceback(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", "tools"],
        env=environment(tmp_path), stdout=write, stderr=subprocess.PIPE, encoding="utf-8", timeout=60,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@POSIX
def test_at_a_terminal_it_says_that_it_waits_for_a_client(tmp_path: Path) -> None:
    import pty

    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "reflexio_mcp"],
        env=environment(tmp_path), stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(terminal)
    assert process.stderr is not None
    assert b"waiting for an MCP client" in process.stderr.readline()
    os.close(master)
    process.communicate(timeout=30)


def test_a_client_is_told_nothing_of_the_kind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp"],
        env=environment(tmp_path), stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert "waiting for" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_of_any_encoding_gets_what_it_can_show(encoding: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", "sessions", "--store", str(tmp_path / "store é→.db")],
        env=environment(tmp_path) | {"PYTHONIOENCODING": encoding}, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert "store" in done.stdout.decode(encoding)
