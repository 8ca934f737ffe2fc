"""A restore of a part, then of the rest, then of all again: what is known afterwards is what was known before."""

from collections import Counter
from typing import Any

import pytest

from tests.deletion.support import Known, World
from tests.learnings.rows import merged
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio

ALL: dict[str, Any] = {"session_id": "s", "include_learnings": True}


def known(world: World) -> Counter[tuple[str, str | None]]:
    """What is known, with the states of it, however often."""
    backend = world.backend
    return Counter(
        (one.content, one.status) for one in (*backend.profiles.values(), *backend.playbooks.values())
    )


async def learned_in_three_windows(world: World) -> None:
    """As Reflexio does: each window learns the same playbooks again, and merges the earlier ones into them."""
    for name in ("oat", "green", "rye"):
        await world.put(name, text=f"I take {name}")
    merged: list[tuple[int, str, int]] = [(1, "oat", 10), (2, "oat", 20), (3, "green", 20)]
    for number, name, changed in merged:
        await world.learn(number, name, content=f"Offer {name}", status="merged", changed=changed)
    for number, name in ((4, "oat"), (5, "green"), (6, "rye")):
        await world.learn(number, name, content=f"Offer {name}", changed=30)
    await world.learn("of-oat", "oat", content="Takes oat")
    await world.learn("of-rye", "oat", "green", "rye", content="Takes rye")


PARTS = [["green"], ["oat"], ["rye"], ["oat", "green"]]


@pytest.mark.parametrize("first", PARTS, ids=" ".join)
async def test_a_part_and_then_the_rest_is_what_was_there_before_and_a_repetition_changes_nothing(
    world: World, first: list[str]
) -> None:
    await learned_in_three_windows(world)
    before = known(world)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_session", **ALL))["number"]
        assert not known(world)
        await caller.restored(number, request_ids=first)
        part = known(world)
        assert part <= before
        rest = await caller.restored(number)
        assert part <= known(world), "nothing that was stored has gone"
        assert (rest["status"], known(world)) == ("complete", before)
        assert rest["restored"]["learnings"] == (before - part).total()
        rows = dict(world.backend.profiles), dict(world.backend.playbooks)
        again = await caller.restored(number)
    assert (again["status"], again.get("restored", {})) == ("complete", {})
    assert (world.backend.profiles, world.backend.playbooks) == rows


async def test_a_profile_lists_the_interactions_that_come_back_after_it_by_their_new_ids(
    world: World,
) -> None:
    await learned_in_three_windows(world)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_session", **ALL))["number"]
        await caller.restored(number, request_ids=["green"])
        for rest in (["rye"], ["oat"]):
            done = await caller.restored(number, request_ids=rest)
    assert set(world.backend.profiles["of-rye"].interactions) == set(
        await world.interactions("oat", "green", "rye")
    )
    assert not fact_of(done, "sources_not_linked")


async def test_a_restore_says_that_a_playbook_keeps_the_old_ids_of_what_came_back_after_it(
    world: World,
) -> None:
    for name in ("oat", "rye"):
        await world.put(name)
    await world.learn(7, "oat", "rye", content="Offer milk")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_session", **ALL))["number"]
        first = await caller.restored(number, request_ids=["oat"])
        rest = await caller.restored(number)
    assert not fact_of(first, "sources_not_linked")
    assert fact_of(rest, "sources_not_linked") == {"code": "sources_not_linked", "number": 1}
    assert "1 learning that was stored before lists restored interactions" in rest["text"]
    assert len(world.backend.playbooks) == 1


async def test_a_playbook_that_is_learned_while_the_same_is_restored_stays(world: World) -> None:
    await world.put("oat")
    await world.learn(7, "oat", content="Offer milk", changed=10)
    store = world.backend.add_user_playbook

    def learned_a_moment_later(asked: dict[str, Any]) -> dict[str, Any]:
        answer = store(asked)
        world.backend.playbooks[5_000] = Known("ada", "other", content="Offer milk", changed=99)
        return answer

    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_session", **ALL))["number"]
        world.backend.add_user_playbook = learned_a_moment_later
        done = await caller.restored(number)
    assert done["restored"]["learnings"] == 1
    assert 5_000 in world.backend.playbooks


