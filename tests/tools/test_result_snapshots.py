"""One stored snapshot for each kind of result: what a model and a person read. A change of words must be meant.

Run with `REFLEXIO_UPDATE_SNAPSHOTS=1` to write them anew.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp.types import CallToolResult

from reflexio_mcp.toolkit.spec import schema_of
from reflexio_mcp.tools.catalog import CATALOG
from tests.deletion.support import Person, World, agreeing, text_of

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parent / "results"

OUTPUTS = {spec.name: schema_of(spec.output) for spec in CATALOG if spec.output}

VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"(?<=stored text )[0-9a-f]{8}|(?<=<<end )[0-9a-f]{8}"), "MARK"),
    (re.compile(r"\b\d+-[a-z0-9]{6}-[A-Z2-7]{24}\b"), "CODE"),
    (re.compile(r"\beNo[\w-]{20,}|\beN[\w-]{40,}"), "CURSOR"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"(?<=correlation id )[0-9a-f]{6,}"), "ID"),
    (re.compile(r'(?<=fingerprint )[0-9a-f]{10}|(?<="fingerprint": ")[0-9a-f]{10}'), "PRINT"),
    (re.compile(r'(?<=copy_id=)[0-9a-f]{10}|(?<="copy_id": ")[0-9a-f]{10}'), "COPY"),
    (re.compile(r"(?<=Set )[\w-]+"), "SET"),
    (re.compile(r'(?<=")[0-9a-f]{10}(?=")'), "PRINT"),  # in a row
)


def shown(result: CallToolResult) -> str:
    """Both forms of a result."""
    text = text_of(result)
    if result.structured_content is not None:
        text += f"\n\n{json.dumps(result.structured_content, indent=1, ensure_ascii=False)}"
    return f"{steady(text)}\n"


def steady(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return text


@pytest.fixture
async def stocked(tmp_path: Path) -> AsyncIterator[World]:
    world = World(":memory:", tmp_path)
    await world.put(
        "trip-1", session="trip", text="I want to fly to Lisbon.", source="chat", agent_version="2.4"
    )
    await world.put("trip-2", session="trip", text="Book the hotel.", source="chat")
    await world.put("key", user="bob", session="work", text="Deploy with AKIAQX7T2M5RZ4WJ6PKD")
    await world.put("eval", session="judge", text="Rate this.", evaluation_only=True)
    for number in range(7):
        await world.put(
            f"run-{number}", user=f"u{number % 2}", session="run", text=f"step {number}", source="e2e"
        )
    await world.learn("likes-lisbon", "trip-1", "trip-2", content="Likes Lisbon.")
    await world.learn(7, "run-0", user="u0", content="Step by step.")
    yield world
    await world.close()


TURNS = [{"role": "User", "content": "I cannot eat peanuts."}]
LEARNING = "profile:likes-lisbon"
PUBLISH: dict[str, Any] = {"user_id": "eve", "session_id": "k", "request_id": "new", "interactions": TURNS}
TWO_TURNS = PUBLISH | {"interactions": [*TURNS, {"role": "Assistant", "content": "Noted."}]}
NOT = Person(lambda _: "decline")

SENT: tuple[str, dict[str, Any]] = ("publish_interaction", TWO_TURNS)
TRIP: dict[str, Any] = {"session_id": "trip"}
SEVENTY = ["key", "trip-1", *(f"n{number}" for number in range(68))]
UNLEARN: dict[str, Any] = {"user_id": "ada", "learning_ids": [LEARNING]}
TURNS_GO: dict[str, Any] = {"request_id": "new", "interaction_ids": [12]}
ALL_OF_ADA: dict[str, Any] = {"user_id": "ada", "include_learnings": True, "erase": True}
COPIED: tuple[str, dict[str, Any]] = ("delete_request", {"request_id": "key", "confirm": "yes"})

# name: (variables, person, calls). A `confirm` of "yes" is the code of the call's plan, one of "again" the last code; a
# `copy_id` of "last" is that of the last receipt.
KINDS: dict[str, tuple[dict[str, str], Any, list[tuple[str, dict[str, Any]]]]] = {
    "sessions": ({}, None, [("list_sessions", {"limit": 2})]),
    "sessions-longest": ({}, None, [("list_sessions", {"order": "longest", "limit": 1})]),
    "sessions-filtered": ({}, None, [("list_sessions", {"source": "chat", "contains": "hotel"})]),
    "requests": ({}, None, [("list_requests", {"limit": 3})]),
    "requests-searched": ({}, None, [("list_requests", {"contains": "Lisbon", "start_time": "2020-01-01"})]),
    "requests-full": ({}, None, [("list_requests", {"session_id": "work", "detail": "full"})]),
    "requests-masked": ({}, None, [("list_requests", {"session_id": "work", "detail": "masked"})]),
    "requests-none": ({}, None, [("list_requests", {"source": "ide"})]),
    "requests-unknown": ({}, None, [("list_requests", {"request_id": "other"})]),
    "request": ({}, None, [("get_request", {"request_id": "eval"})]),
    "request-unknown": ({}, None, [("get_request", {"request_id": "other"})]),
    "learnings": ({}, None, [("list_learnings", {"user_id": "ada"})]),
    "audit": ({}, None, [("audit_traffic", {"start_time": "2020-01-01", "end_time": "2030-01-01"})]),
    "audit-none": ({}, None, [("audit_traffic", {"user_id": "nobody"})]),
    "stored": ({}, None, [("publish_interaction", PUBLISH)]),
    "stored-already": ({}, None, [("publish_interaction", PUBLISH), ("publish_interaction", PUBLISH)]),
    "plan": ({}, None, [("delete_session", {"session_id": "trip"})]),
    "plan-of-many": ({}, None, [("delete_requests", {"source": "e2e"})]),
    "plan-not-found": ({}, None, [("delete_request", {"request_id": "other"})]),
    "plan-changed": ({}, None, [("delete_request", {"request_id": "key", "confirm": "1-abcdef-" + "A" * 24})]),
    "plan-of-learnings": ({}, None, [("delete_learnings", {"user_id": "ada", "learning_ids": [LEARNING]})]),
    "receipt": ({}, None, [("delete_session", {"session_id": "trip", "confirm": "yes"})]),
    "receipt-of-many": ({}, None, [("delete_requests", {"source": "e2e", "confirm": "yes"})]),
    "receipt-ids": (
        {"CONFIRM": "off"}, None, [("delete_requests", {"request_ids": SEVENTY}), ("get_status", {"receipt": "1"})]
    ),
    "receipt-with-copy": ({"RECOVERY_DAYS": "7"}, None, [("delete_request", {"request_id": "key", "confirm": "yes"})]),
    "agreed": ({}, agreeing(), [("delete_request", {"request_id": "key"})]),
    "declined": ({}, NOT, [("delete_request", {"request_id": "key"})]),
    "sent-without-yes": ({}, Person(lambda _: {"delete": False}), [("delete_request", {"request_id": "key"})]),
    "cancelled": ({}, Person(lambda _: "cancel"), [("delete_request", {"request_id": "key"})]),
    "unanswered": ({}, Person(lambda _: "broken"), [("delete_request", {"request_id": "key"})]),
    "wrong-number": ({}, Person(lambda _: {"requests": 3}), [("delete_requests", {"source": "e2e"})]),
    "cannot-ask": ({"CONFIRM": "ask"}, None, [("delete_request", {"request_id": "key"})]),
    "status": ({"RECOVERY_DAYS": "7"}, None, [("get_status", {})]),
    "receipt-at-once": ({"CONFIRM": "off"}, None, [("delete_session", {"session_id": "trip"})]),
    "receipt-incomplete": ({}, None, [("delete_session", {"session_id": "trip", "confirm": "yes"})]),
    "receipt-with-learnings": ({}, None, [("delete_session", TRIP | {"include_learnings": True, "confirm": "yes"})]),
    "receipt-of-learnings": ({}, None, [("delete_learnings", UNLEARN | {"confirm": "yes"})]),
    "gone-already": ({}, None, [COPIED, ("delete_request", {"request_id": "key", "confirm": "again"})]),
    "scheduled": ({}, None, [("delete_session", TRIP | {"wait_for_response": False, "confirm": "yes"})]),
    "plan-of-turns": ({}, None, [SENT, ("delete_request", TURNS_GO)]),
    "receipt-of-turns": ({}, None, [SENT, ("delete_request", TURNS_GO | {"confirm": "yes"})]),
    "plan-of-a-user": ({}, None, [("delete_requests", ALL_OF_ADA)]),
    "receipt-of-a-user": ({}, None, [("delete_requests", ALL_OF_ADA | {"confirm": "yes"})]),
    "copies": ({"RECOVERY_DAYS": "7"}, None, [COPIED, ("restore_requests", {})]),
    "restored": ({"RECOVERY_DAYS": "7"}, None, [COPIED, ("restore_requests", {"copy_id": "last"})]),
    "restored-nothing": ({"RECOVERY_DAYS": "7"}, None, [COPIED, *[("restore_requests", {"copy_id": "last"})] * 2]),
    "request-id-taken": ({}, None, [("publish_interaction", PUBLISH), SENT]),
    "wrong-arguments": ({}, None, [("publish_interaction", {"role": "User"})]),
    "missing-arguments": ({}, None, [("publish_interaction", {})]),
    "wrong-tool": ({}, None, [("forget", {})]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_a_result_reads_as_its_snapshot_says(stocked: World, kind: str) -> None:
    env, person, calls = KINDS[kind]
    if kind == "receipt-incomplete":
        stocked.backend.failing["/api/delete_requests_by_ids"] = (0, 403)
    code, copy = "", ""
    # The era before 2026-07-28 reports what a form was answered with in the same call.
    async with stocked.connect("legacy", person, **env) as caller:
        results: list[CallToolResult] = []
        for tool, arguments in calls:
            given = dict(arguments)
            if given.get("confirm") == "yes":
                del given["confirm"]
                given["confirm"] = code = (await caller.call(tool, **given))["confirm"]
            elif given.get("confirm") == "again":
                given["confirm"] = code
            if "copy_id" in given:
                given["copy_id"] = copy
            results.append(await caller.result(tool, **given))
            copy = (results[-1].structured_content or {}).get("copy_id", copy)
    if (facts := results[-1].structured_content) is not None:
        Draft202012Validator(OUTPUTS[calls[-1][0]]).validate(facts)
    text = shown(results[-1])
    if person is not None and person.seen:
        text = f"The person is asked:\n{steady(person.seen.pop())}\n\n{text}"
    path = FOLDER / f"{kind}.txt"
    if os.environ.get("REFLEXIO_UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_no_snapshot_is_left_of_a_kind_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == KINDS.keys()
