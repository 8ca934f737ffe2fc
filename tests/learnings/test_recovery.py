"""Recovery copies hold what was learned, and a restore brings it back."""

from pathlib import Path
from typing import Any

import pytest

from tests.deletion.support import BY_IDS, Known, Person, World, text_of

pytestmark = pytest.mark.anyio

ON = {"CONFIRM": "off", "RECOVERY_DAYS": "7"}
ADD_PROFILES, ADD_PLAYBOOKS = "/api/add_user_profile", "/api/add_user_playbook"
DELETE_PROFILES = "/api/delete_profiles_by_ids"


def copies(world: World) -> list[Path]:
    folder = world.folder / "copies"
    return sorted(folder.iterdir()) if folder.exists() else []


def words_in_copies(world: World) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in copies(world))


async def some(world: World) -> None:
    await world.put("a", text="I live in Lisbon")
    await world.put("b", text="Thank you")
    await world.learn("lisbon", "a", "b", content="Lives in Lisbon", quote="I live in Lisbon")
    await world.learn("tea", "a", content="Drinks tea", status="superseded")
    await world.learn(7, "a", content="Answer in Portuguese", trigger="When Lisbon comes up")


async def test_what_went_with_a_request_comes_back_and_names_the_restored_turns(
    world: World, era: str
) -> None:
    await some(world)
    before = dict(world.backend.profiles)
    [old_turn] = await world.interactions("a")
    options = {"CONFIRM": "preview", "RECOVERY_DAYS": "7"}
    wanted = {"request_id": "a", "include_learnings": True}
    async with world.connect(era, **options) as caller:
        plan = await caller.call("delete_request", **wanted)
        assert "for 7 days. It holds what was learned from them too. restore_requests" in plan["undo"]
        assert "too" not in (await caller.call("delete_request", request_id="a"))["undo"]
        done = await caller.call("delete_request", **wanted, confirm=plan["confirm"])
        assert "cannot" not in done["undo"]
        assert not world.backend.profiles
        assert not world.backend.playbooks
        listed = await caller.result("restore_requests")
        assert "1 request and 3 learnings (one: user ada, session s), of the deletion begun" in text_of(
            listed
        )
        result = await caller.result("restore_requests", copy_id=done["copy_id"])
        back = result.structured_content
        assert back
        again = await caller.call("restore_requests", copy_id=done["copy_id"])
        of_request = await caller.call("list_learnings", request_id="a")
    assert text_of(result).startswith("Restored 1 request (1 interaction) and 3 learnings from")
    assert back["status"] == "complete"
    assert back["learnings"] == {"restored": ["profile:lisbon", "profile:tea", "user_playbook:7"]}
    assert back["new_ids"] == {"user_playbook:7": "user_playbook:1001"}
    assert "A user playbook has a new id." in back["lost"]
    [turn, other] = await world.interactions("a", "b")
    assert turn != old_turn
    assert world.backend.profiles == {
        "lisbon": before["lisbon"]._replace(interactions=(turn, other)),
        "tea": before["tea"]._replace(interactions=(turn,)),
    }
    assert world.backend.playbooks[1001].trigger == "When Lisbon comes up"
    # Otherwise the next deletion would say that nothing was learned from it.
    assert of_request["total"] == 3
    assert again["learnings"] == {"already_there": ["profile:lisbon", "profile:tea", "user_playbook:7"]}
    assert again["status"] == "nothing_restored"
    assert len(world.backend.playbooks) == 1


async def test_learnings_that_went_alone_come_back(world: World, era: str) -> None:
    await some(world)
    before = (dict(world.backend.profiles), dict(world.backend.playbooks))
    async with world.connect(era, **ON) as caller:
        done = await caller.call("delete_learnings", user_id="ada")
        assert done["deleted"] == 3
        assert f"restore_requests with copy_id={done['copy_id']}" in done["undo"]
        back = await caller.call("restore_requests", copy_id=done["copy_id"])
    assert back["restored"] == 0
    assert back["learnings_restored"] == 3
    assert world.backend.profiles == before[0]
    assert list(world.backend.playbooks.values()) == list(before[1].values())
    assert "arrival times" not in back["lost"]


