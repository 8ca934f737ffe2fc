"""What a deletion with learnings leaves of what is believed, on the real server, and what an undo puts back."""

import time
from typing import Any, Literal

import anyio
import anyio.to_thread
import pytest

from reflexio_mcp.rest.models import Operation, RequestQuery, UserProfile
from tests.deletion.support import Caller
from tests.support.facts import fact_of
from tests.support.real_learning import Corner
from tests.support.scripted_model import MERGE
from tests.support.stories import BUTTER, PEANUTS, chain_story, peanut_story

pytestmark = [pytest.mark.anyio, pytest.mark.live]

REAL = {"Cannot eat peanuts", "Has a cat", "Use metric"}


async def believed(corner: Corner) -> set[str]:
    """The texts that are served now."""
    rows = [*await corner.profiles(), *await corner.playbooks()]
    return {row.content for row in rows if row.status is None}


async def clean_up(caller: Caller, corner: Corner, session: str = "ci-run-7", **more: Any) -> dict[str, Any]:
    return await caller.receipt(
        "delete_session", session_id=corner.name(session), include_learnings=True, **more
    )


def told(answer: dict[str, Any]) -> dict[str, tuple[str, bool, list[str]]]:
    """Each learning of a plan or receipt: its case, whether it goes, what becomes current again."""
    rows = answer["learnings"]
    assert isinstance(rows, list)
    return {
        row["content"]: (row["case"], row["goes"], [one["content"] for one in row.get("earlier", [])])
        for row in rows
    }


@pytest.mark.parametrize("merged", [False, True], ids=["apart", "merged"])
async def test_cleaning_up_a_test_run_keeps_what_is_true(corner: Corner, merged: bool) -> None:
    await peanut_story(corner, merged=merged)
    before = await believed(corner)
    async with corner.connect() as caller:
        receipt = await clean_up(caller, corner)
        assert receipt["status"] == "complete", receipt["text"]
        assert await believed(corner) == REAL
        assert receipt["deleted"]["learnings"] == receipt["planned"]["learnings"]
        rows = told(receipt)
        assert rows["Favourite colour: test-blue"] == ("only", True, [])
        assert rows["Has a cat"] == ("window", False, [])
        if merged:
            assert rows["Loves peanuts"] == ("replace", True, ["Cannot eat peanuts"])
        back = await caller.restored(receipt["number"])
        assert back["status"] == "complete", back["text"]
    assert await believed(corner) == before


async def test_of_a_chain_of_three_the_newest_without_the_test_run_is_current_again(corner: Corner) -> None:
    await chain_story(corner)
    async with corner.connect() as caller:
        receipt = await caller.receipt(
            "delete_request", request_id=corner.name("sugar-2"), include_learnings=True
        )
        assert receipt["status"] == "complete", receipt["text"]
        assert await believed(corner) == {"Takes sugar, as said 2 times"}
        await caller.restored(receipt["number"])
    assert await believed(corner) == {"Takes sugar, as said 3 times"}


async def test_somebody_who_wants_neither_gets_neither(corner: Corner) -> None:
    await peanut_story(corner, merged=True)
    [old] = [one for one in await corner.profiles() if one.content == "Cannot eat peanuts"]
    async with corner.connect() as caller:
        receipt = await clean_up(caller, corner, learning_ids=[f"profile:{old.profile_id}"])
        assert receipt["status"] == "complete", receipt["text"]
    assert await believed(corner) == REAL - {"Cannot eat peanuts"}
    assert old.profile_id not in {one.profile_id for one in await corner.profiles()}


async def test_an_erasure_asks_about_what_may_contain_what_is_erased(corner: Corner) -> None:
    await chain_story(corner)
    async with corner.connect(CONFIRM="preview") as caller:
        plan = await caller.plan(
            "delete_request", request_id=corner.name("sugar-0"), include_learnings=True, erase=True
        )
        assert (fact_of(plan, "learnings_undecided") or {})["number"] == 1
        [partly] = [row for row in plan["learnings"] if row["case"] == "partly" and not row["goes"]]
        assert len(partly["quoted_in"]) == 2
        receipt = await caller.confirmed(
            "delete_request",
            request_id=corner.name("sugar-0"),
            include_learnings=True,
            erase=True,
            learning_ids=[partly["learning_id"]],
        )
        assert receipt["status"] == "complete", receipt["text"]
    assert await believed(corner) == set()


async def test_an_erasure_takes_what_a_request_taught_that_was_deleted_alone_and_restored(
    corner: Corner,
) -> None:
    corner.learn(
        "sister", profile="Her sister is Vreni", quote="sister is called Vreni", playbook="Greet Vreni"
    )
    await corner.say("a", "My sister is called Vreni", force_extraction=True)
    asked = {"request_id": corner.name("a")}
    before = await corner.interactions("a")
    async with corner.connect(CONFIRM="preview") as caller:
        receipt = await caller.confirmed("delete_request", **asked)
        await caller.restored(receipt["number"], evaluation_only=True)
        assert await corner.interactions("a") != before
        assert await believed(corner) == {"Her sister is Vreni", "Greet Vreni"}
        receipt = await caller.confirmed("delete_request", **asked, include_learnings=True, erase=True)
        assert receipt["status"] == "complete", receipt["text"]
    assert await believed(corner) == set()


