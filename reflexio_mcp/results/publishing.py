from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import Field

from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.models import PublishBody, PublishReply
from reflexio_mcp.results.base import NOTICE, shown_id, shown_name
from reflexio_mcp.results.facts import Fact, FactCode, Result
from reflexio_mcp.results.reading import NOT_APPLICABLE, LearningState, learning_state

__all__ = ["Finished", "Stored", "stored"]

USUAL_ROLES: Final = frozenset(
    {"user", "human", "customer", "person", "client", "assistant", "agent", "ai", "bot", "model"}
    | {"system", "developer", "tool", "function"}
)

WARNING_CHARS: Final = 300
ROLE_CHARS: Final = 60
MOST_NAMED: Final = 10
"""Maximum number of warnings and roles that are named."""


class Stored(Result):
    status: Literal["stored", "already_stored"]
    request_id: str
    session_id: str
    user_id: str
    interactions: int
    agent_version: str
    read_back: Annotated[bool, Field(description="the request was found in the store after the call")] = False
    learning: LearningState | None = None
    profiles_added: int | None = None
    playbooks_added: int | None = None
    secrets: Annotated[list[str], Field(description="kinds of secrets that were found")] = []
    secrets_replaced: bool = False
    unusual_roles: list[str] = []
    warnings: Annotated[list[str], Field(description="of the service")] = []


class Finished(Result):
    user_id: str
    session_id: str


def stored(
    body: PublishBody,
    reply: PublishReply,
    roles: Sequence[str],
    secrets: Sequence[str],
    not_looked_for: Sequence[Fact],
    *,
    read_back: bool,
    replaced: bool,
) -> Stored:
    """Make the result of a publish.

    Args:
        roles: the roles of its interactions; API keys in them are redacted.
        secrets: the kinds of secrets that were found in it.
        not_looked_for: facts about secrets that were not looked for in it.
        read_back: the request was found in the store after the call.
        replaced: the secrets were replaced before it was sent.
    """
    interactions = body.interaction_data_list
    unusual = [role for role in dict.fromkeys(roles) if role.strip().lower() not in USUAL_ROLES]
    learned = reply.learning_status == "done" and reply.learning_reason != NOT_APPLICABLE
    facts = [*not_looked_for]
    if secrets:
        facts.append(Fact(code=FactCode.REPLACED_SECRETS if replaced else FactCode.STORED_SECRETS))
    has_images_or_citations = any(
        interaction.image_encoding or interaction.citations for interaction in interactions
    )
    # What an earlier call stored was read, and compared with this request. What an earlier try of this call stored is
    # this request.
    was_compared = reply.already_stored and read_back
    if was_compared and has_images_or_citations:
        facts.append(Fact(code=FactCode.IMAGES_NOT_COMPARED))
    return Stored(
        notice=NOTICE if reply.warnings or unusual else "",
        status="already_stored" if reply.already_stored else "stored",
        request_id=shown_id(body.request_id),
        session_id=shown_id(body.session_id),
        user_id=shown_id(body.user_id),
        interactions=len(interactions),
        agent_version=shown_name(body.agent_version or api_limits.DEFAULT_AGENT_VERSION),
        read_back=read_back,
        learning=learning_state(
            reply.learning_status, reply.learning_reason, evaluation_only=body.evaluation_only
        )
        if reply.learning_status
        else None,
        profiles_added=reply.profiles_added if learned else None,
        playbooks_added=reply.playbooks_added if learned else None,
        secrets=list(secrets),
        secrets_replaced=bool(secrets) and replaced,
        unusual_roles=[shown_name(role, ROLE_CHARS).strip() or "(empty)" for role in unusual[:MOST_NAMED]],
        warnings=[shown_name(warning, WARNING_CHARS) for warning in reply.warnings[:MOST_NAMED]],
        facts=facts,
    )