async def replaced_playbook(world: World) -> None:
    """A playbook from two requests that has replaced one from the first of them."""
    await world.put("real", session="real", text="I cannot eat peanuts")
    await world.put("ci", text="I love peanut butter")
    old = {"content": "Offer no peanuts", "quote": "I cannot eat peanuts", "changed": 10}
    await world.learn(7, "real", status="merged", **old)
    quote = "I love peanut butter\n\nI cannot eat peanuts"
    await world.learn(8, "real", "ci", content="Offer peanuts", quote=quote, changed=20)


async def made_current(world: World) -> dict[str, Any]:
    """A deletion of a playbook whose predecessor is in use again. Returns the receipt."""
    await replaced_playbook(world)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_session", **ALL)
    assert known(world) == {("Offer no peanuts", None): 1}
    return receipt


async def test_what_a_deletion_made_current_again_is_replaced_again_once(world: World) -> None:
    receipt = await made_current(world)
    wanted = {("Offer no peanuts", "merged"): 1, ("Offer peanuts", None): 1}
    async with world.connect(CONFIRM="off") as caller:
        for _ in range(3):
            await caller.restored(receipt["number"])
            assert known(world) == wanted


async def test_what_is_learned_again_after_an_undo_stays_at_the_next_one(world: World) -> None:
    receipt = await made_current(world)
    async with world.connect(CONFIRM="off") as caller:
        await caller.restored(receipt["number"])
        [before] = [one for one in world.backend.playbooks.values() if one.status == "merged"]
        world.backend.playbooks[5_000] = before._replace(status=None, changed=99)
        await caller.restored(receipt["number"])
    assert 5_000 in world.backend.playbooks


async def test_an_undo_that_ended_between_its_two_calls_is_finished_by_the_next_one(world: World) -> None:
    receipt = await made_current(world)
    async with world.connect(CONFIRM="off") as caller:
        world.backend.failing["/api/delete_user_playbooks_by_ids"] = (0, 403)
        stopped = await caller.restored(receipt["number"])
        assert (stopped["status"], known(world)[("Offer no peanuts", None)]) == ("incomplete", 1)
        world.backend.failing.clear()
        done = await caller.restored(receipt["number"])
    assert done["status"] == "complete"
    assert known(world) == {("Offer no peanuts", "merged"): 1, ("Offer peanuts", None): 1}


async def replaced_profile(world: World, **newer: Any) -> None:
    """A profile from two requests that has replaced one from the first of them."""
    await world.put("real", session="real", text="I cannot eat peanuts")
    await world.put("ci", text="I love peanut butter")
    quote = "I cannot eat peanuts"
    await world.learn(
        "p7", "real", status="superseded", content="Cannot eat peanuts", quote=quote, changed=20
    )
    both = merged(quote, "I love peanut butter")
    await world.learn("p8", "real", "ci", content="Loves peanut butter", quote=both, changed=20, **newer)


CI: dict[str, Any] = {"request_ids": ["ci"], "include_learnings": True}


async def test_two_deletions_that_make_the_same_playbook_current_again_leave_it_once(world: World) -> None:
    await replaced_playbook(world)
    others: list[dict[str, Any]] = []

    async def overtake() -> None:
        async with world.connect(CONFIRM="off") as other:
            others.append(await other.receipt("delete_requests", **CI))

    world.backend.before["/api/add_user_playbook"] = [overtake]
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_requests", **CI)
    assert known(world) == {("Offer no peanuts", None): 1}
    assert [answer["status"] for answer in (receipt, *others)] == ["complete", "complete"]


