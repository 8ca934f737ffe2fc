"""Somebody moves, replaces or removes the store file while it is in use: nothing acknowledged is lost or made up."""

import sqlite3
import stat
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from reflexio_mcp.embedded_store import queries
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import OperationFailed, explain
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from tests.store import processes

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be moved there"),
]

COPY = "import shutil, sys; shutil.copyfile(*sys.argv[1:])"


def remove(path: Path) -> None:
    path.unlink()


def make_readable(path: Path) -> None:
    path.chmod(0o644)


def put(source: Path, target: Path) -> None:
    """Give a file another name, in the place of whatever has that name."""
    source.replace(target)


class Store:
    """A store in this process, called the way the server calls it."""

    def __init__(self, path: Path) -> None:
        self._app = EmbeddedStore(str(path))
        self.client = ReflexioClient("http://store", transport=httpx.ASGITransport(app=self._app))

    async def publish(self, request_id: str) -> None:
        body = PublishBody(
            user_id="u",
            session_id="s",
            request_id=request_id,
            interaction_data_list=[Interaction(content=f"content of {request_id}")],
        )
        await self.client.publish(body, minted=True)

    async def ids(self) -> list[str]:
        page = await self.client.get_requests(RequestQuery())
        return [item.request.request_id for group in page.sessions for item in group.requests]

    async def refuses(self, call: Any, effect: str = "none") -> str:
        """The sentence that a call which changes nothing fails with."""
        with pytest.raises(OperationFailed) as raised:
            await call
        assert raised.value.effect == effect
        return f"{explain(raised.value)} {raised.value.said}"

    async def close(self) -> None:
        await self._app.aclose()


def ids_in(path: Path) -> set[str]:
    """What another program finds in the file, which must be sound."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {request_id for (request_id,) in connection.execute("SELECT request_id FROM requests")}
    finally:
        connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


async def test_a_moved_file_takes_along_what_was_acknowledged_and_gets_nothing_more(
    path: Path, tmp_path: Path
) -> None:
    store = Store(path)
    await store.publish("before")
    away = tmp_path / "away.db"  # alone: its log stays behind
    put(path, away)
    said = await store.refuses(store.publish("refused"))
    assert "moved, replaced or removed" in said
    assert "Nothing was changed" in said
    assert "Stop the server before you move its file" in said
    await store.publish("after")
    assert await store.ids() == ["after"]
    await store.close()
    assert ids_in(path) == {"after"}
    assert ids_in(away) == {"before"}


async def test_a_removed_file_is_not_written_to(path: Path) -> None:
    store = Store(path)
    await store.publish("before")
    remove(path)
    await store.refuses(store.publish("refused"))
    await store.publish("after")
    assert ids_in(path) == {"after"}
    await store.close()
    assert ids_in(path) == {"after"}


async def test_a_deletion_is_not_done_in_a_file_that_is_not_there_any_more(
    path: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.db"
    earlier = Store(backup)
    for request_id in ("kept", "wanted"):
        await earlier.publish(request_id)
    await earlier.close()
    store = Store(path)
    await store.publish("wanted")
    put(backup, path)
    assert "moved, replaced or removed" in await store.refuses(
        store.client.delete_request("wanted"), "unknown"
    )
    assert ids_in(path) == {"kept", "wanted"}
    await store.client.delete_request("wanted")
    assert await store.ids() == ["kept"]
    await store.close()
    assert ids_in(path) == {"kept"}


async def test_reading_says_that_the_file_is_another_one_before_it_reads_that(
    path: Path, tmp_path: Path
) -> None:
    store = Store(path)
    await store.publish("before")
    assert await store.ids() == ["before"]
    put(path, tmp_path / "away.db")
    assert "moved, replaced or removed" in await store.refuses(store.ids())
    assert await store.ids() == []
    await store.close()


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_log_that_is_taken_away_loses_nothing(path: Path, ending: str, how: str) -> None:
    store = Store(path)
    await store.publish("before")
    log = path.with_name(path.name + ending)
    log.unlink()
    if how == "replaced":
        log.touch()
    await store.refuses(store.publish("refused"))
    await store.publish("after")
    await store.close()
    assert ids_in(path) == {"before", "after"}


async def test_a_file_that_goes_during_a_write_leaves_the_outcome_unknown(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, away = Store(path), tmp_path / "away.db"
    await store.publish("before")
    really = queries.store

    def moved_meanwhile(*arguments: Any) -> bool:
        path.rename(away)
        return really(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(queries, "store", moved_meanwhile)
        with pytest.raises(OperationFailed) as raised:
            await store.publish("meanwhile")
    assert raised.value.effect == "unknown"
    assert "the old file" in raised.value.said
    assert await store.ids() == []
    await store.close()
    assert ids_in(away) == {"before", "meanwhile"}


async def test_a_link_that_is_pointed_elsewhere_is_another_file(tmp_path: Path) -> None:
    link = tmp_path / "store.db"
    link.symlink_to(tmp_path / "first.db")
    store = Store(link)
    await store.publish("first")
    link.unlink()
    link.symlink_to(tmp_path / "second.db")
    await store.refuses(store.publish("refused"))
    await store.publish("second")
    await store.close()
    assert ids_in(tmp_path / "first.db") == {"first"}
    assert ids_in(tmp_path / "second.db") == {"second"}


async def test_two_servers_whose_file_is_moved_keep_every_acknowledged_publish(
    path: Path, tmp_path: Path
) -> None:
    """The second server opens a new file while the first still has the old one open."""
    first, away = Store(path), tmp_path / "away.db"
    for number in range(5):
        await first.publish(f"old-{number}")
    put(path, away)
    second = processes.start("publish", str(path), "new", "20")
    assert processes.line(second) == "ready"
    assert second.stdin is not None
    second.stdin.write("\n")
    second.stdin.flush()
    answered = {await anyio.to_thread.run_sync(processes.line, second)}
    await first.refuses(first.publish("refused"))
    await first.publish("new-first")
    answered |= {*await anyio.to_thread.run_sync(processes.finish, second), "new-first"}
    assert second.returncode == 0
    await first.close()
    assert ids_in(away) == {f"old-{number}" for number in range(5)}
    assert ids_in(path) == answered
    assert len(answered) == 21


async def test_soon_after_a_write_the_file_alone_holds_everything(path: Path, tmp_path: Path) -> None:
    store, copy = Store(path), tmp_path / "copy.db"
    await store.publish("one")
    log = path.with_name(path.name + "-wal")
    with anyio.fail_after(60):
        while log.stat().st_size:  # noqa: ASYNC110 - files tell nobody when they change
            await anyio.sleep(0.05)
    # Another process copies it: closing the file in this one would drop SQLite's locks.
    await anyio.run_process([sys.executable, "-c", COPY, str(path), str(copy)])
    assert ids_in(copy) == {"one"}
    await store.close()


async def test_a_dangling_link_makes_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    link, target = tmp_path / "store.db", tmp_path / "data" / "real.db"
    link.symlink_to(target)
    store = Store(link)
    await store.publish("one")
    assert {stat.S_IMODE(one.stat().st_mode) for one in target.parent.iterdir()} == {0o600}
    await store.close()


async def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    store = Store(path)
    await store.publish("one")
    await store.close()
    make_readable(path)
    store = Store(path)
    await store.publish("two")
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
    await store.close()
