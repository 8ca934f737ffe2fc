"""A reference model of what was learned, and from what, never disagrees with lists, plans and receipts."""

import asyncio
import random
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reflexio_mcp.server.server import ReflexioServer
from tests.deletion.support import BY_IDS, World
from tests.deletion.support import Known as Row
from tests.support.real_learning import Corner

T = TypeVar("T")

USERS = ("ada", "bob")
SESSIONS = ("s1", "s2")
SCOPES = st.sampled_from(("", *USERS))


@dataclass(frozen=True)
class Learned:
    """What the model knows of a learning: whose, from which requests, and whether it lists their turns."""

    user: str
    requests: frozenset[str]
    status: str | None = None
    lists: bool = True


class Learnings(RuleBasedStateMachine):
    """Conversations, what is learned from them, merges and deletions. A learning is named as our lists name it."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.requests: dict[str, tuple[str, str]] = {}
        self.turns: dict[str, int] = {}
        self.learned: dict[str, Learned] = {}
        self.count = 0
        self.servers: dict[str, ReflexioServer] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(asyncio.wait_for(work, 60))

    @initialize()
    def start(self) -> None:
        self.world = World(":memory:", Path(self.folder.name))

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self.world.close())
        self.runner.close()
        self.folder.cleanup()

    def call(self, tool: str, scope: str = "", **arguments: Any) -> dict[str, Any]:
        if scope not in self.servers:
            user = {"REFLEXIO_USER_ID": scope} if scope else {}
            self.servers[scope] = self.world.server(CONFIRM="off", DELETE_CAP="0", **user)

        async def called() -> dict[str, Any]:
            async with self.world.connect(server=self.servers[scope]) as caller:
                return await caller.call(tool, **arguments)

        return self.run(called())

    # What happens without this server

    @rule(user=st.sampled_from(USERS), session=st.sampled_from(SESSIONS))
    def publish(self, user: str, session: str) -> None:
        self.count += 1
        name = f"r{self.count}"
        self.run(self.world.put(name, user=user, session=session))
        self.requests[name] = (user, session)
        [self.turns[name]] = self.run(self.world.interactions(name))

    def learn(self, one: Learned, kind: str = "profile") -> None:
        """Write a learning as the service does: it lists turns, or none, and names the last request."""
        self.count += 1
        last = max(one.requests, key=lambda name: self.turns[name], default="manual_12345678")
        turns = tuple(sorted(self.turns[name] for name in one.requests)) if one.lists else ()
        row = Row(one.user, last, turns, one.status, f"learned {self.count}")
        if kind == "profile":
            self.world.backend.profiles[f"p{self.count}"] = row
            self.learned[f"profile:p{self.count}"] = one
        else:
            self.world.backend.playbooks[self.count] = row
            self.learned[f"user_playbook:{self.count}"] = one

    def of(self, user: str) -> list[str]:
        return [name for name, (owner, _) in self.requests.items() if owner == user]

    @rule(
        user=st.sampled_from(USERS),
        size=st.integers(0, 3),
        kind=st.sampled_from(("profile", "user_playbook")),
        lists=st.sampled_from((True, True, True, False)),
    )
    def window_is_learned_from(self, user: str, size: int, kind: str, lists: bool) -> None:
        window = self.of(user)[-size:] if size else []
        # Without its turns a learning tells of its last request alone.
        self.learn(
            Learned(user, frozenset(window if lists else window[-1:]), None, lists and bool(window)), kind
        )

    @rule(user=st.sampled_from(USERS))
    def two_profiles_are_merged(self, user: str) -> None:
        both = [
            name
            for name, one in self.learned.items()
            if one.user == user and one.lists and not one.status and name.startswith("profile:")
        ][:2]
        if len(both) < 2:
            return
        for name in both:
            self.set_status(name, "superseded")
        self.learn(Learned(user, self.learned[both[0]].requests | self.learned[both[1]].requests))

    def set_status(self, name: str, status: str) -> None:
        self.learned[name] = replace(self.learned[name], status=status)
        number = name.partition(":")[2]
        self.world.backend.profiles[number] = self.world.backend.profiles[number]._replace(status=status)

    @rule(data=st.data())
    def somebody_deletes_a_request(self, data: st.DataObject) -> None:
        if self.requests:
            name = data.draw(st.sampled_from(sorted(self.requests)))
            self.run(self.world.rest.delete_request(name))
            del self.requests[name]

    # What this server does and says

    def fed(self, chosen: set[str]) -> set[str]:
        users = {self.requests[name][0] for name in chosen}
        return {name for name, one in self.learned.items() if one.user in users and one.requests & chosen}

    def unlinked(self, chosen: set[str]) -> int:
        users = {self.requests[name][0] for name in chosen}
        return sum(
            one.user in users and not one.lists and not one.requests & chosen for one in self.learned.values()
        )

    def agrees(self, facts: dict[str, Any] | None, names: set[str], unlinked: int = 0) -> None:
        """Whether facts about learnings are those of the model: none, these, or not known."""
        facts = facts or {"status": "none"}
        assert facts["status"] == ("these" if names else "not_known" if unlinked else "none")
        for kind in ("profile", "user_playbook"):
            assert facts.get(f"{kind}s", 0) == sum(name.startswith(kind) for name in names)

    @rule(
        session=st.sampled_from(SESSIONS),
        single=st.booleans(),
        scope=SCOPES,
        include=st.booleans(),
        late=st.booleans(),
        data=st.data(),
    )
    def requests_are_deleted(
        self, session: str, single: bool, scope: str, include: bool, late: bool, data: st.DataObject
    ) -> None:
        chosen = {
            name
            for name, (user, where) in self.requests.items()
            if where == session and (not scope or user == scope)
        }
        if not chosen:
            return
        arguments: dict[str, Any] = {"session_id": session}
        if single:
            chosen = {data.draw(st.sampled_from(sorted(chosen)))}
            arguments = {"request_id": next(iter(chosen))}
        if late:
            source = min(chosen)

            async def learned_meanwhile() -> None:
                self.learn(Learned(self.requests[source][0], frozenset({source})))

            self.world.backend.before[BY_IDS] = [learned_meanwhile]
        tool = "delete_request" if single else "delete_session"
        facts = self.call(tool, scope, **arguments, include_learnings=include)
        self.world.backend.before.clear()
        fed, unlinked = self.fed(chosen), self.unlinked(chosen)
        assert facts["status"] == "complete"
        if include:
            self.agrees(facts.get("learned_deleted"), fed)
            self.agrees(facts["learned_left"], set(), unlinked)
            for name in fed:
                del self.learned[name]
        else:
            self.agrees(facts["learned_left"], fed, unlinked)
        for name in chosen:
            del self.requests[name]

    @rule(
        by=st.sampled_from(("user", "session", "request", "ids")),
        user=st.sampled_from(USERS),
        session=st.sampled_from(SESSIONS),
        scope=SCOPES,
        data=st.data(),
    )
    def learnings_are_deleted(
        self, by: str, user: str, session: str, scope: str, data: st.DataObject
    ) -> None:
        user = scope or user
        named = {} if scope else {"user_id": user}
        if by == "user":
            names = {name for name, one in self.learned.items() if one.user == user}
            arguments: dict[str, Any] = named or {"everything": True}
        elif by == "ids":
            if not self.learned:
                return
            asked = data.draw(st.lists(st.sampled_from(sorted(self.learned)), min_size=1, unique=True))
            names = {name for name in asked if self.learned[name].user == user}
            arguments = {"learning_ids": asked, **named}
        else:
            visible = {
                name for name, (owner, where) in self.requests.items() if owner == user and where == session
            }
            if not visible:
                return
            arguments = {"session_id": session, **named}
            if by == "request":
                visible = {min(visible)}
                arguments = {"request_id": min(visible)}
            names = self.fed(visible)
        facts = self.call("delete_learnings", scope, **arguments)
        if not names:
            assert facts["status"] == "not_found"
            return
        assert (facts["status"], facts["deleted"]) == ("complete", len(names))
        sources = (
            frozenset[str]().union(*(self.learned[name].requests for name in names)) & self.requests.keys()
        )
        recorded = all(self.learned[name].lists for name in names)
        if recorded:
            assert ("can be learned again" in facts["survives"]) == bool(sources)
        for name in names:
            del self.learned[name]

    @rule(data=st.data(), scope=SCOPES)
    def learnings_are_listed(self, data: st.DataObject, scope: str) -> None:
        if not self.requests:
            return
        name = data.draw(st.sampled_from(sorted(self.requests)))
        user = self.requests[name][0]
        if scope not in ("", user):
            return
        facts = self.call("list_learnings", scope, request_id=name, limit=100)
        told = {one["learning_id"]: one for one in facts["learnings"]}
        assert told.keys() == self.fed({name})
        assert facts.get("unlinked", 0) == self.unlinked({name})
        facts = self.call("list_learnings", scope, limit=100, **({} if scope else {"user_id": user}))
        told |= {one["learning_id"]: one for one in facts["learnings"]}
        assert told.keys() == {one for one, known in self.learned.items() if known.user == user}
        for one, shown in told.items():
            known = self.learned[one]
            living = known.requests & self.requests.keys()
            assert shown["state"] == (known.status or "current")
            assert shown["source"] == (
                "recorded" if known.lists else "reconstructed" if living else "not_known"
            )
            named = {place.partition(" ")[0] for place in shown.get("from_requests", [])}
            assert named == (living if known.lists else set())
            assert shown.get("turns_deleted", 0) == (len(known.requests - living) if known.lists else 0)

    @invariant()
    def the_service_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "world"):
            return
        rows = {f"profile:{number}": row for number, row in self.world.backend.profiles.items()}
        rows |= {f"user_playbook:{number}": row for number, row in self.world.backend.playbooks.items()}
        assert {name: row.status for name, row in rows.items()} == {
            name: one.status for name, one in self.learned.items()
        }


TestLearnings = Learnings.TestCase
TestLearnings.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.live
@pytest.mark.anyio
async def test_receipts_say_what_the_real_server_holds_afterwards(corner: Corner) -> None:
    """A walk of a few steps: what the server itself lists before and after each deletion is what its receipt says."""
    steps = random.Random(7)
    stored: list[str] = []
    async with corner.connect() as caller:
        for number in range(4):
            corner.learn(f"fact {number}", profile=f"Fact number {number}", playbook=f"Mind fact {number}")
            request = f"r{number}"
            await corner.say(
                request, f"This is fact {number}", session=f"s{number % 2}", force_extraction=True
            )
            stored.append(request)
            if number % 2 == 0:
                continue
            gone = stored.pop(steps.randrange(len(stored)))
            turns = set(await corner.interactions(gone))
            before = [*await corner.profiles(), *await corner.playbooks()]
            fed = [one for one in before if turns & set(one.source_interaction_ids)]
            include = steps.random() < 0.5
            listed = await caller.call("list_learnings", request_id=corner.name(gone))
            assert listed["total"] == len(fed)
            done = await caller.call(
                "delete_request", request_id=corner.name(gone), include_learnings=include
            )
            after = [*await corner.profiles(), *await corner.playbooks()]
            told = done["learned_deleted"] if include and fed else done["learned_left"]
            assert told.get("profiles", 0) + told.get("user_playbooks", 0) == len(fed)
            assert len(after) == len(before) - (len(fed) if include else 0)
