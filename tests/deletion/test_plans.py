"""A plan says what would go, what stays and whether there is a way back, before anything is deleted."""

from typing import Any

import pytest

from tests.audit.stored import GITHUB_TOKEN
from tests.deletion.support import World, text_of
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


async def test_a_plan_counts_everything_shows_the_first_and_deletes_nothing(world: World) -> None:
    for number in range(7):
        await world.put(f"r{number}", user="ada" if number else "bob", session="trip", text=f"word {number}")
    async with world.connect() as caller:
        result = await caller.result("delete_session", session_id="trip")
    assert result.structured_content
    assert result.structured_content["status"] == "planned"
    plan = result.structured_content["plan"]
    assert plan["selected"] == {"requests": 7, "interactions": 7}
    assert plan["users"] == [{"name": "ada", "count": 6}, {"name": "bob", "count": 1}]
    assert [one["id"] for one in plan["examples"]] == ["r6", "r5", "r4", "r3", "r2"]
    assert plan["examples"][0]["first_words"] == "word 6"
    text = text_of(result)
    for said in (
        "7 requests with 7 interactions",
        "the first 5 of 7",
        "ada (6)",
        "“word 6”",
        plan["confirm"],
    ):
        assert said in text
    assert len(await world.ids(session_id="trip")) == 7


async def test_how_many_requests_are_shown_is_said_of_the_requests_and_not_of_the_learnings(
    world: World,
) -> None:
    for number in range(7):
        await world.put(f"r{number}", text=f"I live in Lisbon {number}")
    await world.learn("lisbon", "r1", content="Lives in Lisbon", quote="I live in Lisbon 1")
    async with world.connect() as caller:
        told = text_of(await caller.result("delete_requests", user_id="ada", include_learnings=True))
    assert told.index("“I live in Lisbon 2”") < told.index("the first 5 of 7") < told.index("profile:lisbon")


async def test_ids_that_are_not_stored_are_named_and_so_is_how_to_find_ids(world: World) -> None:
    await world.put("r1")
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", request_ids=["r1", "gone"])
        assert (plan["selected"]["requests"], plan["not_found"], plan["not_found_count"]) == (1, ["gone"], 1)
        nothing = await caller.plan("delete_request", request_id="R1")
        nobody = await caller.result("delete_requests", user_id="nobody")
    assert nothing["status"] == "not_found"
    assert "way_back" not in nothing
    assert "recovery copy" not in text_of(nobody)
    assert "confirm" not in nothing
    assert "Ids are case-sensitive; list_requests and list_learnings show them." in nothing["text"]


async def test_ids_with_a_user_take_that_users_requests_alone(world: World) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", request_ids=["r1", "r2"], user_id="ada")
    assert receipt["deleted"]["requests"] == 1
    assert await world.ids() == {"r2"}


@pytest.mark.parametrize(
    ("chosen", "said"), [("only", "for evaluation only"), ("never", "not for evaluation only")]
)
async def test_a_list_a_plan_and_its_record_say_which_requests_evaluation_only_selects(
    world: World, chosen: str, said: str
) -> None:
    await world.put("r1", evaluation_only=True)
    await world.put("r2")
    asked = {"user_id": "ada", "evaluation_only": chosen}
    async with world.connect() as caller:
        page = await caller.call("list_requests", **asked)
        plan = await caller.plan("delete_requests", **asked)
        await caller.receipt("delete_requests", **asked, confirm=plan["confirm"])
        [past] = (await caller.call("get_status"))["deletions"]
    assert page["looked_at"]["filter"] == plan["target"] == past["target"] == f"user ada, {said}"


async def test_secrets_are_covered_in_plan_and_question_and_the_plan_recommends_to_erase(
    world: World,
) -> None:
    await world.put("r1", text="my password is hunter2-9xQ7vLw3Zt, do not tell")
    async with world.connect() as caller:
        result = await caller.result("delete_request", request_id="r1")
        erased = await caller.plan("delete_request", request_id="r1", erase=True)
    assert "hunter2" not in text_of(result) + str(result.structured_content)
    assert "For a secret or personal data, use erase: it keeps no copy" in text_of(result)
    assert "use erase" not in str(erased)


async def test_a_plan_for_duplicates_names_the_requests_that_stay(world: World) -> None:
    for one in ("r1", "r2", "r3"):
        await world.put(one, text="Book a table for two at seven")
    await world.put("r4", text="And a taxi to the station")
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", session_id="s", finding="duplicate")
    assert [one["id"] for one in plan["examples"]] == ["r3", "r2"]
    assert fact_of(plan, "repeated_requests_stay") == {
        "code": "repeated_requests_stay",
        "number": 1,
        "names": ["r1"],
    }


async def test_a_plan_for_duplicates_names_no_request_that_only_another_repeats(world: World) -> None:
    for one in ("r1", "r2"):
        await world.put(one, text="Book a table for two at seven", evaluation_only=True)
    for one in ("r3", "r4"):
        await world.put(one, text="And a taxi to the station at nine")
    async with world.connect() as caller:
        plan = await caller.plan(
            "delete_requests", session_id="s", finding="duplicate", evaluation_only="only"
        )
    assert [one["id"] for one in plan["examples"]] == ["r2"]
    assert (fact_of(plan, "repeated_requests_stay") or {})["names"] == ["r1"]


async def test_a_mask_keeps_all_stored_words_out(world: World) -> None:
    await world.put("r1", text="confidential")
    async with world.connect(MASK="1") as caller:
        result = await caller.result("delete_request", request_id="r1")
    assert "confidential" not in text_of(result) + str(result.structured_content)


