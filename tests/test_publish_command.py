"""`reflexio-mcp publish`: what is typed, piped in or in a file is stored as one request."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.cli import main

Run = Callable[..., tuple[int, str]]

TALK = [{"role": "User", "content": "I moved to Lisbon."}, {"role": "Assistant", "content": "Noted."}]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("REFLEXIO_MCP_STORE", str(tmp_path / "store.db"))

    def run(*words: str, piped: str = "") -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(piped))
        code = main(words)
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def stored(run: Run) -> list[dict[str, Any]]:
    """The interactions of the only request that is stored."""
    _, said = run("requests", "--json")
    (session,) = json.loads(said)["sessions"]
    (request,) = session["requests"]
    _, shown = run("show", request["request_id"], "--json")
    return json.loads(shown)["interactions"]


@pytest.mark.parametrize("way", ["typed", "file", "piped", "dash"])
def test_each_way_stores_the_same_request(run: Run, tmp_path: Path, way: str) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(TALK), encoding="utf-8")
    words = {
        "typed": ["--user", "I moved to Lisbon.", "--assistant", "Noted."],
        "file": [str(tmp_path / "talk.json")],
        "piped": [],
        "dash": ["-"],
    }[way]
    code, said = run("publish", *words, "--user-id", "ada", piped=json.dumps(TALK))
    assert code == 0, said
    assert "Stored: 2 interactions." in said
    assert [(one["role"], one["content"]) for one in stored(run)] == [
        ("User", "I moved to Lisbon."),
        ("Assistant", "Noted."),
    ]


def test_what_was_said_keeps_its_order(run: Run) -> None:
    run("publish", "--user-id", "ada", "--user", "a", "--assistant", "b", "--user", "c")
    assert [one["content"] for one in stored(run)] == ["a", "b", "c"]


def test_an_own_id_makes_a_repeat_safe(run: Run) -> None:
    words = (
        "publish",
        "--user-id",
        "ada",
        "--user",
        "Hello.",
        "--request-id",
        "r1",
        "--session-id",
        "s1",
        "--json",
    )
    first, second = (json.loads(run(*words)[1]) for _ in range(2))
    assert (first["status"], second["status"]) == ("stored", "already_stored")
    assert (second["request_id"], second["session_id"]) == ("r1", "s1")
    assert len(stored(run)) == 1


@pytest.mark.parametrize(
    ("words", "piped", "said"),
    [
        (["--user", "Hello."], "", "Whose request is it? Add --user-id."),
        (["--user-id", "ada"], "no JSON", "FILE is not JSON in UTF-8"),
        (["--user-id", "ada"], "[" * 100_000, "FILE is not JSON in UTF-8"),
        (
            ["--user-id", "ada"],
            '[{"contnt": "x"}]',
            "contnt is not a field here. Fields: role, content, ",
        ),
        (["--user-id", "ada"], '{"role": "User"}', "interactions must be a list."),
        (["--user-id", "ada", "--user", " "], "", "interactions[0] is empty"),
        (["--user-id", "ada", "there/is/no.json"], "", "FILE cannot be read: No such file or directory."),
        (
            ["--user-id", "ada", "talk.json", "--user", "x"],
            "",
            "Give either a FILE, or --user and --assistant.",
        ),
    ],
)
def test_what_cannot_be_stored_is_refused_in_a_sentence_and_stores_nothing(
    run: Run, words: list[str], piped: str, said: str
) -> None:
    code, told = run("publish", *words, piped=piped)
    assert (code, told.count("\n")) == (2, 1), told
    assert said in told
    assert "Nothing is stored in" in run("requests")[1]


def test_a_read_only_configuration_stores_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_READ_ONLY", "1")
    code, said = run("publish", "--user-id", "ada", "--user", "Hello.")
    assert (code, "does not allow publish_interaction" in said) == (2, True)


def test_a_secret_is_refused_as_the_setting_says(run: Run) -> None:
    key = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    words = ("publish", "--user-id", "ada", "--user", f"My token is {key}", "--publish-secrets", "refuse")
    code, said = run(*words)
    assert (code, key in said) == (2, False)
    assert "looks like a secret" in said
