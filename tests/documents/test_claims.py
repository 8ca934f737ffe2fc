# ruff: noqa: E501
"""What the pages claim is run: numbers come from the code, promises have a test, commands are executed."""

import importlib
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp import Client

from benchmarks.counting import SEEN_BUDGET
from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import main
from reflexio_mcp.http.access import LEAST_TOKEN_CHARS
from reflexio_mcp.http.app import SESSIONS_EACH, WATCH_SECONDS
from reflexio_mcp.http.bodies import MOST_BYTES, SHARE_BYTES
from reflexio_mcp.http.oauth import ASK_AGAIN_SECONDS, FRESH_SECONDS, REMEMBER_SECONDS
from reflexio_mcp.http.serving import DRAIN_SECONDS, UNREAD_SECONDS
from reflexio_mcp.install.clients import CLIENTS
from reflexio_mcp.rest.api_limits import MAX_BODY_BYTES
from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.server.stdio_stream import ANSWER_SECONDS
from reflexio_mcp.settings import STATE_KEY_BYTES, Settings
from reflexio_mcp.state.postgresql import REPLY_SECONDS
from reflexio_mcp.state.state import RECORD_DAYS
from reflexio_mcp.toolkit.context import DOWNLOAD_SECONDS
from reflexio_mcp.traffic.deletion.plan import CODE_SECONDS
from reflexio_mcp.traffic.learnings.remove import WAIT_SECONDS
from reflexio_mcp.traffic.reading.paging import LONGEST_WAIT
from reflexio_mcp.traffic.turns import UNREAD_BYTES
from tests.documents.test_documents import FENCE, ROOT, blocks, text_of
from tests.support.serving import modern_call, serving_process

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MIB = 1024 * 1024
BY_DEFAULT = Settings()
MESSAGES_TYPED = int(
    re.findall(r"TYPED_ABOVE = (\d+);", text_of(ROOT / "reflexio_mcp/explorer/page/sheets.js"))[0]
)

NUMBERS = (
    f"copy is kept for {BY_DEFAULT.recovery_days} days",
    f"copy is kept for {BY_DEFAULT.recovery_days} days of use",
    f"Above {BY_DEFAULT.confirm_above} items",
    f"Above {MESSAGES_TYPED} messages",
    f"at most {SEEN_BUDGET:,} tokens",
    "[takes about 170 MiB] of memory",
    "[0.8 to 1.6 times as long as a bare forwarder's]",
    f"can work for {int(FRESH_SECONDS // 60)} minutes; a new one is read within {int(ASK_AGAIN_SECONDS)} seconds",
    "every build calls itself 0.1.0",
    f"after {BY_DEFAULT.recovery_days} days by the clock and {BY_DEFAULT.recovery_days} days of use",
    f"any of {len(CLIENTS)} clients",
    "Python 3.11 or newer",
    "Python 3.11 and 3.13",
    "Apache-2.0]]",
    "MCP 2024-11-05 to 2026-07-28",
    "| MCP | 2024-11-05 to 2026-07-28 | Forms need a client of 2025-06-18",
    "| Reflexio | 0.2.32, open source |",
    "| Python | 3.11 and 3.13 on Linux",
    "| 2026-07-28 at `/mcp` |",
    "| 2025 at `/mcp`,",
    "for clients of 2026-07-28 and of 2025",
    "| 0 | Done, a dry run, or a filter found nothing. |",
    "| 1 | Something failed, was refused, is on hold (unless expired), or an id was not found. |",
    "| 2 | Command line or configuration is wrong. |",
    "| 130 | Ctrl-C. |",
    "| 141 | The reader ended first",
    "The exit code is 0",
    "after Ctrl-C, 130",
    f"works once, within {CODE_SECONDS // 3600} hours",
    "Switches take 1 or 0",
    "listens on 127.0.0.1 only",
    "200 `ready` while Reflexio answers, even with 429; else 503",
    "It is 5 Elm Road",
    "writes the receipt of deletion 3 as",
    f"may have {MAX_BODY_BYTES // MIB} MiB in all",
    f"Ctrl-C (at most {DRAIN_SECONDS:.0f} seconds)",
    f"deletions that have begun, {DRAIN_SECONDS:.0f} more",
    f"waits up to {WAIT_SECONDS:.0f} seconds",
    f"waits up to {LONGEST_WAIT:.0f} seconds if something was just stored",
    f"binds {BY_DEFAULT.host}",
    f"({BY_DEFAULT.max_in_flight}); they take turns",
    f"{UNREAD_BYTES // MIB} MiB; then calls wait",
    f"after {UNREAD_SECONDS:.0f} seconds the connection is closed",
    f"{SESSIONS_EACH} of each; all callers together `--max-sessions` ({BY_DEFAULT.max_sessions:,})",
    f"{SHARE_BYTES // MIB} MiB; one body at most {MOST_BYTES // MIB} MiB, a publish {MAX_BODY_BYTES // MIB} MiB",
    f"is used for {REMEMBER_SECONDS:.0f} seconds",
    f"an open stream ends within {REMEMBER_SECONDS + WATCH_SECONDS:.0f} seconds",
    f"({STATE_KEY_BYTES} bytes or more each)",
    f"A token has {LEAST_TOKEN_CHARS} characters or more",
    f"does not answer in {REPLY_SECONDS:.0f} seconds",
    f"`--stop-timeout` seconds ({BY_DEFAULT.stop_timeout})",
)
"""What the sentences with numbers say, from the code where it has the number; tests of their own run the others."""