async def test_a_playbook_that_got_another_id_since_the_plan_is_deleted(corner: Corner) -> None:
    corner.learn("in metric", playbook="Use metric")
    await corner.say("a", "Answer in metric", session="ci", force_extraction=True)
    async with corner.connect(CONFIRM="preview") as caller:
        arguments = {"session_id": corner.name("ci"), "include_learnings": True}
        plan = await caller.plan("delete_session", **arguments)
        await corner.say("b", "What is the weather?", session="real", force_extraction=True)
        receipt = await caller.receipt("delete_session", **arguments, confirm=plan["confirm"])
        assert receipt["status"] == "complete", receipt["text"]
        assert "appeared" not in receipt["text"]
        assert await believed(corner) == set()
        await caller.restored(receipt["number"])
    assert await believed(corner) == {"Use metric"}


async def test_a_learning_that_is_named_by_its_old_id_is_deleted(corner: Corner) -> None:
    corner.learn("in metric", playbook="Use metric")
    await corner.say("a", "Answer in metric", force_extraction=True)
    [first] = await corner.playbooks()
    await corner.say("b", "What is the weather?", force_extraction=True)
    async with corner.connect() as caller:
        receipt = await caller.receipt(
            "delete_learnings",
            user_id=corner.name("ada"),
            learning_ids=[f"user_playbook:{first.user_playbook_id}"],
        )
        assert receipt["status"] == "complete", receipt["text"]
        assert await believed(corner) == set()
        await caller.restored(receipt["number"])
    assert await believed(corner) == {"Use metric"}


async def test_a_run_that_ends_after_the_requests_are_gone_leaves_nothing_of_the_test_run(
    corner: Corner,
) -> None:
    corner.learn(PEANUTS, profile="Cannot eat peanuts", quote="I cannot eat peanuts")
    corner.learn(BUTTER, profile="Loves peanut butter", quote="I love peanut butter")
    corner.model.merges["peanut"] = "Loves peanuts"
    await corner.say("real-1", PEANUTS, session="real", force_extraction=True)
    receipts: list[dict[str, Any]] = []

    async def deleted() -> bool:
        page = await corner.rest.get_requests(RequestQuery(user_id=corner.name("ada"), top_k=100))
        return all(group.session_id != corner.name("ci-run-7") for group in page.sessions)

    async with corner.connect() as caller:

        async def delete() -> None:
            receipts.append(await clean_up(caller, corner))

        async with anyio.create_task_group() as tasks:
            with corner.model.holding(MERGE):
                await corner.say("butter", BUTTER, session="ci-run-7", force_extraction=True, wait=False)
                await anyio.to_thread.run_sync(corner.model.wait_for, MERGE, "peanut")
                tasks.start_soon(delete)
                with anyio.fail_after(30):
                    while not await deleted():
                        await anyio.lowlevel.checkpoint()
        assert receipts[0]["status"] == "complete", receipts[0]["text"]
        assert await believed(corner) == {"Cannot eat peanuts"}
        back = await caller.restored(receipts[0]["number"])
        assert back["status"] == "complete", back["text"]
    # Reflexio dropped the run, because its request was gone: this is what was known before the deletion.
    assert await believed(corner) == {"Cannot eat peanuts"}
    assert await corner.interactions("butter")


async def test_a_correction_during_a_run_waits_and_names_what_took_its_place(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    corner.learn(PEANUTS, profile="Cannot eat peanuts", quote="I cannot eat peanuts")
    corner.learn(BUTTER, profile="Loves peanut butter", quote="I love peanut butter")
    corner.model.merges["peanut"] = "Loves peanuts"
    await corner.say("real-1", PEANUTS, session="real", force_extraction=True)
    [old] = await corner.profiles()
    waits, generation = anyio.Event(), corner.rest.generation

    async def asked(kind: Literal["profile", "playbook"]) -> Operation | None:
        waits.set()
        return await generation(kind)

    monkeypatch.setattr(corner.rest, "generation", asked)
    receipts: list[dict[str, Any]] = []
    async with corner.connect() as caller:

        async def correct() -> None:
            receipts.append(
                await caller.receipt(
                    "correct_learning",
                    user_id=corner.name("ada"),
                    learning_id=f"profile:{old.profile_id}",
                    content="Cannot eat nuts",
                )
            )

        async with anyio.create_task_group() as tasks:
            with corner.model.holding(MERGE):
                await corner.say("butter", BUTTER, session="ci-run-7", force_extraction=True, wait=False)
                await anyio.to_thread.run_sync(corner.model.wait_for, MERGE, "peanut")
                tasks.start_soon(correct)
                with anyio.fail_after(30):
                    await waits.wait()
                assert receipts == []
    [current] = [one for one in await corner.profiles() if one.status is None]
    assert current.content == "Loves peanuts"
    assert "corrected" not in receipts[0]
    assert (fact_of(receipts[0], "learning_replaced") or {})["names"] == [f"profile:{current.profile_id}"]


async def test_a_person_of_whom_only_an_expired_profile_is_left_is_erased(corner: Corner) -> None:
    expired = UserProfile(
        profile_id=corner.name("old"),
        user_id=corner.name("ada"),
        content="Lives at 5 Elm Road",
        last_modified_timestamp=int(time.time()) - 200_000,
        profile_time_to_live="one_day",
        expiration_timestamp=int(time.time()) - 100_000,
    )
    await corner.rest.add_profiles([expired])
    assert corner.kept().get("profiles") == 1
    async with corner.connect() as caller:
        receipt = await caller.receipt(
            "delete_requests", user_id=corner.name("ada"), include_learnings=True, erase=True
        )
        assert receipt["status"] == "complete", receipt["text"]
        assert receipt["way_back"]["state"] == "erased"
    assert corner.kept().get("profiles", 0) == 0