@pytest.mark.parametrize(
    ("days", "erase", "state", "said"),
    [
        ("", False, "words", "A recovery copy is kept"),
        ("0", False, "off", "This cannot be undone: no recovery copy is kept."),
        ("7", True, "erased", "This cannot be undone: no recovery copy is kept"),
    ],
)
async def test_plan_and_receipt_say_the_same_of_the_way_back(
    world: World, days: str, erase: bool, state: str, said: str
) -> None:
    await world.put("r1")
    async with world.connect(**({"RECOVERY_DAYS": days} if days else {})) as caller:
        planned = await caller.call("delete_request", request_id="r1", erase=erase)
        plan = planned["plan"]
        done = await caller.call("delete_request", request_id="r1", erase=erase, confirm=plan["confirm"])
        receipt = done["receipt"]
    assert (plan["way_back"]["state"], receipt["way_back"]["state"]) == (state, state)
    assert said in planned["text"]
    assert said in done["text"]
    assert (plan["way_back"].get("days"), "until" in receipt["way_back"]) == (
        (7, True) if state == "words" else (None, False)
    )


async def test_learnings_from_the_selection_alone_and_others_are_counted(world: World) -> None:
    await world.put("r1")
    await world.put("r2")
    await world.learn("p", "r1", "r2", quote="words")
    await world.learn(7, "r1")
    async with world.connect() as caller:
        stay = await caller.plan("delete_request", request_id="r1")
        go = await caller.plan("delete_request", request_id="r1", include_learnings=True)
    assert (
        "1 learning that came from this selection alone stays, unless this call includes it." in stay["text"]
    )
    assert "learnings" not in stay["selected"]
    assert go["selected"]["learnings"] == 1
    assert "1 learning is also said in what stays, and stays" in go["text"]


async def test_a_plan_whose_learnings_cannot_be_read_says_so_or_stops(world: World) -> None:
    await world.put("r1")
    world.backend.failing["/api/get_profiles"] = (0, 500)
    async with world.connect() as caller:
        plan = await caller.plan("delete_request", request_id="r1")
        assert "What was learned from this selection could not be read." in plan["text"]
        await caller.refused("delete_request", request_id="r1", include_learnings=True)


async def test_a_plan_of_very_long_names_still_fits_into_an_answer(world: World) -> None:
    for number in range(30):
        await world.put(f"{'r' * 400}{number}", user=f"{'u' * 300}{number}", session=f"{'s' * 300}{number}")
    async with world.connect() as caller:
        result = await caller.result("delete_requests", everything=True)
        missing = await caller.result("delete_requests", request_ids=[f"{'x' * 400}{n}" for n in range(100)])
    for one in (result, missing):
        assert len(text_of(one)) <= 9_000
        assert len(str(one.structured_content)) <= 12_000


async def test_a_key_in_an_id_is_covered_in_plan_receipt_status_and_restore(world: World) -> None:
    key = "ghp_" + "Zk3v9Qw7xR2mT8pL5nJ4hB6cF1dS0aGyXe7u"
    await world.put(key, user=f"user {key}", session=f"session {key}")
    async with world.connect() as caller:
        [listed] = (await caller.call("list_requests"))["sessions"][0]["requests"]
        arguments = {"request_ids": [listed["request_id"], f"missing {key}"]}
        plan = await caller.plan("delete_requests", **arguments)
        assert plan["selected"]["requests"] == 1
        one = await caller.plan("delete_request", request_id=key)
        receipt = await caller.receipt("delete_requests", **arguments, confirm=plan["confirm"])
        restore = await caller.call("restore_requests", deletion=receipt["number"])
        status = await caller.call("get_status")
    for said in (listed, plan, one, receipt, restore, status):
        assert key not in str(said)


NARROWED: list[dict[str, Any]] = [
    {"user_id": "ada"},
    {"session_id": "one"},
    {"source": "ci"},
    {"agent_version": "v1"},
    {"start_time": "2001-09-09T01:46:46Z"},
    {"end_time": "2001-09-09T01:46:44Z"},
    {"contains": "apples"},
    {"evaluation_only": "only"},
]


@pytest.mark.parametrize("asked", NARROWED, ids=str)
async def test_the_call_of_a_narrowed_audit_deletes_nothing_that_the_audit_left_out(
    world: World, asked: dict[str, Any]
) -> None:
    """Both requests have the finding, and differ in each field of the filter."""

    async def put_inside() -> None:
        await world.put(
            "inside", user="ada", session="one", source="ci", agent_version="v1", evaluation_only=True,
            text=f"apples {GITHUB_TOKEN}",
        )  # fmt: skip

    async def put_outside() -> None:
        await world.put(
            "outside",
            user="bob",
            session="two",
            source="chat",
            agent_version="v2",
            text=f"pears {GITHUB_TOKEN}",
        )

    world.clock.now = 1_000_000_003
    # A call reaches no further than the newest request that the audit saw.
    order = [put_inside, put_outside] if "end_time" in asked else [put_outside, put_inside]
    for put in order:
        await put()
        world.clock.now += 1
    async with world.connect(CONFIRM="off") as caller:
        audit = await caller.call("audit_traffic", **asked)
        [found] = [one for one in audit["findings"] if one["finding"] == "probable-secret"]
        assert found["count"] == 1
        call = found["act"]
        await caller.receipt(call["tool"], **call["arguments"])
    assert await world.ids() == {"outside"}
