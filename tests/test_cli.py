"""The command line: what it knows, what it says about what it does not know, and that it never repeats a secret."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reflexio_mcp.cli import COMMANDS, DASHED, main, parse
from reflexio_mcp.settings import OPTIONS
from tests.support.stdio import environment

NAMES = [name for commands in COMMANDS.values() for name in commands]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        parse(words)
    assert left.value.code == 2
    said = capsys.readouterr().err
    first, second = said.splitlines()
    assert first.startswith("reflexio-mcp")
    assert re.fullmatch(r"Try: reflexio-mcp( [a-z]+)? --help", second)
    return said


def helped(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        parse([*words, "--help"])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_help_names_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    said = helped([], capsys)
    for title, commands in COMMANDS.items():
        assert f"\n{title}:\n" in said
        for name, about in commands.items():
            assert re.search(rf"^  {name} +{re.escape(about)}$", said, re.MULTILINE)
    assert len(said.splitlines()) <= 38


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_with_an_example_that_works(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = helped([name], capsys)
    assert said.startswith(f"usage: reflexio-mcp {name} ")
    examples = [
        line.split(" | ")[0].strip()
        for line in said.split("Examples:\n")[1].splitlines()
        if "eval" not in line
    ]
    for example in examples:
        words = re.split(r" {3,}", example)[0].split()
        if words:
            assert parse(words[words.index("reflexio-mcp") + 1 :]).command == name


def test_a_command_has_only_the_flags_that_it_heeds(capsys: pytest.CaptureFixture[str]) -> None:
    for name in NAMES:
        flags = set(re.findall(r"^ +(--[a-z-]+)", helped([name], capsys), re.MULTILINE))
        http = {option.flag for option in OPTIONS if option.group == "http" and option.flag}
        assert not flags & http if name != "serve" else flags >= http
        assert len(flags) <= (20 if name not in ("serve", "tools", "install", "doctor") else 40)


def test_the_help_of_doctor_has_its_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Exit codes: 0 nothing is wrong, 1 a warning, 2 a failure." in helped(["doctor"], capsys)
    assert "\ndoctor --help has its own.\n" in helped([], capsys)


@pytest.mark.parametrize("words", [[], ["--read-only"], ["--transport", "http"]])
def test_without_a_command_it_serves(words: list[str]) -> None:
    assert parse(words).command == "serve"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["instal"], "there is no such command; did you mean install?"),
        (["xyz"], "there is no such command."),
        (["--read-onyl"], "there is no --read-onyl; did you mean --read-only?"),
        (["install", "cursor", "--port", "9"], "install has no --port; it belongs to serve."),
        (["sessions", "--confirm", "off"], "sessions has no --confirm; it belongs to"),
        (["install", "cursor", "codex"], "install takes one client at a time."),
        (["--url", "http://127.0.0.1:1", "doctor"], "put doctor first, right after reflexio-mcp."),
        (["serve", "--transport", "htpp"], "did you mean http?"),
        (["serve", "--url"], "--url needs a value."),
        (["show"], "REQUEST_ID"),
        (["sessions", "--limit", "many"], "--limit: takes a whole number from 1 to 1000000."),
        (["completion", "tcsh"], "takes bash, zsh, fish or powershell."),
    ],
)
def test_what_it_does_not_know_is_led_back(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(words, capsys)


@pytest.mark.parametrize("command", ["delete", "show"])
def test_an_id_that_begins_with_a_dash_goes_behind_two_dashes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vars(parse([command, "--", "--yes"])).get("yes") is not True
    assert "--yes" in vars(parse([command, "--", "--yes"]))[f"request_id{'s' * (command == 'delete')}"]
    assert DASHED in " ".join(helped([command, "--help"], capsys).split())
    assert DASHED in refused([command, "r1", "-r2"], capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["--api-key", "canary"],
        ["--api-key=canary"],
        ["serve", "--auth-token", "canary"],
        ["--read-only=canary"],
        ["install", "cursor", "canary"],
        ["install", "--canary1"],
        ["-pcanary"],
        ["--transport", "canary"],
        ["sessions", "--limit", "canary"],
        ["canary"],
    ],
)
def test_no_value_is_repeated(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "canary" not in refused(words, capsys)


def test_a_key_as_a_flag_is_told_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    assert "set REFLEXIO_API_KEY instead" in refused(["--api-key", "canary"], capsys)


@pytest.mark.parametrize("words", [["--user-id", ""], ["--user-id", "  "], ["sessions", "--user-id", " "]])
def test_an_empty_flag_stops_the_start(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "--user-id" in capsys.readouterr().err


def run(words: list[str], folder: Path, **more: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", *words],
        env=environment(folder), capture_output=True, encoding="utf-8", timeout=60, **more,  # pyright: ignore
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way there")
def test_a_reader_that_goes_away_makes_no_traceback(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", "tools"],
        env=environment(tmp_path), stdout=write, stderr=subprocess.PIPE, encoding="utf-8", timeout=60,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals of this kind")
def test_at_a_terminal_it_says_that_it_waits_for_a_client(tmp_path: Path) -> None:
    import pty

    try:
        master, terminal = pty.openpty()
    except OSError:
        pytest.skip("no pseudo-terminals here")
    process = subprocess.Popen(
        [sys.executable, "-m", "reflexio_mcp"],
        env=environment(tmp_path, PATH=os.defpath), stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(terminal)
    assert process.stderr is not None
    said = b"".join(process.stderr.readline() for _ in range(4)).decode()
    os.close(master)
    process.communicate(timeout=30)
    assert "waiting for an MCP client" in said
    assert f"  {sys.executable} -m reflexio_mcp install " in said


def test_a_client_is_told_nothing_of_the_kind(tmp_path: Path) -> None:
    done = run([], tmp_path, input="")
    assert (done.returncode, done.stdout) == (0, "")
    assert "waiting for" not in done.stderr


@pytest.mark.parametrize(
    ("line", "offered"), [("reflexio-mcp ins", "install"), ("reflexio-mcp audit --so", "--source")]
)
def test_a_shell_can_complete_commands_and_flags(line: str, offered: str, tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    subprocess.run(
        [sys.executable, "-m", "reflexio_mcp"],
        env=environment(tmp_path)
        | {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9",
           "_ARGCOMPLETE_STDOUT_FILENAME": str(answers)},
        check=True, timeout=60,
    )  # fmt: skip
    assert answers.read_text(encoding="utf-8").split() == [offered]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_completion_script_names_the_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "reflexio-mcp" in capsys.readouterr().out


def test_rubbish_on_standard_input_is_answered_with_a_parse_error_each(tmp_path: Path) -> None:
    rubbish = ["hello", "GET / HTTP/1.1", "{", "exit", "one", "two"]
    done = run([], tmp_path, input="\n".join(rubbish) + "\n")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["id"], one["error"]["code"]) for one in answers] == [(None, -32700)] * len(rubbish)
    assert done.returncode == 0


ONE_AFTER_THE_OTHER = """
import sys
from reflexio_mcp.cli import main
for words in {commands}:
    try:
        code = main(words)
    except SystemExit as ended:
        code = ended.code
    assert code == 0, words
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_a_terminal_of_any_encoding_gets_what_it_can_show(encoding: str, tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "store é.db")]
    commands = [["demo"], ["doctor", *store], ["sessions", *store], ["install"], ["--help"]]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER.format(commands=commands)],
        env=environment(tmp_path) | {"PYTHONIOENCODING": encoding}, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    done.stdout.decode(encoding)
