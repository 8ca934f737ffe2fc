"""Sets by ids and by filter, scope, what changed in between, and receipts that a re-read bears out."""

from typing import Any

import anyio
import pytest

from tests.deletion.support import BY_IDS, READ, World, agreeing, text_of
from tests.support.facts import missing_from_structure

pytestmark = pytest.mark.anyio

MANY = [f"x{number}" for number in range(10_001)]


async def test_a_filter_deletes_what_it_selects_and_nothing_else(world: World, era: str) -> None:
    await world.put("r1", source="ide", session="a")
    await world.put("r2", source="chat", session="b")
    await world.put("r3", source="ide", session="b", user="bob")
    async with world.connect(era) as caller:
        facts = await caller.confirmed("delete_requests", source="ide")
    assert facts["outcomes"] == {"deleted": ["r3", "r1"]}
    assert await world.ids(session_id="b") == {"r2"}


@pytest.mark.parametrize("filters", [{}, {"contains": "words"}, {"source": ""}])
async def test_a_filter_that_names_nothing_is_refused(
    world: World, era: str, filters: dict[str, Any]
) -> None:
    await world.put("r1")
    async with world.connect(era, CONFIRM="off") as caller:
        said = await caller.refused("delete_requests", **filters)
    assert "everything=true" in said
    assert "nothing was deleted" in said
    assert await world.ids() == {"r1"}


async def test_the_users_own_scope_narrows_nothing(world: World, era: str) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob", session="t")
    async with world.connect(era, CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        said = await caller.refused("delete_requests")
        assert "everything=true" in said
        assert "user_id" not in said, "it would be refused"
        facts = await caller.call("delete_requests", everything=True)
    assert facts["outcomes"] == {"deleted": ["r1"]}
    assert await world.ids() == {"r2"}


async def test_everything_needs_its_number_typed_however_little_it_is(world: World, era: str) -> None:
    await world.put("r1")
    person = agreeing()
    async with world.connect(era, person) as caller:
        facts = await caller.call("delete_requests", everything=True)
    assert set(person.schemas[0]["properties"]) == {"requests"}
    assert "EVERYTHING" in person.seen[0]
    assert facts["deleted"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"request_ids": ["r1"], "source": "ide"},
        {"request_ids": []},
        {"request_ids": [" "]},
        {"request_ids": MANY},
    ],
    ids=["ids and filter", "no ids", "a blank id", "too many ids"],
)
async def test_a_set_that_makes_no_sense_is_refused_in_a_sentence(
    world: World, era: str, arguments: dict[str, Any]
) -> None:
    await world.put("r1")
    async with world.connect(era, CONFIRM="off") as caller:
        said = await caller.refused("delete_requests", **arguments)
    assert said.startswith("request_ids")
    assert not world.backend.calls[BY_IDS]


async def test_each_id_ends_as_one_thing_and_the_counts_add_up(world: World, era: str) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    async with world.connect(era) as caller:
        result = await caller.result("delete_requests", request_ids=["r0", "nope", "r2", "r0"])
        assert result.structured_content
        assert result.structured_content["plan"]["not_found"] == ["nope"]
        code = result.structured_content["confirm"]
        done = await caller.result("delete_requests", request_ids=["r0", "nope", "r2", "r0"], confirm=code)
    facts = done.structured_content
    assert facts
    assert facts["counts"] == {"deleted": 2, "not_found": 1}
    assert facts["outcomes"] == {"deleted": ["r2", "r0"], "not_found": ["nope"]}
    assert facts["status"] == "complete"
    assert not missing_from_structure(done)
    assert await world.ids(session_id="s") == {"r1"}


