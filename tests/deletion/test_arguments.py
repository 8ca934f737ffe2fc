"""Every argument that narrows a deletion is taken as it is given, or refused: for all spellings of nothing."""

from typing import Any

import pytest

from tests.deletion.support import World

pytestmark = pytest.mark.anyio

NOTHING: list[Any] = ["null", "[]", "None", "", [], {}, [""], [" "], [None]]
"""JSON null is how some clients leave an argument out."""
LISTS = [
    ("delete_requests", {"user_id": "ada"}, "request_ids"),
    ("delete_request", {"request_id": "r1"}, "interaction_ids"),
    ("delete_learnings", {"user_id": "ada"}, "learning_ids"),
    ("restore_requests", {"deletion": 1}, "request_ids"),
    ("delete_requests", {"user_id": "ada"}, "evaluation_only"),
    ("delete_learnings", {"user_id": "ada"}, "evaluation_only"),
]
WORDS = [
    ("delete_requests", {"user_id": "ada"}, name)
    for name in ("session_id", "source", "agent_version", "start_time", "end_time", "contains", "finding")
]
WORDS += [
    ("delete_session", {"session_id": "s"}, "user_id"),
    ("delete_requests", {"source": "ide"}, "user_id"),
]


@pytest.mark.parametrize(
    ("tool", "arguments", "name"), LISTS, ids=lambda one: one if isinstance(one, str) else ""
)
async def test_no_spelling_of_nothing_widens_what_a_list_or_a_switch_narrows(
    world: World, tool: str, arguments: dict[str, Any], name: str
) -> None:
    await world.put("r0")
    await world.put("r1", source="ide")
    await world.learn("p", "r1")
    async with world.connect(CONFIRM="off") as caller:
        assert (await caller.receipt("delete_request", request_id="r0"))["number"] == 1
        for nothing in NOTHING:
            result = await caller.result(tool, **arguments, **{name: nothing})
            assert result.is_error, (tool, name, nothing)
    assert await world.ids() == {"r1"}
    assert world.backend.profiles


@pytest.mark.parametrize(
    ("tool", "arguments", "name"), WORDS, ids=lambda one: one if isinstance(one, str) else ""
)
@pytest.mark.parametrize("nothing", [" ", "\t", "null", "None"])
async def test_no_spelling_of_nothing_widens_what_a_word_narrows(
    world: World, tool: str, arguments: dict[str, Any], name: str, nothing: Any
) -> None:
    """The empty text is the default, and means that the argument is left out."""
    await world.put("r1", source="ide")
    async with world.connect(CONFIRM="off") as caller:
        await caller.result(tool, **arguments, **{name: nothing})
    assert await world.ids() == {"r1"}


async def test_a_switch_is_no_number(world: World) -> None:
    await world.put("r1")
    [number] = await world.interactions("r1")
    assert number == 1
    async with world.connect(CONFIRM="off") as caller:
        for given in ([True], ["true"], True):
            await caller.refused("delete_request", request_id="r1", interaction_ids=given)
        await caller.refused("restore_requests", deletion=True)
    assert (await world.interactions("r1")) == (1,)


async def test_a_deletion_of_everything_has_to_be_asked_for(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        # Some clients fill in false for every switch.
        for arguments in ({}, {"contains": "words"}, {"finding": "duplicate"}, {"evaluation_only": False}):
            said = await caller.refused("delete_requests", **arguments)
            assert "nothing was deleted" in said.lower()
        await caller.refused("delete_learnings", evaluation_only=False)
        await caller.refused("delete_requests", request_ids=["r1"], source="ide")
        await caller.refused("delete_requests", request_ids=["r1"], everything=True)
    assert await world.ids() == {"r1"}
