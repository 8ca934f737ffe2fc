"""A backend that learns, can be interfered with and can fail; a person who answers forms; a server between them."""

import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import httpx
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult, TextContent

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.state.tables import StateUnusable
from tests.rest.helpers import FakeTime
from tests.support.embedded import Clock
from tests.support.store_app import StoreApp

URL = "http://reflexio.test"
BY_IDS = "/api/delete_requests_by_ids"
READ = "/api/get_requests"

Hook = Callable[[], Awaitable[None]]

PUBLISH = "/api/publish_interaction"


async def nothing(*_: object) -> None:
    """Do nothing, before a call or instead of one."""


def broken(*_: object, **__: object) -> None:
    """Fail as a state that cannot be used."""
    raise StateUnusable("the file is locked", "unlock it")


class Known(NamedTuple):
    """A learning: whose it is, the request that closed its window, the interactions it lists.

    Args:
        changed: when it was last changed, in epoch seconds; of a replaced profile, when it was replaced.
        created: when the row was first stored.
    """

    user: str
    request_id: str = ""
    interactions: tuple[int, ...] = ()
    status: str | None = None
    content: str = "what was learned"
    quote: str = ""
    trigger: str = ""
    expires: int = 0
    changed: int = 0
    created: int = 0


@dataclass
class Backend:
    """The embedded store on the wire, with learnings of its own and hooks around its routes.

    Args:
        store: answers what is not answered here.
        profiles, playbooks: what was learned, by id, as `Known`. `World.learn` adds to them.
        outcomes: the user whose session has an outcome, by session.
        outcome: of each of these sessions.
        keeps_outcomes: clearing a user's data leaves them.
        agent_playbooks: the users from whose playbooks each was made, by id.
        rule_texts: the text of each that was changed.
        approvals: the status of each that is not pending.
        verdicts, session_verdicts, questions: what Reflexio judged and asked, of all users.
        last_playbook: the last id that a playbook got here.
        learning: what `/api/learning_status` answers for each request, one a call; then the store does.
        before: called once, in order, before a route is answered.
        failing: route to the status it answers with, after so many calls that worked.
        answering: route to an answer that is given without doing anything.
        after: route to the status that is answered after the store has done it.
        generating: what `/api/get_operation_status` answers, one a call; then that there is no operation.
        unreturned: requests that it stores and fails to return.
        calls: how often each route was called.
    """

    store: StoreApp
    profiles: dict[str, "Known"] = field(default_factory=dict)
    playbooks: dict[int, "Known"] = field(default_factory=dict)
    learning: list[dict[str, str]] = field(default_factory=list)
    before: dict[str, list[Hook]] = field(default_factory=dict)
    failing: dict[str, tuple[int, int]] = field(default_factory=dict)
    answering: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    after: dict[str, int] = field(default_factory=dict[str, int])
    calls: Counter[str] = field(default_factory=Counter)
    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    outcome: str = "success"
    keeps_outcomes: bool = False
    agent_playbooks: dict[int, list[str]] = field(default_factory=dict[int, list[str]])
    rule_texts: dict[int, str] = field(default_factory=dict[int, str])
    approvals: dict[int, str] = field(default_factory=dict[int, str])
    verdicts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    session_verdicts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    questions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    last_playbook: int = 1_000
    generating: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    unreturned: set[str] = field(default_factory=set[str])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path: str = scope["path"]
        self.calls[path] += 1
        if hooks := self.before.get(path):
            await hooks.pop(0)()
        if path in self.failing:
            left, status = self.failing[path]
            if not left:
                return await _reply(send, {"detail": "refused for this test"}, status)
            self.failing[path] = (left - 1, status)
        if path in self.answering:
            return await _reply(send, self.answering[path])
        if path in self.after:
            await _asked(self.store, scope, await _body(receive))
            return await _reply(send, {"detail": "lost"}, self.after[path])
        if path == "/api/get_operation_status":
            found = {"operation_status": self.generating.pop(0)} if self.generating else {}
            return await _reply(send, {"success": bool(found), **found})
        if path == READ and self.unreturned:
            answer = await _asked(self.store, scope, await _body(receive))
            broken = any(f'"request_id": "{one}"' in json.dumps(answer) for one in self.unreturned)
            return await _reply(send, {"detail": "recursion"} if broken else answer, 500 if broken else 200)
        if path == "/api/learning_status" and self.learning:
            return await _reply(send, self.learning.pop(0))
        if path == "/api/clear_user_data":
            asked = await _body(receive)
            self._cleared(json.loads(asked)["user_id"])
            return await _reply(send, await _asked(self.store, scope, asked))
        handler = getattr(self, path.removeprefix("/api/"), None)
        if handler is None:
            return await self.store(scope, receive, send)
        query = dict(parse_qsl(scope["query_string"].decode()))
        return await _reply(
            send, {"success": True, **handler(json.loads(await _body(receive) or b"null") or query)}
        )

    def get_profiles(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "user_profiles": [
                {"profile_id": one, "generated_from_request_id": known.request_id, **_row(known)}
                for one, known in self.profiles.items()
                if known.user == asked["user_id"]
                and known.status in asked["status_filter"]
                and not known.expires
            ]
        }

    def get_all_profiles(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "user_profiles": [
                {"profile_id": one, "generated_from_request_id": known.request_id, **_row(known)}
                | {"expiration_timestamp": known.expires}
                for one, known in self.profiles.items()
                if known.user == asked.get("user_id", known.user)
                and known.status is None
                and known.created >= int(asked.get("start_time", 0))
            ]
        }

    def get_user_playbooks(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "user_playbooks": [
                {"user_playbook_id": one, "request_id": known.request_id, **_row(known)}
                for one, known in self.playbooks.items()
                if known.user == asked.get("user_id", known.user) and known.status in asked["status_filter"]
            ]
        }

    def add_user_profile(self, asked: dict[str, Any]) -> dict[str, Any]:
        for row in asked["user_profiles"]:
            before = self.profiles.get(row["profile_id"])
            created = before.created if before else int(time.time())
            self.profiles[row["profile_id"]] = _known(row)._replace(created=created)
        return {"added_count": len(asked["user_profiles"])}

    def add_user_playbook(self, asked: dict[str, Any]) -> dict[str, Any]:
        for one in asked["user_playbooks"]:
            # It never uses an id again.
            self.last_playbook = max([self.last_playbook, *self.playbooks]) + 1
            self.playbooks[self.last_playbook] = _known(one)
        return {"added_count": len(asked["user_playbooks"])}

    def update_user_profile(self, asked: dict[str, Any]) -> dict[str, Any]:
        known = self.profiles.get(asked["profile_id"])
        if known is None or (known.user, known.status) != (asked["user_id"], None):
            return {"success": False, "msg": "Profile not found"}
        now = int(time.time())
        self.profiles[asked["profile_id"]] = known._replace(content=asked["content"], changed=now)
        return {}

    def update_user_playbook(self, asked: dict[str, Any]) -> dict[str, Any]:
        if known := self.playbooks.get(asked["user_playbook_id"]):
            self.playbooks[asked["user_playbook_id"]] = known._replace(content=asked["content"])
        return {}

    def finalize_session(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"accepted": True}

    def _cleared(self, user_id: str) -> None:
        self.profiles = {one: known for one, known in self.profiles.items() if known.user != user_id}
        self.playbooks = {one: known for one, known in self.playbooks.items() if known.user != user_id}
        if not self.keeps_outcomes:
            self.outcomes = {one: user for one, user in self.outcomes.items() if user != user_id}

    def get_session_outcomes(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "session_outcomes": [
                {"outcome_id": f"o-{one}", "session_id": one, "user_id": user, "outcome": self.outcome}
                for one, user in self.outcomes.items()
                if asked.get("user_id") in (None, user) and one in asked.get("session_ids", [one])
            ]
        }

    def get_agent_playbooks(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "agent_playbooks": [
                {
                    "agent_playbook_id": one,
                    "content": self.rule_texts.get(one, f"rule {one}"),
                    "playbook_status": self.approvals.get(one, "pending"),
                }
                for one in self.agent_playbooks
            ]
        }

    def update_agent_playbook_status(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["agent_playbook_id"] not in self.agent_playbooks:
            return {"success": False, "msg": "Agent playbook not found"}
        self.approvals[asked["agent_playbook_id"]] = asked["playbook_status"]
        return {}

    def delete_agent_playbooks_by_ids(self, asked: dict[str, Any]) -> dict[str, Any]:
        for one in asked["agent_playbook_ids"]:
            self.agent_playbooks.pop(one, None)
        return {"deleted_count": len(asked["agent_playbook_ids"])}

    def get_learning_provenance(self, asked: dict[str, Any]) -> dict[str, Any]:
        users = self.agent_playbooks[int(asked["id"])]
        return {
            "provenance_status": "exact" if users else "unavailable",
            "source_user_playbooks": [
                {
                    "user_playbook": {"user_playbook_id": number, "user_id": user},
                    "interactions": [
                        {
                            "interaction_id": number,
                            "request_id": f"said-{number}",
                            "content": "secret of somebody else",
                        }
                    ],
                }
                for number, user in enumerate(users, 1)
            ],
        }

    def get_retrieved_learning_evaluation_results(self, asked: dict[str, Any]) -> dict[str, Any]:
        of_user = [one for one in self.verdicts if one["user_id"] == asked["user_id"]]
        return {"results": of_user[: asked["limit"]]}

    def get_agent_success_evaluation_results(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"agent_success_evaluation_results": self.session_verdicts[: asked["limit"]]}

    def pending_tool_calls(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"pending_tool_calls": self.questions[: int(asked["limit"])]}

    def get_playbook_application_stats(self, asked: dict[str, Any]) -> dict[str, Any]:
        kinds = (
            ("agent_playbook", 4),
            ("playbook", 7),
        )  # an old citation may be of a user playbook of this number
        return {"stats": [{"kind": kind, "real_id": "1", "applied_count": count} for kind, count in kinds]}

    def delete_profiles_by_ids(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "deleted_count": sum(self.profiles.pop(one, None) is not None for one in asked["profile_ids"])
        }

    def delete_user_playbooks_by_ids(self, asked: dict[str, Any]) -> dict[str, Any]:
        gone = [self.playbooks.pop(one, None) for one in asked["user_playbook_ids"]]
        return {"deleted_count": sum(one is not None for one in gone)}


def _known(row: dict[str, Any]) -> "Known":
    return Known(
        row["user_id"],
        row.get("generated_from_request_id") or row.get("request_id", ""),
        tuple(row.get("source_interaction_ids", ())),
        row.get("status"),
        row.get("content", ""),
        row.get("source_span", ""),
        row.get("trigger", ""),
        changed=row.get("last_modified_timestamp", 0) or row.get("created_at", 0),
    )


def _row(known: Known) -> dict[str, Any]:
    return {
        "user_id": known.user,
        "content": known.content,
        "source_span": known.quote,
        "trigger": known.trigger,
        "source_interaction_ids": list(known.interactions),
        "status": known.status,
        "last_modified_timestamp": known.changed,
        "created_at": known.changed,
    }


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _asked(store: StoreApp, scope: Any, body: bytes) -> dict[str, Any]:
    """What the store itself answers."""
    answer = b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal answer
        answer += message.get("body", b"")

    await store(scope, receive, send)
    return json.loads(answer)


async def _reply(send: Any, facts: dict[str, Any], status: int = 200) -> None:
    body = json.dumps(facts).encode()
    headers = [(b"content-type", b"application/json"), (b"x-correlation-id", b"c0ffee")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Person:
    """Answers the forms that are shown.

    Args:
        answers: called with each form's message; returns the content to send off, or `decline`, `cancel`,
            `nothing` (a form without content) or `broken` (no form can be shown).
        seen: the messages, in order.
    """

    answers: Callable[[str], dict[str, Any] | str]
    seen: list[str] = field(default_factory=list)
    schemas: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, context: Any, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        self.seen.append(params.message)
        self.schemas.append(dict(params.requested_schema))
        answer = self.answers(params.message)
        if answer == "decline":
            return ElicitResult(action="decline")
        if answer == "cancel":
            return ElicitResult(action="cancel")
        if answer == "nothing":
            return ElicitResult(action="accept")
        if answer == "broken":
            raise MCPError(-32603, "this host cannot show forms after all")
        assert isinstance(answer, dict)
        return ElicitResult(action="accept", content=answer)


def agreeing() -> Person:
    """Somebody who says yes, and types the number where one is asked for."""

    def answer(message: str) -> dict[str, Any]:
        for noun in ("requests", "records"):
            marker = f"type the number of {noun}: "
            if marker in message:
                return {"number": int(message.split(marker)[1].split()[0])}
        return {"delete": True}

    return Person(answer)


class World:
    """A backend with traffic, and servers that reach it. Other clients of it stand for other processes."""

    def __init__(self, path: str, folder: Path) -> None:
        self.clock = Clock()
        self.store = StoreApp(path, clock=self.clock)
        self.backend = Backend(self.store)
        self.folder = folder
        self.rest = self.client()

    def client(self) -> ReflexioClient:
        """A client of the backend that does not really wait between its retries."""
        faked = FakeTime()
        return ReflexioClient(
            URL, transport=httpx.ASGITransport(app=self.backend), sleep=faked.sleep, clock=faked.clock
        )

    def server(self, **env: str) -> ReflexioServer:
        """A server of this backend. Variables are given without their prefix."""
        variables = {"REFLEXIO_URL": URL, "REFLEXIO_MCP_STORE": str(self.folder / "store.db")}
        variables |= {
            name if name.startswith("REFLEXIO_") else f"REFLEXIO_MCP_{name}": value
            for name, value in env.items()
        }
        return ReflexioServer(load(variables), client=self.rest)

    @asynccontextmanager
    async def connect(
        self,
        era: str = "2026-07-28",
        person: Any = None,
        server: Any = None,
        **env: str,
    ) -> AsyncGenerator["Caller"]:
        """A client in one protocol era.

        Args:
            person: answers forms, as `Person` does; a client without one declares none.
            server: an existing server; else a new one is made with the variables of `env`.
        """
        server = server or self.server(**env)
        async with Client(server, mode=era, raise_exceptions=True, elicitation_callback=person) as client:
            yield Caller(client)

    async def put(
        self, request_id: str, *, user: str = "ada", session: str = "s", text: str = "words", **fields: Any
    ) -> None:
        """Store a request, a second after the one before."""
        self.clock.now += 1
        body = PublishBody(
            user_id=user,
            session_id=session,
            request_id=request_id,
            interaction_data_list=[Interaction(content=text)],
            **fields,
        )
        await self.rest.publish(body, minted=False)

    async def interactions(self, *request_ids: str) -> tuple[int, ...]:
        """The interaction ids of stored requests."""
        page = await self.rest.get_requests(RequestQuery(top_k=500))
        items = {item.request.request_id: item for group in page.sessions for item in group.requests}
        return tuple(
            interaction.interaction_id for one in request_ids for interaction in items[one].interactions
        )

    async def learn(
        self,
        learning_id: str | int,
        *window: str,
        user: str = "ada",
        status: str | None = None,
        **fields: Any,
    ) -> None:
        """Learn a profile, or a playbook where the id is a number, from a window of stored requests.

        As Reflexio does: the learning lists the interactions of all of them and names the last request.
        """
        known = Known(user, window[-1], await self.interactions(*window), status, **fields)
        if isinstance(learning_id, str):
            self.backend.profiles[learning_id] = known
        else:
            self.backend.playbooks[learning_id] = known

    async def ids(self, **query: Any) -> set[str]:
        """What is stored now."""
        found: set[str] = set()
        while True:
            page = await self.rest.get_requests(RequestQuery(top_k=500, offset=len(found), **query))
            found |= {item.request.request_id for group in page.sessions for item in group.requests}
            if not page.has_more:
                return found
            assert len(page.sessions) == len(found), "this helper pages only one request a session"

    async def close(self) -> None:
        await self.rest.aclose()
        await self.store.aclose()


@dataclass
class Caller:
    """Calls tools and returns what a model would read."""

    client: Client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured content of a call that is no error."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, text_of(result)
        assert result.structured_content is not None
        return result.structured_content

    async def refused(self, tool: str, **arguments: Any) -> str:
        """The text of a call that is an error."""
        result = await self.result(tool, **arguments)
        assert result.is_error, text_of(result)
        return text_of(result)

    async def result(self, tool: str, **arguments: Any) -> CallToolResult:
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        return result

    async def plan(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The plan that a deletion shows, with the status and the text of the answer."""
        answer = await self.call(tool, **arguments)
        return answer["plan"] | {"status": answer["status"], "text": answer["text"]}

    async def confirmed(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Plan, then act with the plan's code; the receipt, with the status of the answer."""
        plan = await self.plan(tool, **arguments)
        return await self.receipt(tool, **arguments, confirm=plan["confirm"])

    async def receipt(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The receipt of a deletion that is carried out, with the status and the text of the answer."""
        answer = await self.call(tool, **arguments)
        return answer["receipt"] | {"status": answer["status"], "text": answer["text"]}

    async def restored(self, deletion: int, **arguments: Any) -> dict[str, Any]:
        """Plan a restore, then carry it out."""
        plan = await self.call("restore_requests", deletion=deletion, **arguments)
        if "confirm" not in plan:  # nobody wants to see a plan first
            return plan
        return await self.call("restore_requests", deletion=deletion, **arguments, confirm=plan["confirm"])


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))
