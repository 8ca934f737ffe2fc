"""Names that say that something is a test."""

import functools
import re
from typing import Final

__all__ = ["says_test", "words_in"]

NAME_CHARS: Final = 200

_SEPARATORS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
"""What is between the words of a name. Letters of every alphabet are part of words."""
_TEST: Final = frozenset(
    [
        "test",
        "tests",
        "testing",
        "demo",
        "staging",
        "sandbox",
        "e2e",
        "pytest",
        "dev",
        "development",
        "localhost",
        "ci",
        "qa",
    ]
)
_NO_TEST_AFTER: Final = frozenset(
    [
        "ab",
        "a",
        "b",
        "blood",
        "split",
        "speed",
        "driving",
        "eye",
        "covid",
        "user",
        "english",
        "math",
        "code",
        "web",
        "docs",
        "latest",
        "product",
    ]
)
"""A test word that follows one of these does not say that something is a test: `ab-test`, `user testing`."""

_MAY_FOLLOW: Final = frozenset(
    [
        "agent",
        "api",
        "app",
        "bot",
        "client",
        "env",
        "environment",
        "id",
        "project",
        "run",
        "server",
        "session",
        "user",
        "users",
        "chat",
        "conversation",
    ]
)
"""A test word that is followed by one of these still says so: `test-user`, `demo app`."""


def words_in(name: str) -> list[str]:
    return [word.lower() for word in _SEPARATORS.split(name[:NAME_CHARS]) if word]


def _is_id(word: str) -> bool:
    return any(map(str.isdigit, word)) and word != "e2e"


def says_test(name: str) -> bool:
    """Whether a name ends with a test word, except as in `ab-test`. Ids and words such as `agent` may follow."""
    return _says_test(name[:NAME_CHARS])  # cut here, so that the cache keeps no long names


@functools.lru_cache(maxsize=4096)  # the same names come again and again
def _says_test(name: str) -> bool:
    parts = words_in(name)
    for index, part in enumerate(parts):
        stem = part if part == "e2e" else part.rstrip("0123456789")
        behind = parts[index + 1 :]
        if stem in _TEST and all(_is_id(later_part) or later_part in _MAY_FOLLOW for later_part in behind):
            before = parts[index - 1] if index else ""
            return before not in _NO_TEST_AFTER
    return False
