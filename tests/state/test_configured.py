"""What the settings say of the state, what is refused, and what is never shown."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reflexio_mcp.backend import local_key, open_state, process_key
from reflexio_mcp.cli import main
from reflexio_mcp.settings import ConfigurationError, load
from reflexio_mcp.state.tables import StateUnusable, holds_sealed
from tests.state.conftest import KEY, OPERATOR, copied, deleted, deletion
from tests.support.stdio import environment

URL = "postgresql://somebody:canary@db.example/memory?sslmode=verify-full"
SET = {"REFLEXIO_MCP_STATE": URL, "REFLEXIO_MCP_STATE_KEYS": KEY.decode()}


def test_recovery_copies_are_kept_for_seven_days_unless_the_operator_says_otherwise() -> None:
    assert load({}).recovery_days == 7
    assert load({"REFLEXIO_MCP_RECOVERY_DAYS": "0"}).recovery_days == 0


def test_processes_of_one_user_share_a_file_beside_the_store_and_its_key(tmp_path: Path) -> None:
    settings = load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})
    deleted(open_state(settings), OPERATOR, copied())
    assert {path.name for path in tmp_path.iterdir()} == {"state.db", "state.end", "fingerprint.key"}
    assert [one.id for one in open_state(settings).copies.read(OPERATOR)] == ["r1"]


def gone(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:31])


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def anothers(path: Path) -> None:
    os.chown(path, 1234, 1234)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def identity(path: Path) -> tuple[int, ...]:
    """Tells a file from any other that could take its place; empty without a file."""
    if not os.path.lexists(path):
        return ()
    found = path.lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_uid, found.st_mode


DAMAGES: dict[Callable[[Path], None], tuple[str, str]] = {
    gone: ("is not next to state.db", "put it back from a backup"),
    cut_off: ("has 31 bytes instead of 32", "put the whole key back"),
    linked: ("is a link", "put the file itself in its place"),
    a_folder: ("is not a file", "put the file back"),
    anothers: (
        "belongs to another user",
        "run this as that user, or make the user of this server its only owner",
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such owners and permissions")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_key_file_that_cannot_be_used_is_an_error_and_is_never_replaced(
    tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    if damage is anothers and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    settings = load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})
    deleted(open_state(settings), OPERATOR, copied())
    path = tmp_path / "fingerprint.key"
    key = path.read_bytes()
    damage(path)
    before = identity(path)
    state, (problem, advice) = open_state(settings), DAMAGES[damage]
    for use in (
        lambda: state.copies.listed(OPERATOR),
        lambda: state.begin(OPERATOR, deletion()),
        state.log.verify,
        lambda: local_key(settings),
    ):
        with pytest.raises(StateUnusable, match=problem) as refused:
            use()
        assert advice in refused.value.advice
    assert process_key(settings) != key
    assert main(["serve", "--store", str(tmp_path / "store.db")]) == 2
    assert problem in capsys.readouterr().err
    assert identity(path) == before
    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    path.write_bytes(key)
    assert list(state.copies.listed(OPERATOR)) == [1], "the key that is put back is used at once"


@pytest.mark.parametrize("key", [None, b"another key of the same length !"])
def test_a_key_that_only_the_log_knows_is_not_replaced(tmp_path: Path, key: bytes | None) -> None:
    settings = load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})
    open_state(settings).note_export(OPERATOR, "everything", {"requests": 1})
    path = tmp_path / "fingerprint.key"
    path.unlink() if key is None else path.write_bytes(key)
    with pytest.raises(StateUnusable):
        open_state(settings).begin(OPERATOR, deletion())
    assert (path.read_bytes() if path.exists() else None) == key


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_end_after_the_key_is_not_part_of_it(tmp_path: Path, end: bytes) -> None:
    settings = load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})
    deleted(open_state(settings), OPERATOR, copied())
    with (tmp_path / "fingerprint.key").open("ab") as file:
        file.write(end)
    assert list(open_state(settings).copies.listed(OPERATOR)) == [1]


def test_beside_an_unreadable_state_no_key_is_made(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(StateUnusable):
        local_key(load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")}))
    assert not (tmp_path / "fingerprint.key").exists()


def test_a_state_that_a_killed_process_left_half_written_before_it_had_a_key_gets_one(tmp_path: Path) -> None:
    settings = load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})
    open_state(settings).prune()
    state = tmp_path / "state.db"
    with closing(sqlite3.connect(state, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN IMMEDIATE")
        for number in range(100):  # more than SQLite keeps in memory
            writer.execute("INSERT INTO log (line, chain) VALUES (?, ?)", ("words " * 1000, str(number)))
        left = {path.name: path.read_bytes() for path in (state, tmp_path / "state.db-journal")}
    for name, content in left.items():
        (tmp_path / name).write_bytes(content)
    assert local_key(settings) == (tmp_path / "fingerprint.key").read_bytes()


def test_a_key_that_another_process_makes_with_its_state_meanwhile_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no key file when this process looked, and a sealed state when it looked again."""
    settings = load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})

    def looks_late(path: Path) -> bool:
        monkeypatch.undo()
        deleted(open_state(settings), OPERATOR, copied())
        return holds_sealed(path)

    monkeypatch.setattr("reflexio_mcp.backend.holds_sealed", looks_late)
    assert local_key(settings) == (tmp_path / "fingerprint.key").read_bytes()


