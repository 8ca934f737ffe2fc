"""Storing one request, repeatably, and waiting for what is learned from it."""

import base64
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Literal

import anyio

from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.address import image_url_fault
from reflexio_mcp.rest.errors import AlreadyExists, OutcomeUnknown, ReflexioError, explain
from reflexio_mcp.rest.models import Interaction, PublishBody, PublishReply, UnreadableRequest
from reflexio_mcp.rest.read_back import differences
from reflexio_mcp.results.base import NOTICE
from reflexio_mcp.results.publishing import Finished, Stored
from reflexio_mcp.results.reading import NOT_APPLICABLE, learning_row
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.errors import InvalidInput, NotStored, OutcomeUnclear, quoted
from reflexio_mcp.traffic.reading.filters import check_source
from reflexio_mcp.traffic.reading.lookup import find_request, learning_status, require_id
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.stored_text import shown_id, shown_name
from reflexio_mcp.traffic.tasks import task_group

__all__ = ["Policy", "check_turn", "check_turns", "finish", "publish"]

BEAT_SECONDS: Final = 10.0
"""Between signs of life while waiting: hosts give up on a silent call after 60 s, and some after less."""

LOOK_SECONDS: Final = 8.0
"""For looking whether a publish has arrived whose answer did not; with the longest default wait still below 60 s."""

USUAL_ROLES: Final = frozenset(
    {"user", "human", "customer", "person", "client", "assistant", "agent", "ai", "bot", "model"}
    | {"system", "developer", "tool", "function"}
)

LATEST: Final = 9_999_999_999
"""Epoch seconds, in the year 2286; what is later than that was counted in milliseconds."""

ARMS: Final = ("treatment", "holdout")
"""Arms of a retrieval experiment."""

REPEAT: Final = (
    "Repeat the call with request_id={request_id} and the same content: it cannot be stored twice, and "
    "“already stored” then means that it had arrived."
)

KEPT: Final = (
    "It holds what looks like a secret ({kinds}), which will come back in later prompts. Take it back with "
    "delete_request request_id={request_id}, and replace the secret."
)
REPLACED: Final = "Secrets were replaced before it was stored: {kinds}."

NAMES: Final = ("user_id", "session_id", "source", "agent_version", "request_id", "retrieval_experiment_id")
"""Ids and names of a request, in which a secret can be too."""

WARNING_CHARS: Final = 300
ROLE_CHARS: Final = 60
MOST_NAMED: Final = 10
"""Warnings and roles that are named."""

Policy = Literal["warn", "redact", "refuse"]
"""What to do with secrets: `redact` replaces each by what it is, where that is possible."""

Beat = Callable[[float], Awaitable[None]]
"""Told the seconds waited so far."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of a request that was sent.

    Args:
        reply: what the service answered; its `learning_status` is `still_learning` when the wait ended first.
        already_stored: an earlier call stored it; this one added nothing.
        read_back: it was seen in the store after the call.
    """

    reply: PublishReply
    already_stored: bool = False
    read_back: bool = False


@dataclass(frozen=True, slots=True)
class _Screened:
    """Interactions that were looked through for secrets, the kinds that were found, and what was not looked for."""

    turns: Sequence[Interaction]
    secrets: tuple[str, ...]
    missed: str = ""


async def _screen(interactions: Sequence[Interaction], policy: Policy, names: Mapping[str, str]) -> _Screened:
    """Look for secrets in what is about to be published.

    Args:
        names: the ids and names it is published under.

    Raises:
        InvalidInput: there are secrets, and they are refused, or stand where none can be replaced; or keys cannot be
            looked for here, and the policy is not to warn.
    """
    # They compile patterns that few servers need.
    from reflexio_mcp.traffic.audit.rules.redaction import MISSING, available, looked

    screened = await looked(interactions, lambda: _looked_through(interactions, policy, names))
    if available():
        return screened
    if policy != "warn":
        raise InvalidInput(
            "interactions",
            f"may hold a key: {MISSING}. Under REFLEXIO_MCP_PUBLISH_SECRETS={policy} nothing is stored that was not "
            "looked at for keys. Run the server where that package runs, or with REFLEXIO_MCP_PUBLISH_SECRETS=warn.",
        )
    return replace(screened, missed=MISSING)


