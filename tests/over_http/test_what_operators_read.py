"""What the person who runs a shared server reads: its first lines, who made a call, and Reflexio's rate limit."""

import logging
from pathlib import Path

import pytest
from mcp.client.client import Client

from reflexio_mcp.backend import open_state
from reflexio_mcp.cli import main
from reflexio_mcp.http.serving import start_lines
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import Settings, load
from tests.deletion.support import text_of
from tests.doctor.servers import api
from tests.state.conftest import OPERATOR, copied, deleted
from tests.support.serving import TOKEN, events, post, serving

TOKENS = ("ada:token-of-ada-0123456789", "bob:token-of-bob-0123456789")


def lines(settings: Settings, kept_in: Path | None = None) -> dict[str, str]:
    """The lines after the first, by what they are about."""
    first, *others = start_lines(settings, ("127.0.0.1", 8765), kept_in)
    assert first.startswith("serving http://127.0.0.1:8765/mcp")
    return dict(line.split(": ", 1) for line in others if ": " in line)


def test_the_first_lines_say_memory_state_policy_and_who_may_connect(tmp_path: Path) -> None:
    store, policy = str(tmp_path / "store.db"), str(tmp_path / "policy.toml")
    told = lines(Settings(store=store, policy=policy, auth_token=TOKENS))
    assert told == {
        "memory": f"the embedded store at {store}",
        "state": str(tmp_path / "state.db"),
        "policy": policy,
        "who may connect": "2 users with a token (ada, bob)",
    }
    shared = Settings(
        url="https://reflexio.example",
        state="postgresql://u:s3cret@db/memory",
        oauth_issuer="https://id.example",
    )
    told = lines(shared)
    assert told["state"] == "PostgreSQL, as REFLEXIO_MCP_STATE says"
    assert told["who may connect"] == "whoever signs in at https://id.example"
    assert "s3cret" not in str(told)
    assert "token-of" not in str(lines(Settings(store=store, auth_token=TOKENS)))


def test_the_first_lines_say_whom_a_token_reaches(tmp_path: Path) -> None:
    store = str(tmp_path / "store.db")
    for settings, who in (
        (Settings(store=store), "holders of a token that reaches every user"),
        (Settings(store=store, user_id="ada"), "holders of a token that reaches ada"),
        (Settings(store=store, auth_token=TOKENS[:1]), "1 user with a token (ada)"),
        (Settings(store=store, unsafe_no_auth=True), "everybody"),
    ):
        assert lines(settings)["who may connect"] == who
    assert lines(Settings(store=store))["policy"] == "none"


@pytest.mark.anyio
async def test_the_log_names_the_person_behind_a_call_and_nobody_for_an_operators_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(Settings(auth_token=(*TOKENS, TOKEN)), tokens=(*TOKENS, TOKEN)) as served:
        await post(served, "list_requests", token=TOKENS[0].partition(":")[2])
        await post(served, "list_requests")
    ada, operator = events(caplog, "call")
    assert ada["person"] == "ada"
    assert "person" not in operator
    assert ada["caller"] != operator["caller"]


def test_a_rate_limit_of_reflexio_is_said_with_its_wait(capsys: pytest.CaptureFixture[str]) -> None:
    with api(everywhere=(429, {"detail": "slow down"}), headers={"retry-after": "120"}) as url:
        assert main(["requests", "--url", url, "--timeout", "5"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("reflexio-mcp: Reflexio's rate limit is reached")
    assert "Try again in 120 seconds." in said


def test_the_state_counts_copies_and_what_the_cap_leaves(tmp_path: Path) -> None:
    state = open_state(Settings(store=str(tmp_path / "store.db"), delete_cap=10))
    assert (state.copies.count_kept(), state.least_room()) == (0, 10)
    deleted(state, OPERATOR, copied())
    assert (state.copies.count_kept(), state.least_room()) == (1, 9)
    state.database.close()


@pytest.mark.anyio
async def test_a_rate_limit_of_reflexio_is_said_to_a_model_with_its_wait(tmp_path: Path) -> None:
    with api(everywhere=(429, {"detail": "slow down"}), headers={"retry-after": "120"}) as url:
        variables = {
            "REFLEXIO_URL": url,
            "REFLEXIO_MCP_STORE": str(tmp_path / "store.db"),
            "REFLEXIO_MCP_TIMEOUT": "5",
        }
        async with Client(ReflexioServer(load(variables))) as client:
            for tool, arguments in (("list_requests", {}), ("delete_requests", {"request_ids": ["a"]})):
                refused = await client.call_tool(tool, arguments)
                assert refused.is_error
                said = text_of(refused)
                assert said.startswith("Reflexio's rate limit is reached")
                assert "Try again in 120 seconds." in said
