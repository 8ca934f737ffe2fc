"""Commands that show what is stored without an assistant: tables for people, JSON for programs."""

import json
import os
import re
import shlex
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp import backend, read_commands
from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import main, parse
from reflexio_mcp.read_commands import Screen
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.results.audit import Call, FindingRow
from reflexio_mcp.results.base import Row
from reflexio_mcp.results.deletion import Change, Counts, Plan
from reflexio_mcp.results.reading import InteractionRow, LearningRow
from reflexio_mcp.settings import Settings, load
from tests.audit.stored import GITHUB_TOKEN
from tests.deletion.support import URL, World
from tests.state.conftest import OPERATOR, deletion, ended

HOSTILE = "[bold red]not markup[/] \x1b[31mno colour\x1b[0m \u202etxet"
LONG = "".join(f"word{at} " for at in range(20_000))

Run = Callable[..., str]


async def fill(store: str) -> None:
    """Store 110 requests of two users in 28 sessions, and a very long one."""
    async with open_client(Settings(store=store)) as client:

        async def put(request_id: str, user_id: str, session_id: str, source: str, *contents: str) -> None:
            body = PublishBody(
                user_id=user_id, session_id=session_id, request_id=request_id, source=source,
                interaction_data_list=[Interaction(content=content) for content in contents],
            )  # fmt: skip
            await client.publish(body, minted=False)

        for number in range(110):
            said = f"Flying to Lisbon, number {number}. {HOSTILE}"
            user, source = "ada" if number % 3 else "bob", "ci.e2e" if number % 5 == 0 else "chat"
            await put(f"request-{number}", user, f"session-{number // 4}", source, said)
        await put("long-1", "ada", "long", "chat", LONG, "end")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("look") / "store.db")
    anyio.run(fill, path)
    return path


