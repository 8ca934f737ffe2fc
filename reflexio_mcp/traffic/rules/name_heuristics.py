"""What names give away: sources, session ids, user ids, agent versions."""

import functools
import re
import unicodedata
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
    "perftest stresstest testrun testsuite testuser testbed testbench dryrun localhost k6 jmeter gatling locust stg "
    "nonprod preproduction nonproduction loadgen vitest minikube"
)
"""Words that name traffic wherever they stand."""

_SHORT: Final = _set("test tests testing demo demos stage dummy smoke")
"""Words that name traffic, or a subject: their neighbours decide."""

_CLOSING: Final = _set("shadow sandbox uat locust localhost")
"""In front of another subject they are one themselves: `shadow-puppets`, `locust-control`."""

_FIRST: Final = _set("qa ci mock fake fuzz fuzzer fuzzing benchmark bench loadtester")
"""At the beginning, or before what confirms it: `ci-runner`, `qa-env`; `docs-qa` answers questions."""

_TOOLS: Final = _set("cypress playwright postman puppeteer selenium webdriver healthcheck healthchecks")
"""A source or version of nothing else; `cypress` is a person's name too, and `playwright-biographies` a subject."""

_SYNTHETIC: Final = _set(
    "monitor monitors monitoring check checks probe probes traffic user users test tests"
)
"""`synthetic-monitor`; `synthetic-oil` is a subject."""

_QA_OF: Final = _set("web app site frontend backend mobile ios android")
"""`web-qa`; `docs-qa` answers questions."""

_HALVES: Final = _set("preprod nonprod preproduction nonproduction dryrun")
"""Written in two: `pre-prod`."""

_SUBJECTS_BEFORE: Final = _set(
    "ab b blood split speed hearing driving eye allergy covid stress user usability patch personality iq "
    "pcr antigen antibody mri ct ecg hiv std skin crash fitness stroop turing aptitude placement entrance final mock "
    "english german french spanish italian polish russian dutch chinese japanese korean portuguese latin level "
    "practice listening reading writing vision acid flame emission drop lie detector gre gmat sat act ielts toefl "
    "lsat mcat driver theory knowledge citizenship math maths spelling grammar typing memory reaction color colour "
    "school exam beep water soil "
    "code python js penetration pen drug dna litmus taste pregnancy rapid center centre main on off back second"
)
"""`ab-test`, `blood-test`, `speed-test`: a subject or a production experiment."""

_CONFIRMS_AFTER: Final = _set(
    "account agent api app backend bot bots client cluster conversation data env environment frontend harness host id "
    "instance job jobs namespace node org pipeline pod project run runner runners runs script server service session "
    "sessions source suite swarm team tenant tester testers traffic user users worker "
    "eu us uk de fr apac emea ap east west north south central"
)
"""`test-user`, `demo-account`: the word after still says that it is a trial."""


_ALONE: Final = _set(
    "test tests demo dummy staging sandbox e2e loadtest smoketest selftest unittest autotest pytest canarytest "
    "preprod uat perftest stresstest testrun testsuite testbed dryrun k6 testsession mytest"
)
"""A session id of nothing else and an id: `test-12`, `e2e`. Beside other words they may be its subject."""

_RUNS: Final = _set("testrun loadtest smoketest selftest autotest perftest stresstest dryrun")
"""At the end of a session id, before its number: `nightly-testrun-7`."""

_KINDS: Final = _set(
    "smoke load integration regression perf api ci qa e2e canary auto automated agent bot unit dev"
)
"""`smoke-test-12`: a numbered run of a test of software; `blood-test-2` is a conversation about one."""

_SESSION_WORDS: Final = _set(
    "session sessions run runs chat conv conversation thread suite case user client bot agent vu"
)


def says_test_session(session_id: str) -> bool:
    """Whether a session id says that its session is a trial; a conversation about tests is none.

    Many clients make the id from what is talked about (`fix-failing-tests`, `ielts-test`), so only forms that
    name a run count: `test-12`, `test-session-4`, `smoke-test-12`, `nightly-testrun`.
    """
    words = words_of(session_id)
    if not words:
        return False
    stems = [word if word in ("e2e", "k6") else word.rstrip("0123456789") for word in words]
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
    return any(letter.isdigit() for letter in word) and word not in ("e2e", "k6")


