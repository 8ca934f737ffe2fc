"""Whether a value beside a word such as `password` or `token` is a secret, or only stands where one would."""

import base64
import itertools
import re
from math import log2
from typing import Final

__all__ = [
    "is_machine_made",
    "is_made_up",
    "is_password",
    "is_placeholder",
    "is_scrambled",
    "is_uuid",
    "is_wording",
    "keys_in",
    "text_in_base64",
]

MACHINE_MADE_CHARS: Final = 10
"""Shortest key or token that is told from a word, a number or a version without knowing who issued it."""

MACHINE_MADE_ENTROPY: Final = 3.0
"""Bits a character of a key or token: words and repetitions stay below it, random text lies above."""

HEX_ENTROPY: Final = 2.6
"""The same of hexadecimal digits."""

PASSWORD_CHARS: Final = 6
"""Shortest password; what is shorter is mostly a version, a size or a name."""

LONGEST: Final = 400

_PLACEHOLDER = re.compile(
    r"(?i)example|sample|placeholder|change[-_ ]?(?:me|it|this)|dummy|redacted|masked|hidden|todo|fixme"
    r"|your[-_ ]?(?:api|key|token|secret|pass|client|own|access|auth|\w{0,12}here)"
    r"|^(?:my|your|the|a|some|our|new|old|test|fake|mock|insert|replace|enter|put|use|set|get|fetch|read|load)[-_.]"
    r"|x{4,}|\*{3,}|\.\.\.|…|<[^>]{0,100}>|\$\{|\$\(|\{\{|\}\}|%\(|%[A-Z_]{2,40}%|^\$|^enc[\[(]"
    r"|^(?:pass|password|passwd|passphrase|pw|pwd|secret|user|username|token|admin|root|postgres|test|guest|key|apikey"
    r"|null|none|nil|true|false|undefined|string|str|int|bool|object|value|default|required|optional|env|public"
    r"|private)\d{0,4}$"
    r"|[-_.](?:here|placeholder|goes)$|(?:token|key|secret|password)(?:here|goes|value)"
    r"|^(?:[a-z]{2,8}[_-])?(?:0123456789|1234567890|abcdefghij)"
    r"|([b-z0-9])\1{7,}|^(.{2,12}?)\2{2,}$|^0?123456789?0?$|^(?:abcdef|qwerty|12345)\w{0,40}$"
)
_CODE = re.compile(
    r"[()\[\]{}]|=[\"']|^\.{0,2}/|^[a-z][a-z0-9+]{1,9}://[^@]{0,400}$|::|->|=>|&&|\|\||</|/>|\?\.|[A-Za-z]{3}<[A-Za-z]|=[A-Za-z]+\.[A-Za-z]|\\[swdb][*+|]"
    r"|^[a-z_]{2,40}=(?:[A-Za-z_]{1,40}|\d{1,9})$"
    r"|^!?(?:os|env|self|this|process|config|settings|secrets|vars|var|local|module|data|params|request|req|ctx|args)\."
)
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_NAMELIKE = re.compile(r"(?:[A-Za-z]+\d{0,2}|\d++[a-z]{0,3})(?:[-_./:+](?:[A-Za-z]+\d{0,2}|\d++[a-z]{0,3}))*")
_PUBLIC = re.compile(
    r"(?i)\d{4}-\d\d-\d\d[t ]\d\d:\d\d.*|0x[0-9a-f]{8,40}|(?:sha-?\d{1,3}|md5)[-:].+|arn:.+|urn:.+|aaaa[a-z]3nza.+"
    r"|#[0-9a-f]{3,8}"
    r"|.+\.(?:jpe?g|png|gif|svg|pdf|csv|log|ya?ml|toml|lock|html?|css|zip|gz|tar)"
)
"""A time, an address or fingerprint, a checksum, the name of a resource or file, a public key of SSH, a colour."""
_WORDS_AND_NUMBERS = re.compile(r"(?:[A-Za-z]+|\d{1,4})(?:[-_./:](?:[A-Za-z]+|\d{1,4}))+")
_IDENTIFIER = re.compile(r"[A-Za-z]?[a-z]+(?:[A-Z][a-z]+)*\d{0,3}|[A-Z]+(?:_[A-Z]+)*\d{0,2}")
_CAMEL = re.compile(
    r"(?:[A-Za-z]?[a-z]{3,}|(?:Id|Is|To|Of|In|On|By|My|Up|Ui|Js)(?![a-z]))(?:\d{0,4}(?:[A-Z][a-z]{2,}|[A-Z][a-z](?![a-z])))*\d{0,8}[a-z]?"
)
"""What programs are written in: `AuthModule2Factory`, `value1234567`."""
_VERSION = re.compile(r"v?(?:\d:)?\d{1,4}\.\d{1,4}(?:\.\d{1,6})?(?:[-+.].*)?")
_STEP = r"(?:[a-z]++(?:[-_.][a-z0-9]{1,12}+)*+\d{0,4}+|\d++[a-z]?+)"
_PATH = re.compile(rf"/?{_STEP}(?:/{_STEP}){{2,}}+")
"""Without backtracking: `a-b1/` again and again would take twice as long with each one."""
_SEPARATOR = re.compile(r"[-_./:+]")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_OF_A_TIME = re.compile(r"(?i)[0-9a-f]{8}-[0-9a-f]{4}-11[def][0-9a-f]-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
"""A uuid made of a machine's address and a time of these decades: it names something, and keeps nothing secret."""
_NO_UUID = re.compile(
    r"(?i)[0-9a-f]{8}(?!-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab])(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""One whose version or variant does not exist."""
_REPEATED = re.compile(r"(.)\1+")
_NO_LETTERS = re.compile(r"[^a-z]+")
ALPHABET_CHARS: Final = 8
"""Letters that follow on each other in an example; by chance they do so in one key of many millions."""
_RUN_CHARS: Final = 3
_WORD_IN_NAME = re.compile(r"[A-Za-z]?[a-z]{3,}")
_LONGEST_WORD: Final = 16
_CAPITALIZED = re.compile(r"[A-Z][a-z]{2,}")
_VOWEL = re.compile(r"[aeiouy]")
_UNSPEAKABLE = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}")
_SIGNS: Final = frozenset("!@#$%^&*()+[]{}~;")
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]+")
_MEASURE = re.compile(
    r"(?i)\d++(?:[.,:x-]\d++)*+(?:[a-z]{1,12}|%)?|[a-z]{1,3}\d{1,3}|[a-z]{1,5}\d|[a-z]+\d{1,4}(?:times?|hours?|days?|weeks?|months?|years?|minutes?|seconds?|char\w*|digits?)|v?\d++(?:\.\d++)++\w*+"
    r"|[a-z-]+/\d++(?:\.\d++)*+|www\..*|.*\.(?:com|org|net|io|md|py|js|ts|json|txt|html|pdf)|[\w.+-]*@[\w-]+(?:\.[\w.-]+|:\d{2,5})|(?:[a-z]+-)*\d{1,4}(?:-[a-z]+)+"
)
_WITHOUT_BLANKS = re.compile("[\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef]")
"""Writing in which no blank ends a word: what looks like one value is a sentence."""
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"


