"""One snapshot for each kind of result and form: what a model reads. A change of words must be meant.

Run with `REFLEXIO_UPDATE_SNAPSHOTS=1` to write them anew.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from mcp.types import CallToolResult

from reflexio_mcp.render.reading import learning_page
from reflexio_mcp.render.words import words_for_model
from reflexio_mcp.results.base import NOTICE, at, structured
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import EvidenceRow, FromRequest, LearningPage, LearningRow, OtherLearning
from tests.support.embedded import Clock
from tests.support.facts import text_of
from tests.tools.conftest import Connect
from tests.tools.test_reading import put

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parent / "snapshots"

VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"(?<=stored text )[0-9a-f]{8}|(?<=<<end )[0-9a-f]{8}"), "MARK"),
    (re.compile(r"(?<=confirm=)[\w-]+|(?<=\"confirm\": \")[\w-]+"), "CODE"),
    (re.compile(r"\beN[\w-]{20,}"), "CURSOR"),
    (re.compile(r"(?<=fingerprint )[0-9a-f]{10}|(?<=\"fingerprint\": \")[0-9a-f]{10}"), "PRINT"),
    (re.compile(r"(?<=\"log\": \")[^\"]+"), "CHAIN"),
    (re.compile(r"/\S*store\.db"), "STORE"),
    (re.compile(r"(?<=correlation id )[0-9a-f]{6,}"), "ID"),
)

DELETED: list[tuple[str, dict[str, Any]]] = [
    ("delete_session", {"session_id": "trip"}),
    ("delete_session", {"session_id": "trip", "confirm": "CODE"}),
]

KINDS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "sessions": [("list_sessions", {})],
    "requests": [("list_requests", {"contains": "hotel"})],
    "requests-full": [("list_requests", {"session_id": "trip", "detail": "full", "limit": 1})],
    "requests-masked": [("list_requests", {"detail": "masked", "source": "chat"})],
    "nothing-found": [("list_requests", {"contains": "absent", "user_id": "ada"})],
    "request": [("get_request", {"request_id": "r1"})],
    "published": [("publish_interaction", {
        "user_id": "ada", "session_id": "new", "request_id": "r9",
        "interactions": [{"content": "the password is Tr0ub4dor&3x9"}],
    })],
    "status": [("get_status", {})],
    "audit": [("audit_traffic", {})],
    "plan": [("delete_session", {"session_id": "trip"})],
    "receipt": DELETED,
    "restorable": [*DELETED, ("restore_requests", {})],
    "restore-plan": [*DELETED, ("restore_requests", {"deletion": 1})],
    "restored": [
        *DELETED,
        ("restore_requests", {"deletion": 1}),
        ("restore_requests", {"deletion": 1, "confirm": "CODE"}),
    ],
    "explorer": [("explore_traffic", {"session_id": "evening"})],
    "refused": [("list_requests", {"start_time": "yesterdayish", "sources": "chat"})],
}  # fmt: skip


def steady(text: str) -> str:
    """A text without what differs from run to run."""
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return f"{text}\n"


@pytest.mark.parametrize("era", ["2026-07-28"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_result_reads_as_its_snapshot_says(kind: str, connect: Connect, clock: Clock) -> None:
    async with connect(REFLEXIO_MCP_CONFIRM="preview") as client:
        for number, words in enumerate(("I want to fly to Lisbon.", "A hotel for two", "Dinner"), 1):
            clock.now += 60
            session = "trip" if number < 3 else "evening"
            await put(client, f"r{number}", words, session, source="chat", agent_version="2.4")
        clock.now += 60
        result: CallToolResult | None = None
        for tool, arguments in KINDS[kind]:
            if arguments.get("confirm"):
                assert result
                facts = result.structured_content or {}
                arguments = {**arguments, "confirm": facts.get("plan", facts)["confirm"]}
            result = await client.call_tool(tool, arguments)
        assert result
    check(kind, text_of(result), result.structured_content)


def test_learnings_read_as_their_snapshot_says() -> None:
    rows = [
        LearningRow(
            learning_id="profile-1",
            state="current",
            changed_at=at(1_800_000_000),
            content="Cannot eat peanuts.",
            known_since=at(1_700_000_000),
            evidence=[
                EvidenceRow(
                    quote="I cannot eat peanuts",
                    request_id="r1",
                    interaction_id=7,
                    role="User",
                    said_at=at(1_700_000_000),
                )
            ],
            window_only=9,
            source="recorded",
            replaced=[OtherLearning(learning_id="profile-0", state="superseded", content="Avoids nuts.")],
        ),
        LearningRow(
            learning_id="playbook-2",
            state="superseded",
            content="Write letters of three sentences.",
            trigger="a letter is asked for",
            source="reconstructed",
            quotes_not_found=["three sentences, please"],
            from_requests=[FromRequest(request_id="r2", interaction_ids=[8])],
            interactions_deleted=2,
        ),
    ]
    page = LearningPage(
        notice=NOTICE,
        of="user ada",
        returned=2,
        cut_by_size=True,
        total=7,
        learnings=rows,
        unlinked=1,
        cursor="eNCURSORCURSORCURSORCURSOR",
        facts=[
            Fact(code=FactCode.LEARNINGS_NOT_LISTED, number=1),
            Fact(code=FactCode.KINDS_NOT_LISTED),
        ],
    )
    told = learning_page(page, words_for_model(["list_learnings"]))
    check("learnings", told.text, structured(page.model_copy(update={"text": told.own})))


def check(kind: str, text: str, facts: dict[str, Any] | None) -> None:
    """Compare both forms of a result with their snapshots, or write these."""
    forms = {"txt": steady(text)}
    if facts is not None:
        forms["json"] = steady(json.dumps(facts, indent=1, ensure_ascii=False))
    for form, shown in forms.items():
        path = FOLDER / f"{kind}.{form}"
        if os.environ.get("REFLEXIO_UPDATE_SNAPSHOTS"):
            FOLDER.mkdir(exist_ok=True)
            path.write_text(shown, encoding="utf-8")
        assert path.is_file(), f"{path.name} is missing: REFLEXIO_UPDATE_SNAPSHOTS=1 writes it"
        assert path.read_text(encoding="utf-8") == shown
