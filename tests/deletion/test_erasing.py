"""`erase`: nothing of a request is left in recovery copies, also when a copy is all that is left, or is broken."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.render.deletion_facts import FINAL
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.deletion.support import BY_IDS, Person, World, agreeing, text_of
from tests.deletion.test_taken_ids import swap, thinking

pytestmark = pytest.mark.anyio

ON: dict[str, str] = {"CONFIRM": "off", "RECOVERY_DAYS": "7"}


def copies(world: World) -> list[Path]:
    return sorted((world.folder / "copies").iterdir())


async def only_in_copies(world: World, era: str) -> str:
    """r1 and r2 of ada deleted with a copy; returns its id."""
    await world.put("r1", text="words to erase", source="ide")
    await world.put("r2", text="other words")
    async with world.connect(era, **ON) as caller:
        return (await caller.call("delete_session", session_id="s"))["copy_id"]


async def test_what_only_a_copy_holds_is_shown_agreed_to_and_erased(world: World, era: str) -> None:
    await only_in_copies(world, era)
    wanted: dict[str, Any] = {"request_ids": ["r1", "nope"], "erase": True}
    async with world.connect(era, CONFIRM="preview", RECOVERY_DAYS="7") as caller:
        result = await caller.result("delete_requests", **wanted)
        plan = result.structured_content
        assert plan
        assert plan["status"] == "planned"
        assert plan["plan"]["only_in_copies"] == 1
        assert plan["plan"]["not_found"] == ["nope"]
        assert "only in recovery copies: 1" in text_of(result)
        assert "words to erase" in "".join(one.read_text(encoding="utf-8") for one in copies(world))
        done = await caller.result("delete_requests", **wanted, confirm=plan["confirm"])
    facts = done.structured_content
    assert facts
    assert facts["outcomes"] == {"erased_from_copies": ["r1"], "not_found": ["nope"]}
    assert facts["status"] == "complete"
    assert facts["deleted"] == 0
    assert text_of(done).startswith("Erased 1 request")
    [copy] = copies(world)
    assert "words to erase" not in copy.read_text(encoding="utf-8")
    assert "other words" in copy.read_text(encoding="utf-8")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert world.backend.calls[BY_IDS] == 1


@pytest.mark.parametrize("agrees", [True, False])
async def test_a_person_is_asked_before_a_copy_is_erased(world: World, era: str, agrees: bool) -> None:
    await only_in_copies(world, era)
    person = agreeing() if agrees else Person(lambda _: "decline")
    async with world.connect(era, person, RECOVERY_DAYS="7") as caller:
        facts = await caller.call("delete_request", request_id="r1", erase=True)
    assert "Only in recovery copies: 1" in person.seen[0]
    assert "cannot be undone" in person.seen[0]
    assert facts["status"] == ("complete" if agrees else "declined")
    held = "words to erase" in copies(world)[0].read_text(encoding="utf-8")
    assert held is not agrees


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("delete_session", {"session_id": "s"}), ("delete_requests", {"user_id": "ada"})],
)
async def test_a_filter_finds_what_only_copies_hold_beside_what_is_stored(
    world: World, era: str, tool: str, arguments: dict[str, Any]
) -> None:
    await only_in_copies(world, era)
    await world.put("r3")
    await world.put("theirs", user="bob", session="t")
    async with world.connect(era, **ON) as caller:
        await caller.call("delete_request", request_id="theirs")
        facts = await caller.call(tool, **arguments, erase=True)
    assert facts["outcomes"] == {"deleted": ["r3"], "erased_from_copies": ["r2", "r1"]}
    left = "".join(one.read_text(encoding="utf-8") for one in copies(world))
    assert "theirs" in left
    assert '"r1"' not in left


async def test_without_erase_the_way_to_erase_it_is_said(world: World, era: str) -> None:
    copy_id = await only_in_copies(world, era)
    async with world.connect(era, **ON) as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["status"] == "not_found"
    assert f"copy_id={copy_id}" in facts["next"]
    assert "erase=true" in facts["next"]
    assert len(copies(world)) == 1


async def test_where_no_copies_are_made_any_more_those_of_before_are_told_and_can_be_erased(
    world: World, era: str
) -> None:
    await only_in_copies(world, era)
    await world.put("r3", session="t")
    variables = {"REFLEXIO_MCP_CONFIRM": "off", "REFLEXIO_MCP_RECOVERY_DIR": str(world.folder / "copies")}
    embedded = ReflexioServer(load(variables), client=world.rest)
    # The store on this computer has copies of its own.
    assert "erase" in embedded._catalog["delete_requests"].parameters["properties"]  # type: ignore[reportPrivateUsage]
    async with world.connect(era, CONFIRM="off") as caller:
        status = await caller.call("get_status")
        assert "Recovery copies of earlier deletions are kept, the last until" in status["policy"]["undo"]
        missing = await caller.call("delete_session", session_id="s")
        assert missing["next"].startswith("A recovery copy still holds some of it until its days are over")
        assert missing["next"].endswith("erase=true to remove it from there.")
        receipt = await caller.call("delete_requests", user_id="ada")
        assert receipt["deleted"] == 1
        assert "may hold some of it; the same call with erase=true takes it out of them." in receipt["undo"]
        erased = await caller.call("delete_requests", user_id="ada", erase=True)
        assert erased["counts"] == {"erased_from_copies": 2}
        assert erased["undo"] == FINAL
        # Nothing is said of copies where there are none.
        status = await caller.call("get_status")
        assert status["policy"]["undo"] == "Deletions are final."
        await world.put("r4")
        assert (await caller.call("delete_request", request_id="r4"))["undo"] == FINAL
    assert not copies(world)


async def test_ids_of_one_user_erase_nothing_of_another_from_copies(world: World, era: str) -> None:
    await only_in_copies(world, era)
    async with world.connect(era, **ON) as caller:
        facts = await caller.call("delete_requests", request_ids=["r1"], user_id="bob", erase=True)
        assert facts["status"] == "not_found"
        assert (
            "copy_id" not in (await caller.call("delete_requests", request_ids=["r1"], user_id="bob"))["next"]
        )
    assert "words to erase" in copies(world)[0].read_text(encoding="utf-8")


async def test_a_deletion_that_failed_leaves_the_copies_for_a_repeat(world: World, era: str) -> None:
    await only_in_copies(world, era)
    await world.put("r3")
    world.backend.failing[BY_IDS] = (0, 403)
    async with world.connect(era, **ON) as caller:
        facts = await caller.call("delete_session", session_id="s", erase=True)
        assert facts["outcomes"] == {"still_present": ["r2", "r1"], "not_allowed": ["r3"]}
        world.backend.failing.clear()
        facts = await caller.call("delete_session", session_id="s", erase=True)
    assert facts["outcomes"] == {"deleted": ["r3"], "erased_from_copies": ["r2", "r1"]}


async def test_erasing_counts_towards_the_cap(world: World, era: str) -> None:
    await only_in_copies(world, era)
    # Two of the three went when the copy was made.
    async with world.connect(era, **ON, DELETE_CAP="3") as caller:
        assert "2 requests" in await caller.refused("delete_session", session_id="s", erase=True)
        assert (await caller.call("delete_request", request_id="r1", erase=True))["status"] == "complete"
        assert "1 request, and 3 an hour" in await caller.refused(
            "delete_request", request_id="r2", erase=True
        )


async def test_copies_give_up_an_id_that_another_request_has_taken_meanwhile(world: World) -> None:
    await only_in_copies(world, "legacy")
    await world.put("r1", text="stored again")
    person = thinking(swap(world, "r1", text="not agreed to"))
    async with world.connect("legacy", person, RECOVERY_DAYS="7") as caller:
        facts = await caller.call("delete_request", request_id="r1", erase=True)
    assert facts["outcomes"] == {"changed": ["r1"]}
    assert "words to erase" not in copies(world)[0].read_text(encoding="utf-8")
    assert await world.ids() == {"r1"}


def _as_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _as_link(path: Path) -> None:
    moved = path.with_name("elsewhere")
    path.rename(moved)
    path.symlink_to(moved)


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _as_bytes(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00 not JSON")


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 20)


def _append(text: str) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)

    return act


BROKEN: dict[str, Callable[[Path], None]] = {
    "another object": _append('{"x":1}\n'),
    "a list": _append("[]\n"),
    "a number": _append("7\n"),
    "nulls": _append('{"request": null, "interactions": null}\n'),
    "no JSON": _as_bytes,
    "truncated": _cut,
    "a directory": _as_directory,
    "a link": _as_link,
    "a pipe": _as_pipe,
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes in folders")
@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("how", BROKEN)
async def test_a_copy_that_cannot_be_read_is_said_and_ends_nothing(
    world: World, era: str, how: str, wait: bool
) -> None:
    copy_id = await only_in_copies(world, era)
    BROKEN[how](copies(world)[0])
    await world.put("r3")
    server = world.server(**ON)
    async with world.connect(era, server=server) as caller:
        facts = await caller.call("delete_request", request_id="r3", erase=True, wait_for_response=wait)
        if not wait:
            await server.runtime.jobs.drain()
            facts = (await caller.call("get_status"))["deletions"][0]["receipt"]
        assert facts["outcomes"] == {"deleted": ["r3"]}
        assert copy_id in facts["problems"][0]
        # The others are none the worse for it.
        missing = await caller.call("delete_request", request_id="r1", erase=True)
        assert missing["status"] == "not_found"
        assert f"cannot be read may still hold it (copy_id={copy_id})" in missing["next"]
        assert "cannot be read" in await caller.refused("restore_requests", copy_id=copy_id)
    assert not await world.ids()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no owners of this kind")
async def test_a_copy_that_somebody_else_put_there_is_not_believed(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_id = await only_in_copies(world, era)
    async with world.connect(era, **ON) as caller:
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
        assert "cannot be read" in await caller.refused("restore_requests", copy_id=copy_id)
    assert not await world.ids()


async def test_a_copy_that_cannot_be_written_anew_stays_as_it_is(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_id = await only_in_copies(world, era)
    before = copies(world)[0].read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    async with world.connect(era, **ON) as caller:
        monkeypatch.setattr(os, "fsync", full)
        facts = await caller.call("delete_request", request_id="r1", erase=True)
    assert facts["outcomes"] == {"still_present": ["r1"]}
    assert facts["status"] == "incomplete"
    assert copy_id in facts["problems"][0]
    assert [one.read_bytes() for one in copies(world)] == [before]


async def test_the_audit_log_says_what_was_erased_from_copies(world: World, era: str) -> None:
    await only_in_copies(world, era)
    log = world.folder / "log.jsonl"
    async with world.connect(era, **ON, AUDIT_LOG=str(log)) as caller:
        await caller.call("delete_request", request_id="r1", erase=True)
    begin, end = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    assert begin["only_in_copies"] == ["r1"]
    assert end["counts"] == {"erased_from_copies": 1}


REPEATED = "please remember that I like my answers short and to the point"


@pytest.mark.parametrize("stored", [set[str](), {"r1"}], ids=["both in copies", "the first is stored"])
async def test_a_rule_about_whole_sessions_finds_what_only_copies_hold(
    world: World, era: str, stored: set[str]
) -> None:
    await world.put("r1", text=REPEATED)
    await world.put("r2", text=REPEATED)
    async with world.connect(era, **ON) as caller:
        await caller.call("delete_requests", request_ids=sorted({"r1", "r2"} - stored))
        await world.put("r3", text="something else")
        facts = await caller.call("delete_requests", user_id="ada", finding="duplicate", erase=True)
    assert facts["outcomes"] == {"erased_from_copies": ["r2"]}
    assert await world.ids(session_id="s") == stored | {"r3"}
    assert '"r2"' not in "".join(one.read_text(encoding="utf-8") for one in copies(world))


async def test_what_others_delete_meanwhile_is_erased_from_the_copies_all_the_same(
    world: World, era: str
) -> None:
    copy_id = await only_in_copies(world, era)
    other = world.client()

    async def first() -> None:
        await other.delete_session("s")

    async with world.connect(era, **ON) as caller:
        await caller.call("restore_requests", copy_id=copy_id, request_ids=["r1"])
        world.backend.before[BY_IDS] = [first]
        facts = await caller.call("delete_request", request_id="r1", erase=True)
    assert facts["outcomes"] == {"deleted": ["r1"]}
    assert facts["deleted_by_others"] == 1
    assert facts["copies_changed"] == 1
    left = "".join(path.read_text(encoding="utf-8") for path in copies(world))
    assert "words to erase" not in left
    assert "other words" in left
    await other.aclose()