@pytest.mark.parametrize("tool", ["delete_request", "delete_session", "delete_requests"])
async def test_what_belongs_to_another_user_is_not_found_and_stays(world: World, era: str, tool: str) -> None:
    await world.put("theirs", user="bob", session="t")
    arguments: dict[str, Any] = {
        "delete_request": {"request_id": "theirs"},
        "delete_session": {"session_id": "t"},
        "delete_requests": {"request_ids": ["theirs"]},
    }[tool]
    async with world.connect(era, CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        result = await caller.result(tool, **arguments)
    assert result.structured_content
    assert result.structured_content["status"] == "not_found"
    assert result.structured_content["deleted"] == 0
    assert "bob" not in text_of(result)
    assert await world.ids() == {"theirs"}


async def test_a_shared_session_loses_only_this_users_requests(world: World, era: str) -> None:
    await world.put("mine", user="ada", session="shared")
    await world.put("theirs", user="bob", session="shared")
    async with world.connect(era, CONFIRM="off", REFLEXIO_USER_ID="ada") as caller:
        facts = await caller.call("delete_session", session_id="shared")
    assert facts["outcomes"] == {"deleted": ["mine"]}
    assert await world.ids() == {"theirs"}


async def test_without_a_scope_the_plan_names_every_user_it_touches(world: World, era: str) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob")
    async with world.connect(era) as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert facts["plan"]["users"] == {"ada": 1, "bob": 1}


async def test_a_changed_set_deletes_nothing_and_names_what_was_added_and_removed(
    world: World, era: str
) -> None:
    for one in ("r1", "r2"):
        await world.put(one)
    async with world.connect(era) as caller:
        code = (await caller.call("delete_session", session_id="s"))["confirm"]
        await world.put("r3")
        await world.rest.delete_request("r1")
        result = await caller.result("delete_session", session_id="s", confirm=code)
        facts = result.structured_content
        assert facts
        assert facts["status"] == "changed"
        assert facts["changed"]["added"] == ["r3"]
        assert facts["changed"]["removed"] == ["r1"]
        assert "added (1): r3" in text_of(result)
        assert await world.ids(session_id="s") == {"r2", "r3"}
        done = await caller.call("delete_session", session_id="s", confirm=facts["confirm"])
    assert done["outcomes"] == {"deleted": ["r3", "r2"]}


async def test_another_process_with_the_same_key_takes_the_code_and_counts_what_changed(
    world: World, era: str
) -> None:
    await world.put("r1")
    async with world.connect(era, REFLEXIO_API_KEY="shared") as caller:
        code = (await caller.call("delete_session", session_id="s"))["confirm"]
    await world.put("r2")
    async with world.connect(era, REFLEXIO_API_KEY="shared") as caller:
        facts = await caller.call("delete_session", session_id="s", confirm=code)
    assert facts["status"] == "changed"
    assert facts["changed"]["code_for"] == 1
    assert facts["changed"]["now_requests"] == 2
    await world.rest.delete_request("r2")
    async with world.connect(era, REFLEXIO_API_KEY="shared") as caller:
        assert (await caller.call("delete_session", session_id="s", confirm=code))["deleted"] == 1
    assert not await world.ids()


async def test_a_code_of_a_set_that_is_gone_says_so(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era) as caller:
        code = (await caller.call("delete_session", session_id="s"))["confirm"]
        await world.rest.delete_request("r1")
        facts = await caller.call("delete_session", session_id="s", confirm=code)
    assert facts["status"] == "not_found"
    assert facts["changed"]["removed"] == ["r1"]


async def test_a_repeat_of_a_deletion_whose_reply_was_lost_is_told_of_it(world: World, era: str) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    server = world.server()
    async with world.connect(era, server=server) as caller:
        code = (await caller.call("delete_session", session_id="s"))["confirm"]
        # As where the caller has gone away: its receipt is in the status.
        await caller.call("delete_session", session_id="s", confirm=code, wait_for_response=False)
        await server.runtime.jobs.drain()
        began = (await caller.call("get_status"))["deletions"][0]["began"]
        said = f"nothing was deleted now: deletion 1, begun {began}, deleted it, checked by reading again:"
        for tool, wanted in (
            ("delete_requests", {"request_ids": ["r0", "r2"], "confirm": code}),
            ("delete_request", {"request_id": "r1"}),
        ):
            facts = await caller.call(tool, **wanted)
            assert facts["status"] == "not_found"
            assert said in facts["why"]
        # Not where one of them was never deleted, nor to somebody else.
        facts = await caller.call("delete_requests", request_ids=["r0", "never"])
        assert "why" not in facts
    async with world.connect(era, REFLEXIO_API_KEY="another") as caller:
        assert "why" not in await caller.call("delete_requests", request_ids=["r0"])


@pytest.mark.parametrize(
    ("tool", "wanted"),
    [
        ("delete_session", {"session_id": "never"}),
        ("delete_requests", {"user_id": "bob"}),
        ("delete_requests", {"user_id": "ada", "contains": "password OR ssn"}),
        ("delete_requests", {"request_ids": ["r1"], "user_id": "bob"}),
    ],
    ids=["session", "user", "words", "ids of another user"],
)
async def test_of_another_set_no_deletion_is_told_though_its_code_is_given(
    world: World, era: str, tool: str, wanted: dict[str, Any]
) -> None:
    await world.put("r1")
    server = world.server()
    async with world.connect(era, server=server) as caller:
        code = (await caller.call("delete_session", session_id="s"))["confirm"]
        await caller.call("delete_session", session_id="s", confirm=code, wait_for_response=False)
        await server.runtime.jobs.drain()
        result = await caller.result(tool, **wanted, confirm=code)
    assert result.structured_content
    assert result.structured_content["status"] == "not_found"
    assert "deleted it" not in text_of(result)
    assert "why" not in result.structured_content


@pytest.mark.parametrize("kind", ["turn", "learning"])
async def test_a_deletion_of_something_else_with_the_same_id_is_not_told(
    world: World, era: str, kind: str
) -> None:
    await world.put("r1")
    await world.learn("p1", "r1")
    turn = next(iter(await world.interactions("r1")))
    tool, wanted, same = (
        ("delete_request", {"request_id": "r1", "interaction_ids": [turn]}, str(turn))
        if kind == "turn"
        else ("delete_learnings", {"request_id": "r1"}, "profile:p1")
    )
    server = world.server(CONFIRM="off")
    async with world.connect(era, server=server) as caller:
        await caller.call(tool, **wanted, wait_for_response=False)
        await server.runtime.jobs.drain()
        assert (await caller.call("get_status", receipt="1"))["ids"]["deleted"] == [same]
        facts = await caller.call("delete_request", request_id=same)
    assert facts["status"] == "not_found"
    assert "why" not in facts


async def test_codes_are_bound_to_backend_user_and_options(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era, REFLEXIO_API_KEY="k", REFLEXIO_USER_ID="ada") as caller:
        code = (await caller.call("delete_request", request_id="r1"))["confirm"]
        other = await caller.call("delete_request", request_id="r1", confirm=code, include_learnings=True)
        assert other["status"] == "changed"
    async with world.connect(era, REFLEXIO_API_KEY="k") as caller:
        assert (await caller.call("delete_request", request_id="r1", confirm=code))["status"] == "changed"
    async with world.connect(era, REFLEXIO_API_KEY="j", REFLEXIO_USER_ID="ada") as caller:
        assert (await caller.call("delete_request", request_id="r1", confirm=code))["status"] == "changed"
    assert await world.ids() == {"r1"}


async def test_deleted_by_somebody_else_between_plan_and_act_is_not_claimed(world: World, era: str) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    other = world.client()

    async def first() -> None:
        await other.delete_request("r1")

    world.backend.before[BY_IDS] = [first]
    async with world.connect(era, CONFIRM="off") as caller:
        result = await caller.result("delete_session", session_id="s")
    facts = result.structured_content
    assert facts
    assert facts["deleted_by_others"] == 1
    assert "counts 1 of them as gone before" in text_of(result)
    await other.aclose()


async def test_what_the_service_counts_as_gone_before_is_not_claimed(world: World, era: str) -> None:
    await world.put("r1")
    other = world.client()

    async def first() -> None:
        await other.delete_session("s")

    world.backend.before[BY_IDS] = [first]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["outcomes"] == {"deleted": ["r1"]}
    assert facts["deleted_by_others"] == 1
    await other.aclose()


async def test_what_is_published_into_the_session_between_plan_and_act_stays(world: World, era: str) -> None:
    await world.put("r1")

    async def arrival() -> None:
        await world.put("late")

    world.backend.before[BY_IDS] = [arrival]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert facts["outcomes"] == {"deleted": ["r1"]}
    assert await world.ids() == {"late"}


async def test_an_id_that_is_stored_again_before_the_re_read_is_another_request(
    world: World, era: str
) -> None:
    await world.put("r1")

    async def nothing() -> None:
        return None

    async def again() -> None:
        world.clock.now -= 1  # the same second, so that it is inside what is read again
        await world.put("r1")

    async with world.connect(era, CONFIRM="off") as caller:
        world.backend.before[READ] = [nothing, again]
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["outcomes"] == {"changed": ["r1"]}
    assert facts["status"] == "incomplete"


@pytest.mark.parametrize(("status", "outcome"), [(403, "not_allowed"), (500, "still_present")])
async def test_a_failure_half_way_says_exactly_what_is_gone_and_a_repeat_finishes(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch, status: int, outcome: str
) -> None:
    monkeypatch.setattr("reflexio_mcp.traffic.deletion.execute.BATCH", 2)
    for number in range(5):
        await world.put(f"r{number}")
    world.backend.failing[BY_IDS] = (1, status)
    async with world.connect(era, CONFIRM="off") as caller:
        result = await caller.result("delete_requests", session_id="s")
        facts = result.structured_content
        assert facts
        assert facts["status"] == "incomplete"
        assert facts["outcomes"] == {"deleted": ["r4", "r3"], outcome: ["r2", "r1", "r0"]}
        assert "It stopped" in text_of(result)
        assert await world.ids(session_id="s") == {"r0", "r1", "r2"}
        world.backend.failing.clear()
        rest = await caller.call("delete_requests", session_id="s")
    assert rest["outcomes"] == {"deleted": ["r2", "r1", "r0"]}
    assert rest["status"] == "complete"


async def test_a_service_that_claims_success_and_does_nothing_is_found_out(world: World, era: str) -> None:
    await world.put("r1")
    world.backend.delete_requests_by_ids = lambda asked: {"deleted_count": 1}  # type: ignore[attr-defined]
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["outcomes"] == {"still_present": ["r1"]}


async def test_a_scheduled_deletion_leaves_its_receipt_in_the_status_of_its_own_scope(
    world: World, era: str
) -> None:
    await world.put("r1")
    server = world.server(CONFIRM="off", REFLEXIO_USER_ID="ada")
    async with world.connect(era, server=server) as caller:
        facts = await caller.call("delete_request", request_id="r1", wait_for_response=False)
        assert facts["status"] == "scheduled"
        assert facts["deleted"] == 0
        await server.runtime.jobs.drain()
        [job] = (await caller.call("get_status"))["deletions"]
    assert job["state"] == "done"
    assert job["receipt"]["outcomes"] == {"deleted": ["r1"]}
    assert not await world.ids()


async def test_a_scheduled_deletion_needs_the_same_consent(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era) as caller:
        facts = await caller.call("delete_request", request_id="r1", wait_for_response=False)
    assert facts["status"] == "planned"
    assert await world.ids() == {"r1"}


@pytest.mark.parametrize("sessions", [1, 3, 100])
async def test_a_set_of_ids_is_found_in_few_calls_and_each_is_looked_up_once_when_it_is_gone(
    world: World, era: str, sessions: int
) -> None:
    for number in range(200):
        await world.put(f"r{number}", session=f"s{number % sessions}")
    await world.put("keep", session="s0")
    wanted = [f"r{number}" for number in range(200)] + ["missing"]
    async with world.connect(era, CONFIRM="off") as caller:
        before = world.backend.calls[READ]
        facts = await caller.call("delete_requests", request_ids=wanted)
    assert facts["counts"] == {"deleted": 200, "not_found": 1}
    # What is gone is looked up by id once, because a list that does not show it proves nothing.
    assert world.backend.calls[READ] - before < 40 + 200
    assert await world.ids() == {"keep"}


async def test_the_receipt_of_a_call_that_was_cancelled_is_in_the_status(world: World) -> None:
    await world.put("r1")
    server = world.server(CONFIRM="off")
    deleting = anyio.Event()
    over = anyio.Event()
    jobs: list[dict[str, Any]] = []

    async def reached() -> None:
        deleting.set()
        with anyio.fail_after(60):
            await over.wait()

    world.backend.before[BY_IDS] = [reached]
    async with world.connect("legacy", server=server) as caller, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: caller.result("delete_request", request_id="r1"))
        with anyio.fail_after(60):
            await deleting.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True), anyio.fail_after(60):
            await anyio.wait_all_tasks_blocked()  # the cancellation has reached the server
            over.set()
            while not jobs or jobs[0]["state"] == "running":
                jobs = (await caller.call("get_status"))["deletions"]
    assert jobs[0]["receipt"]["outcomes"] == {"deleted": ["r1"]}
    assert not await world.ids()
