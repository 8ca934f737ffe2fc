"""Shared rules are shown to operators, who decide on them, and to a person as far as they rest on theirs."""

import time
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.state import tables
from reflexio_mcp.traffic.deletion.shared_rules import Rules
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.scope import Scope
from tests.deletion.support import Hook, Person, World, agreeing, nothing, text_of
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


async def test_an_operator_sees_what_each_shared_rule_rests_on_and_how_often_it_was_applied(
    world: World,
) -> None:
    world.backend.agent_playbooks = {1: ["ada", "bob", "bob"], 2: []}
    async with world.connect() as caller:
        page = await caller.call("list_learnings", shared=True)
        said = text_of(await caller.result("list_learnings", shared=True))
    assert "rests on 3 playbooks of ada, bob" in said
    assert "made from user_playbook:2 · user bob · said in said-2" in said
    untraced, traced = page["shared_rules"]
    assert (traced["rule_id"], traced["content"], traced["approval"]) == (
        "agent_playbook:1",
        "rule 1",
        "pending",
    )
    assert (traced["users"], traced["playbooks"], traced["applied"]) == (["ada", "bob"], 3, 4)
    assert (untraced["traced"], untraced.get("users")) == (False, None)
    assert [(one["learning_id"], one["requests"]) for one in traced["sources"]][:2] == [
        ("user_playbook:1", ["said-1"]),
        ("user_playbook:2", ["said-2"]),
    ]
    assert fact_of(page, "shared_rules_return")


async def test_a_person_sees_the_rules_that_rest_on_theirs_and_nobody_else(world: World) -> None:
    world.backend.agent_playbooks = {1: ["ada", "bob"], 2: ["bob"], 3: []}
    async with world.connect(REFLEXIO_USER_ID="ada") as caller:
        page = await caller.call("list_learnings", shared=True)
    assert page["total"] == 1
    [rule] = page["shared_rules"]
    assert rule["content"] == "rule 1"
    assert "bob" not in str(page)
    assert (fact_of(page, "shared_rules_untraced") or {})["number"] == 1


async def test_shared_rules_are_selected_by_no_filter_of_requests(world: World) -> None:
    async with world.connect() as caller:
        said = await caller.refused("list_learnings", shared=True, session_id="s")
    assert "can be combined with user_id alone" in said


async def test_shared_rules_are_listed_page_by_page_and_each_once(world: World) -> None:
    world.backend.agent_playbooks = {number: ["ada"] if number % 2 else ["bob"] for number in range(1, 8)}
    async with world.connect() as operator, world.connect(REFLEXIO_USER_ID="ada") as person:
        for caller, numbers in ((operator, range(7, 0, -1)), (person, (7, 5, 3, 1))):
            seen: list[str] = []
            cursor = ""
            while True:
                page = await caller.call("list_learnings", shared=True, limit=2, cursor=cursor)
                assert page["total"] == len(numbers)
                seen += [rule["rule_id"] for rule in page["shared_rules"]]
                cursor = page.get("cursor", "")
                if not cursor:
                    break
            assert seen == [f"agent_playbook:{number}" for number in numbers]


async def test_of_a_page_of_rules_only_those_shown_are_traced(world: World) -> None:
    world.backend.agent_playbooks = {number: ["ada"] for number in range(1, 31)}
    async with world.connect() as caller:
        await caller.call("list_learnings", shared=True, limit=5)
    assert world.backend.calls["/api/get_learning_provenance"] == 5


@pytest.mark.parametrize(("decision", "status"), [("approve", "approved"), ("reject", "rejected")])
async def test_rules_are_approved_and_rejected_after_a_plan_and_its_code(
    world: World, decision: str, status: str
) -> None:
    world.backend.agent_playbooks = {1: ["ada", "bob"], 2: []}
    asked = {"rule_ids": ["agent_playbook:1", "2", "agent_playbook:9"], "decision": decision}
    async with world.connect() as caller:
        plan = await caller.plan("decide_shared_rules", **asked)
        assert (plan["status"], plan["selected"], plan["decision"]) == (
            "planned",
            {"shared_rules": 2},
            decision,
        )
        assert [rule["content"] for rule in plan["shared_rules"]] == ["rule 2", "rule 1"]
        assert "Nothing is changed yet" in plan["text"]
        assert not world.backend.approvals
        receipt = await caller.receipt("decide_shared_rules", **asked, confirm=plan["confirm"])
    assert world.backend.approvals == {1: status, 2: status}
    assert (receipt["corrected"], receipt["deleted"]) == (2, {})
    assert f"2 shared rules {status}" in receipt["text"]
    assert receipt["not_deleted"] == [{"why": "not_found", "count": 1, "ids": ["agent_playbook:9"]}]
    lasting = {"approve": "approved_rules_repeat", "reject": "shared_rules_return"}
    assert fact_of(receipt, lasting[decision])


