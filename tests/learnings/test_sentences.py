"""Every sentence about what survives: said where it is true, and not said where it would be false.

Each row of `SENTENCES` names a part of a sentence, a story in which it is true and one in which it would be false. A
story checks what it tells in the backend itself. A part of a sentence that stands in no row fails
`test_no_sentence_is_without_both`.
"""

import ast
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from types import ModuleType

import httpx
import pytest

from reflexio_mcp.render import (
    deletion,
    deletion_facts,
    jobs,
    learned,
    learning_deletion,
    learnings_page,
    publishing,
    question,
    receipt_end,
    restoring,
    turn_deletion,
    user_deletion,
)
from reflexio_mcp.rest.models import Interaction, PublishBody, PublishReply, RequestQuery
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.state.database import StateUnusable
from reflexio_mcp.state.job_records import JobRecord, JobRecords
from reflexio_mcp.state.recovery_copies import RecoveryCopy
from reflexio_mcp.traffic.deletion import execute, plan
from reflexio_mcp.traffic.deletion.jobs import Job
from reflexio_mcp.traffic.deletion.restore import Restored
from reflexio_mcp.traffic.learnings import turns
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.learnings.remove import TakenBack
from reflexio_mcp.traffic.publishing import Published
from tests.deletion.support import BY_IDS, READ, Known, Person, World, text_of

pytestmark = pytest.mark.anyio

Story = Callable[[World, pytest.MonkeyPatch], Awaitable[str]]

PROFILES, STATUS = "/api/get_profiles", "/api/learning_status"
OUTCOMES, PUBLISH = "/api/get_session_outcomes", "/api/publish_interaction"
DELETE_PROFILES = "/api/delete_profiles_by_ids"


async def told(world: World, tool: str, *, server: object = None, **arguments: object) -> str:
    """What a call that acts at once answers."""
    async with world.connect(server=server, CONFIRM="off", RECOVERY_DAYS="1") as caller:
        return text_of(await caller.result(tool, **arguments))


async def planned(world: World, tool: str, **arguments: object) -> str:
    async with world.connect(CONFIRM="preview") as caller:
        return text_of(await caller.result(tool, **arguments))


# Deletions of requests


