"""list_learnings: which learnings it finds, what it says of their sources, and how it pages."""

import time
from typing import Any

import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.traffic.reading import paging
from tests.audit.stored import GITHUB_TOKEN
from tests.deletion.support import Known, World, text_of
from tests.learnings.rows import merged
from tests.support.facts import fact_of

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


@pytest.mark.parametrize("selection", [{"request_id": "e2e"}, {"finding": "test-traffic"}])
async def test_a_learning_that_quotes_only_other_requests_of_its_window_is_counted_and_not_listed(
    world: World, selection: dict[str, str]
) -> None:
    await world.put("real", text="I cannot eat peanuts")
    await world.put("e2e", session="e2e", source="staging", text="My favourite colour is test-blue")
    await world.learn("nuts", "real", "e2e", content="No peanuts", quote="I cannot eat peanuts")
    await world.learn("colour", "real", "e2e", content="Likes test-blue", quote="colour is test-blue")
    await world.learn("unknown", "real", "e2e", content="Likes cats")
    async with world.connect() as caller:
        result = await caller.result("list_learnings", **selection)
    assert result.structured_content
    assert ids(result.structured_content) == ["profile:colour", "profile:unknown"]
    assert result.structured_content["total"] == 2
    assert (fact_of(result.structured_content, "learned_beside") or {})["number"] == 1
    assert "1 learning was learned at the same time and quotes only other requests." in text_of(result)


async def test_each_learning_says_where_it_came_from_and_how_that_is_known(world: World) -> None:
    await some(world)
    world.backend.profiles["old"] = Known("ada", "a")
    world.backend.profiles["unknown"] = Known("ada", "manual_12345678")
    await world.rest.delete_requests_by_ids(["b"])
    async with world.connect() as caller:
        facts = await caller.call("list_learnings", user_id="ada")
        of_request = await caller.call("list_learnings", request_id="a")
    told = {one["learning_id"]: one for one in facts["learnings"]}
    [interaction] = await world.interactions("a")
    assert told["profile:lisbon"]["from_requests"] == [{"request_id": "a", "interaction_ids": [interaction]}]
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
    async with world.connect() as operator:
        said = await operator.refused("list_learnings", request_id="c", user_id="ada")
        assert said.startswith("No request 'c' of user 'ada' is stored here.")


async def test_an_operator_who_names_nothing_gets_what_is_in_use_of_everybody_with_counts(
    world: World,
) -> None:
    await some(world)
    await world.learn("boats", "a", content="Likes boats")
    async with world.connect() as caller:
        result = await caller.result("list_learnings")
        of_ada = await caller.call("list_learnings", user_id="ada")
    assert result.structured_content
    assert set(ids(result.structured_content)) == {"profile:lisbon", "profile:boats", "user_playbook:7"}
    assert result.structured_content["by_user"] == [
        {"user_id": "ada", "learnings": 2},
        {"user_id": "bob", "learnings": 1},
    ]
    assert "of every user\nada 2, bob 1" in text_of(result)
    assert "by_user" not in of_ada
    [lisbon] = [
        row for row in result.structured_content["learnings"] if row["learning_id"] == "profile:lisbon"
    ]
    assert lisbon["user_id"] == "ada"
    async with world.connect(REFLEXIO_USER_ID="bob") as caller:
        assert ids(await caller.call("list_learnings")) == ["user_playbook:7"]


async def test_learnings_can_be_listed_without_their_content(world: World) -> None:
    await some(world)
    async with world.connect() as caller:
        result = await caller.result("list_learnings", user_id="ada", detail="masked")
    assert result.structured_content
    assert ids(result.structured_content) == ["profile:lisbon", "profile:tea"]
    assert "Lisbon" not in f"{text_of(result)}{result.structured_content}"


