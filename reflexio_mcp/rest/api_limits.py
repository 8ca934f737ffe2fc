"""Limits and formats of the Reflexio API, measured against `reflexio-ai` 0.2.32.

Validation, messages and documentation all take them from here.
"""

import re
from typing import Final

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
"""The server resets the connection on a larger request body, without a response; so it is never sent."""

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
"""A larger reply, decoded, is not read to its end. This limit is the client's own and bounds its memory. It leaves room
for a session of many thousand requests, which is one reply."""

MAX_INTERACTIONS: Final = 1000
MAX_CONTENT_CHARS: Final = 1_000_000
MAX_ROLE_CHARS: Final = 1000
MAX_ACTION_DESCRIPTION_CHARS: Final = 10_000
MAX_IMAGE_URL_CHARS: Final = 2048
MAX_IMAGE_BASE64_CHARS: Final = 15_000_000
MAX_AGENT_VERSION_CHARS: Final = 1000
MAX_RETRIEVED_LEARNINGS: Final = 1000
MAX_DELETE_IDS: Final = 10_000
"""How many ids one `delete_requests_by_ids` call takes."""

MAX_TOP_K: Final = 2**63 - 1

SOURCE_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9._:-]{0,127}")
"""What `source` must match in full, unless it is empty."""

DEFAULT_AGENT_VERSION: Final = "agent-v0"
"""What an empty `agent_version` is stored as."""

PUBLISHES_PER_MINUTE: Final = 60
PUBLISH_WAIT_SECONDS: Final = 240
"""How long the server holds a publish that waits for extraction."""

CLOUD_METADATA_HOSTS: Final = ("169.254.169.254", "metadata.google.internal", "fd00:ec2::254")
"""Image URLs on these hosts are refused by the server (422)."""


_BLANK_LETTERS: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
)
"""What counts as a letter, sign or mark and shows nothing by itself."""


def is_blank(text: str) -> bool:
    """Whether nobody could see anything of a text: blanks, control characters, zero-width and other invisible ones."""
    return not any(one.isprintable() and not one.isspace() and one not in _BLANK_LETTERS for one in text)
