"""A process that is killed at any step of a deletion leaves the truth behind, and the same call finishes it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client

from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.deletion.crashing import delete, restore
from tests.deletion.support import Caller
from tests.support.forked import context

pytestmark = [pytest.mark.anyio, pytest.mark.ci]
IDS = [f"r{number}" for number in range(4)]


class Machine:
    """A folder with a store of four requests, and servers on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        variables = {"REFLEXIO_MCP_STORE": str(folder / "store.db"), "REFLEXIO_MCP_CONFIRM": "off"}
        self.server = ReflexioServer(load(variables))

    async def fill(self) -> None:
        async with Client(self.server):
            for one in IDS:
                interactions = [Interaction(content=f"words of {one}")]
                body = PublishBody(
                    user_id="ada", session_id="s", request_id=one, interaction_data_list=interactions
                )
                await self.server.runtime.scopes.client.publish(body, minted=False)

    def delete(self, how: str, step: int) -> int | None:
        # Forked from a process that has imported everything: a start costs a second, and there are dozens.
        return self.run(delete, bool(how), step)

    def run(self, work: Callable[..., None], *arguments: Any) -> int | None:
        given = (self.folder, os.environ["XDG_DATA_HOME"], *arguments)
        process = context.Process(target=work, args=given)
        process.start()
        process.join()
        return process.exitcode

    async def stored(self) -> set[str]:
        page = await self.server.runtime.scopes.client.get_requests(RequestQuery())
        return {one.request.request_id for group in page.sessions for one in group.requests}


@pytest.mark.parametrize("how", ["", "erase"])
async def test_a_kill_at_any_step_loses_nothing_that_was_promised(
    how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    counting = Machine(tmp_path_factory.mktemp("counting"))
    await counting.fill()
    assert counting.delete(how, 0) == 0
    for step in range(1, int((counting.folder / "steps").read_text(encoding="utf-8")) + 1):
        machine = Machine(tmp_path_factory.mktemp(f"step{step}"))
        await machine.fill()
        assert machine.delete(how, step) == -signal.SIGKILL
        async with Client(machine.server) as client:
            caller = Caller(client)
            left = await machine.stored()
            past = (await caller.call("get_status")).get("deletions", [])
            if past and past[0]["status"] == "unfinished":
                # By reading again.
                assert past[0]["gone"] == len(IDS) - len(left), step
            if not how:
                # What is gone can be put back.
                for one in past:
                    if "copied" in one:
                        await caller.restored(one["number"])
                assert await machine.stored() == set(IDS), step
            answer = await caller.call("delete_session", session_id="s", erase=bool(how))
            assert answer["status"] in ("complete", "not_found"), step
            assert await machine.stored() == set(), step
            if how:
                listed = await caller.call("restore_requests")
                assert not any("copied" in one for one in listed.get("deletions", [])), step


async def test_a_restore_that_is_killed_at_any_step_brings_nothing_back_that_was_erased_beside_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def deleted(name: str) -> tuple[Machine, int]:
        machine = Machine(tmp_path_factory.mktemp(name))
        await machine.fill()
        async with Client(machine.server) as client:
            receipt = await Caller(client).receipt("delete_session", session_id="s")
        return machine, receipt["number"]

    counting, number = await deleted("counting")
    assert counting.run(restore, number, "r2", 0) == 0
    steps = int((counting.folder / "steps").read_text(encoding="utf-8"))
    assert steps > 20
    for step in range(1, steps + 1):
        machine, number = await deleted(f"step{step}")
        assert machine.run(restore, number, "r2", step) == -signal.SIGKILL
        erased = (machine.folder / "erased").exists()
        async with Client(machine.server) as client:
            caller = Caller(client)
            again = await caller.call("restore_requests", deletion=number)
            assert again["status"] == "complete", step
            wanted = {"r0", "r1", "r3"} if erased else set(IDS)
            assert await machine.stored() == wanted, step
            past = {one["number"]: one for one in (await caller.call("get_status"))["deletions"]}
            restores = [one["status"] for one in past.values() if one.get("restores")]
            assert restores[0] == "complete", step
            assert set(restores[1:]) <= {"unfinished", "complete"}, step