IN_WORDS = {
    "the server waits ten seconds for calls that still run": ANSWER_SECONDS == 10,
    "which works once, for five minutes": DOWNLOAD_SECONDS == 5 * 60,
    "A receipt is kept for a week": RECORD_DAYS == 7,
}
"""Numbers that a page has in words."""

PROMISES = {
    'It reports "deleted" only after re-checking the store': "test_a_service_that_claims_to_delete_and_does_not_is_not_believed",
    "a plan comes before every deletion": "test_every_tool_that_deletes_asks",
    "`REFLEXIO_MCP_CONFIRM=ask` prevents that": "test_a_deletion_happens_only_if_the_mode_of_consent_is_satisfied",
    "audit log has a line before and after each deletion": "test_a_deletion_has_a_line_before_it_and_one_after_it",
    "before and after each deletion, correction and restore": "test_a_restore_is_in_the_audit_log_and_its_deletion_is_marked_once_all_of_it_is_back",
    "refusal by a person and repeated erasure": "test_a_server_that_starts_deletes_it_and_logs_it",
    "plan and receipt count them; the erasure is incomplete": "test_plan_and_receipt_of_an_erasure_count_a_copy_that_a_changed_column_hides",
    "The ids, user or user's session it named aren't restored if such a row is put back": "test_a_copy_that_was_damaged_during_an_erasure_is_not_restored_when_it_is_put_back",
    "The clock alone lifts no hold": "test_a_clock_that_is_ahead_lifts_no_hold_until_the_state_has_seen_another_day",
    "a deletion that makes a learning current again": "test_what_a_killed_deletion_makes_current_again_after_its_erasure_goes_again",
    "A corrected learning whose erased text returns is not deleted": "test_an_undo_that_lands_late_over_a_correction_that_erased_its_text_does_not_delete_the_learning",
    "A person can undo what an operator or the expiry timer deleted of theirs, and an operator what a person deleted": "test_a_person_undoes_what_the_timer_deleted_of_theirs_and_an_operator_what_a_person_deleted",
    "contains again what was erased since: repeat the erasures": "test_what_was_erased_comes_back_with_an_older_store_until_it_is_erased_again",
    "`get_status`, except operators' exports": "test_a_confined_user_is_told_of_their_own_exports_and_not_of_operators",
    "`doctor` warns if it lacks your shell's": "test_an_entry_without_the_policy_of_this_shell_is_named_with_what_to_do",
    "`reflexio-mcp audit` has no limit": "test_an_audit_at_the_shell_looks_at_everything_however_long_it_takes",
    "the same in each field that Reflexio returns": "test_the_same_words_with_anything_else_beside_them_are_not_what_was_deleted",
    "a running one begins no deletion": "test_a_running_server_without_the_new_key_of_the_others_begins_no_deletion",
    "keeps old ids of sources restored later": "test_a_restore_says_that_a_playbook_keeps_the_old_ids_of_what_came_back_after_it",
    "`get_status` shows it as unfinished": "test_what_an_interrupted_restore_stored_of_an_erasure_is_deleted_by_the_next_deletion_which_says_so",
    "Other content of the copies stays, as does anything else under the same id": "test_something_else_that_is_stored_under_the_id_by_then_stays",
    "or stored again since the plan": "test_what_is_published_again_on_purpose_since_the_plan_stays_and_is_not_called_deleted",
    "even one that begins after the plan": "test_a_hold_that_is_set_while_the_question_is_open_keeps_what_only_copies_contain",
    "finds everybody's receipts": "test_an_operator_finds_the_receipt_of_a_person_and_a_person_never_anothers",
    "The server marks it as data": "test_no_tool_lets_stored_text_out_of_its_fence",
    "Others' data can be neither seen nor changed": "test_lists_hold_the_scopes_requests_alone",
    "no call can delete them": "test_what_a_clearing_leaves_is_said",
    "named after your account on this computer": "test_the_entry_starts_this_program_for_this_account_and_nothing_else_changes",
    "For a JSON file with comments it shows": "test_a_file_with_comments_is_not_changed_and_the_entry_is_shown",
    "`install` uses that": "test_a_client_with_a_command_of_its_own_writes_its_file_itself",
    "With `REFLEXIO_MCP_MASK=1` all stored text stays hidden": "test_with_the_operators_mask_no_surface_shows_a_stored_word",
    "It works once": "test_a_code_is_good_for_one_deletion",
    "Host is checked on every path": "test_a_foreign_host_is_refused_on_every_path",
    "confines them to their user id": "test_nobody_else_sees_it_on_any_surface",
    "a deletion planned on one is confirmed on another": "test_a_deletion_is_confirmed_at_another_replica_by_its_code",
    "the earlier policy stays in force": "test_an_error_on_change_keeps_the_old_policy_and_the_status_says_so",
    "No tool, page or command that has this policy deletes or corrects what a hold keeps": "test_what_a_hold_keeps_is_deleted_by_no_tool_and_the_log_says_so",
    "A state that cannot be read stops the erasure": "test_copies_that_cannot_be_read_stop_an_erasure_before_anything_is_deleted",
    "the same call again deletes what is left": "test_a_kill_at_any_step_loses_nothing_that_was_promised",
    "Deleted content is overwritten in the store": "test_each_way_of_deleting_leaves_nothing_in_any_file",
    "only tools that change nothing can be called": "test_a_read_only_server_offers_and_runs_reading_tools_alone",
    "shows what only other tools would show": "test_one_allowed_tool_brings_along_nothing_that_tells_more",
    "words cannot be searched": "test_under_the_mask_words_cannot_be_tried_out",
    "equal contents have equal fingerprints": "test_equal_contents_have_equal_fingerprints_and_others_do_not",
    "are shown as escapes": "test_a_character_that_hides_is_written_as_an_escape",
    "`get_request` shows secrets": "test_secrets_are_replaced_in_lists_and_shown_in_a_request",
    "never stored words, keys or tokens": "test_nothing_that_was_sent_is_in_the_log_of_http",
    "Redirects are not followed": "test_a_read_that_fails_changes_nothing_and_a_deletion_may_have_taken_effect",
    "`--verify` finds a changed or missing line": "test_a_line_that_was_changed_or_taken_out_is_found",
    "So `--verify` finds a cut-off end": "test_lines_that_are_cut_off_at_the_end_are_found_and_never_forgotten",
    "a state that was emptied, removed": "test_a_state_that_was_removed_or_emptied_is_noticed",
    "it never replaces a key": "test_a_key_file_that_cannot_be_used_is_an_error_and_is_never_replaced",
    "can neither restore nor erase older copies": "test_a_new_store_beside_an_old_state_leaves_the_copies_of_the_old_one_alone",
    "so is a `state.db` of another program": "test_a_file_of_another_program_is_refused_and_left_as_it_is",
    "a wrong clock removes nothing": "test_a_clock_that_is_ahead_for_a_moment_removes_no_copy_and_no_record",
    "without the last-started replica's key does not start": "test_a_server_with_another_key_is_refused_and_troubles_nobody",
    "single interaction removes every copy of its request": "test_erasing_one_interaction_drops_every_copy_of_its_request_and_the_plan_says_so",
    "an id is never stored twice": "test_publishing_the_same_id_again_stores_nothing_twice_and_says_so",
    "Words are found in any order and case": "test_contains_is_all_of_its_words_in_any_order_and_case",
    "templates are completed from recent traffic": "test_values_come_from_recent_traffic_newest_first_and_by_their_beginning",
    "A client that drops `_meta` asks you in its form": "test_a_plan_without_the_page_does_not_replace_the_form",
    "Stored text is shown as text": "test_stored_text_is_shown_as_text_and_never_as_markup_or_control",
    "If you close the page, a deletion that has begun": "test_a_reload_does_not_end_it_and_the_end_of_the_page_does",
    "if the client left a reference unfilled": "test_a_reference_that_a_client_did_not_fill_in_stops_the_start",
    "if you misspell a variable": "test_a_misspelt_variable_stops_the_start_and_names_the_right_one",
    "the older version cannot open the store": "test_a_file_of_a_newer_version_is_left_alone_and_says_to_upgrade",
    "Each person then sees their own memory": "test_two_people_sign_in_and_each_has_their_own_memory",
    "so a revoked token works that much longer": "test_a_revoked_token_works_no_longer_than_an_answer_is_remembered",
    "PgBouncer works with": "test_replicas_may_share_a_pooler",
    "are refused with the reason": "test_a_database_that_restarts_is_refused_meanwhile_and_used_again_afterwards",
    "Running calls have `--stop-timeout` seconds": "test_a_call_that_outlasts_the_bound_is_told_to_try_again",
}  # fmt: skip
"""What the README and the pages on safety promise, with the test that runs it."""


