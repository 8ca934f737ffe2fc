"""Plan codes: what one says of itself is believed only when it was made here."""

from pathlib import Path

import pytest

from reflexio_mcp.traffic.deletion.plan_codes import MARKS_KEPT, PLANS_KEPT, CodeMaker, PlansSeen
from tests.deletion.support import World, text_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "forged",
    ["1-0-AAAAAAAAAAAAAAAAAAAAAAAA", "7-tp1618-RHIVI3CO2P7LOR4YRHIVI3CO", "1-abc-AAAAAAAAAAAAAAAA", "yes"],
)
async def test_a_forged_code_is_not_described(world: World, era: str, forged: str) -> None:
    await world.put("r1")
    async with world.connect(era) as caller:
        result = await caller.result("delete_request", request_id="r1", confirm=forged)
    facts = result.structured_content
    assert facts
    assert facts["status"] == "changed"
    assert "changed" not in facts
    assert "The code is of" not in text_of(result)
    assert "1970" not in text_of(result)
    assert text_of(result).startswith("Nothing was deleted: confirm is not a code that was given out here.")
    assert facts["why"].startswith("Nothing was deleted: confirm is not a code that was given out here.")


async def test_the_number_and_moment_of_a_real_code_cannot_be_altered(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era, REFLEXIO_API_KEY="key") as caller:
        count, made_at, seals = (await caller.call("delete_request", request_id="r1"))["confirm"].split("-")
    await world.put("r1b")
    async with world.connect(era, REFLEXIO_API_KEY="key") as caller:
        for altered in (f"9-{made_at}-{seals}", f"{count}-{made_at}0-{seals}"):
            facts = await caller.call("delete_request", request_id="r1", confirm=altered)
            assert "changed" not in facts
        facts = await caller.call(
            "delete_requests", request_ids=["r1", "r1b"], confirm=f"{count}-{made_at}-{seals}"
        )
    assert facts["changed"]["code_for"] == 1


async def test_what_a_code_was_for_is_counted_and_not_called_what_it_was_not(world: World, era: str) -> None:
    await world.put("r1")
    [turn] = await world.interactions("r1")
    async with world.connect(era, REFLEXIO_API_KEY="key") as caller:
        code = (await caller.call("delete_request", request_id="r1", interaction_ids=[turn]))["confirm"]
    async with world.connect(era, REFLEXIO_API_KEY="key") as caller:
        said = text_of(await caller.result("delete_request", request_id="r1", confirm=code))
    assert " and for a set of 1. Now it is 1 request; what else differs is not known here." in said


def test_a_code_that_is_made_again_counts_once() -> None:
    seen = PlansSeen()
    big = dict.fromkeys(map(str, range(MARKS_KEPT // 2)), "mark")
    for _ in range(10):
        seen.remember("me", "big", big)
    seen.remember("me", "small", {"a": "mark"})
    assert seen.recall("me", "big") == big
    assert seen.recall("me", "small") == {"a": "mark"}


def test_many_small_plans_are_not_remembered_for_ever() -> None:
    seen = PlansSeen()
    for number in range(PLANS_KEPT + 1):
        seen.remember("me", str(number), {"a": "mark"})
    assert seen.recall("me", "0") is None
    assert seen.recall("me", "1") == {"a": "mark"}


def test_a_code_is_one_of_its_key_and_scope_alone() -> None:
    codes = CodeMaker(b"key", "scope")
    made = codes.make({"r": "mark"}, flags="", now=1)
    assert codes.read(made) is not None
    assert CodeMaker(b"key", "other").read(made) is None
    assert CodeMaker(b"other", "scope").read(made) is None


async def test_a_code_holds_in_every_process_of_this_user(
    world: World, era: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some hosts start a process for each call."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
    await world.put("r1")
    async with world.connect(era) as planning:
        code = (await planning.call("delete_request", request_id="r1"))["confirm"]
    async with world.connect(era) as another:
        facts = await another.call("delete_request", request_id="r1", confirm=code)
    assert facts["outcomes"] == {"deleted": ["r1"]}


async def test_where_no_key_can_be_kept_it_is_said_what_to_set(
    world: World, era: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
    await world.put("r1")
    async with world.connect(era, DELETE_CAP="0") as planning:
        first = await planning.call("delete_request", request_id="r1")
    async with world.connect(era, DELETE_CAP="0") as another:
        facts = await another.call("delete_request", request_id="r1", confirm=first["confirm"])
    assert "REFLEXIO_MCP_STATE_KEYS" not in first["next"]
    assert facts["status"] == "changed"
    assert "REFLEXIO_MCP_STATE_KEYS" in facts["next"]
    # A new code would meet the same end.
    assert "confirm" not in facts
    assert "confirm=" not in facts["next"]
    assert await world.ids() == {"r1"}
    async with world.connect(era, DELETE_CAP="0") as kept:
        assert (await kept.call("delete_request", request_id="r1", confirm="nonsense"))["status"] == "changed"
        assert (await kept.call("delete_request", request_id="r1"))["confirm"]


async def test_what_has_changed_is_counted_and_the_first_of_it_named(world: World, era: str) -> None:
    for number in range(8):
        await world.put(f"old-{number}")
    await world.put("stays")
    async with world.connect(era) as caller:
        code = (await caller.call("delete_session", session_id="s"))["confirm"]
        for number in range(8):
            await world.rest.delete_request(f"old-{number}")
            await world.put(f"new-{number}")
        result = await caller.result("delete_session", session_id="s", confirm=code)
        assert result.structured_content
        changed = result.structured_content["changed"]
        assert (changed["added_count"], changed["removed_count"]) == (8, 8)
        assert (len(changed["added"]), len(changed["removed"])) == (5, 5)
        assert "added (first 5 of 8)" in text_of(result)
        await world.put("elsewhere", session="t")
        other = await caller.result("delete_session", session_id="t", confirm=code)
        assert other.structured_content
        changed = other.structured_content["changed"]
        assert (changed["added_count"], changed["removed_count"]) == (1, 9)
        assert (changed["added"], changed["removed"]) == ([], [])
        assert "old-" not in text_of(other)


async def test_the_code_of_one_set_is_not_said_to_be_out_of_date_for_another(world: World, era: str) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect(era) as caller:
        code = (await caller.call("delete_request", request_id="r1"))["confirm"]
        other = text_of(await caller.result("delete_request", request_id="r2", confirm=code))
        larger = text_of(await caller.result("delete_requests", request_ids=["r1", "r2"], confirm=code))
    assert other.startswith("Nothing was deleted: confirm was given for another set.")
    assert "added (" not in other
    assert larger.startswith("Nothing was deleted: confirm does not fit, the set has changed since.")


async def test_a_code_for_other_options_is_not_said_to_be_of_another_set(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era, RECOVERY_DAYS="7") as caller:
        code = (await caller.call("delete_request", request_id="r1"))["confirm"]
        result = await caller.result("delete_request", request_id="r1", erase=True, confirm=code)
    assert "differ" not in text_of(result)
    assert "for a set of 1." in text_of(result)


async def test_one_id_that_is_not_stored_is_one_id(world: World, era: str) -> None:
    async with world.connect(era) as caller:
        result = await caller.result("delete_requests", request_ids=["nothing"])
    assert "1 request id\n" in text_of(result)
