"""What names give away: sources, session ids, user ids, agent versions."""

import re
from typing import Final

from reflexio_mcp.rest.models import StoredRequest

__all__ = [
    "MANY_SOURCES",
    "VOLATILE_SOURCES",
    "is_temporary",
    "says_test",
    "shape_of_source",
    "test_name",
    "words_of",
]

VOLATILE_SOURCES: Final = 3
"""Two that differ in a date may be a yearly archive; three are a habit."""

MANY_SOURCES: Final = 40
"""Names a person can still tell apart in a list; big installations were seen with some twenty."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SEPARATORS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")


def words_of(name: str) -> list[str]:
    """The words of a name, lower-case: `myApp-test_2` is `my app test 2`."""
    return [word.lower() for word in _SEPARATORS.split(name) if word]


_TRY_OUT: Final = _set(
    "staging sandbox shadow e2e loadtest smoketest selftest unittest autotest pytest canarytest preprod uat "
    "perftest stresstest testrun testsuite testuser testbed dryrun"
)
"""Words that name traffic wherever they stand."""

_SHORT: Final = _set("test tests testing demo demos stage dummy smoke")
"""Words that name traffic, or a subject: their neighbours decide."""

_SUBJECTS_BEFORE: Final = _set(
    "ab b blood split speed hearing driving eye allergy covid stress user usability patch personality iq "
    "code python js penetration pen drug dna litmus taste pregnancy rapid center centre main on off back second"
)
"""`ab-test`, `blood-test`, `speed-test`: a subject or a production experiment."""

_CONFIRMS_AFTER: Final = _set(
    "account agent app bot bots client conversation data env environment harness id instance org project run "
    "runner runs script server session sessions source suite tenant traffic user users"
)
"""`test-user`, `demo-account`: the word after still says that it is a trial."""


def says_test(name: str) -> bool:
    """Whether a name says that its traffic is a test, demo, staging or shadow."""
    words = words_of(name)
    for index, word in enumerate(words):
        stem = word.rstrip("0123456789")
        if word in _TRY_OUT or (len(stem) > 3 and stem in _TRY_OUT):
            # `shadow-puppets`, `sandbox-games`: in front of another subject it is one itself.
            if word in ("shadow", "sandbox") and not _closes(words, index):
                continue
            return True
        if stem in _SHORT and _closes(words, index):
            before = words[index - 1] if index else ""
            if before not in _SUBJECTS_BEFORE:
                return True
    return False


def _closes(words: list[str], index: int) -> bool:
    """Whether nothing follows a word but numbers, ids and words that confirm it."""
    return all(
        after in _CONFIRMS_AFTER or any(letter.isdigit() for letter in after) for after in words[index + 1 :]
    )


_SAYS_TEST_CACHE: dict[str, bool] = {}
_CACHE_SIZE: Final = 4096


def _says_test(name: str) -> bool:
    if (known := _SAYS_TEST_CACHE.get(name)) is None:
        if len(_SAYS_TEST_CACHE) >= _CACHE_SIZE:
            _SAYS_TEST_CACHE.clear()
        known = _SAYS_TEST_CACHE[name] = says_test(name)
    return known


def test_name(request: StoredRequest) -> str:
    """Which field of a request says that it is a trial: its name, or empty.

    Evaluation-only traffic teaches nothing and is never meant.
    """
    if request.evaluation_only:
        return ""
    for name in ("source", "session_id", "user_id", "agent_version"):
        if _says_test(getattr(request, name)):
            return name
    return ""


_TEMPORARY: Final = _set("tmp temp temporary scratch scratchpad throwaway ephemeral disposable")


def is_temporary(session_id: str) -> bool:
    """Whether a session id says that its session is meant to be thrown away.

    A scratch word counts at either end, before an id, or before `session` and its like: `temp-chat-1` and
    `alice-scratch` do, `room-temp-sensor` does not.
    """
    words = words_of(session_id)
    named = ("session", "chat", "conversation", "thread", "run", "test", "user", "pad", "file")
    for index, word in enumerate(words):
        if word in _TEMPORARY or (len(word) > 4 and word.rstrip("0123456789") in _TEMPORARY):
            after = words[index + 1] if index + 1 < len(words) else ""
            if not after or after in named or any(letter.isdigit() for letter in after):
                return True
    return False


_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<![0-9])(?:19|20)\d\d[-_.:]?(?:0[1-9]|1[0-2])[-_.:]?(?:0[1-9]|[12]\d|3[01])"
    r"(?:[t_.:-]?\d\d[:.-]?\d\d(?:[:.-]?\d\d)?z?)?(?![0-9])"
    r"|(?<![0-9a-z])(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}(?![0-9a-z])"
    r"|(?<![0-9])\d{6,}(?![0-9])"
)


def shape_of_source(source: str) -> str:
    """A source with its dates, times and ids replaced by `*`; the source itself when it has none."""
    return _VARIABLE.sub("*", source)
