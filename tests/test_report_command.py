"""`reflexio-mcp report`: what happened since a time, as a page for a person and as JSON for a program."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp import backend, report_command
from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import main
from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.settings import Settings
from tests.audit.stored import GITHUB_TOKEN
from tests.deletion.support import URL, World
from tests.support.serving import post, serving

Run = Callable[..., str]


class Clock:
    """The clock of the report command, which goes on by a second for each report: seconds have one report at most."""

    def __init__(self) -> None:
        self.ahead = 1

    def time(self) -> float:
        self.ahead += 1
        return time.time() + self.ahead


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = str(tmp_path / "store.db")
    monkeypatch.setenv("REFLEXIO_MCP_STORE", path)
    monkeypatch.setattr(report_command, "time", Clock())
    publish(path, "staging-1", "staging", "An old test.")
    publish(path, "chat-1", "chat", f"My token is {GITHUB_TOKEN}")
    publish(path, "chat-2", "chat", "I like tea.")
    return path


def publish(store: str, request_id: str, source: str, said: str) -> None:
    async def put() -> None:
        async with open_client(Settings(store=store)) as client:
            body = PublishBody(
                user_id="ada", session_id=request_id, request_id=request_id, source=source,
                interaction_data_list=[Interaction(content=said)],
            )  # fmt: skip
            await client.publish(body, minted=False)

    anyio.run(put)


@pytest.fixture
def run(store: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command and returns what it printed; on stderr if it fails."""

    def run(*words: str, code: int = 0) -> str:
        assert main(words) == code, capsys.readouterr().err
        said = capsys.readouterr()
        return said.err if code else said.out

    return run


def reported(run: Run, folder: Path, name: str, *words: str) -> Any:
    path = folder / f"{name}.json"
    assert run("report", "--output", str(path), *words) == f"{path}\n"
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_report_has_findings_expiry_and_deletions_with_who_and_why_and_nothing_secret(
    run: Run, store: str, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[expire]]\nsource = "staging"\nafter = "1h"\n', encoding="utf-8")
    with closing(sqlite3.connect(store)) as database, database:
        database.execute("UPDATE requests SET created_at = created_at - 7200 WHERE request_id = 'staging-1'")
    run("delete", "--finding", "expired", "--policy", str(policy), "--yes")
    run("delete", "chat-2", "--yes", "--reason", f"Ada asked, with {GITHUB_TOKEN}")
    page = tmp_path / "report.html"
    run("report", "--since", "1d", "--output", str(page))
    told = reported(run, tmp_path, "report", "--since", "1d")

    assert [(row["finding"], row["count"]) for row in told["findings"]] == [("probable-secret", 1)]
    assert [row["by"]["finding"] for row in told["expired"]] == ["expired"]
    [deletion] = told["deletions"]
    assert deletion["by"]["client"].startswith("reflexio-mcp delete")
    assert deletion["by"]["reason"].startswith("Ada asked")
    assert {"names of people", "learning-failed"} <= {
        name for row in told["not_looked_for"] for name in row["findings"]
    }

    shown = page.read_text(encoding="utf-8")
    expired, others = shown.split("What expired and was deleted")[1].split("Other deletions")
    assert "found as expired" in expired
    assert "reason: “Ada asked" in others
    assert "high: probable-secret, 1 request" in shown
    assert "Not looked for: " in shown.split("What could not be looked at")[1]
    for text in (shown, json.dumps(told)):
        assert GITHUB_TOKEN not in text
        assert "My token is" not in text
        assert "I like tea" not in text
    assert page.stat().st_mode & 0o077 == 0


def test_a_deletion_through_a_shared_server_is_reported_with_the_person_of_its_token(
    run: Run, store: str, tmp_path: Path
) -> None:
    tokens = ("ada:token-of-ada-0123456789", "bob:token-of-bob-0123456789")

    async def delete() -> None:
        settings = Settings(store=store, auth_token=tokens, confirm="off")
        async with serving(settings, tokens=tokens) as served:
            await post(served, "delete_request", {"request_id": "chat-2"}, token="token-of-ada-0123456789")

    anyio.run(delete)
    page = tmp_path / "report.html"
    run("report", "--since", "1d", "--output", str(page))
    [deletion] = reported(run, tmp_path, "report", "--since", "1d")["deletions"]
    assert deletion["by"]["person"] == "ada"
    assert f"by “ada”, “{deletion['by']['caller']}”" in page.read_text(encoding="utf-8")


def test_the_next_report_begins_where_the_last_one_ended(run: Run, store: str, tmp_path: Path) -> None:
    first = reported(run, tmp_path, "first", "--since", "last")
    assert first["requests"] == 3
    reported(run, tmp_path, "between", "--since", "1h")
    second = reported(run, tmp_path, "second")
    assert second["since"] == first["until"]
    assert (second.get("requests", 0), second.get("findings")) == (0, None)


def test_a_report_neither_replaces_a_file_nor_begins_in_the_future_nor_takes_another_ending(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine", encoding="utf-8")
    assert "no file is replaced" in run("report", "--output", str(path), code=2)
    assert path.read_text(encoding="utf-8") == "mine"
    assert "ends with .html or .json" in run("report", "--output", str(tmp_path / "report.pdf"), code=2)
    new = str(tmp_path / "new.json")
    assert "lies in the future" in run("report", "--since", "2999-01-01", "--output", new, code=2)
    assert not Path(new).exists()


def test_without_a_usable_state_there_is_no_report_that_looks_whole(
    run: Run, store: str, tmp_path: Path
) -> None:
    Path(store).with_name("state.db").write_bytes(b"not a database" * 100)
    said = run("report", "--since", "1d", "--output", str(tmp_path / "report.json"), code=1)
    assert "state" in said
    assert not (tmp_path / "report.json").exists()


def test_a_report_tells_what_changed_in_what_is_believed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(":memory:", tmp_path)

    async def learn() -> None:
        await world.put("a", text="I live in Lisbon")
        token = f"Lives in Lisbon, with {GITHUB_TOKEN}"
        await world.learn(
            "lisbon", "a", content=token, quote="I live in Lisbon", changed=100_000, created=100_000
        )

    anyio.run(learn)
    monkeypatch.setenv("REFLEXIO_URL", URL)
    monkeypatch.setattr(backend, "open_client", lambda settings: world.client())
    page = tmp_path / "report.html"
    run("report", "--since", "1970-01-02", "--output", str(page))
    [change] = reported(run, tmp_path, "report", "--since", "1970-01-02")["changes"]
    anyio.run(world.close)
    assert (change["change"], change["learning_id"], change["user_id"]) == ("new", "profile:lisbon", "ada")
    shown = page.read_text(encoding="utf-8").split("What changed in what is believed")[1]
    assert "Lives in Lisbon" in shown
    assert GITHUB_TOKEN not in shown + change["content"]
    assert "Some changes leave no trace" in shown.split("What could not be looked at")[1]
