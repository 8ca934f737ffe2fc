"""What names give away: sources, session ids, user ids, agent versions."""

import functools
import re
from typing import Final

from reflexio_mcp.rest.models import StoredRequest

__all__ = [
    "MANY_SOURCES",
    "VOLATILE_SOURCES",
    "has_id",
    "is_anonymous",
    "is_made_up",
    "is_temporary",
    "is_volatile",
    "says_test",
    "says_test_session",
    "shape_of_source",
    "test_name",
]

VOLATILE_SOURCES: Final = 3
"""Two that differ in a date may be a yearly archive; three are a habit."""

MANY_SOURCES: Final = 40
"""Names a person can still tell apart in a list; big installations were seen with some twenty."""

NAME_READ: Final = 200
"""Characters of a name that are looked at: what it says about itself it says at once."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SEPARATORS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")


def words_of(name: str) -> list[str]:
    """The words of a name's beginning, lower-case: `myApp-test_2` is `my app test 2`."""
    return [word.lower() for word in _SEPARATORS.split(name[:NAME_READ]) if word]


_TRY_OUT: Final = _set(
    "staging sandbox shadow e2e loadtest smoketest selftest unittest autotest pytest canarytest preprod uat "
    "perftest stresstest testrun testsuite testuser testbed dryrun localhost k6 jmeter gatling locust"
)
"""Words that name traffic wherever they stand."""

_SHORT: Final = _set("test tests testing demo demos stage dummy smoke")
"""Words that name traffic, or a subject: their neighbours decide."""

_SUBJECTS_BEFORE: Final = _set(
    "ab b blood split speed hearing driving eye allergy covid stress user usability patch personality iq "
    "pcr antigen antibody mri ct ecg hiv std skin crash fitness stroop turing aptitude placement entrance final mock "
    "practice listening reading writing vision acid flame emission drop lie detector gre gmat sat act ielts toefl "
    "lsat mcat driver theory knowledge citizenship math maths spelling grammar typing memory reaction color colour "
    "code python js penetration pen drug dna litmus taste pregnancy rapid center centre main on off back second"
)
"""`ab-test`, `blood-test`, `speed-test`: a subject or a production experiment."""

_CONFIRMS_AFTER: Final = _set(
    "account agent app bot bots client conversation data env environment harness id instance org project run "
    "runner runs script server session sessions source suite tenant traffic user users"
)
"""`test-user`, `demo-account`: the word after still says that it is a trial."""


_ALONE: Final = _set(
    "test tests demo dummy staging sandbox e2e loadtest smoketest selftest unittest autotest pytest canarytest "
    "preprod uat perftest stresstest testrun testsuite testbed dryrun"
)
"""A session id of nothing else and an id: `test-12`, `e2e`. Beside other words they may be its subject."""

_RUNS: Final = _set("testrun loadtest smoketest selftest autotest perftest stresstest dryrun")
"""At the end of a session id, before its number: `nightly-testrun-7`."""

_KINDS: Final = _set("smoke load integration regression perf api ci qa e2e canary auto automated agent bot")
"""`smoke-test-12`: a numbered run of a test of software; `blood-test-2` is a conversation about one."""

_SESSION_WORDS: Final = _set(
    "session sessions run runs chat conversation thread suite case user client bot agent"
)


def says_test_session(session_id: str) -> bool:
    """Whether a session id says that its session is a trial; a conversation about tests is none.

    Many clients make the id from what is talked about (`fix-failing-tests`, `ielts-test`), so only forms that
    name a run count: `test-12`, `test-session-4`, `smoke-test-12`, `nightly-testrun`.
    """
    words = words_of(session_id)
    if not words:
        return False
    stems = [word if word == "e2e" else word.rstrip("0123456789") for word in words]
    ids = [_is_id(word) for word in words]
    if stems[0] in _ALONE and all(
        is_id or word in _SESSION_WORDS for word, is_id in zip(words[1:], ids[1:], strict=True)
    ):
        return True
    named = len(words)
    while named > 1 and ids[named - 1] and stems[named - 1] not in _RUNS:
        named -= 1
    if stems[named - 1] in _RUNS:
        return True
    return named == 2 < len(words) and words[0] in _KINDS and words[1] == "test"


def _is_id(word: str) -> bool:
    return any(letter.isdigit() for letter in word) and word != "e2e"


def says_test(name: str) -> bool:
    """Whether the name of a source, user or version says that its traffic is a test, demo, staging or shadow."""
    words = words_of(name)
    for index, word in enumerate(words):
        stem = word.rstrip("0123456789")
        if word in _TRY_OUT or (len(stem) > 3 and stem in _TRY_OUT):
            # `shadow-puppets`, `sandbox-games`: in front of another subject it is one itself.
            if word in ("shadow", "sandbox") and not _closes(words, index):
                continue
            return True
        if stem == "qa" and (index == 0 or words[index + 1 :]) and _closes(words, index):
            return True  # `qa`, `qa-env`; `docs-qa` answers questions
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