_OWN_MACHINE = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0|host\.docker\.internal)(?![\w.])")


def says_test(name: str) -> bool:
    """Whether the name of a source, user or version says that its traffic is a test, demo, staging or shadow."""
    if _OWN_MACHINE.match(name):
        return True
    words = words_of(name)
    for index, word in enumerate(words):
        stem = word.rstrip("0123456789")
        if word in _TRY_OUT or stem in _TRY_OUT or "".join(words[index : index + 2]) in _HALVES:
            if stem in _CLOSING and not _closes(words, index):
                continue
            return True
        if stem in _FIRST and (index == 0 or words[index + 1 :]) and _closes(words, index):
            return True
        if "".join(words[index : index + 2]) == "loadtester" and _closes(words, index + 1):
            return True
        if stem == "qa" and index and words[index - 1] in _QA_OF and _closes(words, index):
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


_DEVELOPED = re.compile(
    r"(?:local[-_.:/]?)?dev(?:elopment)?(?:[-_.:/]?(?:local|env|environment|machine|laptop|server))?|v?\d[\d.]*[-_.+]?dev\d*",
    re.IGNORECASE,
)
"""A source or version of nothing else; `web-dev` is a subject."""
_FIRST_PART = re.compile(r"(?:test|tests|testing|demo|stage|dummy|smoke)[.:/](?=[a-z])", re.IGNORECASE)
"""Before a dot or a colon an environment stands: `test.checkout`."""


@functools.lru_cache(maxsize=4096)
def _says_test(name: str, field: str) -> bool:
    if field == "session_id":
        return says_test_session(name)
    if field == "user_id":
        # Dev, Stage and Cypress are names of people, and `demo.riley` is a person.
        name = _DOMAIN.sub("", name)
        return says_test(name) and words_of(name)[1:][-1:] != ["stage"]
    words = words_of(name)
    if words and words[0].rstrip("0123456789") in _TOOLS and _closes(words, 0):
        return True
    if words[:1] == ["synthetic"] and len(words) > 1 and words[1] in _SYNTHETIC and _closes(words, 1):
        return True
    return says_test(name) or bool(_DEVELOPED.fullmatch(name) or _FIRST_PART.match(name))


def test_name(request: StoredRequest) -> str:
    """Which field of a request says that it is a trial: its name, or empty.

    Evaluation-only traffic teaches nothing and is never meant.
    """
    if request.evaluation_only:
        return ""
    for name in ("source", "session_id", "user_id", "agent_version"):
        if _says_test(getattr(request, name)[:NAME_READ], name):
            return name
    return ""


_TEMPORARY: Final = _set("tmp throwaway ephemeral scratchpad")
"""Words that say it at either end of a session id."""

_TEMPORARY_FIRST: Final = _set("temp temporary scratch disposable")
"""At its beginning or behind `session` and its like: `outdoor-temp` is a temperature, `bread-from-scratch` a recipe."""

_TEMPORARY_NAMED: Final = _set("session sess chat conv conversation thread run test user pad file")


def is_temporary(session_id: str) -> bool:
    """Whether a session id says that its session is meant to be thrown away.

    A scratch word counts before nothing but ids, `session` and its like: `temp-chat-1` and `alice-tmp` do,
    `room-temp-sensor` and `cpu-temp-42` do not.
    """
    words = words_of(session_id)
    for index, word in enumerate(words):
        stem = word.rstrip("0123456789")
        is_first = all(before in _TEMPORARY_NAMED for before in words[:index])
        if stem in _TEMPORARY or (is_first and stem in _TEMPORARY_FIRST):
            return all(after in _TEMPORARY_NAMED or _is_id(after) for after in words[index + 1 :])
    return False


