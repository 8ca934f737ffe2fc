"""Everything of one person, and the borders of what a confined caller may touch."""

from pathlib import Path
from typing import Any

import pytest

from tests.deletion.support import READ, Person, World, agreeing
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio
ALL_OF_ADA = {"user_id": "ada", "include_learnings": True, "erase": True}


async def stocked(world: World) -> None:
    await world.put("r1", user="ada", session="shared")
    await world.put("r2", user="ada")
    await world.put("r3", user="bob", session="shared", text="ada told me")
    await world.learn("p", "r1")
    await world.learn("q", "r3", user="bob")
    world.backend.outcomes = {"shared": "ada", "other": "bob"}


async def test_all_that_the_service_can_delete_of_a_person_goes_and_nothing_of_others(world: World) -> None:
    await stocked(world)
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", **ALL_OF_ADA)
        assert plan["selected"] == {"requests": 2, "interactions": 2, "learnings": 1, "session_outcomes": 1}
        assert "Data of other users stays" in plan["text"]
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA, confirm=plan["confirm"])
    assert (receipt["status"], receipt["deleted"]) == ("complete", plan["selected"])
    assert await world.ids() == {"r3"}
    assert set(world.backend.profiles) == {"q"}
    assert set(world.backend.outcomes) == {"other"}


@pytest.mark.parametrize("part", [{"session_id": "shared"}, {"contains": "r1"}, {"end_time": "2100-01-01"}])
async def test_a_filter_beside_the_user_does_not_select_the_whole_person(
    world: World, part: dict[str, str]
) -> None:
    await stocked(world)
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", **ALL_OF_ADA, **part)
    assert "session_outcomes" not in plan["selected"]


async def test_what_arrives_after_the_last_look_at_a_person_goes_too_and_is_told(world: World) -> None:
    await stocked(world)

    async def arrive() -> None:
        await world.put("late", user="ada")

    world.backend.before["/api/clear_user_data"] = [arrive]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert receipt["status"] == "complete"
    assert fact_of(receipt, "arrived_and_deleted") == {"code": "arrived_and_deleted", "number": 1}
    assert await world.ids() == {"r3"}


async def test_a_person_with_a_request_that_cannot_be_read_is_erased_too(world: World) -> None:
    await stocked(world)
    await world.put("deep", user="ada")
    world.backend.unreturned.add("deep")
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert world.backend.calls["/api/clear_user_data"] == 1
    assert "arrived_and_deleted" not in {fact["code"] for fact in receipt["facts"]}
    assert await world.ids() == {"r3"}


@pytest.mark.parametrize("route", ["/api/get_profiles", "/api/get_session_outcomes"])
async def test_what_arrives_while_a_person_is_looked_at_stops_the_erasure(world: World, route: str) -> None:
    await stocked(world)

    async def arrive() -> None:
        await world.put("late", user="ada")

    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", **ALL_OF_ADA)
        world.backend.before[route] = [arrive]
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA, confirm=plan["confirm"])
    assert receipt["status"] == "incomplete"
    assert fact_of(receipt, "arrived") == {"code": "arrived", "number": 1}
    assert not world.backend.calls["/api/clear_user_data"]
    assert "late" in await world.ids()


@pytest.mark.parametrize("what", ["request", "other words", "learning"])
async def test_what_arrives_while_a_form_is_open_stops_the_erasure_of_a_person(
    world: World, what: str
) -> None:
    """Before 2026-07-28 the call waits for the answer, and the one call that erases a person takes everything."""
    await stocked(world)
    await world.put("earlier")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="earlier")

    async def slow(context: Any, params: Any) -> Any:
        if what == "learning":
            await world.learn("late", "r2")
        elif what == "request":
            await world.put("late")
        else:
            await world.rest.delete_requests_by_ids(["r2"])
            await world.put("r2", text="other words")
        return await agreeing()(context, params)

    async with world.connect("legacy", slow, DELETE_CAP="6") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
        listed = await caller.call("restore_requests")
    assert (receipt["status"], receipt["deleted"]) == ("incomplete", {})
    assert fact_of(receipt, "arrived") == {"code": "arrived", "number": 1}
    assert "1 more item of this user arrived meanwhile and is stored." in receipt["text"]
    assert not world.backend.calls["/api/clear_user_data"]
    assert listed["deletions"][0]["number"] == 1


async def test_an_erasure_whose_answer_was_lost_leaves_what_arrived_since(world: World) -> None:
    await stocked(world)

    async def arrive() -> None:
        await world.put("late", user="ada")

    async def when_erased() -> None:
        world.backend.before[READ] = [arrive]

    world.backend.before["/api/clear_user_data"] = [when_erased]
    world.backend.after["/api/clear_user_data"] = 503
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert await world.ids() == {"r3", "late"}
    assert receipt["status"] == "incomplete"
    assert fact_of(receipt, "arrived") == {"code": "arrived", "number": 1}
    assert world.backend.calls["/api/clear_user_data"] == 1