_FIXED: Final = ("interacted_image_url", "citations.real_id", "citations.kind", "retrieved_learnings.")
"""Fields in which something else than what was given would lead elsewhere, or nowhere."""
_TEXT_IN_IMAGE = re.compile(rb"[\t\n\r -~]{16,}|(?:[\t\n\r -~]\0){16,}")
"""What cameras and programs write into an image: a comment, its author, how it was made. No key is shorter."""


def _looked_through(
    interactions: Sequence[Interaction], policy: Policy, names: Mapping[str, str]
) -> _Screened:
    from reflexio_mcp.traffic.audit.rules.redaction import (
        asked_for,
        redact_turn,
        secret_in_name,
        secrets_of_turn,
    )
    from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

    kinds: dict[str, None] = {}
    fixed: dict[str, str] = {}  # where something stands that cannot be replaced
    for name, value in names.items():
        if kind := secret_in_name(value):
            fixed.setdefault(name, f"{kind} in an id or a name")
    screened: list[Interaction] = []
    for index, (turn, asked) in enumerate(zip(interactions, asked_for(interactions), strict=True)):
        for field, kind in secrets_of_turn(turn, asked):
            if field.startswith(_FIXED):
                fixed.setdefault(f"interactions[{index}].{field}", kind)
            else:
                kinds[kind] = None
        if found := find_secrets(_text_in_image(turn.image_encoding)):
            fixed.setdefault(f"interactions[{index}].image_encoding", found[0].kind)
        screened.append(redact_turn(turn, asked=asked) if policy == "redact" else turn)
    if kinds and policy == "refuse":
        raise InvalidInput(
            "interactions",
            f"hold what looks like a secret ({', '.join(kinds)}), which this server does not store. Nothing was "
            "stored; publish again without it.",
        )
    if fixed and policy != "warn":
        place, kind = next(iter(fixed.items()))
        why = "which this server does not store" if policy == "refuse" else "which cannot be replaced there"
        raise InvalidInput(
            place,
            f"holds what looks like a secret ({kind}), {why}. Nothing was stored; publish again without it.",
        )
    return _Screened(screened, tuple(kinds | dict.fromkeys(fixed.values())))


def _text_in_image(encoded: str) -> str:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        return ""  # the check of what is published says so
    return "\n".join(found.replace(b"\0", b"").decode("ascii") for found in _TEXT_IN_IMAGE.findall(raw))


async def publish(
    scope: Scope, draft: PublishBody, *, policy: Policy, wait_seconds: float | None, beat: Beat
) -> Stored:
    """Store one request of a session.

    Args:
        draft: the request as the caller gave it, with turns that `check_turn` takes. An empty request id is minted
            here, so that a lost reply can be repeated without storing anything twice.
        policy: what to do with secrets in it.
        wait_seconds: hold on until extraction has covered it, so long at the most; `None` does not wait.
        beat: called every 10 s while waiting.

    Raises:
        InvalidInput: something the API would refuse, or secrets that the policy refuses; nothing was sent.
        OutcomeUnclear: whether it is stored is not known; names the request id to repeat it with.
        ReflexioError: as the client raises it; nothing was stored.
    """
    names = {name: getattr(draft, name) or "" for name in NAMES}
    screened = await _screen(draft.interaction_data_list, policy, names)
    body = _checked(scope, draft.model_copy(update={"interaction_data_list": list(screened.turns)}))
    minted = not draft.request_id
    try:
        if wait_seconds is None:
            sent = await _publish(scope, body, minted, None)
        else:
            async with task_group() as tasks:
                tasks.start_soon(_beat_until_cancelled, beat)
                sent = await _publish(scope, body, minted, wait_seconds)
                tasks.cancel_scope.cancel()
    except ReflexioError as failure:
        if failure.effect == "unknown":
            text = f"{explain(failure)} {REPEAT.format(request_id=body.request_id)}"
            raise OutcomeUnclear(text) from failure
        raise
    return _stored(body, sent, screened, replaced=policy == "redact")