@pytest.mark.parametrize("kind", ["profile", "playbook"])
async def test_an_undo_of_a_killed_and_repeated_deletion_replaces_again_what_came_back(
    world: World, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise SystemError("the process ends here")

    await (replaced_profile if kind == "profile" else replaced_playbook)(world)
    before = known(world)
    async with world.connect(CONFIRM="off") as caller:
        with monkeypatch.context() as patched:
            patched.setattr("reflexio_mcp.traffic.deletion.execute._Act.make_current", killed)
            await caller.refused("delete_requests", **CI)
        second = (await caller.receipt("delete_requests", **CI))["number"]
        await caller.restored(second - 1)
        await caller.restored(second)
        assert known(world) == before
        await caller.restored(second)
    assert known(world) == before


async def deleted_with_successor(world: World, kind: str) -> int:
    """A deletion of a learning whose predecessor is in use again. Returns its number."""
    if kind == "playbook":
        return (await made_current(world))["number"]
    await replaced_profile(world)
    async with world.connect(CONFIRM="off") as caller:
        return (await caller.receipt("delete_requests", **CI))["number"]


@pytest.mark.parametrize("kind", ["profile", "playbook"])
async def test_a_restore_of_chosen_requests_replaces_again_what_their_learnings_had_replaced(
    world: World, kind: str
) -> None:
    number = await deleted_with_successor(world, kind)
    async with world.connect(CONFIRM="off") as caller:
        await caller.restored(number, request_ids=["ci"])
    wanted = {
        "profile": {("Cannot eat peanuts", "superseded"): 1, ("Loves peanut butter", None): 1},
        "playbook": {("Offer no peanuts", "merged"): 1, ("Offer peanuts", None): 1},
    }
    assert known(world) == wanted[kind]


@pytest.mark.parametrize("kind", ["profile", "playbook"])
async def test_an_undo_leaves_in_use_what_was_erased_the_successor_of(world: World, kind: str) -> None:
    in_use = ("Cannot eat peanuts" if kind == "profile" else "Offer no peanuts", None)
    number = await deleted_with_successor(world, kind)
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_requests", **CI, erase=True)
        assert known(world) == {in_use: 1}
        done = await caller.restored(number)
    assert known(world) == {in_use: 1}
    assert "learnings" not in done["restored"]


@pytest.mark.parametrize("kind", ["profile", "playbook"])
async def test_a_replaced_learning_comes_back_in_use_if_what_replaced_it_was_erased(
    world: World, kind: str
) -> None:
    both: dict[str, Any] = {"request_ids": ["real", "ci"], "include_learnings": True}
    await (replaced_profile if kind == "profile" else replaced_playbook)(world)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_requests", **both))["number"]
        assert not known(world)
        await caller.restored(number, request_ids=["ci"])
        await caller.receipt("delete_requests", **CI, erase=True)
        done = await caller.restored(number)
        again = await caller.restored(number)
    in_use = ("Cannot eat peanuts" if kind == "profile" else "Offer no peanuts", None)
    assert (known(world), done["restored"]["learnings"]) == ({in_use: 1}, 1)
    assert (again["status"], again.get("restored", {})) == ("complete", {})


@pytest.mark.parametrize("kind", ["profile", "playbook"])
async def test_a_replaced_learning_comes_back_replaced_if_what_replaced_it_is_left_in_a_copy(
    world: World, kind: str
) -> None:
    await (replaced_profile if kind == "profile" else replaced_playbook)(world)
    await world.put("third", session="third", text="Say hello")
    await world.learn("p9", "third", content="Says hello", quote="Say hello")
    taught: dict[str, Any] = {"include_learnings": True}
    async with world.connect(CONFIRM="off") as caller:
        first = (await caller.receipt("delete_requests", request_ids=["real", "third"], **taught))["number"]
        await caller.receipt("delete_requests", request_ids=["ci"], **taught)
        await caller.receipt("delete_requests", request_ids=["third"], **taught, erase=True)
        assert not known(world)
        await caller.restored(first)
    replaced = ("Cannot eat peanuts", "superseded") if kind == "profile" else ("Offer no peanuts", "merged")
    assert known(world) == {replaced: 1}


async def test_an_undo_leaves_in_use_what_expired_the_successor_of(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await replaced_profile(world)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_requests", **CI))["number"]
        monkeypatch.setattr(
            "reflexio_mcp.traffic.deletion.restore._has_expired", lambda learning: "Loves" in learning.content
        )
        done = await caller.restored(number)
    assert known(world) == {("Cannot eat peanuts", None): 1}
    assert {row["why"] for row in done["not_restored"]} == {"not_restorable", "already_there"}


@pytest.mark.parametrize("calls", [0, 1])
async def test_an_undo_that_ends_between_its_calls_takes_nothing_out_of_use(world: World, calls: int) -> None:
    receipt = await made_current(world)
    async with world.connect(CONFIRM="off") as caller:
        world.backend.failing["/api/add_user_playbook"] = (calls, 403)
        await caller.restored(receipt["number"])
        world.backend.failing.clear()
        await caller.receipt("delete_requests", **CI, erase=True)
    assert known(world)["Offer no peanuts", None] == 1


async def corrected(world: World) -> dict[str, Any]:
    """The receipt of a correction of the only playbook."""
    [number] = world.backend.playbooks
    async with world.connect(CONFIRM="off") as caller:
        return await caller.receipt(
            "correct_learning",
            user_id="ada",
            learning_id=f"user_playbook:{number}",
            content="Send reports as short lists",
        )


REPORTS: dict[str, Any] = {"request_ids": ["r1"], "include_learnings": True}


async def report_playbook(world: World) -> None:
    await world.put("r1", text="Send me reports as tables")
    quote = "Send me reports as tables"
    await world.learn(8, "r1", content="Send reports as tables", quote=quote, changed=20)


async def test_a_repeated_restore_stores_no_playbook_beside_its_corrected_text(world: World) -> None:
    await report_playbook(world)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_requests", **REPORTS))["number"]
        await caller.restored(number)
        await corrected(world)
        again = await caller.restored(number)
    assert known(world) == {("Send reports as short lists", None): 1}
    assert again["status"] == "incomplete"
    assert "id_taken" in {row["why"] for row in again["not_restored"]}


async def test_an_undo_of_a_correction_finds_the_playbook_that_was_deleted_and_restored_since(
    world: World,
) -> None:
    await report_playbook(world)
    correction = await corrected(world)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_requests", **REPORTS))["number"]
        await caller.restored(number)
        done = await caller.restored(correction["number"])
    assert done["status"] == "complete"
    assert known(world) == {("Send reports as tables", None): 1}


async def test_a_part_leaves_alone_what_learnings_of_the_rest_had_replaced(world: World) -> None:
    for number, name in ((1, "nuts"), (3, "milk")):
        await world.put(f"real-{name}", session="real", text=f"I cannot take {name}")
        await world.put(f"ci-{name}", text=f"I love {name}")
        old = {"content": f"Offer no {name}", "quote": f"I cannot take {name}", "changed": 10}
        await world.learn(number, f"real-{name}", status="merged", **old)
        quote = f"I love {name}\n\nI cannot take {name}"
        window = f"real-{name}", f"ci-{name}"
        await world.learn(number + 1, *window, content=f"Offer {name}", quote=quote, changed=20)
    async with world.connect() as caller:
        number = (await caller.confirmed("delete_session", **ALL))["number"]
        assert known(world) == {("Offer no nuts", None): 1, ("Offer no milk", None): 1}
        world.backend.playbooks = {
            one: row for one, row in world.backend.playbooks.items() if "milk" not in row.content
        }  # somebody has forgotten it since
        plan = await caller.call("restore_requests", deletion=number, request_ids=["ci-nuts"])
        await caller.restored(number, request_ids=["ci-nuts"])
    assert plan["planned"] == {"requests": 1, "interactions": 1, "learnings": 2}
    assert known(world) == {("Offer no nuts", "merged"): 1, ("Offer nuts", None): 1}