async def test_only_what_the_chosen_requests_fed_comes_back_with_them(world: World) -> None:
    await some(world)
    await world.learn("thanks", "b", content="Says thank you")
    async with world.connect(**ON) as caller:
        done = await caller.call("delete_session", session_id="s", include_learnings=True)
        back = await caller.call("restore_requests", copy_id=done["copy_id"], request_ids=["b"])
    assert back["outcomes"] == {"restored": ["b"]}
    assert back["learnings"] == {"restored": ["profile:lisbon", "profile:thanks"]}
    assert set(world.backend.profiles) == {"lisbon", "thanks"}


async def test_what_is_there_again_is_neither_overwritten_nor_stored_twice(world: World) -> None:
    await some(world)
    async with world.connect(**ON) as caller:
        done = await caller.call("delete_learnings", user_id="ada")
        await world.learn("lisbon", "a", content="Lives in Porto")
        await world.learn(900, "a", content="Answer in Portuguese", trigger="When Lisbon comes up")
        back = await caller.call("restore_requests", copy_id=done["copy_id"])
    assert back["learnings"] == {
        "id_taken": ["profile:lisbon"],
        "already_there": ["user_playbook:7"],
        "restored": ["profile:tea"],
    }
    assert back["status"] == "incomplete"
    assert back["next"].startswith("Taken ids were not restored: what is stored under them now differs")
    assert world.backend.profiles["lisbon"].content == "Lives in Porto"
    assert set(world.backend.playbooks) == {900}


async def test_what_came_up_after_the_copy_was_made_is_said_to_be_final(world: World) -> None:
    await some(world)
    turns = await world.interactions("a")

    async def merged() -> None:
        world.backend.profiles["both"] = Known("ada", "a", turns, content="Lives in Lisbon and drinks tea")

    world.backend.before["/api/delete_requests_by_ids"] = [merged]
    async with world.connect(**ON) as caller:
        done = await caller.call("delete_request", request_id="a", include_learnings=True)
        assert not world.backend.profiles
        assert done["not_copied"] == 1
        assert (
            "1 learning that came up while it was made is not in the copy; that part cannot be undone"
            in done["undo"]
        )
        await caller.call("restore_requests", copy_id=done["copy_id"])
    assert set(world.backend.profiles) == {"lisbon", "tea"}


@pytest.mark.parametrize(
    ("route", "status"), [(ADD_PROFILES, 500), (ADD_PLAYBOOKS, 503), (ADD_PLAYBOOKS, 429)]
)
async def test_a_failure_leaves_what_a_repeat_brings_back(world: World, route: str, status: int) -> None:
    await some(world)
    async with world.connect(**ON) as caller:
        done = await caller.call("delete_learnings", user_id="ada")
        world.backend.failing[route] = (0, status)
        back = await caller.call("restore_requests", copy_id=done["copy_id"])
        assert back["status"] == "incomplete"
        assert "user_playbook:7" in back["learnings"]["left"]
        assert "Call again" in back["next"]
        world.backend.failing.clear()
        await caller.call("restore_requests", copy_id=done["copy_id"])
    assert set(world.backend.profiles) == {"lisbon", "tea"}
    assert len(world.backend.playbooks) == 1


