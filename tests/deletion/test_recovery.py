"""Recovery copies: written before the act, private, pruned, and put back with the original ids."""

import json
import stat
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from reflexio_mcp.render.result import whole
from reflexio_mcp.rest.errors import Unreachable
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.state.local.copy_folder import CopyFolder
from reflexio_mcp.state.recovery_copies import DAY
from tests.deletion.support import BY_IDS, READ, World, text_of

pytestmark = pytest.mark.anyio

ON: dict[str, str] = {"CONFIRM": "off", "RECOVERY_DAYS": "7"}
PUBLISH = "/api/publish_interaction"
TAKEN = (
    "Taken ids were not restored: what is stored under them now differs from the copy, or cannot be read here, and was "
    "left alone."
)


def copies(world: World) -> list[Path]:
    folder = world.folder / "copies"
    return sorted(folder.iterdir()) if folder.exists() else []


async def stored(world: World, request_id: str) -> dict[str, Any]:
    page = await world.rest.get_requests(RequestQuery(request_id=request_id))
    [item] = page.sessions[0].requests
    facts = item.model_dump()
    facts["request"].pop("created_at")
    facts["request"].pop("arrival")
    for turn in facts["interactions"]:
        turn.pop("interaction_id")
        turn.pop("created_at")
    return facts


async def test_what_was_deleted_comes_back_as_it_was(world: World, era: str) -> None:
    await world.put("r1", text="I like short answers \u202e \U0001f600", source="ide", agent_version="v2")
    await world.put("r2", evaluation_only=True)
    before = [await stored(world, one) for one in ("r1", "r2")]
    async with world.connect(era, **ON) as caller:
        receipt = await caller.result("delete_session", session_id="s")
        assert receipt.structured_content
        copy_id = receipt.structured_content["copy_id"]
        assert f"copy_id={copy_id}" in text_of(receipt)
        assert not await world.ids()
        listed = await caller.call("restore_requests")
        assert [(one["copy_id"], one["requests"]) for one in listed["copies"]] == [(copy_id, 2)]
        result = await caller.result("restore_requests", copy_id=copy_id)
    facts = result.structured_content
    assert facts
    assert facts["outcomes"] == {"restored": ["r1", "r2"]}
    assert facts["checked"] == "by reading again, word for word"
    assert f"(copy_id={copy_id}), checked by reading again, word for word." in text_of(result)
    assert facts["interactions"] == sum(len(one["interactions"]) for one in before)
    assert f"Restored 2 requests ({facts['interactions']} interactions) from" in text_of(result)
    # What was deleted is still in the copy, and for how long is said.
    assert facts["copy_kept_until"] == receipt.structured_content["copy_kept_until"]
    assert f"The recovery copy is kept until {facts['copy_kept_until']};" in text_of(result)
    assert copies(world)
    assert [await stored(world, one) for one in ("r1", "r2")] == before
    assert "Arrival times are new" in text_of(result)
    assert "base64" in text_of(result)
    assert "learned from again" in text_of(result)
    assert not [route for route in world.backend.calls if route.startswith("/embedded/")]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "Deletions are final."),
        ({"RECOVERY_DAYS": "1"}, "Deletions can be undone with restore_requests for 1 day."),
        ({"READ_ONLY": "1"}, ""),
    ],
)
async def test_whether_deletions_are_final_is_known_before_the_first_plan(
    world: World, variables: dict[str, str], said: str
) -> None:
    server = world.server(**variables)
    assert server.instructions
    assert ("eletion" in server.instructions) == bool(said)
    assert said in server.instructions
    async with world.connect("2026-07-28", server=server) as caller:
        result = await caller.result("get_status")
    assert result.structured_content
    undo = result.structured_content["policy"].get("undo", "")
    assert bool(undo) == bool(said)
    assert said in undo
    assert undo in text_of(result)


