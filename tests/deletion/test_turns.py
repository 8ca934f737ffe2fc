"""`interaction_ids`: chosen interactions of a request go, and the others stay."""

import json
from typing import Any

import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from tests.deletion.support import Known, Person, World, agreeing, text_of

pytestmark = pytest.mark.anyio

ROUTE = "/api/delete_interaction"
TEXTS = ("I live at 12 Secret Lane", "Noted", "What is the weather?")


async def stored(world: World, *texts: str, request_id: str = "r") -> list[int]:
    """A request of ada with one interaction for each text; returns their ids."""
    body = PublishBody(
        user_id="ada",
        session_id="s",
        request_id=request_id,
        source="ide",
        interaction_data_list=[Interaction(content=text) for text in texts or TEXTS],
    )
    await world.rest.publish(body, minted=False)
    return list(await world.interactions(request_id))


async def texts(world: World, request_id: str = "r") -> list[str] | None:
    """What a request still says; `None` where it is not stored."""
    page = await world.rest.get_requests(RequestQuery(request_id=request_id))
    for group in page.sessions:
        for item in group.requests:
            return [turn.content for turn in item.interactions]
    return None


async def test_the_chosen_interactions_go_and_the_others_stay(world: World, era: str) -> None:
    first, second, third = await stored(world)
    async with world.connect(era, CONFIRM="preview") as caller:
        shown = await caller.call("get_request", request_id="r")
        assert [turn["interaction_id"] for turn in shown["interactions"]] == [first, second, third]
        result = await caller.result("delete_request", request_id="r", interaction_ids=[first, 999])
        plan = result.structured_content
        assert plan
        assert plan["plan"]["interactions"] == 1
        assert plan["plan"]["interactions_staying"] == 2
        assert plan["plan"]["not_found"] == ["999"]
        assert plan["survives"].startswith("2 interactions of the request stay.")
        assert "Secret Lane" in text_of(result)
        assert await texts(world) == list(TEXTS)
        done = await caller.call(
            "delete_request", request_id="r", interaction_ids=[first, 999], confirm=plan["confirm"]
        )
    assert done["status"] == "complete"
    assert done["outcomes"] == {"deleted": [str(first)], "not_found": ["999"]}
    assert done["interactions_left"] == 2
    assert done["survives"].startswith("The request keeps 2 interactions.")
    assert await texts(world) == list(TEXTS[1:])


async def test_a_request_that_is_left_empty_is_said_to_be_empty(world: World, era: str) -> None:
    chosen = await stored(world)
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r", interaction_ids=chosen)
        assert "the request itself stays, empty" in plan["survives"]
        done = await caller.call(
            "delete_request", request_id="r", interaction_ids=chosen, confirm=plan["confirm"]
        )
    assert done["survives"].startswith("The request is empty now and stays")
    assert await texts(world) == []


async def test_a_code_of_some_turns_fits_no_others_and_not_the_request(world: World, era: str) -> None:
    first, second, _ = await stored(world)
    async with world.connect(era, CONFIRM="preview") as caller:
        code = (await caller.call("delete_request", request_id="r", interaction_ids=[first]))["confirm"]
        for other in ({"interaction_ids": [first, second]}, {}, {"interaction_ids": [second]}):
            facts = await caller.call("delete_request", request_id="r", confirm=code, **other)
            assert facts["status"] == "changed"
    assert await texts(world) == list(TEXTS)


async def test_the_person_sees_which_and_a_no_keeps_them(world: World, era: str) -> None:
    first, *_ = await stored(world)
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        facts = await caller.call("delete_request", request_id="r", interaction_ids=[first])
        assert facts["status"] == "declined"
    assert person.seen[0].startswith(
        "Delete 1 interaction of a request of user “ada”? This cannot be undone."
    )
    assert "Secret Lane" in person.seen[0]
    async with world.connect(era, agreeing()) as caller:
        facts = await caller.call("delete_request", request_id="r", interaction_ids=[first])
    assert facts["deleted"] == 1


