"""Recovery copies, wherever they are kept."""

import threading

import anyio
import anyio.to_thread
import pytest

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest, UserProfile
from reflexio_mcp.state.recovery_copies import DAY, UNFINISHED_SECONDS, CopiedLearning, RecoveryCopies
from tests.state.conftest import Engine


def request(request_id: str, *texts: str, first: int = 1) -> RequestWithInteractions:
    turns = [
        StoredInteraction.model_validate(
            {
                "interaction_id": first + index,
                "user_id": "ada",
                "request_id": request_id,
                "created_at": 1,
                "content": text,
            }
        )
        for index, text in enumerate(texts or ("said",))
    ]
    stored = StoredRequest.model_validate(
        {"request_id": request_id, "user_id": "ada", "session_id": "s", "created_at": first}
    )
    return RequestWithInteractions(request=stored, interactions=turns)


def profile(name: str) -> UserProfile:
    return UserProfile.model_validate(
        {"profile_id": name, "user_id": "ada", "content": f"learned {name}", "last_modified_timestamp": 1,
         "generated_from_request_id": "r1"}
    )  # fmt: skip


def nothing(_: CopiedLearning, __: object) -> bool:
    return False


def made(copies: RecoveryCopies, *ids: str, owner: str = "owner", learned: tuple[str, ...] = ()) -> str:
    writer = copies.begin(owner)
    writer.add([request(one, first=index + 1) for index, one in enumerate(ids)])
    writer.add_learnings(map(profile, learned))
    writer.finish()
    return writer.copy_id


def test_a_copy_is_seen_by_every_process_once_it_is_finished_and_by_its_owner_alone(engine: Engine) -> None:
    one, another = engine.copies(), engine.copies()
    writer = one.begin("owner")
    writer.add([request("r2", "hello", first=7), request("r1")])
    writer.add_learnings([profile("p")])
    assert not another.of("owner")
    writer.finish()
    writer.discard()
    [copy] = another.of("owner")
    assert (copy.copy_id, copy.requests, copy.learnings) == (writer.copy_id, 2, 1)
    assert (copy.made_at, copy.kept_until) == (int(engine.clock()), int(engine.clock()) + 7 * DAY)
    assert writer.kept_until == copy.kept_until
    places = another.contents(copy)
    assert list(places) == ["r1", "r2"]
    assert another.read_at(copy, places["r2"]) == request("r2", "hello", first=7)
    assert another.learnings_in(copy) == [profile("p")]
    assert another.find("owner", writer.copy_id) == copy
    assert another.find("somebody else", writer.copy_id) is None
    another.remove("somebody else", writer.copy_id)
    assert one.of("owner")
    another.remove("owner", writer.copy_id)
    assert not one.of("owner")


def test_copies_of_one_second_are_listed_as_they_were_made(engine: Engine) -> None:
    copies = engine.copies()
    engine.clock.now = float(int(engine.clock.now))
    ids: list[str] = []
    for number in range(12):
        engine.clock.now += 0.05
        ids.append(made(copies, f"r{number}"))
    listed = copies.of("owner")
    assert len({copy.made_at for copy in listed}) == 1
    assert [copy.copy_id for copy in listed] == ids[::-1]
    copies.forget("owner", ["r3"], nothing)
    assert [copy.copy_id for copy in copies.of("owner")] == [one for one in ids[::-1] if one != ids[3]]


def test_whose_a_copy_is_can_be_told_by_one_request_of_it(engine: Engine) -> None:
    copies = engine.copies()
    made(copies, "r1", "r2")
    [copy] = copies.of("owner")
    assert copies.first(copy) == request("r1")
    copies.remove("owner", copy.copy_id)
    assert copies.first(copy) is None