def _stored(body: PublishBody, sent: _Sent, screened: _Screened, *, replaced: bool) -> Stored:
    from reflexio_mcp.traffic.audit.rules.redaction import without_key  # compiles patterns few servers need

    reply, turns = sent.reply, body.interaction_data_list
    roles = [
        role for role in dict.fromkeys(turn.role for turn in turns) if role.strip().lower() not in USUAL_ROLES
    ]
    learned = reply.learning_status == "done" and reply.learning_reason != NOT_APPLICABLE
    notes = [f"{screened.missed[0].upper()}{screened.missed[1:]}."] if screened.missed else []
    if screened.secrets:
        told = REPLACED if replaced else KEPT
        request_id = shown_id(body.request_id)
        notes.append(told.format(kinds=", ".join(screened.secrets), request_id=request_id))
    # Images and citations are not given out again.
    if (
        sent.already_stored
        and sent.read_back
        and any(turn.image_encoding or turn.citations for turn in turns)
    ):
        notes.append("Images and citations cannot be read back and were not compared.")
    return Stored(
        notice=NOTICE if reply.warnings or roles else "",
        status="already_stored" if sent.already_stored else "stored",
        request_id=shown_id(body.request_id),
        session_id=shown_id(body.session_id),
        user_id=shown_id(body.user_id),
        interactions=len(turns),
        agent_version=shown_name(body.agent_version or api_limits.DEFAULT_AGENT_VERSION),
        read_back=sent.read_back,
        learning=learning_row(
            reply.learning_status, reply.learning_reason, evaluation_only=body.evaluation_only
        )
        if reply.learning_status
        else None,
        profiles_added=reply.profiles_added if learned else None,
        playbooks_added=reply.playbooks_added if learned else None,
        secrets=list(screened.secrets),
        secrets_replaced=bool(screened.secrets) and replaced,
        unusual_roles=[
            shown_name(without_key(role), ROLE_CHARS).strip() or "(empty)" for role in roles[:MOST_NAMED]
        ],
        warnings=[shown_name(warning, WARNING_CHARS) for warning in reply.warnings[:MOST_NAMED]],
        notes=notes,
    )


def _checked(scope: Scope, draft: PublishBody) -> PublishBody:
    """The request as it is sent. What the API would refuse, or keep wrong, is refused here, before anything is sent."""
    user = require_id("user_id", scope.user(draft.user_id))
    session = require_id("session_id", draft.session_id)
    source, agent_version = draft.source.strip(), draft.agent_version.strip()
    check_source("source", source)
    experiment = (draft.retrieval_experiment_id or "").strip()
    arm = (draft.retrieval_experiment_arm or "").strip()
    chosen = draft.request_id.strip()
    check_turns(draft.interaction_data_list)
    faults: list[InvalidInput] = []
    if draft.evaluation_only and draft.force_extraction:
        nothing = "cannot go with evaluation_only: such traffic teaches nothing."
        faults.append(InvalidInput("force_extraction", nothing))
    if bool(experiment) != bool(arm):
        missing = "retrieval_experiment_arm" if experiment else "retrieval_experiment_id"
        faults.append(InvalidInput(missing, "is needed too: give both of an experiment, or neither."))
    if arm and arm not in ARMS:
        faults.append(InvalidInput("retrieval_experiment_arm", f"takes {' or '.join(ARMS)}."))
    if draft.request_id and not chosen:
        faults.append(InvalidInput("request_id", "must not be blank; leave it out to have one made."))
    if faults:
        first, *more = faults
        raise InvalidInput(first.field, " ".join([first.problem, *map(str, more), "Nothing was sent."]))
    return draft.model_copy(
        update={
            "user_id": user,
            "session_id": session,
            "request_id": chosen or str(uuid.uuid4()),
            "source": source,
            "agent_version": agent_version,
            "retrieval_experiment_id": experiment or None,
            "retrieval_experiment_arm": arm or None,
        }
    )


def check_turns(turns: Sequence[Interaction]) -> None:
    """Refuse turns that are too many or carry too much together, or none.

    Raises:
        InvalidInput: says what is wrong with them.
    """
    faults: list[str] = []
    if not 1 <= len(turns) <= api_limits.MAX_INTERACTIONS:
        faults.append(f"takes 1 to {api_limits.MAX_INTERACTIONS:,} turns.")
    learnings = sum(len(turn.retrieved_learnings) for turn in turns)
    if learnings > (most := api_limits.MAX_RETRIEVED_LEARNINGS):
        faults.append(f"carry {learnings:,} retrieved_learnings; {most:,} at most.")
    if faults:
        raise InvalidInput("interactions", " interactions ".join(faults))


