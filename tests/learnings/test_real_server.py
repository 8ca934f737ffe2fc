"""What was learned on the real server is found by its sources, deleted with them, and comes back with them."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from reflexio_mcp.cli import main
from tests.support.facts import fact_of
from tests.support.real_learning import Corner

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def test_what_was_learned_goes_with_its_request_and_comes_back_with_it(corner: Corner) -> None:
    corner.learn("oat milk", profile="Takes oat milk", quote="I take oat milk", playbook="Offer oat milk")
    await corner.say("a", "I take oat milk", force_extraction=True)
    [before], [playbook] = await corner.profiles(), await corner.playbooks()
    async with corner.connect(CONFIRM="preview") as caller:
        wanted = {"request_id": corner.name("a"), "include_learnings": True}
        plan = await caller.plan("delete_request", **wanted)
        assert plan["selected"] == {"requests": 1, "interactions": 1, "learnings": 2}
        receipt = await caller.receipt("delete_request", **wanted, confirm=plan["confirm"])
        assert (receipt["status"], receipt["deleted"]) == ("complete", plan["selected"])
        assert not [*await corner.profiles(), *await corner.playbooks()]
        done = await caller.restored(receipt["number"], evaluation_only=True)
        assert done["restored"] == plan["selected"]
    interactions = await corner.interactions("a")
    assert await corner.profiles() == [before.model_copy(update={"source_interaction_ids": interactions})]
    [again] = await corner.playbooks()
    assert again.user_playbook_id != playbook.user_playbook_id
    assert again.content == playbook.content


async def test_requests_that_come_back_in_two_steps_bring_what_was_known_and_a_repetition_changes_nothing(
    corner: Corner,
) -> None:
    for drink in ("oat milk", "green tea", "rye beer"):
        corner.learn(drink, profile=f"Takes {drink}", quote=f"I take {drink}", playbook=f"Offer {drink}")
        await corner.say(drink.split()[0], f"I take {drink}", force_extraction=True)

    async def known() -> Counter[tuple[str, str | None]]:
        rows = [*await corner.profiles(), *await corner.playbooks()]
        return Counter((row.content, row.status) for row in rows)

    before = await known()
    assert {text for text, status in before if status} >= {"Offer oat milk", "Offer green tea"}
    async with corner.connect() as caller:
        asked = {"session_id": corner.name("s"), "include_learnings": True}
        number = (await caller.receipt("delete_session", **asked))["number"]
        first = await caller.restored(number, request_ids=[corner.name("green")], evaluation_only=True)
        part = await known()
        assert part[("Offer green tea", None)] == 1
        rest = await caller.restored(number, evaluation_only=True)
        assert (first["status"], rest["status"], await known()) == ("complete", "complete", before)
        rows = [*await corner.profiles(), *await corner.playbooks()]
        again = await caller.restored(number, evaluation_only=True)
    assert (again["status"], again.get("restored", {})) == ("complete", {})
    assert [*await corner.profiles(), *await corner.playbooks()] == rows
    stored = set(await corner.interactions("oat", "green", "rye"))
    assert all(set(row.source_interaction_ids) <= stored for row in rows)


async def test_a_learning_deleted_alone_is_learned_again_and_with_the_request_that_its_plan_names_it_is_not(
    corner: Corner,
) -> None:
    corner.learn("soy milk", profile="Takes soy milk", quote="I take soy milk")
    await corner.say("a", "I take soy milk", force_extraction=True)
    [before] = await corner.profiles()
    async with corner.connect() as caller:
        asked = {"user_id": corner.name("ada"), "learning_ids": [f"profile:{before.profile_id}"]}
        receipt = await caller.receipt("delete_learnings", **asked)
        assert (fact_of(receipt, "sources_stay") or {})["names"] == [corner.name("a")]
        await corner.say("b", "What is the weather?", force_extraction=True)
        assert [one.content for one in await corner.profiles()] == [before.content]
        await caller.receipt("delete_requests", request_ids=[corner.name("a")], include_learnings=True)
        await corner.say("c", "And tomorrow?", force_extraction=True)
        assert not await corner.profiles()


async def test_a_question_to_people_outlives_the_erasure_of_a_person_and_the_receipt_says_so(
    corner: Corner,
) -> None:
    await corner.say("a", "I take tea", evaluation_only=True)
    (path,) = (corner.server.home / ".reflexio" / "data").glob("*.db")
    # As the server keeps it when its model has asked; it asks only if it is set up for that.
    row = {
        "id": corner.name("question"),
        "org_id": (await corner.rest.whoami()).org_id,
        "user_id": corner.name("ada"),
        "scope_hash": "",
        "tool_name": "ask_human",
        "dedup_key": corner.name("question"),
        "status": "resolved",
        "question_text": "Where does Ada live?",
        "result": '{"answer": "5 Elm Road"}',
        "expires_at": "2026-01-01T00:00:00+00:00",
        "cache_until": "2026-01-01T00:00:00+00:00",
    }
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        marks = ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO _pending_tool_calls ({', '.join(row)}) VALUES ({marks})", row)
        connection.commit()
    async with corner.connect() as caller:
        everything = {"user_id": corner.name("ada"), "include_learnings": True, "erase": True}
        receipt = await caller.receipt("delete_requests", **everything)
    assert receipt["status"] == "complete"
    assert "Reflexio's questions to people with their answers" in receipt["text"]
    kept = (await corner.ask("pending_tool_calls"))["pending_tool_calls"]
    assert [one["result"] for one in kept if one["user_id"] == corner.name("ada")] == [
        {"answer": "5 Elm Road"}
    ]


async def test_a_corrected_text_is_what_is_recalled_and_its_conversation_can_teach_the_old_one_again(
    corner: Corner,
) -> None:
    old, new = "Lives at 1 Oak Road", "Lives at 5 Elm Road"
    corner.learn("oak road", profile=old, quote="I live at 1 Oak Road", playbook="Ship to 1 Oak Road")
    await corner.say("a", "I live at 1 Oak Road", force_extraction=True)
    [before], [playbook] = await corner.profiles(), await corner.playbooks()
    texts = {
        f"profile:{before.profile_id}": new,
        f"user_playbook:{playbook.user_playbook_id}": "Ship to 5 Elm Road",
    }
    async with corner.connect() as caller:
        receipt: dict[str, Any] = {}
        for learning_id, content in texts.items():
            receipt = await caller.receipt(
                "correct_learning", user_id=corner.name("ada"), learning_id=learning_id, content=content
            )
            assert (receipt["status"], receipt["corrected"]) == ("complete", 1)
        assert "can learn the old text again" in receipt["text"]
        [after] = await corner.profiles()
        kept = {"content", "last_modified_timestamp"}
        assert after.content == new
        assert after.model_dump(exclude=kept) == before.model_dump(exclude=kept)
        found = await corner.ask("search", {"query": "where road", "user_id": corner.name("ada")})
        assert new in str(found)
        assert old not in [one["content"] for one in found["profiles"]]
        # The next window shows the old interaction again. A playbook keeps its correction through a merge.
        await corner.say("b", "What is the weather?", force_extraction=True)
        assert {one.content for one in await corner.profiles()} == {old, new}
        current = [one.content for one in await corner.playbooks() if one.status is None]
        assert current == ["Ship to 5 Elm Road"]


async def test_a_corrected_text_stays_once_its_conversation_is_deleted_and_its_copy_brings_the_old_one_back(
    corner: Corner,
) -> None:
    corner.learn("pine road", profile="Lives at 1 Pine Road", quote="I live at 1 Pine Road")
    await corner.say("a", "I live at 1 Pine Road", force_extraction=True)
    [before] = await corner.profiles()
    await corner.rest.delete_requests_by_ids([corner.name("a")])
    async with corner.connect() as caller:
        receipt = await caller.receipt(
            "correct_learning",
            user_id=corner.name("ada"),
            learning_id=f"profile:{before.profile_id}",
            content="Lives at 5 Elm Road",
        )
        assert not fact_of(receipt, "sources_stay")
        await corner.say("b", "What is the weather?", force_extraction=True)
        assert [one.content for one in await corner.profiles()] == ["Lives at 5 Elm Road"]
        assert (await caller.restored(receipt["number"]))["restored"] == {"learnings": 1}
        assert [one.content for one in await corner.profiles()] == [before.content]


async def test_the_command_corrects_a_learning(
    corner: Corner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("reflexio_mcp.backend.default_store", lambda: tmp_path / "store.db")
    corner.learn("fir road", profile="Lives at 1 Fir Road", quote="I live at 1 Fir Road")
    await corner.say("a", "I live at 1 Fir Road", force_extraction=True)
    [before] = await corner.profiles()
    words = [
        "correct",
        f"profile:{before.profile_id}",
        "Lives at 5 Elm Road",
        "--user-id",
        corner.name("ada"),
    ]
    code = await anyio.to_thread.run_sync(main, [*words, "--url", corner.server.url, "--yes"])
    said = capsys.readouterr().out
    assert (code, "Lives at 1 Fir Road" in said, "corrected: 1" in said) == (0, True, True), said
    assert [one.content for one in await corner.profiles()] == ["Lives at 5 Elm Road"]