@pytest.mark.parametrize("instead", [{"shared": True}, {"changed_since": "10h", "user_id": "ada"}])
async def test_what_is_listed_instead_of_learnings_can_hide_its_content_too(
    world: World, instead: dict[str, Any]
) -> None:
    await world.put("r1")
    await world.learn("lisbon", "r1", content="Lives in Lisbon", changed=int(time.time()) - 60)
    world.backend.agent_playbooks = {1: ["ada"]}
    async with world.connect() as caller:
        shown = await caller.result("list_learnings", **instead)
        hidden = await caller.result("list_learnings", detail="masked", **instead)
    for result, shows in ((shown, True), (hidden, False)):
        told = f"{text_of(result)}{result.structured_content}"
        assert ("Lisbon" in told or "rule 1" in told) is shows
        assert result.structured_content
        assert result.structured_content["returned"] == 1


async def test_a_cursor_that_is_none_is_refused(world: World) -> None:
    async with world.connect() as caller:
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


def said(learned: dict) -> list[tuple[str, str]]:
    return [(one["quote"], one["request_id"]) for one in learned["evidence"]]


async def test_the_words_that_taught_a_learning_are_shown_with_their_place(world: World) -> None:
    await world.put("a", text="I live in Lisbon, near the river")
    await world.put("b", text="What is the weather?")
    await world.learn("p", "a", "b", quote="I live in  LISBON\n\nno such passage")
    [interaction] = await world.interactions("a")
    async with world.connect() as caller:
        result = await caller.result("list_learnings", user_id="ada")
    assert result.structured_content
    [learned] = result.structured_content["learnings"]
    [words] = learned["evidence"]
    assert (words["quote"], words["request_id"]) == ("I live in  LISBON", "a")
    assert (words["interaction_id"], words["role"]) == (interaction, "User")
    assert "near" not in words
    assert learned["quotes_not_found"] == ["no such passage"]
    assert learned["window_only"] == 1
    # What it quotes is not all stored, so it may come from either.
    assert [one["request_id"] for one in learned["from_requests"]] == ["a", "b"]
    assert f"“I live in  LISBON” said by User · a interaction {interaction}" in text_of(result)


async def test_a_learning_whose_words_are_all_stored_names_no_other_request_of_its_window(
    world: World,
) -> None:
    await world.put("a", text="I live in Lisbon")
    await world.put("b", text="Something shorter?")
    await world.learn("p", "a", "b", quote="I live in Lisbon")
    async with world.connect() as caller:
        result = await caller.result("list_learnings", user_id="ada")
    assert result.structured_content
    [learned] = result.structured_content["learnings"]
    assert said(learned) == [("I live in Lisbon", "a")]
    assert "from_requests" not in learned
    assert "b" not in {one["request_id"] for one in learned["evidence"]}
    assert "not quoted: 1 interaction" in text_of(result)


async def test_similar_words_are_marked_and_a_learning_without_stored_words_says_so(world: World) -> None:
    await world.put("a", text="I would never eat peanuts again, they are not for me")
    await world.learn("p", "a", quote="I would never eat peanuts again; they aren't for me")
    await world.learn("q", "a", quote="")
    async with world.connect() as caller:
        result = await caller.result("list_learnings", user_id="ada")
    assert result.structured_content
    told = {one["learning_id"]: one for one in result.structured_content["learnings"]}
    assert [one["near"] for one in told["profile:p"]["evidence"]] == [True]
    assert "said in similar words by User" in text_of(result)
    assert "evidence" not in told["profile:q"]
    assert "quotes nothing that is stored" in text_of(result)


async def test_each_quote_of_a_merged_learning_is_shown_with_its_own_place(world: World) -> None:
    await world.put("a", text="I live in Lisbon")
    await world.put("b", text="What is the weather?")
    await world.put("c", text="I moved to Porto")
    quote = merged("I moved to Porto", merged("I live in Lisbon", "I was born in Faro"))
    await world.learn("p", "a", "b", "c", quote=quote)
    async with world.connect() as caller:
        [learned] = (await caller.call("list_learnings", user_id="ada"))["learnings"]
    assert said(learned) == [("I moved to Porto", "c"), ("I live in Lisbon", "a")]
    assert learned["quotes_not_found"] == ["I was born in Faro"]