@pytest.mark.anyio
async def test_parts_of_a_copy_that_are_written_side_by_side_are_all_in_it(engine: Engine) -> None:
    copies = engine.copies()
    writer = copies.begin("owner")
    ready = threading.Barrier(8)

    def add(part: int) -> None:
        ready.wait(30)
        for number in range(5):
            writer.add([request(f"r{part}-{number}-{one}") for one in range(3)])

    async with anyio.create_task_group() as tasks:
        for part in range(8):
            tasks.start_soon(anyio.to_thread.run_sync, add, part)
    writer.finish()
    [copy] = copies.of("owner")
    assert copy.requests == 120
    assert set(copies.contents(copy)) == writer.ids


def test_what_is_discarded_or_was_left_behind_is_gone(engine: Engine) -> None:
    copies = engine.copies()
    writer = copies.begin("owner")
    writer.add([request("r1")])
    writer.discard()
    assert not copies.of("owner")
    if engine.is_local:
        return  # a file's age is that of the file: tests/deletion/test_copies_on_disk.py
    left = copies.begin("owner")
    left.add([request("r1")])
    engine.clock.now += UNFINISHED_SECONDS + 1
    copies.prune()
    with pytest.raises(OSError, match="took too long"):
        left.finish()
    assert not copies.of("owner")


def test_a_copy_goes_when_its_days_are_over(engine: Engine) -> None:
    copies = engine.copies()
    made(copies, "r1")
    engine.clock.now += 7 * DAY - 1
    copies.prune()
    assert len(copies.of("owner")) == 1
    engine.clock.now += 1
    assert not copies.of("owner")
    copies.prune()
    engine.clock.now -= DAY
    assert not copies.of("owner")


def test_a_request_is_found_once_in_the_newest_copy_that_holds_it(engine: Engine) -> None:
    copies = engine.copies()
    made(copies, "r1", "r2")
    engine.clock.now += 1
    newest = made(copies, "r2")
    made(copies, "r2", owner="somebody else")
    found = copies.holding("owner", ["r2", "never"])
    assert found.items == ("r2",)
    assert found.copies[0].copy_id == newest
    assert len(found.copies) == 2
    assert not found.unreadable


def test_what_is_forgotten_is_in_no_copy_any_more_and_an_empty_one_is_gone(engine: Engine) -> None:
    copies = engine.copies()
    made(copies, *(f"r{number}" for number in range(250)), learned=("p", "q"))
    engine.clock.now += 1
    made(copies, "r7")
    made(copies, "r7", owner="somebody else")

    def forgotten(row: CopiedLearning, turns: object) -> bool:
        assert turns == {1, 8, 250}  # of r0, r7 and r249, and of r7 in the second copy
        return isinstance(row, UserProfile) and row.profile_id == "q"

    changed, failed = copies.forget("owner", ["r0", "r7", "r249"], forgotten)
    assert (changed, failed) == (2, [])
    [copy] = engine.copies().of("owner")
    assert (copy.requests, copy.learnings) == (247, 1)
    assert copies.learnings_in(copy) == [profile("p")]
    assert not copies.holding("owner", ["r0", "r7", "r249"]).items
    assert copies.holding("owner", ["r1", "r248"]).items
    assert copies.holding("somebody else", ["r7"]).items
    assert copies.forget("owner", ["r0"], nothing) == (0, [])


def test_interactions_are_taken_out_of_a_copied_request(engine: Engine) -> None:
    copies = engine.copies()
    writer = copies.begin("owner")
    writer.add([request("r1", "stays", "goes"), request("r2", "goes")])
    writer.add_learnings([profile("p")])
    writer.finish()

    def forgotten(_: CopiedLearning, turns: object) -> bool:
        assert turns == {2}  # what the other turn taught stays
        return False

    changed, _ = copies.forget_turns("owner", "r1", lambda turn: turn.content == "goes", forgotten)
    assert changed == 1
    [copy] = copies.of("owner")
    places = copies.contents(copy)
    assert [turn.content for turn in copies.read_at(copy, places["r1"]).interactions] == ["stays"]
    assert [turn.content for turn in copies.read_at(copy, places["r2"]).interactions] == ["goes"]