async def nothing_learned(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.put("b")
    await world.learn("p", "b")
    text = await told(world, "delete_request", request_id="a")
    assert set(world.backend.profiles) == {"p"}
    return text


async def a_learning_stays(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    text = await told(world, "delete_request", request_id="a")
    assert set(world.backend.profiles) == {"p"}
    return text


async def a_learning_would_stay(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    return await planned(world, "delete_request", request_id="a")


async def an_earlier_copy_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    async with world.connect(CONFIRM="off", RECOVERY_DAYS="1") as caller:
        await caller.result("delete_request", request_id="a")
    await world.put("a")
    return await planned(world, "delete_request", request_id="a", erase=True)


async def nothing_earlier_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    return await planned(world, "delete_request", request_id="a", erase=True)


def with_an_earlier_copy(tool: str = "delete_request", mode: str = "off", **arguments: object) -> Story:
    """A call where copies were made before and are not any more: a deletion of another request, or another call."""

    async def story(world: World, _: pytest.MonkeyPatch) -> str:
        await world.put("a")
        await world.put("b")
        server = world.server(CONFIRM="off", RECOVERY_DAYS="1")
        async with world.connect(server=server) as caller:
            await caller.result("delete_request", request_id="a", wait_for_response=False)
            await server.runtime.jobs.drain()
        given = {"request_id": "b"} | arguments if tool == "delete_request" else arguments
        async with world.connect(CONFIRM=mode) as caller:
            return text_of(await caller.result(tool, **given))

    return story


async def a_status_of_a_receipt(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    server = world.server(CONFIRM="off", RECOVERY_DAYS="1")
    async with world.connect(server=server) as caller:
        await caller.result("delete_request", request_id="a", wait_for_response=False)
        await server.runtime.jobs.drain()
        return text_of(await caller.result("get_status"))


async def a_learning_went(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    text = await told(world, "delete_request", request_id="a", include_learnings=True)
    assert not world.backend.profiles
    return text


async def a_shared_learning_went(world: World, _: pytest.MonkeyPatch) -> str:
    for name in ("a", "b"):
        await world.put(name)
    await world.learn("p", "a", "b")
    text = await told(world, "delete_request", request_id="a", include_learnings=True)
    assert await world.ids() == {"b"}
    return text


async def a_learning_shared_with_an_evaluation_went(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.put("b", evaluation_only=True)
    await world.learn("p", "a", "b")
    text = await told(world, "delete_request", request_id="a", include_learnings=True)
    assert "Reflexio names 1 other request, which stays, as a source of it. " in text
    return text


async def a_learning_of_three_requests_went(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.put("b")
    await world.put("c", evaluation_only=True)
    await world.learn("p", "a", "b", "c")
    return await told(world, "delete_request", request_id="a", include_learnings=True)


async def _a_quotation(world: World, other: str, **arguments: object) -> str:
    """Delete a request whose learning quotes it and lists another one, which says something."""
    await world.put("a", text="I live in Lisbon.")
    await world.put("b", text=other)
    await world.learn("p", "a", "b", quote="i live in Lisbon")
    return await told(world, "delete_request", request_id="a", **arguments)


async def a_quotation_is_shared(world: World, _: pytest.MonkeyPatch) -> str:
    return await _a_quotation(world, "As I said, I live in Lisbon!", include_learnings=True)


async def a_quotation_is_not_shared(world: World, _: pytest.MonkeyPatch) -> str:
    return await _a_quotation(world, "How do I water roses?", include_learnings=True)


async def a_quotation_stays(world: World, _: pytest.MonkeyPatch) -> str:
    text = await _a_quotation(world, "How do I water roses?")
    assert set(world.backend.profiles) == {"p"}
    return text


async def two_quotations_are_shared(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a", text="I live in Lisbon and I play the cello.")
    await world.put("b", text="I live in Lisbon, as I said.")
    await world.learn("p", "a", "b", quote="I live in Lisbon")
    await world.learn("q", "a", "b", quote="I play the cello")
    return await told(world, "delete_request", request_id="a", include_learnings=True)


async def a_learning_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    return await planned(world, "delete_request", request_id="a", include_learnings=True)


async def two_learnings_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    for name in ("p", "q"):
        await world.learn(name, "a")
    return await planned(world, "delete_request", request_id="a", include_learnings=True)


async def a_quotation_is_shared_by_the_plan(world: World, _: pytest.MonkeyPatch) -> str:
    for name in ("a", "b"):
        await world.put(name, text=f"I live in Lisbon ({name})")
    await world.learn("p", "a", "b", quote="I live in Lisbon")
    return await planned(world, "delete_request", request_id="a")


async def a_quoting_learning_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a", text="I live in Lisbon.")
    await world.put("b", text="How do I water roses?")
    await world.learn("p", "a", "b", quote="I live … Lisbon")
    text = await planned(world, "delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert "quoted (1): a\n" in text
    return text


async def a_quoting_one_is_listed(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a", text="I live in Lisbon.")
    await world.put("b", text="How do I water roses?")
    await world.learn("p", "a", "b", quote="I live in Lisbon")
    text = await told(world, "list_learnings", user_id="ada")
    assert "the words quoted stand in a\n" in text
    return text


async def a_merged_one_is_listed(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a", status="superseded")
    return await told(world, "list_learnings", user_id="ada")


async def the_store_does_not_learn(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    server = _embedded(world, RECOVERY_DAYS="0")
    return await told(world, "delete_request", server=server, request_id="a")


async def what_was_learned_cannot_be_read(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    world.backend.failing[PROFILES] = (0, 403)
    return await told(world, "delete_request", request_id="a")


async def what_is_left_cannot_be_read(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")

    async def fails() -> None:
        world.backend.failing[PROFILES] = (0, 403)

    world.backend.before[DELETE_PROFILES] = [fails]
    return await told(world, "delete_request", request_id="a", include_learnings=True)


async def one_does_not_say(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    world.backend.profiles["manual"] = Known("ada", "manual_12345678")
    return await told(world, "delete_request", request_id="a")


async def several_do_not_say(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    for number in range(2):
        world.backend.profiles[f"manual-{number}"] = Known("ada", "manual_12345678")
    return await told(world, "delete_request", request_id="a")


async def users_were_left_out(world: World, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(plan, "USERS_COUNTED", 1)
    for user in ("ada", "bob"):
        await world.put(user, user=user)
        await world.learn(user, user, user=user)
    return await planned(world, "delete_session", session_id="s")


async def other_sources_were_not_looked_up(world: World, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(turns, "REQUESTS_LOOKED_UP", 1)
    for name in ("old", "a", "b"):
        await world.put(name, session=name)
    await world.learn("p", "a", "old")
    return await planned(world, "delete_request", request_id="a")


async def it_goes_on_learning(world: World, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(execute, "LEARNING_WAIT_SECONDS", 0.05)
    for name in ("a", "b"):
        await world.put(name)
    await world.learn("p", "a")
    world.backend.learning = [{"status": "processing", "reason": "extracting"}] * 50
    return await told(world, "delete_request", request_id="a", include_learnings=True)


async def nobody_looked_in_time(world: World, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(execute, "LEARNING_WAIT_SECONDS", -1.0)
    for name in ("a", "b"):
        await world.put(name)
    await world.learn("p", "a")
    return await told(world, "delete_request", request_id="a", include_learnings=True)


async def its_text_changed(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.put("b")
    await world.learn("p", "a")
    other = await world.interactions("b")

    async def edited() -> None:
        world.backend.profiles["p"] = Known("ada", "b", other, content="Something else")

    world.backend.before[STATUS] = [edited]
    text = await told(world, "delete_request", request_id="a", include_learnings=True)
    assert set(world.backend.profiles) == {"p"}
    return text


async def a_request_cannot_be_returned(world: World, _: pytest.MonkeyPatch) -> str:
    from reflexio_mcp.rest.models import UnreadableRequest
    from reflexio_mcp.traffic.deletion.plan import Plan, planned_request

    await world.put("a")
    unread = Plan("ids", (planned_request(UnreadableRequest.of("a", "ada")),))
    return deletion.planned(unread, lead="Nothing was deleted.").text


async def a_receipt_of_what_cannot_be_returned(world: World, _: pytest.MonkeyPatch) -> str:
    from reflexio_mcp.rest.models import UnreadableRequest
    from reflexio_mcp.traffic.deletion.execute import Receipt
    from reflexio_mcp.traffic.deletion.plan import Plan, planned_request

    await world.put("a")
    unread = Plan("ids", (planned_request(UnreadableRequest.of("a", "ada")),))
    return deletion.receipt(Receipt(unread, {"a": "deleted"})).text


async def the_learnings_would_not_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    world.backend.failing[DELETE_PROFILES] = (0, 400)
    text = await told(world, "delete_request", request_id="a", include_learnings=True)
    assert not await world.ids()
    assert set(world.backend.profiles) == {"p"}
    return text


async def the_rest_of_the_request_fed_it_too(world: World, _: pytest.MonkeyPatch) -> str:
    return await _one_of_two_turns(world, 2)


async def the_rest_of_the_request_did_not_feed_it(world: World, _: pytest.MonkeyPatch) -> str:
    return await _one_of_two_turns(world, 1)


async def two_other_turns_fed_it_too(world: World, _: pytest.MonkeyPatch) -> str:
    three = [Interaction(content=one) for one in ("I live in Lisbon", "Noted", "Thank you")]
    body = PublishBody(user_id="ada", session_id="s", request_id="a", interaction_data_list=three)
    await world.rest.publish(body, minted=False)
    turns = await world.interactions("a")
    world.backend.profiles["p"] = Known("ada", "a", turns)
    return await planned(world, "delete_request", request_id="a", interaction_ids=[turns[0]])


async def _one_of_two_turns(world: World, feeding: int) -> str:
    two = [Interaction(content=one) for one in ("I live in Lisbon", "Noted")]
    body = PublishBody(user_id="ada", session_id="s", request_id="a", interaction_data_list=two)
    await world.rest.publish(body, minted=False)
    turns = await world.interactions("a")
    world.backend.profiles["p"] = Known("ada", "a", turns[:feeding])
    return await planned(world, "delete_request", request_id="a", interaction_ids=[turns[0]])


async def _turns(world: World, number: int, *, plan: bool = False, feeding: int = 0) -> str:
    two = [Interaction(content=one) for one in ("I live in Lisbon", "Noted")]
    body = PublishBody(user_id="ada", session_id="s", request_id="a", interaction_data_list=two)
    await world.rest.publish(body, minted=False)
    turns = await world.interactions("a")
    if feeding:
        world.backend.profiles["p"] = Known("ada", "a", turns[:feeding])
    say = planned if plan else told
    chosen = {"request_id": "a", "interaction_ids": list(turns[:number])}
    return await say(world, "delete_request", **chosen, include_learnings=True)


async def a_turn_went(world: World, _: pytest.MonkeyPatch) -> str:
    return await _turns(world, 1, feeding=1)


async def a_turn_of_a_shared_learning_went(world: World, _: pytest.MonkeyPatch) -> str:
    text = await _turns(world, 1, feeding=2)
    assert not world.backend.profiles
    assert len(await world.interactions("a")) == 1
    return text


async def all_turns_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    return await _turns(world, 2, plan=True)


async def all_turns_went(world: World, _: pytest.MonkeyPatch) -> str:
    text = await _turns(world, 2)
    assert await world.ids() == {"a"}
    return text


async def the_request_went_with_its_turns(world: World, _: pytest.MonkeyPatch) -> str:
    async def goes() -> None:
        await world.rest.delete_request("a")

    world.backend.before["/api/delete_interaction"] = [goes]
    text = await _turns(world, 2)
    assert not await world.ids()
    return text


async def a_session_of_one_user_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    for user in ("ada", "bob"):
        await world.put(user, user=user)
    return await planned(world, "delete_session", session_id="s", user_id="ada")


async def a_session_that_is_nobody_elses_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("ada", user="ada")
    return await planned(world, "delete_session", session_id="s", user_id="ada")


async def a_session_of_the_only_user_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    for user in ("ada", "bob"):
        await world.put(user, user=user)
    async with world.connect(CONFIRM="preview", REFLEXIO_USER_ID="ada") as caller:
        return text_of(await caller.result("delete_session", session_id="s"))


async def all_requests_of_a_user_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    for user in ("ada", "bob"):
        await world.put(user, user=user)
    return await planned(world, "delete_requests", user_id="ada")


async def all_requests_of_a_user_alone_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("ada", user="ada")
    await world.put("bob", user="bob", session="elsewhere")
    return await planned(world, "delete_requests", user_id="ada")


async def all_requests_of_the_fixed_user_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("ada")
    async with world.connect(CONFIRM="preview", REFLEXIO_USER_ID="ada") as caller:
        return text_of(await caller.result("delete_requests", everything=True))


def a_status(days: str) -> Story:
    async def story(world: World, _: pytest.MonkeyPatch) -> str:
        async with world.connect(RECOVERY_DAYS=days) as caller:
            return text_of(await caller.result("get_status"))

    return story


def a_form_was_cancelled(days: str) -> Story:
    async def story(world: World, _: pytest.MonkeyPatch) -> str:
        await world.put("a")
        person = Person(lambda _: "cancel")
        async with world.connect(person=person, RECOVERY_DAYS=days) as caller:
            return text_of(await caller.result("delete_request", request_id="a"))

    return story


async def one_of_three_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    for word in ("flight", "hotel", "pool"):
        await world.put(word, text=word)
    return await planned(world, "delete_requests", contains="hotel", user_id="ada")


async def one_of_two_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    for word in ("flight", "hotel"):
        await world.put(word, text=word)
    return await planned(world, "delete_requests", contains="hotel", user_id="ada")


async def a_session_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    for user in ("ada", "bob"):
        await world.put(user, user=user)
    return await planned(world, "delete_session", session_id="s")


async def a_user_without_requests_went(world: World, _: pytest.MonkeyPatch) -> str:
    world.backend.profiles["manual"] = Known("ada")
    return await told(world, "delete_requests", user_id="ada", include_learnings=True, erase=True)


async def a_duplicate_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    return deletion.planned(await _duplicate(world), lead="Nothing was deleted.").text


async def _duplicate(world: World) -> plan.Plan:
    await world.put("a")
    await world.put("copy")
    page = await world.rest.get_requests(RequestQuery(request_id="copy"))
    [item] = page.sessions[0].requests
    return plan.Plan("duplicates", (plan.planned_request(item, copy_of="a"),))


async def an_id_of_another_user_is_named(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a", user="bob")
    return await planned(world, "delete_requests", request_ids=["a"], user_id="ada")


async def an_unknown_id_is_named(world: World, _: pytest.MonkeyPatch) -> str:
    return await planned(world, "delete_requests", request_ids=["a"])


async def a_copy_alone_held_the_request(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await told(world, "delete_request", request_id="a")
    return await told(world, "delete_request", request_id="a", erase=True)


async def a_copy_held_one_of_two(world: World, _: pytest.MonkeyPatch) -> str:
    for name in ("a", "b"):
        await world.put(name)
    await told(world, "delete_request", request_id="a")
    return await told(world, "delete_requests", request_ids=["a", "b"], erase=True)


async def whether_a_request_went_cannot_be_read(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")

    async def fails() -> None:
        world.backend.failing[READ] = (0, 422)

    world.backend.before[BY_IDS] = [fails]
    return await told(world, "delete_request", request_id="a")


async def an_id_was_taken(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")

    async def taken() -> None:
        await world.rest.delete_request("a")
        await world.put("a", text="something else")

    world.backend.before[PROFILES] = [taken]
    text = await told(world, "delete_request", request_id="a")
    assert await world.ids() == {"a"}
    return text


def the_deletion_fails(status: int) -> Story:
    async def story(world: World, _: pytest.MonkeyPatch) -> str:
        await world.put("a")
        world.backend.failing[BY_IDS] = (0, status)
        text = await told(world, "delete_request", request_id="a")
        assert await world.ids() == {"a"}
        return text

    return story


async def the_deletion_does_not_reach_it(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")

    async def refuses() -> None:
        raise httpx.ConnectError("refused for this test")

    world.backend.before[BY_IDS] = [refuses] * 20
    text = await told(world, "delete_request", request_id="a")
    assert await world.ids() == {"a"}
    return text


async def the_service_counts_none(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    world.backend.rewriting[BY_IDS] = lambda _, reply: reply | {"deleted_count": 0}
    text = await told(world, "delete_request", request_id="a")
    assert not await world.ids()
    return text


def agent_playbooks_of(*users: list[str]) -> Story:
    """Everything of Ada would go, with agent playbooks that were made from playbooks of these users."""

    async def story(world: World, _: pytest.MonkeyPatch) -> str:
        await world.put("a")
        await world.learn(7, "a")
        world.backend.agent_playbooks = dict(enumerate(users, 1))
        return await planned(world, "delete_requests", user_id="ada", include_learnings=True, erase=True)

    return story


async def _nothing() -> None:
    """For a call in which nothing happens."""


async def somebody_publishes_on(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")

    async def published() -> None:
        await world.put("b")

    world.backend.before[OUTCOMES] = [_nothing, published]
    text = await told(world, "delete_requests", user_id="ada", include_learnings=True, erase=True)
    assert await world.ids() == {"b"}
    return text


async def outcomes_cannot_be_read(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")

    async def fails() -> None:
        world.backend.failing[OUTCOMES] = (0, 403)

    world.backend.before[OUTCOMES] = [_nothing, fails]
    return await told(world, "delete_requests", user_id="ada", include_learnings=True, erase=True)


def an_unfinished_deletion(order: str) -> Story:
    async def story(_: World, __: pytest.MonkeyPatch) -> str:
        record = JobRecord(1, 1, "request a", follows=False, state="stopped", order=order)
        return "\n".join(jobs.jobs_shown([record], 10_000).lines)

    return story


async def a_status_without_room(_: World, __: pytest.MonkeyPatch) -> str:
    records = [JobRecord(one, one, "request a", follows=False, state="stopped") for one in range(9)]
    return "\n".join(jobs.jobs_shown(records, 600).lines)


async def a_status_of_nothing(_: World, __: pytest.MonkeyPatch) -> str:
    record = JobRecord(1, 1, "request a", follows=False, state="done")
    done = execute.Receipt(plan.Plan("request a", ()), {})
    record = replace(record, told=jobs.told_of(Job(record, "", receipt=done))[0])
    return "\n".join(jobs.jobs_shown([record, record], 800).lines)


def followed(taken: TakenBack) -> Story:
    async def story(_: World, __: pytest.MonkeyPatch) -> str:
        return learned.what_followed(taken)

    return story


async def a_chosen_learning_goes_on_being_learned(world: World, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(execute, "LEARNING_WAIT_SECONDS", 0.05)
    await world.put("a")
    await world.learn("p", "a")
    world.backend.learning = [{"status": "processing", "reason": "extracting"}] * 50
    text = await told(world, "delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert "still learning" in text
    return text


async def the_status_while_it_goes_on_learning(world: World, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(execute, "LEARNING_WAIT_SECONDS", 0.05)
    for name in ("a", "b"):
        await world.put(name)
    await world.learn("p", "a")
    world.backend.learning = [{"status": "processing", "reason": "extracting"}] * 1000
    async with world.connect(CONFIRM="off") as caller:
        await caller.call("delete_request", request_id="a", include_learnings=True)
        return text_of(await caller.result("get_status"))


async def the_status_of_a_later_server(world: World, patch: pytest.MonkeyPatch) -> str:
    await the_status_while_it_goes_on_learning(world, patch)
    return await told(world, "get_status")


async def everything_of_a_user_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    return await planned(world, "delete_requests", user_id="ada", include_learnings=True, erase=True)


async def everything_of_a_user_went(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    text = await told(world, "delete_requests", user_id="ada", include_learnings=True, erase=True)
    assert not await world.ids()
    assert not world.backend.profiles
    return text


async def the_copy_will_have_what_was_learned(world: World, _: pytest.MonkeyPatch) -> str:
    return await _with_a_copy(world, include_learnings=True)


async def what_was_learned_would_stay(world: World, _: pytest.MonkeyPatch) -> str:
    return await _with_a_copy(world, include_learnings=False)


async def _with_a_copy(world: World, **options: bool) -> str:
    await world.put("a")
    await world.learn("p", "a")
    async with world.connect(CONFIRM="preview", RECOVERY_DAYS="1") as caller:
        return text_of(await caller.result("delete_request", request_id="a", **options))


# Deletions of learnings


async def a_learning_alone_went(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    text = await told(world, "delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert await world.ids() == {"a"}
    return text


async def a_learning_alone_would_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    return await planned(world, "delete_learnings", user_id="ada", learning_ids=["profile:p"])


async def a_learning_was_erased(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    text = await told(world, "delete_learnings", user_id="ada", erase=True)
    assert not world.backend.profiles
    return text


async def a_learning_came_up_meanwhile(world: World, _: pytest.MonkeyPatch) -> str:
    return await _came_up_meanwhile(world, "q")


async def two_learnings_came_up_meanwhile(world: World, _: pytest.MonkeyPatch) -> str:
    return await _came_up_meanwhile(world, "q", "r")


async def _came_up_meanwhile(world: World, *names: str) -> str:
    await world.put("a")
    await world.learn("p", "a")

    async def learn() -> None:
        for name in names:
            await world.learn(name, "a")

    world.backend.before[STATUS] = [learn]
    text = await told(world, "delete_learnings", session_id="s")
    assert not world.backend.profiles
    return text


async def a_copy_alone_holds_a_learning(world: World, _: pytest.MonkeyPatch) -> str:
    await a_learning_alone_went(world, _)
    async with world.connect(CONFIRM="preview", RECOVERY_DAYS="1") as caller:
        return text_of(await caller.result("delete_learnings", user_id="ada", erase=True))


async def a_copy_alone_held_it(world: World, _: pytest.MonkeyPatch) -> str:
    await a_learning_alone_went(world, _)
    return await told(world, "delete_learnings", user_id="ada", erase=True)


async def a_copy_alone_holds_a_users_learning(world: World, _: pytest.MonkeyPatch) -> str:
    await a_learning_alone_went(world, _)
    everything = {"user_id": "ada", "include_learnings": True, "erase": True}
    async with world.connect(CONFIRM="preview", RECOVERY_DAYS="1") as caller:
        return text_of(await caller.result("delete_requests", **everything))


async def a_learning_without_a_living_source_went(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    await world.rest.delete_request("a")
    return await told(world, "delete_learnings", user_id="ada")


async def what_one_of_two_requests_taught_went(world: World, _: pytest.MonkeyPatch) -> str:
    for name in ("a", "b"):
        await world.put(name)
    await world.learn("p", "a", "b")
    return await told(world, "delete_learnings", request_id="a")


async def what_a_session_taught_went(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    return await told(world, "delete_learnings", session_id="s")


async def a_learning_alone_would_not_go(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    world.backend.failing[DELETE_PROFILES] = (0, 403)
    return await told(world, "delete_learnings", user_id="ada")


async def whether_a_learning_went_cannot_be_read(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")

    async def fails() -> None:
        world.backend.failing[PROFILES] = (0, 403)

    world.backend.before[DELETE_PROFILES] = [fails]
    return await told(world, "delete_learnings", user_id="ada")


async def a_learning_became_part_of_another(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")

    async def merged() -> None:
        old = world.backend.profiles["p"]
        world.backend.profiles["p"] = old._replace(status="superseded")
        world.backend.profiles["both"] = Known("ada", "a", old.interactions, content="Both")

    world.backend.before[STATUS] = [merged]
    text = await told(world, "delete_learnings", user_id="ada", learning_ids=["profile:p"])
    assert set(world.backend.profiles) == {"both"}
    return text


async def sources_of_a_learning_were_not_looked_up(world: World, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(turns, "REQUESTS_LOOKED_UP", 1)
    for name in ("old", "a", "b"):
        await world.put(name, session=name)
    await world.learn("p", "old")
    return await planned(world, "delete_learnings", user_id="ada")


# Lists, questions, publishing and restoring


async def listed(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    return await told(world, "list_learnings", user_id="ada")


async def a_page_is_listed(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    for name in ("p", "q"):
        await world.learn(name, "a")
    return await told(world, "list_learnings", user_id="ada", limit=1)


async def none_is_listed(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    return await told(world, "list_learnings", request_id="a")


async def whether_there_is_one_is_not_known(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    world.backend.profiles["manual"] = Known("ada", "manual_12345678")
    return await told(world, "list_learnings", request_id="a")


async def one_is_reconstructed(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    world.backend.profiles["old"] = Known("ada", "a")
    return await told(world, "list_learnings", user_id="ada")


async def a_source_is_deleted(world: World, _: pytest.MonkeyPatch) -> str:
    for name in ("a", "b"):
        await world.put(name)
    await world.learn("p", "a", "b")
    await world.rest.delete_request("b")
    return await told(world, "list_learnings", user_id="ada")


async def a_source_is_not_looked_up(world: World, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(turns.find_turns, "__kwdefaults__", {"most": 1})
    for name in ("old", "a", "b"):
        await world.put(name, session=name)
    await world.learn("p", "old")
    return await told(world, "list_learnings", user_id="ada")


async def a_listed_request_is_not_through(world: World, _: pytest.MonkeyPatch) -> str:
    world.backend.learning = [{"status": "pending", "reason": "queued"}]
    return await none_is_listed(world, _)


async def a_listed_request_is_through(world: World, _: pytest.MonkeyPatch) -> str:
    world.backend.learning = [{"status": "done", "reason": "covered"}]
    return await none_is_listed(world, _)


async def asked_for_a_learning(world: World, _: pytest.MonkeyPatch) -> str:
    person = Person(lambda _: "decline")
    await world.put("a")
    await world.learn("p", "a")
    async with world.connect(person=person) as caller:
        await caller.call("delete_learnings", user_id="ada")
    return person.seen[0]


async def asked_for_many_learnings(world: World, _: pytest.MonkeyPatch) -> str:
    person = Person(lambda _: "decline")
    for number in range(30):
        world.backend.profiles[f"p{number}"] = Known("ada")
    async with world.connect(person=person) as caller:
        await caller.call("delete_learnings", user_id="ada")
    return person.seen[0]


async def _asked(world: World, server: object = None) -> str:
    person = Person(lambda _: "decline")
    await world.put("a")
    async with world.connect(person=person, server=server) as caller:
        await caller.call("delete_request", request_id="a")
    return person.seen[0]


async def asked_for_a_request(world: World, _: pytest.MonkeyPatch) -> str:
    return await _asked(world)


async def asked_where_nothing_is_learned(world: World, _: pytest.MonkeyPatch) -> str:
    return await _asked(world, _embedded(world, CONFIRM="auto"))


async def asked_for_a_duplicate(world: World, _: pytest.MonkeyPatch) -> str:
    return question.question_text(await _duplicate(world), number=None)


def standing(status: str, reason: str = "", *, evaluation_only: bool = False) -> Story:
    async def story(world: World, _: pytest.MonkeyPatch) -> str:
        await world.put("a", evaluation_only=evaluation_only)
        world.backend.learning = [{"status": status, "reason": reason}]
        return await told(world, "get_request", request_id="a")

    return story


DONE = standing("done", "covered")


async def restored(world: World, _: pytest.MonkeyPatch) -> str:
    return await _restored(world)


async def restored_without_learning(world: World, _: pytest.MonkeyPatch) -> str:
    return await _restored(world, evaluation_only=True)


async def _restored(world: World, *, server: object = None, **more: bool) -> str:
    await world.put("a")
    async with world.connect(server=server, CONFIRM="off", RECOVERY_DAYS="1") as caller:
        done = await caller.call("delete_request", request_id="a")
        return text_of(await caller.result("restore_requests", copy_id=done["copy_id"], **more))


async def restored_with_its_learnings(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    async with world.connect(CONFIRM="off", RECOVERY_DAYS="1") as caller:
        done = await caller.call("delete_request", request_id="a", include_learnings=True)
        assert not world.backend.profiles
        text = text_of(await caller.result("restore_requests", copy_id=done["copy_id"]))
    assert set(world.backend.profiles) == {"p"}
    return text


async def learnings_alone_were_restored(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    async with world.connect(CONFIRM="off", RECOVERY_DAYS="1") as caller:
        done = await caller.call("delete_learnings", user_id="ada")
        return text_of(await caller.result("restore_requests", copy_id=done["copy_id"]))


async def restored_where_an_id_is_taken(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.learn("p", "a")
    async with world.connect(CONFIRM="off", RECOVERY_DAYS="1") as caller:
        done = await caller.call("delete_learnings", user_id="ada")
        await world.learn("p", "a", content="something else")
        text = text_of(await caller.result("restore_requests", copy_id=done["copy_id"]))
    assert world.backend.profiles["p"].content == "something else"
    return text


async def restored_again(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    async with world.connect(CONFIRM="off", RECOVERY_DAYS="1") as caller:
        done = await caller.call("delete_request", request_id="a")
        await caller.call("restore_requests", copy_id=done["copy_id"])
        return text_of(await caller.result("restore_requests", copy_id=done["copy_id"]))


async def restored_something_else(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    async with world.connect(CONFIRM="off", RECOVERY_DAYS="1") as caller:
        done = await caller.call("delete_request", request_id="a")
        other = {"copy_id": done["copy_id"], "request_ids": ["b"]}
        return text_of(await caller.result("restore_requests", **other))


async def nothing_more_is_accepted(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    async with world.connect(CONFIRM="off", RECOVERY_DAYS="1") as caller:
        done = await caller.call("delete_request", request_id="a")
        world.backend.failing[PUBLISH] = (0, 429)
        return text_of(await caller.result("restore_requests", copy_id=done["copy_id"]))


async def a_request_is_not_taken_back(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await world.put("b")
    async with world.connect(CONFIRM="off", RECOVERY_DAYS="1") as caller:
        done = await caller.call("delete_session", session_id="s")

        async def refuses() -> None:
            world.backend.failing[PUBLISH] = (0, 422)

        async def takes() -> None:
            del world.backend.failing[PUBLISH]

        world.backend.before[PUBLISH] = [refuses, takes]
        text = text_of(await caller.result("restore_requests", copy_id=done["copy_id"]))
    assert await world.ids() == {"b"}
    return text


async def other_words_were_read(_: World, __: pytest.MonkeyPatch) -> str:
    done = Restored(_a_copy(0), {"a": "restored"}, checked=True, differs=["a"])
    return restoring.restored(done, evaluation_only=False, learns=True).text


async def a_request_cannot_be_read(_: World, __: pytest.MonkeyPatch) -> str:
    done = Restored(_a_copy(0), {"a": "not_restorable", "b": "restored"})
    return restoring.restored(done, evaluation_only=False, learns=True).text


async def an_image_was_restored(_: World, __: pytest.MonkeyPatch) -> str:
    done = Restored(_a_copy(0), {"a": "restored"}, turns_lost=1)
    return restoring.restored(done, evaluation_only=False, learns=True).text


async def a_copy_is_listed(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    await told(world, "delete_request", request_id="a")
    return await told(world, "restore_requests")


async def no_copy_is_listed(world: World, _: pytest.MonkeyPatch) -> str:
    return await told(world, "restore_requests")


async def many_copies_are_listed(_: World, __: pytest.MonkeyPatch) -> str:
    return restoring.copies_listed([_a_copy(number) for number in range(60)]).text


def _a_copy(number: int) -> RecoveryCopy:
    return RecoveryCopy(f"copy{number}", 1, 2, 1)


async def restored_where_nothing_is_learned(world: World, _: pytest.MonkeyPatch) -> str:
    return await _restored(world, server=_embedded(world))


def _embedded(world: World, **env: str) -> ReflexioServer:
    """A server whose backend is the embedded store."""
    variables = {"CONFIRM": "off", "RECOVERY_DAYS": "1", "RECOVERY_DIR": str(world.folder / "copies"), **env}
    settings = load({f"REFLEXIO_MCP_{name}": value for name, value in variables.items()})
    return ReflexioServer(settings, client=world.rest)


async def _restored_of_old_copies(world: World, *old: str) -> str:
    await world.put("a")
    await world.put("b")
    async with world.connect(server=_embedded(world)) as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        [path] = (world.folder / "copies").iterdir()
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            if row["request"]["request_id"] in old:
                del row["request"]["whole"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return text_of(await caller.result("restore_requests", copy_id=copy_id))


async def restored_of_a_mixed_copy(world: World, _: pytest.MonkeyPatch) -> str:
    return await _restored_of_old_copies(world, "a")


async def restored_of_an_old_copy(world: World, _: pytest.MonkeyPatch) -> str:
    return await _restored_of_old_copies(world, "a", "b")


async def it_would_come_back_as_it_was(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    async with world.connect(server=_embedded(world, CONFIRM="preview")) as caller:
        return text_of(await caller.result("delete_request", request_id="a"))


async def a_status_of_the_embedded_store(world: World, _: pytest.MonkeyPatch) -> str:
    async with world.connect(server=_embedded(world)) as caller:
        return text_of(await caller.result("get_status"))


def published(status: str) -> Story:
    async def story(_: World, __: pytest.MonkeyPatch) -> str:
        turns = [Interaction(content="hello")]
        body = PublishBody(request_id="a", user_id="ada", session_id="s", interaction_data_list=turns)
        return publishing.published(Published(body, PublishReply(learning_status=status))).text

    return story


def seven_went(*, kept: bool = False, **variables: str) -> Story:
    """A receipt that names five ids of seven, all of which are on record where it is kept."""

    async def story(world: World, patch: pytest.MonkeyPatch) -> str:
        if not kept:

            def unwritable(*_: object) -> None:
                raise StateUnusable("the state file cannot be used", "look at it")

            patch.setattr(JobRecords, "end", unwritable)
        for number in range(7):
            await world.put(f"a-request-whose-id-is-too-long-for-seven-of-them-to-be-named-{number}")
        log = {name: str(world.folder / value) for name, value in variables.items() if name == "AUDIT_LOG"}
        async with world.connect(**{"CONFIRM": "off", **variables, **log}) as caller:
            return text_of(await caller.result("delete_session", session_id="s"))

    return story


async def a_session_was_finished(world: World, _: pytest.MonkeyPatch) -> str:
    return publishing.finished("ada", "s").text


SENTENCES: dict[str, tuple[Story, Story]] = {
    # receipt_end
    "names all ids, for up to": (seven_went(kept=True), seven_went()),
    "; the audit log names those that were planned": (
        seven_went(kept=True, AUDIT_LOG="log"),
        seven_went(kept=True),
    ),
    receipt_end.IN_AUDIT_LOG: (seven_went(AUDIT_LOG="log", RECOVERY_DAYS="1"), seven_went()),
    receipt_end.IN_COPY: (seven_went(RECOVERY_DAYS="1"), seven_went()),
    receipt_end.NOWHERE: (seven_went(), seven_went(RECOVERY_DAYS="1")),
    # learned
    "learned from conversations this was part of": (a_learning_stays, nothing_learned),
    learned.ONLY_SOME: (two_learnings_would_go, a_learning_would_go),
    "No profile or user playbook was learned from it.": (nothing_learned, a_learning_stays),
    "This store does not learn: nothing was learned from it.": (the_store_does_not_learn, nothing_learned),
    "Whether anything was learned from it is not known.": (one_does_not_say, nothing_learned),
    "What was learned from it is not known: it could not be read.": (
        what_was_learned_cannot_be_read,
        nothing_learned,
    ),
    learned.NOT_LOOKED_FOR: (a_learning_went, the_store_does_not_learn),
    "nothing is learned from it yet. Reflexio waits for more of the conversation (a window of 10 interactions by "
    "default); finish_session learns now": (standing("pending", "waiting_for_window"), DONE),
    "nothing is learned from it yet": (standing("deferred"), DONE),
    "stored, still learning": (standing("still_learning"), DONE),
    "Reflexio does not say what is learned from it": (standing("not_tracked"), DONE),
    "nothing was learned from it": (standing("failed"), DONE),
    "Reflexio has read it, whether or not there was anything to learn": (
        standing("done", "covered"),
        standing("processing", "extracting"),
    ),
    "it is being learned from now": (standing("processing", "extracting"), DONE),
    "this store does not learn": (standing("not_tracked", "embedded_store"), standing("not_tracked")),
    "Learning: nothing is learned from it (": (
        standing("done", "not_applicable", evaluation_only=True),
        DONE,
    ),
    "another text than the plan showed and": (its_text_changed, a_learning_went),
    "Reflexio is still learning from traffic of": (it_goes_on_learning, a_learning_went),
    "Whether Reflexio is still learning from traffic of": (nobody_looked_in_time, it_goes_on_learning),
    "was not looked at in time; if it is, what comes of it can repeat what was deleted.": (
        nobody_looked_in_time,
        it_goes_on_learning,
    ),
    "); what comes of it can repeat what was deleted.": (it_goes_on_learning, a_learning_went),
    "; the words": (a_quotation_is_not_shared, a_shared_learning_went),
    "that one says the same": (a_shared_learning_went, a_quotation_is_shared),
    "one of those says the same": (a_learning_of_three_requests_went, a_shared_learning_went),
    "and is not for evaluation only": (a_learning_of_three_requests_went, a_shared_learning_went),
    "can be learned again from there.": (a_shared_learning_went, a_learning_shared_with_an_evaluation_went),
    "are not there, but if": (a_quotation_is_not_shared, a_quotation_is_shared),
    "in other words,": (a_quotation_is_not_shared, a_quotation_is_shared),
    "; the words it quotes stand": (a_quotation_is_shared, a_quotation_is_not_shared),
    ", so it can be learned again.": (a_quotation_is_shared, a_quotation_is_not_shared),
    "; words that they quote stand": (two_quotations_are_shared, a_quotation_is_shared),
    ", so what is said there can be learned again.": (two_quotations_are_shared, a_quotation_is_shared),
    "can be learned again.": (a_quotation_is_not_shared, a_shared_learning_went),
    ", with what is quoted": (a_quotation_stays, a_learning_stays),
    learned.LEARNED_GOES: (a_learning_would_go, a_learning_would_stay),
    learned.LEARNED_STAYS: (a_learning_would_stay, a_learning_would_go),
    ", said in": (a_quotation_is_shared_by_the_plan, a_learning_would_stay),
    "Not all of their other sources were looked up.": (other_sources_were_not_looked_up, a_learning_stays),
    "does not say what it was": (one_does_not_say, several_do_not_say),
    "do not say what they were": (several_do_not_say, one_does_not_say),
    "is not known: reading again failed.": (what_is_left_cannot_be_read, a_learning_went),
    ", which stays,": (a_shared_learning_went, a_learning_went),
    ", which stay,": (a_learning_of_three_requests_went, a_shared_learning_went),
    "The learnings of": (users_were_left_out, a_learning_would_stay),
    "were not read.": (users_were_left_out, a_learning_would_stay),
    "deleted, checked by reading again.": (a_learning_went, a_learning_would_stay),
    # learning_deletion
    "Look at what is there with list_learnings, then call again; what is gone stays gone.": (
        a_learning_alone_would_not_go,
        a_learning_alone_went,
    ),
    "merged or superseded meanwhile, so another learning may repeat the text: list_learnings shows it.": (
        a_learning_became_part_of_another,
        a_learning_alone_went,
    ),
    "that came up meanwhile": (a_learning_came_up_meanwhile, a_learning_alone_went),
    "named as a source.": (what_one_of_two_requests_taught_went, what_a_session_taught_went),
    "of those that say the same": (
        a_learning_alone_went,
        what_a_session_taught_went,
    ),
    "Not all of their sources were looked up.": (
        sources_of_a_learning_were_not_looked_up,
        a_learning_alone_would_go,
    ),
    "deleted is not known: reading again failed.": (
        whether_a_learning_went_cannot_be_read,
        a_learning_alone_would_not_go,
    ),
    "stored requests named as sources, which stay": (
        a_learning_alone_would_go,
        a_learning_without_a_living_source_went,
    ),
    "To take the requests too:": (a_learning_alone_went, a_learning_without_a_living_source_went),
    "delete_requests with the ids": (a_learning_alone_went, what_a_session_taught_went),
    "of those with these words": (a_quoting_learning_would_go, a_learning_alone_went),
    "of these with the words quoted": (a_quoting_learning_would_go, a_learning_alone_would_go),
    # learnings_page
    learnings_page.REPLACED: (a_merged_one_is_listed, listed),
    "the words quoted stand in": (a_quoting_one_is_listed, listed),
    learnings_page.NOT_LISTED: (listed, a_learning_went),
    "source reconstructed from the last request of its window": (one_is_reconstructed, listed),
    "No learning of": (none_is_listed, whether_there_is_one_is_not_known),
    "Whether there is a learning of": (whether_there_is_one_is_not_known, none_is_listed),
    "is not known.": (whether_there_is_one_is_not_known, none_is_listed),
    "Learning from this request:": (a_listed_request_is_not_through, a_listed_request_is_through),
    ". More may be learned from it.": (a_listed_request_is_not_through, a_listed_request_is_through),
    "More follow: call again with the same arguments and cursor=": (a_page_is_listed, listed),
    "of it no longer stored": (a_source_is_deleted, listed),
    "not looked up": (a_source_is_not_looked_up, a_source_is_deleted),
    # deletion
    deletion.UNSHOWN.rpartition("{requests}. ")[2]: (a_request_cannot_be_returned, a_learning_would_stay),
    "What was learned from": (a_receipt_of_what_cannot_be_returned, a_learning_stays),
    "include_learnings=true removes them too": (a_learning_would_stay, a_learning_went),
    "learnings still there": (the_learnings_would_not_go, a_learning_went),
    "s are gone. Look with list_learnings and their user_id for what is left of what was learned from them, and take "
    "it back with delete_learnings.": (the_learnings_would_not_go, a_learning_went),
    "by reading again": (a_learning_went, a_learning_would_stay),
    "This cannot be undone.": (a_learning_would_stay, what_was_learned_would_stay),
    "It could not have been undone.": (a_form_was_cancelled("0"), a_form_was_cancelled("1")),
    "A recovery copy would have been kept for": (a_form_was_cancelled("1"), a_form_was_cancelled("0")),
    deletion.NO_COPIES: (a_learning_would_stay, with_an_earlier_copy(mode="preview")),
    deletion.NO_NEW_COPIES: (with_an_earlier_copy(mode="preview"), a_learning_would_stay),
    deletion.NO_COPY: (an_earlier_copy_would_go, what_was_learned_would_stay),
    deletion.NONE_OF_BEFORE: (nothing_earlier_would_go, an_earlier_copy_would_go),
    "What recovery copies of earlier deletions hold of it goes too.": (
        an_earlier_copy_would_go,
        nothing_earlier_would_go,
    ),
    deletion_facts.EARLIER: (with_an_earlier_copy("get_status"), a_status("0")),
    "; a deletion with erase=true takes what it deletes out of those of the same requests and learnings": (
        with_an_earlier_copy("get_status"),
        a_status("0"),
    ),
    deletion.MORE_OF_IT.strip(): (with_an_earlier_copy(mode="preview"), a_learning_would_stay),
    "its recovery copy (": (with_an_earlier_copy("get_status"), a_status_of_a_receipt),
    ", and may hold some of it": (with_an_earlier_copy(), with_an_earlier_copy(erase=True)),
    receipt_end.AGAIN: (with_an_earlier_copy(), with_an_earlier_copy(interaction_ids=[2])),
    jobs.NOT_HERE: (with_an_earlier_copy("get_status"), a_status_of_a_receipt),
    jobs.AS_OF_THEN: (a_status_of_a_receipt, a_status("1")),
    "A recovery copy": (what_was_learned_would_stay, it_would_come_back_as_it_was),
    "A complete recovery copy": (it_would_come_back_as_it_was, what_was_learned_would_stay),
    "is kept on this machine for": (what_was_learned_would_stay, a_learning_would_stay),
    deletion.PUT_BACK: (what_was_learned_would_stay, it_would_come_back_as_it_was),
    "restore_requests puts it back": (it_would_come_back_as_it_was, a_learning_would_stay),
    "as it was": (it_would_come_back_as_it_was, what_was_learned_would_stay),
    deletion.AS_IT_WAS: (it_would_come_back_as_it_was, what_was_learned_would_stay),
    ", times, images and citations included": (a_status_of_the_embedded_store, a_status("1")),
    "What other users may have in this session stays.": (
        a_session_of_the_only_user_would_go,
        a_session_of_one_user_would_go,
    ),
    "Nobody else has a request in this session.": (
        a_session_that_is_nobody_elses_would_go,
        a_session_of_one_user_would_go,
    ),
    "of other users in this session": (
        a_session_of_one_user_would_go,
        a_session_that_is_nobody_elses_would_go,
    ),
    "of the same sessions": (one_of_two_would_go, all_requests_of_a_user_would_go),
    "does not match and stays": (one_of_two_would_go, one_of_three_would_go),
    "do not match and stay": (one_of_three_would_go, one_of_two_would_go),
    deletion.WHOLE: (one_of_three_would_go, all_requests_of_a_user_would_go),
    "What other users stored stays, in shared sessions too": (
        all_requests_of_a_user_would_go,
        all_requests_of_a_user_alone_would_go,
    ),
    ", and also where it speaks of this user.": (
        all_requests_of_a_user_would_go,
        all_requests_of_a_user_alone_would_go,
    ),
    deletion.NOT_SHARED: (all_requests_of_a_user_alone_would_go, all_requests_of_a_user_would_go),
    "Look for that": (all_requests_of_a_user_would_go, all_requests_of_the_fixed_user_would_go),
    ": list_requests contains=NAME.": (
        all_requests_of_a_user_would_go,
        all_requests_of_the_fixed_user_would_go,
    ),
    "Deletions are final.": (a_status("0"), a_status("1")),
    "Deletions can be undone with restore_requests for": (a_status("1"), a_status("0")),
    "No request of this user was stored.": (a_user_without_requests_went, everything_of_a_user_went),
    "at a time that is not known": (a_request_cannot_be_returned, a_learning_would_stay),
    "cannot be shown": (a_request_cannot_be_returned, a_learning_would_stay),
    "of these requests": (a_request_cannot_be_returned, a_learning_would_stay),
    "that Reflexio failed to return is not known.": (a_receipt_of_what_cannot_be_returned, a_learning_stays),
    "word for word in": (a_duplicate_would_go, a_learning_would_stay),
    ", which stays": (a_duplicate_would_go, a_learning_would_stay),
    "among those of user": (an_id_of_another_user_is_named, an_unknown_id_is_named),
    "as a request of its own in the same session": (a_turn_went, a_learning_went),
    "that only recovery copies held.": (a_copy_alone_held_the_request, a_learning_went),
    "that only recovery copies held are erased from them.": (
        a_copy_held_one_of_two,
        a_copy_alone_held_the_request,
    ),
    "Whether any of": (whether_a_request_went_cannot_be_read, a_learning_went),
    "was deleted is not known: reading again failed.": (
        whether_a_request_went_cannot_be_read,
        a_learning_went,
    ),
    "Look at what is stored, then call the same deletion again; what is gone stays gone.": (
        whether_a_request_went_cannot_be_read,
        a_learning_went,
    ),
    "What is stored now under the changed ids is not what was agreed to and was left alone: look at it, and delete it "
    "only if it shall go too.": (an_id_was_taken, a_learning_went),
    "A repeat changes nothing until the operator sets a key that may delete them.": (
        the_deletion_fails(403),
        the_deletion_fails(422),
    ),
    "could still be read, but the deletion may still take effect: look at what is stored first.": (
        the_deletion_fails(500),
        the_deletion_does_not_reach_it,
    ),
    "Call the same deletion again if they are still there.": (
        the_deletion_fails(500),
        the_deletion_does_not_reach_it,
    ),
    "Call the same deletion again in": (the_deletion_fails(429), the_deletion_fails(422)),
    "s to finish; what is gone stays gone.": (the_deletion_fails(429), the_deletion_fails(422)),
    "Call the same deletion again to finish; what is gone stays gone.": (
        the_deletion_does_not_reach_it,
        the_deletion_fails(500),
    ),
    "The service counts": (the_service_counts_none, a_learning_went),
    "of them as gone before: somebody else had deleted them, or its count is wrong. It does not say which.": (
        the_service_counts_none,
        a_learning_went,
    ),
    deletion_facts.FINAL: (a_learning_was_erased, a_learning_alone_went),
    deletion.COPIED: (the_copy_will_have_what_was_learned, what_was_learned_would_stay),
    # follow-ups
    learned.FOLLOWED: (it_goes_on_learning, a_chosen_learning_goes_on_being_learned),
    "A follow-up waits for it in the background and deletes what these requests fed; get_status reports on it as "
    "follow-up": (it_goes_on_learning, a_chosen_learning_goes_on_being_learned),
    ". It ends with this server.": (it_goes_on_learning, a_chosen_learning_goes_on_being_learned),
    "Whether any are left could not be read.": (followed(TakenBack(left=None)), followed(TakenBack())),
    "Nothing more was learned from it, checked by reading again.": (
        followed(TakenBack()),
        followed(TakenBack(left=Learned({}, unlinked=1))),
    ),
    "Whether anything more was learned from it is not known.": (
        followed(TakenBack(left=Learned({}, unlinked=1))),
        followed(TakenBack()),
    ),
    "It waits until Reflexio has stopped learning, and deletes what these requests fed.": (
        the_status_while_it_goes_on_learning,
        the_status_of_a_later_server,
    ),
    jobs.ABANDONED: (the_status_of_a_later_server, the_status_while_it_goes_on_learning),
    jobs.WAITS: (an_unfinished_deletion("an order"), an_unfinished_deletion("")),
    jobs.NOT_FINISHED: (an_unfinished_deletion(""), an_unfinished_deletion("an order")),
    "older deletions are left out here.": (a_status_without_room, an_unfinished_deletion("")),
    "nothing was there": (a_status_of_nothing, an_unfinished_deletion("")),
    # user_deletion
    user_deletion.TAKES: (everything_of_a_user_would_go, a_learning_would_stay),
    "Nothing of this user is listed any more: no request, no learning in any state, no session outcome; each place was "
    "read again.": (everything_of_a_user_went, everything_of_a_user_would_go),
    user_deletion.STAYS: (everything_of_a_user_went, a_learning_went),
    "Stop what still publishes for this user, then call the same deletion again.": (
        somebody_publishes_on,
        everything_of_a_user_went,
    ),
    "agent playbook names": (agent_playbooks_of(["ada"]), agent_playbooks_of(["bob"])),
    "agent playbooks name": (agent_playbooks_of(["ada"], ["ada"]), agent_playbooks_of(["ada"])),
    "playbooks of this user as a source:": (agent_playbooks_of(["ada"]), agent_playbooks_of(["bob"])),
    "not say what they were made from.": (agent_playbooks_of([]), agent_playbooks_of(["ada"])),
    "Which agent playbooks were made from this user's playbooks is not known.": (
        everything_of_a_user_went,
        agent_playbooks_of(["ada"]),
    ),
    "of this user is there could not be read.": (outcomes_cannot_be_read, everything_of_a_user_went),
    "of this user": (everything_of_a_user_went, a_learning_went),
    # turn_deletion
    "of the learnings below too": (
        the_rest_of_the_request_fed_it_too,
        the_rest_of_the_request_did_not_feed_it,
    ),
    "it as a source": (the_rest_of_the_request_fed_it_too, the_rest_of_the_request_did_not_feed_it),
    "them as sources": (two_other_turns_fed_it_too, the_rest_of_the_request_fed_it_too),
    "; if it says the same,": (a_turn_of_a_shared_learning_went, a_turn_went),
    "Reflexio names what it keeps as a source of": (a_turn_of_a_shared_learning_went, a_turn_went),
    "of the deleted learnings too": (a_turn_of_a_shared_learning_went, a_turn_went),
    "can be learned again from there": (a_turn_of_a_shared_learning_went, a_turn_went),
    "of the request": (the_rest_of_the_request_fed_it_too, a_learning_would_stay),
    "Nothing is left in the request then, and the request itself stays, empty.": (
        all_turns_would_go,
        the_rest_of_the_request_fed_it_too,
    ),
    "The request is empty now and stays; delete_request without interaction_ids deletes it too.": (
        all_turns_went,
        a_turn_went,
    ),
    "The request keeps": (a_turn_went, all_turns_went),
    "The request itself is not stored any more.": (the_request_went_with_its_turns, all_turns_went),
    # question
    "Session outcomes and evaluations stay.": (asked_for_a_request, asked_where_nothing_is_learned),
    "What they repeat stays.": (asked_for_a_duplicate, asked_for_a_request),
    # publishing
    "What was learned is shown by list_learnings with this session_id, in a moment.": (
        a_session_was_finished,
        DONE,
    ),
    "Finished: Reflexio now learns from what waited for more, if there is anything to learn.": (
        a_session_was_finished,
        DONE,
    ),
    "See how the learning went with get_request.": (published("still_learning"), published("done")),
    # restoring
    ", word for word": (restored, other_words_were_read),
    "What is not restorable": (a_request_is_not_taken_back, restored),
    "was refused (": (a_request_is_not_taken_back, a_request_cannot_be_read),
    restoring.UNSTORABLE: (a_request_cannot_be_read, restored),
    "; the others do not wait for it.": (a_request_is_not_taken_back, restored),
    "read back otherwise than in the copy": (other_words_were_read, restored),
    "of them came back in part.": (restored_of_a_mixed_copy, restored_of_an_old_copy),
    restoring.NOT_GIVEN_OUT: (restored, restored_of_an_old_copy),
    restoring.NOT_IN_COPY: (restored_of_an_old_copy, restored_where_nothing_is_learned),
    restoring.NOT_TIED: (restored, restored_where_nothing_is_learned),
    restoring.NO_LEARNINGS: (restored, restored_with_its_learnings),
    restoring.LEARNINGS_BACK: (restored_with_its_learnings, restored),
    "learnings only in recovery copies:": (
        a_copy_alone_holds_a_users_learning,
        everything_of_a_user_would_go,
    ),
    "that came up while it was made": (a_learning_came_up_meanwhile, a_learning_alone_went),
    "is not in the copy": (a_learning_came_up_meanwhile, a_learning_alone_went),
    "are not in the copy": (two_learnings_came_up_meanwhile, a_learning_came_up_meanwhile),
    "; that part cannot be undone.": (a_learning_came_up_meanwhile, a_learning_alone_went),
    "it can be put back": (a_learning_alone_went, a_learning_was_erased),
    ": restore_requests with copy_id=": (a_learning_alone_went, a_learning_was_erased),
    "that only recovery copies held": (a_copy_alone_held_it, a_learning_was_erased),
    "erased from them.": (a_copy_alone_held_it, a_learning_was_erased),
    "Taken out of": (a_copy_alone_held_it, a_learning_was_erased),
    "1 recovery copy": (a_copy_alone_held_it, a_learning_was_erased),
    "only in recovery copies:": (a_copy_alone_holds_a_learning, a_learning_alone_would_go),
    "; they go from there": (a_copy_alone_holds_a_learning, a_learning_alone_would_go),
    restoring.LEARNS: (restored, restored_without_learning),
    restoring.UNCHECKED: (an_image_was_restored, restored),
    restoring.LOST: (restored, restored_where_nothing_is_learned),
    "To restore one, call again with its copy_id.": (a_copy_is_listed, no_copy_is_listed),
    "Nothing can be restored.": (no_copy_is_listed, a_copy_is_listed),
    "No recovery copy is here.": (no_copy_is_listed, a_copy_is_listed),
    "here, newest first.": (a_copy_is_listed, restored),
    "The recovery copy is kept until": (restored, a_copy_is_listed),
    "takes what it deletes out of it.": (restored, a_copy_is_listed),
    restoring.ERASED_WITH: (restored, a_copy_is_listed),
    ", of the deletion begun": (a_copy_is_listed, no_copy_is_listed),
    ", kept until": (a_copy_is_listed, no_copy_is_listed),
    "older ones are not shown.": (many_copies_are_listed, a_copy_is_listed),
    "the deletion of": (restored, a_copy_is_listed),
    "Nothing was restored from": (restored_again, restored),
    "All of it is already stored; look at it with": (restored_again, restored),
    "What is not in this copy may be in another one: call restore_requests without arguments.": (
        restored_something_else,
        restored,
    ),
    "The service accepts no more just now.": (nothing_more_is_accepted, restored),
    "to go on; nothing is stored twice.": (nothing_more_is_accepted, restored),
    "held nothing but an image and could not be restored.": (an_image_was_restored, restored),
    "Taken ids were not restored: what is stored under them now differs from the copy, or cannot be read here, and was "
    "left alone.": (
        restored_where_an_id_is_taken,
        restored_with_its_learnings,
    ),
}


OF_CODES = (
    "The code is of",
    "and for a set of",
    "Now it is",
    "of it arrived since",
    "; what else differs is not known here.",
)
"""What is said of a plan's code and not of what survives."""

# What a plan deletes is put in by its noun: no part in the source has "learnings".
WITH_A_NOUN: dict[str, tuple[Story, Story]] = {
    "To delete, type the number of learnings:": (asked_for_many_learnings, asked_for_a_learning),
}


@pytest.mark.parametrize("sentence", SENTENCES | WITH_A_NOUN)
async def test_it_is_said_where_it_is_true_and_not_where_it_would_be_false(
    world: World, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, false = (SENTENCES | WITH_A_NOUN)[sentence]
    with monkeypatch.context() as patch:
        assert sentence not in await false(world, patch)
    fresh = World(":memory:", world.folder / "another")
    try:
        with monkeypatch.context() as patch:
            assert sentence in await true(fresh, patch)
    finally:
        await fresh.close()


def test_no_sentence_is_without_both() -> None:
    told = [
        one
        for module in (
            learned,
            learning_deletion,
            learnings_page,
            receipt_end,
            deletion,
            deletion_facts,
            turn_deletion,
            user_deletion,
            jobs,
            restoring,
        )
        for one in _parts(module)
        if one not in OF_CODES
    ]
    others = [one for module in (question, publishing) for one in _parts(module)]
    told += [one for one in others if "learn" in one or "stay" in one]
    # A template stands in the table by what follows its value.
    parts = {one.rpartition("{requests}. ")[2] for one in told}
    assert not parts - SENTENCES.keys()
    assert not SENTENCES.keys() - parts


def _parts(module: ModuleType) -> Iterator[str]:
    """The texts of three words or more in a module, without docstrings; an f-string has one between its values."""
    tree = ast.parse(inspect.getsource(module))
    documents = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Constant) and id(node) not in documents else None
        if isinstance(value, str) and len(value.split()) >= 3:
            yield value.strip()
