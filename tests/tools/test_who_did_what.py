"""The status says who did what, on whose word, and whether the record is complete."""

from pathlib import Path

import anyio.to_thread
import pytest
from mcp.client.client import Client

from reflexio_mcp.cli import main
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.deletion.support import Caller, Person, World, agreeing
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path):
    world = World(":memory:", tmp_path)
    yield world
    await world.close()


async def test_the_last_deletions_say_who_asked_who_agreed_and_why(world: World) -> None:
    await world.put("r1")
    await world.put("r2", user="bob")
    async with world.connect() as caller:
        asked = {"request_id": "r1", "reason": "a mistake"}
        plan = await caller.plan("delete_request", **asked)
        receipt = await caller.receipt("delete_request", **asked, confirm=plan["confirm"])
        await caller.restored(receipt["number"])
        status = await caller.call("get_status")
        said = status["text"]
    restore, deletion = status["deletions"]
    assert (deletion["by"]["tool"], deletion["by"]["consent"]) == ("delete_request", "preview")
    assert deletion["by"]["reason"] == "a mistake"
    assert (restore["by"]["tool"], restore["by"]["consent"]) == ("restore_requests", "preview")
    assert (fact_of(status, "log_sound") or {})["number"] == 4
    assert "The audit log has 4 lines; none is changed or missing. It has only what went through" in said
    assert fact_of(status, "last_listed") is None
    async with world.connect(REFLEXIO_USER_ID="bob") as other:
        assert "deletions" not in await other.call("get_status")


async def test_a_full_list_of_deletions_says_that_it_has_only_the_last(world: World) -> None:
    for number in range(10):
        await world.put(f"r{number}")
    async with world.connect(CONFIRM="off") as caller:
        for number in range(10):
            await caller.receipt("delete_request", request_id=f"r{number}")
        status = await caller.call("get_status")
    assert (fact_of(status, "last_listed") or {})["number"] == 10
    assert "`reflexio-mcp log` has all" in status["text"]


async def test_exports_and_what_holds_kept_are_listed_for_those_whom_they_concern(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    policy = tmp_path / "policy.toml"
    policy.write_text('[[hold]]\nsessions = ["kept"]\nreason = "a case"\n', encoding="utf-8")
    await world.put("r1", session="kept")
    await world.put("r2", user="bob")
    async with world.connect(REFLEXIO_USER_ID="ada", CONFIRM="off", POLICY=str(policy)) as caller:
        await caller.call("delete_session", session_id="kept")
        plan = await caller.call("export_data", redact=True)
        await caller.call("export_data", redact=True, confirm=plan["confirm"])
        mine = await caller.call("get_status")
    assert [one["event"] for one in mine["logged"]] == ["exported", "held"]
    assert mine["logged"][0]["counts"]["requests"] == 1
    async with world.connect(REFLEXIO_USER_ID="bob") as other:
        assert "logged" not in await other.call("get_status")
    async with world.connect() as operator:
        assert len((await operator.call("get_status"))["logged"]) == 2


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
@pytest.mark.parametrize(
    ("answer", "why"),
    [({"delete": False}, "declined"), ("decline", "declined"), ({"number": 7}, "wrong_number")],
)
async def test_a_question_that_a_person_did_not_agree_to_is_listed_with_its_call(
    world: World, era: str, answer: dict[str, object] | str, why: str
) -> None:
    await world.put("r1", text="a secret word")
    above = "0" if why == "wrong_number" else "50"
    async with world.connect(era, person=Person(lambda message: answer), CONFIRM_ABOVE=above) as caller:
        assert (await caller.call("delete_request", request_id="r1"))["status"] == why
        status = await caller.call("get_status")
    [refusal] = status["logged"]
    assert (refusal["event"], refusal["why"]) == ("refused", why)
    assert (refusal["tool"], refusal["target"]) == ("delete_request", "request r1")
    assert refusal["client"].startswith("mcp")
    assert (fact_of(status, "log_sound") or {})["number"] == 1
    assert "secret word" not in str(status)


async def test_a_question_that_a_person_agreed_to_is_no_refusal(world: World) -> None:
    await world.put("r1")
    async with world.connect(person=agreeing()) as caller:
        await caller.receipt("delete_request", request_id="r1")
        assert "logged" not in await caller.call("get_status")


async def test_an_export_of_the_command_line_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = str(tmp_path / "store.db")
    world = World(store, tmp_path)
    await world.put("r1")
    await world.close()
    words = ["export", "--store", store, "--user-id", "ada", "--output", str(tmp_path / "out.zip")]
    assert await anyio.to_thread.run_sync(main, words) == 0
    server = ReflexioServer(load({"REFLEXIO_MCP_STORE": store, "XDG_DATA_HOME": str(tmp_path)}))
    async with Client(server, mode="2026-07-28", raise_exceptions=True) as client:
        [export] = (await Caller(client).call("get_status"))["logged"]
    assert (export["event"], export["counts"]["requests"]) == ("exported", 1)
    assert "ada" in export["target"]
