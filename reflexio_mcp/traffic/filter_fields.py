"""The fields of the one filter.

What they are called, what they accept and how they are explained stands here alone. The parameters of tools, the
options of commands, the checks of arguments, cursors and follow-up calls are derived from it. It imports nothing, so
that `--help` is quick.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["FILTER_FIELDS", "SWITCHES", "FilterField"]


@dataclass(frozen=True, slots=True)
class FilterField:
    """A field, which is an attribute of `TrafficFilter`, an argument of tools and an option of commands.

    Args:
        kind: what is compared. A `name` is equal to that of the request. A `time` is the first or last second. A `text`
            is searched for or looked up. A `choice` is one of `choices`, the first of which does not filter.
        option_help: what commands say about it.
        description: what tools say about it. It costs every model tokens, so it is empty if the name says enough.
    """

    name: str
    kind: Literal["name", "time", "text", "choice"]
    option_help: str
    description: str = ""
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """The option of commands, such as `--user-id`."""
        return f"--{self.name.replace('_', '-')}"


FILTER_FIELDS: Final = (
    FilterField("user_id", "name", "requests of this user"),
    FilterField("session_id", "name", "requests of this session"),
    FilterField("source", "name", "requests from this source"),
    FilterField("agent_version", "name", "requests of this agent version"),
    FilterField(
        "start_time",
        "time",
        "stored at or after this time: ISO 8601 (UTC if no zone is given), or an age such as 24h or 7d",
        "ISO 8601 (no zone: UTC) or age: 30m, 24h, 7d",
    ),
    FilterField("end_time", "time", "stored at or before this time", "as start_time; both inclusive"),
    FilterField(
        "contains",
        "text",
        "all these words, in texts and request and session ids, long ones also inside longer words; "
        "'\"two words\"' is a phrase; a OR b",
        "all these words (over 5 letters: even in longer; request and session ids: where parts begin); "
        '"a phrase"; a OR b',
    ),
    FilterField(
        "finding",
        "text",
        "requests with this finding of the audit, such as probable-secret or duplicate",
        # The values are not listed: audits return them, and a wrong value is answered with the list.
        "a rule of audit_traffic",
    ),
    FilterField(
        "evaluation_only",
        # Not a boolean: some clients fill in false for every boolean, which must not filter.
        "choice",
        "requests that are never learned from",
        "only: requests that are never learned from; never: others",
        ("any", "only", "never"),
    ),
)
"""All fields, in the order of tools and commands."""

SWITCHES: Final = {field.name: field.choices[1] for field in FILTER_FIELDS if field.kind == "choice"}
"""What each choice is if its option is given to a command, which takes no value: `--evaluation-only` means `only`."""