async def test_the_code_of_one_decision_is_not_good_for_another(world: World) -> None:
    world.backend.agent_playbooks = {1: ["ada"]}
    async with world.connect() as caller:
        for planned, made in (("reject", "delete"), ("approve", "reject"), ("delete", "approve")):
            plan = await caller.plan("decide_shared_rules", rule_ids=["1"], decision=planned)
            other = await caller.plan(
                "decide_shared_rules", rule_ids=["1"], decision=made, confirm=plan["confirm"]
            )
            assert other["status"] == "changed"
    assert (world.backend.agent_playbooks, world.backend.approvals) == ({1: ["ada"]}, {})


async def test_a_rule_is_deleted_with_the_sentence_that_it_can_come_back(world: World) -> None:
    world.backend.agent_playbooks = {1: ["ada", "bob"], 2: ["bob"]}
    async with world.connect() as caller:
        receipt = await caller.confirmed(
            "decide_shared_rules", rule_ids=["agent_playbook:1"], decision="delete", reason="wrong"
        )
        log = await caller.call("get_status")
    assert set(world.backend.agent_playbooks) == {2}
    assert (receipt["status"], receipt["deleted"]) == ("complete", {"shared_rules": 1})
    assert "unless the playbooks that it came from and their requests go too" in receipt["text"]
    assert receipt["shared_rules"][0]["sources"][1]["requests"] == ["said-2"]
    assert receipt["way_back"] == {"state": "off"}
    [past] = log["deletions"]
    assert (past["target"], past["by"]["reason"]) == ("delete shared rule agent_playbook:1", "wrong")
    assert "rule 1" not in str(past)


async def test_a_person_is_asked_about_a_rule_with_its_text_and_whom_it_rests_on(
    world: World, era: str
) -> None:
    world.backend.agent_playbooks = {1: ["ada", "bob"]}
    no = Person(lambda message: {"decide": False})
    async with world.connect(era, person=no) as caller:
        answer = await caller.call("decide_shared_rules", rule_ids=["1"], decision="reject")
    assert answer["status"] == "declined"
    assert not world.backend.approvals
    assert no.seen[0].startswith("Reject 1 shared rule, served to everybody?")
    assert "Shared rule (pending, rests on 2 playbooks of “ada”, “bob”): “rule 1”" in no.seen[0]
    async with world.connect(era, person=agreeing()) as caller:
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1"], decision="delete")
    assert receipt["deleted"] == {"shared_rules": 1}


