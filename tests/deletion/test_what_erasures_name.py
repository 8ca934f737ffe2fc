"""An erasure takes what it named, whenever a restore puts it back, and nothing else."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.server.runtime import Runtime
from reflexio_mcp.state import tables
from reflexio_mcp.traffic.deletion import execute
from tests.deletion.support import BY_IDS, PUBLISH, World, broken, nothing
from tests.deletion.test_interactions import words
from tests.deletion.test_restoring_in_parts import CI, deleted_with_successor, known
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_server_takes_out_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "_keep_taking_out", nothing)


async def put(world: World, request_id: str, *said: str) -> tuple[int, ...]:
    body = PublishBody(
        user_id="ada",
        session_id="s",
        request_id=request_id,
        interaction_data_list=[Interaction(content=one) for one in said],
    )
    await world.rest.publish(body, minted=False)
    return await world.interactions(request_id)


async def receipt(world: World, tool: str = "delete_request", **arguments: Any) -> dict[str, Any]:
    async with world.connect(CONFIRM="off") as caller:
        return await caller.receipt(tool, **arguments)


async def restore(world: World, number: int) -> dict[str, Any]:
    async with world.connect(CONFIRM="off") as caller:
        return await caller.call("restore_requests", deletion=number)


async def interrupted_restore(world: World, number: int) -> None:
    """A restore that stores everything and whose end nobody records."""
    server = world.server(CONFIRM="off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.runtime.state, "finish_restore", broken)
        async with world.connect(server=server) as caller:
            await caller.call("restore_requests", deletion=number)


def restoring(world: World, number: int) -> Callable[[], Awaitable[None]]:
    async def run() -> None:
        await restore(world, number)

    return run


async def may_return(world: World) -> int:
    async with world.connect(CONFIRM="off", READ_ONLY="1") as caller:
        listed = (await caller.call("get_status"))["deletions"]
    return sum(one.get("may_return", 0) for one in listed)


async def test_what_a_whole_restore_stores_between_plan_and_erasure_goes(world: World) -> None:
    await put(world, "r1", "a secret")
    await put(world, "r2", "harmless")
    number = (await receipt(world, "delete_requests", request_ids=["r1", "r2"]))["number"]
    world.backend.before["/api/get_profiles"] = [restoring(world, number)]
    erased = await receipt(world, request_id="r1", erase=True, include_learnings=True)
    assert erased["status"] == "complete"
    assert erased["deleted"] == {"only_in_copies": 1}
    assert fact_of(erased, "deleted_again") == {"code": "deleted_again", "number": 1}
    assert await world.ids() == {"r2"}


async def test_what_a_restore_stores_while_a_session_is_looked_up_for_an_erasure_goes(world: World) -> None:
    await put(world, "r1", "a secret")
    number = (await receipt(world, request_id="r1"))["number"]
    world.backend.before["/api/get_profiles"] = [restoring(world, number)]
    await receipt(world, "delete_session", session_id="s", erase=True, include_learnings=True)
    assert await world.ids() == set()


async def test_what_cannot_be_deleted_again_is_said_to_be_stored(world: World) -> None:
    await put(world, "r1", "a secret")
    number = (await receipt(world, request_id="r1"))["number"]
    world.backend.before["/api/get_profiles"] = [restoring(world, number)]
    world.backend.answering["/api/delete_requests_by_ids"] = {"success": True, "deleted_count": 1}
    erased = await receipt(world, request_id="r1", erase=True, include_learnings=True)
    assert erased["status"] == "incomplete"
    assert erased["not_deleted"] == [{"why": "still_present", "count": 1, "ids": ["r1"]}]
    assert await world.ids() == {"r1"}


def before_the_end_of_the_next(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Awaitable[None]]
) -> None:
    """Let something happen after the next deletion has looked for the last time, and before its end is recorded."""
    closing = execute._Act.close

    async def overtaken(self: execute._Act) -> Any:
        monkeypatch.setattr(execute._Act, "close", closing)
        await happens()
        return await closing(self)

    monkeypatch.setattr(execute._Act, "close", overtaken)


@pytest.mark.parametrize("learned", ["p", 7], ids=["profile", "playbook"])
async def test_a_restored_learning_goes_though_another_erasure_removes_its_copy_before_the_first_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, learned: str | int
) -> None:
    await put(world, "r1", "a secret")
    await world.learn(learned, "r1", content="knows a secret", quote="a secret")
    learning_id = f"profile:{learned}" if learned == "p" else f"user_playbook:{learned}"
    number = (await receipt(world, "delete_learnings", user_id="ada", learning_ids=[learning_id]))["number"]

    async def restore_and_erase() -> None:
        await restore(world, number)
        await receipt(world, request_id="r1", erase=True)

    before_the_end_of_the_next(monkeypatch, restore_and_erase)
    erased = await receipt(world, request_id="r1", erase=True)
    assert erased["deleted"] == {"requests": 1, "interactions": 1, "only_in_copies": 1}
    assert fact_of(erased, "deleted_again") == {"code": "deleted_again", "number": 1}
    assert not world.backend.profiles
    assert not world.backend.playbooks
    assert await may_return(world) == 0


async def test_a_restored_request_goes_though_another_erasure_removes_its_copy_before_the_first_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(world, "r1", "a secret", "the address")
    number = (await receipt(world, request_id="r1"))["number"]
    await restore(world, number)  # the copy is kept, and the request is stored

    async def restore_and_erase_a_part() -> None:
        await restore(world, number)
        _, second = await world.interactions("r1")
        await receipt(world, request_id="r1", interaction_ids=[second], erase=True)
        assert await words(world) == {"r1": ["a secret"]}

    before_the_end_of_the_next(monkeypatch, restore_and_erase_a_part)
    erased = await receipt(world, request_id="r1", erase=True)
    assert fact_of(erased, "deleted_again") == {"code": "deleted_again", "number": 1}
    assert await words(world) == {}
    assert await may_return(world) == 0


async def test_something_else_under_the_id_stays(world: World) -> None:
    await put(world, "r1", "a secret")
    await receipt(world, request_id="r1")

    async def another() -> None:
        await put(world, "r1", "quite another thing")

    world.backend.before["/api/get_profiles"] = [another]
    await receipt(world, request_id="r1", erase=True, include_learnings=True)
    assert await words(world) == {"r1": ["quite another thing"]}


async def test_what_is_published_again_on_purpose_since_the_plan_stays_and_is_not_called_deleted(
    world: World,
) -> None:
    await put(world, "r1", "a secret")
    await put(world, "r2", "harmless")
    await receipt(world, request_id="r1")

    async def publish_again() -> None:
        await put(world, "r1", "a secret")

    world.backend.before["/api/delete_requests_by_ids"] = [publish_again]
    erased = await receipt(world, "delete_session", session_id="s", user_id="ada", erase=True)
    assert erased["status"] == "incomplete"
    assert erased["deleted"] == {"requests": 1, "interactions": 1}
    assert erased["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["r1"]}]
    assert fact_of(erased, "deleted_again") is None
    assert await words(world) == {"r1": ["a secret"]}
    again = await receipt(world, request_id="r1", erase=True)
    assert (again["status"], again["deleted"]) == ("complete", {"requests": 1, "interactions": 1})


async def test_learnings_that_are_said_to_stay_are_no_part_of_an_erasure(world: World) -> None:
    await put(world, "r1", "drinks tea")
    await world.learn("p", "r1", content="drinks tea", quote="drinks tea")
    number = (await receipt(world, request_id="r1", include_learnings=True))["number"]
    await interrupted_restore(world, number)
    assert world.backend.profiles
    erased = await receipt(world, request_id="r1", erase=True)
    assert fact_of(erased, "learnings_stay") == {"code": "learnings_stay", "number": 1}
    assert fact_of(erased, "deleted_again") is None
    assert (await world.ids(), list(world.backend.profiles)) == (set(), ["p"])
    await put(world, "r2", "another")
    await receipt(world, request_id="r2")  # which carries out what earlier erasures have left
    assert list(world.backend.profiles) == ["p"]


async def test_an_undo_of_a_correction_is_told_as_done_if_an_erasure_beside_it_keeps_the_learning(
    world: World,
) -> None:
    await put(world, "r1", "drinks tea")
    await put(world, "r2", "tea it is")
    await world.learn("p", "r1", "r2", content="drinks tea", quote="tea it is")
    changed = {"user_id": "ada", "learning_id": "profile:p", "content": "drinks coffee"}
    number = (await receipt(world, "correct_learning", **changed))["number"]
    erased: list[dict[str, Any]] = []

    async def erase() -> None:
        erased.append(await receipt(world, request_id="r1", include_learnings=True, erase=True))

    world.backend.before["/api/update_user_profile"] = [erase]
    undone = await restore(world, number)
    assert erased[0]["status"] == "complete"
    assert (undone["status"], undone["restored"]) == ("complete", {"learnings": 1})
    assert world.backend.profiles["p"].content == "drinks tea"


async def test_learnings_that_go_with_an_erasure_go_again_after_a_restore(world: World) -> None:
    await put(world, "r1", "drinks tea")
    await world.learn("p", "r1", content="drinks tea", quote="drinks tea")
    await world.learn(7, "r1", content="offer tea", quote="drinks tea")
    number = (await receipt(world, request_id="r1", include_learnings=True))["number"]
    erased: list[dict[str, Any]] = []

    async def erase() -> None:
        erased.append(await receipt(world, request_id="r1", erase=True, include_learnings=True))

    world.backend.before["/api/add_user_profile"] = [erase]
    done = await restore(world, number)
    assert fact_of(erased[0], "may_return")
    assert "erased" in {one["why"] for one in done["not_restored"]}
    assert await world.ids() == set()
    assert not world.backend.profiles
    assert not world.backend.playbooks
    assert await may_return(world) == 0


async def test_a_learning_that_an_erasure_takes_goes_again_after_a_restore_that_stores_it_last(
    world: World,
) -> None:
    await put(world, "r1", "drinks tea")
    await world.learn("p", "r1", content="drinks tea", quote="drinks tea")
    known = world.backend.profiles["p"]
    number = (await receipt(world, request_id="r1", include_learnings=True))["number"]

    async def put_back_and_erase() -> None:
        world.backend.profiles["p"] = known  # as another restore of the same copy does
        erased = await receipt(world, request_id="r1", erase=True, include_learnings=True)
        assert erased["deleted"]["learnings"] == 1

    world.backend.before["/api/add_user_profile"] = [put_back_and_erase]
    await restore(world, number)
    assert (await world.ids(), world.backend.profiles) == (set(), {})


IN_USE = {"profile": "Cannot eat peanuts", "playbook": "Offer no peanuts"}


def quotes(world: World) -> str:
    rows = (*world.backend.profiles.values(), *world.backend.playbooks.values())
    return " ".join(row.quote for row in rows)


@pytest.mark.parametrize("kind", IN_USE)
async def test_a_learning_that_quotes_what_is_erased_and_others_goes_again_after_an_undo_beside_the_erasure(
    world: World, kind: str
) -> None:
    number = await deleted_with_successor(world, kind)
    world.backend.before["/api/get_operation_status"] = [restoring(world, number)]
    erased = await receipt(world, "delete_requests", **CI, erase=True)
    assert "peanut butter" not in quotes(world)
    assert erased["status"] == "complete"
    await restore(world, number)
    assert "peanut butter" not in quotes(world)


@pytest.mark.parametrize("kind", IN_USE)
async def test_an_undo_leaves_out_a_learning_that_quotes_what_is_erased_beside_it_and_others(
    world: World, kind: str
) -> None:
    number = await deleted_with_successor(world, kind)
    erased: list[dict[str, Any]] = []

    async def erase() -> None:
        erased.append(await receipt(world, "delete_requests", **CI, erase=True))

    world.backend.before[PUBLISH] = [erase]
    await restore(world, number)
    assert fact_of(erased[0], "may_return")
    assert known(world) == {(IN_USE[kind], None): 1}
    assert "peanut butter" not in quotes(world)
    assert await may_return(world) == 0


@pytest.mark.parametrize("by", ["request", "id"])
async def test_an_erased_playbook_takes_no_other_that_says_the_same(world: World, by: str) -> None:
    await put(world, "r1", "drinks tea")
    await put(world, "r2", "asks for tea")
    await world.learn(7, "r1", content="offer tea")
    tool, asked = "delete_request", {"request_id": "r1", "include_learnings": True}
    if by == "id":
        tool, asked = "delete_learnings", {"user_id": "ada", "learning_ids": ["user_playbook:7"]}
    number = (await receipt(world, tool, **asked))["number"]

    async def learn_the_same_and_erase() -> None:
        await world.learn(8, "r2", content="offer tea")
        await receipt(world, tool, **asked, erase=True)

    world.backend.before["/api/add_user_playbook"] = [learn_the_same_and_erase]
    await restore(world, number)
    assert [*world.backend.playbooks] == [8]
    assert await may_return(world) == 0


async def test_an_erased_interaction_takes_no_restored_sibling_with_it(world: World) -> None:
    first, second, _ = await put(world, "r1", "one", "two", "three")
    number = (await receipt(world, request_id="r1", interaction_ids=[second]))["number"]
    await interrupted_restore(world, number)
    own = f"r1-interaction-{second}"
    assert await words(world) == {"r1": ["one", "three"], own: ["two"]}
    erased = await receipt(world, request_id="r1", interaction_ids=[first], erase=True)
    assert erased["deleted"] == {"interactions": 1}
    assert await words(world) == {"r1": ["three"], own: ["two"]}
    await receipt(world, request_id="r1", erase=True)
    assert await words(world) == {own: ["two"]}, "it is a request of its own, which nobody named"


async def test_of_a_request_that_a_restore_stores_only_the_erased_interaction_goes(world: World) -> None:
    first, *_ = await put(world, "r1", "yes", "the address", "yes")
    number = (await receipt(world, request_id="r1"))["number"]
    erased: list[dict[str, Any]] = []

    async def erase() -> None:
        erased.append(await receipt(world, request_id="r1", interaction_ids=[first], erase=True))

    world.backend.before[PUBLISH] = [erase]
    await restore(world, number)
    assert (await words(world))["r1"] == ["the address", "yes"]
    assert await may_return(world) == 0


async def test_an_erased_interaction_takes_no_other_of_its_request_that_says_the_same(world: World) -> None:
    first, _ = await put(world, "r1", "yes", "the address")
    number = (await receipt(world, request_id="r1"))["number"]
    await interrupted_restore(world, number)
    assert await words(world) == {"r1": ["yes", "the address"]}, "under other numbers"
    erased = await receipt(world, request_id="r1", interaction_ids=[first], erase=True)
    assert erased["deleted"] == {"only_in_copies": 1}
    await put(world, "r2", "another")
    await receipt(world, request_id="r2")  # which carries out what erasures have left
    assert await words(world) == {"r1": ["yes", "the address"]}


@pytest.mark.parametrize("whole", [True, False], ids=["request", "interaction"])
async def test_an_interaction_that_a_restore_has_renumbered_does_not_return_with_another_restore_of_the_same_copy(
    world: World, whole: bool
) -> None:
    """The copy has the earlier numbers."""
    numbers = await put(world, "r1", "a secret", "the address")
    chosen: dict[str, Any] = {} if whole else {"interaction_ids": [numbers[0]]}
    under = "r1" if whole else f"r1-interaction-{numbers[0]}"
    number = (await receipt(world, request_id="r1", **chosen))["number"]
    erased: list[dict[str, Any]] = []

    async def restore_and_erase() -> None:
        await restore(world, number)
        secret = (await world.interactions(under))[0]
        assert secret not in numbers
        erased.append(await receipt(world, request_id=under, interaction_ids=[secret], erase=True))
        await receipt(world, request_id="r1")

    world.backend.before[PUBLISH] = [restore_and_erase]
    await restore(world, number)
    assert fact_of(erased[0], "may_return") == {"code": "may_return", "number": 1}
    assert "a secret" not in [text for said in (await words(world)).values() for text in said]
    assert await may_return(world) == 0


async def test_a_restored_interaction_that_says_what_another_erased_one_says_is_named_and_stays(
    world: World,
) -> None:
    first, _, third = await put(world, "r1", "yes", "the address", "yes")
    number = (await receipt(world, request_id="r1", interaction_ids=[third]))["number"]
    await interrupted_restore(world, number)
    own = f"r1-interaction-{third}"
    erased = await receipt(world, request_id="r1", interaction_ids=[first], erase=True)
    assert fact_of(erased, "restored_before") == {"code": "restored_before", "number": 1, "names": [own]}
    await put(world, "r2", "another")
    await receipt(world, request_id="r2")  # which carries out what erasures have left
    assert await words(world) == {"r1": ["the address"], own: ["yes"]}


async def test_a_plain_deletion_keeps_no_copy_of_what_is_erased_and_may_return(world: World) -> None:
    await put(world, "r1", "a secret")
    number = (await receipt(world, request_id="r1"))["number"]
    await put(world, "r2", "harmless")
    plain: list[dict[str, Any]] = []

    async def erase_and_delete() -> None:
        assert (await receipt(world, request_id="r1", erase=True))["status"] == "incomplete"
        await put(world, "r1", "a secret")  # the service stores it before it answers
        plain.append(await receipt(world, "delete_session", session_id="s"))
        assert await world.ids() == set()

    world.backend.before[PUBLISH] = [erase_and_delete]
    await restore(world, number)
    assert plain[0]["deleted"]["requests"] == 2
    assert fact_of(plain[0], "not_copied") == {"code": "not_copied", "number": 1}
    assert await may_return(world) == 0
    async with world.connect(CONFIRM="preview") as caller:
        plan = await caller.call("restore_requests", deletion=plain[0]["number"])
    assert "copies_gone" not in [fact["code"] for fact in plan["facts"]], "it never had a copy"
    back = await restore(world, plain[0]["number"])
    assert back["restored"]["requests"] == 1
    assert await words(world) == {"r2": ["harmless"]}


async def test_a_request_with_an_erased_interaction_is_not_deleted_before_that_is_out(world: World) -> None:
    first, *_ = await put(world, "r1", "a secret", "the address")
    number = (await receipt(world, request_id="r1"))["number"]
    plain: list[dict[str, Any]] = []

    async def erase_and_delete() -> None:
        await receipt(world, request_id="r1", interaction_ids=[first], erase=True)
        await put(world, "r1", "a secret", "the address")
        plain.append(await receipt(world, "delete_session", session_id="s"))

    world.backend.before[PUBLISH] = [erase_and_delete]
    await restore(world, number)
    assert plain[0]["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["r1"]}]
    assert await words(world) == {"r1": ["the address"]}
    again = await receipt(world, "delete_session", session_id="s")
    await restore(world, again["number"])
    assert await words(world) == {"r1": ["the address"]}


async def restore_that_dies_after_storing_r1(world: World) -> None:
    """r1 is erased while a restore stores it, and that restore reaches the state no more."""
    await put(world, "r1", "a secret")
    number = (await receipt(world, request_id="r1"))["number"]
    server = world.server(CONFIRM="off")

    async def erase_and_die() -> None:
        await receipt(world, request_id="r1", erase=True)
        patch.setattr(server.runtime.state.must_go, "waiting", broken)
        patch.setattr(server.runtime.state, "finish_restore", broken)

    world.backend.before[PUBLISH] = [erase_and_die]
    with pytest.MonkeyPatch.context() as patch:
        async with world.connect(server=server) as caller:
            await caller.call("restore_requests", deletion=number)
    assert await may_return(world) == 1


async def publish(world: World, *said: str, request_id: str = "r1", refused: bool = False) -> str:
    """Return why it was refused, if it has to be."""
    arguments = {"user_id": "ada", "session_id": "s", "request_id": request_id}
    async with world.connect(CONFIRM="off") as caller:
        call = caller.refused if refused else caller.call
        done = await call("publish_interaction", **arguments, interactions=[{"content": one} for one in said])
    return str(done)


async def test_what_is_erased_is_not_published_again_under_its_id_while_it_would_be_deleted(
    world: World,
) -> None:
    await restore_that_dies_after_storing_r1(world)
    await world.rest.delete_requests_by_ids(["r1"])
    why = await publish(world, "a secret", refused=True)
    assert "This was erased for good, and a restore of it is running" in why
    assert "Choose another request_id" in why
    assert await world.ids() == set(), "it is refused before it is sent"
    await publish(world, "other words")
    await publish(world, "a secret", request_id="r2")
    await put(world, "r3", "another")
    await receipt(world, request_id="r3")  # which carries out what erasures have left
    assert await words(world) == {"r1": ["other words"], "r2": ["a secret"]}


@pytest.mark.parametrize("status", [0, 400])
async def test_a_publish_that_stores_nothing_changes_nothing_about_an_erasure(
    world: World, status: int
) -> None:
    """Other words under the id are refused: the restored text has it, or the service does not take them."""
    await restore_that_dies_after_storing_r1(world)
    if status:
        world.backend.failing[PUBLISH] = (0, status)
    await publish(world, "other words", refused=True)
    world.backend.failing.clear()
    assert await may_return(world) == 1
    await put(world, "r2", "another")
    await receipt(world, request_id="r2")  # which carries out what erasures have left
    assert await words(world) == {}


async def test_a_clock_that_steps_settles_nothing_that_a_running_restore_may_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(world, "r1", "a secret")
    number = (await receipt(world, request_id="r1"))["number"]
    erased: list[dict[str, Any]] = []
    real = time.time

    async def erase_days_later() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(tables.time, "time", lambda: real() + 6 * 86_400)
            erased.append(await receipt(world, request_id="r1", erase=True))

    world.backend.before[PUBLISH] = [erase_days_later]
    done = await restore(world, number)
    assert erased[0]["status"] == "incomplete"
    assert fact_of(erased[0], "may_return") == {"code": "may_return", "number": 1}
    assert done["not_restored"] == [{"why": "erased", "count": 1, "ids": ["r1"]}]
    assert await world.ids() == set()
    assert await may_return(world) == 0


@pytest.mark.parametrize("everything", [False, True])
async def test_a_later_erasure_reaches_what_a_restore_has_of_copies_that_an_earlier_one_took(
    world: World, everything: bool
) -> None:
    """The first names one interaction, and no learning: the copies go, and the restore has read them."""
    first, _ = await put(world, "r1", "the first words", "the second words")
    await world.learn("p", "r1", content="likes the second words", quote="the second words")
    arguments = {"session_id": "s", "include_learnings": True}
    number = (await receipt(world, "delete_session", **arguments))["number"]
    later: list[dict[str, Any]] = []

    async def erase() -> None:
        await receipt(world, request_id="r1", interaction_ids=[first], erase=True)
        if everything:
            wanted: dict[str, Any] = {"user_id": "ada", "include_learnings": True}
            later.append(await receipt(world, "delete_requests", erase=True, **wanted))
        else:
            later.append(await receipt(world, "delete_session", erase=True, **arguments))

    world.backend.before[PUBLISH] = [erase]
    await restore(world, number)
    assert later[0]["status"] == "incomplete"
    assert fact_of(later[0], "may_return")
    assert await words(world) == {}
    assert not world.backend.profiles
    assert await may_return(world) == 0


async def test_a_restore_ends_when_its_record_is_removed(world: World) -> None:
    for name in ("r1", "r2", "r3"):
        await put(world, name, f"words of {name}")
    number = (await receipt(world, "delete_session", session_id="s"))["number"]
    state = world.server(CONFIRM="off").runtime.state.database

    async def remove() -> None:
        with state.transaction() as transaction:
            transaction.execute("DELETE FROM main.deletions")

    world.backend.before[PUBLISH] = [remove]
    done = await restore(world, number)
    assert "the record of this deletion is gone" in str(done["facts"])
    assert await world.ids() == {"r1"}


async def test_nothing_is_published_under_an_own_id_while_nobody_knows_whether_it_would_be_deleted(
    world: World,
) -> None:
    server = world.server(CONFIRM="off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.runtime.state.must_go, "any", broken)
        async with world.connect(server=server) as caller:
            said = {"user_id": "ada", "session_id": "s", "interactions": [{"content": "some words"}]}
            why = await caller.refused("publish_interaction", **said, request_id="r1")
            await caller.call("publish_interaction", **said)
    assert "Nothing was changed." in why
    assert "the file is locked" in why
    assert len(await world.ids()) == 1, "a new id is no erased one"


async def test_what_the_service_fails_to_return_is_not_taken_for_gone(world: World) -> None:
    """A restore stores r1 after its erasure, and the service does not return it as long as anybody looks."""
    await put(world, "r1", "a secret")
    number = (await receipt(world, request_id="r1"))["number"]

    async def erase() -> None:
        await receipt(world, request_id="r1", erase=True)
        world.backend.unreturned = {"r1"}

    world.backend.before[PUBLISH] = [erase]
    done = await restore(world, number)
    assert done["status"] == "incomplete"
    assert done["not_restored"] == [{"why": "unknown", "count": 1, "ids": ["r1"]}]
    assert await may_return(world) == 1
    world.backend.unreturned = set()
    await put(world, "r2", "another")
    again = await receipt(world, request_id="r2")  # which carries out what erasures have left
    assert fact_of(again, "deleted_again") == {"code": "deleted_again", "number": 1}
    assert await world.ids() == set()


async def test_a_restore_whose_answer_was_lost_may_still_store_what_it_sent(world: World) -> None:
    """A proxy gave up before the service: the repeat finds the request stored, and the first try may come later."""
    await put(world, "r1", "a secret")
    number = (await receipt(world, request_id="r1"))["number"]

    async def lose() -> None:
        world.backend.after[PUBLISH] = 504

    async def answer() -> None:
        del world.backend.after[PUBLISH]

    world.backend.before[PUBLISH] = [lose, answer]
    assert (await restore(world, number))["restored"]["requests"] == 1
    erased = await receipt(world, request_id="r1", erase=True)
    assert fact_of(erased, "may_return") == {"code": "may_return", "number": 1}
    await put(world, "r1", "a secret")  # the first try
    await put(world, "r2", "another")
    await receipt(world, request_id="r2")  # which carries out what erasures have left
    assert await world.ids() == set()


async def test_an_erasure_leaves_the_copy_of_another_users_request_that_had_the_same_id(world: World) -> None:
    await put(world, "r1", "what ada said")
    number = (await receipt(world, request_id="r1"))["number"]
    await world.put("r1", user="bob", session="of bob")
    erased = await receipt(world, request_id="r1", erase=True)
    assert erased["deleted"]["requests"] == 1
    assert await world.ids() == set()
    assert (await restore(world, number))["restored"]["requests"] == 1
    assert await words(world) == {"r1": ["what ada said"]}


async def test_an_erased_request_leaves_the_request_that_an_undo_made_of_its_interaction(
    world: World,
) -> None:
    _, second, _ = await put(world, "r1", "one", "two", "three")
    number = (await receipt(world, request_id="r1", interaction_ids=[second]))["number"]
    await restore(world, number)
    await receipt(world, request_id="r1", erase=True)
    assert await words(world) == {f"r1-interaction-{second}": ["two"]}


async def test_an_interaction_that_is_erased_during_a_restore_keeps_back_nothing_else_of_its_request(
    world: World,
) -> None:
    await put(world, "r1", "harmless")
    first, *_ = await put(world, "r2", "a secret", "the address")
    number = (await receipt(world, "delete_session", session_id="s"))["number"]

    async def erase() -> None:
        await receipt(world, request_id="r2", interaction_ids=[first], erase=True)

    world.backend.before[PUBLISH] = [erase]
    await restore(world, number)
    assert await words(world) == {"r1": ["harmless"], "r2": ["the address"]}


async def test_a_request_of_another_user_under_the_id_of_a_copy_was_not_restored_before(world: World) -> None:
    await world.put("r1", text="ada's words")
    await receipt(world, request_id="r1")
    await world.put("r1", user="bob", text="bob's words")
    await world.put("r2")
    async with world.connect(CONFIRM="off") as caller:
        erased = await caller.receipt("delete_requests", user_id="ada", erase=True)
    assert (erased["status"], erased["deleted"]["only_in_copies"]) == ("complete", 1)
    assert not fact_of(erased, "restored_before")
    assert await world.ids() == {"r1"}


async def test_a_restored_request_that_a_filter_does_not_select_is_named_and_stays(world: World) -> None:
    await world.put("r1", text="ada's words", session="old")
    number = (await receipt(world, request_id="r1"))["number"]
    until = world.clock.now
    world.clock.now += 3_600
    await restore(world, number)
    async with world.connect(CONFIRM="off") as caller:
        asked = {"user_id": "ada", "end_time": datetime.fromtimestamp(until, UTC).isoformat(), "erase": True}
        erased = await caller.receipt("delete_requests", **asked)
    assert fact_of(erased, "restored_before") == {"code": "restored_before", "number": 1, "names": ["r1"]}
    assert await world.ids() == {"r1"}


async def test_what_another_erasure_has_left_of_a_restored_request_goes_with_the_whole(world: World) -> None:
    first, *_ = await put(world, "r1", "the first", "the second", "the third")
    await put(world, "r4", "another")
    number = (await receipt(world, request_id="r1"))["number"]

    async def erase_the_first() -> None:
        await receipt(world, request_id="r1", interaction_ids=[first], erase=True)

    async def restore_without_it() -> None:
        world.backend.before[PUBLISH] = [erase_the_first]
        await restore(world, number)
        assert await words(world) == {"r1": ["the second", "the third"], "r4": ["another"]}

    world.backend.before[BY_IDS] = [restore_without_it]
    erased = await receipt(world, "delete_requests", request_ids=["r4", "r1"], erase=True)
    assert (erased["status"], erased["deleted"]["only_in_copies"]) == ("complete", 1)
    assert fact_of(erased, "deleted_again") == {"code": "deleted_again", "number": 1}
    assert await words(world) == {}


async def test_a_running_restore_leaves_nothing_of_a_request_that_two_erasures_named(world: World) -> None:
    first, *_ = await put(world, "r1", "the first", "the second", "the third")
    number = (await receipt(world, request_id="r1"))["number"]

    async def erase_the_first_and_then_all() -> None:
        await receipt(world, request_id="r1", interaction_ids=[first], erase=True)
        erased = await receipt(world, request_id="r1", erase=True)
        assert (erased["status"], erased["deleted"]) == ("incomplete", {"only_in_copies": 1})

    world.backend.before[PUBLISH] = [erase_the_first_and_then_all]
    await restore(world, number)
    assert await words(world) == {}
    assert await may_return(world) == 0


@pytest.mark.parametrize(
    ("tool", "asked", "deletes"),
    [
        ("delete_session", {"session_id": "s"}, BY_IDS),
        ("delete_session", {"session_id": "s", "include_learnings": True}, BY_IDS),
        ("delete_requests", {"user_id": "ada"}, BY_IDS),
        ("delete_requests", {"user_id": "ada", "include_learnings": True}, "/api/clear_user_data"),
    ],
    ids=["session", "session and learnings", "requests of a user", "user"],
)
async def test_what_arrives_and_is_deleted_after_the_plan_of_an_erasure_keeps_its_copy(
    world: World, tool: str, asked: dict[str, Any], deletes: str
) -> None:
    await put(world, "r1", "a secret")
    beside: list[dict[str, Any]] = []

    async def store_and_delete() -> None:
        await put(world, "r9", "nobody has agreed to erase this")
        beside.append(await receipt(world, request_id="r9"))

    async with world.connect(CONFIRM="preview") as caller:
        plan = await caller.plan(tool, **asked, erase=True)
        world.backend.before[deletes] = [store_and_delete]
        erased = await caller.receipt(tool, **asked, erase=True, confirm=plan["confirm"])
    assert beside[0]["way_back"]["state"] == "words"
    assert erased["status"] == "incomplete"
    assert fact_of(erased, "later_copies") == {"code": "later_copies", "number": 1}
    undone = await restore(world, beside[0]["number"])
    assert undone["status"] == "complete"
    assert await words(world) == {"r9": ["nobody has agreed to erase this"]}
    again = await receipt(world, tool, **asked, erase=True)
    assert again["status"] == "complete"
    assert await words(world) == {}
    async with world.connect(CONFIRM="off") as caller:
        refused = await caller.result("restore_requests", deletion=beside[0]["number"])
    assert refused.is_error, "the second plan has shown the copy"


async def test_the_copies_that_others_keep_of_learnings_after_the_plan_stay_and_those_of_the_request_go(
    world: World,
) -> None:
    await put(world, "r1", "drinks tea", "every day")
    await world.learn("p1", "r1", content="likes tea", quote="drinks tea")
    beside: list[dict[str, Any]] = []

    async def delete_with_learnings() -> None:
        beside.append(await receipt(world, request_id="r1", include_learnings=True))

    world.backend.before["/api/get_requests"] = [nothing, delete_with_learnings]
    erased = await receipt(world, request_id="r1", erase=True)
    assert fact_of(erased, "later_copies") == {"code": "later_copies", "number": 1}
    assert erased["status"] == "incomplete"
    await restore(world, beside[0]["number"])
    assert await words(world) == {}
    assert known(world) == {("likes tea", None): 1}


async def test_a_deletion_whose_copies_another_call_erases_meanwhile_says_how_many_are_gone(
    world: World,
) -> None:
    await put(world, "r1", "drinks tea")
    await put(world, "r2", "asks for tea")

    async def erase_one() -> None:
        await receipt(world, request_id="r1", erase=True)

    world.backend.before[BY_IDS] = [erase_one]
    done = await receipt(world, "delete_requests", request_ids=["r1", "r2"])
    assert done["way_back"]["state"] == "words"
    assert fact_of(done, "copies_gone") == {"code": "copies_gone", "number": 1}


async def test_a_playbook_that_an_undo_has_stored_under_another_id_is_named_and_stays(world: World) -> None:
    await put(world, "r1", "drinks tea")
    await world.learn(7, "r1", content="offer tea")
    asked = {"user_id": "ada", "learning_ids": ["user_playbook:7"]}
    number = (await receipt(world, "delete_learnings", **asked))["number"]
    await restore(world, number)
    [stored] = world.backend.playbooks
    assert stored != 7
    erased = await receipt(world, "delete_learnings", **asked, erase=True)
    assert erased["deleted"] == {"only_in_copies": 1}
    stays = {"code": "restored_before", "number": 1, "names": [f"user_playbook:{stored}"]}
    assert fact_of(erased, "restored_before") == stays
    again = await receipt(
        world, "delete_learnings", user_id="ada", learning_ids=[f"user_playbook:{stored}"], erase=True
    )
    assert (again["status"], again["deleted"]) == ("complete", {"learnings": 1})
    assert not fact_of(again, "restored_before")
    assert not world.backend.playbooks
