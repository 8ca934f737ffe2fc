"""What goes on after a deletion that ended while Reflexio was still learning: in the background, to an end or not."""

import json
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from reflexio_mcp.traffic.deletion import execute, follow_up
from tests.deletion.support import BY_IDS, Caller, Known, World, text_of
from tests.support.real_learning import Corner
from tests.support.scripted_model import MERGE

pytestmark = pytest.mark.anyio

BUSY = {"status": "processing", "reason": "extracting"}
DONE = {"status": "done", "reason": "covered"}
PROFILES, DELETE_PROFILES = "/api/get_profiles", "/api/delete_profiles_by_ids"


@pytest.fixture
async def busy(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Ada's request `r` fed a profile; something is still being learned from her other one when the wait is over."""
    monkeypatch.setattr(execute, "LEARNING_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(follow_up, "FIRST_RETRY", 0.01)
    await world.put("r")
    await world.put("other", session="t")
    await world.learn("oat", "r", content="Takes oat milk")
    world.backend.learning = [BUSY, BUSY]
    return world


async def status_of(caller: Caller, state: str) -> dict[str, object]:
    """The follow-up in the status, once it has this state."""
    with anyio.fail_after(60):
        while True:
            facts = await caller.call("get_status")
            for one in facts.get("deletions", []):
                if one["state"] == state and "follow_up" in one:
                    return one
            await anyio.sleep(0.05)


async def test_what_a_merge_brought_back_goes_in_the_background(busy: World, era: str) -> None:
    turns = await busy.interactions("r", "other")

    async def merged() -> None:
        busy.backend.profiles["merged"] = Known("ada", "other", turns, content="Takes oat milk and sugar")

    busy.backend.learning = [BUSY] * 1000
    async with busy.connect(era, CONFIRM="off") as caller:
        result = await caller.result("delete_request", request_id="r", include_learnings=True)
        done = result.structured_content
        assert done
        assert done["status"] == "incomplete"
        assert "Reflexio is still learning from traffic of 1 user (extracting)" in done["survives"]
        assert f"get_status reports on it as follow-up {done['follow_up']}" in text_of(result)
        assert done["next"].startswith("Nothing has to be called again")
        busy.backend.before[PROFILES] = [merged]
        busy.backend.learning.clear()
        facts = await status_of(caller, "done")
    assert facts["number"] == done["follow_up"]
    assert "1 profile learned from conversations this was part of was deleted" in str(facts["follow_up"])
    assert not busy.backend.profiles
    assert await busy.ids() == {"other"}


async def test_only_what_was_agreed_to_goes(busy: World) -> None:
    await busy.learn("theirs", "other", content="Likes tea")
    async with busy.connect(CONFIRM="off") as caller:
        done = await caller.call("delete_request", request_id="r", include_learnings=True)
        assert done["follow_up"]
        facts = await status_of(caller, "done")
    assert "Nothing more was learned from it" in str(facts["follow_up"])
    assert set(busy.backend.profiles) == {"theirs"}


async def test_failures_of_the_service_are_tried_again(busy: World) -> None:
    busy.backend.learning = [BUSY] * 1000
    async with busy.connect(CONFIRM="off") as caller:
        await caller.call("delete_request", request_id="r", include_learnings=True)
        turns = await busy.interactions("other")
        busy.backend.profiles["again"] = Known("ada", "r", (1, *turns))
        busy.backend.failing[PROFILES] = (0, 422)
        before = busy.backend.calls[PROFILES]
        busy.backend.learning.clear()
        with anyio.fail_after(60):
            while busy.backend.calls[PROFILES] < before + 4:  # noqa: ASYNC110 - a follow-up tells nobody of its tries
                await anyio.sleep(0.05)
        assert (await caller.call("get_status"))["deletions"][0]["state"] == "running"
        busy.backend.failing.clear()
        await status_of(caller, "done")
    assert not busy.backend.profiles


async def test_what_went_before_a_failure_is_told_after_it(busy: World, tmp_path: Path) -> None:
    busy.backend.learning = [BUSY] * 1000
    log = tmp_path / "audit.jsonl"
    async with busy.connect(CONFIRM="off", AUDIT_LOG=str(log)) as caller:
        await caller.call("delete_request", request_id="r", include_learnings=True)
        turns = await busy.interactions("other")
        busy.backend.profiles["again"] = Known("ada", "r", (1, *turns))

        async def unreadable() -> None:
            busy.backend.failing[PROFILES] = (0, 422)

        busy.backend.before[DELETE_PROFILES] = [unreadable]
        before = busy.backend.calls[PROFILES]
        busy.backend.learning.clear()
        with anyio.fail_after(60):
            while busy.backend.calls[PROFILES] < before + 4:  # noqa: ASYNC110 - a follow-up tells nobody of its tries
                await anyio.sleep(0.05)
        assert not busy.backend.profiles
        busy.backend.failing.clear()
        facts = await status_of(caller, "done")
    assert "1 profile learned from conversations this was part of was deleted" in str(facts["follow_up"])
    assert "Nothing more" not in str(facts["follow_up"])
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["profile_ids"] == ["again"]


async def test_a_learning_that_does_not_say_its_source_leaves_it_unknown(busy: World) -> None:
    busy.backend.learning = [BUSY] * 1000
    async with busy.connect(CONFIRM="off") as caller:
        await caller.call("delete_request", request_id="r", include_learnings=True)
        busy.backend.profiles["manual"] = Known("ada", "manual_12345678", content="Takes oat milk")
        busy.backend.learning.clear()
        facts = await status_of(caller, "done")
    assert "Nothing more" not in str(facts["follow_up"])
    assert "Whether anything more was learned from it is not known." in str(facts["follow_up"])
    assert "1 more learning there does not say what it was learned from." in str(facts["follow_up"])


async def test_what_it_takes_counts_in_the_hour(busy: World, era: str) -> None:
    busy.backend.learning = [BUSY] * 1000
    async with busy.connect(era, CONFIRM="off", DELETE_CAP="3") as caller:
        await caller.call("delete_request", request_id="r", include_learnings=True)
        turns = await busy.interactions("other")
        busy.backend.profiles |= {name: Known("ada", "r", (1, *turns)) for name in ("again", "and-again")}
        busy.backend.learning.clear()
        await status_of(caller, "done")
        # A request, its learning, and two that came of what was being learned: one more than fit, and they went.
        assert not busy.backend.profiles
        said = await caller.refused("delete_request", request_id="other")
    assert "(0 left now)" in said
    assert await busy.ids() == {"other"}


async def test_what_came_up_during_a_deletion_counts_in_the_hour(world: World) -> None:
    for name in ("r", "other"):
        await world.put(name)
    await world.learn("oat", "r")

    async def merged() -> None:
        await world.learn("both", "r")

    world.backend.before[BY_IDS] = [merged]
    async with world.connect(CONFIRM="off", DELETE_CAP="3") as caller:
        await caller.call("delete_request", request_id="r", include_learnings=True)
        assert "(0 left now)" in await caller.refused("delete_request", request_id="other")


async def test_it_ends_with_the_server_and_a_later_one_says_so(busy: World, tmp_path: Path) -> None:
    busy.backend.learning = [BUSY] * 1000
    log = tmp_path / "audit.jsonl"
    options = {"CONFIRM": "off", "AUDIT_LOG": str(log)}
    async with busy.connect(**options) as caller:
        done = await caller.call("delete_request", request_id="r", include_learnings=True)
        assert done["follow_up"]
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert lines[-1]["outcome"] == "interrupted"
    assert lines[-2]["follow_up_of"] == ["r"]
    async with busy.connect(**options) as caller:
        result = await caller.result("get_status")
        facts = result.structured_content
        assert facts
        assert [(one["state"], one["what"]) for one in facts["deletions"]] == [("stopped", "request r")]
        assert "ended with its server before Reflexio had stopped learning" in text_of(result)


async def test_what_cannot_be_logged_does_not_go_on(busy: World, tmp_path: Path) -> None:
    busy.backend.learning = [BUSY] * 1000
    log = tmp_path / "audit.jsonl"

    async def breaks() -> None:
        log.unlink()
        log.mkdir()

    busy.backend.before[BY_IDS] = [breaks]
    async with busy.connect(CONFIRM="off", AUDIT_LOG=str(log)) as caller:
        done = await caller.call("delete_request", request_id="r", include_learnings=True)
        assert done["deleted"] == 1
        assert "audit log can no longer be written" in done["problems"][0]
        assert "follow_up" not in done
        status = await caller.call("get_status")
    assert status["deletions"] == []


async def test_chosen_learnings_have_no_follow_up(busy: World) -> None:
    async with busy.connect(CONFIRM="off") as caller:
        facts = await caller.call("delete_learnings", user_id="ada", learning_ids=["profile:oat"])
    assert facts["still_learning"] == 1
    assert "follow_up" not in facts


async def test_without_include_learnings_there_is_none(busy: World) -> None:
    async with busy.connect(CONFIRM="off") as caller:
        await caller.call("delete_request", request_id="r")
        assert (
            "deletions" not in await caller.call("get_status")
            or not (await caller.call("get_status"))["deletions"]
        )
    assert set(busy.backend.profiles) == {"oat"}


@pytest.mark.live
async def test_a_merge_that_outlasts_the_wait_is_followed_up(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execute, "LEARNING_WAIT_SECONDS", 1.0)
    corner.learn("oat milk", profile="Takes oat milk")
    corner.learn("two sugars", profile="Takes two sugars in the milk")
    corner.model.merges["milk"] = "Takes oat milk and two sugars"
    await corner.say("a", "I take oat milk", force_extraction=True)
    async with corner.connect() as caller:
        with corner.model.holding(MERGE):
            await corner.say("b", "And two sugars", session="t", force_extraction=True, wait=False)
            await anyio.to_thread.run_sync(corner.model.wait_for, MERGE, "Takes two sugars in the milk")
            done = await caller.call("delete_learnings", request_id=corner.name("a"))
            assert done["follow_up"]
            assert done["still_learning"] == 1
            assert not await corner.profiles()
        facts = await status_of(caller, "done")
    assert "deleted, checked by reading again" in str(facts["follow_up"])
    assert not [one.content for one in await corner.profiles() if "oat" in one.content]
