"""Whatever a stored text is made of, looking at it takes time that grows with its length and no faster."""

import time
from collections.abc import Callable

import pytest

from reflexio_mcp.traffic.rules.names import is_temporary, says_test, says_test_session, shape_of_source
from reflexio_mcp.traffic.rules.personal import personal_kinds
from reflexio_mcp.traffic.rules.planted import planted_signals
from reflexio_mcp.traffic.rules.secrets import find_secrets

LOOKS: dict[str, Callable[[str], object]] = {
    "planted-instructions": planted_signals,
    "probable-secret": find_secrets,
    "personal data": personal_kinds,
    "names": lambda text: (
        says_test(text),
        says_test_session(text),
        is_temporary(text),
        shape_of_source(text),
    ),
}

REPEATED = [
    "send-", "ignore ", "assistant ", "ignore all previous ", "send a.b+", "attention to the ", "do not tell ",
    "if you are an ai ", "<!--", "[inst] ", "you are now ", "system: ", "never ", "new instructions", "\\", "\u200b",
    "password ", "password is ", "my pass the the ", "key=", "key : ", "a.b-", "https://a:", "basic AAAAAAAA ", "PIN ",
    "recovery phrase ", "word ", "1234 ", "eyJaaaaaaaaaa.", "curl -u ", "--password ", "identified by ", "密码",
    "пароль ", "secret_key_", '"key" ', "aA1!", "{{", " ", "\n", "=", "://", "@", "-----BEGIN PRIVATE KEY-----\n",
    "\u0130", "+49 ", "4111 1111 1111 1111 ", "DE89 3704 0044 0532 0130 00 ", "a@b.", "12 ", "tmp-", "test-",
]  # fmt: skip

CHARS = 100_000
GROWTH = 6.0
"""Times longer for four times the text; a quadratic pattern takes sixteen."""
SECONDS = 4.0
"""Of processor time for 100 kB; without bounds it is minutes."""


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
        if long > 0.5:  # less says little: texts of several blocks cost more than those of one
            least = min(seconds(look, quarter) for _ in range(2))
            assert long < GROWTH * least, f"{piece!r}: {least:.2f} s, then {long:.2f} s"
