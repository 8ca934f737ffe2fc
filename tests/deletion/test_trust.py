"""What a plan, a form and a receipt say of secrets, finality and completeness."""

import re
from typing import Any

import pytest

from reflexio_mcp.render import deletion
from reflexio_mcp.render.result import whole
from reflexio_mcp.traffic.deletion import plan as plan_module
from tests.deletion.support import Person, World, text_of

pytestmark = pytest.mark.anyio

AWS = "AKIAQ7XKDPLM3ZTW5R2N"  # gitleaks:allow


async def test_the_secret_that_shall_go_is_not_repeated_in_the_plan_or_the_form(
    world: World, era: str
) -> None:
    await world.put("r1", text=f"here it is: {AWS}")
    await world.put("r2", text=f"{'long before ' * 6} {AWS}")
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        result = await caller.result("delete_session", session_id="s")
    said = person.seen[0] + text_of(result) + str(result.structured_content)
    assert "here it is: [redacted: " in person.seen[0]
    assert "here it is: [redacted: " in text_of(result)
    assert AWS[:6] not in said


@pytest.mark.parametrize("days", ["0", "7"])
async def test_plan_and_receipt_say_whether_a_deletion_is_final(world: World, era: str, days: str) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect(era, RECOVERY_DAYS=days) as caller:
        plan = await caller.call("delete_request", request_id="r1")
        done = await caller.call("delete_request", request_id="r1", confirm=plan["confirm"])
        options = {"erase": True} if days != "0" else {}
        without = await caller.call("delete_request", request_id="r2", erase=True)
        erased = await caller.confirmed("delete_request", request_id="r2", **options)
        status = await caller.call("get_status")
    if days == "0":
        assert plan["undo"] == "This cannot be undone. This server keeps no recovery copies."
        assert done["undo"].startswith("This cannot be undone:")
        assert status["policy"]["undo"] == "Deletions are final."
    else:
        assert plan["undo"] == (
            "A recovery copy is kept on this machine for 7 days. restore_requests puts it back, with a new time; "
            "images sent as base64 and citations would not come back, and no answer says whether there are any."
        )
        assert done["copy_kept_until"]
        assert status["policy"]["recovery_days"] == 7
    assert without["undo"].startswith("This cannot be undone. ")
    kept = "No recovery copy is kept, and none of an earlier deletion is here."
    assert without["undo"].endswith(kept if days == "0" else "No recovery copy is kept.")
    assert erased["undo"].startswith("This cannot be undone:")
    assert done["checked"] == "by reading again"


async def test_what_is_not_shown_is_counted_and_can_be_listed(world: World, era: str) -> None:
    names = [f"request-of-the-day-{number}" for number in range(30)]
    for one in names:
        await world.put(one)
    async with world.connect(era) as caller:
        result = await caller.result("delete_session", session_id="s", user_id="ada")
        plan = result.structured_content
        assert plan
        assert len(plan["plan"]["examples"]) == 5
        assert "first 5 of 30" in text_of(result)
        tool, _, arguments = plan["plan"]["all"].partition(" ")
        assert tool == "list_requests"
        assert arguments == '{"user_id":"ada","session_id":"s"}'
        done = await caller.result("delete_session", session_id="s", user_id="ada", confirm=plan["confirm"])
    newest = names[:-6:-1]
    assert f"deleted (first 5 of 30): {', '.join(newest)}\n" in text_of(done)
    assert done.structured_content
    assert done.structured_content["counts"] == {"deleted": 30}
    assert done.structured_content["outcomes"] == {"deleted": newest}
    assert done.structured_content["ids_named"] == {"deleted": "first 5 of 30"}


async def test_a_receipt_names_all_ids_where_they_are_short(world: World, era: str) -> None:
    names = [f"r{number}" for number in range(30)]
    for one in names:
        await world.put(one)
    async with world.connect(era, CONFIRM="off") as caller:
        done = await caller.result("delete_session", session_id="s")
    assert done.structured_content
    assert done.structured_content["outcomes"] == {"deleted": names[::-1]}
    assert not {"ids_named", "other_ids"} & done.structured_content.keys()
    assert f"deleted (30): {', '.join(names[::-1])}\n" in text_of(done)


