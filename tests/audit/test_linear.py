"""Whatever a stored text is made of, looking at it takes time that grows with its length and no faster."""

import time
from collections.abc import Callable

import pytest

from reflexio_mcp.traffic.rules import told_secrets
from reflexio_mcp.traffic.rules.name_heuristics import (
    has_id,
    is_anonymous,
    is_made_up,
    is_temporary,
    says_test,
    says_test_session,
    shape_of_source,
)
from reflexio_mcp.traffic.rules.personal_data import personal_kinds
from reflexio_mcp.traffic.rules.planted_instructions import planted_signals
from reflexio_mcp.traffic.rules.secrets import find_secrets, is_probable, redact
from reflexio_mcp.traffic.rules.turns import has_image, is_assistants, prompt_of
from reflexio_mcp.traffic.rules.word_finder import WordFinder
from tests.audit.test_misplaced import said

LOOKS: dict[str, Callable[[str], object]] = {
    "planted-instructions": planted_signals,
    "orders": lambda text: planted_signals(text, foreign=True),
    "probable-secret": lambda text: [is_probable(text, one) for one in find_secrets(text)],
    "personal data": personal_kinds,
    "turns": lambda text: (
        is_assistants(said(text)),
        has_image(said(text)),
        prompt_of(said(text)),
    ),
    "names": lambda text: (
        says_test(text),
        says_test_session(text),
        is_temporary(text),
        shape_of_source(text),
        is_anonymous(text),
        is_made_up(text, text, 0),
        has_id(text),
    ),
}

REPEATED = [
    "send-", "ignore ", "assistant ", "ignore all previous ", "send a.b+", "attention to the ", "do not tell ",
    "if you are an ai ", "<!--", "[inst] ", "you are now ", "system: ", "never ", "new instructions", "\\", "\u200b",
    "password ", "password is ", "my pass the the ", "key=", "key : ", "a.b-", "https://a:", "basic AAAAAAAA ", "PIN ",
    "recovery phrase ", "word ", "1234 ", "eyJaaaaaaaaaa.", "curl -u ", "--password ", "identified by ", "密码",
    "пароль ", "secret_key_", '"key" ', "aA1!", "{{", " ", "\n", "=", "://", "@", "-----BEGIN PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----*", "-----BEGIN PRIVATE KEY-----.",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\n0123456789abcdef\n",
    "-----BEGIN PRIVATE KEY-----\n-----END ", "-----BEGIN PRIVATE KEY-----<br>",
    "\u0130", "+49 ", "4111 1111 1111 1111 ", "DE89 3704 0044 0532 0130 00 ", "a@b.", "12 ", "tmp-", "test-",
    "/9j/4", "iVBORw0KGgo", "data:image/png;base64,", "User: a\n", "\nAssistant", "you are a ", "anonymous ",
    "1764000000 ", "please send ", "find and send ", ", please ", "a.b", "tax number 10812543327, ", "once you a, ",
    "please approve and ", "7Q~aaaa", "ops_eyJabc/", "ops_eyJabcde9", "sntrys_eyJa_", "_pat_pat=", "_key_key=", "_pat=",
    "password%20is%20a", "password is a\\n", "secret value", "credential(\"a\",", "vapid(a", "approle a", "psexec a ",
    "secret>{a ", "crypto.tink.a", "secret='a!b@c#d$e%f^g&", "cGFzc3dvcmQ9Z3I0bml0ZVJvY2sh", "://a@bcd:",
    "Private-Lines: 1\nAAAA\n", "wifi:t:a;", "?sig=a", "|password|\n|--|\n", "password|--|\n", "creds:\na\n",
    "github ", "my twilio api key is 6c4f1de0a93b75e28fd0416c5b7a9e32 ",
]  # fmt: skip

CHARS = 50_000
GROWTH = 6.0
"""Times longer for four times the text; a quadratic pattern takes sixteen."""
SECONDS = 2.0
"""Of processor time for 50 kB; without bounds it is minutes."""


def seconds(look: Callable[[str], object], text: str) -> float:
    begun = time.thread_time()
    look(text)
    return time.thread_time() - begun


@pytest.mark.parametrize("rule", LOOKS)
@pytest.mark.parametrize("beginning", ["", "ignore assistant ", "my password is "])
def test_the_time_of_a_look_is_linear_in_the_text(rule: str, beginning: str) -> None:
    look = LOOKS[rule]
    for piece in REPEATED:
        look(f"{beginning}{piece * 5}")  # whatever is loaded when it is first needed
        quarter, whole = (beginning + piece * (chars // len(piece)) for chars in (CHARS // 4, CHARS))
        long = seconds(look, whole)
        assert long < SECONDS, f"{piece!r}: {long:.1f} s"
        if long > 0.125:  # less says little: texts of several blocks cost more than those of one
            least = min(seconds(look, quarter) for _ in range(2))
            if long >= GROWTH * least:  # once may be by what else the machine does
                long = min(seconds(look, whole) for _ in range(2))
            assert long < GROWTH * least, f"{piece!r}: {least:.2f} s, then {long:.2f} s"


@pytest.mark.parametrize("piece", ["_pat_pat=", "_key_key=", "_token=", "ops_eyJabc/"])
def test_what_holds_its_own_beginning_many_times_is_not_judged_in_full_at_each(piece: str) -> None:
    find_secrets(piece * 5)
    assert seconds(find_secrets, piece * (CHARS // len(piece))) < 0.5


def test_words_are_found_as_a_search_for_each_of_them_finds_them() -> None:
    words = ["pass", "password", "word", "pass word", "a", "ab", "abc", "bc", ".*", "密码", "код"]
    text = "passwords abcab pass word .* 密码код aabc passwor" * 20
    naive = {(start, word) for word in words for start in range(len(text)) if text.startswith(word, start)}
    places = list(WordFinder(words).places(text))
    assert set(places) == naive
    assert len(places) == len(naive)
    assert [start for start, _ in places] == sorted(start for start, _ in places)


@pytest.mark.parametrize("name", ["密码是", "password "])
def test_a_name_without_a_value_is_not_judged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text full of names took ten times as long as one full of ordinary words."""
    judged: list[str] = []

    class Judge:
        def search(self, text: str, *_: int) -> None:
            judged.append(text)

    monkeypatch.setattr(told_secrets, "_NO_KEY_NAME", Judge())
    assert not find_secrets(name * 1000)
    assert not judged
    assert find_secrets(f"{name}Tr0ub4dor&3x9")
    assert judged


def test_behind_more_words_than_are_judged_nothing_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_secrets, "WORDS_JUDGED", 100)
    text = "密码是" * 100
    assert not find_secrets(text)
    (found,) = find_secrets(f"{text}密码是 Tr0ub4dor&3x9")
    assert (found.start, found.kind) == (len(text), told_secrets.TOO_MANY)
    assert redact(f"{text}密码是 Tr0ub4dor&3x9") == f"{text}[redacted: {told_secrets.TOO_MANY}]"
    assert not find_secrets("-" * 1_000 + " https://example.org" * 200)
