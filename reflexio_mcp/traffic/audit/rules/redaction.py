"""Redacts the secrets that the rule `secret` finds.

Long texts take time: call these functions in a worker thread, or through `look_in_thread`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar, cast

import anyio.to_thread

from reflexio_mcp.rest.models import Interaction, StoredInteraction
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.traffic.audit.rules.secrets import (
    MISSING,
    PASSWORD,
    PASSWORD_WORDS,
    Secret,
    available,
    could_be_a_key,
    find_secrets,
)
from reflexio_mcp.traffic.content import TEXT_FIELDS, every_text
from reflexio_mcp.traffic.tasks import in_heavy_thread

__all__ = [
    "MISSING",
    "are_passwords",
    "available",
    "formats_unknown",
    "look_in_thread",
    "redact",
    "redact_interaction",
    "redact_interactions",
    "redact_value",
    "secret_in_name",
    "secrets_of_interaction",
    "without_end",
    "without_key",
]

END_CHARS: Final = 500
"""Distance from the end of a cut text in which a secret may begin."""

QUICK_CHARS: Final = 2_000
"""Longer texts are searched in a worker thread."""

LIGHT_CHARS: Final = 100_000
"""Longer texts are heavy work."""

_ONE_WORD = re.compile(r"\s*\S{4,64}\s*")
_ASKS = re.compile(
    rf"(?i)(?:{PASSWORD_WORDS}|\bpin\b)(?! (?:manager|policy|reset))[^.?!\n]{{0,40}}[?？:：]?\s*\Z"
)
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[a-z0-9_.:/-]{0,60}")
"""A uuid or lower-case name is no key."""

AnyInteraction = TypeVar("AnyInteraction", Interaction, StoredInteraction)
T = TypeVar("T")


def redact(text: str) -> str:
    """Replace each secret by its kind: `[redacted: github-pat]`."""
    return _without(text, find_secrets(text))


def _without(text: str, secrets: Sequence[Secret]) -> str:
    kept: list[str] = []
    behind = 0
    for secret in secrets:
        kept += (text[behind : secret.start], f"[redacted: {secret.kind}]")
        behind = secret.end
    return "".join((*kept, text[behind:]))


def are_passwords(interactions: Sequence[Interaction | StoredInteraction]) -> list[bool]:
    """Whether the content of each interaction is a password: one word, after a question for a password or a PIN."""
    return [
        bool(
            before
            and before.role.lower() != interaction.role.lower()
            and _ONE_WORD.fullmatch(interaction.content)
            and _ASKS.search(before.content[-160:])
        )
        for before, interaction in zip((None, *interactions), interactions, strict=False)
    ]


def whole_text_as_password(text: str) -> list[Secret]:
    start = len(text) - len(text.lstrip())
    return [Secret(start, len(text.rstrip()), PASSWORD)]


def secrets_of_interaction(
    interaction: Interaction | StoredInteraction, is_password: bool
) -> list[tuple[str, str]]:
    return [
        (field, secret.kind)
        for field, text in every_text(interaction)
        for secret in (
            whole_text_as_password(text) if is_password and field == "content" else find_secrets(text)
        )
    ]


def redact_interactions(interactions: Sequence[AnyInteraction]) -> list[AnyInteraction]:
    """Redact the interactions of a request, one-word answers included."""
    return [
        redact_interaction(interaction, is_password=is_password)
        for interaction, is_password in zip(interactions, are_passwords(interactions), strict=True)
    ]


def redact_interaction(
    interaction: AnyInteraction, searched_chars: int | None = None, is_password: bool = False
) -> AnyInteraction:
    """Redact an interaction. `searched_chars`: as `redact_value` takes it."""
    update: dict[str, Any] = {
        name: redact_value(text, searched_chars)
        for name in TEXT_FIELDS
        if (text := getattr(interaction, name))
    }
    if is_password:
        update["content"] = _without(interaction.content, whole_text_as_password(interaction.content))
    for name in ("tools_used", "retrieved_learnings", "citations"):
        if held := getattr(interaction, name, None):
            update[name] = [_redact_record(record, searched_chars) for record in held]
    return interaction.model_copy(update=update)


def _redact_record(record: Any, searched_chars: int | None) -> Any:
    """Redact a tool call, a learning or a citation: a stored one is a dictionary, a published one a model."""
    if isinstance(record, dict):
        return redact_value(cast("dict[str, Any]", record), searched_chars)
    return record.model_copy(update=redact_value(dict(record), searched_chars))


def redact_value(value: object, searched_chars: int | None = None, name: str = "") -> Any:
    """Redact a text or nested value.

    Args:
        searched_chars: how much of each text is searched; `None` for all of it. The caller has to show less than that,
            because a text without a secret comes back whole. A text with a secret comes back cut.
        name: helps to recognize a secret.
    """
    if isinstance(value, str):
        text = value if searched_chars is None else value[:searched_chars]
        searched = f"{name}: {text}" if name else text
        text_start = len(searched) - len(text)
        secrets = [
            Secret(max(0, secret.start - text_start), secret.end - text_start, secret.kind)
            for secret in find_secrets(searched)
            if secret.end > text_start
        ]
        if not secrets:
            return value
        covered = _without(text, secrets)
        return covered if len(text) == len(value) else f"{without_end(covered, text)}…"
    if isinstance(value, list):
        return [redact_value(item, searched_chars, name) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {redact(key): redact_value(item, searched_chars, key) for key, item in fields.items()}
    return value


def without_end(covered: str, uncovered: str) -> str:
    """Remove a possible beginning of a secret at the end of a cut text.

    It removes what comes after the last replaced secret, but no more than `END_CHARS`: the end that both texts share.

    Args:
        covered: the text with its secrets replaced.
        uncovered: the same text before that.
    """
    same = 0
    while same < min(END_CHARS, len(covered), len(uncovered)) and covered[-1 - same] == uncovered[-1 - same]:
        same += 1
    return covered[: len(covered) - same]


def secret_in_name(name: str) -> str:
    """Return the kind of an id or name that is a key; empty if it is not."""
    has_prefix_of_keys = "sk-" in name
    if _ID.fullmatch(name) and not has_prefix_of_keys:
        return ""
    return next((secret.kind for secret in find_secrets(name[:QUICK_CHARS]) if secret.probable), "")


def without_key(name: str) -> str:
    """Return an id or name; a key is replaced by its kind."""
    kind = secret_in_name(name)
    return f"[redacted: {kind}]" if kind else name


def formats_unknown() -> list[Fact]:
    """Return a fact if keys are not looked for by their formats."""
    return [] if available() else [Fact(code=FactCode.FORMATS_NOT_KNOWN)]


async def look_in_thread(
    owner: str, interactions: Iterable[Interaction | StoredInteraction], look: Callable[[], T]
) -> T:
    """Call `look`, in a worker thread if the texts are long or could have a key.

    For very long texts, it is heavy work of `owner`.
    """
    chars, quick = 0, True
    for interaction in interactions:
        for _, text in every_text(interaction):
            chars += len(text)
            quick = quick and chars <= QUICK_CHARS and not could_be_a_key(text)
            if chars > LIGHT_CHARS:
                return await in_heavy_thread(owner, look)
    return look() if quick else await anyio.to_thread.run_sync(look)
