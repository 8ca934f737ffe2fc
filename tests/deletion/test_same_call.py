"""A call finishes what an earlier one has left only if it is the same call, and then always."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.state.records import Owner
from reflexio_mcp.traffic.deletion.plan import Options, call_of
from reflexio_mcp.traffic.deletion.shared_rules import Rules
from reflexio_mcp.traffic.deletion.targets import (
    Correction,
    Filtered,
    Interactions,
    Learnings,
    Requests,
    Target,
    User,
)
from reflexio_mcp.traffic.learnings.select import Selection
from reflexio_mcp.traffic.policy import policy_at
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from tests.deletion.support import BY_IDS, Caller, World

pytestmark = pytest.mark.anyio

CLINIC = "my clinic is at 5 Elm Street"
BANANA = "banana is a fruit"

DELETING = (BY_IDS, "/api/delete_interaction", "/api/delete_profiles_by_ids")
LEARNED = "delete_learnings"
DELETED = "delete"

Asked = dict[str, Any]


async def two_facts(world: World) -> None:
    """Two requests of which something was learned, each."""
    await world.put("r1", text=CLINIC)
    await world.put("r2", text=BANANA)
    await world.learn("clinic", "r1", content="Goes to the clinic", quote=CLINIC)
    await world.learn("banana", "r2", content="Likes bananas", quote=BANANA)


async def does_not_finish(
    world: World,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caller: Caller,
    tool: str,
    *,
    step: str = DELETED,
    **asked: Any,
) -> None:
    """Make a call that is refused by the service, or whose process ends before a step.

    Args:
        step: the method of a running deletion.
    """
    if how == "refused":
        world.backend.failing.update(dict.fromkeys(DELETING, (0, 403)))
        assert (await caller.receipt(tool, **asked))["status"] == "incomplete"
        world.backend.failing.clear()
        return

    async def end(*_: object) -> None:
        raise SystemError("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr(f"reflexio_mcp.traffic.deletion.execute._Act.{step}", end)
        await caller.refused(tool, **asked)


def environment(user: str) -> dict[str, str]:
    return {"CONFIRM": "off"} | ({"REFLEXIO_USER_ID": user} if user else {})


@pytest.mark.parametrize("user", ["", "ada"])
@pytest.mark.parametrize("how", ["killed", "refused"])
async def test_an_erasure_of_other_words_does_not_finish_an_earlier_one(
    world: World, how: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_facts(world)
    asked: Asked = {"everything": True, "include_learnings": True, "erase": True}
    async with world.connect(**environment(user)) as caller:
        await does_not_finish(world, how, monkeypatch, caller, "delete_requests", contains="clinic", **asked)
        other = await caller.receipt("delete_requests", contains="banana", **asked)
        assert (other["status"], other["deleted"]["learnings"]) == ("complete", 1)
        assert (await world.ids(), list(world.backend.profiles)) == ({"r1"}, ["clinic"])
        same = await caller.receipt("delete_requests", contains="clinic", **asked)
    assert (same["status"], await world.ids(), world.backend.profiles) == ("complete", set(), {})


@pytest.mark.parametrize("user", ["", "ada"])
@pytest.mark.parametrize("how", ["killed", "refused"])
@pytest.mark.parametrize("tool", ["delete_requests", LEARNED])
async def test_a_copy_of_what_an_erasure_did_not_name_can_be_restored_after_it(
    world: World, tool: str, how: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_facts(world)
    first: Asked
    first, other = {"contains": "clinic", "everything": True}, {"contains": "banana", "everything": True}
    if tool == LEARNED:
        of_ada = {} if user else {"user_id": "ada"}
        first, other = (
            {"learning_ids": ["profile:clinic"]} | of_ada,
            {"learning_ids": ["profile:banana"]} | of_ada,
        )
    async with world.connect(**environment(user)) as caller:
        step = "delete_learnings" if tool == LEARNED else DELETED
        await does_not_finish(world, how, monkeypatch, caller, tool, step=step, **first, erase=True)
        kept = await caller.receipt("delete_request", request_id="r1", include_learnings=True)
        assert (await caller.receipt(tool, **other, erase=True))["status"] == "complete"
        restored = await caller.restored(kept["number"])
    assert (restored["status"], "r1" in await world.ids()) == ("complete", True)
    assert "clinic" in world.backend.profiles


@pytest.mark.parametrize("user", ["", "ada"])
@pytest.mark.parametrize("how", ["killed", "refused"])
async def test_an_erasure_of_other_interactions_does_not_finish_an_earlier_one(
    world: World, how: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [Interaction(content=text) for text in (CLINIC, BANANA)]
    await world.rest.publish(
        PublishBody(user_id="ada", session_id="s", request_id="r1", interaction_data_list=said), minted=False
    )
    first, second = await world.interactions("r1")
    await world.learn("clinic", "r1", content="Goes to the clinic", quote=CLINIC)
    asked: Asked = {"request_id": "r1", "include_learnings": True, "erase": True}
    async with world.connect(**environment(user)) as caller:
        await does_not_finish(
            world, how, monkeypatch, caller, "delete_request", interaction_ids=[first], **asked
        )
        await caller.receipt("delete_request", interaction_ids=[second], **asked)
        assert (await world.interactions("r1"), list(world.backend.profiles)) == ((first,), ["clinic"])
        await caller.receipt("delete_request", interaction_ids=[first], **asked)
    assert world.backend.profiles == {}


async def test_an_operators_erasure_of_other_words_does_not_finish_that_of_a_user(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_facts(world)
    asked: Asked = {"everything": True, "include_learnings": True, "erase": True}
    async with world.connect(**environment("ada")) as user:
        await does_not_finish(
            world, "killed", monkeypatch, user, "delete_requests", contains="clinic", **asked
        )
    async with world.connect(**environment("")) as operator:
        await operator.receipt("delete_requests", contains="banana", user_id="ada", **asked)
        assert list(world.backend.profiles) == ["clinic"]


@pytest.mark.parametrize("user", ["", "ada"])
async def test_the_same_call_finishes_an_erasure_after_any_number_of_other_deletions(
    world: World, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_facts(world)
    others = [f"other {number}" for number in range(21)]
    for other in others:
        await world.put(other)
    asked: Asked = {"request_id": "r1", "include_learnings": True, "erase": True}
    async with world.connect(**environment(user)) as caller:
        await does_not_finish(
            world, "killed", monkeypatch, caller, "delete_request", step="delete_learnings", **asked
        )
        for other in others:
            await caller.receipt("delete_request", request_id=other)
        assert (await caller.receipt("delete_request", **asked))["status"] == "complete"
    assert list(world.backend.profiles) == ["banana"]


@pytest.mark.parametrize("how", ["same session", "other ids"])
async def test_another_deletion_of_the_same_name_hides_no_erasure_from_the_call_that_finishes_it(
    world: World, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one keeps a copy of what came later. The other erases what only copies contain."""
    await two_facts(world)
    tool, target = "delete_session", {"session_id": "s"}
    if how == "other ids":
        tool, target = "delete_requests", {"request_ids": ["r1", "r2"]}
    asked: Asked = {**target, "include_learnings": True, "erase": True}
    async with world.connect(CONFIRM="off") as caller:
        await does_not_finish(world, "killed", monkeypatch, caller, tool, step="delete_learnings", **asked)
        assert (await world.ids(), len(world.backend.profiles)) == (set(), 2)
        await world.put("later")
        await world.put("last")
        if how == "same session":
            await caller.receipt("delete_session", session_id="s")
        else:
            for kept in (True, False):
                await caller.receipt("delete_requests", request_ids=["later", "last"], erase=not kept)
        await caller.receipt(tool, **asked)
    assert world.backend.profiles == {}


