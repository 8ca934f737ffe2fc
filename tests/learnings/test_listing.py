"""list_learnings: which learnings it finds, what it says of their sources, and how it pages."""

import time

import pytest

from reflexio_mcp.traffic.reading import paging
from tests.deletion.support import Known, World, text_of
from tests.learnings.rows import merged

pytestmark = pytest.mark.anyio


async def some(world: World) -> None:
    await world.put("a", text="I live in Lisbon")
    await world.put("b", session="t", source="staging")
    await world.put("c", user="bob")
    await world.learn("lisbon", "a", "b", content="Lives in Lisbon")
    await world.learn("tea", "b", content="Drinks tea", status="superseded")
    await world.learn(7, "c", user="bob", content="Answer in Portuguese")


def ids(facts: dict) -> list[str]:
    return [one["learning_id"] for one in facts["learnings"]]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"user_id": "ada"}, ["profile:lisbon", "profile:tea"]),
        ({"request_id": "a"}, ["profile:lisbon"]),
        ({"request_id": "b"}, ["profile:lisbon", "profile:tea"]),
        ({"session_id": "s"}, ["profile:lisbon", "user_playbook:7"]),
        ({"session_id": "s", "user_id": "bob"}, ["user_playbook:7"]),
        ({"source": "staging"}, ["profile:lisbon", "profile:tea"]),
        ({"user_id": "ada", "contains": "LISBON lives"}, ["profile:lisbon"]),
        ({"user_id": "ada", "contains": '"in lisbon"'}, ["profile:lisbon"]),
        ({"user_id": "ada", "contains": '"lisbon in"'}, []),
        ({"user_id": "ada", "contains": '"lisbon in" OR "in  lisbon"'}, ["profile:lisbon"]),
        ({"session_id": "t", "contains": "tea"}, ["profile:tea"]),
        ({"finding": "test-traffic"}, ["profile:lisbon", "profile:tea"]),
        ({"finding": "test-traffic", "contains": "tea"}, ["profile:tea"]),
        ({"finding": "test-traffic", "user_id": "bob"}, []),
    ],
)
async def test_learnings_are_found_by_user_by_source_and_by_words(
    world: World, arguments: dict[str, str], found: list[str]
) -> None:
    await some(world)
    async with world.connect() as caller:
        result = await caller.result("list_learnings", **arguments)
    assert result.structured_content
    assert ids(result.structured_content) == found
    assert result.structured_content["total"] == len(found)


async def test_each_learning_says_where_it_came_from_and_how_that_is_known(world: World) -> None:
    await some(world)
    world.backend.profiles["old"] = Known("ada", "a")
    world.backend.profiles["unknown"] = Known("ada", "manual_12345678")
    await world.rest.delete_requests_by_ids(["b"])
    async with world.connect() as caller:
        facts = await caller.call("list_learnings", user_id="ada")
        of_request = await caller.call("list_learnings", request_id="a")
    told = {one["learning_id"]: one for one in facts["learnings"]}
    assert told["profile:lisbon"]["from_requests"] == [{"request_id": "a", "interactions": [1]}]
    assert told["profile:lisbon"]["source"] == "recorded"
    assert told["profile:lisbon"]["interactions_deleted"] == 1
    assert (told["profile:old"]["source"], told["profile:old"]["last_request"]) == ("not_known", "a")
    assert told["profile:unknown"]["source"] == "not_known"
    assert "from_requests" not in told["profile:unknown"]
    assert {one["learning_id"]: one["source"] for one in of_request["learnings"]} == {
        "profile:lisbon": "recorded",
        "profile:old": "reconstructed",
    }
    assert of_request["unlinked"] == 1


async def test_pages_hold_each_learning_once_current_ones_first(world: World) -> None:
    await world.put("a")
    for number in range(25):
        await world.learn(f"p{number}", "a", status="archived" if number % 2 else None)
    seen: list[dict] = []
    async with world.connect() as caller:
        cursor = ""
        while True:
            page = await caller.call("list_learnings", user_id="ada", limit=4, cursor=cursor)
            seen += page["learnings"]
            cursor = page.get("cursor", "")
            if not cursor:
                break
    assert len({one["learning_id"] for one in seen}) == len(seen) == 25
    states = [one["state"] for one in seen]
    assert states == sorted(states, key=lambda state: state != "current")