def is_placeholder(value: str) -> bool:
    """Whether a value only shows where a secret belongs: `your_api_key`, `xxxx`, `${TOKEN}`."""
    low = value.lower()
    return (
        bool(_PLACEHOLDER.search(value))
        or (len(low) > 5 and len(set(low)) <= 3)
        or low[:8] in _ALPHABET[:16]
        or _runs_on(low)
    )


def _runs_on(low: str) -> bool:
    """Whether most of a value goes through the alphabet or counts: `abc123xyz-456def789`."""
    letters = [letter for letter in low if letter.isalnum()]
    inside = run = 1
    for before, letter in itertools.pairwise(letters):
        run = run + 1 if ord(letter) - ord(before) == 1 else 1
        inside += 0 if run < _RUN_CHARS else _RUN_CHARS if run == _RUN_CHARS else 1
    return len(letters) >= 12 and inside > 0.6 * len(letters)


def is_made_up(value: str) -> bool:
    """Whether a value looks like a key and is none that anything makes.

    Its letters go through the alphabet, whatever stands between them (`a1B2c3D4e5`), or it is a uuid of a version that
    does not exist. It may stand for a real one that somebody does not want to show, so it is no placeholder.
    """
    letters = _REPEATED.sub(r"\1", _NO_LETTERS.sub("", value.lower()))
    runs = (letters[at : at + ALPHABET_CHARS] for at in range(len(letters) - ALPHABET_CHARS + 1))
    return bool(_NO_UUID.fullmatch(value)) or any(run in _ALPHABET for run in runs)


def is_wording(value: str) -> bool:
    """Whether a value reads as words: `checking_Length-Is-exactly_64`."""
    letters = sum(map(str.isalpha, value))
    if letters < 12 or sum(map(str.isdigit, value)) > 0.1 * len(value):
        return False
    in_words = "".join(word for word in _WORD_IN_NAME.findall(value) if len(word) <= _LONGEST_WORD)
    return (
        len(in_words) >= 0.8 * letters
        and len(_VOWEL.findall(in_words)) >= 0.25 * len(in_words)
        and not _UNSPEAKABLE.search(value)
    )


