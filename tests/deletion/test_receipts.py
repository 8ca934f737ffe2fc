"""Receipts that do not contradict themselves, in answers and in the status."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from mcp.types import CallToolResult

from reflexio_mcp.render.jobs import AS_OF_THEN, NOT_HERE, jobs_shown
from reflexio_mcp.render.receipt_end import IN_AUDIT_LOG, NOWHERE
from reflexio_mcp.render.result import BUDGET
from reflexio_mcp.state.database import StateUnusable
from reflexio_mcp.state.job_records import TOLD_SECONDS, JobRecord, JobRecords
from reflexio_mcp.traffic.times import parse_time
from tests.deletion.support import BY_IDS, READ, Caller, Person, World, text_of
from tests.support.facts import missing_from_text

pytestmark = pytest.mark.anyio


async def three(world: World) -> None:
    for number in range(3):
        await world.put(f"r{number}")


async def test_nothing_is_called_checked_where_reading_again_failed(world: World, era: str) -> None:
    await three(world)

    async def blind() -> None:
        world.backend.failing[READ] = (0, 403)

    world.backend.before[BY_IDS] = [blind]
    async with world.connect(era, CONFIRM="off") as caller:
        result = await caller.result("delete_session", session_id="s")
    said = text_of(result)
    assert result.structured_content
    assert result.structured_content["counts"] == {"unknown": 3}
    assert "checked by reading again" not in said
    assert "Deleted 0 of 3" not in said
    assert said.startswith("Whether any of 3 requests was deleted is not known")


@pytest.mark.parametrize("status", [403, 500, 422])
async def test_what_is_still_there_is_not_called_unknown(world: World, era: str, status: int) -> None:
    await three(world)
    world.backend.failing[BY_IDS] = (0, status)
    async with world.connect(era, CONFIRM="off") as caller:
        result = await caller.result("delete_session", session_id="s")
    said = text_of(result)
    assert "checked by reading again" in said
    assert "not known" not in said
    assert "It stopped: Reflexio" in said
    # A key that may not delete may not do so the second time either.
    assert ("Call the same deletion again" in said) is (status != 403)
    assert ("sets a key that may delete them" in said) is (status == 403)


@pytest.mark.parametrize("logged", [False, True])
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("count", "whole"), [(6, True), (7, False)])
async def test_where_the_ids_are_that_a_receipt_does_not_name_is_said(
    world: World, era: str, count: int, whole: bool, kept: bool, logged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr(JobRecords, "end", unwritable)
    stored = [
        f"a-request-whose-id-is-too-long-for-seven-of-them-to-be-named-{number}" for number in range(count)
    ]
    for one in stored:
        await world.put(one)
    log = {"AUDIT_LOG": str(world.folder / "audit.log")} if logged else {}
    async with world.connect(era, CONFIRM="off", **log) as caller:
        result = await caller.result("delete_session", session_id="s")
    assert result.structured_content
    where = IN_AUDIT_LOG if logged else NOWHERE
    if kept:
        after = "; the audit log names those that were planned" if logged else ""
        where = f"get_status receipt=1 names all ids, for up to 7 days{after}."
    assert result.structured_content.get("other_ids") == (None if whole else where)
    assert (where in text_of(result)) is not whole
    if logged and not whole:
        told = (world.folder / "audit.log").read_text(encoding="utf-8")
        assert all(f'"{one}"' in told for one in stored)


@pytest.mark.parametrize("logged", [False, True])
async def test_of_ids_that_were_not_found_no_record_is_said_to_have_them(
    world: World, era: str, logged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobRecords, "end", unwritable)
    await world.put("r1")
    path = world.folder / "audit.log"
    log = {"AUDIT_LOG": str(path)} if logged else {}
    async with world.connect(era, CONFIRM="off", RECOVERY_DAYS="1", **log) as caller:
        asked = ["r1", *(f"nowhere-{number:03}" for number in range(300))]
        done = await caller.call("delete_requests", request_ids=asked)
        back = await caller.call("restore_requests", copy_id=done["copy_id"])
    which = "were planned." if logged else "restore_requests puts back are in list_requests then."
    assert done["other_ids"].lower().endswith(f"those of the other ids that {which}")
    assert "nowhere" not in (path.read_text(encoding="utf-8") if logged else json.dumps(back))


async def test_a_receipt_names_no_call_that_is_not_offered(world: World, era: str) -> None:
    for number in range(9):
        await world.put(f"a-request-whose-id-is-too-long-for-nine-of-them-to-be-named-{number}")
    server = world.server(CONFIRM="off", TOOLS="delete_session", AUDIT_LOG=str(world.folder / "audit.log"))
    async with world.connect(era, server=server) as caller:
        done = await caller.call("delete_session", session_id="s")
        owner = server.runtime.codes(server.runtime.scopes.current()).scope
        kept = server.runtime.state.jobs.ids_of(owner, 1)
    assert done["other_ids"] == IN_AUDIT_LOG
    assert kept is None


async def test_a_receipt_that_its_caller_has_does_not_come_back_as_one_that_nobody_has_read(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        await world.put(f"a-request-whose-id-is-too-long-for-nine-of-them-to-be-named-{number}")
    really, tries = JobRecords.end, iter([unwritable])
    monkeypatch.setattr(JobRecords, "end", lambda *given: next(tries, really)(*given))
    server = world.server(CONFIRM="off", AUDIT_LOG=str(world.folder / "audit.log"))
    async with world.connect(era, server=server) as caller:
        done = await caller.call("delete_session", session_id="s")
        assert "audit log" in done["other_ids"]
        await server.runtime.jobs.drain()
        assert not (await caller.call("get_status"))["deletions"]


def unwritable(*_: object) -> None:
    raise StateUnusable("the state file cannot be used", "look at it")


async def all_ids(caller: Caller, receipt: str) -> tuple[dict[str, list[str]], int]:
    """All ids of a receipt, by outcome, and in how many answers they came."""
    ids: dict[str, list[str]] = {}
    for answers in range(1, 100):
        facts = told(await caller.result("get_status", receipt=receipt))
        for outcome, named in facts["ids"].items():
            ids.setdefault(outcome, []).extend(named)
        if "next" not in facts:
            return ids, answers
        receipt = facts["next"].removeprefix("get_status receipt=")
    raise AssertionError("it does not end")


@pytest.mark.parametrize("wait", [True, False])
async def test_a_receipt_gives_all_of_its_ids_on_request(world: World, era: str, wait: bool) -> None:
    stored = [f"request-{number:03}-of-a-long-run" for number in range(640)]
    for one in stored:
        await world.put(one)
    server = world.server(CONFIRM="off")
    async with world.connect(era, server=server) as caller:
        asked = [*stored, "nowhere"]
        done = await caller.call("delete_requests", request_ids=asked, wait_for_response=wait)
        await server.runtime.jobs.drain()
        status = await caller.call("get_status")
        if not wait:
            [job] = status["deletions"]
            done = job["receipt"]
        else:
            # Its caller has the receipt: the status does not tell of it again.
            assert not status["deletions"]
        assert done["other_ids"] == "get_status receipt=1 names all ids, for up to 7 days."
        ids, answers = await all_ids(caller, "1")
    assert ids.keys() == {"deleted", "not_found"}
    assert sorted(ids["deleted"]) == stored
    assert ids["not_found"] == ["nowhere"]
    assert 1 < answers < 6


async def test_the_ids_of_learnings_and_turns_are_given_too(world: World, era: str) -> None:
    await three(world)
    for number in range(30):
        await world.learn(f"p{number}", "r1")
    async with world.connect(era, CONFIRM="off") as caller:
        done = await caller.call("delete_learnings", request_id="r1")
        assert done["other_ids"].startswith("get_status receipt=1 ")
        ids, _ = await all_ids(caller, "1")
        assert sorted(ids["deleted"]) == sorted(f"profile:p{number}" for number in range(30))
        # The next one is another deletion, and what was learned goes with its requests.
        stored = [
            f"a-request-whose-id-is-too-long-for-nine-of-them-to-be-named-{number}" for number in range(9)
        ]
        for one in stored:
            await world.put(one, session="next")
        await world.learn("of-1", stored[1])
        done = await caller.call("delete_session", session_id="next", include_learnings=True)
        assert done["other_ids"].startswith("get_status receipt=2 ")
        ids, _ = await all_ids(caller, "2")
    assert sorted(ids["deleted"]) == stored
    assert ids["learnings_deleted"] == ["profile:of-1"]


@pytest.mark.parametrize("there", [False, True])
async def test_of_one_request_with_many_learnings_the_ids_of_all_are_given(
    world: World, era: str, there: bool
) -> None:
    await world.put("r1")
    for number in range(80):
        await world.learn(f"p{number:02}", "r1")
    if there:
        world.backend.failing["/api/delete_profiles_by_ids"] = (0, 403)
    async with world.connect(era, CONFIRM="off") as caller:
        done = await caller.call("delete_request", request_id="r1", include_learnings=True)
        assert done["other_ids"].startswith("get_status receipt=1 names all ids")
        ids, _ = await all_ids(caller, "1")
    every = [f"profile:p{number:02}" for number in range(80)]
    assert ids == {"deleted": ["r1"], "learnings_still_there" if there else "learnings_deleted": every}


@pytest.mark.parametrize("erase", [False, True])
async def test_the_words_that_a_deletion_searched_for_are_nowhere_after_it(
    world: World, era: str, erase: bool, data_folder: Path
) -> None:
    for number in range(9):
        # No copy holds the word, so that no copy is where it is found.
        await world.put(f"a-request-whose-id-is-too-long-for-nine-of-them-{number}", text="the Canary sings")
    log = world.folder / "log.jsonl"
    server = world.server(CONFIRM="off", AUDIT_LOG=str(log))
    said = list[str]()

    async def begun() -> None:
        files = [path for path in data_folder.rglob("*") if path.is_file()]  # noqa: ASYNC240
        assert files
        assert not [path.name for path in files if b"canary" in path.read_bytes().lower()]

    world.backend.before[BY_IDS] = [begun]
    await world.learn("p1", "a-request-whose-id-is-too-long-for-nine-of-them-0", content="likes a canary")
    async with world.connect(era, server=server) as caller:
        await caller.call("delete_learnings", user_id="ada", contains="canary", wait_for_response=False)
        await server.runtime.jobs.drain()
        wanted = {"user_id": "ada", "contains": "canary", "erase": erase}
        await caller.call("delete_requests", **wanted, wait_for_response=False)
        await server.runtime.jobs.drain()
        said += [text_of(await caller.result("get_status"))]
        said += [text_of(await caller.result("get_status", receipt=number)) for number in (1, 2)]
        # What is still asked may say it.
        asked = await caller.result("delete_requests", user_id="ada", contains="canary")
    assert await world.ids() == set()
    assert "containing “canary”" in text_of(asked)
    assert all("containing words that are not kept" in one for one in said)
    assert "canary" not in "".join(said).lower()
    await begun()
    assert "canary" not in log.read_text(encoding="utf-8").lower()


async def test_the_ids_of_a_receipt_are_for_its_own_user_and_for_a_week(world: World, era: str) -> None:
    for number in range(9):
        await world.put(f"a-request-whose-id-is-too-long-for-nine-of-them-to-be-named-{number}")
    server = world.server(CONFIRM="off", REFLEXIO_USER_ID="ada")
    async with world.connect(era, server=server) as caller:
        await caller.call("delete_session", session_id="s")
        assert (await caller.call("get_status", receipt=1))["of"] == 9
        for wrong in ("0", "2", "1:10", "all", "1:", "9" * 30):
            assert (await caller.result("get_status", receipt=wrong)).is_error, wrong
        assert "1:10 is beyond its last id" in await caller.refused("get_status", receipt="1:10")
        server.runtime.state.jobs._database._clock = lambda: time.time() + TOLD_SECONDS + 1  # type: ignore[attr-defined]
        late = await caller.result("get_status", receipt="1")
    assert late.is_error
    assert "1: no such ids are kept for you" in text_of(late)


@pytest.mark.parametrize("claimed", [-5, 99])
async def test_a_count_that_cannot_be_is_no_count_of_anybody(world: World, era: str, claimed: int) -> None:
    await three(world)

    other = world.client()

    async def gone() -> None:
        await other.delete_session("s")

    async with world.connect(era, CONFIRM="off") as caller:
        world.backend.before[BY_IDS] = [gone]
        world.backend.delete_requests_by_ids = lambda asked: {"deleted_count": claimed}  # type: ignore[attr-defined]
        facts = await caller.call("delete_session", session_id="s")
    assert facts["counts"] == {"deleted": 3}
    assert "deleted_by_others" not in facts
    await other.aclose()


async def test_everything_beside_a_filter_is_the_filter(world: World, era: str) -> None:
    await world.put("r1", session="few", text="a needle")
    await world.put("r2", session="many")
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        await caller.call("delete_requests", session_id="few", everything=True)
        await caller.call("delete_requests", contains="needle", everything=True)
        await caller.call("delete_requests", everything=True)
    assert ["EVERYTHING" in one for one in person.seen] == [False, False, True]


async def test_the_status_has_the_newest_receipts_whole_in_both_forms(world: World, era: str) -> None:
    await three(world)
    server = world.server(CONFIRM="off", RECOVERY_DAYS="7")
    async with world.connect(era, server=server) as caller:
        await caller.call("delete_session", session_id="s", wait_for_response=False)
        await server.runtime.jobs.drain()
        world.backend.failing[BY_IDS] = (0, 403)
        await world.put("r9", session="t")
        await caller.call("delete_session", session_id="t", wait_for_response=False)
        await server.runtime.jobs.drain()
        result = await caller.result("get_status")
        newest, older = told(result)["deletions"]
        copies = (await caller.call("restore_requests"))["copies"]
    assert newest["receipt"]["outcomes"] == {"not_allowed": ["r9"]}
    assert newest["receipt"]["failure"]
    assert newest["receipt"]["next"]
    assert older["receipt"]["outcomes"] == {"deleted": ["r2", "r1", "r0"]}
    assert {job["receipt"]["copy_id"] for job in (newest, older)} == {one["copy_id"] for one in copies}
    assert older["receipt"]["survives"]


async def test_a_status_dates_its_receipts_and_offers_no_way_back_that_is_not_offered(
    world: World, era: str
) -> None:
    await three(world)
    server = world.server(CONFIRM="off", RECOVERY_DAYS="7")
    async with world.connect(era, server=server) as caller:
        await caller.call("delete_session", session_id="s", wait_for_response=False)
        await server.runtime.jobs.drain()
        status = await caller.result("get_status")
        [job] = told(status)["deletions"]
        copy_id = job["receipt"]["copy_id"]
        assert f"deletion 1, begun {job['began']}: done" in text_of(status)
        assert f"restore_requests with copy_id={copy_id}" in text_of(status)
        # What happens afterwards is not in it, which is said.
        await caller.call("restore_requests", copy_id=copy_id)
        assert told(await caller.result("get_status"))["deletions_as_of"] == AS_OF_THEN
    assert abs(parse_time("began", job["began"], now=0) - time.time()) < 60
    async with world.connect(era, CONFIRM="off") as caller:
        result = await caller.result("get_status")
        [job] = told(result)["deletions"]
    assert "restore_requests with" not in text_of(result)
    assert job["receipt"]["undo"].endswith(f" its recovery copy (copy_id={copy_id}) {NOT_HERE}")
    assert "kept" not in job
    until = told(result)["policy"]["undo"].removeprefix(
        "Deletions are final. Recovery copies of earlier deletions are kept, the last until "
    )
    assert job["receipt"]["undo"].startswith(f"Until {until.split(';')[0]} ")


@pytest.mark.parametrize("restores", [True, False])
def test_a_record_that_does_not_say_what_copy_is_kept_is_told_as_it_is(restores: bool) -> None:
    undo = "Until 2026-01-09T00:00:00Z it can be put back: restore_requests with copy_id=abcdef0123"
    facts = {"receipt": {"status": "complete", "undo": undo}}
    record = JobRecord(1, 1, "session s", False, "done", json.dumps([[[f", complete. {undo}"], facts]]))
    shown = jobs_shown([record], 5_000, restores=restores)
    assert shown.facts.get("deletions", [])[0]["receipt"] == facts["receipt"]
    assert f": done, complete. {undo}" in "\n".join(shown.lines)


def told(result: CallToolResult) -> dict[str, Any]:
    """The structured form, of which the text says everything, both within the budget."""
    assert result.structured_content
    assert not missing_from_text(result)
    assert len(text_of(result)) <= BUDGET
    assert len(json.dumps(result.structured_content, ensure_ascii=False)) <= BUDGET + 1_000
    return result.structured_content


async def test_a_status_of_many_deletions_stays_an_answer_and_counts_what_it_leaves_out(
    world: World, era: str
) -> None:
    server = world.server(CONFIRM="off")
    async with world.connect(era, server=server) as caller:
        for number in range(60):
            session = f"{number} {'long ' * 60}"
            for turn in range(2):
                await world.put(f"{'x' * 200}-{number}-{turn}", session=session)
            await caller.call("delete_session", session_id=session, wait_for_response=False)
            await server.runtime.jobs.drain()
        facts = told(await caller.result("get_status"))
    shown = facts["deletions"]
    assert [job["number"] for job in shown] == list(range(60, 60 - len(shown), -1))
    assert facts["deletions_left_out"] == 50 - len(shown)
    assert len(shown) > 5
    assert len(shown[0]["receipt"]["outcomes"]["deleted"]) == 2
    assert all(job["receipt"]["counts"] == {"deleted": 2} for job in shown)
    assert all(len(job["what"]) < 300 for job in shown)


async def test_a_receipt_in_brief_still_says_whether_it_can_be_undone(world: World, era: str) -> None:
    server = world.server(CONFIRM="off")
    async with world.connect(era, server=server) as caller:
        for number in range(10):
            # The longest is the last that has room, if it is told in brief.
            for turn in range(1 if number > 4 else 3):
                await world.put(f"{'x' * 200}-{number}-{turn}", session=f"{number}")
            await caller.call("delete_session", session_id=f"{number}", wait_for_response=False)
            await server.runtime.jobs.drain()
        shown = told(await caller.result("get_status"))["deletions"]
    assert any("outcomes" not in job["receipt"] for job in shown)
    assert all(job["receipt"]["undo"].startswith("This cannot be undone") for job in shown)


async def test_a_job_that_breaks_in_a_way_nobody_thought_of_ends_neither_the_server_nor_its_neighbours(
    world: World, era: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await world.put("r1")

    async def broken(*_: Any, **__: Any) -> None:
        raise KeyError("a bug")

    server = world.server(CONFIRM="off")
    async with world.connect(era, server=server) as caller:
        with monkeypatch.context() as patch:
            patch.setattr("reflexio_mcp.tools.delete.carry_out", broken)
            await caller.call("delete_request", request_id="r1", wait_for_response=False)
            await server.runtime.jobs.drain()
            said = await caller.refused("delete_request", request_id="r1")
        assert "whether it took effect is not known" in said
        [job] = (await caller.call("get_status"))["deletions"]
        assert job["state"] == "failed"
        assert "whether it took effect is not known" in job["failure"]
        assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 1
    assert "deletion 1 failed: KeyError" in caplog.text
    assert "a bug" not in caplog.text