async def test_a_plan_shows_the_first_five_with_their_words_and_no_bare_ids(world: World, era: str) -> None:
    chosen = await stored(world, *(f"turn {number}" for number in range(30)))
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r", interaction_ids=chosen)
    assert [one["first_words"] for one in plan["plan"]["examples"]] == [
        f"turn {number}" for number in range(5)
    ]


async def test_many_need_their_number_typed(world: World, era: str) -> None:
    chosen = await stored(world, *(f"turn {number}" for number in range(30)))
    person = Person(lambda _: {"requests": 30})
    async with world.connect(era, person) as caller:
        facts = await caller.call("delete_request", request_id="r", interaction_ids=chosen)
    assert "type the number of interactions: 30" in person.seen[0]
    assert "interactions" in json.dumps(person.schemas[0])
    assert facts["deleted"] == 30


async def test_what_the_turns_fed_goes_and_what_others_fed_stays(world: World, era: str) -> None:
    first, second, third = await stored(world)
    world.backend.profiles["lane"] = Known("ada", "r", (first, second))
    world.backend.profiles["rain"] = Known("ada", "r", (third,))
    async with world.connect(era, CONFIRM="preview") as caller:
        wanted: dict[str, Any] = {"request_id": "r", "interaction_ids": [first], "include_learnings": True}
        plan = await caller.call("delete_request", **wanted)
        assert plan["plan"]["learned"]["profiles"] == 1
        assert plan["plan"]["also_fed_by_the_rest"] == 1
        assert (
            "Reflexio names them as sources of 1 of the learnings below too; if it says the same, it can be learned "
            "again from there." in plan["survives"]
        )
        assert "other request" not in plan["survives"]
        done = await caller.call("delete_request", **wanted, confirm=plan["confirm"])
    assert done["learned_deleted"]["profiles"] == 1
    assert (
        "Reflexio names what it keeps as a source of 1 of the deleted learnings too; if it"
        in done["survives"]
    )
    assert set(world.backend.profiles) == {"rain"}


async def test_a_recovery_copy_restores_the_turns_as_a_request_of_their_own(world: World, era: str) -> None:
    first, *_ = await stored(world)
    async with world.connect(era, CONFIRM="off", RECOVERY_DAYS="7") as caller:
        result = await caller.result("delete_request", request_id="r", interaction_ids=[first])
        assert result.structured_content
        assert "put back as a request of its own in the same session" in text_of(result)
        copy_id = result.structured_content["copy_id"]
        for status in ("complete", "nothing_restored"):
            facts = await caller.call("restore_requests", copy_id=copy_id)
            assert facts["status"] == status
    assert await texts(world) == list(TEXTS[1:])
    assert await texts(world, f"r-turns-{copy_id}") == [TEXTS[0]]


@pytest.mark.parametrize("wanted", [{"interaction_ids": True}, {}])
async def test_erase_leaves_nothing_of_the_turns_in_any_copy(
    world: World, era: str, wanted: dict[str, bool]
) -> None:
    await stored(world)

    def copied() -> str:
        folder = world.folder / "copies"
        return "".join(one.read_text(encoding="utf-8") for one in folder.iterdir())

    async with world.connect(era, CONFIRM="off", RECOVERY_DAYS="7") as caller:
        first, *_ = await world.interactions("r")
        whole = await caller.call("delete_request", request_id="r")
        await caller.call("restore_requests", copy_id=whole["copy_id"])
        _, second, _ = await world.interactions("r")
        await caller.call("delete_request", request_id="r", interaction_ids=[second])
        assert copied().count("Noted") == 2
        first, *_ = await world.interactions("r")
        chosen = {"interaction_ids": [first]} if wanted else {}
        facts = await caller.call("delete_request", request_id="r", erase=True, **chosen)
    assert facts["status"] == "complete"
    assert "copy_id" not in facts
    assert "Secret Lane" not in copied()
    assert ("weather" in copied()) is bool(wanted)


