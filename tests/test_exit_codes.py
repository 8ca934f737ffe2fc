"""Every command ends with the same exit codes, and says in a sentence what failed, whatever it is."""

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
from argparse import Namespace
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, get_args

import anyio
import pytest

from reflexio_mcp import backend, cli
from reflexio_mcp.cli import COMMANDS, main
from reflexio_mcp.results.deletion import Restored, Status
from reflexio_mcp.results.publishing import Stored
from reflexio_mcp.settings import ConfigurationError
from tests.deletion.support import URL, World
from tests.support.stdio import environment

ROOT = Path(__file__).resolve().parents[1]
NAMES = [name for group in COMMANDS.values() for name in group]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices work in another way there")

AWAY = ("--url", "http://127.0.0.1:9")
"""An address at which nothing answers."""


@dataclass(frozen=True)
class Walk:
    """What makes a command end with 0 and print something, and what makes it fail.

    Args:
        done: its words; empty for a command that runs until it is stopped.
        failed: its words; empty if only the output can fail.
    """

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


WALKS = {
    "install": Walk(("install",), ("install", "cursor")),
    "uninstall": Walk(("uninstall",), ("uninstall", "cursor")),
    "doctor": Walk(("doctor",), ("doctor", *AWAY)),
    "demo": Walk(("demo",), ("demo", "--live", *AWAY)),
    "completion": Walk(("completion", "bash")),
    "sessions": Walk(("sessions",), ("sessions", *AWAY)),
    "requests": Walk(("requests",), ("requests", *AWAY)),
    "show": Walk(("show", "r1"), ("show", "nowhere")),
    "learned": Walk(("learned",), ("learned", "--request-id", "nowhere")),
    "audit": Walk(("audit",), ("audit", *AWAY)),
    "export": Walk(("export", "--output", "new.zip"), ("export", "--output", "new.zip", *AWAY)),
    "report": Walk(("report", "--output", "new.html"), ("report", "--output", "new.html", *AWAY)),
    "log": Walk(("log",), ("log", "--verify", "no-such-value")),
    "explore": Walk(),
    "delete": Walk(("delete", "r1", "--yes"), ("delete", "nowhere", "--yes")),
    "correct": Walk(
        ("correct", "profile:tea", "Likes coffee", "--user-id", "ada", "--yes"),
        ("correct", "profile:none", "Likes coffee", "--user-id", "ada", "--yes"),
    ),
    "receipt": Walk(("receipt", "1", "--output", "new"), ("receipt", "99", "--output", "new")),
    "restore": Walk(("restore", "1", "--yes"), ("restore", "99", "--yes")),
    "publish": Walk(
        ("publish", "--user-id", "ada", "--user", "x"), ("publish", "--user-id", "ada", "--user", "x", *AWAY)
    ),
    "import": Walk(("import", "a.zip", "--yes"), ("import", "a.zip", "--yes", *AWAY)),
    "serve": Walk(),
    "state": Walk(("state", "check"), ("state", "check")),
    "tools": Walk(("tools",)),
}