async def test_what_is_not_seen_after_a_restore_is_left_to_do(world: World, era: str) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]

        def without_r1(asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            return {**answer, "sessions": []} if asked.get("request_id") == "r1" else answer

        async def begin() -> None:
            world.backend.rewriting[READ] = without_r1

        world.backend.before[PUBLISH] = [AsyncMock(), begin]
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"restored": ["r2"], "left": ["r1"]}
    assert facts["status"] == "incomplete"
    assert "Call again" in facts["next"]


async def test_what_reads_otherwise_than_it_was_put_back_is_named(world: World, era: str) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]

        def other_words(_: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            text = json.dumps(answer)
            for session in (changed := json.loads(text))["sessions"]:
                for item in session["requests"]:
                    if item["request"]["request_id"] == "r1":
                        item["interactions"][0]["content"] += " more"
            return changed

        async def begin() -> None:
            world.backend.rewriting[READ] = other_words

        world.backend.before[PUBLISH] = [begin]
        result = await caller.result("restore_requests", copy_id=copy_id)
    facts = result.structured_content
    assert facts
    assert facts["outcomes"] == {"restored": ["r1", "r2"]}
    assert (facts["status"], facts["checked"], facts["differs"]) == ("incomplete", "by reading again", ["r1"])
    text = text_of(result)
    assert "read back otherwise than in the copy (1): r1" in text
    assert "word for word" not in text


async def test_a_restore_that_cannot_be_read_again_says_so(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]

        async def begin() -> None:
            world.backend.failing[READ] = (0, 422)

        world.backend.before[PUBLISH] = [begin]
        result = await caller.result("restore_requests", copy_id=copy_id)
    assert result.structured_content
    assert result.structured_content["outcomes"] == {"restored": ["r1"]}
    assert not {"checked", "interactions"} & result.structured_content.keys()
    assert "they could not be read again. Look with get_request." in text_of(result)
    assert "checked by reading again" not in text_of(result)


async def test_what_is_there_is_never_overwritten_and_a_repeat_goes_on(world: World, era: str) -> None:
    await world.put("r1", text="old")
    await world.put("r2")
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        await world.put("r1", text="new")
        facts = await caller.call("restore_requests", copy_id=copy_id)
        assert facts["outcomes"] == {"id_taken": ["r1"], "restored": ["r2"]}
        assert facts["status"] == "incomplete"
        again = await caller.call("restore_requests", copy_id=copy_id)
    assert again["outcomes"] == {"id_taken": ["r1"], "already_there": ["r2"]}
    assert again["status"] == "nothing_restored"
    assert again["next"] == TAKEN
    assert (await stored(world, "r1"))["interactions"][0]["content"] == "new"


@pytest.mark.parametrize("put", [{"user": "bob"}, {"text": "other"}, {"session": "another"}])
@pytest.mark.parametrize("meanwhile", [False, True])
async def test_another_request_under_the_id_is_not_said_to_be_the_one_of_the_copy(
    world: World, era: str, put: dict[str, str], meanwhile: bool
) -> None:
    await world.put("r1")
    async with world.connect(era, **ON, REFLEXIO_USER_ID="ada") as caller:
        copy_id = (await caller.call("delete_request", request_id="r1"))["copy_id"]
        if meanwhile:  # after it was looked for
            world.backend.before[PUBLISH] = [lambda: world.put("r1", **put), AsyncMock()]
        else:
            await world.put("r1", **put)
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"id_taken": ["r1"]}
    assert facts["next"] == TAKEN


async def test_what_is_stored_again_meanwhile_is_there(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_request", request_id="r1"))["copy_id"]
        world.backend.before[PUBLISH] = [lambda: world.put("r1"), AsyncMock()]
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"already_there": ["r1"]}
    assert facts["next"] == "All of it is already stored; look at it with get_request."