def check_turn(turn: Interaction) -> None:
    """Refuse a turn that the API would refuse, or keep wrong.

    Raises:
        InvalidInput: says what is wrong with it first; the field begins with a dot, and is empty for the whole turn.
    """
    name = ""
    if turn.image_encoding and turn.interacted_image_url:
        raise InvalidInput(name, "takes image_encoding or interacted_image_url, not both.")
    if (turn.created_at or 0) > LATEST:
        raise InvalidInput(f"{name}.created_at", "takes seconds since 1970, not milliseconds.")
    if turn.user_action != "none" and not turn.user_action_description.strip():
        raise InvalidInput(f"{name}.user_action_description", f"must say what the {turn.user_action} was.")
    if turn.image_encoding and not _is_base64(turn.image_encoding):
        raise InvalidInput(
            f"{name}.image_encoding", "must be base64, without a data: prefix and line breaks."
        )
    if turn.interacted_image_url and (fault := image_url_fault(turn.interacted_image_url)):
        raise InvalidInput(f"{name}.interacted_image_url", f"{fault}.")
    beside = turn.image_encoding or turn.interacted_image_url or turn.tools_used
    if not beside and not any(text.strip() for text in texts_of(turn)):
        raise InvalidInput(name, "is empty; give content, an action, an image or tools_used.")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True


async def finish(scope: Scope, user_id: str, session_id: str) -> Finished:
    """Say that a session has had its last request.

    Raises:
        NotStored: this user has no such session.
    """
    user = require_id("user_id", scope.user(user_id))
    session = require_id("session_id", session_id)
    reply = await scope.client.finalize_session(user, session)
    if not reply.accepted:
        raise NotStored(
            f"User {quoted(user)} has no session {quoted(session)}; nothing was finished. Find it with list_sessions."
        )
    return Finished(user_id=shown_id(user), session_id=shown_id(session))


async def _publish(scope: Scope, body: PublishBody, minted: bool, wait_seconds: float | None) -> _Sent:
    wait = wait_seconds is not None
    failure: ReflexioError | None = None
    with anyio.move_on_after(wait_seconds):
        try:
            reply = await scope.client.publish(body, minted=minted, wait=wait, timeout=wait_seconds)
            return _Sent(reply, reply.already_stored)
        except AlreadyExists as taken:
            # Repeating a call with an id of one's own must be safe, as hosts repeat what they saw fail.
            item = await find_request(scope, body.request_id)
            readable = item is not None and not isinstance(item, UnreadableRequest)
            differ = differences(body, item) if item and readable else []
            if readable and not differ:
                return _Sent(await _learned(scope, body.request_id), already_stored=True, read_back=True)
            # Of a request that this caller cannot see, or nobody can read, nothing more is told.
            taken.detail = f"by a request that differs in {', '.join(differ)}" if differ else ""
            raise
        except ReflexioError as error:
            if error.effect == "none":
                raise
            failure = error
    # The wait ended first, or the answer was lost. The service stores before it learns, but only a look tells.
    with anyio.move_on_after(LOOK_SECONDS), suppress(ReflexioError):
        if await find_request(scope, body.request_id) is not None:
            return _Sent(await _learned(scope, body.request_id), read_back=True)
    try:
        raise failure or OutcomeUnknown("the wait ended before the request was seen in the store")
    finally:
        del failure  # which holds this frame


async def _learned(scope: Scope, request_id: str) -> PublishReply:
    status = await learning_status(scope, request_id)
    if status is None or status.status in ("pending", "processing"):
        return PublishReply(
            learning_status="still_learning", learning_reason=status.reason if status else None
        )
    return PublishReply(learning_status=status.status, learning_reason=status.reason)


async def _beat_until_cancelled(beat: Beat) -> None:
    started = anyio.current_time()
    while True:
        await beat(anyio.current_time() - started)
        await anyio.sleep(BEAT_SECONDS)