ADA = TrafficFilter(user_id="ada")
TARGETS: dict[str, Target] = {
    "ids": Requests(("r1", "r2")),
    "other ids": Requests(("r1", "r3")),
    "interactions": Interactions("r1", (1,)),
    "other interactions": Interactions("r1", (2,)),
    "user": Filtered(ADA),
    "all of a user": User(ADA),
    "words": Filtered(replace(ADA, contains="clinic")),
    "other words": Filtered(replace(ADA, contains="banana")),
    "finding": Filtered(replace(ADA, finding="duplicate")),
    "time": Filtered(replace(ADA, start_time=1)),
    "other time": Filtered(replace(ADA, start_time=2)),
    "learnings": Learnings(Selection("ada", ("profile:p",))),
    "other learnings": Learnings(Selection("ada", ("profile:q",))),
    "learnings with words": Learnings(Selection("ada", words="clinic")),
    "learnings of requests": Learnings(Selection("ada", wanted=replace(ADA, contains="clinic"))),
    "learnings of a request": Learnings(Selection("ada", request_id="r1")),
    "correction": Correction(Selection("ada", ("profile:p",)), "text"),
    "other text": Correction(Selection("ada", ("profile:p",)), "another text"),
    "rules": Rules((1, 2), "approve"),
    "other decision": Rules((1, 2), "reject"),
}
OPTIONS = [
    Options(),
    Options(include_learnings=True),
    Options(erase=True),
    Options(include_learnings=True, learning_ids=("profile:p",)),
]


async def test_no_two_calls_that_delete_something_else_are_taken_for_the_same() -> None:
    owners = [Owner("account"), Owner("account", "ada")]
    calls = [call_of(target, OPTIONS[0], owners[0]) for target in TARGETS.values()]
    calls += [call_of(TARGETS["ids"], options, owners[1]) for options in OPTIONS]
    assert len(set(calls)) == len(calls)


async def test_a_call_is_the_same_whatever_the_order_of_its_ids_its_reason_and_who_repeats_it() -> None:
    options = Options(learning_ids=("a", "b"), reason="asked by phone")
    operator, ada = Owner("account", caller="operator"), Owner("account", "ada")
    assert call_of(Requests(("r1", "r2")), options, operator) == call_of(
        Requests(("r2", "r1")), Options(learning_ids=("b", "a")), operator
    )
    words = TARGETS["words"]
    assert call_of(words, options, operator) == call_of(words, options, ada)


@pytest.mark.parametrize("how", ["killed", "refused"])
async def test_an_erasure_of_what_expired_leaves_what_its_operator_keeps_longer_by_now(
    world: World, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('hold = []\n[[expire]]\nsession_id = "s"\nafter = "1h"\n', encoding="utf-8")
    world.clock.now = int(time.time()) - 7200
    await two_facts(world)
    world.clock.now = int(time.time())
    asked: Asked = {"finding": "expired", "include_learnings": True, "erase": True}
    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        step = "delete_learnings" if how == "refused" else DELETED
        await does_not_finish(world, how, monkeypatch, caller, "delete_requests", step=step, **asked)
    before = set(world.backend.profiles)
    policy.write_text('hold = []\n[[expire]]\nsession_id = "s"\nafter = "30d"\n', encoding="utf-8")
    os.utime(policy, (time.time() - 60, time.time() - 60))
    policy_at.cache_clear()
    async with world.connect(server=world.server(CONFIRM="off", POLICY=str(policy))) as caller:
        answer = await caller.call("delete_requests", **asked)
    assert answer["status"] == "not_found"
    assert await world.ids() == {"r1", "r2"}
    assert set(world.backend.profiles) == before