@pytest.fixture
def run(
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Run:
    """Runs a command on the store and returns what it printed; on stderr if it fails."""
    monkeypatch.setenv("REFLEXIO_MCP_STORE", store)

    def run(*words: str, code: int = 0) -> str:
        if "terminal" in request.fixturenames:
            monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert main(words) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    return run


def facts(run: Run, *words: str) -> Any:
    return json.loads(run(*words, "--json"))


def ids(page: Any) -> list[str]:
    return [one["request_id"] for group in page["sessions"] for one in group["requests"]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write to a terminal of 200 cells without colors."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")


@pytest.mark.usefixtures("terminal")
def test_sessions_are_a_table_with_whole_ids(run: Run, store: str) -> None:
    lines = run("sessions", "--limit", "3", "--source", "ci.e2e").splitlines()
    assert lines[0] == f"In the embedded store at {store}"
    assert lines[2:4] == ["filter: source ci.e2e", "returned: 3"]
    assert re.split(" {2,}", lines[4])[:3] == ["first", "session id", "users"]
    assert all(re.match(r"\S+ \S+Z  session-\d+  ", line) for line in lines[5:8])
    assert lines[8:] == [
        "Only matching requests are counted; deleting a session deletes all of its requests.",
        "There are more: add --all, or a larger --limit.",
    ]


def test_all_is_all_across_pages_each_once(run: Run) -> None:
    listed = facts(run, "requests", "--all")
    assert sorted(ids(listed)) == sorted(["long-1", *(f"request-{number}" for number in range(110))])
    assert (listed["returned"], "cursor" in listed) == (111, False)
    assert len(facts(run, "sessions", "--all")["sessions"]) == 29


def test_a_limit_over_a_page_is_met_exactly(run: Run) -> None:
    assert len(ids(facts(run, "requests", "--limit", "105"))) == 105


@pytest.mark.usefixtures("terminal")
def test_a_filter_selects(run: Run) -> None:
    assert set(ids(facts(run, "requests", "--contains", '"number 17"'))) == {"request-17"}
    assert facts(run, "requests", "--user-id", "bob", "--all")["returned"] == 37
    assert "filter: user nobody\nNothing was found." in run("requests", "--user-id", "nobody")
    assert "filter: for evaluation only\nNothing was found." in run("requests", "--evaluation-only")


@pytest.mark.parametrize("words", [("requests",), ("show", "request-1"), ("sessions",)])
def test_stored_text_is_shown_as_text_and_never_as_markup_or_control(
    run: Run, words: tuple[str, ...]
) -> None:
    said = run(*words)
    assert "[bold red]not markup[/]" in said
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_one_request_is_shown_whole_however_long_it_is(run: Run) -> None:
    first, second = facts(run, "show", "long-1")["interactions"]
    assert (first["content"], second["content"]) == (LONG, "end")
    assert LONG.strip() in run("show", "long-1")


def test_masked_content_stays_masked(run: Run) -> None:
    for words in (("requests",), ("sessions",), ("show", "request-1")):
        assert "Lisbon" not in run(*words, "--mask")


def test_a_confined_configuration_shows_nobody_else(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLEXIO_USER_ID", "bob")
    assert facts(run, "requests", "--all")["returned"] == 37
    assert facts(run, "requests", "--user-id", "bob", "--all")["returned"] == 37
    assert "REFLEXIO_USER_ID confines" in run("sessions", "--user-id", "ada", code=2)
    run("show", "request-1", code=1)


def test_a_store_that_does_not_exist_is_named_and_not_made(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "none" / "store.db"
    said = run("sessions", "--store", str(missing), code=2)
    assert f"Nothing is stored in {missing} yet." in said
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_store_is_named_with_the_reason(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no database", encoding="utf-8")
    assert f"{wrong} is not a SQLite database." in run("requests", "--store", str(wrong), code=2)
    assert f"{tmp_path} cannot be read: " in run("requests", "--store", str(tmp_path), code=2)


def test_a_service_that_cannot_be_reached_is_one_sentence(run: Run) -> None:
    said = run("requests", "--url", "http://127.0.0.1:9", "--timeout", "10", code=1)
    assert said.startswith("reflexio-mcp: ")
    assert "could not be reached" in said
    assert said.count("\n") == 1


def test_a_request_that_is_not_there_fails(run: Run) -> None:
    assert run("show", "nowhere", code=1).startswith("reflexio-mcp: No request 'nowhere' is stored.")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["audit", "--start-time", "7days"], "--start-time must be ISO 8601"),
        (["requests", "--source", "ci.E2E"], "--source must be lower-case"),
        (["sessions", "--finding", "nonsense"], "--finding must be one of"),
        (["explore", "--finding", "nonsense"], "--finding must be one of"),
    ],
)
def test_a_filter_that_cannot_be_used_is_a_wrong_command_line(run: Run, typed: list[str], said: str) -> None:
    assert said in run(*typed, code=2)


def test_an_audit_names_what_it_found_and_the_commands_that_follow(run: Run) -> None:
    said = run("audit")
    assert "\nrequests: 111\n" in said
    assert "\nby user: ada (74), bob (37)\n" in said
    assert "\nfinding: test-traffic\nseverity: medium\ncount: 22\n" in said
    assert "Lisbon" not in said
    assert "\n(20 of 22 are shown)\n" in said
    table = said.partition("finding: test-traffic")[2].partition("(20 of 22")[0]
    assert "points" not in table
    assert "number  " not in table
    followed = [line.split("reflexio-mcp ")[1] for line in said.splitlines() if "reflexio-mcp " in line]
    typed = [parse(shlex.split(words)) for words in followed]
    assert {one.command for one in typed} >= {"requests", "delete"}
    [show] = [words for words in followed if words.startswith("requests") and "test-traffic" in words]
    assert len(ids(facts(run, *shlex.split(show), "--all"))) == 22
    assert facts(run, "audit", "--session-id", "long")["traffic"]["requests"] == 1


def test_an_audit_at_the_shell_looks_at_everything_however_long_it_takes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.traffic.audit.run.AUDIT_SECONDS", 0.0)
    assert facts(run, "audit")["traffic"]["requests"] == 111
    [found] = facts(run, "audit", "--finding", "test-traffic")["findings"]
    assert len(found["places"]) == 22


def test_a_command_of_an_audit_works_in_a_shell_that_names_another_memory_and_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = str(tmp_path / "mine.db"), str(tmp_path / "theirs.db")
    policy = tmp_path / "policy.toml"
    policy.write_text('[[hold]]\nusers = ["eve"]\nreason = "audit"\n', encoding="utf-8")
    os.utime(policy, (1, 1))

    async def fill() -> None:
        for store in (mine, theirs):
            async with open_client(Settings(store=store)) as client:
                for user in ("ada", "bob"):
                    said = Interaction(content=f"the key is {GITHUB_TOKEN}")
                    body = PublishBody(
                        user_id=user,
                        session_id=f"of-{user}",
                        request_id=f"-{user}",
                        interaction_data_list=[said],
                    )
                    await client.publish(body, minted=False)

    async def left(store: str) -> set[str]:
        async with open_client(Settings(store=store)) as client:
            page = await client.get_requests(RequestQuery(top_k=10))
        return {one.request.request_id for group in page.sessions for one in group.requests}

    anyio.run(fill)
    monkeypatch.setenv("REFLEXIO_USER_ID", "ada")
    assert main(["audit", "--store", mine, "--policy", str(policy)]) == 0
    said = capsys.readouterr().out
    [typed] = [line.split("reflexio-mcp ")[1] for line in said.splitlines() if "reflexio-mcp delete" in line]
    assert f"--policy {policy}" in typed
    monkeypatch.delenv("REFLEXIO_USER_ID")
    monkeypatch.setenv("REFLEXIO_MCP_STORE", theirs)
    assert main([*shlex.split(typed), "--yes"]) == 0
    assert (anyio.run(left, mine), anyio.run(left, theirs)) == ({"-bob"}, {"-ada", "-bob"})


def test_a_command_of_an_audit_names_the_address_of_the_reflexio(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(load({}, {"url": "https://reflexio.example", "user_id": "ada"}))
    screen.show(
        FindingRow.model_construct(act=Call(tool="delete_requests", arguments={"request_ids": ["-1", "2"]}))
    )
    command = "reflexio-mcp delete --user-id ada --url https://reflexio.example -- -1 2"
    assert command in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["REFLEXIO_URL", "REFLEXIO_API_KEY"])
def test_a_typed_store_is_refused_where_a_variable_names_another_memory(
    run: Run, store: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9" if variable == "REFLEXIO_URL" else "some-key")
    for words in (["audit"], ["delete", "request-1", "--yes"]):
        assert f"Unset {variable}" in run(*words, "--store", store, code=2)


def test_looking_changes_nothing(run: Run, store: str) -> None:
    before = Path(store).read_bytes()
    for words in (["sessions"], ["requests"], ["show", "request-1"], ["audit"]):
        run(*words)
    assert Path(store).read_bytes() == before


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("width", [120, 60, 20])
def test_a_table_fits_the_terminal_and_keeps_its_ids(
    run: Run, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    said = run("requests", "--limit", "5")
    assert len(re.findall(r"\b(?:request-\d+|long-1)(?: |$)", said, re.MULTILINE)) == 5
    if width == 120:
        assert max(map(len, said.splitlines()[3:-1])) <= width
    else:  # A line for each field.
        assert re.search(r"^request id: request-\d+$", said, re.MULTILINE)


def test_a_list_in_a_pipe_is_lines_of_tabs_and_what_is_said_of_it_goes_to_stderr(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_STORE", store)
    assert main(["requests", "--limit", "3"]) == 0
    said = capsys.readouterr()
    rows = [line.split("\t") for line in said.out.splitlines()]
    assert [len(row) for row in rows] == [10] * 3
    assert all(re.fullmatch(r"request-\d+|long-1", row[1]) for row in rows)
    assert not any(cell != cell.strip() for row in rows for cell in row)
    assert "There are more" in said.err
    assert main(["requests", "--user-id", "nobody"]) == 0
    assert capsys.readouterr().out == ""


@pytest.fixture
def learned(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Reflexio that has learned from two requests, behind its URL."""
    world = World(str(tmp_path / "world.db"), tmp_path)

    async def learn() -> None:
        await world.put("a", text="I live in Lisbon")
        await world.put("b", session="t")
        await world.learn(
            "lisbon",
            "a",
            "b",
            content=f"Lives in Lisbon {HOSTILE}",
            quote="I live in Lisbon",
            changed=100_000,
            created=100_000,
        )
        for number in range(110):
            await world.learn(
                f"more-{number}", "b", content=f"Fact {number}", changed=100_000, created=100_000
            )
        world.backend.agent_playbooks = {
            number: ["ada", "bob"] if number % 2 else [] for number in range(1, 106)
        }

    anyio.run(learn)
    monkeypatch.setenv("REFLEXIO_URL", URL)
    monkeypatch.setattr(backend, "open_client", lambda settings: world.client())
    yield
    anyio.run(world.close)


@pytest.mark.usefixtures("learned", "terminal")
def test_a_plan_has_a_line_for_each_learning_and_says_why_it_goes(run: Run) -> None:
    said = run("delete", "--user-id", "ada", "--everything", "--include-learnings", "--dry-run")
    lines = [line for line in said.splitlines() if line.startswith("  goes")]
    assert lines[0].startswith("  goes, said only here · profile:lisbon · “Lives in Lisbon")
    assert len(lines) == 20


@pytest.mark.usefixtures("learned", "terminal")
def test_what_was_learned_is_listed_with_where_it_came_from(run: Run) -> None:
    said = run("learned", "--user-id", "ada", "--contains", "Lisbon")
    assert "profile:lisbon" in said
    assert "[bold red]not markup[/]" in said
    assert "\x1b" not in said
    assert re.search(r"^I live in Lisbon +User +\S+ \S+ +a +\d+ *$", said, re.MULTILINE)
    assert "not quoted interactions that were read at the same time: 1\n" in said
    assert "learnings of: user ada, with the words" in said
    assert "Nothing was found." in run("learned", "--user-id", "nobody")
    assert "learnings of: every user\n" in run("learned")


@pytest.mark.usefixtures("learned", "terminal")
def test_shared_rules_are_listed_with_what_they_rest_on(run: Run) -> None:
    said = run("learned", "--shared", "--limit", "2")
    assert re.search(
        r"^agent_playbook:105 +pending .* ada, bob +user_playbook:1 · ada · said-1, ", said, re.MULTILINE
    )
    assert "There are more: add --all" in said
    listed = facts(run, "learned", "--shared", "--all")
    assert len({rule["rule_id"] for rule in listed["shared_rules"]}) == listed["total"] == 105
    assert facts(run, "learned", "--shared", "--user-id", "ada")["total"] == 53
    assert "can be combined with user_id alone" in run("learned", "--shared", "--source", "x", code=2)


@pytest.mark.usefixtures("learned")
def test_rules_are_rows_of_a_pipe_too(run: Run) -> None:
    rows = run("learned", "--shared", "--limit", "2").splitlines()
    assert [row.split("\t")[:2] for row in rows] == [
        ["agent_playbook:105", "pending"],
        ["agent_playbook:104", "pending"],
    ]


@pytest.mark.usefixtures("learned")
def test_changes_of_every_user_are_told_in_full_as_a_timer_would_send_them(run: Run) -> None:
    run("delete", "--learning", "profile:more-1", "--user-id", "ada", "--yes", code=2)
    told = facts(run, "learned", "--since", "1970-01-02", "--all")
    assert (told["returned"], told["total"]) == (111, 111)
    assert {row["user_id"] for row in told["changes"]} == {"ada"}
    assert {fact["code"] for fact in told["facts"]} == {"changes_elsewhere", "changes_too_old"}
    rows = [line.split("\t") for line in run("learned", "--since", "1970-01-02").splitlines()]
    assert {(row[1], row[2]) for row in rows} == {("new", "ada")}


@pytest.mark.usefixtures("learned", "terminal")
def test_what_changed_since_is_a_table(run: Run) -> None:
    said = run("learned", "--since", "1970-01-02", "--user-id", "ada", "--limit", "2")
    assert re.search(r"^1970-\S+ \S+ +new +profile:lisbon +Lives in Lisbon", said, re.MULTILINE), said
    assert "Some changes leave no trace" in said
    assert "can be combined with user_id alone" in run(
        "learned", "--since", "1d", "--session-id", "t", code=2
    )
    assert "--since must be ISO 8601" in run("learned", "--since", "soon", code=2)
    assert "Nothing was found" in run("learned", "--since", "1h", "--user-id", "nobody")


@pytest.mark.usefixtures("learned")
def test_all_learnings_are_all_across_pages_each_once(run: Run) -> None:
    listed = facts(run, "learned", "--user-id", "ada", "--all")
    assert (
        len({one["learning_id"] for one in listed["learnings"]})
        == listed["returned"]
        == listed["total"]
        == 111
    )
    assert facts(run, "learned", "--request-id", "a")["total"] == 1


@pytest.mark.usefixtures("learned")
def test_a_filter_of_learnings_that_would_have_no_effect_is_refused(run: Run) -> None:
    assert "leave out the rest" in run("learned", "--request-id", "a", "--session-id", "t", code=2)
    assert "--contains is not offered here" in run(
        "learned", "--user-id", "ada", "--contains", "Lisbon", "--mask", code=2
    )


def test_a_store_that_does_not_learn_says_so(run: Run) -> None:
    assert "does not learn" in run("learned", "--user-id", "ada", code=1)


def test_an_audit_and_an_export_without_a_hit_say_so(run: Run, tmp_path: Path) -> None:
    assert "Nothing was found." in run("audit", "--finding", "duplicate", "--session-id", "long")
    said = run("export", "--user-id", "nobody", "--output", str(tmp_path / "nobody.zip"))
    assert "Nothing that matches is stored." in said
    assert "users: 0" in said


def test_an_export_neither_replaces_a_file_nor_makes_a_folder(run: Run, tmp_path: Path) -> None:
    there, nowhere = tmp_path / "there.zip", tmp_path / "missing" / "file.zip"
    there.write_text("mine")
    assert "exists, and no file is replaced" in run("export", "--output", str(there), code=2)
    assert "its folder does not exist" in run("export", "--output", str(nowhere), code=2)
    assert not nowhere.parent.exists()
    assert there.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "promise"),
    [
        ([], "--redact replaces recognized secrets"),
        (["--redact"], "Recognized secrets are replaced by their kinds"),
    ],
)
def test_before_it_asks_an_export_says_what_becomes_of_secrets(
    store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    promise: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO("n\n"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output = tmp_path / "all.zip"
    assert main(["export", "--store", store, "--output", str(output), *options]) == 1
    said = capsys.readouterr().out
    assert promise in said
    assert said.endswith("Nothing was written.\n")
    assert not output.exists()


def test_a_configuration_for_one_user_does_not_print_the_log_which_names_other_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ["--store", str(tmp_path / "store.db")]
    assert main(["publish", "--user-id", "bob", "--request-id", "bobs", "--user", "hello", *store]) == 0
    assert main(["delete", "bobs", "--yes", "--reason", "bob asked", *store]) == 0
    monkeypatch.setenv("REFLEXIO_USER_ID", "ada")
    capsys.readouterr()
    assert main(["log", *store]) == 2
    said = capsys.readouterr()
    assert "confines this configuration to ada, and the audit log names other users" in said.err
    assert "bob" not in said.out + said.err
    assert main(["log", "--verify", *store]) == 0


def test_no_character_of_the_log_acts_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store.db")]
    odd = "R\x9b2J\u202e"
    state = backend.open_state(Settings(store=store[1]))
    ended(state, OPERATOR, state.begin(OPERATOR, replace(deletion(), facts={"request_ids": [odd]})))
    with closing(sqlite3.connect(tmp_path / "state.db")) as file, file:
        file.execute("UPDATE log SET line = ? WHERE id = 2", ("\x1b[2J changed \x07",))
    for words in ([], ["--json"]):
        assert main(["log", *words, *store]) == 0
        said = capsys.readouterr().out
        assert all(character == "\n" or character.isprintable() for character in said)
        assert r"R\u009b2J\u202e" in said
        assert r"\u001b[2J changed \u0007" in said


def test_stored_text_makes_no_line_of_its_own_in_what_a_person_agrees_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    forged = "Lives in Porto\n  new: Lives in Lisbon\nNothing else is known."
    screen = Screen(Settings())
    screen.show(
        Plan(target="a learning", selected=Counts(), change=Change(before=forged, after="Lives in Ulm"))
    )
    screen.show(InteractionRow(interaction_id=1, role="User", content="hello\nuser id: bob"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if line.strip().startswith("new:")] == ["new: “Lives in Ulm”"]
    assert "      user id: bob" in lines


def test_a_list_of_stored_texts_makes_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    learning = LearningRow(
        learning_id="profile:1",
        state="current",
        source="recorded",
        quotes_not_found=["a\nlast request: r9"],
        content="b\nstate: gone",
    )
    Screen(Settings()).show(learning)
    lines = capsys.readouterr().out.splitlines()
    assert "state: current" in lines
    assert "state: gone" not in [line.removeprefix("  ") for line in lines]
    assert "last request: r9" not in [line.removeprefix("  ") for line in lines]


def test_each_hidden_field_is_a_field_of_a_result() -> None:
    def fields_of(kind: type[Row]) -> set[str]:
        return {*kind.model_fields}.union(*map(fields_of, kind.__subclasses__()))

    assert fields_of(Row) >= read_commands.HIDDEN


def test_an_id_that_a_command_prints_can_be_typed_as_it_is_printed(run: Run) -> None:
    stored = "a\u202e  b\u200b"
    run(
        "publish",
        "--user-id",
        "ada",
        "--session-id",
        f"{stored} s",
        "--request-id",
        stored,
        "--user",
        "hello",
    )
    [row] = [line for line in run("requests").splitlines() if "hello" in line]
    request_id, session_id = row.split("\t")[1:3]
    assert (request_id, session_id) == (r"a\u202e  b\u200b", r"a\u202e  b\u200b s")
    assert ids(facts(run, "requests", "--session-id", session_id)) == [request_id]
    assert "hello" in run("show", request_id)
    run(
        "publish",
        "--user-id",
        "ada",
        "--session-id",
        session_id,
        "--request-id",
        request_id,
        "--user",
        "hello",
    )
    assert ids(facts(run, "requests")).count(request_id) == 1, "the same session and request"
    run("delete", request_id, "--yes")
    assert request_id not in ids(facts(run, "requests"))
    run("restore", "1", request_id, "--yes")
    assert request_id in ids(facts(run, "requests"))


def test_the_log_has_a_line_before_and_after_each_deletion_and_shows_what_was_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store.db"

    def log(*words: str) -> tuple[int, str]:
        code = main(["log", "--store", str(store), *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    state = backend.open_state(Settings(store=str(store)))
    noted = ended(state, OPERATOR, state.begin(OPERATOR, deletion())).chain
    lines = [json.loads(line) for line in log()[1].splitlines()]
    assert [(one["event"], one.get("outcome")) for one in lines] == [("begin", None), ("end", "complete")]
    code, said = log("--verify", noted)
    assert code == 0
    for part in (
        "Row 2 of the log ends with this value:\n{",
        "2 lines, none changed or missing.",
        "this machine has noted is there",
        "Not shown: whether",
    ):
        assert part in said
    code, said = log("--verify", "0" * 32)
    assert (code, "its end was cut off" in said) == (1, True)
    assert "ends with this value" not in said
    with closing(sqlite3.connect(tmp_path / "state.db")) as file, file:
        file.execute("UPDATE deletions SET outcome = 'restored'")
    code, said = log("--verify")
    assert (code, "1 was changed, or is sealed with a key that this server does not have." in said) == (
        1,
        True,
    )
    with closing(sqlite3.connect(tmp_path / "state.db")) as file, file:
        file.execute("UPDATE log SET line = replace(line, 'r1', 'r2') WHERE id = 1")
    code, said = log("--verify")
    assert (code, "Row 1 of the log's table or the row before it was changed" in said) == (1, True)
    with closing(sqlite3.connect(tmp_path / "state.db")) as file, file:
        file.execute("DELETE FROM log")
    code, said = log("--verify")
    assert (code, "lacks the line that this machine noted as its last one" in said) == (1, True)
    (tmp_path / "state.end").write_text("[]")
    assert "was changed or is damaged" in log("--verify")[1]
    (tmp_path / "state.end").unlink()
    code, said = log("--verify")
    assert (code, "the state has numbered lines" in said, "noted no last line" in said) == (1, True, False)
    ended(state, OPERATOR, state.begin(OPERATOR, deletion()))
    (tmp_path / "state.db").write_bytes(b"x" * 4096)
    code, said = log()
    assert (code, said.startswith("reflexio-mcp: The state of this server cannot be used now (“")) == (
        1,
        True,
    )
