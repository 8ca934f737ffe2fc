"""What became of a publish."""

from collections.abc import Sequence
from typing import Final, Literal, Required, TypedDict

from reflexio_mcp.render.blocks import fenced, lines
from reflexio_mcp.render.result import Rendered, Unlisted, as_sentence, counted, dense, joined
from reflexio_mcp.rest.api_limits import DEFAULT_AGENT_VERSION
from reflexio_mcp.results.publishing import Finished
from reflexio_mcp.traffic.publishing import Published, Screened
from reflexio_mcp.traffic.stored_text import NOTICE, fence, label, shown_id, shown_name

__all__ = ["PublishFacts", "finished", "learning_words", "published"]

WARNING_CHARS: Final = 300
MOST_WARNINGS: Final = 10
ROLE_CHARS: Final = 60

NOT_APPLICABLE: Final = "not_applicable"
"""The service's reason where nothing can be learned."""

_MEANS: Final = {
    "waiting_for_window": "nothing is learned from it yet. Reflexio waits for more of the conversation (a window of 10 "
    "interactions by default); finish_session learns now",
    "covered": "Reflexio has read it, whether or not there was anything to learn",
    "deferred": "nothing is learned from it yet",
    "pending": "nothing is learned from it yet",
    "processing": "it is being learned from now",
    "still_learning": "stored, still learning",
    "not_tracked": "Reflexio does not say what is learned from it",
    "embedded_store": "this store does not learn",
    "failed": "nothing was learned from it",
}
"""What a reason, or else a status, of the service means."""


class PublishFacts(TypedDict, total=False):
    """What a publish stored."""

    status: Required[Literal["stored", "already_stored"]]
    request_id: Required[str]
    session_id: str
    user_id: str
    interactions: int
    agent_version: str
    read_back: bool
    learning_status: str
    learning_reason: Unlisted[str]
    profiles_added: Unlisted[int | None]
    playbooks_added: Unlisted[int | None]
    notice: Unlisted[str]
    secrets: list[str]
    secrets_missed: Unlisted[str]
    unusual_roles: Unlisted[list[str]]
    warnings: list[str]
    more_warnings: Unlisted[int | None]
    next: str


def published(
    done: Published, screened: Screened | None = None, *, redacted: bool = False, takes_back: str = ""
) -> Rendered:
    """A publish: what is stored under which id, and where its learning stands.

    Args:
        screened: what was found when it was looked through for secrets.
        redacted: whether they were replaced before it was stored.
        takes_back: the tool that deletes a request, where it is offered.
    """
    body, reply, roles = done.body, done.reply, done.unusual_roles
    secrets, missed = (screened.secrets, screened.missed) if screened else ((), "")
    reason = reply.learning_reason or ""
    learned = reply.learning_status == "done" and reason != NOT_APPLICABLE
    facts: PublishFacts = dense(
        {
            "status": "already_stored" if done.already_stored else "stored",
            "request_id": shown_id(body.request_id),
            "session_id": shown_id(body.session_id),
            "user_id": shown_id(body.user_id),
            "interactions": len(body.interaction_data_list),
            "agent_version": shown_name(done.agent_version),
            "read_back": done.read_back,
            "learning_status": label(reply.learning_status),
            "learning_reason": label(reason),
            "profiles_added": reply.profiles_added if learned else None,
            "playbooks_added": reply.playbooks_added if learned else None,
            "secrets": list(secrets),
            "secrets_missed": missed,
            "unusual_roles": [
                shown_name(_safe(role), ROLE_CHARS).strip() or "(empty)" for role in roles[:MOST_WARNINGS]
            ],
            "notice": NOTICE if reply.warnings or roles else "",
            "warnings": [shown_name(warning, WARNING_CHARS) for warning in reply.warnings[:MOST_WARNINGS]],
            "more_warnings": max(0, len(reply.warnings) - MOST_WARNINGS) or None,
        }
    )
    version = f"agent version {facts['agent_version']}" if "agent_version" in facts else ""
    if done.agent_version == DEFAULT_AGENT_VERSION:
        version += " (the default)"
    turns = counted(len(body.interaction_data_list), "interaction")
    where = joined((f"{turns} of user {facts['user_id']} in session {facts['session_id']}", version))
    lead = "Stored and read back" if done.read_back else "Stored"
    if done.already_stored:
        lead = "Already stored by an earlier call, nothing added"
    lines = [f"{lead}: {where}. request_id={facts['request_id']}"]
    if secrets:
        lines.append(_secrets(facts, secrets, redacted, takes_back))
    if missed:
        lines.append(as_sentence(missed))
    if shown := facts.get("unusual_roles"):
        lines.append(f"Unusual roles; the usual ones are User and Assistant:\n{fence(', '.join(shown))}")
    if done.uncompared:
        lines.append("Images and citations cannot be read back and were not compared.")
    if told := _learning(done, facts):
        lines.append(told)
    if warnings := facts.get("warnings"):
        more = f"\n… and {facts['more_warnings']:,} more" if "more_warnings" in facts else ""
        lines.append(f"The service warns:\n{fence(chr(10).join(warnings) + more)}")
    if reply.learning_status == "still_learning" and "next" not in facts:
        following = "See how the learning went with get_request."
        facts["next"] = following
        lines.append(following)
    return Rendered("\n".join(lines), facts)


def _safe(role: str) -> str:
    from reflexio_mcp.traffic.rules.secrets import without_key  # compiles patterns few servers need

    return without_key(role)


def learning_words(status: str, reason: str, *, evaluation_only: bool) -> tuple[str, str, str]:
    """How a request's learning stands.

    Args:
        status, reason: as the service says it.
        evaluation_only: whether the request was stored never to be learned from.

    Returns:
        The status and the reason in one word each, and both in a sentence.
    """
    if reason == NOT_APPLICABLE:
        why = "evaluation_only" if evaluation_only else NOT_APPLICABLE
        return "nothing", why, f"Learning: nothing is learned from it ({why})."
    means = _MEANS.get(reason) or _MEANS.get(status)
    status, reason = label(status), label(reason)
    code = f"{status}, {reason}" if reason else status
    if not means:
        return status, reason, f"Learning: {code}."
    return status, reason, f"Learning: {means} ({code})."


def _learning(done: Published, facts: PublishFacts) -> str:
    """What was or will be learned from it."""
    reply = done.reply
    if not reply.learning_status:
        return ""
    status, reason, told = learning_words(
        reply.learning_status, reply.learning_reason or "", evaluation_only=done.body.evaluation_only
    )
    facts["learning_status"] = status
    if reason:
        facts["learning_reason"] = reason
    if facts.get("profiles_added") is not None:
        playbooks = counted(reply.playbooks_added or 0, "playbook")
        told += f" Added {counted(reply.profiles_added or 0, 'profile')} and {playbooks}."
    return told


def finished(done: Finished) -> str:
    return lines(
        "Finished: Reflexio now learns from what waited for more, if there is anything to learn.",
        fenced(f"session {done.session_id} of user {done.user_id}"),
        "What was learned is shown by list_learnings with this session_id, in a moment.",
    )


def _secrets(facts: PublishFacts, secrets: Sequence[str], redacted: bool, takes_back: str) -> str:
    kinds = ", ".join(secrets)
    if redacted:
        return f"Secrets were replaced before it was stored: {kinds}."
    what = f"It holds what looks like a secret ({kinds}), which will come back in later prompts."
    if takes_back:
        following = (
            f"Take it back with {takes_back} request_id={facts['request_id']}, and replace the secret."
        )
    else:
        following = "Replace the secret; nothing here can delete it."
    facts["next"] = following
    return f"{what} {following}"
