"""Stores one request, and waits until Reflexio has learned from it."""

import base64
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import nullcontext, suppress
from typing import Final, Literal

import anyio

from reflexio_mcp.rest.errors import AlreadyExists, OutcomeUnknown, ReflexioError
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    PublishReply,
    RequestWithInteractions,
    UnreadableRequest,
    as_stored,
    differences,
)
from reflexio_mcp.results.base import shown_id
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.failures import failure_facts
from reflexio_mcp.results.publishing import Finished, Stored, stored
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.errors import (
    ErasureNotOver,
    InvalidInput,
    NotRecorded,
    NotStored,
    OutcomeUnclear,
    quoted,
    require_id,
)
from reflexio_mcp.traffic.reading.filters import check_source
from reflexio_mcp.traffic.reading.lookup import find_request, learning_status
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.turns import aside

__all__ = ["check_interaction", "finish", "publish"]

LOOK_SECONDS: Final = 8.0
"""Time for checking whether a publish arrived if its answer was lost."""

LATEST: Final = 9_999_999_999
"""The year 2286. A larger number is taken for milliseconds and refused."""

# `missing` names a package.
NOT_LOOKED: Final = (
    "may contain a key: {missing}. With REFLEXIO_MCP_PUBLISH_SECRETS={policy}, text is stored only after a search "
    "for keys. Run the server where that package runs, or with REFLEXIO_MCP_PUBLISH_SECRETS=warn."
)
HAS_KEY: Final = (
    "contains what looks like a secret ({kind}), {why}. Nothing was stored; publish again without the secret."
)

NAMES: Final = (
    "user_id",
    "session_id",
    "source",
    "agent_version",
    "request_id",
    "retrieval_experiment_id",
    "retrieval_experiment_arm",
)
"""Ids and names, which can contain a secret too."""

FIXED: Final = ("interacted_image_url", "citations.real_id", "citations.kind", "retrieved_learnings.")
"""Fields whose text cannot be replaced, because it is an address or an id."""

Policy = Literal["warn", "redact", "refuse"]
"""What to do with secrets: `redact` replaces each by its kind, or refuses if that is not possible."""


async def publish(
    scope: Scope,
    draft: PublishBody,
    *,
    policy: Policy,
    wait_seconds: float | None,
    would_be_erased: Callable[[Sequence[RequestWithInteractions]], Awaitable[Collection[str]]],
) -> Stored:
    """Store one request of a session.

    Args:
        draft: an id is made for an empty `request_id`; a repeat without that id stores a second request.
        wait_seconds: how long to wait for learning; `None` does not wait.
        would_be_erased: returns the ids of requests that an erasure which is not over would delete again. Only called
            for an id that the caller gave.

    Raises:
        InvalidInput: the API would refuse the request, or the policy refuses its secrets; nothing was sent.
        ErasureNotOver: the request was erased, and would be deleted again; nothing was sent.
        NotRecorded: the state could not be read, so it is not known whether the request was erased; nothing was sent.
        OutcomeUnclear: the request may be stored. The error names the id for a repeat.
        ReflexioError: nothing was stored.
    """
    # These compile patterns that few servers need.
    from reflexio_mcp.traffic.audit.rules.redaction import (
        MISSING,
        available,
        formats_unknown,
        look_in_thread,
        without_key,
    )

    secrets = await look_in_thread(scope.owner, draft.interaction_data_list, lambda: _secrets(draft, policy))
    if not available() and policy != "warn":  # only the search finds out whether the scanner loads
        raise InvalidInput("interactions", NOT_LOOKED.format(missing=MISSING, policy=policy))
    body = _checked(scope, draft)
    minted = not draft.request_id.strip()
    if policy == "redact" and secrets:
        body = await look_in_thread(scope.owner, draft.interaction_data_list, lambda: _without_secrets(body))
    if not minted:
        try:
            erased = await would_be_erased([as_stored(body)])
        except NotRecorded as error:
            raise NotRecorded(Fact(code=FactCode.NOTHING_CHANGED), *error.facts) from error
        if erased:
            raise ErasureNotOver(Fact(code=FactCode.ERASURE_NOT_OVER), Fact(code=FactCode.CHOOSE_ID))
    # While it waits for learning, other calls of the account have their turn.
    turn_given_up = nullcontext() if wait_seconds is None else aside()
    try:
        async with turn_given_up:
            reply, read_back = await _publish(scope, body, minted, wait_seconds)
    except ReflexioError as failure:
        if failure.effect == "unknown":
            repeat = Fact(code=FactCode.REPEAT_WITH_ID, names=[shown_id(body.request_id)])
            raise OutcomeUnclear(*failure_facts(failure, "write"), repeat) from failure
        raise
    roles = [without_key(interaction.role) for interaction in body.interaction_data_list]
    return stored(
        body, reply, roles, secrets, formats_unknown(), read_back=read_back, replaced=policy == "redact"
    )


