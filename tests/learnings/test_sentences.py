"""Every sentence about what was learned: said where it is true, and not said where it would be false.

Each row of `SENTENCES` names a part of a sentence, a story in which it is true and one in which it would be false. A
story checks what it tells in the backend itself. A part of a sentence that stands in no row fails
`test_no_sentence_is_without_both`.
"""

import ast
import inspect
from collections.abc import Awaitable, Callable, Iterator
from types import ModuleType

import pytest

from reflexio_mcp.render import (
    deletion,
    jobs,
    learning_deletion,
    learning_list,
    learnings,
    publishing,
    question,
    restoring,
    turn_deletion,
    user_deletion,
)
from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.traffic.deletion import execute, plan
from reflexio_mcp.traffic.learnings import turns
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.learnings.remove import TakenBack
from reflexio_mcp.traffic.publishing import Published
from tests.deletion.support import Known, Person, World, text_of

pytestmark = pytest.mark.anyio

Story = Callable[[World, pytest.MonkeyPatch], Awaitable[str]]

PROFILES, STATUS = "/api/get_profiles", "/api/learning_status"
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


async def the_store_does_not_learn(world: World, _: pytest.MonkeyPatch) -> str:
    await world.put("a")
    server = ReflexioServer(load({"REFLEXIO_MCP_CONFIRM": "off"}), client=world.rest)
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


async def _one_of_two_turns(world: World, feeding: int) -> str:
    two = [Interaction(content=one) for one in ("I live in Lisbon", "Noted")]
    body = PublishBody(user_id="ada", session_id="s", request_id="a", interaction_data_list=two)
    await world.rest.publish(body, minted=False)
    turns = await world.interactions("a")
    world.backend.profiles["p"] = Known("ada", "a", turns[:feeding])
    return await planned(world, "delete_request", request_id="a", interaction_ids=[turns[0]])


def followed(taken: TakenBack) -> Story:
    async def story(_: World, __: pytest.MonkeyPatch) -> str:
        return learnings.what_followed(taken)

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

    async def learned() -> None:
        for name in names:
            await world.learn(name, "a")

    world.backend.before[STATUS] = [learned]
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


async def restored_where_nothing_is_learned(world: World, _: pytest.MonkeyPatch) -> str:
    variables = {"CONFIRM": "off", "RECOVERY_DAYS": "1", "RECOVERY_DIR": str(world.folder / "copies")}
    settings = load({f"REFLEXIO_MCP_{name}": value for name, value in variables.items()})
    return await _restored(world, server=ReflexioServer(settings, client=world.rest))


def published(status: str) -> Story:
    async def story(_: World, __: pytest.MonkeyPatch) -> str:
        return publishing.published(Published("a", "ada", "s", 1, status)).text

    return story


async def a_session_was_finished(world: World, _: pytest.MonkeyPatch) -> str:
    return publishing.finished("ada", "s").text


