"""What limits deletions holds for all processes of one user, and fails closed."""

import json
import os
import stat
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.deletion.support import World
from tests.support.forked import run_forked
from tests.support.stdio import MODERN, environment, open_session

pytestmark = pytest.mark.anyio


def state_file(folder: Path) -> Path:
    [found] = folder.rglob("state.db")
    return found


async def test_two_processes_share_one_hourly_cap(world: World, era: str) -> None:
    for number in range(4):
        await world.put(f"r{number}")
    options = {"CONFIRM": "off", "DELETE_CAP": "3"}
    async with world.connect(era, **options) as one, world.connect(era, **options) as another:
        await one.call("delete_request", request_id="r0")
        await another.call("delete_request", request_id="r1")
        await one.call("delete_request", request_id="r2")
        said = await another.refused("delete_request", request_id="r3")
    assert "3 an hour are allowed (0 left now)" in said
    async with world.connect(era, **options) as restarted:
        assert "3 an hour" in await restarted.refused("delete_request", request_id="r3")
    assert await world.ids() == {"r3"}


async def test_another_key_has_a_cap_of_its_own(world: World, era: str) -> None:
    for number in range(2):
        await world.put(f"r{number}")
    options = {"CONFIRM": "off", "DELETE_CAP": "1"}
    for number, key in enumerate(("one-key-of-this-user", "another-key-of-this-user")):
        async with world.connect(era, **options, REFLEXIO_API_KEY=key) as caller:
            assert (await caller.call("delete_request", request_id=f"r{number}"))["deleted"] == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
async def test_the_file_is_private_and_holds_neither_key_nor_user(
    world: World, era: str, data_folder: Path
) -> None:
    await world.put("r1")
    key = "a-key-nobody-may-see"
    async with world.connect(era, CONFIRM="off", REFLEXIO_API_KEY=key, REFLEXIO_USER_ID="ada") as caller:
        await caller.call("delete_request", request_id="r1")
    path = state_file(data_folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.encode() not in path.read_bytes()


async def test_where_nothing_can_be_counted_nothing_is_deleted(
    world: World, era: str, data_folder: Path
) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect(era, CONFIRM="off") as caller:
        await caller.call("delete_request", request_id="r1")
        state_file(data_folder).write_bytes(b"this is no database" * 100)
        said = await caller.refused("delete_request", request_id="r2")
    assert said.startswith("Nothing was deleted: what is deleted in an hour cannot be counted")
    assert str(data_folder) not in said
    assert await world.ids() == {"r2"}


@pytest.mark.parametrize("cap", ["1", "0"])
async def test_where_the_data_folder_cannot_be_written_nothing_is_deleted_and_what_to_set_is_said(
    world: World, era: str, cap: str, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put("r1")
    (data_folder / "a file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_DATA_HOME", str(data_folder / "a file"))
    async with world.connect(era, CONFIRM="off", DELETE_CAP=cap) as caller:
        said = await caller.refused("delete_request", request_id="r1")
        problem = (await caller.call("get_status"))["deletions_problem"]
    assert said.startswith("Nothing was deleted: ")
    assert "the state file cannot be made: Not a directory" in said
    assert "REFLEXIO_MCP_STORE" in said
    assert str(data_folder) not in said
    assert await world.ids() == {"r1"}
    assert problem.startswith("Nothing can be deleted now: the state file cannot be made: Not a directory. ")
    assert "REFLEXIO_MCP_STORE" in problem
    async with world.connect(era, READ_ONLY="1") as caller:
        assert "deletions_problem" not in await caller.call("get_status")
    elsewhere = str(tmp_path / "any.db")
    async with world.connect(era, CONFIRM="off", DELETE_CAP=cap, REFLEXIO_MCP_STORE=elsewhere) as caller:
        assert "deletions_problem" not in await caller.call("get_status")
        assert not (tmp_path / "state.db").exists()
        assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 1
        assert "deletions_problem" not in await caller.call("get_status")
    assert (tmp_path / "state.db").exists()


async def test_start_status_and_doctor_say_in_one_sentence_that_nothing_can_be_deleted(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    env = environment(
        tmp_path, REFLEXIO_URL="http://127.0.0.1:1", REFLEXIO_MCP_STORE=str(tmp_path / "file" / "x")
    )
    async with open_session(MODERN, env=env) as session:
        said = (await session.call("get_status"))["structuredContent"]["deletions_problem"]
        with anyio.fail_after(60):
            while said not in session.stderr():  # noqa: ASYNC110 - of another process
                await anyio.sleep(0.05)
    assert said.startswith(
        "Nothing can be deleted now: the state file cannot be made: Not a directory. To mend that, "
    )
    _, report = await anyio.to_thread.run_sync(run_forked, ["doctor", "--json"], env, tmp_path)
    assert said in [one["what"] for one in json.loads(report)["findings"]]