async def test_what_arrives_after_a_person_is_erased_is_said(world: World) -> None:
    await stocked(world)

    async def arrive() -> None:
        await world.put("late", user="ada")

    async def cleared() -> None:
        world.backend.before["/api/get_requests"] = [arrive]

    world.backend.before["/api/clear_user_data"] = [cleared]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert receipt["status"] == "incomplete"
    assert "1 more item of this user arrived meanwhile and is stored." in receipt["text"]
    assert await world.ids() == {"late", "r3"}


@pytest.mark.parametrize(("status", "calls"), [(429, 2), (403, 1)])
async def test_a_clearing_is_sent_again_only_if_the_service_may_accept_it_then(
    world: World, status: int, calls: int
) -> None:
    await stocked(world)

    async def refuse() -> None:
        world.backend.failing["/api/clear_user_data"] = (0, status)

    async def mend() -> None:
        world.backend.failing.clear()

    world.backend.before["/api/clear_user_data"] = [refuse, mend]
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert world.backend.calls["/api/clear_user_data"] == calls
    assert ("r1" in await world.ids()) is (calls == 1)


async def test_what_a_clearing_leaves_is_said(world: World) -> None:
    await stocked(world)
    world.backend.keeps_outcomes = True
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert receipt["status"] == "incomplete"
    assert receipt["not_deleted"] == [{"why": "still_present", "count": 1, "ids": ["outcome:shared"]}]
    assert "Reflexio's questions to people with their answers" in receipt["text"]


async def test_a_clearing_after_which_nothing_can_be_read_has_a_receipt_that_claims_nothing(
    world: World,
) -> None:
    await stocked(world)

    async def then_fail() -> None:
        world.backend.failing["/api/get_requests"] = (0, 403)

    world.backend.before["/api/clear_user_data"] = [then_fail]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert receipt["status"] == "incomplete"
    assert "requests" not in receipt["deleted"]
    assert receipt["not_deleted"] == [{"why": "unknown", "count": 3, "ids": ["r2", "r1", "outcome:shared"]}]
    assert receipt["way_back"]["state"] == "unknown"


async def test_of_a_person_without_anything_that_is_returned_the_rest_is_cleared_all_the_same(
    world: World,
) -> None:
    await stocked(world)
    carol = ALL_OF_ADA | {"user_id": "carol"}
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", **carol)
        assert (plan["status"], plan["selected"]) == ("planned", {})
        assert "Nothing of this user can be seen; check the id." in plan["text"]
        assert not world.backend.calls["/api/clear_user_data"]
        receipt = await caller.receipt("delete_requests", **carol, confirm=plan["confirm"])
    assert (receipt["status"], receipt["deleted"]) == ("complete", {})
    assert world.backend.calls["/api/clear_user_data"] == 1


async def test_no_number_is_typed_to_clear_a_person_of_whom_nothing_is_seen(world: World) -> None:
    person = Person(lambda message: {"delete": True})
    async with world.connect(person=person) as caller:
        answer = await caller.call("delete_requests", **ALL_OF_ADA)
    [question] = person.seen
    assert question.startswith("Delete what may be left? ")
    assert "type the number" not in question
    assert answer["status"] == "complete"
    assert world.backend.calls["/api/clear_user_data"] == 1


async def test_a_profile_past_its_expiry_is_counted_and_goes(world: World) -> None:
    await world.put("r1")
    await world.learn("p", "r1", expires=1)
    await world.rest.delete_requests_by_ids(["r1"])
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert (receipt["status"], receipt["deleted"]) == ("complete", {"learnings": 1})
    assert world.backend.profiles == {}


async def test_a_hold_on_a_person_of_whom_nothing_is_seen_keeps_what_is_not_seen(
    world: World, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[hold]]\nusers = ["carol"]\nreason = "a case"\n', encoding="utf-8")
    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        answer = await caller.call("delete_requests", **ALL_OF_ADA | {"user_id": "carol"})
    assert answer["status"] == "held"
    assert not world.backend.calls["/api/clear_user_data"]


@pytest.mark.parametrize(
    "names",
    ['users = ["bob"]', 'sessions = ["other"]', 'sources = ["import"]'],
    ids=["user", "session", "source"],
)
async def test_a_hold_that_names_nothing_of_a_person_keeps_nothing_of_them(
    world: World, tmp_path: Path, names: str
) -> None:
    await stocked(world)
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[[hold]]\n{names}\nreason = "a case of others"\n', encoding="utf-8")
    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        answer = await caller.call("delete_requests", **ALL_OF_ADA)
    assert answer["status"] == "complete"
    assert await world.ids() == {"r3"}


async def test_a_plan_for_a_person_says_what_is_known_of_the_shared_rules(world: World) -> None:
    await stocked(world)
    async with world.connect() as caller:
        none = await caller.plan("delete_requests", **ALL_OF_ADA)
        world.backend.failing["/api/get_agent_playbooks"] = (0, 403)
        unread = await caller.plan("delete_requests", **ALL_OF_ADA)
    told = [
        {fact["code"] for fact in plan["facts"] if "shared_rules" in fact["code"]} for plan in (none, unread)
    ]
    assert told == [{"no_shared_rules_rest"}, {"shared_rules_unread"}]


