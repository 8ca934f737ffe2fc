"""Where the secrets of a text stand: formats of vendors, values beside a name, and passwords told in a sentence.

Formats are found by Kingfisher, which runs in this process and uses no network. It is imported, and its rules are
compiled, when the first text has something in it that could be a key.
"""

import functools
import importlib.util
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log2
from pathlib import Path
from typing import Final

from reflexio_mcp.traffic.audit.rules.password_words import CODES, IS, PASSWORDS

__all__ = [
    "MISSING",
    "PASSWORD",
    "SCANNED_CHARS",
    "Secret",
    "available",
    "could_be_a_key",
    "find_secrets",
]

MISSING: Final = (
    "keys are not looked for by the formats of their vendors: the package kingfisher-secret-scanner does not run on "
    "this platform; passwords, and keys beside their names, are"
)

SCANNED_CHARS: Final = 1_000_000
"""Characters of one text that are looked at; the service stores no longer one."""

FORMATS: Final = Path(__file__).with_name("secret_formats.yml")
"""Rules of Kingfisher (Apache 2.0): those that know a key by its own form. Compiling all of them takes five times as long."""

PASSWORD, KEY, CODE, ADDRESS = "password", "key beside its name", "PIN or door code", "password in an address"


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret in a text: its first character, the one after its last, what it is, and whether that is probable."""

    start: int
    end: int
    kind: str
    probable: bool = True


def find_secrets(text: str, *, lines: bool = False) -> list[Secret]:
    """The secrets in the first `SCANNED_CHARS` characters of a text, in their order; none overlaps another.

    Args:
        lines: also what follows the word for a password, to the end of its line: more than a secret.
    """
    text = text[:SCANNED_CHARS]
    found: list[Secret] = []
    for one in sorted(
        (*_by_format(text), *_private_keys(text), *_beside_names(text, lines)),
        key=lambda one: (one.start, -one.end),
    ):
        if found and one.start < found[-1].end:
            last = found[-1]
            # A format says more than the name beside it.
            kind = one.kind if last.kind in (PASSWORD, KEY) else last.kind
            found[-1] = Secret(last.start, max(last.end, one.end), kind, last.probable or one.probable)
        else:
            found.append(one)
    return found


# --- by the format of a vendor

_COULD_BE_A_KEY = re.compile(r"(?=[A-Za-z_/+.-]{0,40}\d)[A-Za-z0-9+/=_.-]{16}|PRIVATE KEY|https://hooks")
_fails_to_load = threading.Event()
_loading = threading.Lock()


@functools.cache
def _is_installed() -> bool:
    return importlib.util.find_spec("kingfisher_sdk") is not None


def available() -> bool:
    """Whether the formats of vendors can be looked for here; does not import what knows them."""
    return _is_installed() and not _fails_to_load.is_set()


@functools.cache
def _scanner() -> "Callable[[bytes], list[tuple[int, int, str]]]":
    try:
        import kingfisher_sdk  # takes a second, and most servers never need it
    except ImportError:  # its library does not fit this machine's
        _fails_to_load.set()
        return lambda raw: []
    scanner = kingfisher_sdk.Scanner(kingfisher_sdk.Rules([FORMATS], builtins=False, cache=False))

    def scan(raw: bytes) -> list[tuple[int, int, str]]:
        return sorted(
            (one.location["start_offset"], one.location["end_offset"], one.rule_id)
            for one in scanner.scan(raw)
        )

    return scan


def could_be_a_key(text: str) -> bool:
    """Whether a text has something that only the scanner can judge, which takes a second when it is first used."""
    return _COULD_BE_A_KEY.search(text) is not None


def _by_format(text: str) -> Iterator[Secret]:
    if not available() or not could_be_a_key(text):
        return
    raw = text.encode("utf-8", "replace")  # a lone surrogate becomes `?`, which keeps the places
    with _loading:
        scan = _scanner()
    behind = chars = 0
    for start, end, kind in scan(raw):
        # Places are bytes: in Chinese text three of them are a character.
        if start >= behind:
            chars, behind = chars + len(raw[behind:start].decode("utf-8", "replace")), start
        elif start < behind:
            continue
        value = raw[start:end].decode("utf-8", "replace")
        if not _is_placeholder(value[:200]):
            yield Secret(
                chars, chars + len(value), kind.removeprefix("own.").split(".")[0], not _RUNS_ON.search(value)
            )


_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<body>(?:[A-Za-z0-9+/=\s\\:,]|-(?!----))*+)"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_PEM_LINE = re.compile(r"[A-Za-z0-9+/]{16}")


def _private_keys(text: str) -> Iterator[Secret]:
    """Private keys, also those that are cut off, as the beginning of a text is."""
    for match in _PEM.finditer(text) if "PRIVATE KEY" in text else ():
        if _PEM_LINE.search(match["body"]):
            yield Secret(*match.span(), "private-key")


# --- beside a name, or told in a sentence


def _alternatives(*tables: dict[str, str]) -> str:
    words = {word for table in tables for listed in table.values() for word in listed.split()}
    return "|".join(re.escape(word).replace(r"\-", "[ -]?") for word in sorted(words, key=len, reverse=True))


_LETTER: Final = "a-zà-žа-я"
_NAME = re.compile(
    rf"(?P<code>(?<![{_LETTER}0-9])(?:{_alternatives(CODES)})(?![{_LETTER}]))"
    rf"|(?P<phrase>(?:seed|recovery|mnemonic)[ -]?phrase)"
    rf"|(?P<password>{_alternatives(PASSWORDS)}|(?<![a-z])pass(?![a-z])|identified by(?= )|securestring)"
    r"|(?P<key>secret|token|api[ _.-]?key|access[ _.-]?key|private[ _.-]?key|license[ _.-]?key|credential|authorization"
    r"|bearer|(?<![a-z])(?:auth|basic)(?![a-z])|[_.-]key|key(?=\d?[\"'`\])= :])|_pat(?![a-z]))"
)
_REST_OF_NAME = re.compile(r"[\w.-]{0,40}(?:\[\w{0,20}\])?[\"'`\\\])*]{0,4}")
_SEPARATOR = re.compile(
    r"[ \t]{0,12}(?:[:=]{1,3}>?|!=|=>|->|,(?=[ ]?[\"'])|\||[ ]-[ ]|\|\||：)[ \t\r\n]{0,4}|[ \t]{1,4}(?=[\"'])|>"
)
_IS = re.compile(
    rf"(?P<between>[^\n.?!;:=,]{{0,40}}?)"
    rf"(?:(?<![{_LETTER}])(?:{'|'.join(word for word in IS if word[0] < 'ɐ')})(?![{_LETTER}])"
    rf"|{'|'.join(word for word in IS if word[0] >= 'ɐ')}|['’]s(?![{_LETTER}]))[ \t:]{{0,3}}"
)
_BLANK = re.compile(r"[ \t]{1,3}(?:is |are )?")
_QUOTES: Final = "\"'`“”„«»「」‘’*"
_VALUE = re.compile(
    rf"(?P<quote>[{_QUOTES}\\]{{0,4}})(?:(?:String|string|new)\b[ (\"]{{0,3}})?(?P<value>[^\s{_QUOTES}<>,;|\u0250-\uffff]{{4,200}})"
)
_WORDS_IN_QUOTES = re.compile(r"[\"“„«](?P<value>[^\W_][^\"“”»\n]{5,80})[\"”“»]")
_LINE = re.compile(
    rf"(?:[ \t][^\s.?!:=]{{1,20}}){{0,4}}?(?:[ \t]?[:=：]|[ \t](?:{'|'.join(word for word in IS if word[0] < 'ɐ')}))"
    r"[ \t]{1,3}(?P<value>[^\n]{3,80})"
)
_DIGITS = re.compile(
    r"[\s\"'*]{0,4}(?P<value>(?=[A-Z]{0,5}\d)[A-Z0-9]{3,8}|\d{1,2}(?:-\d{1,2}){2})(?![A-Za-z0-9_-]|[.,:/]\d)[#*]?"
)
_PHRASE = re.compile(r"\s{0,3}(?P<value>[a-z]{3,9}(?:[ ,]{1,2}[a-z]{3,9}){11,23})")
_OPTION = re.compile(
    r"(?<![\w}-])(?:-p ?|--pass(?:word)?[ =]|(?:-u|--user)[ =]?[\"']?[\w.@-]{1,40}:)[\"']?(?P<value>[^\s\"'`<>|;$]{6,100})"
)
_QUOTED = re.compile(r"[\"'`](?P<value>[A-Za-z0-9+/_=.~-]{20,100})[\"'`]")
_WORDS_OF_CODE = re.compile(r"[^\w.-]")
_NAMES_AN_ID = re.compile(
    r"(?i)id$|ids$|uuid|sha|md5|etag|commit|version|url|uri|src|href|image|data|path|file|integrity|nonce|salt|name|cursor|^$"
)
_ADDRESS = re.compile(r"://[^\s:/@\"'<>]{0,60}:(?P<value>[^\s/@\"'<>{}$]{3,100})@(?=[\w\[.-])")


def _beside_names(text: str, lines: bool) -> Iterator[Secret]:
    for match in _ADDRESS.finditer(text):
        if not _is_placeholder(match["value"]):
            yield Secret(*match.span("value"), ADDRESS)
    for match in _OPTION.finditer(text) if " -" in text else ():
        if _is_password(match["value"]):
            yield Secret(*match.span("value"), PASSWORD)
    for match in _QUOTED.finditer(text):
        before = text[max(0, match.start() - 34) : match.start()].rstrip(" \t=:>\"'`")
        name = _WORDS_OF_CODE.split(before)[-1]
        if _is_machine_made(match["value"]) and not (_NO_SECRET.search(name) or _NAMES_AN_ID.search(name)):
            yield Secret(*match.span("value"), "what looks like a key", probable=False)
    behind = 0
    # The one letter whose lower case is longer than itself would shift every place behind it.
    for name in _NAME.finditer(text.replace("\u0130", "I").lower()):
        if name.start() >= behind and (found := _named(text, name)):
            behind = found.end
            yield found
        if lines and name.lastgroup == "password" and (line := _LINE.match(text, name.end())):
            yield Secret(*line.span("value"), PASSWORD, probable=False)


def _named(text: str, name: "re.Match[str]") -> Secret | None:
    """The secret that belongs to one name; the search begins again behind the name, so that none hides another."""
    kind, end = name.lastgroup, name.end()
    if kind in ("code", "phrase"):
        match = _said(text, end, _DIGITS if kind == "code" else _PHRASE)
        return Secret(*match.span("value"), CODE if kind == "code" else "seed phrase") if match else None
    rest = _REST_OF_NAME.match(text, end)
    if separator := _SEPARATOR.match(text, rest.end() if rest else end):
        match, is_ = _VALUE.match(text, separator.end()), None
        told = separator[0].strip() in (":", "：") and bool(match and not match["quote"])
    else:
        is_ = _IS.match(text, end) or _BLANK.match(text, end)
        match, told = _VALUE.match(text, is_.end()) if is_ else None, True
    if not match:
        return None
    if (
        told
        and kind == "password"
        and is_
        and is_.re is _IS
        and (words := _WORDS_IN_QUOTES.match(text, is_.end()))
    ):
        return Secret(*words.span("value"), PASSWORD, probable=False)
    whole = match["value"].strip("{}")
    value = whole.rstrip(".)]}?!:*&")
    if any(map(str.isdigit, value)) and whole.startswith("!", len(value)):
        value += "!"  # `Tulip2024!`: many passwords end so, and few sentences end in such a word
    if not (_is_machine_made(value) or (kind == "password" and _is_password(value, told=told))):
        return None
    if _NO_SECRET.search(text[max(0, name.start() - 30) : match.start("value")].rpartition("\n")[2]):
        return None
    start = text.index(value, match.start("value"))
    return Secret(
        start, start + len(value), PASSWORD if kind == "password" else KEY, not _RUNS_ON.search(value)
    )


def _said(text: str, end: int, value: "re.Pattern[str]") -> "re.Match[str] | None":
    """A value behind a name and a word such as `is`, or a colon."""
    for between in (_SEPARATOR, _IS):
        if (match := between.match(text, end)) and (found := value.match(text, match.end())):
            return found
    return None


# --- what a value looks like

_PLACEHOLDER = re.compile(
    r"(?i)example|sample|placeholder|change[-_ ]?(?:me|it|this)|dummy|redacted|masked|hidden|todo|fixme"
    r"|your[-_ ]?(?:api|key|token|secret|pass|client|own|access|auth|\w{0,12}here)"
    r"|^(?:my|your|the|a|some|our|new|old|test|fake|mock|insert|replace|enter|put|use|set|get)[-_.]"
    r"|x{4,}|\*{3,}|\.\.\.|…|^<|\$\{|\$\(|\{\{|\}\}|%\(|%[A-Z_]{2,40}%|^\$|^enc[\[(]"
    r"|^(?:pass|password|passwd|passphrase|pw|pwd|secret|user|username|token|admin|root|postgres|test|guest|key|apikey"
    r"|null|none|nil|true|false|undefined|string|str|int|bool|object|value|default|required|optional|env)\d{0,4}$"
    r"|(?:token|key|secret|password)[-_]?(?:here|goes|value)"
    r"|(.)\1{7,}|^(.{2,12}?)\2{2,}$|^0?123456789?0?$"
)
_RUNS_ON = re.compile(r"(?i)a.?b.?c.?d.?e.?f|1234567|0123456|qwerty|deadbeef|feedface")
_CODE = re.compile(
    r"[()\[\]{}]|=[\"']|^\.{0,2}/|^~/|://|::|->|=>|&&|\|\||\?\.|\\[swdb][*+|]"
    r"|^!?(?:os|env|self|this|process|config|settings|secrets|vars|var|local|module|data|params|request|req|ctx|args)\."
)
_IDENTIFIER = re.compile(
    r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|(?:[A-Za-z]+\d{0,2}|\d{1,4})(?:[-_./:+@](?:[A-Za-z]+\d{0,2}|\d{1,4}))*"
    r"|[A-Za-z]?[a-z]+(?:[A-Z][a-z]+)*\d{0,4}"
)
_CAMEL = re.compile(r"[A-Z]?(?:[A-Z][a-z]{3,}\d?){2,}|OAuth2?")
_PUBLIC = re.compile(
    r"(?i)v?\d{1,4}\.\d{1,4}(?:\.\d{1,6})?(?:[-+.].*)?|\d{4}-\d\d-\d\d.*|0x[0-9a-f]+|(?:sha-?\d{1,3}|md5)[-:].+"
    r"|arn:.+|urn:.+|aaaa[a-z]3nza.+|#[0-9a-f]{3,8}|[@\w/-]+@v?\d+[.\d].*|[\w.+-]+@[\w-]+\.[\w.-]+"
    r"|.+\.(?:jpe?g|png|gif|svg|pdf|csv|log|ya?ml|toml|lock|json|html?|css|js|ts|py|md|zip|gz|tar|com|org|net|io)"
)
"""A version, a time, an address, a checksum, the name of a resource, a package or a file."""
_NO_SECRET = re.compile(
    r"(?i)public|keyboard|key[ _-]?(?:stone|note|word|frame|path|file|name|id\b|type|size|len|code|store)"
    r"|(?:primary|foreign|host|cache|sort|partition|object|row|dict|index|message|idempotency|publishable)[ _-]?key"
    r"|(?:page|next|continuation|cancell?ation|sync|cursor)[ _-]?token|tokens|token[ _-]?(?:count|limit|type|url)"
    r"|hash|digest|checksum|integrity|fingerprint|signature|author(?!i)|secret[_-]?(?:name|id|arn|ref)|bypass|compass"
)
_HEX = re.compile(r"[0-9a-fA-F]+")
_WORD = re.compile(r"[a-zA-Z]?[a-z]{3,}")
_VOWEL = re.compile(r"[aeiouy]")


def _is_placeholder(value: str) -> bool:
    """Whether a value only shows where a secret belongs: `your_api_key`, `xxxx`, `${TOKEN}`."""
    return bool(_PLACEHOLDER.search(value)) or len(set(value)) <= 3


def _is_public(value: str) -> bool:
    """Whether a value is code, an identifier, a path, a version or a checksum."""
    return bool(_CODE.search(value) or _IDENTIFIER.fullmatch(value) or _PUBLIC.fullmatch(value))


def _is_machine_made(value: str) -> bool:
    """Whether a value looks generated: a key or a token."""
    if len(value) < 12 or not value.isascii() or _entropy(value) < (2.6 if _HEX.fullmatch(value) else 3.2):
        return False
    turns = sum(one.isupper() != other.isupper() for one, other in itertools.pairwise(value))
    if turns <= 0.4 * len(value) and (not any(map(str.isdigit, value)) or _is_public(value)):
        return False
    digits, words = sum(map(str.isdigit, value)), "".join(_WORD.findall(value))
    in_words = digits < 0.1 * len(value) and len(words) > 0.6 * len(value)
    return not (in_words and len(_VOWEL.findall(words)) >= 0.25 * len(words)) and not _is_placeholder(value)


def _is_password(value: str, *, told: bool = False) -> bool:
    """Whether a value looks like a password that a person chose: letters with digits or signs between them.

    Args:
        told: it stands in a sentence, where `Sunflower42` is no identifier.
    """
    if not 5 < len(value) <= 80 or not any(map(str.isalpha, value)):
        return told and value.isdigit() and len(value) > 4
    if _CODE.search(value) or _PUBLIC.fullmatch(value) or (_CAMEL if told else _IDENTIFIER).fullmatch(value):
        return False
    kinds = (
        any(map(str.isdigit, value)),
        any(map(str.isupper, value)),
        any(map(str.islower, value)),
        any(not letter.isalnum() and letter not in "-_./:,'’" for letter in value),
    )
    return (kinds[0] or kinds[3]) and sum(kinds) >= 2 and not _is_placeholder(value)


def _entropy(value: str) -> float:
    counts = [value.count(letter) for letter in set(value)]
    return -sum(count / len(value) * log2(count / len(value)) for count in counts)
