"""The command line: what it knows, what it says about what it does not know, and how it ends."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from reflexio_mcp import __version__
from reflexio_mcp.cli import COMMANDS, FILTER_HELP, main, parse
from reflexio_mcp.settings import OPTIONS
from reflexio_mcp.state.log import CUT
from reflexio_mcp.state.state import REPORTED
from tests.support.stdio import environment

NAMES = [name for commands in COMMANDS.values() for name in commands]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes and terminals work in another way there")


def ended(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse(words)
    assert stopped.value.code == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_help_names_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    said = ended(["--help"], 0, capsys)
    for title, commands in COMMANDS.items():
        assert f"\n{title}:\n" in said
        assert all(f"  {name:12} {command.about}\n" in said for name, command in commands.items())
    assert ended(["help"], 0, capsys) == said


@pytest.mark.parametrize("name", NAMES)
def test_a_command_has_help_and_its_examples_work(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = ended([name, "--help"], 0, capsys)
    assert said.startswith(f"usage: reflexio-mcp {name} ")
    assert ended(["help", name], 0, capsys) == said
    for group in COMMANDS.values():
        for line in group[name].examples.splitlines() if name in group else ():
            command = re.sub(r'^eval "\$\((.*)\)"', r"\1", re.split(r" {3,}|\||>", line)[0])
            words = shlex.split(command)
            assert parse(words[words.index("reflexio-mcp") + 1 :]).command == name


def test_help_shows_choices_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join(ended(["serve", "--help"], 0, capsys).split())
    assert "--confirm {auto,ask,preview,off}" in said
    assert "--transport {stdio,http,sse,streamable-http}" in said
    assert "--port PORT Port of the HTTP server. Default: 8765. [REFLEXIO_MCP_PORT]" in said
    assert "(default: 20)" in ended(["requests", "--help"], 0, capsys)


def test_a_command_has_only_the_flags_that_it_uses(capsys: pytest.CaptureFixture[str]) -> None:
    http = {option.flag for option in OPTIONS if option.group == "http" and option.flag}
    flags = {
        name: set(re.findall(r"^ +(--[a-z-]+)", ended([name, "--help"], 0, capsys), re.MULTILINE))
        for name in NAMES
    }
    assert [name for name in NAMES if flags[name] & http] == ["serve"]
    filters = {f"--{name.replace('_', '-')}" for name in FILTER_HELP}
    for name in ("sessions", "requests", "learned", "audit", "explore", "delete"):
        assert flags[name] >= filters


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_the_version_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(words, 0, capsys) == f"reflexio-mcp {__version__}\n"


@pytest.mark.parametrize("words", [[], ["--read-only"], ["--transport", "http"]])
def test_without_a_command_it_serves(words: list[str]) -> None:
    assert parse(words).command == "serve"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["instal"], "there is no command `instal`; did you mean `install`?\n"),
        (["frobnicate"], "there is no command `frobnicate`\n"),
        (["sessions", "--limt", "3"], "unknown option `--limt`; did you mean `--limit`?\n"),
        (["--frobnicate"], "reflexio-mcp serve: error: unknown option `--frobnicate`"),
        (["sessions", "--confirm", "off"], "reflexio-mcp sessions: error: unknown option `--confirm`"),
        (["install", "cursor", "codex"], "reflexio-mcp install: error: unexpected argument `codex`"),
        (["serve", "--transport", "htpp"], "invalid choice: 'htpp' (choose from"),
        (["show"], "required: REQUEST_ID"),
        (["sessions", "--limit", "many"], "--limit: 'many' is not a whole number\n"),
        (["restore", "bob"], "NUMBER: 'bob' is not a whole number\n"),
        (["restore", "--user-id", "bob"], "unknown option `--user-id`; set REFLEXIO_USER_ID instead\n"),
        (["receipt", "--user-id=bob"], "unknown option `--user-id`; set REFLEXIO_USER_ID instead\n"),
        (["uninstall", "--user-id", "bob"], "unknown option `--user-id`\n"),
        (["install", "cursor", "--port", "1"], "reflexio-mcp install: error: unknown option `--port`"),
        (["restore", "--evaluaton-only", "3"], "; did you mean `--evaluation-only`?\n"),
        (["sessions", "--limit", "0"], "--limit: takes a whole number from 1 to 1000000"),
        (["delete", "--source", " "], "--source: is blank"),
        (["audit", "--api-key=canary"], "unknown option `--api-key`\n"),
    ],
)
def test_a_wrong_word_is_named_and_what_may_be_a_key_is_not_repeated(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ended(words, 2, capsys)
    assert said in told
    assert "canary" not in told


@pytest.mark.parametrize(
    "words",
    [
        ["delete", "--", "--user-id"],
        ["correct", "profile:1", "--so it is", "--user-id", "ada"],
        ["publish", "--user=--x"],
    ],
)
def test_what_only_looks_like_an_option_is_an_argument(words: list[str]) -> None:
    assert parse(words).command == words[0]


NAMED_IN_HELP = {
    "begin": "deletions", "end": "deletions", "erased_again": "deletions", "restoring": "restores",
    "restored": "restores", "exported": "exports", "imported": "imports", "reported": "reports",
    "judged": "judgements", "refused": "refusals", "held": "holds", "log_cut": "",
}  # fmt: skip
"""Each event of the audit log, with its word in the help; that lines are gone is said by `--verify`."""


def test_the_help_of_the_log_names_each_kind_of_line() -> None:
    state = Path(__file__).parents[1] / "reflexio_mcp" / "state"
    source = "\n".join(path.read_text(encoding="utf-8") for path in state.glob("*.py"))
    assert set(re.findall(r'"event": "(\w+)"', source)) | {REPORTED, CUT} == set(NAMED_IN_HELP)
    [about] = [group["log"].about for group in COMMANDS.values() if "log" in group]
    assert [word for word in NAMED_IN_HELP.values() if word not in about] == []


ESCAPE = "\x1b]0;title\x07\x1b[31m"


@pytest.mark.parametrize(
    "words",
    [
        [f"--{ESCAPE}"],
        ["sessions", ESCAPE],
        ["sessions", f"--{ESCAPE}=value"],
        ["sessions", "--limit", ESCAPE],
        ["sessions", "--store", f"/nothing/{ESCAPE}"],
        ["requests", "--agent-version", ESCAPE],
        ["export", "--output", f"/nothing/{ESCAPE}.zip"],
        ["doctor", "--agent-version", ESCAPE],
        ["doctor", "--user-id", ESCAPE, "--json"],
    ],
)
def test_an_escape_sequence_that_was_typed_does_not_reach_the_terminal(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_STORE", str(tmp_path / "store.db"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "store.db").touch()
    with suppress(SystemExit):
        main(words)
    said = capsys.readouterr()
    assert said.out + said.err
    assert "\x1b" not in said.out + said.err
    assert "\x07" not in said.out + said.err


def test_an_id_that_begins_with_a_dash_goes_behind_two_dashes() -> None:
    typed = parse(["delete", "--", "--yes"])
    assert (typed.request_ids, typed.yes) == (["--yes"], False)


@pytest.mark.parametrize("words", [["--user-id", ""], ["sessions", "--url", " "]])
def test_an_empty_flag_stops_the_start(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert words[-2] in capsys.readouterr().err


def test_the_tools_that_a_configuration_offers_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--tools", "list_requests"]) == 0
    assert capsys.readouterr().out.startswith("list_requests\n")
    assert main(["tools", "--tools", "list_requests,erase_all"]) == 2
    assert "name 2 of 2 is not a tool" in capsys.readouterr().err


COMPLETED = {
    "bash": """
