"""Bearer tokens: those that the operator gave, or one that is generated and kept in a file only its owner can read."""

import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reflexio_mcp import private_files
from reflexio_mcp.backend import default_store
from reflexio_mcp.settings import ConfigurationError, Settings

__all__ = ["SHORT_TOKEN", "Tokens", "bearer_tokens", "token_file"]

SHORT_TOKEN: Final = 16
"""Number of characters below which a token can be guessed."""

_MADE_BYTES: Final = 32


class Tokens:
    """The tokens that are accepted, each with the user that it is confined to.

    Args:
        accepted: `TOKEN`, which reaches every user, or `USER:TOKEN`. A token has no colon (RFC 6750).
    """

    def __init__(self, accepted: Sequence[str]) -> None:
        parts = [entry.rpartition(":") for entry in accepted]
        if any(not token or (colon and not user) for user, colon, token in parts):
            raise ConfigurationError(
                "REFLEXIO_MCP_AUTH_TOKEN takes TOKEN or USER:TOKEN, separated by commas."
            )
        self._users = {token.encode(): user for user, _, token in parts}
        if len(self._users) < len(parts):
            raise ConfigurationError(
                "REFLEXIO_MCP_AUTH_TOKEN names one token twice; each user needs their own."
            )

    def __bool__(self) -> bool:
        return bool(self._users)

    @property
    def short(self) -> bool:
        """Whether one of them may be guessed."""
        return any(len(token) < SHORT_TOKEN for token in self._users)

    def user_of(self, given: str) -> str | None:
        """The user that a token is confined to; empty if it reaches every user, `None` if it is not accepted.

        Takes the same time for every token, however much of it is right.
        """
        found = None
        for token, user in self._users.items():
            if hmac.compare_digest(token, given.encode("utf-8", "surrogatepass")):
                found = user
        return found


def token_file() -> Path:
    """Where a token that was generated is kept."""
    return default_store().with_name("http-token")


def bearer_tokens(settings: Settings) -> tuple[Tokens, Path | None]:
    """The tokens of a configuration, and the file that contains them if the operator gave none.

    Raises:
        ConfigurationError: the settings contradict each other, or the file cannot be kept.
    """
    if settings.auth_token:
        if settings.unsafe_no_auth:
            raise ConfigurationError(
                "--unsafe-no-auth / REFLEXIO_MCP_UNSAFE_NO_AUTH and REFLEXIO_MCP_AUTH_TOKEN contradict each other; "
                "unset one."
            )
        if settings.user_id and settings.many_callers:
            raise ConfigurationError(
                "--user-id / REFLEXIO_USER_ID and a USER:TOKEN of REFLEXIO_MCP_AUTH_TOKEN contradict each other; "
                "unset one."
            )
        return Tokens(settings.auth_token), None
    if settings.unsafe_no_auth or settings.oauth_issuer:
        return Tokens(()), None
    path = token_file()
    try:
        return Tokens([_kept(path)]), path
    except OSError as error:
        raise ConfigurationError(
            f"The bearer token cannot be kept in {path} ({error.strerror}); set REFLEXIO_MCP_AUTH_TOKEN."
        ) from None


def _kept(path: Path) -> str:
    """The token in the file; a new one if there is none, or if others could have read it."""
    found = private_files.keep_secret(
        path,
        make=lambda: f"{secrets.token_urlsafe(_MADE_BYTES)}\n".encode(),
        is_whole=lambda text: text.isascii() and len(text.strip()) >= _MADE_BYTES,
    )
    return found.decode("ascii").strip()