async def test_a_learning_is_shown_with_what_it_replaced_and_a_replaced_one_with_its_successor(
    world: World,
) -> None:
    await world.put("a", text="I cannot eat peanuts")
    await world.put("b", text="I love peanut butter")
    await world.learn(
        "old", "a", content="Cannot eat peanuts", quote="I cannot eat peanuts", status="superseded"
    )
    quote = merged("I cannot eat peanuts", "I love peanut butter")
    await world.learn("new", "a", "b", content="Loves peanuts", quote=quote)
    # The time of a replaced profile is that of its replacement.
    async with world.connect() as caller:
        result = await caller.result("list_learnings", user_id="ada")
    assert result.structured_content
    told = {one["learning_id"]: one for one in result.structured_content["learnings"]}
    assert [one["content"] for one in told["profile:new"]["replaced"]] == ["Cannot eat peanuts"]
    assert told["profile:old"]["replaced_by"]["content"] == "Loves peanuts"
    assert "replaced by profile:new" in text_of(result)


async def test_hidden_content_leaves_the_place_of_the_words(world: World) -> None:
    await world.put("a", text="I live in Lisbon")
    await world.learn("p", "a", quote="I live in Lisbon\n\nno such passage")
    async with world.connect(MASK="1") as caller:
        result = await caller.result("list_learnings", user_id="ada")
    assert result.structured_content
    [learned] = result.structured_content["learnings"]
    assert [one["request_id"] for one in learned["evidence"]] == ["a"]
    assert "Lisbon" not in text_of(result) + str(result.structured_content)
    assert "no such passage" not in str(result.structured_content)


async def test_the_call_for_learnings_without_a_source_names_those_of_the_user_who_has_most(
    world: World,
) -> None:
    for name, user in (("one", "ada"), ("two", "ada"), ("of bob", "bob")):
        await world.put(name, user=user, session=f"of {user}")
        await world.put(f"{name} stays", user=user, session=f"of {user}", text=f"something else than {name}")
        await world.learn(name, name, user=user)
        await world.rest.delete_requests_by_ids([name])
    async with world.connect() as caller:
        found = {row["finding"]: row for row in (await caller.call("audit_traffic"))["findings"]}
        row = found["orphaned-learning"]
        assert row["count"] == 3
        asked = row["act"]["arguments"]
        assert (asked["user_id"], sorted(asked["learning_ids"])) == ("ada", ["profile:one", "profile:two"])
        assert {place["user_id"] for place in row["places"]} == {"ada"}
        plan = await caller.plan(row["act"]["tool"], **asked)
    assert plan["selected"] == {"learnings": 2}


async def test_an_audit_offers_no_call_about_a_user_whom_no_call_can_name(world: World) -> None:
    user = "ada" + "\u200b" * 200  # as an escape, it is longer than what lists show of an id
    await world.put("one", user=user)
    await world.put("another", user=user, text="something else")
    await world.learn("p", "one", user=user)
    await world.rest.delete_requests_by_ids(["one"])
    async with world.connect() as caller:
        found = {row["finding"]: row for row in (await caller.call("audit_traffic"))["findings"]}
    row = found["orphaned-learning"]
    assert (row["count"], row.get("show"), row.get("act")) == (1, None, None)


async def test_an_audit_of_learnings_does_not_show_a_key_in_the_id_of_their_user(world: World) -> None:
    await world.put("one", user=GITHUB_TOKEN)
    await world.put("another", user=GITHUB_TOKEN, text="something else")
    await world.learn("p", "one", user=GITHUB_TOKEN)
    await world.rest.delete_requests_by_ids(["one"])
    async with world.connect() as caller:
        found = {row["finding"]: row for row in (await caller.call("audit_traffic"))["findings"]}
    assert found["orphaned-learning"]["places"][0]["user_id"] == "[redacted: github-pat]"
    assert GITHUB_TOKEN not in str(found)


