"""Storing traffic."""

from typing import Annotated

from mcp.types import CallToolResult
from pydantic import Field

from reflexio_mcp.render.publishing import published
from reflexio_mcp.rest.models import Interaction
from reflexio_mcp.toolkit.context import Call, answer, app_of, scope_of
from reflexio_mcp.toolkit.parameters import AgentVersion, SessionId, Source, UserId
from reflexio_mcp.toolkit.spec import INTEGER, STRING, STRINGS, ToolSpec, obj
from reflexio_mcp.toolkit.subscriptions import Changed
from reflexio_mcp.traffic.publishing import publish

__all__ = ["SPECS"]


async def publish_interaction(
    call: Call,
    user_id: UserId,
    session_id: SessionId,
    interactions: list[Interaction],
    source: Source = "",
    agent_version: AgentVersion = "",
    wait_for_response: Annotated[bool, Field(description="wait until learned from")] = False,
    skip_aggregation: bool = False,
    force_extraction: bool = False,
    evaluation_only: Annotated[bool, Field(description="store, never learn")] = False,
    request_id: Annotated[str, Field(description="own id; else one is made")] = "",
) -> CallToolResult:
    settings = app_of(call).settings

    async def beat(seconds: float) -> None:
        await call.report_progress(seconds, None, f"stored or storing; learning for {seconds:.0f} s")

    done = await publish(
        scope_of(call),
        user_id=user_id,
        session_id=session_id,
        interactions=interactions,
        source=source or settings.source,
        agent_version=agent_version or settings.agent_version,
        wait=wait_for_response,
        wait_seconds=settings.wait_timeout,
        skip_aggregation=skip_aggregation,
        force_extraction=force_extraction,
        evaluation_only=evaluation_only,
        request_id=request_id,
        beat=beat,
    )
    app_of(call).subscriptions.tell(scope_of(call), [Changed(done.session_id, done.request_id, done.user_id)])
    return answer(published(done))


SPECS = (
    ToolSpec(
        publish_interaction,
        "Publish interactions",
        "Remember: store turns of a conversation as one request of a session.",
        obj(
            "status request_id",
            status=STRING,
            request_id=STRING,
            session_id=STRING,
            user_id=STRING,
            interactions=INTEGER,
            learning_status=STRING,
            learning_reason=STRING,
            warnings=STRINGS,
            next=STRING,
        ),
    ),
)
