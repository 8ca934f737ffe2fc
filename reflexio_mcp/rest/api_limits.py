"""Limits of the Reflexio API, measured against `reflexio-ai` 0.2.32, and checks of its address and key."""

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from reflexio_mcp.characters import UNSEEN
from reflexio_mcp.rest.errors import BadAddress

__all__ = [
    "DEFAULT_AGENT_VERSION",
    "LAST_EPOCH_SECOND",
    "MAX_AGENT_VERSION_CHARS",
    "MAX_BODY_BYTES",
    "MAX_CONTENT_CHARS",
    "MAX_DELETE_IDS",
    "MAX_INTERACTIONS",
    "MAX_REPLY_BYTES",
    "PUBLISHES_PER_MINUTE",
    "PUBLISH_WAIT_SECONDS",
    "SOURCE_PATTERN",
    "check_api_key",
    "date_of",
    "is_blank",
]

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
"""The server resets the connection on a larger request body, so such a body is never sent."""

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""A limit of this client: the rest of a longer reply is not read."""

MAX_INTERACTIONS: Final = 1000
MAX_CONTENT_CHARS: Final = 1_000_000
MAX_ROLE_CHARS: Final = 1000
MAX_ACTION_DESCRIPTION_CHARS: Final = 10_000
MAX_IMAGE_URL_CHARS: Final = 2048
MAX_IMAGE_BASE64_CHARS: Final = 15_000_000
MAX_AGENT_VERSION_CHARS: Final = 1000
MAX_DELETE_IDS: Final = 10_000

SOURCE_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,127}")
"""A `source` that is not empty matches this in full."""

DEFAULT_AGENT_VERSION: Final = "agent-v0"
"""Stored for an empty `agent_version`."""

PUBLISHES_PER_MINUTE: Final = 60
PUBLISH_WAIT_SECONDS: Final = 240
"""How long the server waits for extraction before it answers."""

_SEEN: Final = re.compile(rf"[^\s{UNSEEN}]")


def is_blank(text: str) -> bool:
    """Whether a text is only blanks and other invisible characters."""
    return not any(character[0].isprintable() for character in _SEEN.finditer(text))


def check_base_url(url: str) -> str:
    """Return the URL without a trailing slash. Raises `BadAddress`."""
    text = url.strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = parts = None
    # The text may be a misplaced key, so it is not repeated.
    if parts is None or parts.scheme not in {"http", "https"} or not host or port == 0:
        raise BadAddress(
            "REFLEXIO_URL must be a URL such as https://www.reflexio.ai or http://localhost:8061"
        )
    if "@" in parts.netloc:
        raise BadAddress("REFLEXIO_URL must not contain credentials; the key belongs in REFLEXIO_API_KEY")
    if "?" in text or "#" in text:  # also before an empty query or fragment
        raise BadAddress("REFLEXIO_URL must not contain a query or a fragment")
    if not text.isascii() or any(character <= " " or character in '\x7f"<>\\^`{|}' for character in text):
        raise BadAddress("REFLEXIO_URL contains characters that a URL cannot have")
    return text.rstrip("/")


def check_api_key(key: str | None) -> str | None:
    """Return the key without surrounding blanks, or `None` for an empty key. Raises `BadAddress`."""
    text = (key or "").strip()
    if any(not "!" <= character <= "~" for character in text):
        raise BadAddress("REFLEXIO_API_KEY contains blanks or characters that a header cannot have")
    return text or None


LAST_EPOCH_SECOND: Final = 253402300799
"""The end of the year 9999. The API replaces a later time of an interaction by this instead of refusing it."""

_FIRST_EPOCH_SECOND: Final = -62135596800
"""The beginning of the year 1."""


def date_of(epoch: float) -> datetime:
    """Return a time of the service, or the nearest that a calendar has, so that one row does not fail a list."""
    return datetime.fromtimestamp(int(max(_FIRST_EPOCH_SECOND, min(epoch, LAST_EPOCH_SECOND))), UTC)
