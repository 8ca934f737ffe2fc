"""The demo is the first thing people run: it shows the main job, and it must not claim what did not happen."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import StdioServerParameters

from reflexio_mcp import demo
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import RequestQuery
from reflexio_mcp.settings import Settings
from tests.support.stdio import environment

pytestmark = pytest.mark.anyio

FORGETFUL = """
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import DeleteReply

async def say_so(self, ids):
    return DeleteReply(success=True, message="Deleted successfully", deleted_count=len(ids))

ReflexioClient.delete_requests_by_ids = say_so
from reflexio_mcp.cli import main
main([])
"""
"""A server whose backend says that it deletes, and does not."""


def test_the_demo_does_the_main_job_and_says_so_with_exit_code_0(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", "demo"],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("Publish", "List", "Filter by time", "Filter by source", "Inspect", "Delete", "Prove"):
        assert step in done.stdout
    assert "All 8 steps did what they said." in done.stdout
    assert not list(tmp_path.iterdir()), "the demo leaves nothing in the user's folders"


async def test_the_demo_fails_where_a_deletion_is_only_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-c", FORGETFUL],
        env={"REFLEXIO_MCP_STORE": str(tmp_path / "store.db"), "REFLEXIO_MCP_CONFIRM": "preview"},
    )
    monkeypatch.setattr(demo, "_server", lambda *_: server)
    screen = io.StringIO()
    assert await demo.run_demo(Settings(), out=screen) == 1
    assert "FAILED: step 6" in screen.getvalue()


async def test_the_demo_fails_in_one_sentence_where_the_server_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = StdioServerParameters(command=sys.executable, args=["-c", "raise SystemExit(3)"])
    monkeypatch.setattr(demo, "_server", lambda *_: server)
    screen = io.StringIO()
    assert await demo.run_demo(Settings(), out=screen) == 1
    assert "FAILED: " in screen.getvalue()


async def test_a_live_demo_without_a_configured_reflexio_says_what_to_set() -> None:
    screen = io.StringIO()
    assert await demo.run_demo(Settings(), live=True, out=screen) == 2
    assert "REFLEXIO_URL" in screen.getvalue()


async def test_a_live_demo_against_nothing_says_that_it_could_not_be_reached() -> None:
    screen = io.StringIO()
    settings = Settings(url="http://127.0.0.1:9", timeout=20)
    assert await demo.run_demo(settings, live=True, out=screen) == 1
    assert "could not be reached" in screen.getvalue()


@pytest.mark.live
@pytest.mark.parametrize("user_id", ["", "demo-belongs-to"])
async def test_the_live_demo_does_the_main_job_on_a_real_server_and_leaves_nothing(
    user_id: str, reflexio_url: str
) -> None:
    screen = io.StringIO()
    settings = Settings(url=reflexio_url, user_id=user_id)
    assert await demo.run_demo(settings, live=True, out=screen) == 0, screen.getvalue()
    assert "All 9 steps did what they said." in screen.getvalue()
    session_ids = set(re.findall(r"session_id=(demo-\S+)", screen.getvalue()))
    assert len(session_ids) == 2
    async with ReflexioClient(reflexio_url) as client:
        for session_id in session_ids:
            assert (await client.get_requests(RequestQuery(session_id=session_id))).sessions == []