async def test_a_plan_and_its_receipt_agree_whether_it_can_be_undone(world: World, era: str) -> None:
    ways: list[tuple[str, dict[str, Any]]] = [
        ("delete_session", {"session_id": "s"}),
        ("delete_requests", {"source": "ide"}),
        ("delete_requests", {"user_id": "ada", "include_learnings": True}),
        ("delete_requests", {"user_id": "ada", "include_learnings": True, "erase": True}),
        ("delete_learnings", {"learning_ids": ["profile:p1"], "user_id": "ada"}),
        ("delete_request", {"request_id": "r1", "erase": True}),
    ]
    for days in ("0", "7"):
        for tool, arguments in ways:
            await world.put("r1", source="ide")
            await world.learn("p1", "r1")
            async with world.connect(era, RECOVERY_DAYS=days) as caller:
                plan = await caller.call(tool, **arguments)
                done = await caller.call(tool, **arguments, confirm=plan["confirm"])
                if await world.ids():
                    await caller.confirmed("delete_requests", everything=True, erase=True)
            world.backend.profiles.clear()
            final = [one["undo"].startswith("This cannot be undone") for one in (plan, done)]
            assert final[0] == final[1] == ("copy_id" not in done), (tool, arguments, days)


async def test_the_call_that_confirms_selects_by_the_times_that_the_plan_was_made_with(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [world.clock.now]
    monkeypatch.setattr("reflexio_mcp.traffic.reading.filters.time.time", lambda: now[0])
    await world.put("r1")
    await world.put("r2")
    now[0] = world.clock.now + 3600
    async with world.connect(era) as caller:
        wanted = {"user_id": "ada", "start_time": "60m"}
        plan = await caller.call("delete_requests", **wanted)
        assert plan["plan"]["requests"] == 1
        now[0] += 600
        # As the same age means another time by now, nothing would be left of the set.
        again = re.search(r"start_time=(\S+)\)", plan["next"])
        assert again
        done = await caller.call(
            "delete_requests", **wanted | {"start_time": again[1]}, confirm=plan["confirm"]
        )
    assert done["outcomes"] == {"deleted": ["r2"]}


async def test_a_plan_for_duplicates_names_the_copy_that_stays(world: World, era: str) -> None:
    text = "Please remember that the quarterly meeting is on Monday at nine in the large room."
    for name in ("first", "second", "third"):
        await world.put(name, text=text)
    person = Person(lambda _: "decline")
    async with world.connect(era) as caller:
        result = await caller.result("delete_requests", user_id="ada", finding="duplicate")
    async with world.connect(era, person) as caller:
        await caller.result("delete_requests", user_id="ada", finding="duplicate")
    plan = whole(result.structured_content)["plan"]
    assert {one["request_id"]: one["word_for_word_in_kept"] for one in plan["examples"]} == {
        "second": "first",
        "third": "first",
    }
    assert text_of(result).count("word for word in first, which stays") == 2
    assert "What they repeat stays." in person.seen[0]


@pytest.mark.parametrize("fixed", [True, False])
async def test_a_plan_for_one_user_says_that_others_keep_their_part_of_the_session(
    world: World, era: str, fixed: bool
) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob")
    of_ada = {} if fixed else {"user_id": "ada"}
    async with world.connect(era, **({"REFLEXIO_USER_ID": "ada"} if fixed else {})) as caller:
        plan = await caller.call("delete_session", session_id="s", **of_ada)
        done = await caller.call("delete_session", session_id="s", **of_ada, confirm=plan["confirm"])
    # Whoever is confined to one user is not told whether there are others.
    stays = (
        "What other users may have in this session stays."
        if fixed
        else "1 request of other users in this session stays."
    )
    assert stays in plan["survives"]
    assert stays in done["survives"]
    assert await world.ids() == {"r2"}


@pytest.mark.parametrize("tool", ["delete_session", "delete_requests"])
async def test_a_plan_for_one_user_says_when_nobody_else_is_in_the_session(
    world: World, era: str, tool: str
) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob", session="elsewhere")
    async with world.connect(era) as caller:
        plan = await caller.call(tool, session_id="s", user_id="ada")
    assert plan["survives"].endswith("Nobody else has a request in this session.")
    # The code stands beside it.
    assert plan["next"].endswith("with the same arguments and confirm")


async def test_a_plan_for_everything_of_one_user_says_that_others_keep_what_names_the_user(
    world: World, era: str
) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob", text="ada said so")
    shares = "in shared sessions too (theirs: 1 request in s), and also where it speaks of this user."
    stays = f"What other users stored stays, {shares}"
    async with world.connect(era) as caller:
        part = await caller.call("delete_requests", user_id="ada", request_ids=["r1"])
        plan = await caller.call("delete_requests", user_id="ada", everything=True)
        done = await caller.call("delete_requests", user_id="ada", everything=True, confirm=plan["confirm"])
    assert stays not in part["survives"]
    assert stays in plan["survives"]
    assert stays in done["survives"]
    assert await world.ids() == {"r2"}


async def test_a_plan_for_everything_of_one_user_names_the_sessions_that_others_share(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for session in ("s", "t"):
        await world.put(f"ada-{session}", user="ada", session=session)
    await world.put("elsewhere", user="bob", session="u")
    said = "What other users stored stays"
    async with world.connect(era) as caller:

        async def survives(**more: object) -> str:
            plan = await caller.call("delete_requests", user_id="ada", **more)
            return said + plan["survives"].rpartition(said)[2].partition(" Look for that")[0]

        assert await survives() == deletion.NOT_SHARED
        await world.put("bob-t", user="bob", session="t")
        shares = (
            f"{said}, in shared sessions too (theirs: 1 request in t), and also where it speaks of this user."
        )
        assert await survives() == shares
        # What cannot be read may stand in sessions that others share, or be theirs.
        for unreadable in ("ada-s", "bob-t"):
            world.backend.unreturned = {unreadable}
            assert await survives() == shares.replace(" (theirs: 1 request in t)", "")
        world.backend.unreturned = set()
        monkeypatch.setattr(plan_module, "SESSIONS_OF_OTHERS", 1)
        assert await survives() == shares.replace(" (theirs: 1 request in t)", "")
        monkeypatch.setattr(plan_module, "SESSIONS_OF_OTHERS", 2)
        monkeypatch.setattr(plan_module, "SECONDS_FOR_OTHERS", 0)
        assert await survives() == shares.replace(" (theirs: 1 request in t)", "")


async def test_a_plan_by_words_says_how_much_of_the_same_conversations_stays(world: World, era: str) -> None:
    await world.put("r1", text="A flight to Lisbon")
    await world.put("r2", text="And a hotel")
    await world.put("r3", text="With a pool")
    await world.put("r4", session="dog", text="My dog")
    async with world.connect(era) as caller:
        plan = await caller.call("delete_requests", contains="lisbon", everything=True)
        done = await caller.call(
            "delete_requests", contains="lisbon", everything=True, confirm=plan["confirm"]
        )
        rest = await caller.call("delete_requests", contains="a", user_id="ada")
    said = "2 other requests of the same sessions do not match and stay; delete_session takes a whole conversation."
    assert said in plan["survives"]
    assert said in done["survives"]
    assert "not match" not in rest["survives"]
    assert await world.ids() == {"r2", "r3", "r4"}


async def test_a_fixed_user_is_in_no_call_to_list_the_set(world: World, era: str) -> None:
    for number in range(6):
        await world.put(f"r{number}")
    async with world.connect(era, REFLEXIO_USER_ID="ada") as caller:
        plan = await caller.call("delete_session", session_id="s")
    assert plan["plan"]["all"] == 'list_requests {"session_id":"s"}'


async def test_ids_can_be_given_with_the_user_they_must_belong_to(world: World, era: str) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob")
    wanted: dict[str, Any] = {"request_ids": ["r1", "r2"]}
    async with world.connect(era, CONFIRM="off") as caller:
        facts = await caller.call("delete_requests", **wanted, user_id="ada")
        more: list[dict[str, Any]] = [
            {"source": "ide"}, {"session_id": "s"}, {"agent_version": "1"}, {"start_time": "1d"}, {"end_time": "1d"},
            {"contains": "words"}, {"finding": "duplicate"}, {"everything": True},
        ]  # fmt: skip
        for one in more:
            said = await caller.refused("delete_requests", **wanted, user_id="ada", **one)
            assert said == "request_ids goes with user_id and no other filter. Nothing was deleted."
    assert facts["outcomes"] == {"deleted": ["r1"], "not_found": ["r2"]}
    assert await world.ids() == {"r2"}


async def test_an_id_of_somebody_else_is_not_called_missing_from_the_store(world: World, era: str) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob")
    async with world.connect(era) as caller:
        result = await caller.result("delete_requests", request_ids=["r1", "r2"], user_id="ada")
        assert "not found among those of user ada (1): r2" in text_of(result)
        assert result.structured_content
        assert result.structured_content["plan"]["not_found_of"] == "ada"
        assert "not found (1): r3" in text_of(
            await caller.result("delete_requests", request_ids=["r1", "r3"])
        )
