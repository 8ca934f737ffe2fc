"""A deletion that a call waits for goes on to its receipt, whoever goes away and whatever ends the process."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.deletion.support import BY_IDS, World
from tests.support.serving import AUTHORIZED, modern_call, serving_process, until
from tests.support.stdio import REVISIONS, SERVER, Revision, StdioSession, environment, open_session
from tests.support.store_app import served

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.ci,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for another process"),
]

CALL: dict[str, Any] = {"name": "delete_session", "arguments": {"session_id": "s"}}


@dataclass
class Held:
    """A backend that does not answer a deletion before it may."""

    url: str
    world: World
    deleting: anyio.Event = field(default_factory=anyio.Event)
    release: anyio.Event = field(default_factory=anyio.Event)

    async def hold(self) -> None:
        self.deleting.set()
        with anyio.fail_after(60):
            await self.release.wait()

    def env(self, folder: Path) -> dict[str, str]:
        return environment(folder, REFLEXIO_URL=self.url, REFLEXIO_MCP_CONFIRM="off")


@asynccontextmanager
async def held(folder: Path) -> AsyncIterator[Held]:
    world = World(":memory:", folder)
    for number in range(3):
        await world.put(f"r{number}")
    async with served(world.backend) as url:
        backend = Held(url, world)
        world.backend.before[BY_IDS] = [backend.hold]
        yield backend
    await world.close()


async def begin(session: StdioSession, backend: Held) -> int:
    number = await session.send("tools/call", CALL)
    with anyio.fail_after(60):
        await backend.deleting.wait()
    return number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_signal_waits_for_the_deletion_and_its_answer(
    tmp_path: Path, revision: Revision, number: signal.Signals
) -> None:
    async with (
        held(tmp_path) as backend,
        open_session(revision, env=backend.env(tmp_path)) as session,
    ):
        call = await begin(session, backend)
        session.process.send_signal(number)
        refused: dict[str, Any] = {}
        with anyio.fail_after(60):
            while not refused.get("isError"):
                refused = await session.request("tools/call", {"name": "get_status", "arguments": {}})
        assert "is stopping" in refused["content"][0]["text"]
        backend.release.set()
        result = await session.reply(call)
        assert result["structuredContent"]["receipt"]["deleted"]["requests"] == 3
        assert await session.exit_code() == (0 if number == signal.SIGTERM else 130)
        assert not await backend.world.ids()
        assert "Traceback" not in session.stderr()


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_end_of_input_waits_for_the_deletion(tmp_path: Path, revision: Revision) -> None:
    async with (
        held(tmp_path) as backend,
        open_session(revision, env=backend.env(tmp_path)) as session,
    ):
        await begin(session, backend)
        await session.close_input()
        await anyio.sleep(0.2)  # time in which the process could wrongly end
        assert session.process.returncode is None
        backend.release.set()
        assert await session.exit_code() == 0
        assert not await backend.world.ids()
        assert "Traceback" not in session.stderr()


@pytest.mark.parametrize("revision", REVISIONS)
async def test_the_receipt_of_a_call_that_was_cancelled_over_stdio_is_in_the_status(
    tmp_path: Path, revision: Revision
) -> None:
    async with (
        held(tmp_path) as backend,
        open_session(revision, env=backend.env(tmp_path)) as session,
    ):
        call = await begin(session, backend)
        await session.notify("notifications/cancelled", {"requestId": call, "reason": "tired of waiting"})
        [job] = (await session.call("get_status"))["structuredContent"]["deletions"]
        assert job["status"] == "running"
        backend.release.set()
        with anyio.fail_after(60):
            while job["status"] == "running":
                [job] = (await session.call("get_status"))["structuredContent"]["deletions"]
        assert job["receipt"]["deleted"]["requests"] == 3
        assert await session.end_input() == 0


@pytest.mark.parametrize("ends", ["cancelled", "SIGTERM"])
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_restore_goes_on_and_leaves_out_what_is_erased_whatever_happens_to_its_call(
    tmp_path: Path, revision: Revision, ends: str
) -> None:
    async with (
        held(tmp_path) as backend,
        open_session(revision, env=backend.env(tmp_path)) as session,
        open_session(revision, env=backend.env(tmp_path)) as other,
    ):
        backend.world.backend.before.clear()
        deletion = (await session.call(CALL["name"], CALL["arguments"]))["structuredContent"]["receipt"]
        backend.world.backend.before["/api/publish_interaction"] = [backend.hold]
        arguments = {"deletion": deletion["number"]}
        call = await session.send("tools/call", {"name": "restore_requests", "arguments": arguments})
        with anyio.fail_after(60):
            await backend.deleting.wait()
        erasure = {"request_id": "r0", "erase": True}
        receipt = (await other.call("delete_request", erasure))["structuredContent"]["receipt"]
        assert receipt["deleted"] == {"only_in_copies": 1}
        assert {"code": "may_return", "number": 1} in receipt["facts"], "it is not over yet"
        if ends == "cancelled":
            await session.notify("notifications/cancelled", {"requestId": call, "reason": "tired of waiting"})
        else:
            session.process.send_signal(signal.SIGTERM)
        backend.release.set()
        statuses, past = ["running"], list[dict[str, Any]]()
        with anyio.fail_after(60):
            while statuses[:2] != ["complete", "complete"]:
                past = (await other.call("get_status"))["structuredContent"]["deletions"]
                statuses = [one["status"] for one in past]
        assert await backend.world.ids() == {"r1", "r2"}
        assert [one.get("restores", 0) for one in past] == [0, deletion["number"], 0]
        if ends == "SIGTERM":
            assert await session.exit_code() == 0


async def test_ctrl_c_of_the_restore_command_brings_nothing_back_that_is_erased_beside_it(
    tmp_path: Path,
) -> None:
    async with held(tmp_path) as backend, open_session(REVISIONS[-1], env=backend.env(tmp_path)) as other:
        backend.world.backend.before.clear()
        deletion = (await other.call(CALL["name"], CALL["arguments"]))["structuredContent"]["receipt"]
        backend.world.backend.before["/api/publish_interaction"] = [backend.hold]
        command = [*SERVER, "restore", str(deletion["number"]), "--yes"]
        async with await anyio.open_process(command, env=backend.env(tmp_path)) as restore:
            with anyio.fail_after(60):
                await backend.deleting.wait()
            erasure = {"request_id": "r0", "erase": True}
            receipt = (await other.call("delete_request", erasure))["structuredContent"]["receipt"]
            assert receipt["deleted"] == {"only_in_copies": 1}
            assert {"code": "may_return", "number": 1} in receipt["facts"], "it is not over yet"
            restore.send_signal(signal.SIGINT)
            with anyio.fail_after(60):
                assert await restore.wait() == 130
            assert restore.stderr
            said = (await restore.stderr.receive()).decode()
        assert "Interrupted: Run the command again to restore the rest." in said
        await backend.world.put("r0")  # what was on its way arrives
        backend.release.set()
        assert [one["status"] for one in await past(other)] == ["incomplete", "unfinished", "complete"]
        again = await other.call("restore_requests", {"deletion": deletion["number"]})
        assert again["structuredContent"]["restored"]["requests"] == 2
        assert await backend.world.ids() == {"r1", "r2"}


async def past(session: StdioSession) -> list[dict[str, Any]]:
    return (await session.call("get_status"))["structuredContent"]["deletions"]


async def test_a_stopping_shared_server_gives_the_receipt_of_a_deletion_that_outlasts_the_bound(
    tmp_path: Path,
) -> None:
    async with held(tmp_path) as backend:
        variables: dict[str, Any] = {
            "REFLEXIO_URL": backend.url,
            "REFLEXIO_MCP_STORE": "",
            "REFLEXIO_MCP_CONFIRM": "off",
            "REFLEXIO_MCP_STOP_TIMEOUT": "0.2",
        }
        async with serving_process(tmp_path, **variables) as running, httpx.AsyncClient(timeout=60) as client:
            given, body = modern_call(CALL["name"], CALL["arguments"])
            replies: list[httpx.Response] = []
            process = running.process
            assert process

            async def call() -> None:
                replies.append(await client.post(f"{running.url}/mcp", headers=given | AUTHORIZED, json=body))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                with anyio.fail_after(60):
                    await backend.deleting.wait()
                process.send_signal(signal.SIGTERM)
                await until(lambda: "stopping" in running.stderr())
                await anyio.sleep(0.5)  # beyond the bound for calls
                backend.release.set()
            result = replies[0].json()["result"]
            assert result["structuredContent"]["receipt"]["deleted"]["requests"] == 3
            with anyio.fail_after(60):
                assert await process.wait() == 0
            assert "Traceback" not in running.stderr()
        assert not await backend.world.ids()
