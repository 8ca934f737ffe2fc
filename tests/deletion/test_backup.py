"""A backup of the state, restored as docs/shared-server.md says, brings back nothing that was erased since."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.deletion.support import World

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[2] / "docs" / "shared-server.md"
SAYS = PAGE.read_text(encoding="utf-8").split("### After restoring a backup")[1].split("\n## ")[0]


@dataclass
class Kept:
    """A place of the state.

    Args:
        save: makes a backup.
        bring_back: replaces the state by the backup.
        tidy: does what the page says.
    """

    save: Callable[[], object]
    bring_back: Callable[[], object]
    tidy: Callable[[], object]
    env: dict[str, str] = field(default_factory=dict[str, str])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.ci)])
def kept(request: pytest.FixtureRequest, world: World) -> Iterator[Kept]:
    if request.param == "sqlite":
        [name] = re.findall(r"remove `([\w.]+)`", SAYS)
        file, backup = world.folder / name, world.folder / "backup"
        yield Kept(lambda: shutil.copy(file, backup), lambda: shutil.copy(backup, file), file.unlink)
        return
    [statement] = re.findall(r"`(DELETE [^`]+)`", SAYS)
    server, url = request.getfixturevalue("postgres"), request.getfixturevalue("postgres_url")
    name = url.rsplit("/", 1)[1]

    def bring_back() -> None:
        server.sql(f"DROP DATABASE {name}")
        server.sql(f"CREATE DATABASE {name} TEMPLATE {name}_backup")

    env = {"STATE": url, "STATE_KEYS": "a-key-of-these-replicas-of-32-bytes"}
    yield Kept(
        lambda: server.sql(f"CREATE DATABASE {name}_backup TEMPLATE {name}"),
        bring_back,
        lambda: server.sql(statement, name),
        env,
    )
    server.sql(f"DROP DATABASE {name}_backup")


async def test_what_was_erased_since_the_backup_cannot_be_restored(world: World, kept: Kept) -> None:
    for one in ("r1", "r2"):
        await world.put(one, text=f"words of {one}")

    async def copied() -> list[int]:
        async with world.connect(CONFIRM="off", **kept.env) as caller:
            listed: dict[str, Any] = await caller.call("restore_requests")
            return [one["number"] for one in listed.get("deletions", []) if "copied" in one]

    async with world.connect(CONFIRM="off", **kept.env) as caller:
        done = await caller.receipt("delete_session", session_id="s")
    kept.save()
    async with world.connect(CONFIRM="off", **kept.env) as caller:
        receipt = await caller.receipt("delete_session", session_id="s", erase=True)
        assert receipt["deleted"] == {"only_in_copies": 2}
    kept.bring_back()
    assert await copied() == [done["number"]], "the backup has the copy that was erased"
    kept.tidy()
    assert await copied() == []
    async with world.connect(CONFIRM="off", **kept.env) as caller:
        said = await caller.refused("restore_requests", deletion=done["number"])
        assert "has no recovery copy" in said
        assert (await caller.plan("delete_session", session_id="s", erase=True))["status"] == "not_found"
    assert await world.ids() == set()
