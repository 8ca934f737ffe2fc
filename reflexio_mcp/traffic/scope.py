"""The scope of one caller."""

from dataclasses import dataclass, field
from typing import Final

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.results.base import shown_id, stored_id
from reflexio_mcp.traffic.content import Fingerprints
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.policy import PolicyFile, policy_at

__all__ = ["IDS", "Scope"]

IDS: Final = ("user_id", "session_id", "request_id", "request_ids", "learning_ids")
"""Arguments of tools that are ids, which lists show and `Scope.stored_id` reads back."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A client and the user it is confined to; an empty `user_id` means every user.

    Args:
        caller: names somebody with a sign-in or a token of their own; empty for everybody else.
        masked: stored content is not shown, and must not be found out by searching for words.
        learns: whether the backend learns from what is stored; the embedded store does not.
        embedded: whether this is the embedded store. Only there can a request be read and restored completely, and only
            there does a query take `search` and `resume_at`.
        policy: what the operator keeps from deletion.
    """

    client: ReflexioClient
    user_id: str = ""
    caller: str = ""
    masked: bool = False
    fingerprints: Fingerprints = field(default_factory=Fingerprints, compare=False, repr=False)
    learns: bool = True
    embedded: bool = False
    policy: PolicyFile = field(default_factory=lambda: policy_at(""), compare=False, repr=False)

    @property
    def owner(self) -> str:
        """The owner of codes, cursors, downloads and heavy work: the caller and the user."""
        return f"{self.caller}/{self.user_id}"

    def user(self, asked: str) -> str:
        """Return the scope's user, or else the user that the caller named.

        Raises:
            InvalidInput: the caller named a user outside the scope, or only blanks.
        """
        if asked and not asked.strip():
            raise InvalidInput("user_id", "must not be blank; leave it out for every user.")
        asked = asked.strip()
        if self.user_id and asked and asked != self.user_id:
            raise InvalidInput(
                "user_id", "is fixed by this server's configuration or by who is calling; leave it out."
            )
        return self.user_id or asked

    def shown_id(self, stored: str) -> str:
        """Return an id as lists show it. An id that contains a key is sealed; `stored_id` unseals it."""
        from reflexio_mcp.traffic.audit.rules.redaction import secret_in_name  # compiles patterns

        kind = secret_in_name(stored)
        return shown_id(self.fingerprints.cover(kind, stored) if kind else stored)

    def stored_id(self, shown: str) -> str:
        return self.fingerprints.uncover(stored_id(shown))

    def covers(self, user_id: str) -> bool:
        return not self.user_id or user_id == self.user_id
