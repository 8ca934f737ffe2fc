"""Large sets: bounded memory, progress, and a process that is killed in the middle."""

import gc
import json
import sqlite3
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
import uvicorn

from benchmarks.filling import fill
from reflexio_mcp.cli import main
from reflexio_mcp.toolkit import progress
from tests.deletion.support import BY_IDS, READ, World
from tests.support.stdio import REVISIONS, Revision, environment, open_session

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def filled(folder: Path, requests: int, content_chars: int = 0) -> AsyncIterator[World]:
    """A world whose store holds so many requests, each in a session of its own where they are long."""
    path = folder / "store.db"
    fill(path, requests)
    if content_chars:
        with sqlite3.connect(path) as connection:
            connection.execute(
                "UPDATE interactions SET content = replace(hex(zeroblob(?)), '00', 'w')", (content_chars,)
            )
            connection.execute("UPDATE requests SET session_id = request_id")
        connection.close()
    world = World(str(path), folder)
    world.clock.now = 2_000_000_000
    try:
        yield world
    finally:
        await world.close()


@asynccontextmanager
async def served(world: World) -> AsyncIterator[str]:
    """The backend behind a real port."""
    server = uvicorn.Server(uvicorn.Config(world.backend, port=0, log_level="error", lifespan="off"))
    over = anyio.Event()

    async def serve() -> None:
        await server.serve()
        over.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        with anyio.fail_after(60):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            # A test that failed cancels this group: the server would leave its sockets open, and that be what is told.
            with anyio.CancelScope(shield=True), anyio.move_on_after(10):
                await over.wait()


async def test_a_test_that_fails_leaves_no_socket_behind(tmp_path: Path) -> None:
    listening: list[str] = []

    async def fails() -> None:
        async with filled(tmp_path, 1) as world, served(world) as url, httpx.AsyncClient() as client:
            await client.post(f"{url}{READ}", json={})
            listening.append(url)
            raise TimeoutError

    with pytest.raises(ExceptionGroup) as failed:
        await fails()
    assert failed.group_contains(TimeoutError)
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(listening[0])


async def test_contents_are_not_held_in_memory_also_when_they_are_copied(tmp_path: Path) -> None:
    contents = 4_000 * 2 * 15_000
    async with filled(tmp_path, 4_000, content_chars=15_000) as world:
        options = {"CONFIRM": "off", "DELETE_CAP": "0", "RECOVERY_DAYS": "1"}
        async with world.connect(**options) as caller:
            await caller.call("get_status")
            tuned = gc.get_threshold()
            # httpx's transport to an ASGI app, of which only tests make use, keeps each body in a circle.
            gc.set_threshold(700, 10, 10)
            tracemalloc.start()
            try:
                facts = await caller.call("delete_requests", source="benchmark")
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
                gc.set_threshold(*tuned)
            assert facts["counts"] == {"deleted": 4_000}
            assert peak < contents / 2
        [copy] = (tmp_path / "copies").iterdir()
        assert copy.stat().st_size > contents


async def test_a_call_that_hangs_still_shows_that_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.toolkit.progress.SILENCE_SECONDS", 0.5)
    beats: list[tuple[float, str | None]] = []
    world = World(":memory:", tmp_path)
    await world.put("r1")

    enough = anyio.Event()

    async def noted(progress: float, total: float | None, message: str | None) -> None:
        beats.append((progress, message))
        if len(beats) == 2:
            enough.set()

    async def hangs() -> None:
        with anyio.fail_after(60):
            await enough.wait()

    world.backend.before[BY_IDS] = [hangs]
    async with world.connect(CONFIRM="off") as caller:
        result = await caller.client.call_tool(
            "delete_request", {"request_id": "r1"}, progress_callback=noted
        )
    assert not result.is_error
    numbers = [number for number, _ in beats]
    assert len(numbers) >= 2
    assert numbers == sorted(set(numbers))
    await world.close()


def impatient() -> int:
    """A server that is silent only for a moment."""
    progress.SILENCE_SECONDS = 0.2  # pyright: ignore[reportConstantRedefinition]
    return main()


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("asked", [True, False])
async def test_over_stdio_progress_goes_to_who_asks_for_it(
    asked: bool, revision: Revision, tmp_path: Path
) -> None:
    world = World(":memory:", tmp_path)
    await world.put("r1")

    async def takes_a_while() -> None:
        await anyio.sleep(3)

    world.backend.before[BY_IDS] = [takes_a_while]
    async with served(world) as url:
        env = environment(tmp_path, REFLEXIO_URL=url, REFLEXIO_MCP_CONFIRM="off")
        async with open_session(revision, env=env, runs=impatient) as session:
            meta = {"progressToken": "mine"} if asked else {}
            await session.call("delete_request", {"request_id": "r1"}, meta=meta)
        told = [one["params"] for one in session.notifications if one["method"] == "notifications/progress"]
    assert [one["progressToken"] for one in told] == ["mine"] * len(told)
    assert bool(told) is asked
    await world.close()


async def test_a_process_killed_in_the_middle_leaves_an_open_entry_and_a_repeat_finishes(
    tmp_path: Path,
) -> None:
    log = tmp_path / "audit.jsonl"
    async with filled(tmp_path, 5_000) as world, served(world) as url:
        env = environment(
            tmp_path,
            REFLEXIO_URL=url,
            REFLEXIO_MCP_CONFIRM="off",
            REFLEXIO_MCP_DELETE_CAP="0",
            REFLEXIO_MCP_AUDIT_LOG=str(log),
        )
        wanted = {"source": "benchmark"}
        async with open_session("2025-11-25", env=env) as session:

            async def nothing() -> None:
                return None

            async def killed() -> None:
                session.process.kill()
                await session.process.wait()

            world.backend.before[BY_IDS] = [nothing, killed]
            await session.send("tools/call", {"name": "delete_requests", "arguments": wanted})
            await session.exit_code()
        [begin] = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        assert begin["event"] == "begin"
        assert len(begin["request_ids"]) == 5_000
        # The batch that was on its way may have arrived, the others have not.
        left = await count(tmp_path)
        assert left in (1_000, 3_000)
        async with open_session("2025-11-25", env=env) as session:
            result = await session.call("delete_requests", wanted)
        assert result["structuredContent"]["counts"] == {"deleted": left}
        assert result["structuredContent"]["status"] == "complete"
        assert await count(tmp_path) == 0
        entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    open_ones = {one["correlation_id"] for one in entries if one["event"] == "begin"}
    open_ones -= {one["correlation_id"] for one in entries if one["event"] == "end"}
    assert open_ones == {begin["correlation_id"]}


async def count(folder: Path) -> int:
    connection = sqlite3.connect(folder / "store.db")
    try:
        return connection.execute("SELECT count(*) FROM requests").fetchone()[0]
    finally:
        connection.close()
