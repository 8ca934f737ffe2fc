"""Commands that show what is stored without an assistant: tables for people, JSON for programs."""

import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import main, parse
from reflexio_mcp.read_commands import TOOLS, for_a_shell, in_flags, nothing_found, run_read_command
from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.server import server as server_module
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.tools.catalog import offered
from reflexio_mcp.traffic.audit import run
from tests.deletion.support import URL, World

HOSTILE = "[bold red]not markup[/] \x1b[31mno colour\x1b[0m \u202etxet"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """One hundred and thirty requests of two users in 33 sessions, and one that is very long."""
    settings = Settings(store=str(tmp_path_factory.mktemp("look") / "store.db"))

    async def fill() -> None:
        async with open_client(settings) as client:
            for number in range(130):
                body = PublishBody(
                    user_id="ada" if number % 3 else "bob",
                    session_id=f"session-{number // 4}",
                    request_id=f"request-{number}",
                    source="ci.e2e" if number % 5 == 0 else "chat",
                    interaction_data_list=[
                        Interaction(content=f"Flying to Lisbon, number {number}. {HOSTILE}")
                    ],
                )
                await client.publish(body, minted=False)
            long = [
                Interaction(content="".join(f"word{at} " for at in range(20_000))),
                Interaction(content="end"),
            ]
            body = PublishBody(
                user_id="ada",
                session_id="long",
                request_id="long-1",
                source="chat",
                interaction_data_list=long,
            )
            await client.publish(body, minted=False)

    anyio.run(fill)
    return settings


def shown(settings: Settings, *words: str) -> str:
    out = io.StringIO()
    assert run_read_command(parse(words), settings, out) == 0
    return out.getvalue()


def facts(settings: Settings, *words: str) -> Any:
    return json.loads(shown(settings, *words, "--json"))


@pytest.mark.parametrize("command", ["sessions", "requests", "learned", "audit"])
def test_the_filter_is_that_of_the_tool(command: str) -> None:
    tools = {tool.name: tool for tool in offered(Settings(url="http://127.0.0.1:1"))}
    parameters = set(tools[TOOLS[command]].parameters["properties"])
    flags = {name.removeprefix("filter_") for name in vars(parse([command])) if name.startswith("filter_")}
    elsewhere = {"detail", "order", "limit", "top_k", "cursor", "evaluation_only"}
    elsewhere |= {"request_id"} if command == "requests" else set()  # which is `show`
    assert parameters - elsewhere == flags


def test_sessions_are_a_table_with_whole_ids(store: Settings) -> None:
    lines = shown(store, "sessions", "--limit", "3", "--source", "ci.e2e").splitlines()[2:]
    assert lines[0].split() == ["last", "(UTC)", "session", "users", "requests", "sources", "first", "words"]
    assert all(re.match(r"\S+ \S+  session-\d+  ", line) for line in lines[1:4])
    assert lines[-1] == "3 sessions, newest first. There are more: add --all, or a larger --limit."


def test_all_is_all_across_pages_each_once(store: Settings) -> None:
    listed = facts(store, "requests", "--all")
    ids = [one["request_id"] for group in listed["sessions"] for one in group["requests"]]
    assert sorted(ids) == sorted(["long-1", *(f"request-{number}" for number in range(130))])
    assert listed["returned"] == 131
    assert "cursor" not in listed
    groups = [group["session_id"] for group in listed["sessions"]]
    assert len(groups) == len(set(groups))


@pytest.mark.parametrize("command", ["sessions", "requests"])
def test_a_row_as_json_is_whole_whatever_its_page_has_in_common(store: Settings, command: str) -> None:
    listed = facts(store, command, "--all")
    rows = listed["sessions"]
    if command == "requests":
        rows = [one for group in rows for one in group["requests"]]
    assert "each" not in listed
    assert all(row.get("user_id") or row.get("users") for row in rows)
    assert command == "sessions" or all(row["interaction_count"] for row in rows)


def test_no_operator_is_said_to_have_left_out_what_a_command_leaves_out(store: Settings) -> None:
    listed = facts(store, "sessions", "--source", "chat", "--limit", "1")
    assert "delete_session" in json.dumps(listed)
    assert "not_offered" not in listed


def test_a_search_has_the_columns_of_a_list_however_little_it_finds(store: Settings) -> None:
    assert re.search(
        r"  request-17  .*  Flying to Lisbon, number 17\.",
        shown(store, "requests", "--contains", '"number 17"'),
    )
    [few], [*many] = (
        [one for group in facts(store, "requests", *words)["sessions"] for one in group["requests"]]
        for words in (("--contains", '"number 17"'), ("--contains", "Lisbon", "--limit", "90"))
    )
    assert len(many) == 90
    assert {"first_words"} < few.keys() == many[0].keys()