source "$1"
for line in "se" "delete --sour" "state ch" "serve --transport s" "ver"; do
    COMP_WORDS=(reflexio-mcp $line)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _shtab_reflexio_mcp reflexio-mcp "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
    echo "${COMPREPLY[@]}"
done
""",
    "fish": """
source $argv[1]
for line in "se" "delete --sour" "state ch" "serve --transport s" "ver"
    complete -C "reflexio-mcp $line" | string split -f 1 \\t | string join " "
end
""",
    "zsh": """
compdef() { print -l -- ${(k)_shtab_reflexio_mcp_options} $_shtab_reflexio_mcp_delete_options >/dev/null }
eval "$(cat $1)"
_shtab_reflexio_mcp_commands_are() { _describe() { print ${(P)${@[-1]}}; }; _shtab_reflexio_mcp_commands }
[[ "$(_shtab_reflexio_mcp_commands_are)" == *"sessions:"*"state:"* ]] && echo sessions serve
[[ "$_shtab_reflexio_mcp_delete_options" == *"--source["* ]] && echo --source
[[ "$_shtab_reflexio_mcp_state_options" == *"create check upgrade"* ]] && echo check
[[ "$_shtab_reflexio_mcp_serve_options" == *"stdio http sse"* ]] && echo sse streamable-http stdio
[[ "$(_shtab_reflexio_mcp_commands_are)" == *"version:"* ]] && echo version
""",
}
"""What each shell offers after these words, by its own means."""


@POSIX
@pytest.mark.parametrize("shell", sorted(COMPLETED))
def test_a_shell_completes_commands_options_and_their_values(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (program := shutil.which(shell)):
        pytest.skip(f"{shell} is not installed")
    assert main(["completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out, encoding="utf-8")
    (tmp_path / "try").write_text(COMPLETED[shell], encoding="utf-8")
    done = subprocess.run(
        [program, tmp_path / "try", tmp_path / "script"],
        env=environment(tmp_path), capture_output=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    offered = [sorted(line.split()) for line in done.stdout.splitlines()]
    assert (offered[:3], done.stderr) == ([["serve", "sessions"], ["--source"], ["check"]], "")
    assert {"sse", "stdio", "streamable-http"} == set(offered[3])
    assert offered[4] == ["version"]


@POSIX
@pytest.mark.ci
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("tools", 141, ""),
        ("sessions --json", 141, ""),
        # An empty list says so on stderr, and writes nothing that the reader could miss.
        ("requests --all", 0, "Nothing was found.\nNothing is stored.\n"),
        ("restore", 0, "No deletion has a recovery copy.\n"),
    ],
)
def test_a_reader_that_goes_away_makes_no_traceback(
    tmp_path: Path, command: str, code: int, said: str
) -> None:
    (tmp_path / "store.db").touch()
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", *command.split(), "--store", str(tmp_path / "store.db")],
        env=environment(tmp_path), stdout=write, stderr=subprocess.PIPE, encoding="utf-8", timeout=60,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (code, said)


@POSIX
@pytest.mark.ci
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


@pytest.mark.ci
def test_a_terminal_of_any_encoding_gets_what_it_can_show(tmp_path: Path) -> None:
    store = tmp_path / "store é→.db"
    store.touch()
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", "sessions", "--store", str(store)],
        env=environment(tmp_path) | {"PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode("ascii") == "Nothing was found.\nNothing is stored.\n"
