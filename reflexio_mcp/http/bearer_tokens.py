"""Bearer tokens: those the operator gave, or one that is made and kept in a file only its owner can read."""

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
"""Characters below which a token can be guessed."""

_MADE_BYTES: Final = 32


class Tokens:
    """The tokens that are accepted; none means that nobody is asked for one."""

    def __init__(self, accepted: Sequence[str]) -> None:
        self._accepted = [token.encode() for token in accepted]

    def __bool__(self) -> bool:
        return bool(self._accepted)

    def check(self, given: bytes) -> bool:
        """Whether `given` is one of them. Takes the same time whichever it is, and however much of it is right."""
        found = False
        for token in self._accepted:
            found |= hmac.compare_digest(token, given)
        return found

    def are_in(self, text: bytes) -> bool:
        """Whether one of them stands somewhere in `text`, where it should not."""
        return any(token in text for token in self._accepted)


def token_file() -> Path:
    """Where a token that was made here is kept."""
    return default_store().with_name("http-token")


def bearer_tokens(settings: Settings) -> tuple[Tokens, Path | None]:
    """The tokens of a configuration, and the file that holds them if the operator gave none.

    Raises:
        ConfigurationError: tokens are given and waived at the same time, or the file cannot be kept.
    """
    if settings.unsafe_no_auth:
        if settings.auth_token:
            raise ConfigurationError(
                "--unsafe-no-auth / REFLEXIO_MCP_UNSAFE_NO_AUTH and REFLEXIO_MCP_AUTH_TOKEN contradict each other; "
                "unset one."
            )
        return Tokens(()), None
    if settings.auth_token:
        return Tokens(settings.auth_token), None
    if settings.oauth_issuer:
        return Tokens(()), None  # people sign in
    path = token_file()
    try:
        return Tokens([_kept(path)]), path
    except OSError as error:
        raise ConfigurationError(
            f"The bearer token cannot be kept in {path} ({error.strerror}); set REFLEXIO_MCP_AUTH_TOKEN."
        ) from None


def _kept(path: Path) -> str:
    """The token in the file, made when there is none that others could not have read."""
    found = private_files.keep_secret(
        path,
        make=lambda: f"{secrets.token_urlsafe(_MADE_BYTES)}\n".encode(),
        is_whole=lambda text: text.isascii() and len(text.strip()) >= _MADE_BYTES,
    )
    return found.decode("ascii").strip()
