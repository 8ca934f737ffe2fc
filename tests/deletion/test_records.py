"""The audit log and the hourly cap."""

import json
import re
import stat
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from reflexio_mcp.rest.errors import Unreachable
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.local.database import LocalDatabase
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan
from reflexio_mcp.traffic.deletion.safeguards import check_cap
from reflexio_mcp.traffic.errors import CapReached
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.select import unselected
from tests.deletion.support import BY_IDS, World, agreeing

pytestmark = pytest.mark.anyio


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_each_deletion_is_a_line_before_and_a_line_after(world: World, era: str) -> None:
    log = world.folder / "audit" / "log.jsonl"
    await world.put("r1", text="private words")
    before: list[dict[str, Any]] = []

    async def look() -> None:
        before.extend(lines(log))

    world.backend.before[BY_IDS] = [look]
    key = "a-key-nobody-may-see"
    async with world.connect(era, agreeing(), AUDIT_LOG=str(log), REFLEXIO_API_KEY=key) as caller:
        await caller.call("delete_request", request_id="r1")
    [begin, end] = lines(log)
    assert before == [begin]
    assert begin["event"] == "begin"
    assert begin["tool"] == "delete_request"
    assert begin["client"].startswith("mcp")
    assert begin["consent"] == "ask"
    assert begin["request_ids"] == ["r1"]
    assert end["event"] == "end"
    assert end["outcome"] == "complete"
    assert end["counts"] == {"deleted": 1}
    assert end["correlation_id"] == begin["correlation_id"]
    assert end["service_correlation_ids"]
    assert {"time"} <= begin.keys() & end.keys()
    text = log.read_text(encoding="utf-8")
    assert "private words" not in text
    assert key not in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_what_deletes_nothing_is_not_logged(world: World, era: str) -> None:
    log = world.folder / "log.jsonl"
    await world.put("r1")
    async with world.connect(era, AUDIT_LOG=str(log)) as caller:
        await caller.call("delete_request", request_id="r1")
        await caller.call("delete_request", request_id="nope")
    assert not log.exists()


async def test_a_log_that_cannot_be_written_stops_the_deletion(world: World, era: str) -> None:
    await world.put("r1")
    log = world.folder / "log.jsonl"
    log.mkdir()
    async with world.connect(era, CONFIRM="off", AUDIT_LOG=str(log), RECOVERY_DAYS="1") as caller:
        said = await caller.refused("delete_request", request_id="r1")
        assert said.startswith("Nothing was deleted: the audit log")
        assert str(world.folder) not in said
        assert (await caller.call("restore_requests"))["copies"] == []
    assert await world.ids() == {"r1"}


async def test_a_full_disk_stops_the_deletion(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era, CONFIRM="off", AUDIT_LOG="/dev/full") as caller:
        assert "Nothing was deleted" in await caller.refused("delete_request", request_id="r1")
    assert await world.ids() == {"r1"}


async def test_a_log_that_fails_after_the_act_is_said_in_the_receipt(world: World, era: str) -> None:
    log = world.folder / "log.jsonl"
    await world.put("r1")

    async def breaks() -> None:
        log.unlink()
        log.mkdir()

    world.backend.before[BY_IDS] = [breaks]
    async with world.connect(era, CONFIRM="off", AUDIT_LOG=str(log)) as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["deleted"] == 1
    assert "audit log" in facts["problems"][0]


async def test_a_loop_that_deletes_stops_at_the_cap_and_is_told_when_to_go_on(world: World, era: str) -> None:
    for number in range(4):
        await world.put(f"r{number}")
    async with world.connect(era, CONFIRM="off", DELETE_CAP="3") as caller:
        for number in range(3):
            assert (await caller.call("delete_request", request_id=f"r{number}"))["deleted"] == 1
        said = await caller.refused("delete_request", request_id="r3")
    assert "3 an hour" in said
    assert "60 min" in said
    assert await world.ids() == {"r3"}


