"""Findings about how a whole store is kept: each with what it is about, and with ordinary stores that only look so."""

import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client.client import Client

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.traffic.audit.run import run_audit
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.rules.found import Found
from reflexio_mcp.traffic.scope import Scope
from tests.audit.corpus import DAY, HOUR, Maker
from tests.audit.measuring import EVERY_TOOL, executed
from tests.audit.stocking import publish_row, set_times, stocked
from tests.audit.talk import Turn
from tests.primitives.conftest import call, facts, text_of

pytestmark = pytest.mark.anyio

Fill = Callable[[Maker], object]


async def audited(fill: Fill, folder: Path, rule_id: str) -> Found | None:
    """The finding of one rule in a store, its call tried out."""
    make = Maker(11, int(time.time()))
    fill(make)
    async with stocked(make.finish(), folder) as client:
        scope = Scope(client)
        audit = await run_audit(scope, TrafficFilter(), offer=EVERY_TOOL)
        found = next((one for one in audit.findings if one.rule.id == rule_id), None)
        if found is not None and found.rule.unit in ("user", "version", "request"):
            assert found.next is not None
            field = {"user": "user_id", "version": "agent_version", "request": "request_id"}[found.rule.unit]
            units = {getattr(one, field) for one in await executed(scope, found.next)}
            assert units == set(found.subjects)
            assert found.next.selects == found.count == len(units)
            assert len(found.examples) == min(3, found.count)
    return found


def conversations(make: Maker, count: int, user: Callable[[str], str], **more: str) -> None:
    for _ in range(count):
        session, at = make.id(), make.when()
        make.conversation(1, session=session, user=user(session), at=at, **more)


FOUND: list[tuple[str, Fill]] = [
    ("anonymous-user", lambda make: conversations(make, 12, lambda session: "anonymous")),
    ("anonymous-user", lambda make: conversations(make, 12, lambda session: "Guest-User")),
    ("user-per-session", lambda make: conversations(make, 24, lambda session: f"user-{session}")),
    ("user-per-session", lambda make: conversations(make, 24, lambda session: session)),
    ("user-per-session", lambda make: conversations(make, 24, lambda session: f"guest-{session[:8]}4")),
    ("user-per-session", lambda make: conversations(make, 60, lambda session: str(uuid.uuid4()))),
    ("one-version", lambda make: months(make, lambda number: "latest", sources=1)),
    ("no-source", lambda make: without_sources(make, 12, 20)),
    ("only-evaluation", lambda make: evaluated(make, 24, 24)),
    ("one-version", lambda make: months(make, lambda number: "1.0.0")),
    (
        "version-per-session",
        lambda make: ([make.conversation(1, at=make.when(2), agent_version=make.id()) for _ in range(12)]),
    ),
    ("future-time", lambda make: later(make, 2 * HOUR)),
    ("repeated-prompt", lambda make: prompted(make, "System", 6)),
    ("repeated-prompt", lambda make: prompted(make, "User", 6)),
]

ORDINARY: list[tuple[str, Fill]] = [
    ("anonymous-user", lambda make: conversations(make, 9, lambda session: "anonymous")),
    ("anonymous-user", lambda make: conversations(make, 30, lambda session: "default")),
    ("anonymous-user", lambda make: conversations(make, 30, lambda session: f"guest-{session[:8]}")),
    ("anonymous-user", lambda make: conversations(make, 30, lambda session: "nobody.owens")),
    ("user-per-session", lambda make: conversations(make, 40, lambda session: str(uuid.uuid4()))),
    ("user-per-session", lambda make: conversations(make, 40, lambda session: f"u{int(session[:6], 16)}@x.org")),
    ("user-per-session", lambda make: [make.conversation(1, f"guest-{one % 8}7-{one}", f"guest-{one % 8}7")
                                       for one in range(40)]),
    ("no-source", lambda make: without_sources(make, 9, 20)),
    ("no-source", lambda make: without_sources(make, 12, 90)),
    ("only-evaluation", lambda make: evaluated(make, 24, 23)),
    ("only-evaluation", lambda make: evaluated(make, 12, 12)),
    ("one-version", lambda make: months(make, lambda number: f"1.0.{number // 120}")),
    ("one-version", lambda make: months(make, lambda number: "1.0.0", days=20)),
    ("one-version", lambda make: months(make, lambda number: "2.3.1", sources=2)),
    ("version-per-session", lambda make: released(make, 12)),
    ("version-per-session", lambda make: [make.conversation(1, at=make.when(2), agent_version=f"2.{one}.0")
                                          for one in range(14)]),
    ("future-time", lambda make: later(make, 300)),
    ("repeated-prompt", lambda make: prompted(make, "System", 4)),
    ("repeated-prompt", lambda make: templated(make)),
]  # fmt: skip


def without_sources(make: Maker, without: int, of: int) -> None:
    for number in range(of):
        make.conversation(1, at=make.when())
        if number < without:
            make.made.rows[-1] = replace(make.made.rows[-1], source="")


def evaluated(make: Maker, of: int, evaluation: int) -> None:
    for number in range(of):
        make.conversation(1, evaluation_only=number < evaluation)


