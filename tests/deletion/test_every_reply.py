"""Whatever a service answers to a deletion, what it did is read again, and what it may have done is not given back.

Every reply there is, for a deletion that took effect, that did not, and that takes effect after the receipt (which is
what a reading that lags looks like).
"""

from collections.abc import Callable
from typing import Any, Literal

import httpx
import pytest

from reflexio_mcp.rest.client import ReflexioClient
from tests.deletion.support import BY_IDS, URL, World, text_of
from tests.primitives.conftest import outside_the_fence
from tests.rest.helpers import FakeTime

pytestmark = pytest.mark.anyio

Effect = Literal["before", "never", "after"]
Reply = int | bytes | Exception
PROFILES = "/api/delete_profiles_by_ids"
PLAYBOOKS = "/api/delete_user_playbooks_by_ids"
TURN = "/api/delete_interaction"

REFUSALS: list[Reply] = [
    *(301, 302, 307, 308),
    *(400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418),
    *(421, 422, 423, 424, 425, 426, 428, 429, 431, 451, 499),
    *(500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 522, 524, 599),
]
LIES: list[Reply] = [
    b"",
    b"<html>",
    b"[]",
    b"{}",
    b'{"success": false, "message": "nothing was found"}',
    b'{"success": false, "changed": false, "msg": "nothing was changed"}',
    b'{"success": true}',
    *(f'{{"success": true, "deleted_count": {number}}}'.encode() for number in (-1, 0, 1, 2, 10**30)),
    b'{"success": true, "deleted_count": "none"}',
]
FAULTS: list[Reply] = [
    httpx.ReadError("gone"),
    httpx.WriteError("gone"),
    httpx.RemoteProtocolError("cut off"),
    httpx.ReadTimeout("late"),
    httpx.WriteTimeout("late"),
    RuntimeError("something else"),
]