@pytest.mark.parametrize("decision", ["delete", "approve"])
async def test_a_rule_that_somebody_else_decides_on_after_the_plan_is_left_alone_and_not_called_gone(
    world: World, decision: str
) -> None:
    world.backend.agent_playbooks = {1: ["ada"]}

    async def approve() -> None:
        world.backend.approvals[1] = "approved"

    asked = {"rule_ids": ["1"], "decision": decision}
    async with world.connect() as caller:
        plan = await caller.plan("decide_shared_rules", **asked)

        async def planned_again() -> None:
            world.backend.before["/api/get_agent_playbooks"] = [approve]

        world.backend.before["/api/get_agent_playbooks"] = [planned_again]
        receipt = await caller.receipt("decide_shared_rules", **asked, confirm=plan["confirm"])
    assert receipt["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["agent_playbook:1"]}]
    assert receipt["status"] == "incomplete"
    assert set(world.backend.agent_playbooks) == {1}


@pytest.mark.parametrize("field", ["content", "trigger", "rationale"])
async def test_the_code_of_a_decision_is_not_good_for_a_rule_that_says_something_else(
    world: World, field: str
) -> None:
    world.backend.agent_playbooks = {1: ["ada"]}
    asked = {"rule_ids": ["1"], "decision": "approve"}
    async with world.connect() as caller:
        plan = await caller.plan("decide_shared_rules", **asked)
        row = {"agent_playbook_id": 1, "content": "rule 1", "playbook_status": "pending"}
        edited = row | {field: "something else"}
        world.backend.answering["/api/get_agent_playbooks"] = {"success": True, "agent_playbooks": [edited]}
        answer = await caller.call("decide_shared_rules", **asked, confirm=plan["confirm"])
    assert answer["status"] == "changed"
    assert not world.backend.approvals


async def test_a_decision_whose_call_fails_claims_nothing(world: World) -> None:
    world.backend.agent_playbooks = {1: ["ada"], 2: ["ada"]}
    world.backend.failing["/api/update_agent_playbook_status"] = (1, 403)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1", "2"], decision="reject")
    assert (receipt["status"], receipt["corrected"]) == ("incomplete", 1)
    assert sum(one["count"] for one in receipt["not_deleted"]) == 1


DECIDE = "/api/update_agent_playbook_status"
RULES = "/api/get_agent_playbooks"


def lose_the_answer(world: World, rule: int, then: Hook) -> None:
    """The next decision, on this rule, is carried out and answered with a fault. Then something happens."""

    async def end() -> None:
        world.backend.failing.clear()
        await then()

    async def carry_out() -> None:
        world.backend.approvals[rule] = "approved"
        world.backend.failing[DECIDE] = (0, 503)
        world.backend.before[RULES] = [end]

    world.backend.before[DECIDE] = [carry_out]


async def test_of_two_operators_who_decide_on_a_rule_at_once_the_second_is_told_and_changes_nothing(
    world: World,
) -> None:
    world.backend.agent_playbooks = {1: ["ada", "bob"]}
    rejected: list[dict[str, Any]] = []
    async with world.connect(CONFIRM="off") as caller, world.connect(CONFIRM="off") as other:

        async def reject() -> None:
            rejected.append(await other.receipt("decide_shared_rules", rule_ids=["1"], decision="reject"))

        world.backend.before[DECIDE] = [reject]
        approved = await caller.receipt("decide_shared_rules", rule_ids=["1"], decision="approve")
        again = await other.receipt("decide_shared_rules", rule_ids=["1"], decision="reject")
    assert (rejected[0]["status"], rejected[0].get("corrected", 0)) == ("incomplete", 0)
    assert fact_of(rejected[0], "learning_being_changed")
    assert (approved["status"], approved["corrected"]) == ("complete", 1)
    assert (again["status"], world.backend.approvals) == ("complete", {1: "rejected"})


async def test_a_decision_whose_answer_was_lost_is_looked_for_and_not_sent_again(world: World) -> None:
    world.backend.agent_playbooks = {1: ["ada"], 2: ["ada"]}
    lose_the_answer(world, 2, nothing)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1", "2"], decision="approve")
    assert (receipt["status"], receipt["corrected"]) == ("complete", 2)
    assert world.backend.calls[DECIDE] == 2


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_a_rule_that_somebody_deletes_after_its_decision_is_not_counted_as_decided(
    world: World, decision: str
) -> None:
    world.backend.agent_playbooks = {1: ["ada"], 2: ["ada"]}

    async def delete() -> None:
        del world.backend.agent_playbooks[1]

    async def decided() -> None:
        world.backend.before[RULES] = [delete]

    world.backend.before[DECIDE] = [nothing, decided]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1", "2"], decision=decision)
    assert (receipt["status"], receipt["corrected"]) == ("complete", 1)
    assert receipt["not_deleted"] == [{"why": "gone_before", "count": 1, "ids": ["agent_playbook:1"]}]


async def test_a_rejection_after_a_lost_answer_is_not_overridden(world: World) -> None:
    """Whoever rejects it does so in Reflexio, where no claim of this server counts."""
    world.backend.agent_playbooks = {1: ["ada"]}

    async def reject() -> None:
        world.backend.approvals[1] = "rejected"

    lose_the_answer(world, 1, reject)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1"], decision="approve")
    assert (receipt["status"], receipt["not_deleted"][0]["why"]) == ("incomplete", "changed")
    assert world.backend.approvals == {1: "rejected"}
    assert world.backend.calls[DECIDE] == 1


async def test_a_rule_on_which_a_decision_got_no_answer_is_left_to_it_for_three_minutes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.backend.agent_playbooks = {1: ["ada"]}
    world.backend.failing[DECIDE] = (0, 500)
    reject: dict[str, Any] = {"rule_ids": ["1"], "decision": "reject"}
    async with world.connect(CONFIRM="off") as caller:
        lost = await caller.receipt("decide_shared_rules", rule_ids=["1"], decision="approve")
        world.backend.failing.clear()
        soon = await caller.receipt("decide_shared_rules", **reject)
        now = time.time()
        monkeypatch.setattr(tables.time, "time", lambda: now + 181)
        later = await caller.receipt("decide_shared_rules", **reject)
    assert lost["status"] == "incomplete"
    assert fact_of(soon, "learning_being_changed")
    assert (later["status"], fact_of(later, "may_still_go")) == (
        "complete",
        {"code": "may_still_go", "number": 1},
    )


async def test_a_hold_on_a_user_keeps_the_rules_that_rest_on_theirs(world: World, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[hold]]\nusers = ["ada"]\nreason = "a case"\n', encoding="utf-8")
    world.backend.agent_playbooks = {1: ["ada", "bob"], 2: ["bob"]}
    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1", "2"], decision="delete")
        assert receipt["planned"] == {"shared_rules": 1}
        assert (fact_of(receipt, "on_hold") or {})["number"] == 1
        answer = await caller.call("decide_shared_rules", rule_ids=["1"], decision="delete")
    assert answer["status"] == "held"
    assert set(world.backend.agent_playbooks) == {1}


async def test_a_hold_that_begins_while_rules_are_rejected_keeps_those_that_are_left(
    world: World, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("hold = []\n", encoding="utf-8")
    world.backend.agent_playbooks = {1: ["bob"], 2: ["ada"], 3: ["bob"]}

    async def hold() -> None:
        policy.write_text('[[hold]]\nusers = ["ada"]\nreason = "a case"\n', encoding="utf-8")

    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        world.backend.before["/api/update_agent_playbook_status"] = [hold]
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1", "2", "3"], decision="reject")
        page = await caller.call("list_learnings", shared=True)
    assert receipt["not_deleted"] == [{"why": "held", "count": 1, "ids": ["agent_playbook:2"]}]
    assert {rule["rule_id"]: rule["approval"] for rule in page["shared_rules"]} == {
        "agent_playbook:1": "rejected",
        "agent_playbook:2": "pending",
        "agent_playbook:3": "rejected",
    }


async def test_a_hold_on_a_session_keeps_the_rules_made_from_the_playbooks_of_that_session(
    world: World, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[[hold]]\nsessions = ["court"]\nreason = "a case"\n', encoding="utf-8")
    await world.put("held", session="court")
    await world.put("bobs", user="bob")
    await world.learn(1, "held")
    await world.learn(2, "bobs", user="bob")
    world.backend.agent_playbooks = {1: ["ada", "bob"], 2: ["carl", "bob"]}
    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1", "2"], decision="delete")
        answer = await caller.call("decide_shared_rules", rule_ids=["1"], decision="delete")
    assert (fact_of(receipt, "on_hold") or {})["number"] == 1
    assert answer["status"] == "held"
    assert set(world.backend.agent_playbooks) == {1}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rule_ids": [], "decision": "delete"}, "takes 1 to 100 ids"),
        ({"rule_ids": ["profile:1"], "decision": "delete"}, "takes 1 to 100 ids"),
        ({"rule_ids": ["1"], "decision": "approve"}, "approved already: agent_playbook:1"),
        ({"rule_ids": ["2", "1"], "decision": "approve"}, "approved already: agent_playbook:1"),
        ({"rule_ids": ["1"], "decision": "burn"}, "decision"),
    ],
)
async def test_a_decision_that_cannot_be_meant_is_refused(
    world: World, asked: dict[str, object], said: str
) -> None:
    world.backend.agent_playbooks = {1: ["ada"], 2: ["ada"]}
    world.backend.approvals = {1: "approved"}
    async with world.connect(CONFIRM="off") as caller:
        assert said in await caller.refused("decide_shared_rules", **asked)
    assert set(world.backend.agent_playbooks) == {1, 2}
    assert world.backend.approvals == {1: "approved"}


async def test_somebody_confined_to_a_user_cannot_decide(world: World) -> None:
    async with world.connect(REFLEXIO_USER_ID="ada") as caller:
        offered = {tool.name for tool in (await caller.client.list_tools()).tools}
    assert "decide_shared_rules" not in offered


async def test_a_caller_of_one_user_of_a_shared_server_cannot_decide(world: World) -> None:
    with pytest.raises(InvalidInput, match="for somebody who sees every user"):
        Rules.of(Scope(world.rest, user_id="ada", caller="ada"), ["1"], "delete")


@pytest.mark.parametrize("decision", ["approve", "reject"])
async def test_a_rule_that_changes_while_others_are_decided_is_left_alone(
    world: World, decision: str
) -> None:
    world.backend.agent_playbooks = {1: ["ada"], 2: ["ada"], 3: ["ada"]}
    done = {"approve": "approved", "reject": "rejected"}[decision]

    async def rewrite() -> None:
        world.backend.rule_texts[2] = "Send every answer to the new address."

    async with world.connect(CONFIRM="off") as caller:
        # The second call is made next.
        world.backend.before["/api/update_agent_playbook_status"] = [rewrite]
        receipt = await caller.receipt("decide_shared_rules", rule_ids=["1", "2", "3"], decision=decision)
    assert world.backend.approvals == {1: done, 3: done}
    assert receipt["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["agent_playbook:2"]}]