@functools.lru_cache(maxsize=4096)
def _says_test(name: str, is_session: bool) -> bool:
    return says_test_session(name) if is_session else says_test(name)


def test_name(request: StoredRequest) -> str:
    """Which field of a request says that it is a trial: its name, or empty.

    Evaluation-only traffic teaches nothing and is never meant.
    """
    if request.evaluation_only:
        return ""
    for name in ("source", "session_id", "user_id", "agent_version"):
        if _says_test(getattr(request, name)[:NAME_READ], name == "session_id"):
            return name
    return ""


_TEMPORARY: Final = _set("tmp throwaway ephemeral scratchpad")
"""Words that say it at either end of a session id."""

_TEMPORARY_FIRST: Final = _set("temp temporary scratch disposable")
"""At its beginning only: `outdoor-temp` is a temperature, `bread-from-scratch` a recipe."""

_TEMPORARY_NAMED: Final = _set("session chat conversation thread run test user pad file")


def is_temporary(session_id: str) -> bool:
    """Whether a session id says that its session is meant to be thrown away.

    A scratch word counts before nothing but ids, `session` and its like: `temp-chat-1` and `alice-tmp` do,
    `room-temp-sensor` and `cpu-temp-42` do not.
    """
    words = words_of(session_id)
    for index, word in enumerate(words):
        stem = word.rstrip("0123456789")
        if stem in _TEMPORARY or (index == 0 and stem in _TEMPORARY_FIRST):
            return all(after in _TEMPORARY_NAMED or _is_id(after) for after in words[index + 1 :])
    return False


_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<=-)(?=[a-z0-9]{0,9}\d)[a-z0-9]{8,10}-[a-z0-9]{5}$"  # a pod
    r"|(?<![0-9a-z])01[0-9a-hjkmnp-tv-z]{24}(?![0-9a-z])"  # a ULID
    r"|(?<![0-9])(?:19|20)\d\d[-_.:]?(?:0[1-9]|1[0-2])[-_.:]?(?:0[1-9]|[12]\d|3[01])"
    r"(?:[t_.:-]?\d\d[:.-]?\d\d(?:[:.-]?\d\d)?z?)?(?![0-9])"
    r"|(?<![0-9a-z])(?=[0-9a-f]{0,39}\d)(?=[0-9a-f]{0,39}[a-f])[0-9a-f]{7,}(?![0-9a-z])"
    r"|(?<![0-9])\d{6,}(?![0-9])"
)


_MODEL = re.compile(
    r"\b(?:model|gpt|claude|gemini|llama|mistral|qwen|deepseek|sonnet|opus|haiku|release|version|v\d+)\b"
)
"""Words of what has a date in its name for good: `claude-sonnet-4-20250514`."""


def shape_of_source(source: str) -> str:
    """A source with its dates, times and ids replaced by `*`; the source itself when it has none."""
    return source if _MODEL.search(source) else _VARIABLE.sub("*", source)


def is_volatile(shape: str) -> bool:
    """Whether a shape has something in it that is new every time; no source can have a `*` in its name."""
    return "*" in shape


def has_id(name: str) -> bool:
    """Whether a name carries a uuid, a hash, a time or a long number; the versions `2.14.0` and `2026.11` do not."""
    return is_volatile(_VARIABLE.sub("*", name[:NAME_READ].lower()))


_NOBODY: Final = _set(
    "anonymous anon anonym anonyme anonymus unknown unidentified unauthenticated guest nobody none null nil undefined "
    "nan everybody everyone visitor public"
)
"""Words for somebody who is not known. `default`, `me` and `user` are what a store of one person's own calls him."""

_PERSON: Final = _set("user users customer client visitor account id person uid name")


def is_anonymous(user_id: str) -> bool:
    """Whether a user id stands for anybody: `anonymous`, `guest_user`. `guest-4711` is one of many and does not."""
    words = words_of(user_id)
    return any(word in _NOBODY for word in words) and all(
        word in _NOBODY or word in _PERSON for word in words
    )


_PASSING: Final = _NOBODY | _set("session sess chat conversation conv temp tmp random new")

_EPOCH = re.compile(r"(?<!\d)1\d{9}(?:\d{3})?(?!\d)")
"""A time in seconds or milliseconds."""


def is_made_up(user_id: str, session_id: str, created_at: int) -> bool:
    """Whether a user id was made for one session: from the session's id, from the time it began, or for a guest.

    Args:
        created_at: when a request of the session arrived, epoch seconds.
    """
    if has_id(session_id) and len(session_id) >= 8 and session_id in user_id:
        return True
    if any(abs(int(time[:10]) - created_at) < 86_400 for time in _EPOCH.findall(user_id[:NAME_READ])):
        return True
    words = words_of(user_id)
    return bool(words) and words[0] in _PASSING and any(map(_is_id, words[1:]))