def test_a_key_that_others_could_read_is_made_private_and_opens_the_copies(tmp_path: Path) -> None:
    settings = load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})
    deleted(open_state(settings), OPERATOR, copied())
    (tmp_path / "fingerprint.key").chmod(0o644)
    assert [one.id for one in open_state(settings).copies.read(OPERATOR)] == ["r1"]
    assert (tmp_path / "fingerprint.key").stat().st_mode & 0o777 == 0o600


def test_a_store_that_is_reached_by_a_link_has_one_state(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link.db").symlink_to(tmp_path / "store.db")
    deleted(open_state(load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})), OPERATOR, copied())
    linked = load({"REFLEXIO_MCP_STORE": str(tmp_path / "other" / "link.db")})
    assert list(open_state(linked).copies.listed(OPERATOR)) == [1]


def test_a_store_in_memory_has_a_state_in_memory(tmp_path: Path) -> None:
    state = open_state(load({"REFLEXIO_MCP_STORE": ":memory:"}))
    with closing(state.database):
        deleted(state, OPERATOR, copied())
        assert state.copies.listed(OPERATOR)


def test_the_password_of_the_database_is_in_no_representation() -> None:
    settings = load(SET)
    assert settings.state == URL
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    "url", ["canary", "mysql://canary@x/y", "postgresql://a:can#ary@x/y", "postgresql://a:can/ary@x/y z"]
)
def test_what_is_no_url_of_it_stops_the_start_and_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(SET | {"REFLEXIO_MCP_STATE": url})
    assert "REFLEXIO_MCP_STATE" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_it_needs_the_keys_that_seal_the_copies() -> None:
    with pytest.raises(ConfigurationError, match="REFLEXIO_MCP_STATE needs REFLEXIO_MCP_STATE_KEYS"):
        load({"REFLEXIO_MCP_STATE": URL})


@pytest.mark.ci
@pytest.mark.parametrize(
    ("before", "url", "said"),
    [
        ("sys.modules['psycopg'] = None", URL, 'uv tool install ".[postgres]"'),
        ("pass", "postgresql://a:canary@x/y?canary=1", "special characters in it have to be percent-encoded"),
    ],
)
def test_a_server_that_cannot_use_it_at_all_does_not_start(
    tmp_path: Path, before: str, url: str, said: str
) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {before}; from reflexio_mcp import cli; sys.exit(cli.main())"],
        env=environment(tmp_path, **SET | {"REFLEXIO_MCP_STATE": url}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert not any(word in done.stderr for word in ("canary", "Traceback"))
