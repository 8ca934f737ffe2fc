"""What the settings say of the state, what is refused, and what is never shown."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from reflexio_mcp.backend import open_state
from reflexio_mcp.settings import ConfigurationError, load
from reflexio_mcp.state.tables import StateUnusable
from tests.state.conftest import KEY, OPERATOR, copied, deleted
from tests.support.stdio import environment

URL = "postgresql://somebody:canary@db.example/memory?sslmode=verify-full"
SET = {"REFLEXIO_MCP_STATE": URL, "REFLEXIO_MCP_STATE_KEYS": KEY.decode()}


def test_recovery_copies_are_kept_for_seven_days_unless_the_operator_says_otherwise() -> None:
    assert load({}).recovery_days == 7
    assert load({"REFLEXIO_MCP_RECOVERY_DAYS": "0"}).recovery_days == 0


def test_processes_of_one_user_share_a_file_beside_the_store_and_its_key(tmp_path: Path) -> None:
    settings = load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})
    deleted(open_state(settings), OPERATOR, copied())
    assert {path.name for path in tmp_path.iterdir()} == {"state.db", "fingerprint.key"}
    assert [one.id for one in open_state(settings).copies.read(OPERATOR)] == ["r1"]
    (tmp_path / "fingerprint.key").unlink()
    with pytest.raises(StateUnusable, match="sealed with a key that this server does not have"):
        open_state(settings).copies.listed(OPERATOR)


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