class Service(httpx.AsyncBaseTransport):
    """The world's backend, whose answer to a deletion is `reply`, whatever it does."""

    def __init__(self, world: World) -> None:
        self._inner = httpx.ASGITransport(app=world.backend)
        self.reply: Reply = 200
        self.effect: Effect = "never"
        self.held: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path not in (BY_IDS, PROFILES, PLAYBOOKS, TURN):
            return await self._inner.handle_async_request(request)
        await request.aread()
        if self.effect == "before":
            await self._inner.handle_async_request(request)
        elif self.effect == "after":
            self.held.append(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        status, body = (
            (self.reply, b'{"detail": "Not Found"}') if isinstance(self.reply, int) else (200, self.reply)
        )
        return httpx.Response(status, content=body, headers={"location": "http://elsewhere/"})

    async def take_effect(self) -> None:
        while self.held:
            await self._inner.handle_async_request(self.held.pop())


@pytest.fixture
async def service(world: World) -> Service:
    service = Service(world)
    await world.rest.aclose()
    time = FakeTime()
    world.rest = ReflexioClient(URL, transport=service, timeout=3, sleep=time.sleep, clock=time.clock)
    return service


Arguments = Callable[[str], dict[str, Any]]
TOOLS: dict[str, Arguments] = {
    "delete_request": lambda one: {"request_id": one},
    "delete_session": lambda one: {"session_id": one},
    "delete_requests": lambda one: {"request_ids": [one]},
}


@pytest.mark.parametrize("effect", ["before", "never", "after"])
@pytest.mark.parametrize("tool", list(TOOLS))
async def test_requests(world: World, service: Service, tool: str, effect: Effect) -> None:
    service.effect = effect
    server = world.server(CONFIRM="off", RECOVERY_DAYS="7", DELETE_CAP="1000")
    wrong: list[str] = []
    async with world.connect(server=server) as caller:
        for number, reply in enumerate((*REFUSALS, *LIES, *FAULTS)):
            service.reply, one = reply, f"r{number}"
            await world.put(one, session=one, text="the only words")
            room = server.runtime.state.cap.room("") or 0
            result = await caller.result(tool, **TOOLS[tool](one))
            facts, said = result.structured_content or {}, outside_the_fence(text_of(result)).lower()
            if effect == "before":
                seen = facts["outcomes"] == {"deleted": [one]}
            else:
                seen = facts["outcomes"] in ({"still_present": [one]}, {"not_allowed": [one]})
                seen = seen and facts["status"] == "incomplete" and facts["may_still_go"] == 1
            kept = "copy_id" in facts
            counted = (server.runtime.state.cap.room("") or 0) == room - 1
            honest = not any(claim in said for claim in ("nothing was", "not found", "no recovery copy"))
            await service.take_effect()
            stored = bool(await world.ids(session_id=one))
            restored = ""
            if kept and not stored:
                again = await caller.call("restore_requests", copy_id=facts["copy_id"])
                restored = str(again["outcomes"])
            if not (seen and kept and counted and honest and stored == (effect == "never")):
                wrong.append(f"{reply!r}: {facts.get('outcomes')} {kept=} {counted=} {honest=} {stored=}")
            if not stored and restored != str({"restored": [one]}):
                wrong.append(f"{reply!r}: {restored}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("effect", ["before", "never", "after"])
async def test_interactions(world: World, service: Service, effect: Effect) -> None:
    service.effect = effect
    server = world.server(CONFIRM="off", RECOVERY_DAYS="7", DELETE_CAP="1000")
    wrong: list[str] = []
    async with world.connect(server=server) as caller:
        for number, reply in enumerate((*REFUSALS, *LIES, *FAULTS)):
            service.reply, one = reply, f"r{number}"
            await world.put(one, session=one, text="the only words")
            [turn] = await world.interactions(one)
            room = server.runtime.state.cap.room("") or 0
            result = await caller.result("delete_request", request_id=one, interaction_ids=[turn])
            facts, said = result.structured_content or {}, outside_the_fence(text_of(result)).lower()
            if effect == "before":
                seen = facts["outcomes"] == {"deleted": [str(turn)]}
            else:
                seen = facts["outcomes"] in ({"still_present": [str(turn)]}, {"not_allowed": [str(turn)]})
                seen = seen and facts["status"] == "incomplete" and facts["may_still_go"] == 1
            counted = (server.runtime.state.cap.room("") or 0) == room - 1
            honest = not any(claim in said for claim in ("nothing was", "not found"))
            await service.take_effect()
            if not (seen and counted and honest and "copy_id" in facts):
                wrong.append(
                    f"{reply!r}: {facts.get('outcomes')} {counted=} {honest=} {facts.get('copy_id')}"
                )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("effect", ["before", "never", "after"])
@pytest.mark.parametrize("kind", ["profile", "user_playbook"])
async def test_learnings(world: World, service: Service, kind: str, effect: Effect) -> None:
    service.effect = effect
    server = world.server(CONFIRM="off", DELETE_CAP="1000")
    wrong: list[str] = []
    await world.put("r1")
    async with world.connect(server=server) as caller:
        for number, reply in enumerate((*REFUSALS, *LIES, *FAULTS)):
            service.reply = reply
            await world.learn(f"p{number}" if kind == "profile" else number + 1, "r1")
            one = f"profile:p{number}" if kind == "profile" else f"user_playbook:{number + 1}"
            room = server.runtime.state.cap.room("") or 0
            result = await caller.result("delete_learnings", user_id="ada", learning_ids=[one])
            facts, said = result.structured_content or {}, outside_the_fence(text_of(result)).lower()
            if effect == "before":
                seen = facts["counts"] == {"deleted": 1}
            else:
                seen = facts["counts"] == {"still_present": 1} and facts["status"] == "incomplete"
            counted = (server.runtime.state.cap.room("") or 0) == room - 1
            honest = "nothing was" not in said and "not found" not in said
            if not (seen and counted and honest):
                wrong.append(f"{reply!r}: {facts.get('counts')} {counted=} {honest=}")
            await service.take_effect()
    assert not wrong, "\n".join(wrong)


async def test_what_never_left_this_process_is_given_back(world: World, service: Service) -> None:
    service.reply = httpx.ConnectError("connection refused")
    await world.put("r1")
    await world.learn("p1", "r1")
    server = world.server(CONFIRM="off", RECOVERY_DAYS="7", DELETE_CAP="5")
    async with world.connect(server=server) as caller:
        facts = await caller.call("delete_request", request_id="r1")
        assert facts["outcomes"] == {"still_present": ["r1"]}
        assert "may_still_go" not in facts
        assert "copy_id" not in facts
        await caller.call("delete_learnings", user_id="ada")
        assert server.runtime.state.cap.room("") == 5


async def test_a_try_that_was_refused_is_not_undone_by_one_that_never_left(
    world: World, service: Service
) -> None:
    """A 429 of a proxy whose server deletes, then no connection any more."""
    await world.put("r1")
    replies: list[Reply] = [429, httpx.ConnectError("connection refused")]
    answer = service.handle_async_request

    async def in_turn(request: httpx.Request) -> httpx.Response:
        if request.url.path == BY_IDS:
            service.effect = "before" if len(replies) == 2 else "never"
            service.reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return await answer(request)

    service.handle_async_request = in_turn  # type: ignore[method-assign]
    server = world.server(CONFIRM="off", RECOVERY_DAYS="7", DELETE_CAP="5")
    async with world.connect(server=server) as caller:
        facts = await caller.call("delete_request", request_id="r1")
        assert facts["outcomes"] == {"deleted": ["r1"]}
        assert facts["copy_id"]
        assert server.runtime.state.cap.room("") == 4