LEARNS = ("learned", "correct")
"""Commands that need a Reflexio, since the embedded store learns nothing."""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store, a deletion, an export of what it deleted, and a client's file that is no JSON."""
    for variable in list(os.environ):
        if variable.startswith(("REFLEXIO", "XDG_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REFLEXIO_MCP_STORE", str(tmp_path / "store.db"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").write_text("no JSON", "utf-8")
    for request_id in ("r0", "r1"):
        words = ["--user-id", "ada", "--user", "I like tea.", "--request-id", request_id]
        assert main(["publish", *words]) == 0
    assert main(["export", "--output", "a.zip"]) == 0
    assert main(["delete", "r0", "--yes"]) == 0
    return tmp_path


@pytest.fixture
def world(machine: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Reflexio that has learned from a request."""
    world = World(str(machine / "world.db"), machine)

    async def learn() -> None:
        await world.put("a", text="I like tea")
        await world.learn("tea", "a", content="Likes tea", quote="I like tea")

    anyio.run(learn)
    monkeypatch.setenv("REFLEXIO_URL", URL)
    monkeypatch.setattr(backend, "open_client", lambda settings: world.client())
    yield
    anyio.run(world.close)


@contextmanager
def output(file: IO[str]) -> Generator[None]:
    """Let a command write to a file that cannot be written to."""
    with suppress(OSError), file, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", file)
        yield


def walked(kind: str) -> list[str]:
    return [name for name in NAMES if getattr(WALKS[name], kind)]


@pytest.fixture
def prepared(name: str, machine: Path, request: pytest.FixtureRequest) -> str:
    if name in LEARNS:
        request.getfixturevalue("world")
    return name


def test_every_command_is_walked() -> None:
    assert list(WALKS) == NAMES


@pytest.mark.parametrize("name", walked("done"))
def test_what_is_done_ends_with_0(prepared: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(WALKS[prepared].done) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", walked("failed"))
def test_what_failed_or_was_refused_ends_with_1(
    prepared: str, machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if prepared == "state":
        (machine / "state.db").write_text("no database", "utf-8")
    assert main(WALKS[prepared].failed) == 1
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.err or prepared in ("doctor", "demo", "log", "delete", "correct"), (
        "these say it in their result"
    )


@pytest.mark.parametrize("name", [name for name in walked("failed") if name not in ("demo", "serve")])
def test_with_json_a_failure_is_a_result_on_stdout_or_a_sentence_on_stderr_alone(
    prepared: str, machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if prepared == "state":
        (machine / "state.db").write_text("no database", "utf-8")
    capsys.readouterr()
    assert main([*WALKS[prepared].failed, "--json"]) == 1
    said = capsys.readouterr()
    if prepared in ("doctor", "log", "delete", "correct"):
        assert json.loads(said.out)
    else:
        assert (said.out, said.err[:13]) == ("", "reflexio-mcp:")


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_command_line_ends_with_2(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([name, "--frobnicate"])
    assert stopped.value.code == 2
    assert "unknown option" in capsys.readouterr().err or name not in ("sessions", "serve")


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("completion", "install", "uninstall", "state")]
)
def test_a_wrong_configuration_ends_with_2(
    name: str, machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_TIMEOUT", "soon")
    words = WALKS[name].done or (name,)
    assert main(words) == (1 if name == "doctor" else 2), "the doctor has found it"
    assert "REFLEXIO_MCP_TIMEOUT" in "".join(capsys.readouterr())


@POSIX
@pytest.mark.ci
@pytest.mark.parametrize("name", walked("done"))
def test_a_reader_that_is_gone_ends_it_with_141_and_without_a_word(
    prepared: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    read, write = os.pipe()
    os.close(read)
    with output(os.fdopen(write, "w")):
        assert main(WALKS[prepared].done) == 141
    assert "reflexio-mcp:" not in capsys.readouterr().err


@POSIX
@pytest.mark.ci
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize("name", walked("done"))
def test_a_full_disk_ends_it_with_1_and_a_sentence(prepared: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    with output(Path("/dev/full").open("w", encoding="utf-8")):
        assert main(WALKS[prepared].done) == 1
    assert f"reflexio-mcp: `{prepared}` failed: No space left on device." in capsys.readouterr().err


def raised(error: BaseException, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command in which something raises this error, and return the exit code."""

    def run(_: Namespace) -> int:
        raise error

    monkeypatch.setattr(cli, "parse", lambda _: Namespace(command=name, run=run))
    return main([name])


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_ends_it_with_130(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert raised(KeyboardInterrupt(), name, monkeypatch) == 130


ODD = [
    PermissionError(13, "Permission denied", "/var/lib/s3cret".replace("s3cret", "reflexio")),
    TimeoutError(),
    MemoryError("s3cret"),
    RecursionError("s3cret"),
    UnicodeEncodeError("ascii", "s3cret", 0, 1, "s3cret"),
    sqlite3.DatabaseError("s3cret"),
    KeyError("s3cret"),
    AssertionError("s3cret"),
    ImportError("s3cret"),
    ExceptionGroup("s3cret", [KeyError("s3cret")]),
    ExceptionGroup("s3cret", [KeyError("s3cret"), ValueError("s3cret")]),
]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_fails_a_person_reads_one_sentence_without_what_is_stored(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error in ODD:
        assert raised(error, name, monkeypatch) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"reflexio-mcp: `{name}` failed: ")
        assert said.count("\n") == 1
        assert "s3cret" not in said
        assert ("Whether anything was changed is not known" in said) is (name in cli.CHANGING)


def test_the_cause_is_named_and_its_place_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raised(ODD[0], "sessions", monkeypatch)
    assert "Permission denied: /var/lib/reflexio." in capsys.readouterr().err
    raised(ExceptionGroup("", [KeyError()]), "sessions", monkeypatch)
    assert "failed: KeyError in this program. REFLEXIO_MCP_LOG_LEVEL=DEBUG adds" in capsys.readouterr().err
    monkeypatch.setenv("REFLEXIO_MCP_LOG_LEVEL", "DEBUG")
    raised(KeyError(), "sessions", monkeypatch)
    assert re.search(r"It happened at cli\.py:\d+ > test_exit_codes\.py:\d+\.\n", capsys.readouterr().err)


def test_a_wrong_setting_inside_a_group_of_errors_is_still_a_wrong_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("", [ConfigurationError("Say where.")])
    assert raised(ExceptionGroup("", [inner]), "sessions", monkeypatch) == 2
    assert capsys.readouterr().err == "reflexio-mcp: Say where.\n"


MACHINES = {
    "closed input": "{command} <&-",
    "closed output": "{command} >&-",
    "closed errors": "{command} 2>&-",
    "no streams": "{command} <&- >&- 2>&-",
    "full errors": "{command} 2>/dev/full",
    "removed folder": "mkdir gone; cd gone; rmdir ../gone; {command}",
    "home is a file": "HOME=$PWD/a.zip XDG_DATA_HOME=$PWD/a.zip {command}",
    "store in a file": "REFLEXIO_MCP_STORE=$PWD/a.zip/store.db {command}",
    "policy is a folder": "REFLEXIO_MCP_POLICY=$PWD {command}",
    "state is a folder": "rm -f state.db; mkdir state.db; {command}",
    "key is a folder": "rm -f fingerprint.key; mkdir fingerprint.key; {command}",
    "little memory": "ulimit -v 400000; {command}",
    "few files": "ulimit -n 12; {command}",
    "small files": "ulimit -f 0; {command}",
}


@POSIX
@pytest.mark.ci
@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("odd", MACHINES)
def test_no_odd_machine_makes_a_traceback(odd: str, machine: Path) -> None:
    for name in ("sessions", "delete"):
        command = " ".join([sys.executable, "-m", "reflexio_mcp", *WALKS[name].done])
        done = subprocess.run(
            ["bash", "-c", MACHINES[odd].format(command=command)],
            env=environment(machine) | {"PYTHONPATH": str(ROOT), "REFLEXIO_MCP_STORE": str(machine / "store.db")},
            cwd=machine, capture_output=True, encoding="utf-8", timeout=30,
        )  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout, (name, done.stderr)
        assert "Exception ignored" not in done.stderr, (name, done.stderr)
        assert done.returncode in (0, 1, 2), (name, done.returncode, done.stderr)


def test_the_page_has_the_exit_codes_in_one_table() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert codes == [0, cli.FAILED, cli.WRONG_USE, cli.INTERRUPTED, cli.READER_IS_GONE]


def test_the_page_has_each_status_that_a_command_prints_as_json(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    lines = page.partition("`status` with `--json`:\n\n")[2].partition("\n\n")[0].splitlines()
    on_page: dict[str, set[str]] = {}
    for line in lines:
        commands, _, values = line.partition(": ")
        statuses = {value for value in re.findall(r"`([a-z_]+)`", values) if value != "facts"}
        on_page |= dict.fromkeys(re.findall(r"`(\w+)`", commands), statuses)
    assert on_page["delete"] <= {*get_args(Status)}
    assert on_page["restore"] == {*get_args(Restored.model_fields["status"].annotation)} - {"planned"}
    assert on_page["publish"] == {*get_args(Stored.model_fields["status"].annotation)}

    (machine / "hold.toml").write_text('[[hold]]\nusers = ["ada"]\nreason = "a case"\n', "utf-8")
    (machine / ".cursor" / "mcp.json").unlink()
    again = ("publish", "--user-id", "ada", "--user", "x", "--request-id", "r9", "--session-id", "s9")
    for status, words in (
        ("held", ("delete", "r1", "--yes", "--policy", "hold.toml")),
        ("not_found", ("delete", "nowhere", "--yes")),
        ("planned", ("delete", "r1", "--dry-run")),
        ("complete", ("delete", "r1", "--yes")),
        ("listed", ("restore",)),
        ("complete", ("restore", "1", "--yes")),
        ("complete", ("import", "a.zip", "--yes")),
        ("stored", again),
        ("already_stored", again),
        ("shown", ("install", "cursor", "--print")),
        ("planned", ("install", "cursor", "--dry-run")),
        ("added", ("install", "cursor")),
        ("unchanged", ("install", "cursor")),
        ("replaced", ("install", "cursor", "--replace", "--user-id", "bob")),
        ("removed", ("uninstall", "cursor")),
        ("absent", ("uninstall", "cursor")),
    ):
        capsys.readouterr()
        main([*words, "--json"])
        assert json.loads(capsys.readouterr().out)["status"] == status, words
        assert status in on_page[words[0]], words
