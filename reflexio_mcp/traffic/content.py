"""Fingerprints: what stands for a content where the content itself must not be shown.

A plain hash of a short secret can be reversed by trying; these are keyed, so that only a process with the key
can make them. With an API key they are the same for everybody who has it; else the key is a file of this
machine's user. Equal contents have equal fingerprints, whatever their ids and times.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction

__all__ = ["FINGERPRINT", "content_chars", "fingerprint", "first_words", "texts_of", "use_key"]

FINGERPRINT: Final = re.compile(r"[0-9a-f]{10}")
"""How one looks: 40 bits, enough to tell a million contents of one store apart."""


class _Key:
    """This process's key, made or read when the first fingerprint is."""

    def __init__(self) -> None:
        self.source: Callable[[], bytes] = lambda: secrets.token_bytes(32)
        self.made: bytes | None = None

    def get(self) -> bytes:
        if self.made is None:
            self.made = hashlib.sha256(b"reflexio-mcp fingerprint\0" + self.source()).digest()
        return self.made


_key = _Key()


def use_key(source: Callable[[], bytes]) -> None:
    """Say where the key comes from; called once a process, asked at the first fingerprint only."""
    _key.source, _key.made = source, None


def texts_of(turn: StoredInteraction) -> tuple[str, str, str, str]:
    """Every stored text of a turn that is content."""
    return turn.content, turn.user_action_description, turn.shadow_content, turn.expert_content


def content_chars(item: RequestWithInteractions) -> int:
    """Characters of content in all turns of a request."""
    return sum(len(text) for turn in item.interactions for text in texts_of(turn))


def fingerprint(item: RequestWithInteractions) -> str:
    """The fingerprint of a request's roles and contents."""
    digest = hmac.new(_key.get(), digestmod=hashlib.sha256)
    for turn in item.interactions:
        for part in (turn.role, *texts_of(turn)):
            raw = part.encode("utf-8", "surrogatepass")
            digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:10]


def first_words(item: RequestWithInteractions, chars: int = 80) -> str:
    """The first thing said in a request, in one line of at most `chars` characters."""
    for turn in item.interactions:
        for text in (turn.content, turn.user_action_description, turn.expert_content, turn.shadow_content):
            # A slice first: a stored text may have a million characters.
            if words := " ".join(text[: chars * 8].split()):
                return words if len(words) <= chars else words[: chars - 1] + "…"
    return ""