def seen_by_hand() -> list[str]:
    """What the tests of the pages leave out: sections and claims, each with a day and a command."""
    table = text_of(ROOT / "CONTRIBUTING.md").split("## How pages are checked")[1].split("\n## ")[0]
    return re.findall(r"^\| (.+?) \| \d{4}-\d\d-\d\d \| .+ \|$", table, re.MULTILINE)


def prose(path: Path) -> str:
    """A page without its blocks, links and sections seen by hand; a paragraph or row is on one line."""
    text = re.sub(r"<!-- generated.*?<!-- end -->", "", text_of(path), flags=re.DOTALL)
    for section in seen_by_hand():
        text = re.sub(rf"^## {re.escape(section)}\n.*?(?=^## |\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\]\([^)]*\)", "]", FENCE.sub("", text))
    return re.sub(r"\n(?![\n|>#-]|\d\. ) *", " ", text)


def test_each_number_on_the_pages_is_what_the_code_says() -> None:
    number = re.compile(r"(?<![\w.])(?!\d\. )\d[\d,]*(?![\w-]|\. )")
    pages = [
        page for page in PAGES if page.name != "audit-rules.md"
    ]  # `tests/audit` has what each rule counts.
    sentences = [one for page in pages for one in re.split(r"(?<=[a-z`][.:]) (?=[A-Z`*])|\n", prose(page))]
    with_numbers = [one for one in sentences if number.search(re.sub(r"`[^`]*`", "", one))]
    known = (*NUMBERS, *seen_by_hand())
    assert [one for one in with_numbers if not any(part in one for part in known)] == []