async def test_evidence_does_not_show_a_key_in_the_name_of_who_said_it(world: World) -> None:
    said = Interaction(role=GITHUB_TOKEN, content="I cannot eat peanuts.")
    body = PublishBody(user_id="ada", session_id="s", request_id="a", interaction_data_list=[said])
    await world.rest.publish(body, minted=False)
    await world.learn("nuts", "a", content="No peanuts", quote="I cannot eat peanuts.")
    async with world.connect() as caller:
        page = await caller.call("list_learnings", user_id="ada")
    assert page["learnings"][0]["evidence"][0]["role"] == "[redacted: github-pat]"


async def test_an_audit_shows_what_taught_the_learnings_that_it_finds(world: World) -> None:
    await world.put("a", text="I cannot eat peanuts. Thanks!")
    await world.put("b", text="What is the weather?")
    await world.learn("nuts", "a", "b", content="No peanuts", quote="I cannot eat peanuts.")
    await world.put("c", text="I like jazz")
    await world.learn("jazz", "c", content="Likes jazz", quote="I like jazz")
    await world.rest.delete_requests_by_ids(["c"])
    async with world.connect() as caller:
        found = {row["finding"]: row for row in (await caller.call("audit_traffic"))["findings"]}
        said = text_of(await caller.result("audit_traffic"))
    rows = {row["learning_id"]: row for row in found["stale-learning"]["learnings"]}
    [evidence] = rows["profile:nuts"]["evidence"]
    assert (evidence["quote"], evidence["request_id"]) == ("I cannot eat peanuts.", "a")
    assert rows["profile:nuts"]["window_only"] == 1
    [orphan] = found["orphaned-learning"]["learnings"]
    assert (orphan["learning_id"], orphan["quotes_not_found"]) == ("profile:jazz", ["I like jazz"])
    assert "“I cannot eat peanuts.” said by User · a" in said
    assert "quotes nothing that is stored" in said


async def orphans(world: World) -> list[str]:
    async with world.connect() as caller:
        found = {row["finding"]: row for row in (await caller.call("audit_traffic"))["findings"]}
    return [place["learning_id"] for place in found.get("orphaned-learning", {}).get("places", [])]


async def test_a_learning_whose_words_are_deleted_is_orphaned_though_its_window_is_stored(
    world: World,
) -> None:
    await world.put("a", text="I cannot eat peanuts")
    await world.put("b", text="What is the weather?")
    await world.learn("nuts", "a", "b", quote="I cannot eat peanuts")
    await world.learn("rain", "a", "b", quote="What is the weather?")
    await world.learn("silent", "a", "b")
    await world.rest.delete_requests_by_ids(["a"])
    assert await orphans(world) == ["profile:nuts"]
    await world.rest.delete_requests_by_ids(["b"])
    await world.put("c", text="another request")
    assert set(await orphans(world)) == {"profile:nuts", "profile:rain", "profile:silent"}


async def test_a_learning_whose_words_are_stored_again_is_not_orphaned(world: World) -> None:
    await world.put("a", text="My sister is called Vreni")
    await world.learn("p", "a", quote="sister is called Vreni")
    await world.rest.delete_requests_by_ids(["a"])
    await world.put("again", text="My sister is called Vreni")
    assert await orphans(world) == []


@pytest.mark.parametrize("word", ["peanuts", "Tuesday", "ordering"], ids=["content", "quote", "trigger"])
async def test_words_find_a_learning_by_each_of_its_texts(world: World, word: str) -> None:
    await world.put("a", text="It was on a Tuesday")
    await world.learn(7, "a", content="No peanuts", quote="It was on a Tuesday", trigger="when ordering")
    async with world.connect() as caller:
        assert ids(await caller.call("list_learnings", user_id="ada", contains=word)) == ["user_playbook:7"]
