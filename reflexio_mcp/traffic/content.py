"""The content of requests, and the fingerprints that are shown instead of hidden content.

Fingerprints are keyed, because a plain hash of a short secret can be reversed by trying.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Protocol

from reflexio_mcp.matching.words import leaves
from reflexio_mcp.rest.models import Interaction, RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.turns import give_way

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

__all__ = [
    "TEXT_FIELDS",
    "Fingerprints",
    "add_texts",
    "content_chars",
    "every_text",
    "find_all",
    "in_brief",
    "interaction_digest",
    "opening",
    "order_of",
    "pieces",
    "texts_of",
]

BRIEF_CHARS: Final = 80

_SEALED_ID = re.compile(r"\[redacted: .* ([A-Za-z0-9_-]{20,})\]")


def order_of(item: RequestWithInteractions) -> tuple[int, int, str]:
    """Return the sort key of a request in its session: second, order of arrival in that second, id."""
    # Interaction ids grow with arrival.
    arrival = min((interaction.interaction_id for interaction in item.interactions), default=0)
    return item.request.created_at, arrival, item.request.request_id


def texts_of(interaction: Interaction | StoredInteraction) -> tuple[str, str, str, str]:
    return (
        interaction.content,
        interaction.user_action_description,
        interaction.shadow_content,
        interaction.expert_content,
    )


def texts_within(value: object) -> Iterator[str]:
    """Yield each text of a tool call after its name: `{"password": "…"}` is `password: …`."""
    for name, leaf in leaves(value):
        if isinstance(leaf, str):
            yield f"{name}: {leaf}" if name else leaf


WINDOW_CHARS: Final = 2_000
BEHIND_CHARS: Final = 500
"""How far a match of `find_all` may look beyond its window."""

PIECE_CHARS: Final = 16_000
"""Length of a piece of `pieces`. It is longer than a window, because words are found much faster than a pattern."""


def pieces(text: str, overlap: int) -> Iterator[tuple[int, str]]:
    """Yield a text in pieces with their places. Other threads can run after the search in each piece.

    Args:
        overlap: characters of a piece that the next one has, too.
    """
    for start in range(0, max(1, len(text) - overlap), PIECE_CHARS):
        give_way()
        yield start, text[start : start + PIECE_CHARS + overlap]


def find_all(pattern: "re.Pattern[str]", text: str) -> "Iterator[re.Match[str]]":
    """Find what `finditer` finds, in windows: `re` lets no other thread run during one search.

    A match belongs to the window in which it begins. One that reaches the edge is searched again without an end.
    """
    if len(text) <= WINDOW_CHARS + BEHIND_CHARS:
        yield from pattern.finditer(text)
        return
    start = 0
    while start < len(text):
        give_way()
        stop = start + WINDOW_CHARS
        edge = stop + BEHIND_CHARS
        for match in pattern.finditer(text, start, edge):
            if match.start() >= stop:
                break
            # A match that reaches the edge may be longer.
            found = pattern.match(text, match.start()) if match.end() >= edge else match
            if found:
                yield found
                start = max(start, found.end())
        start = max(start, stop)


TEXT_FIELDS: Final = (
    "content", "user_action_description", "shadow_content", "expert_content", "interacted_image_url", "role",
)  # fmt: skip


def every_text(interaction: Interaction | StoredInteraction) -> Iterator[tuple[str, str]]:
    """Yield every field and text of an interaction that can contain a secret."""
    # What is published has models where a stored interaction has dictionaries.
    for field in TEXT_FIELDS:
        if text := getattr(interaction, field):
            yield field, text
    for used in interaction.tools_used:
        fields = used if isinstance(used, dict) else dict(used)
        yield from (("tools_used", text) for text in texts_within(fields))
    for learning in interaction.retrieved_learnings:
        for name, value in (learning if isinstance(learning, dict) else dict(learning)).items():
            yield from ((f"retrieved_learnings.{name}", text) for text in texts_within(value))
    if isinstance(interaction, Interaction):  # the service returns no citations
        for cited in interaction.citations:
            yield from ((f"citations.{name}", text) for name, text in cited)


def content_chars(item: RequestWithInteractions) -> int:
    return sum(len(text) for interaction in item.interactions for text in texts_of(interaction))


def interaction_digest(interaction: StoredInteraction) -> str:
    """A digest without a key, so it is never shown."""
    digest = hashlib.sha256()
    used = (text for tool in interaction.tools_used for text in texts_within(tool.get("tool_data")))
    add_texts(digest, (interaction.role, *filter(None, texts_of(interaction)), *used))
    return digest.hexdigest()


class _Digest(Protocol):
    def update(self, data: bytes | bytearray, /) -> None: ...


def add_texts(digest: _Digest, texts: Iterable[str]) -> None:
    """Add texts with their lengths, so that different lists of texts give different digests."""
    added = bytearray()
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        added += len(raw).to_bytes(8, "big")
        added += raw
    digest.update(added)


class Fingerprints:
    """Makes fingerprints with a `secret` that is asked for once."""

    def __init__(self, secret: Callable[[], bytes] = lambda: secrets.token_bytes(32)) -> None:
        self._secret = secret
        self._secret_bytes = b""

    def of(self, item: RequestWithInteractions) -> str:
        digests = "".join(map(interaction_digest, item.interactions))
        return self._digest(digests.encode()).hex()[:10]

    def cover(self, kind: str, text: str) -> str:
        """Seal an id that contains a key. Nobody can read it, and `uncover` gives it back.

        The same id is always sealed to the same text, so that a list can be compared with an earlier one.
        """
        sealed = self._cipher().encrypt(text.encode("utf-8", "surrogatepass"), None)
        return f"[redacted: {kind} {base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}]"

    def uncover(self, shown: str) -> str:
        """Return the id that `cover` sealed, and any other text unchanged."""
        if not (match := _SEALED_ID.fullmatch(shown)):
            return shown
        from cryptography.exceptions import InvalidTag  # few calls name a sealed id

        sealed = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
        try:
            return self._cipher().decrypt(sealed, None).decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            return shown

    def _digest(self, data: bytes) -> bytes:
        return hmac.new(self._key(b"fingerprint"), data, hashlib.sha256).digest()

    def _cipher(self) -> "AESSIV":
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # few stored ids contain a key

        return AESSIV(self._key(b"cover"))

    def _key(self, purpose: bytes) -> bytes:
        """Return the key of a purpose, 32 bytes."""
        if not self._secret_bytes:
            self._secret_bytes = self._secret()
        return hashlib.sha256(b"reflexio-mcp " + purpose + b"\0" + self._secret_bytes).digest()


def opening(item: RequestWithInteractions, chars: int) -> str:
    """Return at most `chars` characters of a request's first text, from its first word on."""
    texts = (text for interaction in item.interactions for text in texts_of(interaction))
    return next((text.lstrip()[:chars] for text in texts if text and not text.isspace()), "")


def in_brief(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= BRIEF_CHARS else words[: BRIEF_CHARS - 1] + "…"