def test_each_claim_is_on_a_page_and_its_test_exists() -> None:
    pages = "\n".join(map(prose, PAGES))
    assert [one for one in (*NUMBERS, *IN_WORDS, *PROMISES) if one not in pages] == []
    assert all(IN_WORDS.values())
    tests = "\n".join(map(text_of, (ROOT / "tests").rglob("test_*.py")))
    assert [name for name in PROMISES.values() if f"def {name}(" not in tests] == []


@pytest.mark.ci
@pytest.mark.anyio
async def test_a_shared_server_writes_what_its_page_shows(tmp_path: Path) -> None:
    page = ROOT / "docs" / "shared-server.md"
    (_, *said), shown = (one.text.splitlines() for one in blocks(page) if one.language == "text")
    unset: dict[str, Any] = {"REFLEXIO_MCP_AUTH_TOKEN": "", "REFLEXIO_MCP_STORE": ""}
    async with (
        serving_process(tmp_path, **unset, XDG_DATA_HOME=str(tmp_path)) as served,
        httpx.AsyncClient() as web,
    ):
        headers, body = modern_call("list_requests", {})
        token = (tmp_path / "reflexio-mcp" / "http-token").read_text(encoding="utf-8").strip()
        for given in ({"authorization": f"Bearer {token}"}, {}):
            await web.post(f"{served.url}/mcp", json=body, headers=headers | given)
        await served.terminate()
        written = served.stderr().splitlines()
    told = [line for line in written if not line.startswith("{")]
    home, port = "/home/you/.local/share", "8765"
    assert [line.replace(str(tmp_path), home).replace(str(served.port), port) for line in told] == said
    events = {line["event"]: list(line) for line in map(json.loads, written[len(told) :])}
    assert [list(line) for line in map(json.loads, shown)] == [events["call"], events["refused"]]


