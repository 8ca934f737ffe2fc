"""Every argument that narrows a deletion is taken as it is given, or refused: for all spellings of nothing."""

from typing import Any

import pytest

from tests.deletion.support import World

pytestmark = pytest.mark.anyio

NOTHING: list[Any] = ["null", "None", "", {}, [""], [" "], [None]]
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
        for arguments in ({}, {"contains": "words"}, {"finding": "duplicate"}, {"evaluation_only": "never"}):
            said = await caller.refused("delete_requests", **arguments)
            assert "nothing was deleted" in said.lower()
        await caller.refused("delete_learnings", evaluation_only="never")
        await caller.refused("delete_requests", request_ids=["r1"], source="ide")
        await caller.refused("delete_requests", request_ids=["r1"], everything=True)
    assert await world.ids() == {"r1"}


@pytest.mark.parametrize("empty", [[], "[]"], ids=["list", "text"])
@pytest.mark.parametrize(
    ("tool", "arguments", "name"), LISTS[:4], ids=lambda one: one if isinstance(one, str) else ""
)
async def test_an_empty_list_is_not_given_but_shows_a_plan_first_even_where_none_is_asked_for(
    world: World, tool: str, arguments: dict[str, Any], name: str, empty: Any
) -> None:
    await world.put("r0")
    await world.put("r1")
    await world.learn("p", "r1")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r0")
        shown = (await caller.result(tool, **arguments, **{name: empty})).structured_content
        assert shown
        code = (shown.get("plan") or shown)["confirm"]
        assert await world.ids() == {"r1"}
        assert world.backend.profiles
        done = await caller.result(tool, **arguments, **{name: empty}, confirm=code)
        assert not done.is_error
    changed = {"restore_requests": {"r0", "r1"}, "delete_learnings": {"r1"}}
    assert await world.ids() == changed.get(tool, set())


async def test_an_empty_list_alone_deletes_nothing(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        await caller.refused("delete_requests", request_ids=[])
        await caller.refused("delete_learnings", learning_ids=[])
    assert await world.ids() == {"r1"}


async def test_a_model_that_fills_in_every_argument_deletes_what_it_names_and_no_more(world: World) -> None:
    """Strict function calling requires all arguments, and none may be null."""
    await world.put("r1", source="ide")
    await world.put("r2")
    kinds = {"string": "", "array": [], "boolean": False, "integer": 0}
    async with world.connect(CONFIRM="off") as caller:
        for tool, named in (
            ("delete_request", {"request_id": "r1"}),
            ("delete_requests", {"source": "ide"}),
            ("delete_requests", {"request_ids": ["r1"]}),
        ):
            schema = next(one for one in (await caller.client.list_tools()).tools if one.name == tool)
            filled = {
                name: about["enum"][0] if "enum" in about else kinds[about["type"]]
                for name, about in schema.input_schema["properties"].items()
            }
            result = await caller.result(tool, **filled | named | {"wait_for_response": True})
            assert not result.is_error, result
            assert await world.ids() == ({"r2"} if named == {"request_ids": ["r1"]} else {"r1", "r2"})


@pytest.mark.parametrize("given", [True, False, "yes", ""])
async def test_evaluation_only_is_a_word_and_anything_else_is_refused(world: World, given: Any) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        said = await caller.refused("delete_requests", source="ide", evaluation_only=given)
    assert "evaluation_only must be 'any', 'only' or 'never'" in said