def _secrets(draft: PublishBody, policy: Policy) -> list[str]:
    """Return the kinds of secrets in a draft.

    Raises:
        InvalidInput: secrets are refused, or are in fields where they cannot be replaced.
    """
    from reflexio_mcp.traffic.audit.rules.redaction import (
        are_passwords,
        secret_in_name,
        secrets_of_interaction,
    )

    interactions = draft.interaction_data_list
    kinds: dict[str, None] = {}
    in_names = {
        name: f"{kind} in an id or a name"
        for name in NAMES
        if (kind := secret_in_name(getattr(draft, name) or ""))
    }
    to_refuse = dict(in_names)
    for index, (interaction, is_password) in enumerate(
        zip(interactions, are_passwords(interactions), strict=True)
    ):
        for field, kind in secrets_of_interaction(interaction, is_password):
            kinds[kind] = None
            if policy == "refuse" or field.startswith(FIXED):
                to_refuse.setdefault(f"interactions[{index}].{field}", kind)
    if to_refuse and policy != "warn":
        field, kind = next(iter(to_refuse.items()))
        why = "which this server does not store" if policy == "refuse" else "which cannot be replaced there"
        raise InvalidInput(field, HAS_KEY.format(kind=kind, why=why))
    return list(dict.fromkeys([*kinds, *in_names.values()]))


def _without_secrets(body: PublishBody) -> PublishBody:
    from reflexio_mcp.traffic.audit.rules.redaction import redact_interactions

    return body.model_copy(update={"interaction_data_list": redact_interactions(body.interaction_data_list)})


def _checked(scope: Scope, draft: PublishBody) -> PublishBody:
    """Return the request as it is sent. Refuse what the API would refuse or store wrongly."""
    source = draft.source.strip()
    check_source("source", source)
    if draft.evaluation_only and draft.force_extraction:
        raise InvalidInput(
            "force_extraction",
            "cannot be combined with evaluation_only: nothing is learned from such requests. Nothing was sent.",
        )
    return draft.model_copy(
        update={
            "user_id": scope.user(draft.user_id),
            "session_id": draft.session_id.strip(),
            "request_id": draft.request_id.strip() or str(uuid.uuid4()),
            "source": source,
            "agent_version": draft.agent_version.strip(),
            "retrieval_experiment_id": draft.retrieval_experiment_id or None,
            "retrieval_experiment_arm": draft.retrieval_experiment_arm or None,
        }
    )