async def test_what_came_back_without_its_images_is_known_again(world: World, era: str) -> None:
    turns = [Interaction(content="look"), Interaction(image_encoding="iVBORw0KGgo=")]
    body = PublishBody(user_id="ada", session_id="s", request_id="r1", interaction_data_list=turns)
    await world.rest.publish(body, minted=False)
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_request", request_id="r1"))["copy_id"]
        facts = await caller.call("restore_requests", copy_id=copy_id)
        assert facts["interactions_lost"] == 1
        again = await caller.call("restore_requests", copy_id=copy_id)
    assert again["outcomes"] == {"already_there": ["r1"]}


async def test_some_of_a_copy_can_be_restored_for_evaluation_only(world: World, era: str) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        result = await caller.result(
            "restore_requests", copy_id=copy_id, request_ids=["r1", "never"], evaluation_only=True
        )
    assert result.structured_content
    assert result.structured_content["outcomes"] == {"restored": ["r1"], "not_in_copy": ["never"]}
    assert "learned from again" not in text_of(result)
    assert (await stored(world, "r1"))["request"]["evaluation_only"] is True
    assert await world.ids() == {"r1"}


async def test_the_copies_say_whose_they_are_and_ids_alone_name_none(world: World, era: str) -> None:
    await world.put("r1", session="one <<day>>")
    await world.put("r2", session="two")
    await world.put("r3", session="two", user="bob")
    async with world.connect(era, CONFIRM="off", RECOVERY_DAYS="1") as caller:
        one = (await caller.call("delete_session", session_id="one <<day>>"))["copy_id"]
        two = (await caller.call("delete_session", session_id="two"))["copy_id"]
        result = await caller.result("restore_requests")
        newest, older = whole(result.structured_content or {})["copies"]
        assert (newest["copy_id"], newest["of_session"], newest["requests"]) == (two, "two", 2)
        assert newest["of_user"] in ("ada", "bob")
        assert (older["copy_id"], older["of_user"]) == (one, "ada")
        assert f"copy_id={one} · 1 request of user ada, session one" in text_of(result)
        assert f"copy_id={two} · 2 requests (one: user {newest['of_user']}, session two)" in text_of(result)
        said = await caller.refused("restore_requests", request_ids=["r1"])
        assert "request_ids goes with copy_id; nothing was restored." in said
        assert await world.ids() == set()


async def test_a_restore_of_many_names_the_first_and_counts_them_all(world: World, era: str) -> None:
    stored = [f"a-request-whose-id-is-quite-long-{number:02}" for number in range(62)]
    for one in stored:
        await world.put(one)
    async with world.connect(era, CONFIRM="off", RECOVERY_DAYS="1") as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        done = await caller.result("restore_requests", copy_id=copy_id)
        facts = whole(done.structured_content or {})
        assert facts["counts"] == {"restored": 62}
        assert facts["outcomes"] == {"restored": stored[:5]}
        assert facts["ids_named"] == {"restored": "first 5 of 62"}
        assert "restored (first 5 of 62): " in text_of(done)
        again = await caller.call("restore_requests", copy_id=copy_id)
        assert again["outcomes"] == {"already_there": stored[:5]}
        # A list of nothing has no stored text to warn of.
        assert "notice" not in await caller.call("list_requests", user_id="nobody")
        assert "notice" in await caller.call("list_requests")


async def test_a_copy_is_private_and_complete_before_anything_goes(world: World, era: str) -> None:
    await world.put("r1", text="private words")
    seen: list[str] = []

    async def look() -> None:
        for path in copies(world):
            seen.append(path.read_text(encoding="utf-8"))
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    world.backend.before[BY_IDS] = [look]
    async with world.connect(era, **ON) as caller:
        await caller.call("delete_request", request_id="r1")
    assert len(seen) == 1
    assert "private words" in seen[0]


async def test_when_the_copy_cannot_be_written_nothing_is_deleted(world: World, era: str) -> None:
    await world.put("r1")
    (world.folder / "copies").write_text("a file where the folder should be", encoding="utf-8")
    async with world.connect(era, **ON) as caller:
        said = await caller.refused("delete_request", request_id="r1")
        assert said.startswith("Nothing was deleted: its recovery copy cannot be written")
        assert str(world.folder) not in said
        assert await world.ids() == {"r1"}
        assert (await caller.call("delete_request", request_id="r1", erase=True))["deleted"] == 1