def _is_name(value: str) -> bool:
    """Whether a value is what a program calls something: `X509SubjectKeyIDExtension`."""
    words = "".join(_CAPITALIZED.findall(value))
    return (
        value.isalnum() and len(words) > 0.5 * len(value) and len(_VOWEL.findall(words)) >= 0.25 * len(words)
    )


def is_uuid(value: str) -> bool:
    return bool(_UUID.fullmatch(value))


def is_machine_made(value: str) -> bool:
    """Whether a value looks generated: a key or a token and no name, path, word or number."""
    if not MACHINE_MADE_CHARS <= len(value) <= LONGEST or not value.isascii():
        return False
    # First what takes least: most of what stands beside a name repeats itself, and the patterns take ten times as long.
    entropy, is_hex = _entropy(value), bool(_HEX.fullmatch(value))
    if entropy < (HEX_ENTROPY if is_hex else MACHINE_MADE_ENTROPY) and not is_uuid(value):
        return False
    if _CODE.search(value) or is_placeholder(value):
        return False
    if _PUBLIC.fullmatch(value) or (_DOTTED.fullmatch(value) and max(map(len, value.split("."))) <= 20):
        return False
    has_digits, has_letters = any(map(str.isdigit, value)), any(map(str.isalpha, value))
    if not (has_digits and has_letters):
        if not has_letters or len(value) < 20 or is_wording(value):
            return False
        named = _CAMEL.fullmatch(value) or _is_name(value)
        return (_turns(value) > 0.4 * len(value) and not named) or (
            len(value) >= 24 and entropy >= 3.9 and not _NAMELIKE.fullmatch(value)
        )
    if _IDENTIFIER.fullmatch(value) or _CAMEL.fullmatch(value) or _is_name(value) or is_wording(value):
        return False
    if _VERSION.fullmatch(value) or _PATH.fullmatch(value):
        return False
    if is_hex:
        return len(value) >= 16
    if is_uuid(value):
        return not _OF_A_TIME.fullmatch(value)
    return not _NAMELIKE.fullmatch(value) or not all(
        len(part) < 12 or _IDENTIFIER.fullmatch(part) for part in _SEPARATOR.split(value)
    )


def _turns(value: str) -> int:
    """How often capitals and small letters follow on each other, which in names they do once a word."""
    return sum(one.isupper() != other.isupper() for one, other in itertools.pairwise(value))


def is_scrambled(value: str) -> bool:
    """Whether a value in quotes has so many kinds of signs that brackets in it are no code: a key of Django's."""
    signs = set(value) & _SIGNS
    return len(signs) >= 5 and _entropy(value) >= 4.3 and "(?" not in value and "://" not in value


def keys_in(text: str) -> set[str]:
    """What in the value of an option looks like a key in the wrong place: its words, of a path the last part."""
    words = {re.split(r"[/\\]", word)[-1] for word in re.split(r"[,\s]+", text)}
    return {word for word in words if is_machine_made(word) and not is_uuid(word)}


def is_password(value: str, *, kinds: int = 2) -> bool:
    """Whether a value looks like a password that a person chose.

    Args:
        kinds: how many of lower-case letters, capitals, digits and other characters it must have at least.
    """
    if not PASSWORD_CHARS <= len(value) <= 80 or _CODE.search(value) or is_placeholder(value):
        return False
    if (
        _DOTTED.fullmatch(value)
        or _MEASURE.fullmatch(value)
        or _UUID.fullmatch(value)
        or _PUBLIC.fullmatch(value)
        or _VERSION.fullmatch(value)
        or _WITHOUT_BLANKS.search(value)
    ):
        return False
    if not any(map(str.isalpha, value)):
        return False
    has = (
        any(map(str.islower, value)),
        any(map(str.isupper, value)),
        any(map(str.isdigit, value)),
        any(not letter.isalnum() and letter not in "-_./:,'’" for letter in value),
    )
    if sum(has) < kinds:
        return False
    return sum(has) >= 3 or (has[2] and not _WORDS_AND_NUMBERS.fullmatch(value))


def _entropy(value: str) -> float:
    counts = [value.count(letter) for letter in set(value)]
    return -sum(count / len(value) * log2(count / len(value)) for count in counts)


def text_in_base64(value: str) -> str:
    """The text that a value is in base64; empty where it is none."""
    try:
        text = base64.b64decode(value[: len(value) // 4 * 4], validate=True).decode("ascii")
    except ValueError:
        return ""
    return text if all(letter.isprintable() or letter in "\t\r\n" for letter in text) else ""
