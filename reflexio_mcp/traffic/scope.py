"""What one caller may touch."""

from dataclasses import dataclass, field

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.results.base import as_stored, shown_id
from reflexio_mcp.traffic.content import Fingerprints
from reflexio_mcp.traffic.errors import InvalidInput

__all__ = ["Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """A client and the user it is confined to; an empty `user_id` is everybody.

    Args:
        caller: stands for somebody who signed in; empty for everybody else.
        masked: stored content is not shown, and must not be found out by searching for words.
        fingerprints: what is shown instead of content.
        learns: whether the backend learns from what is stored; the embedded store does not.
        exact: whether the backend returns and takes back all that is stored of a request; the embedded store does.
    """

    client: ReflexioClient
    user_id: str = ""
    caller: str = ""
    masked: bool = False
    fingerprints: Fingerprints = field(default_factory=Fingerprints, compare=False, repr=False)
    learns: bool = True
    exact: bool = False

    @property
    def owner(self) -> str:
        """Whose jobs and codes these are: the key's stand-in and the user."""
        return f"{self.caller}/{self.user_id}"

    def user(self, asked: str) -> str:
        """The user that a call is about: the scope's user, or else the user that the caller named.

        Raises:
            InvalidInput: the caller named somebody outside the scope, or nobody in blanks.
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
        """An id as lists show it: a key in it is sealed. `stored_id` turns it back."""
        from reflexio_mcp.traffic.audit.rules.redaction import secret_in_name  # compiles patterns

        kind = secret_in_name(stored)
        return shown_id(self.fingerprints.cover(kind, stored) if kind else stored)

    def stored_id(self, shown: str) -> str:
        """The id that a result showed."""
        return self.fingerprints.uncover(as_stored(shown))

    def covers(self, user_id: str) -> bool:
        """Whether a stored request of `user_id` is visible here."""
        return not self.user_id or user_id == self.user_id