async def test_many_come_back_in_parts_with_progress_and_none_twice(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.toolkit.progress.EVERY_SECONDS", 0.0)
    await world.put("a")
    for number in range(45):
        await world.learn(f"p{number}", "a", content=f"Fact {number}")
    # A rerun leaves the same text several times.
    for number in range(1, 46):
        await world.learn(number, "a", content=f"Rule {number % 3}", status="archived")
    told: list[str] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_learnings", user_id="ada"))["copy_id"]
        world.backend.failing[ADD_PLAYBOOKS] = (1, 503)
        back = await caller.call("restore_requests", copy_id=copy_id)
        assert back["status"] == "incomplete"
        stored = len(world.backend.profiles) + len(world.backend.playbooks)
        assert 45 < stored < 90
        assert back["learnings_restored"] == stored
        assert f"learnings left ({90 - stored})" in text_of(
            await caller.result("restore_requests", copy_id=copy_id)
        ).replace(",", "")
        world.backend.failing.clear()
        again = await caller.client.call_tool(
            "restore_requests", {"copy_id": copy_id}, progress_callback=tell
        )
        assert again.structured_content
        assert again.structured_content["status"] == "complete"
        assert again.structured_content["learnings_restored"] == 90 - stored
        last = await caller.call("restore_requests", copy_id=copy_id)
    assert last["next"] == "All of it is already stored; look at it with list_learnings."
    assert len(world.backend.profiles) == len(world.backend.playbooks) == 45
    assert f"learnings restored: {90 - stored} of {90 - stored}" in told


async def test_a_copy_that_could_not_be_erased_is_not_said_to_be_none(world: World) -> None:
    await some(world)
    async with world.connect(**ON) as caller:
        copy_id = (await caller.call("delete_learnings", user_id="ada"))["copy_id"]
        await caller.call("restore_requests", copy_id=copy_id)
        [path] = copies(world)
        path.write_text(path.read_text(encoding="utf-8") + "not a line of a copy\n", encoding="utf-8")
        done = await caller.call("delete_request", request_id="a", include_learnings=True, erase=True)
    assert done["deleted"] == 1
    assert "some of it may still be in there" in done["problems"][0]
    assert "Ask the operator to check the files in REFLEXIO_MCP_RECOVERY_DIR" in done["problems"][0]
    assert "undo" not in done


async def test_a_reply_that_is_lost_is_no_reason_to_store_it_twice(world: World) -> None:
    await some(world)

    def stored_and_lost(asked: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
        world.backend.add_user_playbook(asked)
        return {"success": False, "message": "the reply was lost"}

    async with world.connect(**ON) as caller:
        done = await caller.call("delete_learnings", user_id="ada")
        world.backend.rewriting[ADD_PLAYBOOKS] = stored_and_lost
        back = await caller.call("restore_requests", copy_id=done["copy_id"])
        # It was seen when it was read again.
        assert back["learnings_restored"] == 3
        world.backend.rewriting.clear()
        await caller.call("restore_requests", copy_id=done["copy_id"])
    assert len(world.backend.playbooks) == 1


async def test_no_copy_is_left_where_no_learning_can_have_gone(world: World) -> None:
    await some(world)
    async with world.connect(**ON) as caller:
        assert (await caller.call("delete_learnings", user_id="bob"))["status"] == "not_found"
    assert not copies(world)
    (world.folder / "copies").write_text("a file where the folder should be", encoding="utf-8")
    async with world.connect(**ON) as caller:
        said = await caller.refused("delete_learnings", user_id="ada")
        assert said.startswith("Nothing was deleted: its recovery copy cannot be written")
        assert len(world.backend.profiles) == 2
        assert (await caller.call("delete_learnings", user_id="ada", erase=True))["deleted"] == 3


async def test_erase_keeps_no_copy_of_learnings_and_takes_older_ones_along(world: World, era: str) -> None:
    await some(world)
    async with world.connect(era, **ON) as caller:
        done = await caller.call("delete_learnings", user_id="ada")
        await caller.call("restore_requests", copy_id=done["copy_id"])
        assert "Lives in Lisbon" in words_in_copies(world)
        gone = await caller.call("delete_learnings", user_id="ada", erase=True)
    assert gone["deleted"] == 3
    assert gone["copies_changed"] == 1
    assert gone["undo"] == "This cannot be undone: no recovery copy was kept of it."
    assert not copies(world)


async def test_learnings_that_only_copies_hold_are_found_and_erased(world: World, era: str) -> None:
    await some(world)
    options = {"CONFIRM": "preview", "RECOVERY_DAYS": "7"}
    wanted = {"user_id": "ada", "contains": "lisbon"}
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_learnings", user_id="ada"))["copy_id"]
        missing = await caller.result("delete_learnings", user_id="ada", learning_ids=["profile:lisbon"])
        assert copy_id in text_of(missing)
        assert "erase=true" in text_of(missing)
    async with world.connect(era, **options) as caller:
        plan = await caller.call("delete_learnings", **wanted, erase=True)
        assert plan["plan"]["learnings"] == plan["plan"]["only_in_copies"] == 2
        gone = await caller.result("delete_learnings", **wanted, erase=True, confirm=plan["confirm"])
        assert "2 learnings that only recovery copies held are erased from them." in text_of(gone)
        back = await caller.call("restore_requests", copy_id=copy_id)
    assert back["learnings"] == {"restored": ["profile:tea"]}
    assert "Lisbon" not in words_in_copies(world)


async def test_erasing_a_request_takes_what_it_fed_out_of_the_copies(world: World) -> None:
    await some(world)
    async with world.connect(**ON) as caller:
        await caller.call("delete_learnings", user_id="ada")
        await caller.call("delete_request", request_id="b")
        gone = await caller.call("delete_request", request_id="b", erase=True)
        # The window of one learning held it; the others were fed by another request.
        assert gone["copies_changed"] == 2
        assert "Lives in Lisbon" not in words_in_copies(world)
        assert "Drinks tea" in words_in_copies(world)
        assert (await caller.call("delete_request", request_id="a", erase=True))["deleted"] == 1
    assert not copies(world)


async def test_no_words_of_learnings_in_copies_stand_in_what_is_noted_of_a_deletion(
    world: World, data_folder: Path
) -> None:
    await some(world)
    noted: list[bytes] = []

    def read() -> None:
        noted.extend(one.read_bytes() for one in data_folder.rglob("state.db*"))

    async def look() -> None:
        read()

    async with world.connect(**ON) as caller:
        await caller.call("delete_learnings", user_id="ada")
        world.backend.before[BY_IDS] = [look]
        assert (await caller.call("delete_request", request_id="a", erase=True))["deleted"] == 1
    assert noted
    assert not any(b"Drinks tea" in one or b"Lisbon" in one for one in noted)


async def test_everything_of_a_user_includes_what_only_copies_hold(world: World) -> None:
    await some(world)
    await world.put("c", user="bob")
    await world.learn("coffee", "c", user="bob", content="Drinks coffee")
    everything = {"user_id": "ada", "include_learnings": True, "erase": True}
    async with world.connect(**ON) as caller:
        for user in ("ada", "bob"):
            await caller.call("delete_learnings", user_id=user)
        done = await caller.result("delete_requests", **everything)
        assert "3 learnings that only recovery copies held are erased from them." in text_of(done)
        assert done.structured_content
        assert done.structured_content["status"] == "complete"
        assert (await caller.call("delete_requests", **everything))["status"] == "not_found"
    assert "Drinks coffee" in words_in_copies(world)
    assert "ada" not in words_in_copies(world)


async def test_a_copy_of_before_says_that_it_holds_no_learnings(world: World) -> None:
    await some(world)
    async with world.connect(**ON) as caller:
        done = await caller.call("delete_request", request_id="b")
        back = await caller.call("restore_requests", copy_id=done["copy_id"])
    assert "This copy holds no learnings" in back["lost"]
    assert "learnings" not in back


async def test_what_is_restored_for_evaluation_only_is_not_said_to_teach_it_again(world: World) -> None:
    await some(world)
    person = Person(lambda _: "decline")
    options = {"RECOVERY_DAYS": "7"}
    async with world.connect(CONFIRM="off", **options) as caller:
        done = await caller.call("delete_request", request_id="a", include_learnings=True)
        await caller.call("restore_requests", copy_id=done["copy_id"], evaluation_only=True)
    async with world.connect(person=person, **options) as caller:
        await caller.call("delete_learnings", user_id="ada", learning_ids=["profile:tea"])
        await caller.call("delete_learnings", user_id="ada", learning_ids=["profile:lisbon"])
    assert "Reflexio names 1 stored request, which stays, as a source of it.\n" in person.seen[0]
    # What it quotes stands in `a` alone.
    assert "Reflexio names 2 stored requests, which stay, as sources of it.\n" in person.seen[1]
    async with world.connect(CONFIRM="preview", **options) as caller:
        of_request = await caller.call("delete_learnings", request_id="a")
        assert "if one of those says the same and is not for evaluation only, they" in of_request["survives"]
        done = await caller.confirmed("delete_learnings", user_id="ada", learning_ids=["profile:tea"])
    assert "names 1 stored request, which stays, as a source of it. Agent playbooks" in done["survives"]
    assert "again" not in done["survives"]


async def test_erasing_everything_takes_copies_of_before_along_where_none_are_made_any_more(
    world: World,
) -> None:
    await some(world)
    everything = {"user_id": "ada", "include_learnings": True, "erase": True}
    async with world.connect(**ON) as caller:
        await caller.call("delete_request", request_id="a", include_learnings=True)
    assert "Lisbon" in words_in_copies(world)
    async with world.connect(CONFIRM="off") as caller:
        done = await caller.call("delete_requests", **everything)
    assert done["counts"] == {"deleted": 1, "erased_from_copies": 1}
    assert done["learnings_erased_from_copies"] == 3
    assert not copies(world)
