"""REFLEXIO_MCP_STATE: what it needs, what is refused, and what is never shown."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from reflexio_mcp.settings import ConfigurationError, load
from tests.state.conftest import KEY
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.serving import connected, free_port, serving_process, until
from tests.support.stdio import environment

URL = "postgresql://somebody:canary@db.example/memory?sslmode=verify-full"
KEYS = {"REFLEXIO_MCP_STATE_KEYS": KEY}
SET = {"REFLEXIO_MCP_STATE": URL, **KEYS}


def test_its_password_is_in_no_representation() -> None:
    settings = load(SET)
    assert settings.state == URL
    assert "canary" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "canary",
        "mysql://canary@x/y",
        "postgresql://a:can/ary@x/y z",
        "postgresql://a:can#ary@x/y",
        "postgresql://a:can/ary@x/y",
        "postgresql://a:1/canary@x/y",
        "postgresql://a:c?canary@x/y",
        "postgresql://a:can@ary@x/y",
        "postgresql://a:canary@x/y/z",
        "host=x password=canary",
    ],
)
def test_what_is_no_url_of_it_stops_the_start_and_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="REFLEXIO_MCP_STATE takes a postgresql:// URL") as refused:
        load({"REFLEXIO_MCP_STATE": url, **KEYS})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://a:canary@one:5432,[::1]:5433,two/y?target_session_attrs=read-write",
        "postgres://a:c%2Fan%40ary@/y?host=/run/postgresql",
        "postgresql:///y",
        "postgresql://a%40b@x",
    ],
)
def test_each_form_of_its_url_is_taken(url: str) -> None:
    assert load({"REFLEXIO_MCP_STATE": url, **KEYS}).state == url


def test_it_needs_the_keys_that_seal_the_copies() -> None:
    with pytest.raises(ConfigurationError, match="REFLEXIO_MCP_STATE needs REFLEXIO_MCP_STATE_KEYS"):
        load({"REFLEXIO_MCP_STATE": URL})


@pytest.mark.parametrize("name", ["REFLEXIO_MCP_AUDIT_LOG", "REFLEXIO_MCP_RECOVERY_DIR"])
def test_a_file_beside_it_would_stay_empty_and_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} names a file"):
        load(SET | {name: "/tmp/somewhere"})


def run(home: Path, *arguments: str, before: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; {before or 'pass'}; from reflexio_mcp import cli; sys.exit(cli.main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(home, **variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_without_the_extra_the_server_says_what_to_install(tmp_path: Path) -> None:
    done = run(tmp_path, before="sys.modules['psycopg'] = None", **SET)
    assert done.returncode == 2
    assert 'in a clone uv tool install ".[postgres]"' in done.stderr
    assert "from PyPI reflexio-mcp[postgres]" in done.stderr
    assert "Traceback" not in done.stderr
    assert "canary" not in done.stderr


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("?sslmode=canary", "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("?canary=1", "its special characters have to be percent-encoded, and its parameters those of libpq"),
        ("?canary", "its special characters have to be percent-encoded, and its parameters those of libpq"),
    ],
)
def test_a_url_that_the_driver_cannot_read_stops_the_start(tmp_path: Path, tail: str, said: str) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    for words in (("serve",), ("serve", "--transport", "http", "--port", str(free_port()))):
        done = run(tmp_path, *words, REFLEXIO_MCP_STATE=f"postgresql://a:canary@x/y{tail}", **KEYS)
        assert done.returncode == 2
        assert f"REFLEXIO_MCP_STATE: the URL of the state database cannot be read: {said}." in done.stderr
        assert "canary" not in done.stderr
        assert "Traceback" not in done.stderr


def test_a_parameter_that_only_a_connection_judges_is_said_to_be_one(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    url = f"postgresql://a@127.0.0.1:{free_port()}/x?target_session_attrs=canary"
    found, said = doctor(tmp_path, REFLEXIO_MCP_STATE=url, **KEYS)
    assert "the state database: a parameter of its URL has a value that it cannot have" in found["what"]
    assert "canary" not in said


def doctor(home: Path, **variables: str) -> tuple[dict[str, str], str]:
    """What it finds of the state, if anything, and all that it says."""
    done = run(home, "doctor", "--json", REFLEXIO_MCP_STORE=":memory:", **variables)
    found = {one["check"]: one for one in json.loads(done.stdout)["findings"]}
    return found.get("state", {}), done.stdout + done.stderr


def test_doctor_says_whether_it_works(postgres: PostgresServer, postgres_url: str, tmp_path: Path) -> None:
    found, said = doctor(tmp_path, REFLEXIO_MCP_STATE=postgres_url, **KEYS)
    assert (found["status"], found["what"]) == ("ok", "the state database answers")
    assert (
        postgres.sql(
            "SELECT count(*) FROM pg_namespace WHERE nspname = 'reflexio_mcp'", postgres_url.rsplit("/", 1)[1]
        )
        == "0"
    )
    assert PASSWORD not in said
    wrong = postgres.url("postgres", password="canary")
    found, said = doctor(tmp_path, REFLEXIO_MCP_STATE=wrong, **KEYS)
    assert (found["status"], found["name"]) == ("failure", "state-not-usable")
    assert "the state database: it refuses this server's role or password" in found["what"]
    assert "canary" not in said


def test_doctor_says_that_nothing_listens(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found, _ = doctor(tmp_path, REFLEXIO_MCP_STATE=f"postgresql://a@127.0.0.1:{free_port()}/x", **KEYS)
    assert "the state database: it does not answer" in found["what"]


@pytest.mark.anyio
async def test_a_server_whose_database_does_not_answer_says_so_and_serves_on(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    url = f"postgresql://somebody:canary@127.0.0.1:{free_port()}/memory"
    found, _ = doctor(tmp_path, REFLEXIO_MCP_STATE=url, **KEYS)
    assert found["what"].startswith("Nothing can be deleted now: the state database: it does not answer.")
    assert "REFLEXIO_MCP_STATE" in found["what"]
    async with serving_process(tmp_path, REFLEXIO_MCP_STATE=url, REFLEXIO_MCP_STATE_KEYS=KEY) as served:
        await until(lambda: found["what"] in served.stderr(), 60)
        assert "canary" not in served.stderr()


@pytest.mark.anyio
@pytest.mark.parametrize("made", [False, True], ids=["schema", "schema and tables"])
async def test_a_server_whose_role_may_not_use_the_schema_says_what_to_grant_and_deletes_nothing(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path, made: bool
) -> None:
    from reflexio_mcp.state.postgresql.database import make_tables

    name = postgres_url.rsplit("/", 1)[1]
    if made:
        make_tables(postgres_url)
    else:
        postgres.sql("CREATE SCHEMA reflexio_mcp", name)
    postgres.sql("CREATE ROLE lesser LOGIN PASSWORD 'x'")
    try:
        url = postgres.url(name, "lesser", "x")
        found, _ = doctor(tmp_path, REFLEXIO_MCP_STATE=url, **KEYS)
        assert (found["status"], found["name"]) == ("failure", "state-not-usable")
        assert found["what"].startswith(
            "Nothing can be deleted now: the state database: its role lacks a right that this server needs. To mend "
            "that, let its role own the schema reflexio_mcp"
        )
        async with serving_process(tmp_path, REFLEXIO_MCP_STATE=url, REFLEXIO_MCP_STATE_KEYS=KEY) as served:
            await until(lambda: found["what"] in served.stderr(), 60)
            async with connected(served.url, served.headers) as client:
                status = await client.call_tool("get_status", {})
                assert found["what"] in (status.structured_content or {})["deletions_problem"]
                stored = {"user_id": "ann", "interactions": [{"role": "User", "content": "hello"}]}
                for number in range(4):
                    await client.call_tool("publish_interaction", stored | {"request_id": f"r{number}"})
                    deleted = await client.call_tool("delete_request", {"request_id": f"r{number}"})
                    assert deleted.is_error
                    assert "lacks a right" in str(deleted.content)
        assert postgres.sql("SELECT count(*) FROM pg_class WHERE relpersistence = 't'", name) == "0"
    finally:
        postgres.sql("DROP ROLE lesser")
