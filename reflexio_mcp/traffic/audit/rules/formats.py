"""Secrets known by the format of their vendor, and private keys.

Kingfisher finds the formats, in this process and without a network. Its rules are compiled for the first text that may
contain a key.
"""

import functools
import importlib.util
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MISSING", "Secret", "available", "could_be_a_key", "secrets_by_format"]

MISSING: Final = (
    "keys are not looked for by the formats of their vendors: the package kingfisher-secret-scanner does not run on "
    "this platform; passwords, and keys beside their names, are"
)
FORMATS: Final = Path(__file__).with_name("secret_formats.yml")

_COULD_BE_A_KEY = re.compile(r"(?=[A-Za-z_/+.-]{0,40}\d)[A-Za-z0-9+/=_.-]{16}|PRIVATE KEY|https://hooks")
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<body>(?:[A-Za-z0-9+/=\s\\:,]|-(?!----))*+)"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_PEM_LINE = re.compile(r"[A-Za-z0-9+/]{16}")
_fails_to_load = threading.Event()
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret in a text: first character, the one after its last, kind, and whether it is probable."""

    start: int
    end: int
    kind: str
    probable: bool = True


@functools.cache
def _is_installed() -> bool:
    return importlib.util.find_spec("kingfisher_sdk") is not None


def available() -> bool:
    """Whether formats can be searched for here; does not import the scanner."""
    return _is_installed() and not _fails_to_load.is_set()


@functools.cache
def _scanner() -> "Callable[[bytes], Iterable[tuple[int, int, str]]]":
    try:
        import kingfisher_sdk  # takes a second, and most servers never need it
    except ImportError:  # its library does not fit this machine's
        _fails_to_load.set()
        return lambda raw: ()
    scan = kingfisher_sdk.Scanner(kingfisher_sdk.Rules([FORMATS], builtins=False, cache=False)).scan
    return lambda raw: sorted(
        (one.location["start_offset"], one.location["end_offset"], one.rule_id) for one in scan(raw)
    )


def could_be_a_key(text: str) -> bool:
    """Whether a text needs the scanner, whose first use takes a second."""
    return _COULD_BE_A_KEY.search(text) is not None


def secrets_by_format(text: str) -> Iterator[Secret]:
    """Secrets in a known format, and private keys, even one that the end of the text cuts off."""
    for match in _PEM.finditer(text) if "PRIVATE KEY" in text else ():
        if _PEM_LINE.search(match["body"]):
            yield Secret(*match.span(), "private-key")
    if not available() or not could_be_a_key(text):
        return
    raw = text.encode("utf-8", "replace")  # a lone surrogate becomes `?`, which keeps the places
    with _loading:
        scan = _scanner()
    behind = chars = 0
    for start, end, kind in scan(raw):
        # The scanner counts bytes: a Chinese character has three.
        if start >= behind:
            chars, behind = chars + len(raw[behind:start].decode("utf-8", "replace")), start
            length = len(raw[start:end].decode("utf-8", "replace"))
            yield Secret(chars, chars + length, kind.removeprefix("own.").split(".")[0])
