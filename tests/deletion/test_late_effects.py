"""Deletions whose effect cannot be seen at once: the recovery copy stays and the hourly cap counts them."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deletion.support import BY_IDS, READ, World, text_of

pytestmark = pytest.mark.anyio

ON: dict[str, str] = {"CONFIRM": "off", "RECOVERY_DAYS": "7"}

Act = Callable[[], Awaitable[None]]


def copies(world: World) -> list[Path]:
    folder = world.folder / "copies"
    return sorted(folder.iterdir()) if folder.exists() else []


def answers_too_late(world: World) -> Act:
    """The answer does not arrive in time; the deletion takes effect afterwards."""
    world.backend.failing[BY_IDS] = (0, 504)

    async def takes_effect() -> None:
        world.backend.failing.clear()
        await world.rest.delete_session("s")

    return takes_effect


def reads_lag(world: World) -> Act:
    """The service says that everything is deleted, and still lists it for some time."""
    world.backend.delete_requests_by_ids = lambda asked: {"deleted_count": len(asked["request_ids"])}  # type: ignore[attr-defined]

    async def takes_effect() -> None:
        await world.rest.delete_session("s")

    return takes_effect


def counts_nothing(world: World) -> Act:
    """The service deletes everything and says that it deleted nothing."""

    async def really() -> None:
        await world.rest.delete_session("s")

    world.backend.before[BY_IDS] = [really] * 3
    world.backend.delete_requests_by_ids = lambda asked: {"deleted_count": 0}  # type: ignore[attr-defined]

    async def nothing() -> None:
        return None

    return nothing


LATE = [answers_too_late, reads_lag, counts_nothing]


@pytest.mark.parametrize("service", LATE)
async def test_what_goes_after_the_receipt_can_still_be_put_back(
    world: World, era: str, service: Callable[[World], Act]
) -> None:
    await world.put("r1", text="the only words")
    takes_effect = service(world)
    async with world.connect(era, **ON) as caller:
        facts = await caller.call("delete_request", request_id="r1")
        await takes_effect()
        assert not await world.ids()
        assert facts["copy_id"]
        assert facts["copy_kept_until"]
        again = await caller.call("restore_requests", copy_id=facts["copy_id"])
    assert again["outcomes"] == {"restored": ["r1"]}


@pytest.mark.parametrize("service", LATE)
async def test_what_may_have_gone_counts_towards_the_cap(
    world: World, era: str, service: Callable[[World], Act]
) -> None:
    service(world)
    async with world.connect(era, CONFIRM="off", DELETE_CAP="3") as caller:
        for number in range(3):
            await world.put(f"r{number}")
            await caller.call("delete_request", request_id=f"r{number}")
        await world.put("one more")
        assert "3 an hour" in await caller.refused("delete_request", request_id="one more")


async def test_a_deletion_that_may_still_take_effect_is_said_to(world: World, era: str) -> None:
    await world.put("r1")
    answers_too_late(world)
    async with world.connect(era, **ON) as caller:
        result = await caller.result("delete_request", request_id="r1")
    facts = result.structured_content
    assert facts
    assert facts["outcomes"] == {"still_present": ["r1"]}
    assert facts["status"] == "incomplete"
    assert facts["may_still_go"] == 1
    assert "may still take effect" in text_of(result)
    assert "Call the same deletion again to finish" not in text_of(result)


def short_lists(world: World, missing: set[str]) -> None:
    """Lists leave some requests out; a look-up by id finds them."""

    def without(asked: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        if "request_id" not in asked:
            for group in reply["sessions"]:
                group["requests"] = [
                    one for one in group["requests"] if one["request"]["request_id"] not in missing
                ]
            reply["sessions"] = [group for group in reply["sessions"] if group["requests"]]
        return reply

    world.backend.rewriting[READ] = without


@pytest.mark.parametrize("days", ["0", "7"])
async def test_absence_from_a_list_is_no_absence(world: World, era: str, days: str) -> None:
    wanted = [f"r{number}" for number in range(60)]
    for one in wanted:
        await world.put(one)
    short_lists(world, {"r7", "r40", "r41"})
    options = {"CONFIRM": "off", "RECOVERY_DAYS": days}
    async with world.connect(era, **options) as caller:
        world.backend.failing[BY_IDS] = (0, 422)
        facts = await caller.call("delete_requests", request_ids=wanted)
        assert facts["counts"] == {"still_present": 60}
        world.backend.failing.clear()
        facts = await caller.call("delete_requests", request_ids=wanted)
    assert facts["counts"] == {"deleted": 60}
    assert not await world.ids(session_id="s")


async def test_a_service_that_deletes_nothing_is_not_believed_because_its_list_is_short(
    world: World, era: str
) -> None:
    wanted = [f"r{number}" for number in range(60)]
    for one in wanted:
        await world.put(one)
    world.backend.delete_requests_by_ids = lambda asked: {"deleted_count": len(asked["request_ids"])}  # type: ignore[attr-defined]

    async def begin() -> None:
        short_lists(world, {"r7", "r40"})

    world.backend.before[BY_IDS] = [begin]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_requests", request_ids=wanted)
    assert facts["counts"] == {"still_present": 60}
