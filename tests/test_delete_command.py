"""`reflexio-mcp delete` and `restore`: nothing goes that was not agreed to, and what is said is true."""

import io
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp import delete_command
from reflexio_mcp.backend import open_client, open_scope, open_state, owner_of
from reflexio_mcp.cli import main
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.results.deletion import Logged
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.tables import SqliteDatabase
from reflexio_mcp.traffic.deletion.past import last_logged
from tests.state.conftest import copied, deletion
from tests.support.resealing import reseal

Run = Callable[..., tuple[int, str]]

STORED = {
    "e2e-1": ("ada", "ci.e2e"),
    "e2e-2": ("ada", "ci.e2e"),
    "e2e-3": ("bob", "ci.e2e"),
    "kept-ada": ("ada", "chat"),
    "kept-bob": ("bob", "chat"),
}
ALL = set(STORED)


@pytest.fixture
def store(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    async def fill() -> None:
        async with open_client(Settings(store=path)) as client:
            for request_id, (user_id, source) in STORED.items():
                body = PublishBody(
                    user_id=user_id, session_id=f"of-{user_id}", request_id=request_id, source=source,
                    interaction_data_list=[Interaction(content=f"Words of {request_id}.")],
                )  # fmt: skip
                await client.publish(body, minted=False)

    path = str(tmp_path / "store.db")
    monkeypatch.setenv("REFLEXIO_MCP_STORE", path)
    anyio.run(fill)
    return path


def left(store: str) -> set[str]:
    async def look() -> set[str]:
        async with open_client(Settings(store=store)) as client:
            page = await client.get_requests(RequestQuery(top_k=100))
        return {one.request.request_id for group in page.sessions for one in group.requests}

    return anyio.run(look)


@pytest.fixture
def run(store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with what a person types, and returns its exit code and everything that it said."""

    def run(*words: str, typed: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code = main(words)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


@pytest.mark.parametrize("answer", ["y", "Y", "yes", " YES "])
def test_a_yes_deletes_and_the_receipt_says_what_is_gone(run: Run, store: str, answer: str) -> None:
    code, said = run("delete", "e2e-1", typed=f"{answer}\n")
    assert code == 0
    assert "Words of e2e-1." in said
    receipt = said.partition("The receipt:\n")[2]
    assert receipt.startswith(
        "number: 1\nplanned: 1 request with 1 interaction\ndeleted: 1 request with 1 interaction\n"
    )
    assert left(store) == ALL - {"e2e-1"}


@pytest.mark.parametrize("answer", ["n", "", "ye", "j", "1"])
def test_anything_else_deletes_nothing_and_says_so(run: Run, store: str, answer: str) -> None:
    code, said = run("delete", "e2e-1", typed=f"{answer}\n")
    assert (code, said.rstrip().endswith("Nothing was deleted.")) == (1, True)
    assert left(store) == ALL


def refusals(store: str) -> list[Logged]:
    return logged_for(Settings(store=store))


def logged_for(settings: Settings) -> list[Logged]:
    async def look() -> list[Logged]:
        state = open_state(settings)
        with closing(state.database):
            async with open_scope(settings) as scope:
                return await last_logged(state, await owner_of(scope, settings))

    return anyio.run(look)


@pytest.mark.parametrize(
    ("words", "typed", "why", "target"),
    [
        (["e2e-1"], "n\n", "declined", "request e2e-1"),
        (["--source", "ci.e2e"], "2\n", "wrong_number", "source ci.e2e"),
        (["e2e-1"], "", "unanswered", "request e2e-1"),
    ],
)
def test_what_a_person_at_the_terminal_refused_is_in_the_log(
    run: Run, store: str, words: list[str], typed: str, why: str, target: str
) -> None:
    assert run("delete", *words, typed=typed)[0] == 1
    [refusal] = refusals(store)
    assert (refusal.event, refusal.why, refusal.target) == ("refused", why, target)
    assert refusal.tool == "delete_requests"
    assert refusal.client.startswith("reflexio-mcp delete ")


def test_an_undo_that_a_person_at_the_terminal_refused_is_in_the_log(run: Run, store: str) -> None:
    run("delete", "e2e-1", "--yes")
    assert run("restore", "1", typed="n\n")[0] == 1
    [refusal] = refusals(store)
    assert (refusal.tool, refusal.target, refusal.why) == (
        "restore_requests",
        "restore of deletion 1",
        "declined",
    )
    assert left(store) == ALL - {"e2e-1"}


def test_if_nobody_can_answer_it_names_the_flag(run: Run, store: str) -> None:
    code, said = run("delete", "e2e-1")
    assert (code, "add --yes" in said) == (1, True)
    assert left(store) == ALL


@pytest.mark.parametrize(
    ("answer", "gone"), [("y", set[str]()), ("2", set[str]()), ("3", {"e2e-1", "e2e-2", "e2e-3"})]
)
def test_of_several_users_the_number_is_typed(run: Run, store: str, answer: str, gone: set[str]) -> None:
    code, said = run("delete", "--source", "ci.e2e", typed=f"{answer}\n")
    assert "Type 3 to delete: " in said
    expected = "Nothing was deleted: only the number in the question is taken as a yes."
    assert (expected in said) is not bool(gone)
    assert code == (0 if gone else 1)
    assert left(store) == ALL - gone


def test_of_everything_of_the_only_user_the_number_is_typed(
    run: Run, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever set REFLEXIO_USER_ID chose the user, not the person who types the command."""
    monkeypatch.setenv("REFLEXIO_USER_ID", "bob")
    of_bob = {request_id for request_id, (user_id, _) in STORED.items() if user_id == "bob"}
    code, said = run("delete", "--everything", typed="y\n")
    assert f"Type {len(of_bob)} to delete: " in said
    assert (code, left(store)) == (1, ALL)


def test_a_dry_run_deletes_nothing(run: Run, store: str) -> None:
    code, said = run("delete", "--source", "ci.e2e", "--dry-run")
    assert (code, "3 requests with 3 interactions" in said) == (0, True)
    assert left(store) == ALL


def test_with_yes_exactly_the_filter_goes(run: Run, store: str) -> None:
    assert run("delete", "--source", "ci.e2e", "--user-id", "ada", "--yes")[0] == 0
    assert left(store) == ALL - {"e2e-1", "e2e-2"}
    code, said = run("delete", "--source", "ci.e2e", "--user-id", "ada", "--yes")
    assert (code, "Nothing was found" in said) == (0, True)


def test_what_a_hold_keeps_fails_and_the_others_go(run: Run, store: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[hold]]\nusers = ["bob"]\nreason = "audit"\n', encoding="utf-8")
    words = ["--source", "ci.e2e", "--yes", "--policy", str(policy)]
    code, said = run("delete", *words, "--dry-run")
    assert (code, left(store)) == (0, ALL)
    code, said = run("delete", *words)
    assert (code, left(store)) == (1, ALL - {"e2e-1", "e2e-2"})
    assert "1 item is left out, on hold" in said
    run("receipt", "1", "--output", str(tmp_path / "receipt"))
    page = (tmp_path / "receipt.html").read_text("utf-8")
    assert "on hold" in page
    assert str(policy) not in page


def test_an_id_that_is_not_there_fails_and_the_others_go(run: Run, store: str) -> None:
    code, said = run("delete", "e2e-1", "nowhere", "--yes")
    assert (code, "not found: nowhere" in said) == (1, True)
    assert left(store) == ALL - {"e2e-1"}


@pytest.mark.parametrize("words", [["--user-id", "ada"], ["--contains", "Words"], []])
def test_what_selects_very_much_takes_everything(run: Run, store: str, words: list[str]) -> None:
    code, said = run("delete", *words, "--yes")
    assert (code, "--everything" in said) == (2, True)
    assert left(store) == ALL
    assert run("delete", *words, "--everything", "--yes")[0] == 0
    assert left(store) == ({"e2e-3", "kept-bob"} if "ada" in words else set())


@pytest.mark.parametrize(
    ("variable", "words", "said"),
    [
        ({}, ["e2e-1", "--source", "ci.e2e"], "either ids or a filter"),
        ({"REFLEXIO_MCP_READ_ONLY": "1"}, ["e2e-1"], "REFLEXIO_MCP_READ_ONLY"),
        ({"REFLEXIO_MCP_TOOLS": "list_requests"}, ["e2e-1"], "REFLEXIO_MCP_TOOLS"),
        ({"REFLEXIO_MCP_CONFIRM": "ask"}, ["e2e-1"], "REFLEXIO_MCP_CONFIRM=ask"),
        (
            {"REFLEXIO_USER_ID": "bob"},
            ["--user-id", "ada", "--source", "ci.e2e"],
            "REFLEXIO_USER_ID confines",
        ),
    ],
)
def test_what_is_not_allowed_deletes_nothing(
    run: Run,
    store: str,
    monkeypatch: pytest.MonkeyPatch,
    variable: dict[str, str],
    words: list[str],
    said: str,
) -> None:
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    code, told = run("delete", *words, "--yes")
    assert (code, said in told) == (2, True)
    monkeypatch.undo()
    assert left(store) == ALL


def test_a_confined_configuration_deletes_of_its_user_alone(
    run: Run, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLEXIO_USER_ID", "bob")
    assert run("delete", "--source", "ci.e2e", "--yes")[0] == 0
    assert run("delete", "kept-ada", "--yes")[0] == 1
    assert left(store) == ALL - {"e2e-3"}


def test_the_hourly_cap_holds(run: Run, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_DELETE_CAP", "2")
    code, said = run("delete", "--source", "ci.e2e", "--yes")
    assert (code, "2 an hour are allowed. 2 are left now." in said) == (1, True)
    assert left(store) == ALL


def test_a_person_at_the_command_line_raises_the_cap_with_an_option(
    run: Run, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_DELETE_CAP", "1")
    words = ("delete", "--everything", "--yes")
    code, said = run(*words)
    assert (code, left(store)) == (1, ALL)
    assert "Repeat the command with --delete-cap NUMBER, or --delete-cap 0 for no cap." in said
    assert "operator" not in said
    code, said = run(*words, "--delete-cap", "0")
    assert (code, left(store)) == (0, set()), said


def test_what_has_expired_has_the_cap_of_the_policy_alone(run: Run, store: str) -> None:
    code, said = run("delete", "--finding", "expired", "--yes", "--delete-cap", "5")
    assert (code, left(store)) == (2, ALL)
    assert "`cap` in the policy file counts" in said


def test_an_erasure_that_finds_nothing_leaves_no_copy_whose_days_are_over(run: Run, store: str) -> None:
    run("delete", "e2e-1", "--yes")
    state_file = Path(store).with_name("state.db")
    key = state_file.with_name("fingerprint.key").read_bytes()
    with closing(SqliteDatabase(lambda: state_file)) as state:
        reseal(state, [key], lambda row: row._replace(until=0.0, seen_until=0))
    assert "Nothing was found" in run("delete", "e2e-1", "--erase", "--yes")[1]
    with closing(sqlite3.connect(Path(store).with_name("state.db"))) as state:
        assert state.execute("SELECT count(*) FROM copies").fetchone() == (0,)


def test_a_deletion_is_listed_and_restored(run: Run, store: str) -> None:
    assert "No deletion has a recovery copy." in run("restore")[1]
    code, said = run("delete", "--source", "ci.e2e", "--yes")
    assert "To undo, with the same --url or --store: reflexio-mcp restore 1" in said
    assert "3 requests" in run("restore")[1]
    code, said = run("restore", "1", typed="no\n")
    assert (code, "Nothing was restored." in said) == (1, True)
    assert left(store) == {"kept-ada", "kept-bob"}
    code, said = run("restore", "1", typed="yes\n")
    assert (code, "restored: 3 requests with 3 interactions" in said) == (0, True)
    assert left(store) == ALL
    assert run("restore", "9", "--yes")[0] == 1


def test_a_person_undoes_what_the_timer_deleted_of_theirs_and_an_operator_what_a_person_deleted(
    run: Run, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[expire]]\nsource = "ci.e2e"\nafter = "1h"\n', encoding="utf-8")
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("UPDATE requests SET created_at = created_at - 7200")
    run("delete", "--finding", "expired", "--yes", "--policy", str(policy))
    monkeypatch.setenv("REFLEXIO_USER_ID", "ada")
    assert run("restore", "1", "--yes")[0] == 0
    assert left(store) == ALL - {"e2e-3"}, "bob's stays deleted"
    run("delete", "kept-ada", "--yes")
    monkeypatch.delenv("REFLEXIO_USER_ID")
    code, said = run("restore", "3", "--yes")
    assert (code, "Words of kept-ada." in said) == (0, True)
    assert left(store) == ALL - {"e2e-3"}


def test_what_was_erased_comes_back_with_an_older_store_until_it_is_erased_again(
    run: Run, store: str, tmp_path: Path
) -> None:
    backup = Path(store).read_bytes()
    erasure = ("delete", "--user-id", "ada", "--everything", "--erase", "--yes")
    run(*erasure)
    for file in tmp_path.glob("store.db*"):
        file.unlink()
    Path(store).write_bytes(backup)
    assert left(store) == ALL
    assert '"target": "user ada"' in run("log")[1]
    assert run(*erasure)[0] == 0
    assert left(store) == {"e2e-3", "kept-bob"}


def test_a_confined_user_is_told_of_their_own_exports_and_not_of_operators(
    run: Run, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("export", "--user-id", "ada", "--output", str(tmp_path / "by-operator.zip"))
    assert [one.event for one in logged_for(Settings(store=store, user_id="ada"))] == []
    monkeypatch.setenv("REFLEXIO_USER_ID", "ada")
    run("export", "--output", str(tmp_path / "own.zip"))
    assert [one.event for one in logged_for(Settings(store=store, user_id="ada"))] == ["exported"]


def test_a_restore_for_evaluation_only_is_never_learned_from_again(run: Run, store: str) -> None:
    run("delete", "e2e-1", "kept-ada", "--yes")
    assert run("restore", "1", "e2e-1", "--evaluation-only", "--yes")[0] == 0
    assert run("restore", "1", "kept-ada", "--yes")[0] == 0
    assert "e2e-1" in (listed := run("requests", "--evaluation-only")[1])
    assert "kept-ada" not in listed


def test_an_erasure_keeps_no_way_back_and_takes_earlier_copies(run: Run, store: str) -> None:
    run("delete", "e2e-1", "e2e-2", "--yes")
    code, said = run("delete", "e2e-1", "--yes", "--erase")
    assert (code, "cannot be undone" in said) == (0, True)
    run("restore", "1", "--yes")
    assert left(store) == ALL - {"e2e-1"}


def test_a_receipt_is_written_for_the_person_and_never_over_a_file(run: Run, tmp_path: Path) -> None:
    run("delete", "e2e-1", "--reason", "ticket <7>", "--yes")
    words = ("receipt", "1", "--output", str(tmp_path / "e2e"))
    assert run(*words) == (0, f"{tmp_path / 'e2e.json'}\n{tmp_path / 'e2e.html'}\n")
    record = json.loads((tmp_path / "e2e.json").read_text("utf-8"))
    assert (record["target"], record["status"]) == ("request e2e-1", "complete")
    assert record["receipt"]["deleted"] == {"requests": 1, "interactions": 1}
    assert record["receipt"]["reason"] == "ticket <7>"
    page = (tmp_path / "e2e.html").read_text("utf-8")
    for said in (
        "Receipt of deletion 1",
        "request e2e-1",
        "1 request with 1 interaction deleted",
        record["at"][:19],
        "ticket &lt;7&gt;",
        "recovery copy of 1 request at least until",
        "the store was checked again",
        record["receipt"]["log"],
    ):
        assert said in page
    if os.name != "nt":
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("e2e.*")} == {0o600}
    code, said = run(*words)
    assert (code, f"{tmp_path / 'e2e.json'} exists, and no file is replaced" in said) == (2, True)
    assert (tmp_path / "e2e.html").read_text("utf-8") == page


def test_a_receipt_that_is_written_after_a_restore_says_first_that_the_deletion_was_undone(
    run: Run, tmp_path: Path
) -> None:
    run("delete", "e2e-1", "e2e-2", "--yes")
    run("restore", "1", "--yes")
    code, _ = run("receipt", "1", "--output", str(tmp_path / "ada"))
    page = (tmp_path / "ada.html").read_text(encoding="utf-8")
    assert code == 0
    assert page.index("This deletion was undone") < page.index("What was deleted")


def test_an_operator_finds_the_receipt_of_a_person_and_a_person_never_anothers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user, exit_code in (("ada", 0), ("bob", 1)):
        monkeypatch.setenv("REFLEXIO_USER_ID", user)
        if user == "ada":
            run("delete", "e2e-1", "--yes")
        assert run("receipt", "1", "--output", str(tmp_path / f"of-{user}"))[0] == exit_code
    monkeypatch.delenv("REFLEXIO_USER_ID")
    assert run("receipt", "1", "--output", str(tmp_path / "of-everybody"))[0] == 0
    assert sorted(path.name for path in tmp_path.glob("of-*.json")) == ["of-ada.json", "of-everybody.json"]


def test_a_deletion_that_is_not_on_record_has_no_receipt(run: Run, tmp_path: Path) -> None:
    code, said = run("receipt", "7", "--output", str(tmp_path / "e2e"))
    assert (code, "Deletion 7 has no receipt on record" in said) == (1, True)
    run("delete", "e2e-1", "--yes")
    run("restore", "1", "--yes")
    code, said = run("receipt", "2", "--output", str(tmp_path / "e2e"))
    assert (code, "2 is the restore of deletion 1. It has no receipt." in said) == (1, True)
    assert not list(tmp_path.glob("e2e.*"))


def test_masked_words_are_not_shown(run: Run) -> None:
    assert "Words of" not in run("delete", "e2e-1", "--yes", "--mask")[1]


def test_an_interrupted_deletion_says_so_and_the_same_command_finishes_it(
    run: Run, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    carry_out = delete_command.carry_out

    async def interrupted(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return await carry_out(*arguments)

    with monkeypatch.context() as once:
        once.setattr(delete_command, "carry_out", interrupted)
        code, said = run("delete", "--source", "ci.e2e", "--yes")
        assert (code, "Run the command again to finish" in said) == (130, True)
    run("delete", "--source", "ci.e2e", "--yes")
    assert left(store) == {"kept-ada", "kept-bob"}


def test_a_store_that_does_not_learn_has_nothing_to_correct(run: Run, store: str) -> None:
    code, said = run("correct", "profile:p", "A new text", "--user-id", "ada")
    assert (code, "does not learn" in said) == (2, True)


def filled(store: Path, *request_ids: str) -> None:
    async def fill() -> None:
        async with open_client(Settings(store=str(store))) as client:
            for one in request_ids:
                body = PublishBody(
                    user_id="bob", session_id="of-bob", request_id=one,
                    interaction_data_list=[Interaction(content=f"Words of {one}.")],
                )  # fmt: skip
                await client.publish(body, minted=False)

    anyio.run(fill)


def test_a_new_store_beside_an_old_state_leaves_the_copies_of_the_old_one_alone(run: Run, store: str) -> None:
    run("delete", "e2e-1", "--yes")
    old = Path(store).rename(Path(store).with_name("old.db"))
    filled(Path(store), "new-1", "e2e-1")
    for erased in ("new-1", "e2e-1"):
        assert run("delete", erased, "--erase", "--yes")[0] == 0
    assert "No deletion has a recovery copy." in run("restore")[1]
    old.replace(store)
    assert run("restore", "1", "--yes")[0] == 0
    assert left(store) == ALL


def test_an_imported_request_with_the_number_of_a_deleted_interaction_leaves_its_copy_alone(
    run: Run, store: str, tmp_path: Path
) -> None:
    run("delete", "e2e-1", "--yes")
    elsewhere, archive = tmp_path / "elsewhere" / "store.db", tmp_path / "bob.zip"
    filled(elsewhere, "imported")
    assert run("export", "--store", str(elsewhere), "--output", str(archive))[0] == 0
    assert run("import", str(archive), "--yes")[0] == 0
    with closing(sqlite3.connect(store)) as file:
        numbers = (
            "SELECT interaction_id FROM interactions JOIN requests ON arrival = request WHERE request_id = ?"
        )
        assert file.execute(numbers, ["imported"]).fetchone() == (1,), "the number that e2e-1 had"
    assert run("delete", "imported", "--erase", "--yes")[0] == 0
    assert run("restore", "1", "--yes")[0] == 0
    assert left(store) == ALL


def test_copies_move_with_their_store(run: Run, store: str, tmp_path: Path) -> None:
    run("delete", "e2e-1", "--yes")
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("store.db", "state.db", "state.end", "fingerprint.key"):
        Path(store).with_name(name).rename(moved / name)
    assert run("restore", "1", "--yes", "--store", str(moved / "store.db"))[0] == 0
    assert left(str(moved / "store.db")) == ALL


def test_a_store_without_an_id_goes_on_with_the_copies_of_its_place(run: Run, store: str) -> None:
    account = Owner(f"{store}\0embedded", caller="")
    state = open_state(Settings(store=store))
    state.keep(account, state.begin(account, deletion()), [copied("earlier")])
    state.database.close()
    with closing(sqlite3.connect(store)) as file:
        file.executescript("DROP TABLE identity; PRAGMA user_version = 1")
    assert "1 request" in run("restore")[1]
    with closing(sqlite3.connect(store)) as file:
        assert file.execute("SELECT length(id), had_none FROM identity").fetchone() == (32, 1)


def test_a_receipt_neither_replaces_a_file_nor_makes_a_folder(run: Run, tmp_path: Path) -> None:
    run("delete", "e2e-1", "--yes")
    (tmp_path / "there.html").write_text("mine")
    code, said = run("receipt", "1", "--output", str(tmp_path / "there"))
    assert (code, "exists, and no file is replaced" in said) == (2, True)
    assert not (tmp_path / "there.json").exists()
    code, said = run("receipt", "1", "--output", str(tmp_path / "missing" / "there"))
    assert (code, "its folder does not exist" in said) == (2, True)


def test_a_receipt_that_was_changed_in_the_state_is_named(run: Run, store: str, tmp_path: Path) -> None:
    for name in ("e2e-1", "e2e-2"):
        run("delete", name, "--yes")
    with closing(sqlite3.connect(Path(store).with_name("state.db"))) as state, state:
        state.execute("UPDATE deletions SET receipt = x'00' WHERE id = 1")
    code, said = run("receipt", "1", "--output", str(tmp_path / "one"))
    assert (code, "The record of deletion 1 was changed" in said) == (1, True)
    assert run("receipt", "2", "--output", str(tmp_path / "two"))[0] == 0


def test_a_deletion_whose_line_of_the_log_was_changed_is_named_by_the_list_and_by_its_page(
    run: Run, tmp_path: Path
) -> None:
    for name in ("e2e-1", "e2e-2"):
        run("delete", name, "--yes")
    with closing(sqlite3.connect(tmp_path / "state.db")) as state, state:
        state.execute("UPDATE log SET line = 'no line' WHERE id = 1")
    newer, older = run("restore")[1].splitlines()
    assert (newer.endswith("\tyes"), older.endswith("\tyes")) == (False, True)
    assert run("receipt", "1", "--output", str(tmp_path / "receipt"))[0] == 0
    assert "its record was changed in the state" in (tmp_path / "receipt.html").read_text(encoding="utf-8")


def test_copies_that_another_key_has_sealed_are_named_and_stop_nothing(run: Run, store: str) -> None:
    for one in ("e2e-1", "e2e-2"):
        run("delete", one, "--yes")
    with closing(sqlite3.connect(Path(store).with_name("state.db"))) as state, state:
        state.execute("UPDATE copies SET sealing_key = 'another', account = 'another' WHERE deletion = 1")
    sealed = "1 recovery copy is encrypted with a key that this server does not have"
    code, said = run("restore")
    assert (code, sealed in said, "e2e-2" in said) == (0, True, True)
    code, said = run("restore", "1", "--yes")
    assert (code, "encrypted with a key that this server does not have" in said) == (1, True)
    assert "put the key back" in said
    code, said = run("delete", "e2e-3", "--erase", "--yes")
    assert (code, said.count(sealed)) == (1, 2), "the plan and the receipt"
    assert run("restore", "2", "--yes")[0] == 0
    assert left(store) == ALL - {"e2e-1", "e2e-3"}


def test_a_changed_copy_that_is_put_back_is_not_restored_after_all_data_of_its_user_was_erased(
    run: Run, store: str
) -> None:
    run("delete", "e2e-1", "--yes")
    with closing(sqlite3.connect(Path(store).with_name("state.db"))) as state, state:
        [(names,)] = state.execute("SELECT names FROM copies")
        state.execute("UPDATE copies SET names = 'x'")
    code, said = run("delete", "--user-id", "ada", "--everything", "--erase", "--yes")
    assert (code, said.count("1 recovery copy was changed")) == (1, 2), "the plan and the receipt"
    with closing(sqlite3.connect(Path(store).with_name("state.db"))) as state, state:
        state.execute("UPDATE copies SET names = ?", (names,))
    assert run("restore", "1", "--yes")[0] == 1
    assert "e2e-1" not in left(store)


def test_a_command_that_finds_another_key_says_what_to_do_and_shows_no_traceback(
    run: Run, store: str
) -> None:
    run("delete", "e2e-1", "--yes")
    key = Path(store).with_name("fingerprint.key")
    before = key.read_bytes()
    key.write_bytes(before[::-1])
    for words in (
        ["restore"],
        ["restore", "1", "--yes"],
        ["receipt", "1", "--output", "x"],
        ["log", "--verify"],
    ):
        code, said = run(*words)
        assert code in (1, 2)
        assert "encrypted with a key that this server does not have" in said
        assert "put the key back" in said
        assert "Traceback" not in said
    assert run("delete", "e2e-2", "--yes")[0] == 1
    assert left(store) == ALL - {"e2e-1"}, "a plan does not promise a copy that could not be read"
    assert run("log")[0] == 0, "the lines can be read without the key"
    key.write_bytes(before)
    assert run("restore", "1", "--yes")[0] == 0
    assert left(store) == ALL


@pytest.mark.parametrize("time", [10**15, -(10**15)])
def test_a_time_that_no_calendar_has_fails_neither_a_list_nor_a_deletion(
    run: Run, store: str, time: int
) -> None:
    with closing(sqlite3.connect(store)) as file, file:
        for table in ("requests", "interactions"):
            file.execute(f"UPDATE {table} SET created_at = ? WHERE rowid = 1", [time])
    for words, shown in {
        "requests --all": "e2e-1",
        "sessions": "of-ada",
        "audit": "",
        "show e2e-1": "e2e-1",
    }.items():
        code, said = run(*words.split())
        assert (code, shown in said) == (0, True)
    assert run("delete", "e2e-1", "--yes")[0] == 0
    assert left(store) == ALL - {"e2e-1"}