async def test_erase_keeps_no_copy_and_takes_older_ones_along(world: World, era: str) -> None:
    await world.put("r1", text="words to erase")
    await world.put("r2")
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        await caller.call("restore_requests", copy_id=copy_id)
        facts = await caller.call("delete_request", request_id="r1", erase=True)
        assert "copy_id" not in facts
        assert facts["copies_changed"] == 1
        assert not any("words to erase" in path.read_text(encoding="utf-8") for path in copies(world))
        rest = await caller.call("restore_requests", copy_id=copy_id)
    assert rest["counts"] == {"already_there": 1}


async def test_a_copy_belongs_to_the_scope_it_was_made_in(world: World, era: str) -> None:
    await world.put("r1", user="ada")
    async with world.connect(era, **ON, REFLEXIO_USER_ID="ada") as caller:
        copy_id = (await caller.call("delete_request", request_id="r1"))["copy_id"]
    for other in ({"REFLEXIO_USER_ID": "bob"}, {}):
        async with world.connect(era, **ON, **other) as caller:
            assert (await caller.call("restore_requests"))["copies"] == []
            assert "No recovery copy" in await caller.refused("restore_requests", copy_id=copy_id)
    assert not await world.ids()


async def test_copies_go_when_their_days_are_over(world: World, era: str) -> None:
    await world.put("r1")
    server = world.server(**ON)
    async with world.connect(era, server=server) as caller:
        copy_id = (await caller.call("delete_request", request_id="r1"))["copy_id"]
        kept = server.runtime.state.copies
        assert isinstance(kept, CopyFolder)
        [copy] = kept.of(next(iter([server.runtime.codes(server.runtime.scopes.current()).scope])))
        kept._clock = lambda: copy.made_at + 7 * DAY - 1  # pyright: ignore[reportPrivateUsage]
        assert len((await caller.call("restore_requests"))["copies"]) == 1
        kept._clock = lambda: copy.made_at + 7 * DAY  # pyright: ignore[reportPrivateUsage]
        none = await caller.result("restore_requests")
        assert text_of(none).startswith("No recovery copy is here.")
        assert (none.structured_content or {})["copies"] == []
        assert "No recovery copy" in await caller.refused("restore_requests", copy_id=copy_id)
        kept.prune()
    assert not copies(world)


async def test_nothing_deleted_means_no_copy(world: World, era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.put("r1")
    # A refusal is no proof: a proxy can answer for a server that goes on.
    monkeypatch.setattr(world.rest, "delete_requests_by_ids", AsyncMock(side_effect=Unreachable("gone")))
    async with world.connect(era, **ON) as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["outcomes"] == {"still_present": ["r1"]}
    assert not copies(world)


async def test_a_rate_limit_ends_a_restore_with_what_is_left(world: World, era: str) -> None:
    for number in range(3):
        await world.put(f"r{number}")
    async with world.connect(era, **ON) as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        world.backend.failing["/api/publish_interaction"] = (1, 429)
        facts = await caller.call("restore_requests", copy_id=copy_id)
        assert facts["outcomes"] == {"restored": ["r0"], "left": ["r1", "r2"]}
        assert facts["status"] == "incomplete"
        assert "Call again" in facts["next"]
        world.backend.failing.clear()
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"already_there": ["r0"], "restored": ["r1", "r2"]}


@pytest.mark.parametrize("copy_id", ["../../etc/passwd", "x" * 5000, "%2e%2e", "*"])
async def test_a_copy_id_is_no_path(world: World, era: str, copy_id: str) -> None:
    async with world.connect(era, **ON) as caller:
        assert "No recovery copy" in await caller.refused("restore_requests", copy_id=copy_id)
