"""`erase` keeps no copy, and reaches every earlier copy of what it deletes, whoever made it."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp.rest.models import Interaction, PublishBody
from tests.deletion.support import BY_IDS, Known, World, text_of
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


async def copied(world: World, **env: str) -> dict[int, dict[str, int]]:
    """What the recovery copies hold, by deletion."""
    async with world.connect(CONFIRM="off", **env) as caller:
        listed = await caller.call("restore_requests")
    return {one["number"]: one["copied"] for one in listed.get("deletions", []) if "copied" in one}


async def test_an_erasure_leaves_no_copy_of_its_own_and_none_of_before(world: World) -> None:
    await world.put("r1")
    await world.put("r2")
    await world.learn("p", "r1")
    async with world.connect(CONFIRM="off") as caller:
        first = await caller.receipt("delete_session", session_id="s", include_learnings=True)
        await caller.restored(first["number"])
        receipt = await caller.receipt("delete_request", request_id="r1", include_learnings=True, erase=True)
    assert receipt["way_back"]["state"] == "erased"
    # The other request's copy stays, and what the erased request taught is gone from it.
    assert await copied(world) == {first["number"]: {"requests": 1}}


async def test_what_only_a_copy_holds_is_planned_counted_and_erased(world: World) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r1")
        nothing = await caller.plan("delete_request", request_id="r1")
        assert fact_of(nothing, "only_in_copies") == {"code": "only_in_copies", "number": 1}
    async with world.connect() as caller:
        plan = await caller.plan("delete_session", session_id="s", erase=True)
        assert plan["selected"] == {"requests": 1, "interactions": 1, "only_in_copies": 1}
        receipt = await caller.receipt("delete_session", session_id="s", erase=True, confirm=plan["confirm"])
    assert receipt["deleted"] == plan["selected"]
    assert await copied(world) == {}


async def test_a_filter_with_words_erases_the_copies_that_have_them_and_no_others(world: World) -> None:
    await world.put("r1", text="the word is swordfish")
    await world.put("r2", text="something else")
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.receipt("delete_session", session_id="s")
        receipt = await caller.receipt(
            "delete_requests", user_id="ada", contains="swordfish", everything=True, erase=True
        )
    assert receipt["deleted"] == {"only_in_copies": 1}
    assert await copied(world) == {done["number"]: {"requests": 1}}


async def test_erasing_a_person_reaches_the_copies_that_the_person_made(world: World) -> None:
    await world.put("r1", user="alice")
    async with world.connect(REFLEXIO_USER_ID="alice", CONFIRM="off") as alice:
        done = await alice.receipt("delete_request", request_id="r1")
        await alice.restored(done["number"])
        async with world.connect(CONFIRM="off") as operator:
            receipt = await operator.receipt(
                "delete_requests", user_id="alice", erase=True, include_learnings=True
            )
        assert receipt["status"] == "complete"
        said = await alice.refused("restore_requests", deletion=done["number"])
    assert "has no recovery copy that you can restore" in said
    assert await world.ids() == set()


async def test_erasing_what_was_learned_of_one_person_leaves_the_copies_of_others(world: World) -> None:
    for user in ("ada", "bob"):
        await world.put(f"of {user}", user=user, session=user)
        await world.learn(f"p-{user}", f"of {user}", user=user, content=f"about {user}")
    async with world.connect(CONFIRM="off") as caller:
        of_bob = await caller.receipt("delete_learnings", user_id="bob")
        erased = await caller.receipt("delete_learnings", user_id="ada", erase=True)
        await caller.restored(of_bob["number"])
    assert (erased["status"], erased["deleted"]) == ("complete", {"learnings": 1})
    assert set(world.backend.profiles) == {"p-bob"}


async def test_ids_with_a_user_erase_no_copy_of_another_user(world: World) -> None:
    await world.put("r1", user="bob")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_request", request_id="r1"))["number"]
        answer = await caller.call("delete_requests", request_ids=["r1"], user_id="ada", erase=True)
        await caller.restored(number)
    assert "only_in_copies" not in str(answer)
    assert await world.ids() == {"r1"}


async def test_erasing_a_person_counts_the_learnings_that_only_copies_have(world: World) -> None:
    await world.put("r1")
    await world.learn("p", "r1")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_learnings", user_id="ada")
        erased = await caller.receipt("delete_requests", user_id="ada", erase=True, include_learnings=True)
    assert erased["deleted"] == {"requests": 1, "interactions": 1, "only_in_copies": 1}


async def test_another_key_of_the_same_organisation_reaches_the_same_copies(world: World) -> None:
    await world.put("r1", user="alice")
    async with world.connect(REFLEXIO_API_KEY="first-key", CONFIRM="off") as one:
        done = await one.receipt("delete_request", request_id="r1")
    keys = {"REFLEXIO_API_KEY": "second-key", "CONFIRM": "off"}
    async with world.connect(**keys) as other:
        receipt = await other.receipt("delete_request", request_id="r1", erase=True)
        assert receipt["deleted"] == {"only_in_copies": 1}
        assert "no recovery copy" in await other.refused("restore_requests", deletion=done["number"])


async def test_somebody_confined_to_a_user_erases_nothing_of_others(world: World) -> None:
    await world.put("r1", user="bob")
    async with world.connect(CONFIRM="off") as operator:
        done = await operator.receipt("delete_request", request_id="r1")
    async with world.connect(REFLEXIO_USER_ID="alice", CONFIRM="off") as alice:
        assert (await alice.plan("delete_request", request_id="r1", erase=True))["status"] == "not_found"
    assert await copied(world) == {done["number"]: {"requests": 1}}


async def test_erasures_at_the_same_time_leave_nothing_in_the_copies(world: World) -> None:
    ids = [f"r{number}" for number in range(24)]
    for one in ids:
        await world.put(one, text=f"words of {one}")
    async with world.connect(CONFIRM="off") as caller, world.connect(CONFIRM="off") as another:
        done = await caller.receipt("delete_session", session_id="s")
        await caller.restored(done["number"])

        async def erase(number: int) -> None:
            client = (caller, another)[number % 2]
            for one in ids[number::8]:
                receipt = await client.receipt("delete_request", request_id=one, erase=True)
                assert receipt["way_back"]["state"] == "erased"

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(erase, number)
    assert await copied(world) == {}
    assert await world.ids() == set()


async def test_copies_that_cannot_be_read_stop_an_erasure_before_anything_is_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reflexio_mcp.state.copies import Copies
    from reflexio_mcp.state.tables import StateUnusable

    await world.put("r1")

    def broken(*_: object, **__: object) -> None:
        raise StateUnusable("the disk is full", "make room")

    async with world.connect(CONFIRM="off") as caller:
        monkeypatch.setattr(Copies, "read", broken)
        said = await caller.refused("delete_request", request_id="r1", erase=True)
    assert said.startswith(
        "Nothing was deleted. The state of this server cannot be used now. Ask the operator"
    )
    assert "state unusable: the disk is full\nmend state: make room\n" in said
    assert await world.ids() == {"r1"}


async def test_a_receipt_that_cannot_be_recorded_does_not_claim_an_erasure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reflexio_mcp.state.state import State
    from reflexio_mcp.state.tables import StateUnusable

    await world.put("r1")
    await world.put("r2")

    def broken(*_: object, **__: object) -> None:
        raise StateUnusable("the disk is full", "make room")

    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r2")
        monkeypatch.setattr(State, "finish", broken)
        result = await caller.result("delete_requests", request_ids=["r1", "r2"], erase=True)
    assert result.structured_content
    receipt = result.structured_content["receipt"]
    assert receipt["deleted"] == {"requests": 1, "interactions": 1}
    assert receipt["not_deleted"] == [{"why": "unknown", "count": 1, "ids": ["r2"]}]
    assert receipt["way_back"]["state"] == "unknown"
    assert "The receipt could not be recorded." in text_of(result)
    assert fact_of(receipt, "repeat_call")


PIN = "My PIN is 4711 and my sister is Vreni"


@pytest.mark.parametrize(
    "quote", [PIN, "", "has a PIN and a sister"], ids=["quoting", "without_quote", "in_other_words"]
)
@pytest.mark.parametrize("learning_id", ["p", 9])
async def test_a_copied_learning_that_lists_earlier_ids_of_an_erased_request_is_erased_with_it(
    world: World, learning_id: str | int, quote: str
) -> None:
    await world.put("r1", text=PIN)
    await world.put("other", text="Good morning")
    await world.learn(learning_id, "r1", content="PIN 4711", quote=quote)
    await world.learn("q", "other", content="Says good morning", quote="Good morning")
    await world.rest.delete_requests_by_ids(["r1"])  # another client stores it again, with other numbers
    await world.put("r1", text=PIN)
    name = f"profile:{learning_id}" if learning_id == "p" else f"user_playbook:{learning_id}"
    async with world.connect(CONFIRM="off") as caller:
        ids = [name, "profile:q"]
        first = await caller.receipt("delete_learnings", user_id="ada", learning_ids=ids)
        erased = await caller.receipt("delete_request", request_id="r1", include_learnings=True, erase=True)
        done = await caller.restored(first["number"])
    assert erased["status"] == "complete"
    assert erased["deleted"]["only_in_copies"] == 1
    assert done["restored"] == {"learnings": 1}
    assert list(world.backend.profiles) == ["q"]
    assert not world.backend.playbooks


async def test_a_copied_learning_that_quotes_the_same_words_of_a_copied_request_stays(world: World) -> None:
    await world.put("r1", text=PIN)
    await world.put("other", session="t", text=PIN)
    await world.learn("q", "other", content="PIN 4711", quote=PIN)
    async with world.connect(CONFIRM="off") as caller:
        first = await caller.receipt("delete_session", session_id="t", include_learnings=True)
        await caller.receipt("delete_request", request_id="r1", erase=True)
    assert await copied(world) == {first["number"]: {"requests": 1, "learnings": 1}}


async def test_a_copied_learning_that_quotes_only_other_stored_words_stays(world: World) -> None:
    await world.put("r1", text=PIN)
    await world.put("other", text="Good morning, everybody")
    await world.learn("q", "other", content="Says good morning", quote="Good morning, everybody")
    await world.rest.delete_requests_by_ids(["other"])
    await world.put("other", text="Good morning, everybody")
    async with world.connect(CONFIRM="off") as caller:
        ids = ["profile:q"]
        first = await caller.receipt("delete_learnings", user_id="ada", learning_ids=ids)
        await caller.receipt("delete_request", request_id="r1", erase=True)
    assert await copied(world) == {first["number"]: {"learnings": 1}}


async def test_an_erased_interaction_of_a_copied_request_leaves_what_quotes_only_another_one_of_it(
    world: World,
) -> None:
    """The learning lists its interactions by earlier ids, so that only its words say what it came from."""
    said = [Interaction(content=text) for text in (PIN, "Good morning, everybody")]
    body = PublishBody(user_id="ada", session_id="s", request_id="r1", interaction_data_list=said)
    await world.rest.publish(body, minted=False)
    await world.learn("q", "r1", content="Says good morning", quote="Good morning, everybody")
    await world.rest.delete_requests_by_ids(["r1"])
    await world.rest.publish(body, minted=False)
    pin, _ = await world.interactions("r1")
    async with world.connect(CONFIRM="off") as caller:
        first = await caller.receipt("delete_learnings", user_id="ada", learning_ids=["profile:q"])
        await caller.receipt("delete_request", request_id="r1")
        erased = await caller.receipt("delete_request", request_id="r1", interaction_ids=[pin], erase=True)
    assert (erased["status"], erased["deleted"]) == ("complete", {"only_in_copies": 1})
    assert await copied(world) == {first["number"]: {"learnings": 1}}


async def erasure_that_ends_early(world: World, target: dict[str, Any]) -> dict[str, Any]:
    """An erasure after whose deletion of requests the service fails."""

    async def fail() -> None:
        world.backend.failing["/api/get_profiles"] = (0, 403)

    world.backend.before[BY_IDS] = [fail]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **target, include_learnings=True, erase=True)
    world.backend.failing.clear()
    assert (receipt["status"], await world.ids(user_id="ada")) == ("incomplete", set())
    return receipt


@pytest.mark.parametrize("target", [{"request_ids": ["r1"]}, {"session_id": "s"}], ids=["ids", "session"])
async def test_a_repeated_erasure_removes_the_copies_that_an_interrupted_one_has_left(
    world: World, target: dict[str, Any]
) -> None:
    """The request is gone by then, so its interactions do not lead to the copy."""
    await world.put("r1", text=PIN)
    await world.put("of bob", user="bob", session="t", text=PIN)
    await world.learn("p", "r1", content="PIN 4711", quote=PIN)
    await world.learn("b", "of bob", user="bob", content="PIN 4711", quote=PIN)
    async with world.connect(CONFIRM="off") as caller:
        first = await caller.receipt("delete_learnings", user_id="ada")
        of_bob = await caller.receipt("delete_learnings", user_id="bob")
    early = await erasure_that_ends_early(world, target)
    assert fact_of(early, "repeat_call")
    async with world.connect(CONFIRM="off") as caller:
        again = await caller.receipt("delete_requests", **target, include_learnings=True, erase=True)
        await caller.refused("restore_requests", deletion=first["number"])
        assert (await caller.call("get_status"))["deletions"][0]["status"] == "complete"
        await caller.restored(of_bob["number"])
    assert (again["status"], again["deleted"]) == ("complete", {"only_in_copies": 1})
    assert again["way_back"] == {"state": "erased"}
    assert list(world.backend.profiles) == ["b"]


async def test_a_repeated_erasure_deletes_the_learnings_that_an_interrupted_one_has_left(
    world: World,
) -> None:
    """One of them also lists a request that stays, and was edited since in another place: that one stays."""
    await world.put("r1", text=PIN)
    await world.put("other", session="t", text="Good morning")
    await world.learn("p", "r1", "other", content="PIN 4711", quote=PIN)
    await world.learn("q", "r1", content="a sister", quote=PIN)
    await world.learn("edited", "r1", "other", content="a PIN", quote=PIN)

    async def fail() -> None:
        world.backend.failing["/api/get_profiles"] = (0, 403)

    world.backend.before[BY_IDS] = [fail]
    target = {"request_ids": ["r1"], "include_learnings": True, "erase": True}
    async with world.connect(CONFIRM="off") as caller:
        early = await caller.receipt("delete_requests", **target)
        world.backend.failing.clear()
        assert len(world.backend.profiles) == 3
        edited = world.backend.profiles["edited"]
        world.backend.profiles["edited"] = edited._replace(content="says good morning")
        again = await caller.receipt("delete_requests", **target)
    assert early["status"] == "incomplete"
    assert (again["status"], again["deleted"]) == ("complete", {"learnings": 2})
    assert list(world.backend.profiles) == ["edited"]


async def test_a_repeated_erasure_deletes_what_was_learned_while_the_first_one_was_interrupted(
    world: World,
) -> None:
    """The request is gone by then, and the interrupted call has not seen the learning."""
    await world.put("r1", text=PIN)
    [interaction] = await world.interactions("r1")
    target: dict[str, Any] = {"request_ids": ["r1"]}
    await erasure_that_ends_early(world, target)
    world.backend.profiles["late"] = Known(
        "ada", "a later run", (interaction,), content="PIN 4711", quote=PIN
    )
    async with world.connect(CONFIRM="off") as caller:
        again = await caller.receipt("delete_requests", **target, include_learnings=True, erase=True)
    assert (again["status"], again["deleted"]) == ("complete", {"learnings": 1})
    assert not world.backend.profiles


async def test_an_interrupted_erasure_is_finished_even_if_nothing_of_it_is_left(world: World) -> None:
    await world.put("r1", text=PIN)
    await erasure_that_ends_early(world, {"request_ids": ["r1"]})
    target = {"request_ids": ["r1"], "include_learnings": True, "erase": True}
    async with world.connect(CONFIRM="off") as caller:
        again = await caller.receipt("delete_requests", **target)
        last = await caller.call("delete_requests", **target)
    assert (again["status"], again["deleted"]) == ("complete", {})
    assert again["not_deleted"] == [{"why": "not_found", "count": 1, "ids": ["r1"]}]
    assert last["status"] == "not_found"


async def test_a_hold_keeps_what_an_interrupted_erasure_has_left_in_copies(
    world: World, tmp_path: Path
) -> None:
    await world.put("r1", text=PIN)
    await world.learn("p", "r1", content="PIN 4711", quote=PIN)
    async with world.connect(CONFIRM="off") as caller:
        first = await caller.receipt("delete_learnings", user_id="ada")
    await erasure_that_ends_early(world, {"request_ids": ["r1"]})
    policy = tmp_path / "policy.toml"
    policy.write_text('[[hold]]\nusers = ["ada"]\nreason = "a case"\n', encoding="utf-8")
    target = {"request_ids": ["r1"], "include_learnings": True, "erase": True}
    async with world.connect(CONFIRM="off", POLICY=str(policy)) as caller:
        assert (await caller.call("delete_requests", **target))["status"] == "held"
    async with world.connect(CONFIRM="off") as caller:
        assert (await caller.receipt("delete_requests", **target))["deleted"] == {"only_in_copies": 1}
        await caller.refused("restore_requests", deletion=first["number"])