async def test_turns_that_only_a_copy_holds_are_not_merely_unknown(world: World, era: str) -> None:
    first, second, _ = await stored(world)
    kept = world.folder / "copies"
    async with world.connect(era, CONFIRM="off", RECOVERY_DAYS="7") as caller:
        wanted: dict[str, Any] = {"request_id": "r", "interaction_ids": [first], "erase": True}
        done = await caller.call("delete_request", request_id="r", interaction_ids=[first])
        asked = await caller.call("delete_request", **wanted)
        copied = f"r-turns-{done['copy_id']}"
        assert asked["status"] == "not_found"
        assert asked["next"] == (
            f"A recovery copy still holds it until its days are over (copy_id={done['copy_id']}); call "
            f"delete_requests with request_ids {copied} and erase=true to remove the request that it is in."
        )
        unknown = await caller.call("delete_request", request_id="r", interaction_ids=[second + 1_000])
        assert unknown["next"].startswith("Find ids with get_request")
        erased = await caller.call("delete_requests", request_ids=[copied], erase=True)
        assert erased["counts"] == {"erased_from_copies": 1}
        assert not any("Secret Lane" in one.read_text(encoding="utf-8") for one in kept.iterdir())
        assert (await caller.call("delete_request", **wanted))["next"].startswith("Find ids")
        whole = await caller.call("delete_request", request_id="r")
        wanted["interaction_ids"] = [second]
        assert (
            f"(copy_id={whole['copy_id']}); call delete_requests with request_ids r and"
            in (await caller.call("delete_request", **wanted))["next"]
        )
        await caller.call("restore_requests", copy_id=whole["copy_id"])
        again = await caller.call("delete_request", **wanted)
        assert (
            "; request r has it again: name its turns as get_request shows them now, with erase=true."
            in again["next"]
        )
    async with world.connect(era, CONFIRM="off", REFLEXIO_USER_ID="bob", RECOVERY_DAYS="7") as caller:
        assert (await caller.call("delete_request", **wanted))["next"].startswith("Find ids")


async def test_a_turn_that_another_client_deleted_is_not_said_to_be_deleted_here(
    world: World, era: str
) -> None:
    first, second, _ = await stored(world)
    async with world.connect(era, CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r", interaction_ids=[first, second])
        await world.rest.delete_interaction("ada", second)
        facts = await caller.call(
            "delete_request", request_id="r", interaction_ids=[first, second], confirm=plan["confirm"]
        )
    assert facts["status"] == "changed"
    assert facts["changed"]["removed"] == [str(second)]
    assert await texts(world) == [TEXTS[0], TEXTS[2]]


async def test_a_failure_in_the_middle_says_which_are_gone(world: World, era: str) -> None:
    chosen = await stored(world)
    world.backend.failing[ROUTE] = (1, 403)
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_request", request_id="r", interaction_ids=chosen)
    assert facts["status"] == "incomplete"
    assert facts["outcomes"] == {
        "deleted": [str(chosen[0])],
        "not_allowed": [str(one) for one in chosen[1:]],
    }
    assert await texts(world) == list(TEXTS[1:])


async def test_nobody_cuts_the_request_of_another_user(world: World, era: str) -> None:
    chosen = await stored(world)
    async with world.connect(era, CONFIRM="off", REFLEXIO_USER_ID="bob") as caller:
        facts = await caller.call("delete_request", request_id="r", interaction_ids=chosen)
        assert facts["status"] == "not_found"
        said = await caller.refused("delete_request", request_id="r", interaction_ids=[])
    assert "leave it out to delete the whole request" in said
    assert await texts(world) == list(TEXTS)


async def test_turns_of_an_evaluation_are_not_said_to_teach_it_again(world: World) -> None:
    two = [Interaction(content=one) for one in ("I live in Lisbon", "Noted")]
    body = PublishBody(
        user_id="ada", session_id="s", request_id="e", interaction_data_list=two, evaluation_only=True
    )
    await world.rest.publish(body, minted=False)
    turns = await world.interactions("e")
    world.backend.profiles["p"] = Known("ada", "e", turns)
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.call(
            "delete_request", request_id="e", interaction_ids=[turns[0]], include_learnings=True
        )
    assert "names what it keeps as a source of 1 of the deleted learnings too. 1 profile" in done["survives"]