async def test_a_set_beyond_the_cap_is_refused_as_a_whole_before_anybody_is_asked(
    world: World, era: str
) -> None:
    for number in range(4):
        await world.put(f"r{number}")
    person = agreeing()
    async with world.connect(era, person, DELETE_CAP="3") as caller:
        said = await caller.refused("delete_session", session_id="s")
    assert "would delete 4 requests" in said
    assert "REFLEXIO_MCP_DELETE_CAP" in said
    assert not person.seen
    assert len(await world.ids(session_id="s")) == 4


async def test_what_never_reached_the_service_does_not_count(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put("r1")
    async with world.connect(era, CONFIRM="off", DELETE_CAP="1") as caller:
        with monkeypatch.context() as patch:
            patch.setattr(world.rest, "delete_requests_by_ids", AsyncMock(side_effect=Unreachable("gone")))
            assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 0
        assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 1


async def test_room_returns_as_the_hour_slides_and_each_scope_has_its_own() -> None:
    five = unselected(
        [Learning("profile", str(one), "ada", "", "", "current", 0, "", frozenset(), "") for one in range(5)]
    )
    now = 0.0
    database = LocalDatabase(clock=lambda: now)
    cap = HourlyCap(10, database)
    cap.take("a", 6)
    now = 1800.0
    cap.take("a", 4)
    with pytest.raises(CapReached, match="30 min"):
        await check_cap(cap, "a", LearningPlan("learnings", (), learned=five))
    assert not cap.take("a", 5)
    assert cap.take("b", 10)
    now = 3600.0
    assert cap.room("a") == 6
    assert cap.take("a", 6)
    assert cap.room("a") == 0
    assert HourlyCap(0, database).room("a") is None
    database.close()


async def test_a_deletion_that_a_fault_ends_counts_as_if_all_of_it_had_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await world.put(f"r{number}")

    async def breaks(*_: object, **__: object) -> None:
        raise ValueError("a fault of this program")

    async with world.connect(CONFIRM="off", DELETE_CAP="3") as caller:
        with monkeypatch.context() as patch:
            patch.setattr("reflexio_mcp.traffic.deletion.safeguards.execute", breaks)
            await caller.refused("delete_session", session_id="s")
        assert "3 an hour are allowed (0 left now)" in await caller.refused("delete_request", request_id="r0")
    assert await world.ids(session_id="s")


async def test_learnings_that_go_with_their_requests_count_too(world: World, era: str) -> None:
    for name in ("a", "b"):
        await world.put(name)
    await world.learn("p", "a")
    await world.learn("q", "a")
    async with world.connect(era, CONFIRM="off", DELETE_CAP="3") as caller:
        world.backend.failing["/api/delete_profiles_by_ids"] = (0, 400)
        facts = await caller.call("delete_request", request_id="a", include_learnings=True)
        assert (facts["deleted"], facts["status"]) == (1, "incomplete")
        del world.backend.failing["/api/delete_profiles_by_ids"]
        # The call that was refused may have taken effect all the same.
        assert "(0 left now)" in await caller.refused("delete_request", request_id="b")
    await world.put("a")
    await world.learn("p", "a")
    await world.learn("q", "a")
    async with world.connect(era, CONFIRM="off", DELETE_CAP="2", REFLEXIO_API_KEY="another") as caller:
        said = await caller.refused("delete_request", request_id="a", include_learnings=True)
        assert "this would delete 1 request and 2 learnings, and 2 an hour are allowed" in said
        assert await world.ids() == {"a", "b"}
        assert (await caller.call("delete_request", request_id="a"))["deleted"] == 1
        assert (await caller.call("delete_request", request_id="b"))["deleted"] == 1


async def test_a_smaller_part_is_advised_when_there_is_room_for_one(world: World, era: str) -> None:
    for name in ("a", "b", "c"):
        await world.put(name)
    async with world.connect(era, CONFIRM="off", DELETE_CAP="1") as caller:
        there_is = await caller.refused("delete_requests", request_ids=["a", "b"])
        assert "(1 left now). Delete a smaller part, or" in there_is
        assert (await caller.call("delete_request", request_id="c"))["deleted"] == 1
        there_is_none = await caller.refused("delete_requests", request_ids=["a", "b"])
    assert re.search(
        r"\(0 left now\)\. Delete a smaller part in (59|60|61) min, when there is room", there_is_none
    )
