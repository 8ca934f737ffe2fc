"""A reference model and the system see the same events, and never disagree on what exists or what a receipt says."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from reflexio_mcp.rest.models import RequestQuery
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.traffic.deletion import execute
from tests.deletion.support import BY_IDS, World, agreeing

T = TypeVar("T")

USERS = ("ada", "bob")
SESSIONS = ("s1", "s2", "s3")
SOURCES = ("", "ide", "chat")
SCOPES = st.sampled_from(("", *USERS))
ERAS = st.sampled_from(("2026-07-28", "legacy"))
# How the call comes to its consent: at once, with the plan's code, or from a person.
WAYS = st.sampled_from(("off", "preview", "auto"))
INTERFERENCE = st.sampled_from(("nothing", "publish", "delete one", "delete all"))


@dataclass(frozen=True)
class Known:
    """What the model knows of a stored request."""

    user: str
    session: str
    source: str


class Deletions(RuleBasedStateMachine):
    """Publishes, deletes, restarts, restores and what others do meanwhile."""

    ids: Bundle[str] = Bundle("ids")
    codes: Bundle[tuple[dict[str, Any], str, str, frozenset[str]]] = Bundle("codes")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.stored: dict[str, Known] = {}
        self.copies: dict[str, tuple[str, dict[str, Known]]] = {}
        self.count = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(30):
                return await work

        return self.runner.run(bounded())

    @initialize()
    def start(self) -> None:
        self.world = World(str(Path(self.folder.name) / "store.db"), Path(self.folder.name))
        self.servers: dict[tuple[str, str], ReflexioServer] = {}

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self.world.close())
        self.runner.close()
        self.folder.cleanup()

    def server(self, scope: str, way: str) -> ReflexioServer:
        if (scope, way) not in self.servers:
            user = {"REFLEXIO_USER_ID": scope} if scope else {}
            self.servers[scope, way] = self.world.server(
                CONFIRM=way, RECOVERY_DAYS="1", REFLEXIO_API_KEY="same", **user
            )
        return self.servers[scope, way]

    # What happens to the store without this server

    @rule(
        target=ids,
        user=st.sampled_from(USERS),
        session=st.sampled_from(SESSIONS),
        source=st.sampled_from(SOURCES),
    )
    def publish(self, user: str, session: str, source: str) -> str:
        self.count += 1
        request_id = f"r{self.count}"
        self.run(self.world.put(request_id, user=user, session=session, source=source))
        self.stored[request_id] = Known(user, session, source)
        return request_id

    @rule(request_id=ids)
    def somebody_deletes(self, request_id: str) -> None:
        self.run(self.world.rest.delete_request(request_id))
        self.stored.pop(request_id, None)

    @rule()
    def restart(self) -> None:
        clock = self.world.clock
        self.run(self.world.close())
        self.start()
        self.world.clock.now = clock.now

    # Deletions through the tools

    def visible(self, scope: str, matches: Callable[[str, Known], bool]) -> set[str]:
        return {
            one
            for one, known in self.stored.items()
            if (not scope or known.user == scope) and matches(one, known)
        }

    def meanwhile(self, what: str, chosen: set[str]) -> set[str]:
        """Arrange what another process does just before the act; returns what it takes away."""
        gone = {"delete one": {min(chosen)}, "delete all": set(chosen)}.get(what, set[str]())

        async def act() -> None:
            if what == "publish":
                self.count += 1
                await self.world.put(f"r{self.count}", user="ada", session="s1", source="ide")
                self.stored[f"r{self.count}"] = Known("ada", "s1", "ide")
            if gone:
                await self.world.rest.delete_requests_by_ids(sorted(gone))
                for one in gone:
                    del self.stored[one]

        self.world.backend.before[BY_IDS] = [act]
        return gone

    def delete(
        self,
        tool: str,
        arguments: dict[str, Any],
        scope: str,
        way: str,
        era: str,
        chosen: set[str],
        what: str,
    ) -> None:
        missing = set(arguments.get("request_ids", [arguments.get("request_id")])) - chosen - {None}
        lost = self.meanwhile(what, chosen) if chosen else set[str]()
        before = dict(self.stored)

        async def called() -> dict[str, Any]:
            person = agreeing() if way == "auto" else None
            async with self.world.connect(era, person, self.server(scope, way)) as caller:
                facts = await caller.call(tool, **arguments)
                if facts["status"] == "planned":
                    assert way == "preview"
                    assert facts["deleted"] == 0
                    facts = await caller.call(tool, **arguments, confirm=facts["confirm"])
                return facts

        facts = self.run(called())
        self.world.backend.before.clear()
        if not chosen:
            assert facts["status"] == "not_found"
            assert facts["deleted"] == 0
            return
        outcomes = {name: set(ids) for name, ids in facts["outcomes"].items()}
        assert facts["counts"] == {name: len(ids) for name, ids in outcomes.items()}
        assert sum(facts["counts"].values()) == len(chosen | missing)
        assert set.union(*outcomes.values()) == chosen | missing
        assert not outcomes.keys() & {"still_present", "not_allowed", "unknown"}
        mine = outcomes.get("deleted", set())
        assert outcomes.get("not_found", set()) == (chosen | missing) - mine
        assert mine == chosen
        assert facts.get("deleted_by_others", 0) == len(lost)
        for one in mine:
            self.stored.pop(one, None)
        if copy_id := facts.get("copy_id"):
            self.copies[copy_id] = (scope, {one: before[one] for one in chosen})
        else:
            assert not mine

    @rule(request_id=ids, scope=SCOPES, way=WAYS, era=ERAS, what=INTERFERENCE)
    def delete_request(self, request_id: str, scope: str, way: str, era: str, what: str) -> None:
        chosen = self.visible(scope, lambda one, _: one == request_id)
        self.delete("delete_request", {"request_id": request_id}, scope, way, era, chosen, what)

    @rule(session=st.sampled_from(SESSIONS), scope=SCOPES, way=WAYS, era=ERAS, what=INTERFERENCE)
    def delete_session(self, session: str, scope: str, way: str, era: str, what: str) -> None:
        chosen = self.visible(scope, lambda _, known: known.session == session)
        self.delete("delete_session", {"session_id": session}, scope, way, era, chosen, what)

    @rule(source=st.sampled_from(SOURCES[1:]), scope=SCOPES, way=WAYS, era=ERAS, what=INTERFERENCE)
    def delete_by_filter(self, source: str, scope: str, way: str, era: str, what: str) -> None:
        chosen = self.visible(scope, lambda _, known: known.source == source)
        self.delete("delete_requests", {"source": source}, scope, way, era, chosen, what)

    @rule(
        wanted=st.lists(ids, min_size=1, max_size=4, unique=True),
        scope=SCOPES,
        way=WAYS,
        era=ERAS,
        what=INTERFERENCE,
    )
    def delete_by_ids(self, wanted: list[str], scope: str, way: str, era: str, what: str) -> None:
        asked = [*wanted, "never-stored"]
        chosen = self.visible(scope, lambda one, _: one in asked)
        self.delete("delete_requests", {"request_ids": asked}, scope, way, era, chosen, what)

    @rule(source=st.sampled_from(SOURCES[1:]), era=ERAS, worked=st.integers(0, 2))
    def fail_half_way_and_finish(self, source: str, era: str, worked: int) -> None:
        chosen = self.visible("", lambda _, known: known.source == source)
        if not chosen:
            return
        self.world.backend.failing[BY_IDS] = (worked, 403)

        async def called() -> tuple[dict[str, Any], dict[str, Any]]:
            async with self.world.connect(era, server=self.server("", "off")) as caller:
                first = await caller.call("delete_requests", source=source, erase=True)
                self.world.backend.failing.clear()
                return first, await caller.call("delete_requests", source=source, erase=True)

        # Two ids a batch, so that few requests have a half-way.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(execute, "BATCH", 2)
            first, second = self.run(called())
        gone = set(first["outcomes"].get("deleted", []))
        assert len(gone) == min(worked * 2, len(chosen))
        assert set(first["outcomes"].get("not_allowed", [])) == chosen - gone
        assert set(second.get("outcomes", {}).get("deleted", [])) == chosen - gone
        for one in chosen:
            del self.stored[one]
        # Erased is erased also where only a copy held it any more.
        kept = {
            one
            for scope, held in self.copies.values()
            for one, known in held.items()
            if not scope and known.source == source
        } - chosen
        erased = {
            one
            for facts in (first, second)
            for one in facts.get("outcomes", {}).get("erased_from_copies", [])
        }
        assert erased == kept
        self.copies = {
            copy_id: (scope, {one: known for one, known in held.items() if scope or known.source != source})
            for copy_id, (scope, held) in self.copies.items()
        }

    # Codes that outlive what they were made for

    @rule(target=codes, session=st.sampled_from(SESSIONS), scope=SCOPES, era=ERAS)
    def plan(self, session: str, scope: str, era: str) -> Any:
        async def called() -> dict[str, Any]:
            async with self.world.connect(era, server=self.server(scope, "preview")) as caller:
                return await caller.call("delete_session", session_id=session)

        facts = self.run(called())
        chosen = frozenset(self.visible(scope, lambda _, known: known.session == session))
        assert facts["plan"]["requests"] == len(chosen)
        if not chosen:
            return multiple()
        return {"session_id": session}, facts["confirm"], scope, chosen

    @rule(planned=consumes(codes), era=ERAS)
    def act_on_an_old_plan(self, planned: tuple[dict[str, Any], str, str, frozenset[str]], era: str) -> None:
        arguments, code, scope, then = planned
        now = self.visible(scope, lambda _, known: known.session == arguments["session_id"])

        async def called() -> dict[str, Any]:
            async with self.world.connect(era, server=self.server(scope, "preview")) as caller:
                return await caller.call("delete_session", **arguments, confirm=code)

        facts = self.run(called())
        if now != then or not now:
            assert facts["deleted"] == 0
            assert facts["status"] == ("changed" if now else "not_found")
            changed = facts.get("changed", {})
            if changed.get("added") or changed.get("removed"):
                assert set(changed["added"]) == now - then
                assert set(changed["removed"]) == then - now
            elif "added" in changed:
                # Of another set, which has nothing of the earlier one, the numbers say all.
                assert not now & then
                assert (changed["added_count"], changed["removed_count"]) == (len(now), len(then))
        elif facts["status"] == "complete":
            assert set(facts["outcomes"]["deleted"]) == now
            self.copies[facts["copy_id"]] = (scope, {one: self.stored.pop(one) for one in now})
        else:
            # The same ids, and yet not the same requests: one was deleted and restored in between.
            assert facts["status"] == "changed"

    @precondition(lambda self: bool(self.copies))
    @rule(data=st.data(), scope=SCOPES, era=ERAS)
    def restore(self, data: st.DataObject, scope: str, era: str) -> None:
        copy_id = data.draw(st.sampled_from(sorted(self.copies)))
        owner, held = self.copies[copy_id]

        async def called() -> dict[str, Any] | str:
            self.world.clock.now += 1
            async with self.world.connect(era, server=self.server(scope, "off")) as caller:
                if scope != owner or not held:
                    return await caller.refused("restore_requests", copy_id=copy_id)
                return await caller.call("restore_requests", copy_id=copy_id)

        facts = self.run(called())
        if isinstance(facts, str):
            assert "No recovery copy" in facts
            return
        there = {one for one in held if one in self.stored}
        assert set(facts["outcomes"].get("already_there", [])) == there
        assert set(facts["outcomes"].get("restored", [])) == held.keys() - there
        self.stored |= {one: known for one, known in held.items() if one not in there}

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "world"):
            return

        async def read() -> dict[str, Known]:
            page = await self.world.rest.get_requests(RequestQuery(top_k=100))
            return {
                item.request.request_id: Known(
                    item.request.user_id, item.request.session_id, item.request.source
                )
                for group in page.sessions
                for item in group.requests
            }

        assert self.run(read()) == self.stored


@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
@pytest.mark.parametrize(
    "what", ["nothing", "added", "removed", "another under the id", "all others", "gone"]
)
def test_a_code_is_repeated_after_the_set_has_changed(era: str, what: str) -> None:
    """The rules above in the order that finds most, on every run."""
    machine = Deletions()
    try:
        machine.start()
        for source in ("ide", "chat"):
            machine.publish("ada", "s1", source)
        planned = machine.plan("s1", "", era)
        if what == "added":
            machine.publish("bob", "s1", "")
        elif what == "removed":
            machine.somebody_deletes("r1")
        elif what == "another under the id":
            machine.somebody_deletes("r1")
            machine.count = 0
            machine.publish("ada", "s1", "ide")
        elif what in ("all others", "gone"):
            machine.somebody_deletes("r1")
            machine.somebody_deletes("r2")
            if what == "all others":
                machine.publish("ada", "s1", "ide")
        before = dict(machine.stored)
        machine.act_on_an_old_plan(planned, era)
        assert machine.stored == ({} if what == "nothing" else before)
        machine.the_store_holds_what_the_model_holds()
    finally:
        machine.teardown()


TestDeletions = Deletions.TestCase
TestDeletions.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