def check_interaction(interaction: Interaction) -> None:
    """Refuse an interaction that the API would drop, store wrongly, or refuse without saying what it lacks.

    The field in the error begins with a dot, or is empty.
    """
    if (interaction.created_at or 0) > LATEST:
        raise InvalidInput(".created_at", "takes seconds since 1970, not milliseconds.")
    if interaction.user_action != "none" and not interaction.user_action_description.strip():
        raise InvalidInput(".user_action_description", f"must say what the {interaction.user_action} was.")
    if interaction.image_encoding and not _is_base64(interaction.image_encoding):
        raise InvalidInput(".image_encoding", "must be base64, without a data: prefix and line breaks.")
    other = interaction.image_encoding or interaction.interacted_image_url or interaction.tools_used
    if not other and not any(text.strip() for text in texts_of(interaction)):
        raise InvalidInput("", "is empty; give content, an action, an image or tools_used.")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


async def finish(scope: Scope, user_id: str, session_id: str) -> Finished:
    """Tell the service that a session has had its last request.

    Raises:
        NotStored: this user has no such session.
    """
    user = require_id("user_id", scope.user(user_id))
    session = require_id("session_id", session_id)
    reply = await scope.client.finalize_session(user, session)
    if not reply.accepted:
        raise NotStored(
            f"User {quoted(user)} has no session {quoted(session)}; nothing was finished.",
            Fact(code=FactCode.FIND_SESSION),
        )
    return Finished(
        user_id=shown_id(user),
        session_id=shown_id(session),
        facts=[Fact(code=FactCode.SESSION_FINISHED)],
    )


async def _publish(
    scope: Scope, body: PublishBody, minted: bool, wait_seconds: float | None
) -> tuple[PublishReply, bool]:
    """Send a request.

    Args:
        minted: its id was made for this call, so that no other request can have it.

    Returns:
        The reply, and whether the request was seen in the store after the call. The reply's `learning_status` is
        `still_learning` if the wait ended first.
    """
    failure: ReflexioError | None = None
    with anyio.move_on_after(wait_seconds):
        try:
            wait = wait_seconds is not None
            return await scope.client.publish(body, minted=minted, wait=wait, timeout=wait_seconds), False
        except AlreadyExists as refusal:
            # Hosts repeat calls that they saw fail, so a repeat with the same id must be safe.
            readable, differ = await _compared(scope, body)
            if readable and not differ:
                reply = await _reply_by_status(scope, body.request_id)
                return reply.model_copy(update={"already_stored": True}), True
            # A request that this caller cannot see, or that nobody can read, is not described.
            refusal.detail = _taken_by(differ)
            raise
        except ReflexioError as error:
            if error.effect == "none":
                raise
            failure = error
    # The wait ended, or the answer was lost. The service stores before it learns, so a look-up may find the request.
    differ: list[str] = []
    with anyio.move_on_after(LOOK_SECONDS), suppress(ReflexioError):
        if minted:
            is_stored = await find_request(scope, body.request_id) is not None
        else:
            readable, differ = await _compared(scope, body)
            is_stored = readable and not differ
        if is_stored:
            return await _reply_by_status(scope, body.request_id), True
    if differ:
        raise AlreadyExists(_taken_by(differ), effect="none")
    # The traceback of the failure refers to this frame, and this frame must not go on referring to the failure.
    try:
        raise failure or OutcomeUnknown("the wait ended before the request was seen in the store")
    finally:
        del failure


async def _compared(scope: Scope, body: PublishBody) -> tuple[bool, list[str]]:
    """Return whether this caller can read a request under the id of a publish, and in what the two differ."""
    item = await find_request(scope, body.request_id)
    if item is None or isinstance(item, UnreadableRequest):
        return False, []
    return True, differences(body, item)


def _taken_by(differ: Sequence[str]) -> str:
    return f"by a request that differs in {', '.join(differ)}" if differ else ""


async def _reply_by_status(scope: Scope, request_id: str) -> PublishReply:
    """Return the reply for a stored request, made from the state of its learning."""
    status = await learning_status(scope, request_id)
    if status is None or status.status in ("pending", "processing"):
        return PublishReply(
            learning_status="still_learning", learning_reason=status.reason if status else None
        )
    return PublishReply(learning_status=status.status, learning_reason=status.reason)