def test_a_limit_over_a_page_is_met_exactly(store: Settings) -> None:
    assert facts(store, "requests", "--limit", "120")["returned"] == 120
    assert len(facts(store, "sessions", "--limit", "7")["sessions"]) == 7


def test_what_is_stored_is_shown_as_text_and_never_as_markup_or_control(store: Settings) -> None:
    for words in (["requests"], ["show", "request-1"], ["sessions"]):
        said = shown(store, *words)
        assert "[bold red]not markup[/]" in said or words == ["sessions"]
        assert "\x1b" not in said
        assert "\u202e" not in said


def test_one_request_is_shown_whole_however_long_it_is(store: Settings) -> None:
    request = facts(store, "show", "long-1")
    first, second = request["interactions"]
    assert first["content"].split() == [f"word{at}" for at in range(20_000)]
    assert (second["content"], "cursor" in request, "content_chars" in first) == ("end", False, False)


def test_an_audit_that_its_time_cut_short_says_so(store: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Not all" not in shown(store, "audit")
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    said = "the time was over. Audit a shorter time"
    assert said in shown(store, "audit")
    none = nothing_found("audit", {}, store, {"left_out": "some; the time was over"}, empty=False)
    assert none.startswith("No request matches among those looked at. Not all: some; ")
    assert said in none


def test_an_audit_names_what_it_found_and_how_to_see_it(store: Settings) -> None:
    said = shown(store, "audit")
    assert "test-traffic" in said
    command = next(line for line in said.splitlines() if "See them: reflexio-mcp requests" in line)
    assert parse(command.split("reflexio-mcp ")[1].split()).command == "requests"
    assert "Lisbon" not in said
    assert re.search(
        r"^  Delete all of them: reflexio-mcp delete .*--finding test-traffic$", said, re.MULTILINE
    )
    named = [line.split("reflexio-mcp ")[1] for line in said.splitlines() if ": reflexio-mcp " in line]
    assert {parse(words.split()).command for words in named} == {"requests", "explore", "delete"}


@pytest.mark.parametrize("command", ["sessions", "requests", "audit"])
def test_where_it_looked_is_said_and_how_to_look_elsewhere(
    command: str, store: Settings, tmp_path: Path
) -> None:
    assert shown(store, command).startswith(f"In the embedded store at {store.store}\n")
    empty = Settings(store=str(tmp_path / "none" / "empty.db"))
    said = shown(empty, command)
    assert list(tmp_path.iterdir()) == [], "looking makes no store"
    assert empty.store in said
    assert "--url, or REFLEXIO_URL" in said
    assert "--url" not in shown(store, command)
    assert "matches" not in said
    if command != "audit":
        assert f"No {command[:-1]} matches (user nobody)." in shown(store, command, "--user-id", "nobody")


@pytest.mark.parametrize("command", ["sessions", "requests", "audit"])
def test_an_empty_store_is_told_from_a_filter_that_matches_nothing(
    command: str, store: Settings, tmp_path: Path
) -> None:
    empty = Settings(store=str(tmp_path / "empty.db"))
    for words in ([], ["--start-time", "7d"], ["--source", "ci.e2e", "--end-time", "2030-01-01"]):
        assert "\nNothing is stored.\n" in shown(empty, command, *words)
    of_bob = shown(replace(empty, user_id="bob"), command)
    assert "\nNothing is stored for user bob. Ids are case-sensitive.\n" in of_bob
    noun = "session" if command == "sessions" else "request"
    said = shown(store, command, "--source", "ci.e2e", "--start-time", "2100-01-01")
    assert (
        f"\nNo {noun} matches (source ci.e2e, from 2100-01-01T00:00:00Z (no zone: taken as UTC)).\n" in said
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["audit", "--start-time", "7days"], "--start-time must be ISO 8601"),
        (["requests", "--source", "ci.E2E"], "--source must be lower-case"),
        (["sessions", "--start-time", "1d", "--end-time", "7d"], "must not be before --start-time"),
        (["explore", "--finding", "nonsense"], "--finding must be one of"),
        (["install", "nosuch"], "There is no such client"),
        (["uninstall", "nosuch"], "There is no such client"),
    ],
)
def test_what_was_typed_wrong_ends_with_the_code_for_it(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = [] if "install" in typed[0] else ["--store", str(tmp_path / "store.db")]
    assert main([*typed, *store]) == 2
    assert said in capsys.readouterr().err


def test_masked_content_stays_masked(store: Settings) -> None:
    for words in (["requests"], ["sessions"], ["show", "request-1"]):
        assert "Lisbon" not in shown(replace(store, mask=True), *words)


def test_a_confined_configuration_shows_nobody_else(
    store: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = replace(store, user_id="bob")
    assert facts(mine, "requests", "--user-id", "bob")["returned"] == 20


def test_somebody_outside_the_configuration_is_refused(
    store: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_USER_ID", "bob")
    assert main(["sessions", "--store", store.store, "--user-id", "ada"]) == 2
    assert "REFLEXIO_USER_ID confines" in capsys.readouterr().err


def test_what_is_not_there_is_said_in_one_sentence_and_fails(
    store: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_read_command(parse(["show", "nowhere"]), store, io.StringIO()) == 1
    said = capsys.readouterr().err
    assert said == "reflexio-mcp: No request 'nowhere' is stored. Find ids with reflexio-mcp requests.\n"
    assert "\nNo session matches (session none).\n" in shown(store, "sessions", "--session-id", "none")


def test_looking_changes_nothing(store: Settings) -> None:
    before = Path(store.store).read_bytes()
    for words in (["sessions"], ["requests"], ["show", "request-1"], ["audit"]):
        shown(store, *words)
    assert Path(store.store).read_bytes() == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_fits_the_terminal_and_keeps_its_ids(
    store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    assert run_read_command(parse(["requests", "--limit", "5"]), store, out) == 0
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    assert len(re.findall(r"request-\d+ ", out.getvalue())) >= 4  # and perhaps long-1
    assert "…" in out.getvalue()


def test_rich_is_imported_by_those_that_draw_alone() -> None:
    import subprocess

    code = "import sys, reflexio_mcp.cli as cli; cli.parse([]); sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A Reflexio that has learned from two requests; `look` reaches it in this process."""

    async def fill() -> World:
        world = World(str(tmp_path / "world.db"), tmp_path)
        await world.put("a", text="I live in Lisbon")
        await world.put("b", session="t")
        await world.learn("lisbon", "a", "b", content=f"Lives in Lisbon {HOSTILE}")
        for number in range(110):
            await world.learn(f"more-{number}", "b", content=f"Fact {number}")
        return world

    world = anyio.run(fill)

    class OfWorld(server_module.ReflexioServer):
        def __init__(self, settings: Settings) -> None:
            super().__init__(settings, client=world.client())

    monkeypatch.setattr(server_module, "ReflexioServer", OfWorld)
    yield Settings(url=URL)
    anyio.run(world.close)


def test_what_was_learned_is_listed_with_where_it_came_from(learned: Settings) -> None:
    said = shown(learned, "learned", "--user-id", "ada", "--contains", "Lisbon")
    assert "profile:lisbon" in said
    assert "[bold red]not markup[/]" in said
    assert "\x1b" not in said
    assert re.search(r"from a \(turn 1\), b \(turn 1\)", said)
    assert said.endswith("1 of 1 learnings.\n")
    none = shown(learned, "learned", "--user-id", "nobody")
    assert "\nNo learning matches (user nobody).\n" in none


def test_all_learnings_are_all_across_pages_each_once(learned: Settings) -> None:
    listed = facts(learned, "learned", "--user-id", "ada", "--all")
    ids = [one["learning_id"] for one in listed["learnings"]]
    assert len(ids) == len(set(ids)) == listed["returned"] == listed["total"] == 111
    assert facts(learned, "learned", "--request-id", "a")["total"] == 1


def test_a_store_that_does_not_learn_says_so(store: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learned", "--store", store.store]) == 1
    assert "does not learn" in capsys.readouterr().err


def test_whose_learnings_has_to_be_said(learned: Settings) -> None:
    with pytest.raises(ConfigurationError, match="Whose"):
        run_read_command(parse(["learned"]), learned, io.StringIO())


def test_what_only_an_assistant_can_call_is_said_to_be_its_tool() -> None:
    told = for_a_shell("Until then it can be put back: restore_requests with copy_id=1")
    assert told.splitlines()[-1].startswith("restore_requests is a tool of the assistant")
    assert "assistant" not in for_a_shell("Deleted 1 of 1 request.")


def test_a_call_that_a_receipt_names_becomes_a_command_of_the_shell() -> None:
    told = in_flags("Look for that now: list_requests contains=NAME. Or call with everything=true.")
    assert re.fullmatch(
        r"Look for that now: .*reflexio-mcp requests --contains=NAME\. Or call with --everything\.", told
    )
