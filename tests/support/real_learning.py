"""A real Reflexio server that learns from conversations, with users of its own for each test."""

import sqlite3
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from mcp.client.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    PublishReply,
    RequestQuery,
    UserPlaybook,
    UserProfile,
)
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.deletion.support import Caller
from tests.support.scripted_model import Rule, ScriptedModel


@dataclass(frozen=True)
class LearningReflexio:
    """The server.

    Args:
        url: where it listens.
        model: what it learns with.
        home: the folder with its database and its logs.
    """

    url: str
    model: ScriptedModel
    home: Path


@dataclass
class Corner:
    """Users, sessions and requests that no other test on the same server has: every id goes through `name`."""

    server: LearningReflexio
    rest: ReflexioClient
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def model(self) -> ScriptedModel:
        return self.server.model

    def name(self, text: str) -> str:
        return f"{text}-{self.tag}"

    def learn(self, when: str, **learned: Any) -> None:
        """Tell the model what to learn where this is said, in the words of `Rule`."""
        self.model.rules.append(Rule(when, **learned))

    async def say(
        self,
        request_id: str,
        *interactions: str | Interaction,
        user: str = "ada",
        session: str = "s",
        wait: bool | None = None,
        **options: Any,
    ) -> PublishReply:
        """Publish a request of these interactions. One that closes its window is learned from when this returns."""
        spoken = [Interaction(content=one) if isinstance(one, str) else one for one in interactions]
        body = PublishBody(
            user_id=self.name(user),
            session_id=self.name(session),
            request_id=self.name(request_id),
            interaction_data_list=spoken,
            **options,
        )
        wait = body.force_extraction or body.session_finished if wait is None else wait
        reply = await self.rest.publish(body, minted=False, wait=wait)
        assert not wait or reply.learning_status == "done", reply
        return reply

    @asynccontextmanager
    async def connect(self, era: str = "2026-07-28", **env: str) -> AsyncGenerator[Caller]:
        """A client of our server, which deletes without asking unless `CONFIRM` says otherwise."""
        variables = {"REFLEXIO_URL": self.server.url, "REFLEXIO_MCP_CONFIRM": "off"}
        variables |= {
            name if name.startswith("REFLEXIO_") else f"REFLEXIO_MCP_{name}": value
            for name, value in env.items()
        }
        server = ReflexioServer(load(variables), client=self.rest)
        async with Client(server, mode=era, raise_exceptions=True) as client:
            yield Caller(client)

    async def interactions(self, *request_ids: str) -> list[int]:
        """The ids of the stored interactions of requests."""
        found: list[int] = []
        for one in request_ids:
            page = await self.rest.get_requests(RequestQuery(request_id=self.name(one)))
            for group in page.sessions:
                found += [
                    interaction.interaction_id for item in group.requests for interaction in item.interactions
                ]
        return found

    async def ask(self, route: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call a route of the server that the product's client does not have: a GET where there is no body."""
        agent = {"user-agent": "reflexio-mcp-tests/0"}
        async with httpx.AsyncClient(base_url=self.server.url, headers=agent, timeout=60) as client:
            reply = await (
                client.get(f"/api/{route}") if body is None else client.post(f"/api/{route}", json=body)
            )
        return reply.raise_for_status().json()

    def kept(self, user: str = "ada") -> dict[str, int]:
        """How many rows of a user, or of that user's session `s`, each table of the server's own file has."""
        (path,) = (self.server.home / ".reflexio" / "data").glob("*.db")
        counts: dict[str, int] = {}
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            plain = "type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
            tables = connection.execute(f"SELECT name FROM sqlite_master WHERE {plain}").fetchall()
            for (table,) in tables:
                columns = {row[1] for row in connection.execute(f"PRAGMA table_info('{table}')")}
                wanted = {"user_id": self.name(user), "session_id": self.name("s")}
                where = " OR ".join(f"{column} = :{column}" for column in wanted if column in columns)
                if where:
                    query = f"SELECT count(*) FROM '{table}' WHERE {where}"
                    counts[table] = connection.execute(query, wanted).fetchone()[0]
        return {table: count for table, count in counts.items() if count}

    async def playbooks(self, user: str = "ada") -> Sequence[UserPlaybook]:
        """Every playbook of a user, whatever its status."""
        return await self.rest.get_user_playbooks(self.name(user))

    async def profiles(self, user: str = "ada") -> Sequence[UserProfile]:
        """Every profile of a user, whatever its status."""
        return await self.rest.get_profiles(self.name(user))


@asynccontextmanager
async def corner_of(server: LearningReflexio, transport: httpx.AsyncBaseTransport) -> AsyncGenerator[Corner]:
    """A corner of a server whose model forgets afterwards what it was told."""
    async with ReflexioClient(server.url, transport=transport) as rest:
        yield Corner(server, rest)
    server.model.forget_script()