SENTENCES: dict[str, tuple[Story, Story]] = {
    # learnings
    "learned from conversations that contain it": (a_learning_stays, nothing_learned),
    "No profile or user playbook was learned from it.": (nothing_learned, a_learning_stays),
    "This store does not learn.": (the_store_does_not_learn, nothing_learned),
    "Whether anything was learned from it is not known.": (one_does_not_say, nothing_learned),
    "What was learned from it is not known: it could not be read.": (
        what_was_learned_cannot_be_read,
        nothing_learned,
    ),
    learnings.NOT_LOOKED_FOR: (a_learning_went, the_store_does_not_learn),
    "nothing is learned from it yet. Reflexio waits for more of the conversation (a window of 10 interactions by "
    "default); finish_session learns now": (standing("pending", "waiting_for_window"), DONE),
    "nothing is learned from it yet": (standing("deferred"), DONE),
    "stored, still learning": (standing("still_learning"), DONE),
    "Reflexio does not say what is learned from it": (standing("not_tracked"), DONE),
    "nothing was learned from it": (standing("failed"), DONE),
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
    "and can be learned again from there": (a_shared_learning_went, a_learning_went),
    "Not all of their other sources were looked up.": (other_sources_were_not_looked_up, a_learning_stays),
    "does not say what it was": (one_does_not_say, several_do_not_say),
    "do not say what they were": (several_do_not_say, one_does_not_say),
    "is not known: reading again failed.": (what_is_left_cannot_be_read, a_learning_went),
    "also learned from": (a_shared_learning_went, a_learning_went),
    "The learnings of": (users_were_left_out, a_learning_would_stay),
    "were not read.": (users_were_left_out, a_learning_would_stay),
    "deleted, checked by reading again.": (a_learning_went, a_learning_would_stay),
    # learning_deletion
    "Look at what is there with list_learnings, then call again; what is gone stays gone.": (
        a_learning_alone_would_not_go,
        a_learning_alone_went,
    ),
    "of them became part of another learning meanwhile, which may repeat the text: list_learnings shows it.": (
        a_learning_became_part_of_another,
        a_learning_alone_went,
    ),
    "delete_requests with these request_ids and include_learnings=true": (
        a_learning_alone_went,
        what_a_session_taught_went,
    ),
    "Not all of their sources were looked up.": (
        sources_of_a_learning_were_not_looked_up,
        a_learning_alone_would_go,
    ),
    "were deleted is not known: reading again failed.": (
        whether_a_learning_went_cannot_be_read,
        a_learning_alone_would_not_go,
    ),
    ", checked by reading again.": (a_learning_alone_went, whether_a_learning_went_cannot_be_read),
    "stored requests that fed them": (a_learning_alone_would_go, a_learning_without_a_living_source_went),
    ", and can be learned again from there.": (
        a_learning_alone_went,
        a_learning_without_a_living_source_went,
    ),
    "To take both:": (a_learning_alone_went, a_learning_without_a_living_source_went),
    # learning_list
    learning_list.NOT_LISTED: (listed, a_learning_went),
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
    "s are gone; what was learned from them is taken back with delete_learnings, by user_id and the learning_ids that "
    "list_learnings shows.": (the_learnings_would_not_go, a_learning_went),
    deletion.COPIED: (the_copy_will_have_what_was_learned, what_was_learned_would_stay),
    # follow-ups
    learnings.FOLLOWED: (it_goes_on_learning, a_chosen_learning_goes_on_being_learned),
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
    # user_deletion
    user_deletion.TAKES: (everything_of_a_user_would_go, a_learning_would_stay),
    "Nothing of this user is listed any more: no request, no learning in any state, no session outcome; each place was "
    "read again.": (everything_of_a_user_went, everything_of_a_user_would_go),
    # turn_deletion
    "of the learnings below too.": (
        the_rest_of_the_request_fed_it_too,
        the_rest_of_the_request_did_not_feed_it,
    ),
    # question
    "To delete, type the number of learnings:": (asked_for_many_learnings, asked_for_a_learning),
    "; they can be learned again from there.": (asked_for_a_learning, asked_for_many_learnings),
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
}


@pytest.mark.parametrize("sentence", SENTENCES)
async def test_it_is_said_where_it_is_true_and_not_where_it_would_be_false(
    world: World, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, false = SENTENCES[sentence]
    with monkeypatch.context() as patch:
        assert sentence not in await false(world, patch)
    fresh = World(":memory:", world.folder / "another")
    try:
        with monkeypatch.context() as patch:
            assert sentence in await true(fresh, patch)
    finally:
        await fresh.close()


def test_no_sentence_is_without_both() -> None:
    told = [one for module in (learnings, learning_deletion, learning_list) for one in _parts(module)]
    others = [
        one
        for module in (deletion, turn_deletion, user_deletion, jobs, question, publishing, restoring)
        for one in _parts(module)
    ]
    told += [one for one in others if "learn" in one]
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
