"""How a request is refused, and what of its address decides about that."""

import ipaddress
from collections.abc import Sequence
from typing import Final

__all__ = ["PROTECTED_RESOURCE", "Refusal", "is_loopback"]

PROTECTED_RESOURCE: Final = "/.well-known/oauth-protected-resource"
"""Where RFC 9728 has the metadata of a resource, followed by the path of the resource."""


class Refusal(Exception):
    """A request that is not answered.

    Args:
        status: of the HTTP response.
        reason: one word for the log.
        text: a sentence for the caller; repeats nothing of what was sent.
        headers: further ones of the response.
        oauth_error: set where a client expects an answer of OAuth: the error's name there.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        text: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        oauth_error: str = "",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.text = text
        self.headers = headers
        self.oauth_error = oauth_error


def is_loopback(host: str) -> bool:
    """Whether what binds this address can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