def months(make: Maker, version: Callable[[int], str], *, days: int = 40, sources: int = 3) -> None:
    for number in range(210):
        at = make.made.now - days * DAY + number * days * DAY // 210
        source = ("ide", "web-chat", "kiosk")[number % sources]
        make.conversation(1, at=at, source=source, agent_version=version(number))


def released(make: Maker, versions: int) -> None:
    """A hash for each release, a release a day."""
    for number in range(versions):
        version = f"{make.rng.getrandbits(40):010x}a1"
        make.conversation(1, at=make.made.now - number * DAY - HOUR, agent_version=version)


def later(make: Maker, seconds: int) -> None:
    make.conversation(1)
    make.put(make.talk.exchange(), "s", "ada", make.made.now + seconds, "web")


def prompted(make: Maker, role: str, times: int) -> None:
    prompt = "You are a helpful assistant of the museum. " + "Answer in two sentences and stay polite. " * 6
    for number in range(times):
        turns = [
            Turn(role, prompt),
            Turn("User", f"When does room {number} open?"),
            Turn("Assistant", "At ten."),
        ]
        make.put(turns, f"s{number % 2}", "ada", make.when(), "web")


def templated(make: Maker) -> None:
    """A person's own long text, again and again."""
    for number in range(8):
        text = "Here is this week's list of plants and what I did with them. " * 5 + f"Week {number}."
        make.put([Turn("User", text), Turn("Assistant", "Kept.")], f"s{number}", "ada", make.when(), "web")


@pytest.mark.parametrize(("rule_id", "fill"), FOUND)
async def test_a_habit_is_found_and_its_call_selects_exactly_that(
    rule_id: str, fill: Fill, tmp_path: Path
) -> None:
    assert await audited(fill, tmp_path, rule_id) is not None


@pytest.mark.parametrize(("rule_id", "fill"), ORDINARY)
async def test_an_ordinary_store_is_left_alone(rule_id: str, fill: Fill, tmp_path: Path) -> None:
    assert await audited(fill, tmp_path, rule_id) is None


class Learned(httpx.AsyncBaseTransport):
    """The embedded store with what was learned put before it."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.profiles: list[dict[str, Any]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path in ("/api/get_profiles", "/api/get_user_playbooks"):
            name = "user_profiles" if "profiles" in request.url.path else "user_playbooks"
            user = json.loads(request.content)["user_id"]
            rows = [one for one in self.profiles if one["user_id"] == user and name == "user_profiles"]
            return httpx.Response(200, json={"success": True, name: rows}, request=request)
        return await self.inner.handle_async_request(request)


async def test_learnings_that_are_old_or_outlived_their_sources_are_found_with_the_call_that_forgets_them(
    tmp_path: Path,
) -> None:
    make = Maker(11, int(time.time()))
    make.conversation(2, user="ada")
    make.conversation(2, user="bob")
    path = tmp_path / "store.db"
    store = EmbeddedStore(str(path))
    learned = Learned(httpx.ASGITransport(app=store))
    rest = ReflexioClient("http://store.invalid", timeout=30, transport=lambda: learned)
    for row in make.finish().rows:
        await publish_row(rest, row)
    set_times(path, {row.request_id: row.created_at for row in make.made.rows})
    stored = await Scope(rest).client.get_requests(TrafficFilter(user_id="ada").query(top_k=5))
    alive = [turn.interaction_id for turn in stored.sessions[0].requests[0].interactions]
    recent, old = make.made.now - DAY, make.made.now - 400 * DAY
    for profile_id, user, sources, changed, status in (
        ("alive", "ada", alive, recent, None),
        ("half", "ada", [alive[0], 999_999], recent, None),
        ("orphan", "ada", [999_998], recent, None),
        ("orphan-2", "ada", [999_997, 999_998], recent, None),
        ("gone", "ada", [999_998], old, "superseded"),
        ("says-nothing", "ada", [], recent, None),
        ("old", "bob", [], old, None),
    ):
        learned.profiles.append(
            {"profile_id": profile_id, "user_id": user, "content": "likes tea", "source_interaction_ids": sources,
             "last_modified_timestamp": changed, "status": status}
        )  # fmt: skip
    settings = load({"REFLEXIO_URL": "http://127.0.0.1:1"})
    async with Client(ReflexioServer(settings, client=rest)) as client:
        result = await call(client, "audit_traffic")
        found = {one["id"]: one for one in facts(result)["findings"]}
        orphaned, stale = found["orphaned-learning"], found["stale-learning"]
        assert orphaned["which"] == ["profile:orphan", "profile:orphan-2"]
        assert orphaned["next"] == {
            "tool": "delete_learnings",
            "arguments": {"user_id": "ada", "learning_ids": ["profile:orphan", "profile:orphan-2"]},
        }
        assert stale["which"] == ["profile:old"]
        assert "likes tea" not in text_of(result)
        plan = await client.call_tool("delete_learnings", {**orphaned["next"]["arguments"]})
        assert "2 profiles" in text_of(plan) or "2 learnings" in text_of(plan)
    read_only = load({"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_MCP_READ_ONLY": "1"})
    async with Client(ReflexioServer(read_only, client=rest)) as client:
        result = await call(client, "audit_traffic")
        (one,) = [one for one in facts(result)["findings"] if one["id"] == "stale-learning"]
        assert "next" not in one
        assert one["no_next"] in text_of(result)
    await rest.aclose()
    await store.aclose()
