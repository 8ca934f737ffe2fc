"""Bearer tokens: those the operator gave, or one that is made and kept in a file only its owner can read."""

import hmac
import os
import secrets
import stat
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

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
    import platformdirs

    return Path(platformdirs.user_data_dir("reflexio-mcp", appauthor=False)) / "http-token"


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
    path = token_file()
    try:
        return Tokens([_kept(path)]), path
    except OSError as error:
        raise ConfigurationError(
            f"The bearer token cannot be kept in {path} ({error.strerror}); set REFLEXIO_MCP_AUTH_TOKEN."
        ) from None


def _kept(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(path):
        return _read_or_made(path)


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """One process at a time: else one throws away the token that another has just made and goes on with."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    # The folder itself: no further file that would have to be kept private.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _read_or_made(path: Path) -> str:
    for _ in range(3):
        if token := _read(path):
            return token
        # Written aside and put in its place whole: of several processes that start at once, one wins.
        made = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(_MADE_BYTES) + "\n")
        try:
            os.link(made, path)
        except FileExistsError:
            continue
        finally:
            made.unlink()
    raise OSError(0, "it keeps changing")


def _read(path: Path) -> str:
    """The token in the file; a file that others could read, or that is none of ours, is thrown away."""
    try:
        # Without waiting: a named pipe would have the start wait for whoever writes into it.
        flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(path, os.O_RDONLY | flags)
    except FileNotFoundError:
        return ""
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as file:
        found = os.fstat(file.fileno())
        token = file.read(1000).strip() if stat.S_ISREG(found.st_mode) else ""
    private = os.name == "nt" or (not stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid == os.getuid())
    if private and stat.S_ISREG(found.st_mode) and len(token) >= _MADE_BYTES:
        return token
    path.unlink()
    return ""
