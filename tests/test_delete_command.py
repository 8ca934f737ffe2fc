"""`reflexio-mcp delete`: a plan, a person's answer, a deletion and a receipt, in a shell."""

import io
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import main
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.settings import Settings
from tests.support.stdio import environment

Run = Callable[..., tuple[int, str, str]]


async def fill(settings: Settings, count: int = 3) -> None:
    async with open_client(settings) as client:
        for number in range(count):
            body = PublishBody(
                user_id="ada",
                session_id=f"run-{number // 50}",
                request_id=f"e2e-{number}",
                source="ci.e2e",
                interaction_data_list=[Interaction(content=f"order {number}")],
            )
            await client.publish(body, minted=False)
        for user, source in (("ada", "chat"), ("bob", "ci.other")):
            body = PublishBody(
                user_id=user,
                session_id=f"talk-{user}",
                request_id=f"kept-{user}",
                source=source,
                interaction_data_list=[Interaction(content="peanuts")],
            )
            await client.publish(body, minted=False)


@pytest.fixture
def store(tmp_path: Path) -> Settings:
    settings = Settings(store=str(tmp_path / "store.db"))
    anyio.run(fill, settings)
    return settings


@pytest.fixture
def run(
    store: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The command with what a person types: its exit code, stdout and stderr."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("REFLEXIO_MCP_STORE", store.store)

    def _run(*words: str, answer: str = "", at_terminal: bool = False) -> tuple[int, str, str]:
        typed = io.StringIO(answer)
        monkeypatch.setattr(typed, "isatty", lambda: at_terminal)
        monkeypatch.setattr(sys, "stdin", typed)
        code = main(["delete", *words])
        said, error = capsys.readouterr()
        return code, said, error

    return _run


def left(settings: Settings) -> list[str]:
    async def ids() -> list[str]:
        async with open_client(settings) as client:
            page = await client.get_requests(RequestQuery(top_k=100))
            return sorted(one.request.request_id for group in page.sessions for one in group.requests)

    return anyio.run(ids)


KEPT = ["kept-ada", "kept-bob"]
ALL = ["e2e-0", "e2e-1", "e2e-2", *KEPT]


def test_the_plan_is_shown_and_nothing_goes_without_a_yes(run: Run, store: Settings) -> None:
    for answer in ("n\n", "\n", "yes please\n", "13\n"):
        code, said, _ = run("--source", "ci.e2e", answer=answer)
        assert (code, said.endswith("\nDelete? [y/N] Nothing was deleted.\n")) == (1, True)
        assert (
            "Delete 3 requests with 3 interactions of user “ada”? This server keeps a recovery copy" in said
        )
        assert left(store) == ALL


def test_a_dry_run_shows_the_plan_and_asks_nobody(run: Run, store: Settings) -> None:
    for words in ((), ("--yes",)):
        code, said, _ = run("--source", "ci.e2e", "--dry-run", *words, answer="y\n")
        assert (code, "3 requests with 3 interactions" in said, "[y/N]" in said) == (0, True, False)
        # In the order of the list: the newest first, and within a second the one that arrived last.
        assert re.findall(r"e2e-\d", said) == ["e2e-2", "e2e-1", "e2e-0"]
    assert left(store) == ALL


def test_a_stored_name_is_no_key_of_ours(run: Run, store: Settings) -> None:
    async def publish() -> None:
        async with open_client(store) as client:
            body = PublishBody(
                user_id="columns",
                session_id="columns",
                request_id="examples",
                source="columns",
                interaction_data_list=[Interaction(content="columns")],
            )
            await client.publish(body, minted=False)

    anyio.run(publish)
    code, said, error = run("--source", "columns", "--dry-run")
    assert (code, error) == (0, "")
    assert "users: columns (1)" in said
    assert run("--source", "columns", "--yes")[0] == 0
    assert left(store) == ALL


def test_after_a_yes_the_receipt_says_what_is_gone(run: Run, store: Settings) -> None:
    code, said, _ = run("--source", "ci.e2e", answer="y\n")
    assert code == 0
    assert "3 requests with 3 interactions deleted; checked by reading again." in said
    assert left(store) == KEPT


def test_what_is_said_to_an_assistant_is_not_said_to_a_person(run: Run) -> None:
    for given in ({"answer": "n\n"}, {"answer": "y\n"}):
        _, said, _ = run("--source", "ci.e2e", **given)
        for words in ("confirm=", "Show this to the person", "<<", "list_requests"):
            assert words not in said
    _, said, _ = run("--source", "chat", "--yes")
    for words in ("confirm=", "Show this to the person", "<<", "list_requests"):
        assert words not in said


def test_several_people_or_many_requests_want_their_number_typed(
    run: Run, store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said, _ = run("--start-time", "1h", answer="y\n")
    assert (code, said.endswith("Type their number to delete them: Nothing was deleted.\n")) == (1, True)
    code, said, _ = run("--start-time", "1h", answer="4\n")
    assert (
        code,
        "Nothing was deleted: the number that was typed is not the number of requests." in said,
    ) == (1, True)
    monkeypatch.setenv("REFLEXIO_MCP_CONFIRM_ABOVE", "2")
    assert run("--source", "ci.e2e", answer="y\n")[0] == 1
    assert left(store) == ALL
    assert run("--source", "ci.e2e", answer="3\n")[0] == 0
    assert left(store) == KEPT


def test_where_nobody_answers_nothing_is_deleted(run: Run, store: Settings) -> None:
    code, said, _ = run("--source", "ci.e2e")
    assert code == 1
    assert said.endswith("Nothing was deleted: nobody answered. Where nobody can, add --yes.\n")
    assert left(store) == ALL


def test_a_source_that_does_not_exist_is_answered_with_those_that_do(run: Run, store: Settings) -> None:
    code, said, _ = run("--source", "ci", "--yes")
    assert code == 0
    assert "No request matches (source ci). The newest sessions there have the sources " in said
    assert {"ci.e2e", "chat"} <= set(said.replace(",", " ").replace(".\n", "\n").replace(". ", " ").split())
    assert said.endswith(" Nothing was deleted.\n")
    assert left(store) == ALL


def test_ids_and_times_narrow_what_goes(run: Run, store: Settings) -> None:
    assert run("--source", "ci.e2e", "--end-time", "7d", "--yes")[0] == 0
    assert left(store) == ALL
    assert run("e2e-1", "--yes")[0] == 0
    assert left(store) == ["e2e-0", "e2e-2", *KEPT]
    # What the id of somebody else's request does beside a user: nothing.
    assert run("kept-bob", "--user-id", "ada", "--yes")[0] == 1
    assert left(store) == ["e2e-0", "e2e-2", *KEPT]
    assert run("--source", "ci.e2e", "--start-time", "7d", "--yes")[0] == 0
    assert left(store) == KEPT


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        ((), {}, "Which requests?"),
        (("e2e-0", "--source", "ci.e2e"), {}, "Name either ids or a filter."),
        (("--source", " "), {}, "--source is blank"),
        (("--source", "ci.e2e", "--start-time", "7days"), {}, "--start-time must be"),
        (("--source", "ci.e2e", "--include-learnings"), {}, "Leave out --include-learnings"),
        (("--contains", "order"), {}, "takes --everything"),
        (("--user-id", "ada"), {}, "takes --everything"),
        (("--source", "ci.e2e"), {"REFLEXIO_MCP_TOOLS": "list_sessions"}, "REFLEXIO_MCP_TOOLS is set"),
        (("--source", "ci.e2e"), {"REFLEXIO_MCP_READ_ONLY": "1"}, "REFLEXIO_MCP_READ_ONLY is set"),
        (("--source", "ci.e2e"), {"REFLEXIO_MCP_CONFIRM": "ask"}, "Leave out --yes"),
        (("--user-id", "ada"), {"REFLEXIO_USER_ID": "bob"}, "confines this configuration to bob"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    run: Run,
    store: Settings,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    variables: dict[str, str],
    said: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, _, error = run(*words, "--yes")
    assert (code, said in error) == (2, True), error
    assert left(store) == ALL


def test_a_person_may_still_delete_where_only_a_person_may(
    run: Run, store: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_CONFIRM", "ask")
    code, _, error = run("--source", "ci.e2e", answer="y\n")  # a pipe is nobody
    assert (code, "at a terminal" in error) == (2, True)
    assert left(store) == ALL
    assert run("--source", "ci.e2e", answer="y\n", at_terminal=True)[0] == 0
    assert left(store) == KEPT


def test_everything_of_a_user_is_asked_for_by_its_name(run: Run, store: Settings) -> None:
    code, said, _ = run("--user-id", "ada", "--everything", answer="y\n")
    assert code == 0, said
    assert left(store) == ["kept-bob"]


def test_it_names_the_place_it_deletes_in(run: Run, store: Settings, tmp_path: Path) -> None:
    code, said, _ = run("--source", "ci.e2e", "--dry-run")
    assert (code, said.startswith(f"In {store.store}\n")) == (0, True)
    other = tmp_path / "none" / "store.db"
    code, said, _ = run("--source", "ci.e2e", "--dry-run", "--store", str(other))
    assert (code, said.startswith(f"In {other}\n"), other.parent.exists()) == (0, True, False)


def test_an_id_that_is_not_there_is_no_success(run: Run, store: Settings) -> None:
    code, said, _ = run("e2e-0", "nowhere", "--yes")
    assert (code, "not found: nowhere" in said) == (1, True)
    assert "e2e-0" not in left(store)


def test_a_copy_is_erased_where_this_shell_keeps_none(run: Run, store: Settings) -> None:
    assert run("e2e-0", "--yes", "--recovery-days", "7")[0] == 0
    code, said, _ = run("e2e-0", "--yes")
    assert (code, "Recovery copies still hold 1" in said) == (1, True)
    code, said, _ = run("e2e-0", "--yes", "--erase")
    assert (code, "1 that only recovery copies hold deleted" in said) == (0, True), said


def test_a_service_that_fails_is_said_in_a_sentence(run: Run) -> None:
    code, _, error = run("--source", "ci.e2e", "--yes", "--url", "http://127.0.0.1:1", "--timeout", "1")
    assert (code, error.startswith("reflexio-mcp: Reflexio could not be reached")) == (1, True), error
    assert "Traceback" not in error


def test_the_cap_holds(run: Run, store: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_DELETE_CAP", "2")
    code, said, error = run("--source", "ci.e2e", "--yes")
    assert (code, "Deleted" in said) == (1, False)
    assert "REFLEXIO_MCP_DELETE_CAP" in said + error
    assert left(store) == ALL


def test_a_way_back_is_kept_where_it_is_asked_for(run: Run, tmp_path: Path) -> None:
    code, said, _ = run("--source", "ci.e2e", "--yes", "--recovery-days", "7")
    assert code == 0
    assert "restore_requests" in said
    code, said, _ = run("kept-ada", "--yes", "--erase", "--recovery-days", "7")
    assert (code, "no recovery copy" in said) == (0, True)


def begun(state: Path) -> bool:
    """Whether a deletion is on record."""
    if not state.exists():
        return False
    with closing(sqlite3.connect(state)) as reader:
        try:
            return bool(reader.execute("SELECT count(*) FROM deletions").fetchone()[0])
        except sqlite3.OperationalError:  # it is being made
            return False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_ctrl_c_in_the_middle_lets_it_end_and_says_so(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "store.db"))
    anyio.run(fill, settings, 600)
    variables = environment(tmp_path, REFLEXIO_MCP_STORE=settings.store, PATH=os.defpath)
    command = [sys.executable, "-m", "reflexio_mcp", "delete", "--source", "ci.e2e", "--yes"]
    with closing(sqlite3.connect(settings.store, isolation_level=None)) as writer, subprocess.Popen(
        command, env=variables | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:  # fmt: skip
        writer.execute("BEGIN IMMEDIATE")  # nothing can be deleted until it ends
        while process.poll() is None and not begun(tmp_path / "state.db"):
            pass  # until the deletion is on record
        os.kill(process.pid, signal.SIGINT)
        writer.execute("COMMIT")
        said, error = process.communicate(timeout=120)
    if process.returncode:
        assert process.returncode == 130, error
        assert "goes on to its end" in error
        assert f"What is left: {sys.executable} -m reflexio_mcp requests --source ci.e2e --all" in error
    else:  # the receipt was there before the interruption was heard
        assert "600 requests with 600 interactions deleted; checked by reading again." in said
    assert left(settings) == KEPT