async def test_the_shared_rules_that_rest_on_a_person_are_named_in_plan_and_receipt(world: World) -> None:
    await stocked(world)
    world.backend.agent_playbooks = {1: ["ada", "bob"], 2: ["bob"], 3: []}
    async with world.connect() as caller:
        plan = await caller.plan("delete_requests", **ALL_OF_ADA)
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA, confirm=plan["confirm"])
    for answer in (plan, receipt):
        assert (fact_of(answer, "shared_rules_rest") or {})["number"] == 1
        [rule] = answer["shared_rules"]
        assert (rule["content"], rule["users"]) == ("rule 1", ["ada", "bob"])
        assert [(one["learning_id"], one["user_id"], one["requests"]) for one in rule["sources"]] == [
            ("user_playbook:1", "ada", ["said-1"]),
            ("user_playbook:2", "bob", ["said-2"]),
        ]
        assert (fact_of(answer, "shared_rules_untraced") or {})["number"] == 1
        assert fact_of(answer, "shared_rules_return")


async def test_the_form_of_an_erasure_names_the_shared_rules_that_rest_on_the_person(world: World) -> None:
    await stocked(world)
    world.backend.agent_playbooks = {1: ["ada", "bob"], 2: ["bob"]}
    no = Person(lambda message: "decline")
    async with world.connect(person=no) as operator:
        await operator.call("delete_requests", **ALL_OF_ADA)
    async with world.connect(person=no, REFLEXIO_USER_ID="ada") as ada:
        await ada.call("delete_requests", include_learnings=True, erase=True, everything=True)
    for_operator, for_ada = no.seen
    assert "Shared rule (pending, rests on 2 playbooks of “ada”, “bob”): “rule 1”" in for_operator
    assert "unless the playbooks that it came from and their requests go too" in for_operator
    assert "Shared rule (pending, rests on 1 playbook): “rule 1”" in for_ada
    assert "bob" not in for_ada


async def test_somebody_confined_to_a_user_deletes_their_own_part_of_a_session(world: World) -> None:
    await stocked(world)
    async with world.connect(REFLEXIO_USER_ID="ada", CONFIRM="off") as caller:
        assert (await caller.call("delete_request", request_id="r3"))["status"] == "not_found"
        await caller.refused("delete_session", session_id="shared", user_id="bob")
        receipt = await caller.receipt("delete_session", session_id="shared")
        assert receipt["deleted"]["requests"] == 1
        said = await caller.refused("delete_requests")
        assert "nothing was deleted" in said
    assert await world.ids() == {"r2", "r3"}


async def test_a_confined_caller_restores_nothing_of_others(world: World) -> None:
    await stocked(world)
    async with world.connect(CONFIRM="off") as operator:
        number = (await operator.receipt("delete_session", session_id="shared"))["number"]
    async with world.connect(REFLEXIO_USER_ID="carol", CONFIRM="off") as caller:
        assert "deletions" not in await caller.call("restore_requests")
        assert "no recovery copy" in await caller.refused("restore_requests", deletion=number)
    async with world.connect(REFLEXIO_USER_ID="ada", CONFIRM="off") as caller:
        done = await caller.restored(number)
    assert done["restored"]["requests"] == 1
    assert await world.ids() == {"r1", "r2"}


async def test_an_outcome_that_stays_is_not_taken_for_a_request_of_the_same_name(world: World) -> None:
    await world.put("x", user="ada", session="x")
    world.backend.outcomes["x"] = "ada"
    world.backend.keeps_outcomes = True
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", user_id="ada", include_learnings=True, erase=True)
    assert receipt["planned"] == {"requests": 1, "interactions": 1, "session_outcomes": 1}
    assert receipt["deleted"] == {"requests": 1, "interactions": 1}
    assert [one["count"] for one in receipt["not_deleted"]] == [1]


async def test_what_only_copies_held_is_not_said_to_be_in_a_call_that_lost_its_answer(world: World) -> None:
    for one in ("r1", "r2"):
        await world.put(one, user="ada")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r1")
        world.backend.failing["/api/clear_user_data"] = (0, 500)
        receipt = await caller.receipt("delete_requests", user_id="ada", include_learnings=True, erase=True)
    assert "1 item is still stored and may disappear" in receipt["text"]


async def test_a_learning_that_a_merge_brings_back_after_an_erasure_is_not_called_deleted(
    world: World,
) -> None:
    await stocked(world)
    known = world.backend.profiles["p"]

    async def nothing() -> None:
        pass

    async def merge() -> None:
        world.backend.profiles["p"] = known

    async def cleared() -> None:  # the first reading afterwards looks for learnings to delete
        world.backend.before["/api/get_profiles"] = [nothing, merge]

    world.backend.before["/api/clear_user_data"] = [cleared]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **ALL_OF_ADA)
    assert not world.backend.before["/api/get_profiles"]
    assert receipt["status"] == "incomplete"
    assert receipt["not_deleted"] == [{"why": "still_present", "count": 1, "ids": ["profile:p"]}]
    assert "learnings" not in receipt["deleted"]
