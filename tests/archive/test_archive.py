"""An export holds what is stored, in a new file of its owner's; an import puts it back as it was."""

import errno
import hashlib
import json
import os
import stat
import sys
import threading
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import anyio.to_thread
import pytest

from reflexio_mcp import private_files
from reflexio_mcp.backend import open_scope, open_state, owner_of
from reflexio_mcp.cli import main
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.render.reading import readme
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Citation, Interaction, PublishBody, RequestQuery, ToolUse
from reflexio_mcp.results.progress import Step
from reflexio_mcp.settings import load
from reflexio_mcp.state.records import RestoreIntention
from reflexio_mcp.state.state import State
from reflexio_mcp.traffic.archive import Export, import_requests, requests_in
from reflexio_mcp.traffic.deletion.erasures import ErasuresBesideImport
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import find_request
from reflexio_mcp.traffic.scope import Scope
from tests.deletion.support import World, broken
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789AB"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(":memory:", tmp_path)
    yield world
    await world.close()


def content(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def lines(path: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(path, f"{name}.jsonl").splitlines()]


def names(path: Path) -> set[str]:
    return {one["request"]["request_id"] for one in lines(path, "requests")}


def archives(folder: Path) -> list[Path]:
    """The archives in a folder, and drafts of them."""
    return list(folder.rglob("*.zip*"))


async def exported(world: World, path: Path, redact: bool = False, **wanted: Any) -> dict[str, Any]:
    """Export to a file and return the manifest."""
    with path.open("xb") as file:
        await Export(Scope(world.rest), TrafficFilter(**wanted), "here", redact, readme).write(file)
    return json.loads(content(path, "manifest.json"))


async def command(*words: str) -> int:
    return await anyio.to_thread.run_sync(main, [*words])


async def filled(path: Path) -> str:
    """A store with several users, sessions and seconds, an image, a citation and tool data."""
    seconds = iter(range(1_700_000_000, 1_800_000_000))
    store = EmbeddedStore(str(path), clock=lambda: next(seconds) // 2)
    async with ReflexioClient("http://store", transport=store) as client:
        for number in range(12):
            first = Interaction(
                content=f"I say {number}\u2028🍞",
                image_encoding="aGVsbG8=" if number == 4 else "",
                citations=[Citation(kind="profile", real_id="p")] if number == 5 else [],
                tools_used=[ToolUse(tool_name="t", tool_data={"none": None, "one": 1.0})],
            )
            body = PublishBody(
                user_id="bob" if number % 5 == 0 else "ada",
                session_id=f"s{number % 3}",
                request_id=f"r{(number * 7) % 12}",
                interaction_data_list=[first, Interaction(role="Assistant", content="ok")],
                evaluation_only=number == 7,
            )
            await client.publish(body, minted=False)
    return str(path)


async def test_an_import_into_an_empty_store_exports_the_same_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, other = await filled(tmp_path / "a.db"), str(tmp_path / "b.db")
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    assert await command("export", "--output", str(first), "--store", store) == 0
    assert len(lines(first, "requests")) == 12
    assert await command("import", str(first), "--store", other, "--yes") == 0
    assert "12 requests with 24 interactions" in capsys.readouterr().out
    assert await command("export", "--output", str(second), "--store", other) == 0
    assert content(first, "requests.jsonl") == content(second, "requests.jsonl")
    assert b"aGVsbG8=" in content(second, "requests.jsonl")
    capsys.readouterr()
    assert await command("import", str(second), "--store", store, "--yes") == 0
    assert "12 stored already" in capsys.readouterr().out


async def test_an_export_is_a_new_file_that_only_its_owner_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, path = await filled(tmp_path / "a.db"), tmp_path / "out.zip"
    words = ("export", "--store", store, "--user-id", "bob", "--output", str(path))
    assert await command(*words) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    said, before = capsys.readouterr().out, path.read_bytes()
    assert "Secrets and personal data are exported as stored" in said
    assert {one["request"]["user_id"] for one in lines(path, "requests")} == {"bob"}
    assert await command(*words) == 2
    assert path.read_bytes() == before
    assert "no file is replaced" in capsys.readouterr().err


async def test_redact_leaves_secrets_out_wherever_they_are(world: World, tmp_path: Path) -> None:
    said = f"my key is {KEY}"
    await world.put("a", text=said, session=KEY)
    await world.learn("p", "a", content=said, quote=said)
    world.backend.outcomes[KEY] = "ada"
    manifest = await exported(world, tmp_path / "whole.zip")
    files = [one for one in manifest["sha256"] if KEY.encode() in content(tmp_path / "whole.zip", one)]
    assert files == ["requests.jsonl", "learnings.jsonl", "outcomes.jsonl", "evidence.jsonl"]
    await exported(world, tmp_path / "safe.zip", redact=True)
    assert not any(KEY.encode() in content(tmp_path / "safe.zip", one) for one in files)
    assert lines(tmp_path / "safe.zip", "learnings")[0]["content"] == "my key is [redacted: openai-key]"
    assert lines(tmp_path / "safe.zip", "requests")[0]["request"]["request_id"] == "a"
    manifest = await exported(world, tmp_path / "found.zip", redact=True, contains=KEY)
    assert (manifest["counts"]["requests"], KEY in json.dumps(manifest)) == (1, False)
    assert "\\u202e" in (await exported(world, tmp_path / "none.zip", contains="\u202eno"))["filter"]


async def test_an_export_of_a_person_has_the_words_that_taught_each_learning(
    world: World, tmp_path: Path
) -> None:
    await world.put("a", text="I cannot eat peanuts. Thanks!")
    await world.put("b", text="What is the weather?")
    await world.learn("nuts", "a", "b", content="No peanuts", quote="I cannot eat peanuts.")
    await world.learn("old", "a", content="Likes jazz", quote="I like jazz more than anything")
    await exported(world, tmp_path / "ada.zip", user_id="ada")
    rows = {row["learning_id"]: row for row in lines(tmp_path / "ada.zip", "evidence")}
    [said] = rows["profile:nuts"]["evidence"]
    assert (said["quote"], said["request_id"], said["role"]) == ("I cannot eat peanuts.", "a", "User")
    assert rows["profile:nuts"]["window_only"] == 1
    assert rows["profile:old"]["evidence"] == []
    assert rows["profile:old"]["quotes_not_found"] == ["I like jazz more than anything"]


async def test_an_export_of_a_person_has_what_carries_their_id_and_the_rules_that_rest_on_theirs(
    world: World, tmp_path: Path
) -> None:
    await world.put("a")
    await world.put("b", user="bob")
    backend = world.backend
    backend.agent_playbooks = {1: ["ada", "bob"], 2: ["bob"], 3: []}
    for user in ("ada", "bob"):
        backend.verdicts.append({"kind": "profile", "learning_id": f"of-{user}", "user_id": user})
        backend.session_verdicts.append(
            {"user_id": user, "session_id": "s", "failure_reason": f"{user} left"}
        )
        backend.questions.append({"id": f"q-{user}", "user_id": user, "question_text": "Metric?", "more": 1})
    manifest = await exported(world, tmp_path / "ada.zip", user_id="ada")
    found = {
        name: lines(tmp_path / "ada.zip", name)
        for name in ("shared_rules", "verdicts", "session_verdicts", "questions")
    }
    assert [one["content"] for one in found["shared_rules"]] == ["rule 1"]
    assert [one["learning_id"] for one in found["verdicts"]] == ["of-ada"]
    assert [one["failure_reason"] for one in found["session_verdicts"]] == ["ada left"]
    assert [(one["id"], one["more"]) for one in found["questions"]] == [("q-ada", 1)]
    assert "bob" not in json.dumps(found)
    assert all(manifest["counts"][name] == 1 for name in found)
    assert (fact_of(manifest, "shared_rules_untraced") or {})["number"] == 1


async def test_an_export_says_which_verdicts_and_questions_it_lacks(world: World, tmp_path: Path) -> None:
    await world.put("a")
    world.backend.failing["/api/get_agent_success_evaluation_results"] = (0, 403)
    world.backend.questions = [{"id": str(number), "user_id": "bob"} for number in range(500)]
    manifest = await exported(world, tmp_path / "ada.zip", user_id="ada")
    assert fact_of(manifest, "verdicts_not_all_read")
    assert fact_of(manifest, "questions_not_all_read")


async def test_a_filter_selects_the_learnings_and_outcomes_of_its_requests(
    world: World, tmp_path: Path
) -> None:
    await world.put("a", session="trip")
    await world.put("b", session="work")
    await world.put("c", user="bob", session="trip")
    await world.learn("of-a", "a", status="superseded")
    await world.learn(7, "b")
    await world.learn("of-c", "c", user="bob")
    world.backend.outcomes |= {"trip": "ada", "work": "ada"}
    manifest = await exported(world, tmp_path / "ada.zip", user_id="ada")
    assert names(tmp_path / "ada.zip") == {"a", "b"}
    assert [one.get("profile_id") for one in lines(tmp_path / "ada.zip", "learnings")] == ["of-a", None]
    assert manifest["counts"] | {"sessions": 2, "outcomes": 2, "learnings": 2} == manifest["counts"]
    await exported(world, tmp_path / "trip.zip", session_id="trip")
    assert names(tmp_path / "trip.zip") == {"a", "c"}
    found = {one["profile_id"] for one in lines(tmp_path / "trip.zip", "learnings")}
    assert found == {"of-a", "of-c"}
    assert [one["session_id"] for one in lines(tmp_path / "trip.zip", "outcomes")] == ["trip"]


async def test_outcomes_of_others_stay_out_of_an_export_though_the_service_returns_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put("a", session="trip")
    of_both = [{"outcome_id": f"o-{user}", "session_id": "trip", "user_id": user} for user in ("ada", "bob")]
    monkeypatch.setattr(world.backend, "get_session_outcomes", lambda _: {"session_outcomes": of_both})
    await exported(world, tmp_path / "ada.zip", user_id="ada")
    assert [one["user_id"] for one in lines(tmp_path / "ada.zip", "outcomes")] == ["ada"]


async def test_the_manifest_says_what_could_not_be_read(world: World, tmp_path: Path) -> None:
    await world.put("a", session="one")
    await world.put("b", session="two")
    world.backend.unreturned = {"b"}
    world.backend.failing["/api/get_profiles"] = (0, 403)
    manifest = await exported(world, tmp_path / "out.zip", user_id="ada")
    assert names(tmp_path / "out.zip") == {"a"}
    assert len(manifest["unreadable"]) == 1
    told = [fact["code"] for fact in manifest["facts"]]
    assert told[-3:] == ["learnings_not_all_read", "access_refused", "check_key"]
    said = content(tmp_path / "out.zip", "README.txt").decode()
    assert "Not all learnings could be read.\nReflexio refused access" in said
    world.backend.failing["/api/get_requests"] = (0, 403)
    with TemporaryFile() as file, pytest.raises(Exception, match="403"):
        await Export(Scope(world.rest), TrafficFilter(), "here", False, readme).write(file)


@pytest.mark.parametrize("confirm", ["auto", "off"])
@pytest.mark.parametrize(
    "first", [{}, {"redact": True}, {"redact": False}, {"redact": False, "confirm": "1"}]
)
async def test_a_model_gets_a_plan_first_and_the_file_when_the_person_has_decided(
    world: World, tmp_path: Path, first: dict[str, Any], confirm: str
) -> None:
    await world.put("a", text=f"my key is {KEY}")
    await world.put("b", text="write to ada@lovelace.org")
    await world.put("c", text="nothing of this kind")
    async with world.connect(CONFIRM=confirm) as caller:
        plan = await caller.call("export_data", user_id="ada", **first)
        assert plan["archive"]["counts"]["requests"] == 3
        found = {"probable-secret": 1, "possible-secret": 0, "personal-data": 1}
        assert plan["archive"]["findings"] == found
        assert fact_of(plan["archive"], "secrets_can_be_covered")
        assert "Secrets and personal data are exported as stored" in plan["text"]
        assert bool(fact_of(plan, "wrong_code")) is ("confirm" in first)
        assert "file" not in plan
        assert not archives(tmp_path)
        done = await caller.call("export_data", user_id="ada", redact=True, confirm=plan["confirm"])
        (path,) = archives(tmp_path)
        assert done["file"] == str(path)
        assert done["archive"]["findings"] == found
        assert "[redacted: openai-key]" in str(lines(path, "requests"))
        await caller.call("export_data", user_id="ada", redact=False, confirm=plan["confirm"])
    assert len(archives(tmp_path)) == 2


FULL = Path("/dev/full")
"""A device on which every write fails as on a full disk."""


def full_place(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Let the temporary folder or the folder of the export be full."""
    if place == "temporary folder":
        # The module first: it would import what is patched, and keep it.
        for name in ("reflexio_mcp.read_commands.TemporaryFile", "tempfile.TemporaryFile"):
            monkeypatch.setattr(name, lambda: FULL.open("r+b"))
    else:
        create = private_files.create

        def created(path: Path) -> int:
            if ".zip" not in path.name:
                return create(path)
            os.close(create(path))
            return os.open(FULL, os.O_RDWR)

        monkeypatch.setattr(private_files, "create", created)


@pytest.mark.skipif(not FULL.exists(), reason="there is no full device")
@pytest.mark.parametrize("place", ["temporary folder", "folder of the export"])
async def test_an_export_onto_a_full_disk_leaves_no_file_and_says_why(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for number in range(20):
        await world.put(f"r{number}")
    async with world.connect(CONFIRM="off") as caller:
        plan = await caller.call("export_data")
        with monkeypatch.context() as patch:
            full_place(patch, place)
            said = await caller.refused("export_data", redact=False, confirm=plan["confirm"])
        assert not archives(tmp_path)
        done = await caller.call("export_data", redact=False, confirm=plan["confirm"])
    assert "No space left on device" in said
    assert "Something went wrong inside" not in said
    assert archives(tmp_path) == [Path(done["file"])]


async def test_an_export_without_a_temporary_folder_says_so_and_names_no_folder_of_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/home/canary']")

    await world.put("r")
    monkeypatch.setattr("tempfile.TemporaryFile", nowhere)
    async with world.connect() as caller:
        said = await caller.refused("export_data")
    assert "No file was written." in said
    assert "no temporary folder can be written" in said
    assert "canary" not in said


@pytest.mark.skipif(not FULL.exists(), reason="there is no full device")
@pytest.mark.parametrize("place", ["temporary folder", "folder of the export"])
async def test_the_command_for_an_export_onto_a_full_disk_leaves_no_file_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_STORE", await filled(tmp_path / "store.db"))
    full_place(monkeypatch, place)
    out = tmp_path / "out"
    out.mkdir()
    assert await command("export", "--output", str(out / "a.zip"), "--yes") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not list(out.iterdir())


async def test_the_code_of_an_export_is_for_what_was_shown_and_lets_the_conversation_go_on(
    world: World, tmp_path: Path
) -> None:
    world.clock.now = int(time.time()) - 60
    await world.put("a")
    await world.put("b", session="other")
    async with world.connect(CONFIRM="off") as caller:
        narrow = await caller.call("export_data", session_id="other")
        plan = await caller.call("export_data")
        wide = await caller.call("export_data", redact=False, confirm=narrow["confirm"])
        assert fact_of(wide, "wrong_code")
        assert wide["confirm"] != narrow["confirm"]
        world.clock.now = int(time.time()) + 60
        await world.put("said-meanwhile")
        done = await caller.call("export_data", redact=False, confirm=plan["confirm"])
        assert done["archive"]["counts"]["requests"] == 3
        await caller.call("delete_request", request_id="a")
        world.clock.now = int(time.time()) - 60
        await world.put("a", text="as many requests, and other words")
        changed = await caller.call("export_data", redact=False, confirm=plan["confirm"])
        assert fact_of(changed, "wrong_code")
    assert len(archives(tmp_path)) == 1


async def test_a_read_only_server_exports_nothing(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await world.put("a")
    async with world.connect(REFLEXIO_MCP_READ_ONLY="1") as caller:
        assert "There is no tool" in await caller.refused("export_data", redact=False)
    store, path = await filled(tmp_path / "a.db"), tmp_path / "out.zip"
    monkeypatch.setenv("REFLEXIO_MCP_READ_ONLY", "1")
    assert await command("export", "--output", str(path), "--store", store) == 2
    assert "READ_ONLY" in capsys.readouterr().err
    assert not path.exists()
    assert not archives(tmp_path)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
async def test_a_command_at_a_terminal_says_what_would_be_written_and_asks(
    tmp_path: Path,
    answer: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, path = await filled(tmp_path / "a.db"), tmp_path / "out.zip"
    there_before: list[bool] = []

    def asked(question: str) -> str:
        there_before.append(path.exists())
        return answer

    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("builtins.input", asked)
    words = ("export", "--store", store, "--output", str(path))
    assert await command(*words) == code
    said = capsys.readouterr().out
    assert "Nothing is written yet" in said
    assert "requests: 12" in said
    assert "personal-data in 0 requests" in said
    assert there_before == [False]
    assert path.exists() is (code == 0)
    path.unlink(missing_ok=True)
    assert await command(*words, "--yes") == 0
    assert path.exists()
    assert len(there_before) == 1


async def test_a_server_that_does_not_look_for_personal_data_says_so(world: World) -> None:
    await world.put("a", text="write to ada@lovelace.org")
    async with world.connect(PERSONAL_DATA="0") as caller:
        plan = await caller.call("export_data")
    assert "personal-data" not in plan["archive"]["findings"]
    assert fact_of(plan["archive"], "rule_off")


async def test_a_caller_of_one_user_exports_that_user_alone(world: World, tmp_path: Path) -> None:
    await world.put("a")
    await world.put("b", user="bob")
    await world.learn("of-b", "b", user="bob")
    async with world.connect(REFLEXIO_USER_ID="ada") as caller:
        await caller.refused("export_data", user_id="bob", redact=False)
        plan = await caller.call("export_data", redact=False)
        await caller.call("export_data", redact=False, confirm=plan["confirm"])
    (path,) = archives(tmp_path)
    assert (names(path), lines(path, "learnings")) == ({"a"}, [])


async def test_a_server_that_hides_what_is_stored_exports_nothing(world: World, tmp_path: Path) -> None:
    async with world.connect(MASK="1") as caller:
        assert "shows stored content" in await caller.refused("export_data")
    store = await filled(tmp_path / "a.db")
    assert await command("export", "--mask", "--store", store, "--output", str(tmp_path / "x.zip")) == 2


async def test_reflexio_gets_requests_that_it_lacks_the_oldest_first(world: World, tmp_path: Path) -> None:
    path = tmp_path / "out.zip"
    assert await command("export", "--store", await filled(tmp_path / "a.db"), "--output", str(path)) == 0
    await world.put("r0", text="another request")
    told: list[tuple[Step, int, int | None]] = []

    async def progress(step: Step, done: int, total: int | None = None) -> None:
        told.append((step, done, total))

    done = await import_requests(Scope(world.rest), requests_in(path, ""), progress)
    assert told == [(Step.REQUESTS_IMPORTED, 12, 12)]
    assert (done.status, done.restored and done.restored.requests) == ("incomplete", 11)
    assert [(one.why, one.ids) for one in done.not_restored] == [("id_taken", ["r0"])]
    page = await world.rest.get_requests(RequestQuery(top_k=50))
    items = [item for group in page.sessions for item in group.requests]
    arrived = sorted(items, key=lambda one: one.interactions[0].interaction_id)
    said = [one.interactions[0].content for one in arrived[1:]]
    assert said == [f"I say {number}\u2028🍞" for number in range(1, 12)]


async def test_reflexio_gets_requests_of_one_second_in_the_order_of_their_arrival(
    world: World, tmp_path: Path
) -> None:
    store, path = tmp_path / "a.db", tmp_path / "out.zip"
    async with ReflexioClient(
        "http://store", transport=EmbeddedStore(str(store), clock=lambda: 1e9)
    ) as client:
        for name in ("first", "second", "third"):
            said = Interaction(content=f"I say {name}")
            body = PublishBody(user_id="ada", session_id="s", request_id=name, interaction_data_list=[said])
            await client.publish(body, minted=False)
    assert await command("export", "--store", str(store), "--output", str(path)) == 0
    await import_requests(Scope(world.rest), requests_in(path, ""))
    [first], [second], [third] = [await world.interactions(one) for one in ("first", "second", "third")]
    assert first < second < third


def archive_of(path: Path, *rows: tuple[str, str, list[int]]) -> Path:
    """Write an archive whose requests have this id, this user and these interactions."""
    text = b"".join(
        json.dumps(
            {
                "request": {"request_id": request_id, "user_id": user, "session_id": "s", "created_at": 1},
                "interactions": [{"interaction_id": one, "content": f"words {one}"} for one in interactions],
            }
        ).encode()
        + b"\n"
        for request_id, user, interactions in rows
    )
    files = {"requests.jsonl": text, "learnings.jsonl": b"", "outcomes.jsonl": b""}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        archive.writestr("manifest.json", json.dumps({"sha256": sums}))
    return path


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("r", "ada", [1]), ("r", "ada", [2])], "has two requests with the id"),
        ([("r", "ada", [1]), ("q", "ada", [1])], "has two interactions with the id 1;"),
        ([("r", "ada", [1, 1])], "has two interactions with the id 1;"),
        ([("r", " ada", [1])], "has a user_id that begins or ends with a blank"),
        ([("r", "ada\u00a0", [1])], "has a user_id that begins or ends with a blank"),
        ([(" r", "ada", [1])], "has a request_id that begins or ends with a blank"),
    ],
    ids=str,
)
async def test_an_archive_with_an_id_twice_or_blanks_around_a_name_is_refused_in_a_sentence(
    tmp_path: Path, rows: list[tuple[str, str, list[int]]], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, new = archive_of(tmp_path / "out.zip", *rows), tmp_path / "b.db"
    assert await command("import", str(path), "--store", str(new), "--yes") == 2
    error = capsys.readouterr().err
    assert said in error
    assert "nothing was imported" in error
    assert not new.exists()


async def test_an_import_stays_inside_its_user_and_takes_only_exports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = tmp_path / "out.zip", tmp_path / "b.db"
    assert await command("export", "--store", await filled(tmp_path / "a.db"), "--output", str(path)) == 0
    (tmp_path / "no.zip").write_bytes(path.read_bytes()[:-100])
    monkeypatch.setenv("REFLEXIO_USER_ID", "ada")
    for file, said in (
        (path, "other users"),
        (tmp_path / "no.zip", "is not an export"),
        (tmp_path / "none.zip", "No such file"),
    ):
        assert await command("import", str(file), "--store", str(new), "--yes") == 2
        assert said in capsys.readouterr().err
    monkeypatch.delenv("REFLEXIO_USER_ID")
    monkeypatch.setattr("builtins.input", lambda _: "")
    assert await command("import", str(path), "--store", str(new)) == 1
    assert not new.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes of this kind")
def test_an_import_does_not_wait_for_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    asked = ["import", str(tmp_path / "pipe.zip"), "--store", str(tmp_path / "b.db"), "--yes"]
    ended: list[int] = []
    importing = threading.Thread(target=lambda: ended.append(main(asked)), daemon=True)
    importing.start()
    importing.join(60)
    assert ended == [2]
    assert "is not a file; nothing was imported" in capsys.readouterr().err


async def test_an_import_that_leaves_a_request_out_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, taken = tmp_path / "out.zip", tmp_path / "b.db"
    assert await command("export", "--store", await filled(tmp_path / "a.db"), "--output", str(path)) == 0
    async with ReflexioClient("http://store", transport=EmbeddedStore(str(taken))) as client:
        other = Interaction(content="other words")
        body = PublishBody(
            user_id="ada", session_id="s", request_id=min(names(path)), interaction_data_list=[other]
        )
        await client.publish(body, minted=False)
    assert await command("import", str(path), "--store", str(taken), "--yes") == 1
    assert "not restored: 1 whose id something else has now (" in capsys.readouterr().out


async def test_an_import_is_logged_and_says_what_was_erased_before_by_which_deletion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_STORE", str(tmp_path / "store.db"))
    path = tmp_path / "all.zip"
    for request_id, user in (("a1", "ada"), ("a2", "ada"), ("b1", "bob"), ("c1", "cleo"), ("d1", "dan")):
        said = ("--user-id", user, "--session-id", f"of-{user}", "--user", f"words of {request_id}")
        assert await command("publish", *said, "--request-id", request_id) == 0
    assert await command("export", "--output", str(path)) == 0
    assert await command("delete", "b1", "--yes") == 0
    assert await command("delete", "--user-id", "ada", "--everything", "--erase", "--yes") == 0
    assert await command("delete", "c1", "--erase", "--yes") == 0
    capsys.readouterr()
    assert await command("import", str(path), "--yes") == 0
    erased = "3 requests that are stored now had been erased before, by deletion 2, 3."
    assert erased in capsys.readouterr().out
    assert await command("log", "--json") == 0
    line = json.loads(capsys.readouterr().out)[-1]
    assert (line["event"], line["counts"]) == ("imported", {"requests": 4, "interactions": 4})
    assert (set(line["ids"]), line["erased_by"]) == ({"a1", "a2", "b1", "c1"}, [2, 3])
    assert await command("delete", "b1", "--yes") == 0
    capsys.readouterr()
    assert await command("import", str(path), "--yes") == 0
    assert "erased before" not in capsys.readouterr().out, "only what was stored counts"


async def test_an_import_that_cannot_be_logged_stores_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, new = tmp_path / "out.zip", tmp_path / "new" / "b.db"
    assert await command("export", "--store", await filled(tmp_path / "a.db"), "--output", str(path)) == 0
    monkeypatch.setattr(State, "check", broken)
    assert await command("import", str(path), "--store", str(new), "--yes") == 1
    assert "the file is locked" in capsys.readouterr().err
    async with ReflexioClient("http://store", transport=EmbeddedStore(str(new))) as client:
        assert not (await client.get_requests(RequestQuery(top_k=10))).sessions


def rewritten(path: Path, name: str, change: Any) -> None:
    """Change one file of an archive."""
    with zipfile.ZipFile(path) as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for one, text in files.items():
            archive.writestr(one, change(text) if one == name else text)


async def test_an_archive_that_its_manifest_does_not_describe_is_not_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, new = tmp_path / "out.zip", tmp_path / "b.db"
    assert await command("export", "--store", await filled(tmp_path / "a.db"), "--output", str(path)) == 0
    whole = path.read_bytes()
    for name, change, said in (
        (
            "requests.jsonl",
            lambda text: text.replace(b"I say", b"He said"),
            "has a requests.jsonl that does not match",
        ),
        ("learnings.jsonl", lambda text: text + b"{}", "has a learnings.jsonl that does not match"),
        ("manifest.json", lambda _: b"{}", "is not an export"),
    ):
        path.write_bytes(whole)
        rewritten(path, name, change)
        assert await command("import", str(path), "--store", str(new), "--yes") == 2
        assert said in capsys.readouterr().err
    encrypted = bytearray(whole)
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        encrypted[encrypted.index(header) + flags] |= 1
    path.write_bytes(encrypted)
    assert await command("import", str(path), "--store", str(new), "--yes") == 2
    assert "is not an export" in capsys.readouterr().err
    assert not new.exists()


@pytest.mark.parametrize(
    "wrong",
    [{"created_at": 10**17}, {"created_at": -(10**15)}, {"user_id": ""}, {"session_id": " "}],
    ids=str,
)
async def test_what_no_store_would_have_is_not_put_into_one(
    tmp_path: Path, wrong: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    store = EmbeddedStore(str(tmp_path / "a.db"))
    request = {"request_id": "r", "user_id": "ada", "session_id": "s", "created_at": 1} | wrong
    line = json.dumps({"request": request, "interactions": [{"interaction_id": 1, "content": "x"}]})
    async with ReflexioClient("http://store", transport=store) as client:
        done = await import_requests(Scope(client, embedded=True), [line.encode()])
        assert [one.why for one in done.not_restored] == ["not_restorable"]
    assert await command("sessions", "--store", str(tmp_path / "a.db")) == 0
    assert "Nothing was found" in capsys.readouterr().err


async def test_what_was_erased_is_not_imported_while_it_would_be_deleted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A restore was interrupted, so the erasure still has to look whether it stores something."""
    path = tmp_path / "store.db"
    monkeypatch.setenv("REFLEXIO_MCP_STORE", str(path))
    said = ("--user-id", "ada", "--session-id", "s", "--user", "keep this")
    assert await command("publish", *said, "--request-id", "r1") == 0
    assert await command("publish", *said, "--request-id", "r2") == 0
    assert await command("export", "--user-id", "ada", "--output", str(tmp_path / "ada.zip")) == 0
    assert await command("delete", "r1", "--yes") == 0
    settings = load({"REFLEXIO_MCP_STORE": str(path)})
    state = open_state(settings)
    async with open_scope(settings) as scope:
        owner = await owner_of(scope, settings)
    state.begin_restore(owner, RestoreIntention(1, 1, 3600))
    assert await command("delete", "r1", "--erase", "--yes") == 1, "it may return"
    assert state.must_go.any()
    assert await command("delete", "r2", "--yes") == 0
    capsys.readouterr()
    assert await command("import", str(tmp_path / "ada.zip"), "--yes") == 1
    told = capsys.readouterr().out
    assert "This was erased for good, and a restore of it is running or was interrupted." in told
    assert "not restored: 1 erased for good meanwhile (r1)" in told
    assert state.must_go.any(), "the erasure looks on"
    async with open_scope(settings) as scope:
        assert await find_request(scope, "r2")
        assert not await find_request(scope, "r1")


async def test_what_is_erased_while_it_is_imported_is_deleted_and_not_called_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "store.db"
    monkeypatch.setenv("REFLEXIO_MCP_STORE", str(path))
    for request_id in ("r1", "r2"):
        said = ("--user-id", "ada", "--session-id", "s", "--user", f"words of {request_id}")
        assert await command("publish", *said, "--request-id", request_id) == 0
    assert await command("export", "--output", str(tmp_path / "ada.zip")) == 0
    assert await command("delete", "r1", "r2", "--yes") == 0
    settings = load({"REFLEXIO_MCP_STORE": str(path)})
    state = open_state(settings)
    async with open_scope(settings) as scope:
        owner = await owner_of(scope, settings)
    look = ErasuresBesideImport.would_erase
    erasures: list[int] = []

    async def look_and_erase(self: ErasuresBesideImport, requests: Any) -> set[str]:
        found = await look(self, requests)
        if not erasures:  # a restore and an erasure begin after the first look
            state.begin_restore(owner, RestoreIntention(1, 2, 3600))
            erasures.append(await command("delete", "r1", "--erase", "--yes"))
        return found

    monkeypatch.setattr(ErasuresBesideImport, "would_erase", look_and_erase)
    assert await command("import", str(tmp_path / "ada.zip"), "--yes") == 1
    assert "not restored: 1 erased for good meanwhile (r1)" in capsys.readouterr().out
    async with open_scope(settings) as scope:
        assert await find_request(scope, "r2")
        assert not await find_request(scope, "r1")
