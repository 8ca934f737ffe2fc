"""The demo is the first thing people run: it shows the main job, and it must not claim what did not happen."""

import re

import anyio
import pytest

from reflexio_mcp.cli import main
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import DeleteReply, RequestQuery


def test_the_demo_does_the_main_job_and_says_so_with_exit_code_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    said = capsys.readouterr().out
    for step in ("Publish", "List", "Filter by time", "Filter by source", "Inspect", "Delete", "Prove"):
        assert f". {step}" in said
    assert "All 8 steps did what they said." in said


def test_the_demo_fails_where_a_deletion_is_only_claimed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def claim(self: ReflexioClient, ids: list[str]) -> DeleteReply:
        return DeleteReply(success=True, deleted_count=len(ids))

    monkeypatch.setattr(ReflexioClient, "delete_requests_by_ids", claim)
    assert main(["demo"]) == 1
    assert "FAILED: step 6" in capsys.readouterr().out


def test_a_live_demo_needs_a_reflexio_that_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--live"]) == 2
    assert "REFLEXIO_URL" in capsys.readouterr().err
    assert main(["demo", "--live", "--url", "http://127.0.0.1:9", "--timeout", "10"]) == 1
    assert "could not be reached" in capsys.readouterr().out


def test_a_live_demo_changes_nothing_where_only_reading_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_READ_ONLY", "1")
    assert main(["demo", "--live", "--url", "http://127.0.0.1:9"]) == 2
    assert "REFLEXIO_MCP_READ_ONLY allows no demo" in capsys.readouterr().err


@pytest.mark.live
@pytest.mark.parametrize("user", [[], ["--user-id", "demo-belongs-to"]])
def test_the_live_demo_does_the_main_job_on_a_real_server_and_leaves_nothing(
    user: list[str], reflexio_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--live", "--url", reflexio_url, *user]) == 0
    said = capsys.readouterr().out
    assert "All 9 steps did what they said." in said
    session_ids = set(re.findall(r"session_id=(demo-\S+)", said))

    async def stored() -> list[object]:
        async with ReflexioClient(reflexio_url) as client:
            pages = [await client.get_requests(RequestQuery(session_id=one)) for one in session_ids]
        return [session for page in pages for session in page.sessions]

    assert len(session_ids) == 2
    assert anyio.run(stored) == []