_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<=-)(?=[a-z0-9]{0,9}\d)[a-z0-9]{8,10}-[a-z0-9]{4,5}$"  # a pod, or a node
    r"|(?<=-)(?=[a-z]{0,4}\d)(?=\d{0,4}[a-z])[bcdfghjklmnpqrstvwxz2456789]{5}$"  # a pod of a daemon or a job
    r"|(?<![0-9a-z])01[0-9a-hjkmnp-tv-z]{24}(?![0-9a-z])"  # a ULID
    r"|(?<![0-9])(?:19|20)\d\d[-_.:]?(?:0[1-9]|1[0-2])[-_.:]?(?:0[1-9]|[12]\d|3[01])"
    r"(?:[t_.:-]?\d\d[:.-]?\d\d(?:[:.-]?\d\d)?z?)?(?![0-9])"
    r"|(?<![0-9a-z])(?=[0-9a-f]{0,39}\d)(?=[0-9a-f]{0,39}[a-f])[0-9a-f]{7,}(?![0-9a-z])"
    r"|(?<![0-9a-z])(?!v?\d*(?:alpha|beta|rc|dev|post)\d)(?=[a-z]{0,30}\d{1,30}[a-z]{1,30}\d)[0-9a-z]{8,32}(?![0-9a-z])"
    r"|(?<![0-9])\d{6,}(?![0-9])"
)
"""What is new every time in any name; a token of letters and digits that change twice is an id (cuid, nanoid, xid)."""

_OF_A_SOURCE = re.compile(
    r"(?<![0-9.])(?:\d{1,3}[-.]){3}\d{1,3}(?![0-9.])"  # an address
    r"|(?<![0-9])(?:(?:0?[1-9]|[12]\d|3[01])[-_.](?:0?[1-9]|1[0-2])[-_.](?:19|20)\d\d|(?:19|20)\d\d[-_.]?(?:w\d\d|(?:0[1-9]|1[0-2])))(?![0-9])"
    r"|(?<![a-z])(build|run|job|pipeline|pr|mr|attempt|task|ticket|issue|session|sess|chat|conv|conversation|thread"
    r"|user|request|req|circleci|travis|jenkins(?:-[a-z]{1,20})?)[-_.:](?!(?:19\d\d|20[0-4]\d)(?![0-9]))\d{3,5}(?![0-9])"
)
"""In a source besides: in a version these are numbers of a release."""


_MODEL = re.compile(
    r"\b(?:model|gpt|o\d|claude|gemini|gemma|llama|mistral|codestral|qwen|deepseek|grok|phi|nova|command|whisper|imagen|kimi"
    r"|glm|ernie|doubao|sonnet|opus|haiku|release|version|v\d+)\b"
)
"""Words of what has a date in its name for good: `claude-sonnet-4-20250514`."""


def shape_of_source(source: str) -> str:
    """A source with its dates, times and ids replaced by `*`; the source itself when it has none."""
    if _MODEL.search(source):
        return source
    return _OF_A_SOURCE.sub(lambda match: f"{match[1]}-*" if match[1] else "*", _VARIABLE.sub("*", source))


def is_volatile(shape: str) -> bool:
    """Whether a shape has something in it that is new every time; no source can have a `*` in its name."""
    return "*" in shape


def has_id(name: str) -> bool:
    """Whether a name carries a uuid, a hash, a time or a long number; the versions `2.14.0` and `2026.11` do not."""
    return is_volatile(_VARIABLE.sub("*", name[:NAME_READ].lower()))


_NOBODY: Final = _set(
    "anonymous anon anonym anonyme anonymus unknown unidentified unauthenticated guest nobody none null nil undefined "
    "nan everybody everyone visitor public anonimo anonymer gast invitado inconnu ospite convidado аноним гость 匿名"
)
"""Words for somebody who is not known. `default`, `me` and `user` are what a store of one person's own calls him."""

_PERSON: Final = _set("user users customer client visitor account id person uid name")


_DOMAIN = re.compile(r"@[\w.-]{1,80}\.[A-Za-z]{2,24}$")
_NO_ID = re.compile(r"[0-]{1,40}|n/?a", re.IGNORECASE)
"""What a program sends that has no id: a uuid of zeros, `0`, `-`."""


def is_anonymous(user_id: str) -> bool:
    """Whether a user id stands for anybody: `anonymous`, `guest_user`. `guest-4711` is one of many and does not."""
    if _NO_ID.fullmatch(user_id):
        return True
    plain = "".join(
        one
        for one in unicodedata.normalize("NFKD", _DOMAIN.sub("", user_id[:NAME_READ]))
        if not unicodedata.combining(one)
    )
    words = [word.lower() for word in re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", plain) if word]
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
