"""The guide: how to choose what goes with a publish. Limits come from the table that validates them."""

from dataclasses import dataclass
from typing import Final

from reflexio_mcp.rest import limits
from reflexio_mcp.traffic.rules.table import RULES

__all__ = ["FIELDS", "guide"]


@dataclass(frozen=True, slots=True)
class Field:
    """One argument of `publish_interaction`: what it accepts, and how to choose it."""

    name: str
    accepts: str
    advice: str


FIELDS: Final = (
    Field("user_id", "any text but blank",
          "Whose memory it is. One stable id a person; never a shared account such as `default`."),
    Field("session_id", "any text but blank",
          "One conversation of one user, the same id from its first turn to its last. Sessions are shared across "
          "users, so make the id unique: a uuid, or the chat's own id."),
    Field("interactions", f"1 to {limits.MAX_INTERACTIONS:,} turns, {limits.MAX_CONTENT_CHARS:,} characters each, "
          f"{limits.MAX_BODY_BYTES // 2**20} MiB in all",
          "What was said since the last publish, question and answer together, each turn once."),
    Field("source", f"empty, or {limits.SOURCE_PATTERN.pattern}",
          "Which integration sent it: one constant word such as `ide` or `support-chat`. No dates, no ids."),
    Field("agent_version", f"up to {limits.MAX_AGENT_VERSION_CHARS:,} characters; empty is stored as "
          f"{limits.DEFAULT_AGENT_VERSION}",
          "Which agent answered: change it with every change of prompt or model, so that versions can be compared."),
    Field("request_id", "any text but blank; made when left out",
          "Leave it out, or give your own to repeat a publish safely: the same id is never stored twice."),
    Field("wait_for_response", f"true or false; the service holds at most {limits.PUBLISH_WAIT_SECONDS} s",
          "True only when the next step needs what is learned from it."),
    Field("skip_aggregation", "true or false",
          "True keeps it out of what is learned across users."),
    Field("force_extraction", "true or false; not with evaluation_only",
          "True learns from it now instead of when enough has come together."),
    Field("evaluation_only", "true or false",
          "True for tests, demos, staging and shadow traffic: it is stored and never learned from."),
)  # fmt: skip


def guide() -> str:
    """The whole guide as text."""
    lines = [
        "How to publish so that what is learned is right and what went wrong can be taken back.",
        "",
        *(f"{field.name} ({field.accepts}): {field.advice}" for field in FIELDS),
        "",
        f"The service takes {limits.PUBLISHES_PER_MINUTE} publishes a minute from one client.",
        "",
        "What audit_traffic looks for, and what to do instead:",
        *(f"{rule.id}: {rule.advice}" for rule in RULES),
    ]
    return "\n".join(lines)