async def test_secrets_are_covered_and_hidden_content_is_not_shown(world: World) -> None:
    await world.put("a")
    token = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
    await world.learn("p", "a", content=f"The token is {token}")
    async with world.connect() as caller:
        result = await caller.result("list_learnings", user_id="ada")
    assert token not in text_of(result) + str(result.structured_content)
    assert "[redacted: " in text_of(result)
    async with world.connect(MASK="1") as caller:
        result = await caller.result("list_learnings", user_id="ada")
        assert "token" not in text_of(result) + str(result.structured_content)
        assert "hides what is stored" in await caller.refused(
            "list_learnings", user_id="ada", contains="rule:secret"
        )


async def test_another_users_learnings_are_out_of_reach(world: World) -> None:
    await some(world)
    async with world.connect(REFLEXIO_USER_ID="ada") as caller:
        assert ids(await caller.call("list_learnings")) == ["profile:lisbon", "profile:tea"]
        assert ids(await caller.call("list_learnings", session_id="s")) == ["profile:lisbon"]
        for request_id in ("c", "made-up"):
            said = await caller.refused("list_learnings", request_id=request_id)
            assert said.startswith(f"No request '{request_id}' of user 'ada' is stored here.")


async def test_a_call_that_names_nothing_says_what_it_needs(world: World) -> None:
    async with world.connect() as caller:
        said = await caller.refused("list_learnings")
        assert "needs user_id" in said
        assert "learning_ids" not in said  # it has no such argument
        assert "cursor" in await caller.refused("list_learnings", user_id="ada", cursor="@@@")
        assert "cursor" in await caller.refused("list_learnings", user_id="ada", cursor="W10")


async def test_the_embedded_store_does_not_offer_it() -> None:
    from reflexio_mcp.settings import load
    from reflexio_mcp.tools.catalog import offered

    assert "list_learnings" not in {tool.name for tool in offered(load({}))}
    assert "list_learnings" in {tool.name for tool in offered(load({"REFLEXIO_URL": "http://127.0.0.1:1"}))}


@pytest.mark.parametrize("later", range(4))
async def test_learnings_from_a_request_that_cannot_be_returned_are_not_said_to_be_none(
    world: World, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    # Which seconds are asked for together depends on when it is asked.
    now = int(time.time()) + later
    monkeypatch.setattr(paging.time, "time", lambda: now)
    await world.put("a")
    await world.put("b", session="t")
    await world.learn("p", "a", "b")
    world.backend.unreturned.add("a")
    async with world.connect(CONFIRM="preview") as caller:
        assert "Reflexio fails to return it" in await caller.refused("list_learnings", request_id="a")
        result = await caller.result("list_learnings", session_id="s")
        assert result.structured_content
        assert len(result.structured_content["unreadable"]) == 1
        assert "No learning of" not in text_of(result)
        assert "Whether anything was learned is not known." in text_of(result)
        # Its interactions are not known to be gone.
        [learned] = (await caller.call("list_learnings", user_id="ada"))["learnings"]
        assert "interactions_deleted" not in learned
        assert learned["interactions_not_looked_up"] == 1


async def test_the_request_that_has_the_quoted_words_is_named(world: World) -> None:
    await world.put("a", text="I live in Lisbon, near the river")
    await world.put("b", text="What is the weather?")
    await world.learn("p", "a", "b", quote="I live in  LISBON\n\nno such passage")
    async with world.connect() as caller:
        [learned] = (await caller.call("list_learnings", user_id="ada"))["learnings"]
    assert [one["request_id"] for one in learned["from_requests"]] == ["a", "b"]
    assert learned["said_in"] == ["a"]


async def test_every_request_that_a_merged_learning_quotes_is_named(world: World) -> None:
    await world.put("a", text="I live in Lisbon")
    await world.put("b", text="What is the weather?")
    await world.put("c", text="I moved to Porto")
    quote = merged("I moved to Porto", merged("I live in Lisbon", "I was born in Faro"))
    await world.learn("p", "a", "b", "c", quote=quote)
    async with world.connect() as caller:
        [learned] = (await caller.call("list_learnings", user_id="ada"))["learnings"]
    assert learned["said_in"] == ["a", "c"]
