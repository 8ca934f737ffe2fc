"""Over HTTP an export is fetched once, by the caller that asked for it, within minutes."""

import io
import zipfile
from typing import Any

import httpx
import pytest
from mcp import Client

from reflexio_mcp.settings import Settings
from reflexio_mcp.toolkit import context
from tests.support.serving import bearer, connected, interactions, serving, until

pytestmark = pytest.mark.anyio

ACCEPTED = ("ann:token-of-ann", "bob:token-of-bob", "token-of-the-operator")
WAYS: list[dict[str, Any]] = [{"mode": "auto"}, {"mode": "legacy"}, {"sse": True}]


async def link_of_ann(url: str, **way: Any) -> str:
    async with connected(url, bearer("token-of-ann"), **way) as ann:
        given = {"session_id": "s", "interactions": interactions("quince jam")}
        assert not (await ann.call_tool("publish_interaction", given)).is_error
        return await exported_by(ann)


async def exported_by(client: Client) -> str:
    """Export everything as a person who agrees, and return the link."""
    planned = (await client.call_tool("export_data", {"redact": False})).structured_content
    assert planned
    agreed = {"redact": False, "confirm": planned["confirm"]}
    done = (await client.call_tool("export_data", agreed)).structured_content
    assert done
    return done["link"]


@pytest.mark.parametrize("way", WAYS, ids=["streamable-2026", "streamable-2025", "sse"])
async def test_a_link_works_once_and_only_for_its_caller(way: dict[str, Any]) -> None:
    async with serving(Settings(auth_token=ACCEPTED), tokens=ACCEPTED) as served, httpx.AsyncClient() as web:
        link = await link_of_ann(served.url, **way)
        assert link.startswith(f"{served.url}/")
        assert (await web.get(link)).status_code == 401
        for token in ("token-of-bob", "token-of-the-operator"):
            assert (await web.get(link, headers=bearer(token))).status_code == 404
        got = await web.get(link, headers=bearer("token-of-ann"))
        assert (got.status_code, got.headers["cache-control"]) == (200, "no-store")
        with zipfile.ZipFile(io.BytesIO(got.content)) as archive:
            assert archive.read("requests.jsonl").count(b"quince jam") == 1
        assert (await web.get(link, headers=bearer("token-of-ann"))).status_code == 404


async def test_a_link_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "DOWNLOAD_SECONDS", 0.0)
    async with serving(Settings(auth_token=ACCEPTED), tokens=ACCEPTED) as served, httpx.AsyncClient() as web:
        link = await link_of_ann(served.url)
        app = served.app
        assert app
        await until(lambda: not app.server.runtime.downloads)
        assert (await web.get(link, headers=bearer("token-of-ann"))).status_code == 404


async def test_a_caller_who_fetches_nothing_keeps_few_files_open() -> None:
    async with serving(Settings(auth_token=ACCEPTED), tokens=ACCEPTED) as served, httpx.AsyncClient() as web:
        async with connected(served.url, bearer("token-of-bob")) as bob:
            theirs = await exported_by(bob)
        first = await link_of_ann(served.url)
        links = [await link_of_ann(served.url) for _ in range(context.MOST_DOWNLOADS)]
        assert (await web.get(first, headers=bearer("token-of-ann"))).status_code == 404
        for link in links:
            assert (await web.get(link, headers=bearer("token-of-ann"))).status_code == 200
        assert (await web.get(theirs, headers=bearer("token-of-bob"))).status_code == 200
