"""What was learned is deleted by its source, by id, or by its words, and what is left of it is said."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp.server.runtime import Runtime
from reflexio_mcp.traffic.deletion.execute import _Act  # pyright: ignore[reportPrivateUsage]
from tests.deletion.support import BY_IDS, World, agreeing, nothing
from tests.learnings.rows import merged
from tests.support.facts import fact_of, text_of

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    from reflexio_mcp.traffic.learnings import remove

    monkeypatch.setattr(remove, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(remove, "LONGEST_PAUSE", 0.01)
    assert remove.delete_learnings.__kwdefaults__
    monkeypatch.setitem(remove.delete_learnings.__kwdefaults__, "seconds", 0.3)


async def two(world: World) -> None:
    await world.put("r1")
    await world.put("r2", user="bob")
    await world.learn("p", "r1", content="likes tea")
    await world.learn(7, "r1", content="offer tea", trigger="in the morning")
    await world.learn("q", "r2", user="bob", content="likes coffee")


def left(world: World) -> set[str | int]:
    return {*world.backend.profiles, *world.backend.playbooks}


async def test_a_deleted_playbook_comes_back_although_replaced_ones_that_say_the_same_are_stored(
    world: World,
) -> None:
    await world.put("r1")
    await world.learn(7, "r1", content="offer tea", status="merged")
    await world.learn(8, "r1", content="offer tea")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_learnings", user_id="ada", learning_ids=["user_playbook:8"])
        back = await caller.restored(receipt["number"])
    assert back["restored"] == {"learnings": 1}
    assert [known.status for known in world.backend.playbooks.values()] == ["merged", None]


async def test_a_learning_of_which_an_erasure_beside_it_forbids_a_copy_stays_and_goes_with_one_later(
    world: World,
) -> None:
    await world.put("r1")
    await world.learn("p", "r1", content="likes tea")
    asked: dict[str, Any] = {"user_id": "ada", "learning_ids": ["profile:p"]}
    async with world.connect(CONFIRM="off") as caller, world.connect(CONFIRM="off") as other:

        async def erase() -> None:
            await other.receipt("delete_request", request_id="r1", erase=True)

        world.backend.before["/api/get_operation_status"] = [erase]
        receipt = await caller.receipt("delete_learnings", **asked)
        assert (receipt["status"], left(world)) == ("incomplete", {"p"})
        assert receipt["not_deleted"] == [{"why": "still_present", "count": 1, "ids": ["profile:p"]}]
        again = await caller.receipt("delete_learnings", **asked)
        assert (again["status"], left(world)) == ("complete", set())
        await caller.restored(again["number"])
    assert left(world) == {"p"}


SELECTIONS: dict[str, tuple[dict[str, Any], set[str | int]]] = {
    "by id": ({"user_id": "ada", "learning_ids": ["profile:p"]}, {7, "q"}),
    "by request": ({"request_id": "r1"}, {"q"}),
    "by session": ({"session_id": "s"}, set()),
    "of a user": ({"user_id": "ada"}, {"q"}),
    "by words": ({"user_id": "ada", "contains": "morning"}, {"p", "q"}),
}


@pytest.mark.parametrize("how", SELECTIONS)
async def test_learnings_are_deleted_and_their_requests_stay(world: World, how: str) -> None:
    await two(world)
    arguments, stays = SELECTIONS[how]
    async with world.connect() as caller:
        plan = await caller.plan("delete_learnings", **arguments)
        assert plan["selected"] == {"learnings": 3 - len(stays)}
        taught = fact_of(plan, "sources_stay")
        receipt = await caller.receipt("delete_learnings", **arguments, confirm=plan["confirm"])
    assert (receipt["status"], receipt["deleted"]) == ("complete", plan["selected"])
    assert fact_of(receipt, "sources_stay") == taught
    assert left(world) == stays
    assert await world.ids() == {"r1", "r2"}


@pytest.mark.parametrize("where", [{"request_id": "r1"}, {"session_id": "s"}])
async def test_words_beside_a_request_or_a_session_leave_what_was_learned_there_and_does_not_have_them(
    world: World, where: dict[str, str]
) -> None:
    await two(world)
    async with world.connect() as caller:
        receipt = await caller.confirmed("delete_learnings", **where, contains="morning")
    assert (receipt["status"], receipt["deleted"]) == ("complete", {"learnings": 1})
    assert left(world) == {"p", "q"}


@pytest.mark.parametrize("returned", [True, False])
async def test_sources_that_cannot_be_read_are_not_called_gone(world: World, returned: bool) -> None:
    await world.put("r1")
    await world.learn("p", "r1", content="likes tea")
    if returned:
        await world.rest.delete_requests_by_ids(["r1"])
    else:
        world.backend.unreturned.add("r1")
    async with world.connect() as caller:
        plan = await caller.plan("delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert bool(fact_of(plan, "sources_gone")) is returned
    assert bool(fact_of(plan, "sources_unknown")) is not returned


async def test_what_came_from_test_traffic_alone_is_deleted_by_the_finding(world: World) -> None:
    await world.put("real", text="I live in Lisbon")
    await world.put("trial", text="I like tea", session="t", source="staging")
    await world.learn("lisbon", "real", "trial", content="Lives in Lisbon", quote="I live in Lisbon")
    await world.learn(7, "real", "trial", content="Tea in Lisbon", quote="I live in Lisbon\n\nI like tea")
    await world.learn("tea", "trial", content="Likes tea", quote="I like tea")
    asked: dict[str, Any] = {"finding": "test-traffic", "everything": True}
    async with world.connect() as caller:
        plan = await caller.plan("delete_learnings", **asked)
        await caller.receipt("delete_learnings", **asked, confirm=plan["confirm"])
    assert plan["selected"] == {"learnings": 1}
    cases = {row["learning_id"]: (row["case"], row.get("quoted_in")) for row in plan["learnings"]}
    assert cases == {
        "profile:tea": ("only", None),
        "user_playbook:7": ("partly", ["real"]),
        "profile:lisbon": ("window", ["real"]),
    }
    assert left(world) == {"lisbon", 7}


@pytest.mark.parametrize("finding", ["possible-secret", "possible-prompt-injection"])
async def test_learnings_of_what_has_to_be_judged_are_not_deleted_by_the_finding(
    world: World, finding: str
) -> None:
    await two(world)
    async with world.connect(CONFIRM="off") as caller:
        said = await caller.refused("delete_learnings", finding=finding, everything=True)
    assert "Judge each, and name what goes by its ids; nothing was deleted." in said
    assert left(world) == {"p", 7, "q"}


async def test_ids_and_words_together_are_refused_because_they_would_not_mean_the_same(world: World) -> None:
    await two(world)
    async with world.connect(CONFIRM="off") as caller:
        asked: dict[str, Any] = {"user_id": "ada", "learning_ids": ["profile:p"], "contains": "morning"}
        said = await caller.refused("delete_learnings", **asked)
    assert said.startswith("learning_ids cannot be combined with a filter")
    assert "profile:p" not in said


async def test_nobodys_learning_is_deleted_by_the_id_of_another_user(world: World) -> None:
    await two(world)
    async with world.connect(CONFIRM="off") as caller:
        answer = await caller.call("delete_learnings", user_id="ada", learning_ids=["profile:q"])
    assert (answer["status"], answer["plan"]["not_found"]) == ("not_found", ["profile:q"])
    assert left(world) == {"p", 7, "q"}


async def test_a_deletion_of_requests_takes_what_they_taught_if_that_was_agreed_to(world: World) -> None:
    await two(world)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1", include_learnings=True)
    assert receipt["deleted"] == {"requests": 1, "interactions": 1, "learnings": 2}
    assert left(world) == {"q"}


async def test_a_learning_that_a_merge_brings_back_is_deleted_too_and_can_be_restored(world: World) -> None:
    await two(world)
    merged: list[bool] = []

    async def merge() -> None:
        known = world.backend.profiles["p"]
        merged.append(True)
        world.backend.profiles["merged"] = known._replace(content="likes tea and toast")

    world.backend.before["/api/delete_profiles_by_ids"] = [merge]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1", include_learnings=True)
        assert "1 more learning appeared meanwhile and was deleted too." in receipt["text"]
        assert left(world) == {"q"}
        done = await caller.restored(receipt["number"])
    assert merged
    assert done["restored"]["learnings"] == 3


async def test_words_name_learnings_enough_where_the_user_is_fixed(world: World) -> None:
    await two(world)
    async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        answer = await caller.call("delete_learnings", contains="nothing-says-this")
    assert answer["status"] == "not_found"


async def test_who_names_learnings_types_no_number_although_everything_is_given_too(world: World) -> None:
    await two(world)
    person = agreeing()
    async with world.connect(person=person) as caller:
        ids = [
            row["learning_id"] for row in (await caller.call("list_learnings", user_id="ada"))["learnings"]
        ]
        asked: dict[str, Any] = {"user_id": "ada", "learning_ids": ids[:1], "everything": True}
        receipt = await caller.receipt("delete_learnings", **asked, reason="a mistake")
    assert set(person.schemas[0]["properties"]) == {"delete"}
    assert (receipt["deleted"], "a mistake" in receipt["reason"]) == ({"learnings": 1}, True)


async def test_all_learnings_of_a_named_user_need_no_number_typed(world: World) -> None:
    await two(world)
    person = agreeing()
    async with world.connect(person=person) as caller:
        receipt = await caller.receipt("delete_learnings", user_id="ada", everything=True)
    assert set(person.schemas[0]["properties"]) == {"delete"}
    assert receipt["status"] == "complete"


async def test_unfinished_learning_is_not_called_complete(world: World) -> None:
    await two(world)
    await world.put("r3")
    world.backend.learning = [{"status": "processing", "reason": "extracting"}] * 1_000
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1", include_learnings=True)
    assert receipt["status"] == "incomplete"
    assert "Reflexio may still be learning from 1 user" in receipt["text"]
    assert fact_of(receipt, "learnings_may_be_missed")


async def test_what_of_the_learnings_is_still_there_is_named(world: World) -> None:
    await two(world)
    world.backend.answering["/api/delete_profiles_by_ids"] = {"success": True, "deleted_count": 1}
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_learnings", user_id="ada")
    assert receipt["status"] == "incomplete"
    assert receipt["not_deleted"] == [{"why": "still_present", "count": 1, "ids": ["profile:p"]}]
    assert receipt["deleted"] == {"learnings": 1}


async def test_a_learning_whose_text_changed_since_the_plan_is_left_alone(world: World) -> None:
    await two(world)
    arguments = {"user_id": "ada", "learning_ids": ["profile:p"]}
    async with world.connect() as caller:
        plan = await caller.plan("delete_learnings", **arguments)
        await world.learn("p", "r1", content="likes nothing")
        answer = await caller.call("delete_learnings", **arguments, confirm=plan["confirm"])
    assert answer["status"] == "changed"
    assert "p" in left(world)


@pytest.mark.parametrize("source", ["r1", "r3"])
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("delete_learnings", {"user_id": "ada", "learning_ids": ["profile:p"]}),
        ("delete_request", {"request_id": "r1", "include_learnings": True}),
    ],
)
async def test_a_learning_that_is_edited_between_the_plan_and_the_second_reading_stays(
    world: World, tool: str, arguments: dict[str, Any], source: str
) -> None:
    """It is not what was agreed to, whether it still names the same sources or not."""
    await two(world)
    await world.put("r3")
    sources = await world.interactions(source)

    async def edit() -> None:
        edited = world.backend.profiles["p"]._replace(content="likes nothing", interactions=sources)
        world.backend.profiles["p"] = edited

    async with world.connect() as caller:
        plan = await caller.plan(tool, **arguments)
        world.backend.before["/api/get_operation_status"] = [edit]
        receipt = await caller.receipt(tool, **arguments, confirm=plan["confirm"])
    assert receipt["status"] == "incomplete"
    assert receipt["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["profile:p"]}]
    assert world.backend.profiles["p"].content == "likes nothing"


async def test_a_plan_for_learnings_names_the_stored_requests_that_taught_them_and_a_plan_for_both(
    world: World,
) -> None:
    await two(world)
    await world.put("r3")
    await world.learn("late", "r1", "r3", content="likes cake", quote="words")
    asked = {"user_id": "ada", "learning_ids": ["profile:late"]}
    async with world.connect(CONFIRM="off") as caller:
        first = await caller.receipt("delete_learnings", **asked)
        assert (fact_of(first, "sources_stay") or {})["names"] == ["r1", "r3"]
        both_in_one = "delete_requests with request_ids and include_learnings=true deletes both in one plan"
        assert both_in_one in first["text"]
        await caller.restored(first["number"])
        both = await caller.receipt("delete_requests", request_ids=["r1", "r3"], include_learnings=True)
        assert both["deleted"] == {"requests": 2, "interactions": 2, "learnings": 3}


async def test_of_a_window_only_the_requests_that_a_learning_quotes_are_named_as_its_teachers(
    world: World,
) -> None:
    await world.put("r1", text="I cannot eat peanuts")
    await world.put("r2", text="What is the weather?")
    await world.put("r3", text="No peanuts in the cake, please")
    quote = "I cannot eat peanuts\n\nNo peanuts in the cake please!"
    await world.learn("p", "r1", "r2", "r3", content="no peanuts", quote=quote)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert (fact_of(receipt, "sources_stay") or {})["names"] == ["r1", "r3"]


async def moved(world: World, *others: str) -> None:
    await world.put("move", text="I have moved from Berlin to Vienna")
    await world.put("papers", text="Which papers do I need?")
    for number, text in enumerate(others):
        await world.put(f"other-{number}", text=text)
    await world.learn("home", "move", content="Lives in Vienna", quote="I have moved from Berlin to Vienna")


FORGETTING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("delete_learnings", {"user_id": "ada", "learning_ids": ["profile:home"]}),
    ("delete_requests", {"request_ids": ["move"], "include_learnings": True}),
)


@pytest.mark.parametrize(("tool", "asked"), FORGETTING)
async def test_a_plan_says_that_no_other_request_has_a_word_of_what_is_forgotten(
    world: World, tool: str, asked: dict[str, Any]
) -> None:
    await moved(world)
    await world.put("bobs", user="bob", text="How is Vienna?")
    async with world.connect() as caller:
        plan = await caller.plan(tool, **asked)
    assert fact_of(plan, "words_nowhere_else") == {
        "code": "words_nowhere_else",
        "number": 1,
        "names": ["lives", "vienna", "moved", "berlin"],
    }
    assert not fact_of(plan, "words_elsewhere")


@pytest.mark.parametrize(("tool", "asked"), FORGETTING)
async def test_a_request_that_says_the_same_and_has_not_taught_it_is_counted(
    world: World, tool: str, asked: dict[str, Any]
) -> None:
    await moved(world, "I have moved from Berlin to Vienna")
    async with world.connect() as caller:
        plan = await caller.plan(tool, **asked)
    assert (fact_of(plan, "words_elsewhere") or {})["number"] == 1
    assert not fact_of(plan, "words_nowhere_else")


@pytest.mark.parametrize(("tool", "asked"), FORGETTING)
async def test_a_plan_names_the_words_of_what_is_forgotten_that_other_requests_have(
    world: World, tool: str, asked: dict[str, Any]
) -> None:
    await moved(world, "The cat moved", "We moved the sofa", "A restaurant in VIENNA, please")
    async with world.connect() as caller:
        plan = await caller.plan(tool, **asked)
        receipt = await caller.receipt(tool, **asked, confirm=plan["confirm"])
    assert fact_of(plan, "words_elsewhere") == {
        "code": "words_elsewhere",
        "number": 3,
        "names": ["vienna", "moved"],
    }
    assert "vienna" not in str(receipt["facts"])


async def test_other_requests_are_not_searched_if_many_learnings_go_or_a_part_cannot_be_read(
    world: World,
) -> None:
    await moved(world)
    world.backend.unreturned = {"papers"}
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", request_ids=["move"], include_learnings=True)
        assert not {fact["code"] for fact in plan["facts"]} & {"words_elsewhere", "words_nowhere_else"}
        world.backend.unreturned = set()
        for number in range(3):
            await world.learn(f"more-{number}", "move", content=f"Lives in Vienna {number}")
        plan = await caller.plan("delete_requests", request_ids=["move"], include_learnings=True)
    assert plan["selected"]["learnings"] == 4
    assert not {fact["code"] for fact in plan["facts"]} & {"words_elsewhere", "words_nowhere_else"}


async def test_no_word_of_a_secret_is_looked_for(world: World) -> None:
    await world.put("r1", text="The wifi password is Tulpenzwiebel-77")
    await world.put("r2", text="Something redacted")
    await world.learn("wifi", "r1", content="The wifi password is Tulpenzwiebel-77")
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", request_id="r1", include_learnings=True)
    assert (fact_of(plan, "words_nowhere_else") or {})["names"] == ["password"]


async def test_a_list_says_how_a_learning_is_forgotten_for_good_and_that_nothing_else_has_its_words(
    world: World,
) -> None:
    await moved(world)
    async with world.connect() as caller:
        result = await caller.result("list_learnings", user_id="ada")
        listed = result.structured_content or {}
        assert fact_of(listed, "sources_in_one_plan")
        assert listed["learnings"][0]["words_nowhere_else"]
        assert "no other stored request has one of its longer words" in text_of(result)
        await world.put("other", text="A restaurant in VIENNA, please")
        listed = await caller.call("list_learnings", user_id="ada")
        assert "words_nowhere_else" not in listed["learnings"][0]


@pytest.mark.parametrize("linked", [True, False])
async def test_a_receipt_says_whether_a_kept_conversation_can_teach_a_learning_again(
    world: World, linked: bool
) -> None:
    await world.put("r1")
    await world.learn("p", "r1", content="likes tea")
    if not linked:
        world.backend.profiles["p"] = world.backend.profiles["p"]._replace(interactions=())
    await world.rest.delete_requests_by_ids(["r1"])
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_learnings", user_id="ada")
    said = "No source interactions are stored" if linked else "It is unknown whether source interactions"
    assert said in receipt["text"]


async def merged_by_a_test_run(world: World) -> None:
    """What a real conversation taught was replaced by what a test run said."""
    await world.put("real", session="real", text="I cannot eat peanuts")
    await world.put("ci", session="ci", text="I love peanut butter")
    await world.learn(
        "old", "real", status="superseded", content="Cannot eat peanuts", quote="I cannot eat peanuts"
    )
    quote = (
        "Original source evidence values (separate excerpts):\nI love peanut butter\n\n"
        "--- Separate source evidence value ---\n\nI cannot eat peanuts"
    )
    await world.learn("new", "real", "ci", content="Loves peanuts", quote=quote)


async def test_the_page_gets_what_else_a_learning_may_come_from_and_also_what_is_not_in_use(
    world: World,
) -> None:
    await merged_by_a_test_run(world)
    await world.learn(7, "real", "ci", content="offer fruit")
    async with world.connect() as caller:
        planned = await caller.call("explorer_data", view="plan", request_ids=["real"])
    told = {
        row["learning_id"]: (row["case"], row["state"], row["kept"], row["kept_unread"])
        for row in planned["plan"]["learned"]
    }
    assert told == {
        "profile:new": ("partly", "current", ["ci"], False),
        "profile:old": ("only", "superseded", [], False),
        "user_playbook:7": ("unknown", "current", ["ci"], False),
    }


async def test_plan_question_and_receipt_name_what_goes_and_what_is_current_again(world: World) -> None:
    await merged_by_a_test_run(world)
    person = agreeing()
    async with world.connect(person=person) as caller:
        done = await caller.call("delete_session", session_id="ci", include_learnings=True)
    [question] = person.seen
    assert "“Loves peanuts”; current again: “Cannot eat peanuts”" in question
    receipt = done["receipt"]
    [row] = receipt["learnings"]
    assert (row["case"], row["goes"], row["content"]) == ("replace", True, "Loves peanuts")
    assert row["earlier"] == [{"learning_id": "profile:old", "content": "Cannot eat peanuts"}]
    assert receipt["deleted"]["learnings"] == 1
    assert {name: one.status for name, one in world.backend.profiles.items()} == {"old": None}


async def test_of_many_learnings_twenty_are_named_and_a_call_lists_the_rest(world: World) -> None:
    await world.put("r1", text="I like numbers")
    texts = {f"Likes {number:02}" for number in range(25)}
    for text in texts:
        await world.learn(text.replace(" ", "-"), "r1", content=text)
    asked = {"request_id": "r1", "include_learnings": True}
    async with world.connect(CONFIRM="preview") as caller:
        plan = await caller.plan("delete_request", **asked)
        assert len({row["content"] for row in plan["learnings"]} & texts) == 20
        assert (fact_of(plan, "learnings_not_shown") or {})["number"] == 5
        assert "list_learnings with the same filter or user lists them" in plan["text"]
        listed = await caller.call("list_learnings", request_id="r1", limit=100)
        assert {row["content"] for row in listed["learnings"]} == texts
    person = agreeing()
    async with world.connect(person=person) as caller:
        receipt = await caller.receipt("delete_request", **asked)
        assert len([text for text in texts if text in person.seen[0]]) == 20
        assert "5 more learnings of this selection are not shown" in person.seen[0]
        assert len(receipt["learnings"]) == 20
        changes = await caller.call("list_learnings", user_id="ada", changed_since="1h", limit=100)
    assert {row["content"] for row in changes["changes"] if row["change"] == "taken_back"} == texts


async def test_an_undo_puts_the_replaced_and_the_replacing_learning_back(world: World) -> None:
    await merged_by_a_test_run(world)
    before = dict(world.backend.profiles)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_session", session_id="ci", include_learnings=True)
        await caller.restored(receipt["number"])
    states = {name: (one.content, one.status) for name, one in world.backend.profiles.items()}
    assert states == {name: (one.content, one.status) for name, one in before.items()}


async def test_an_undo_leaves_a_replaced_learning_alone_that_the_deletion_did_not_make_current_again(
    world: World,
) -> None:
    await merged_by_a_test_run(world)
    async with world.connect(CONFIRM="off") as caller:
        world.backend.failing["/api/add_user_profile"] = (0, 422)
        receipt = await caller.receipt("delete_session", session_id="ci", include_learnings=True)
        assert {name: known.status for name, known in world.backend.profiles.items()} == {"old": "superseded"}
        world.backend.failing.clear()
        back = await caller.restored(receipt["number"])
    assert back["restored"]["learnings"] == 1
    assert back["not_restored"] == [{"why": "already_there", "count": 1, "ids": ["profile:old"]}]


async def test_a_receipt_on_record_has_no_text_of_a_learning(world: World) -> None:
    await merged_by_a_test_run(world)
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_session", session_id="ci", include_learnings=True)
        status = await caller.call("get_status")
    [row] = status["deletions"][0]["receipt"]["learnings"]
    assert row["learning_id"] == "profile:new"
    assert "eanuts" not in str(status)


async def test_a_code_does_not_fit_once_another_learning_would_come_back(world: World) -> None:
    await merged_by_a_test_run(world)
    asked = {"session_id": "ci", "include_learnings": True}
    async with world.connect() as caller:
        plan = await caller.plan("delete_session", **asked)
        del world.backend.profiles["old"]
        answer = await caller.call("delete_session", **asked, confirm=plan["confirm"])
    assert answer["status"] == "changed"
    assert set(world.backend.profiles) == {"new"}


@pytest.mark.parametrize("interactions", [False, True])
async def test_an_erasure_counts_the_copies_of_learnings_that_go_with_those_of_its_request(
    world: World, interactions: bool
) -> None:
    """The learning quotes another request of its window alone, but the copies are found by what it lists."""
    await world.put("r1", text="I cannot eat peanuts")
    await world.put("r2", text="My card has the number ninety")
    [of_r2, *_] = await world.interactions("r2")
    await world.learn("p1", "r1", "r2", content="Cannot eat peanuts", quote="I cannot eat peanuts")
    asked: dict[str, Any] = {"request_id": "r2", "erase": True}
    if interactions:
        asked["interaction_ids"] = [of_r2]
    async with world.connect() as caller:
        everything: dict[str, Any] = {"user_id": "ada", "everything": True, "include_learnings": True}
        plan = await caller.plan("delete_requests", **everything)
        await caller.receipt("delete_requests", **everything, confirm=plan["confirm"])
        plan = await caller.plan("delete_request", **asked)
        receipt = await caller.receipt("delete_request", **asked, confirm=plan["confirm"])
        restored = await caller.call("restore_requests", deletion=1)
    assert plan["selected"]["only_in_copies"] == receipt["deleted"]["only_in_copies"] == 2
    assert "p1" not in world.backend.profiles
    assert restored


async def test_an_erasure_leaves_copies_of_what_another_user_taught_under_the_same_request_id(
    world: World,
) -> None:
    await world.put("r1", user="bob", text="I cannot eat peanuts")
    await world.learn("of-bob", "r1", user="bob", content="Cannot eat peanuts", quote="I cannot eat peanuts")
    async with world.connect(CONFIRM="off") as caller:
        deleted = await caller.receipt("delete_request", request_id="r1", include_learnings=True)
        await world.put("r1", text="My card has the number ninety")
        receipt = await caller.receipt("delete_request", request_id="r1", erase=True)
        await caller.call("restore_requests", deletion=deleted["number"])
    assert "only_in_copies" not in receipt["deleted"]
    assert set(world.backend.profiles) == {"of-bob"}


async def test_learnings_to_take_too_need_the_option_and_have_to_be_there(world: World) -> None:
    await merged_by_a_test_run(world)
    async with world.connect() as caller:
        said = await caller.refused("delete_session", session_id="ci", learning_ids=["profile:old"])
        assert "needs include_learnings=true" in said
        asked = {"session_id": "ci", "include_learnings": True, "learning_ids": ["profile:old", "profile:x"]}
        plan = await caller.plan("delete_session", **asked)
    assert plan["not_found"] == ["profile:x"]
    assert plan["selected"]["learnings"] == 2


@pytest.mark.parametrize("erase", [False, True])
async def test_a_deletion_that_could_not_bring_a_learning_back_does_so_when_it_is_repeated(
    world: World, erase: bool
) -> None:
    await merged_by_a_test_run(world)
    asked = {"session_id": "ci", "include_learnings": True, "erase": erase}
    world.backend.failing["/api/add_user_profile"] = (0, 403)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_session", **asked)
        assert receipt["status"] == "incomplete"
        assert (fact_of(receipt, "not_current_again") or {})["number"] == 1
        assert world.backend.profiles["old"].status == "superseded"
        del world.backend.failing["/api/add_user_profile"]
    async with world.connect() as caller:
        plan = await caller.plan("delete_session", **asked)
    assert (fact_of(plan, "learnings_owed") or {})["number"] == 1
    assert plan["earlier"] == [{"learning_id": "profile:old", "content": "Cannot eat peanuts"}]
    person = agreeing()
    async with world.connect(person=person) as caller:
        receipt = await caller.receipt("delete_session", **asked)
        assert receipt["status"] == "complete"
        assert receipt["earlier"] == [{"learning_id": "profile:old", "content": "Cannot eat peanuts"}]
        assert person.seen[0].startswith("Finish an interrupted deletion?")
        assert "Current again: “Cannot eat peanuts”" in person.seen[0]
        assert world.backend.profiles["old"].status is None
        assert (await caller.call("delete_session", **asked))["status"] == "not_found"


async def replaced_after_the_plan(world: World, kind: str) -> None:
    """An earlier learning, which Reflexio replaces by one that a test run has taught, when the deletion begins."""
    said, said_by_run = "I cannot eat peanuts", "I love peanut butter"
    backend = world.backend
    await world.put("real", session="real", text=said)
    await world.put("run", session="ci", text=said_by_run)
    earlier, later = ("old", "new") if kind == "profile" else (7, 8)
    await world.learn(earlier, "real", content="No peanuts", quote=said, changed=10)

    async def replace() -> None:
        if kind == "profile":
            backend.profiles["old"] = backend.profiles["old"]._replace(status="superseded", changed=20)
        else:
            backend.playbooks[7] = backend.playbooks[7]._replace(status="merged")
        quote = merged(said, said_by_run) if kind == "profile" else f"{said_by_run}\n\n{said}"
        await world.learn(later, "real", "run", content="Peanut butter", quote=quote, changed=20)

    backend.before[BY_IDS] = [replace]


def in_use(world: World) -> list[str]:
    learned = (*world.backend.profiles.values(), *world.backend.playbooks.values())
    return sorted(known.content for known in learned if known.status is None)


@pytest.mark.parametrize("kind", ["profile", "playbook"])
async def test_what_comes_back_without_being_planned_is_said_and_undone(world: World, kind: str) -> None:
    await replaced_after_the_plan(world, kind)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", request_ids=["run"], include_learnings=True)
        assert receipt["status"] == "complete"
        assert (fact_of(receipt, "learnings_back_appeared") or {})["number"] == 1
        assert in_use(world) == ["No peanuts"]
        assert (await caller.restored(receipt["number"]))["status"] == "complete"
        assert in_use(world) == ["Peanut butter"]


@pytest.mark.parametrize("erase", [False, True])
async def test_what_should_have_come_back_without_being_planned_does_so_when_the_call_is_repeated(
    world: World, erase: bool
) -> None:
    await replaced_after_the_plan(world, "profile")
    asked: dict[str, Any] = {"request_ids": ["run"], "include_learnings": True, "erase": erase}
    world.backend.failing["/api/add_user_profile"] = (0, 403)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **asked)
        assert (receipt["status"], in_use(world)) == ("incomplete", [])
        assert not fact_of(receipt, "learnings_back_appeared")
        world.backend.failing.clear()
        receipt = await caller.receipt("delete_requests", **asked)
        assert (receipt["status"], in_use(world)) == ("complete", ["No peanuts"])


async def test_what_an_operator_left_unfinished_is_no_part_of_a_users_own_call(world: World) -> None:
    await merged_by_a_test_run(world)
    asked = {"session_id": "ci", "include_learnings": True}
    world.backend.failing["/api/add_user_profile"] = (0, 403)
    async with world.connect(CONFIRM="off") as operator:
        await operator.receipt("delete_session", **asked, user_id="ada")
        del world.backend.failing["/api/add_user_profile"]
        async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="ada") as user:
            assert (await user.call("delete_session", **asked))["status"] == "not_found"
        assert world.backend.profiles["old"].status == "superseded"
        await operator.receipt("delete_session", **asked, user_id="ada")
    assert world.backend.profiles["old"].status is None


@pytest.mark.parametrize("repeated", [False, True])
async def test_a_hold_keeps_an_earlier_learning_as_it_is_though_what_replaced_it_goes(
    world: World, tmp_path: Path, repeated: bool
) -> None:
    await merged_by_a_test_run(world)
    policy = tmp_path / "policy.toml"
    policy.write_text("hold = []\n", encoding="utf-8")
    asked = {"session_id": "ci", "include_learnings": True}

    async def hold() -> None:
        policy.write_text('[[hold]]\nsessions = ["real"]\nreason = "a case"\n', encoding="utf-8")

    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        if repeated:
            world.backend.failing["/api/add_user_profile"] = (0, 403)
            await caller.receipt("delete_session", **asked)
            del world.backend.failing["/api/add_user_profile"]
            await hold()
        else:
            world.backend.before["/api/delete_profiles_by_ids"] = [hold]
        receipt = await caller.receipt("delete_session", **asked)
    assert receipt["status"] == "incomplete"
    assert (fact_of(receipt, "earlier_on_hold") or {})["names"] == ["profile:old"]
    assert not fact_of(receipt, "not_current_again")
    assert world.backend.profiles["old"].status == "superseded"


@pytest.mark.parametrize("user", ["", "bob"])
async def test_a_restore_of_one_part_does_not_end_a_deletion_that_owes_an_earlier_learning(
    world: World, user: str
) -> None:
    await merged_by_a_test_run(world)
    await world.put("other", user="bob", session="b")
    asked = {"request_ids": ["ci", "other"], "include_learnings": True}
    world.backend.failing["/api/add_user_profile"] = (0, 403)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **asked)
        assert receipt["status"] == "incomplete"
    del world.backend.failing["/api/add_user_profile"]
    environment = {"REFLEXIO_USER_ID": user} if user else {}
    async with world.connect(server=world.server(CONFIRM="off", **environment)) as other:
        await other.restored(receipt["number"], **({} if user else {"request_ids": ["other"]}))
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_requests", **asked)
    assert world.backend.profiles["old"].status is None


async def test_a_replaced_learning_that_was_edited_since_the_plan_stays_replaced(world: World) -> None:
    await merged_by_a_test_run(world)

    async def edit() -> None:
        world.backend.profiles["old"] = world.backend.profiles["old"]._replace(content="something else")

    world.backend.before["/api/delete_profiles_by_ids"] = [edit]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_session", session_id="ci", include_learnings=True)
    assert world.backend.profiles["old"].status == "superseded"
    assert fact_of(receipt, "not_current_again")


async def test_a_learning_that_another_one_has_replaced_since_the_plan_is_not_in_use_beside_it(
    world: World,
) -> None:
    await merged_by_a_test_run(world)
    await world.put("again", session="real", text="Still no nuts of any kind")

    async def learn_again() -> None:
        await world.learn("newer", "real", "again", content="Still no peanuts", quote="I cannot eat peanuts")

    world.backend.before["/api/delete_profiles_by_ids"] = [learn_again]
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_session", session_id="ci", include_learnings=True)
    in_use = {name: profile.status for name, profile in world.backend.profiles.items()}
    assert in_use == {"old": "superseded", "newer": None}


async def test_a_deletion_whose_process_ended_brings_a_learning_back_when_it_is_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await merged_by_a_test_run(world)
    asked = {"session_id": "ci", "include_learnings": True}

    async def end(*_: object) -> None:
        raise SystemError("the process ends here")

    async with world.connect(CONFIRM="off") as caller:
        with monkeypatch.context() as patched:
            patched.setattr("reflexio_mcp.traffic.deletion.execute._Act.make_current", end)
            await caller.refused("delete_session", **asked)
        assert world.backend.profiles["old"].status == "superseded"
        assert "new" not in world.backend.profiles
        await caller.receipt("delete_session", **asked)
    assert world.backend.profiles["old"].status is None


async def test_what_was_forgotten_after_a_deletion_is_not_brought_back_by_a_repetition(world: World) -> None:
    await merged_by_a_test_run(world)
    asked = {"session_id": "ci", "include_learnings": True}
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_session", **asked)
        world.backend.profiles["old"] = world.backend.profiles["old"]._replace(status="superseded")
        assert (await caller.call("delete_session", **asked))["status"] == "not_found"
    assert world.backend.profiles["old"].status == "superseded"


@pytest.mark.parametrize("days", ["7", "0"])
@pytest.mark.parametrize("target", ["learning", "user"])
async def test_what_a_killed_deletion_makes_current_again_after_its_erasure_goes_again(
    world: World, monkeypatch: pytest.MonkeyPatch, target: str, days: str
) -> None:
    """Its call arrives late. Until the deletion is given up, the erasure is not over."""
    monkeypatch.setattr(Runtime, "_keep_taking_out", nothing)
    await merged_by_a_test_run(world)
    await world.put("other", user="bob", session="of bob")
    late: list[dict[str, Any]] = []
    store = world.backend.add_user_profile

    def delay(asked: dict[str, Any]) -> dict[str, Any]:
        late.append(asked)
        return {"added_count": 1}

    async def end(*_: object) -> None:
        raise SystemError("the process ends here")

    async with world.connect(CONFIRM="off", RECOVERY_DAYS=days) as caller:
        world.backend.add_user_profile = delay
        with monkeypatch.context() as patched:
            patched.setattr("reflexio_mcp.traffic.deletion.execute._Act._revived", end)
            await caller.refused("delete_session", session_id="ci", include_learnings=True)
        world.backend.add_user_profile = store
        wanted: dict[str, Any] = {"user_id": "ada", "erase": True}
        if target == "learning":
            erased = await caller.receipt("delete_learnings", learning_ids=["profile:old"], **wanted)
        else:
            erased = await caller.receipt("delete_requests", include_learnings=True, **wanted)
        assert (erased["status"], fact_of(erased, "may_return")) == (
            "incomplete",
            {"code": "may_return", "number": 1},
        )
        store(late[0])
        assert set(world.backend.profiles) == {"old"}
        receipt = await caller.receipt("delete_request", request_id="other", erase=True)
        status = await caller.call("get_status")
    assert fact_of(receipt, "deleted_again") == {"code": "deleted_again", "number": 1}
    assert not world.backend.profiles
    assert [past["status"] for past in status["deletions"] if past["number"] == erased["number"]] == [
        "incomplete"
    ]


@pytest.mark.parametrize("target", ["learning", "user"])
async def test_what_is_erased_while_a_deletion_makes_it_current_again_goes_again(
    world: World, target: str
) -> None:
    await merged_by_a_test_run(world)

    async def erase() -> None:
        wanted: dict[str, Any] = {"user_id": "ada", "erase": True}
        async with world.connect(CONFIRM="off") as other:
            if target == "learning":
                await other.receipt("delete_learnings", learning_ids=["profile:old"], **wanted)
            else:
                await other.receipt("delete_requests", include_learnings=True, **wanted)
        assert not world.backend.profiles

    world.backend.before["/api/add_user_profile"] = [erase]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_session", session_id="ci", include_learnings=True)
    assert not world.backend.profiles
    assert "earlier" not in receipt
    assert (fact_of(receipt, "not_current_again") or {})["number"] == 1


async def test_what_a_deletion_makes_current_again_after_the_last_look_of_its_erasure_goes_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deletion ends before the erasure does, and after the erasure has read that nothing is left."""
    monkeypatch.setattr(Runtime, "_keep_taking_out", nothing)
    await merged_by_a_test_run(world)
    looked, made_current = anyio.Event(), anyio.Event()
    closing = _Act.close
    erased: list[dict[str, Any]] = []

    async def close(self: _Act) -> Any:
        if self.planned.options.erase:
            looked.set()
            with anyio.fail_after(30):
                await made_current.wait()
        return await closing(self)

    monkeypatch.setattr(_Act, "close", close)
    async with (
        world.connect(CONFIRM="off") as caller,
        world.connect(CONFIRM="off") as other,
        anyio.create_task_group() as group,
    ):

        async def erase() -> None:
            wanted: dict[str, Any] = {"learning_ids": ["profile:old"], "user_id": "ada", "erase": True}
            erased.append(await other.receipt("delete_learnings", **wanted))

        async def erase_up_to_the_end() -> None:
            group.start_soon(erase)
            with anyio.fail_after(30):
                await looked.wait()

        world.backend.before["/api/add_user_profile"] = [erase_up_to_the_end]
        receipt = await caller.receipt("delete_session", session_id="ci", include_learnings=True)
        made_current.set()
        assert receipt["status"] == "complete", "it did not meet the erasure"
    assert not world.backend.profiles
    assert erased[0]["status"] == "complete"
    assert fact_of(erased[0], "deleted_again") == {"code": "deleted_again", "number": 1}


async def test_the_plan_and_the_receipt_of_a_whole_user_name_what_was_learned(world: World) -> None:
    await world.put("r1", text="I live in Bern")
    await world.learn("home", "r1", content="Lives in Bern", quote="I live in Bern")
    everything = {"user_id": "ada", "include_learnings": True, "erase": True}
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", **everything)
        receipt = await caller.receipt("delete_requests", **everything, confirm=plan["confirm"])
    named = [{"learning_id": "profile:home", "user_id": "ada", "goes": True, "content": "Lives in Bern"}]
    assert plan["learnings"] == receipt["learnings"] == named
