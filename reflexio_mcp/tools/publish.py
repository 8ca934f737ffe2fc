from collections.abc import Sequence
from typing import Annotated

from mcp.types import CallToolResult
from pydantic import Field

from reflexio_mcp.render import publishing as text
from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestWithInteractions
from reflexio_mcp.results.progress import Step
from reflexio_mcp.results.publishing import Finished, Stored
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, ProgressReporter, answer, app_of, scope_of, words_of
from reflexio_mcp.traffic.deletion.erasures import would_be_erased
from reflexio_mcp.traffic.publishing import check_interaction, finish, publish


async def publish_interaction(
    call: Call,
    user_id: Annotated[str, Field(description="the person's stable id; ask if you do not know it")],
    session_id: Annotated[
        str, Field(description="the conversation; the same for all its requests; new: a uuid")
    ],
    interactions: Annotated[
        list[Annotated[Interaction, parameters.validated_by(check_interaction)]],
        Field(description="oldest first", min_length=1, max_length=api_limits.MAX_INTERACTIONS),
    ],
    source: Annotated[str, Field(description="the app that sends it: a-z 0-9 . _ : -")] = "",
    agent_version: Annotated[
        str,
        Field(description="your agent's", max_length=api_limits.MAX_AGENT_VERSION_CHARS),
    ] = "",
    wait_for_response: Annotated[bool, Field(description="wait until learned from")] = False,
    skip_aggregation: Annotated[bool, Field(description="keep out of what is learned across users")] = False,
    force_extraction: Annotated[bool, Field(description="learn now, without waiting for more")] = False,
    evaluation_only: Annotated[bool, Field(description="store, never learn")] = False,
    session_finished: Annotated[bool, Field(description="last of its session: learn now")] = False,
    override_learning_stall: Annotated[bool, Field(description="learn although learning stalled")] = False,
    retrieval_experiment_id: str = "",
    retrieval_experiment_arm: str = "",
    request_id: Annotated[str, Field(description="your own id makes a repeat safe")] = "",
) -> Annotated[CallToolResult, Stored]:
    settings = app_of(call).settings
    draft = PublishBody(
        user_id=user_id,
        session_id=session_id,
        request_id=request_id,
        interaction_data_list=interactions,
        source=source or settings.source,
        agent_version=agent_version or settings.agent_version,
        skip_aggregation=skip_aggregation,
        force_extraction=force_extraction,
        evaluation_only=evaluation_only,
        session_finished=session_finished,
        override_learning_stall=override_learning_stall,
        retrieval_experiment_id=retrieval_experiment_id,
        retrieval_experiment_arm=retrieval_experiment_arm,
    )

    async def erased_if_stored(requests: Sequence[RequestWithInteractions]) -> set[str]:
        app, scope = app_of(call), scope_of(call)
        return await would_be_erased(app.state, lambda: app.owner(scope), requests)

    async with ProgressReporter(call).steady(Step.STORING):
        done = await publish(
            scope_of(call),
            draft,
            policy=settings.publish_secrets,
            wait_seconds=settings.wait_timeout if wait_for_response else None,
            would_be_erased=erased_if_stored,
        )
    return answer(done, text.stored(done, words_of(call)))


async def finish_session(
    call: Call, user_id: parameters.UserId, session_id: parameters.SessionId
) -> Annotated[CallToolResult, Finished]:
    done = await finish(scope_of(call), user_id, session_id)
    return answer(done, text.finished(done, words_of(call)))
