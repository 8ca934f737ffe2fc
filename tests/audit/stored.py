"""Requests to look at, and a store with some of them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestWithInteractions,
    StoredInteraction,
    StoredRequest,
)
from reflexio_mcp.results.audit import AuditResult, FindingRow
from reflexio_mcp.traffic.audit.calls import Offer
from reflexio_mcp.traffic.audit.run import run_audit
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.scope import Scope
from tests.support.store_app import StoreApp

TOOLS = frozenset(
    {"audit_traffic", "list_requests", "get_request", "delete_requests", "finish_session", "list_learnings"}
)

GITHUB_TOKEN = "ghp_" + "aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5"


def request(
    request_id: str, *texts: str, at: int = 1_000_000, roles: Sequence[str] = (), **more: Any
) -> RequestWithInteractions:
    """A stored request of which a person and an assistant said every other interaction."""
    named = [*roles, *(("User", "Assistant")[index % 2] for index in range(len(roles), len(texts)))]
    interactions = [
        StoredInteraction(interaction_id=at + index, role=role, content=text)
        for index, (role, text) in enumerate(zip(named, texts, strict=False))
    ]
    fields = {"user_id": "ada", "session_id": "s", "source": "ide", "agent_version": "2.1", **more}
    return RequestWithInteractions(
        request=StoredRequest(request_id=request_id, created_at=at, **fields), interactions=interactions
    )


@asynccontextmanager
async def store(*items: RequestWithInteractions) -> AsyncGenerator[ReflexioClient]:
    """A client of an embedded store with these requests, in this order."""
    app = StoreApp(":memory:")
    client = ReflexioClient("http://store.invalid", timeout=30, transport=httpx.ASGITransport(app=app))
    try:
        for item in items:
            one = item.request
            interactions = [
                Interaction(role=interaction.role, content=interaction.content)
                for interaction in item.interactions
            ]
            await client.publish(
                PublishBody(
                    user_id=one.user_id,
                    session_id=one.session_id,
                    request_id=one.request_id,
                    interaction_data_list=interactions,
                    source=one.source,
                    agent_version=one.agent_version,
                    evaluation_only=one.evaluation_only,
                ),
                minted=False,
            )
        yield client
    finally:
        await client.aclose()
        await app.aclose()


async def audit(client: ReflexioClient, wanted: TrafficFilter | None = None, **options: Any) -> AuditResult:
    """An audit of all that is stored; `learns` and `masked` are the scope's."""
    scope = Scope(client=client, learns=options.pop("learns", False), masked=options.pop("masked", False))
    return await run_audit(scope, wanted or TrafficFilter(), offer=Offer(TOOLS, scope), **options)


def found(result: AuditResult, name: str) -> FindingRow | None:
    """One finding of an audit."""
    return next((row for row in result.findings if row.finding == name), None)