ELSEWHERE = {"--url", "--remote", "--live", "serve", "explore"}
"""Words of commands that need another program; tests of their own run these."""

FAIL_HERE = (
    "learned", "correct", "import", "restore 3", "receipt 3", "delete --source ci.e2e --start-time 24h",
    "publish talk.json", "state create", "state upgrade",
)  # fmt: skip
"""This store learns nothing and is in a file, has no third deletion and no file to read, and nobody answers the question of a deletion."""

STORED = {"e2e-1": "ci.e2e", "0b9f3c1e-6f0e-4c53-9a31-0f6d1c8f2a77": "chat"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home with started clients, a policy, and a store with two requests."""

    async def fill() -> None:
        async with open_client(Settings(store=str(store))) as backend:
            for request_id, source in STORED.items():
                body = PublishBody(
                    user_id="bob", session_id="trip", request_id=request_id, source=source,
                    interaction_data_list=[Interaction(content="I cannot eat peanuts.")],
                )  # fmt: skip
                await backend.publish(body, minted=False)

    store, policy = tmp_path / "store.db", tmp_path / "policy.toml"
    for folder in (".cursor", ".codex", ".gemini", ".config/Code/User"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / ".claude.json").write_text("{}", encoding="utf-8")
    (policy_block,) = [one for one in blocks(ROOT / "docs" / "policy.md") if one.language == "toml"]
    policy.write_text(policy_block.text, encoding="utf-8")
    for name, value in {
        "HOME": tmp_path,
        "REFLEXIO_MCP_STORE": store,
        "REFLEXIO_MCP_POLICY": policy,
        "PATH": "",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.chdir(tmp_path)
    anyio.run(fill)


def runs_elsewhere(words: list[str]) -> bool:
    return "install" not in words and bool(set(words) & ELSEWHERE)


def commands() -> list[str]:
    lines = [line for one in blocks(*PAGES) if one.language == "bash" for line in one.text.splitlines()]
    lines += [
        line
        for page in PAGES
        for line in re.findall(r"`([^`\n]*reflexio-mcp [a-z]+ [^`\n]+)`", text_of(page))
    ]
    ours = [re.sub(r"\b(NAME|CLIENT)\b", "cursor", re.split(r" [|>] ", line)[0]) for line in lines]
    return sorted({line for line in ours if COMMAND.match(line) and not runs_elsewhere(shlex.split(line))})


COMMAND = re.compile(r"(REFLEXIO_\w+=\S+ )*\S*reflexio-mcp( |$)")


@pytest.mark.parametrize("line", commands())
@pytest.mark.usefixtures("home")
def test_each_command_of_the_pages_runs(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line, comments=True)
    while "=" in words[0]:
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert (main(words[1:]) == 0) is not " ".join(words[1:]).startswith(FAIL_HERE), words


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["text", "structured"])
async def test_the_story_of_the_examples_is_what_the_server_does(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    story = importlib.import_module("story")
    results: list[str] = []
    async with Client(ReflexioServer(Settings(store=":memory:", confirm="preview"))) as client:
        while not isinstance(step := story.next_call(results), str):
            result = await client.call_tool(*step)
            [text] = result.content
            assert text.type == "text"
            results.append(json.dumps(result.structured_content) if form == "structured" else text.text)
    story.check(step)
