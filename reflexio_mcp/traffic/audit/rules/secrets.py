"""Finds secrets in a text: vendor formats, values after a name, and passwords in a sentence.

Kingfisher finds the formats, in this process and without a network. Its rules are compiled for the first text that
may contain a key.
"""

import functools
import importlib.util
import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import ne
from pathlib import Path
from typing import Final

from reflexio_mcp.traffic.content import find_all, pieces

MISSING: Final = (
    "keys are not looked for by the formats of their vendors: the package kingfisher-secret-scanner does not run on "
    "this platform; passwords and keys with a name before them are still looked for"
)
FORMATS: Final = Path(__file__).with_name("secret_formats.yml")

_KEY_LETTERS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_.-"
_ONLY_KEY_LETTERS: Final = bytes(code if code in _KEY_LETTERS else ord(" ") for code in range(256))
KEY_CHARS: Final = 16
"""A key in a known format has at least so many `_KEY_LETTERS` in a row, and a digit among them. `could_be_a_key` has
exceptions."""

_DIGIT = re.compile(rb"[0-9]")
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?P<body>(?:[A-Za-z0-9+/=\s\\:,]|-(?!----))*+)"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_PEM_LINE = re.compile(r"[A-Za-z0-9+/]{16}")
_fails_to_load = threading.Event()
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret in a text, from `start` to before `end`."""

    start: int
    end: int
    kind: str
    probable: bool = True


@functools.cache
def _is_installed() -> bool:
    return importlib.util.find_spec("kingfisher_sdk") is not None


def available() -> bool:
    """Whether the scanner is installed and has not failed to load. This does not load it."""
    return _is_installed() and not _fails_to_load.is_set()


@functools.cache
def _scanner() -> "Callable[[bytes], Iterable[tuple[int, int, str]]]":
    """Return what finds keys in a text: begin and end in bytes, and the id of the format, in order."""
    try:
        import kingfisher_sdk  # takes a second
    except ImportError:  # its library does not support this machine
        _fails_to_load.set()
        return lambda raw: ()
    scan = kingfisher_sdk.Scanner(kingfisher_sdk.Rules([FORMATS], builtins=False, cache=False)).scan
    return lambda raw: sorted(
        (match.location["start_offset"], match.location["end_offset"], match.rule_id) for match in scan(raw)
    )


def could_be_a_key(text: str) -> bool:
    """Whether a text needs the scanner, which loads slowly."""
    return (
        any(_has_key_letters(piece) for _, piece in pieces(text, overlap=2 * KEY_CHARS))
        or "PRIVATE KEY" in text
        or "https://hooks" in text
    )


def _has_key_letters(text: str) -> bool:
    # A pattern would look ahead at every position, which takes ten times as long.
    words = text.encode("ascii", "replace").translate(_ONLY_KEY_LETTERS).split()
    return any(len(word) >= KEY_CHARS and _DIGIT.search(word) for word in words)


def secrets_by_format(text: str) -> Iterator[Secret]:
    """Yield secrets in a known format, and whole or cut private keys."""
    if "PRIVATE KEY" in text:
        for match in _PEM.finditer(text):
            if _PEM_LINE.search(match["body"]):
                yield Secret(*match.span(), "private-key")
    if not available() or not could_be_a_key(text):
        return
    raw = text.encode("utf-8", "replace")  # a lone surrogate becomes `?`, so offsets stay
    with _loading:
        scan = _scanner()
    # The scanner counts bytes, not characters. What it finds is in the order of the beginnings.
    last_byte = last_char = 0
    for start, end, rule_id in scan(raw):
        last_char += len(raw[last_byte:start].decode("utf-8", "replace"))
        last_byte = start
        length = len(raw[start:end].decode("utf-8", "replace"))
        kind = rule_id.removeprefix("own.").split(".")[0]  # `own.webhook-address.49`
        yield Secret(last_char, last_char + length, kind)


SCANNED_CHARS: Final = 1_000_000
PASSWORD, KEY, CODE = "password", "named key", "PIN or door code"


def find_secrets(text: str) -> list[Secret]:
    """Return the secrets in the first million characters, in order and without overlap."""
    text = text[:SCANNED_CHARS]
    found: list[Secret] = []
    every = [*secrets_by_format(text), *_by_form(text), *_after_names(text)]
    for secret in sorted(every, key=lambda secret: (secret.start, -secret.end)):
        if secret.kind not in (PASSWORD, KEY, CODE) and _is_placeholder(
            text[secret.start : secret.end][:200]
        ):
            secret = replace(secret, probable=False)
        if found and secret.start < found[-1].end:
            last = found.pop()
            # A format says more than the name before the secret.
            kind = secret.kind if last.kind in (PASSWORD, KEY) else last.kind
            secret = Secret(last.start, max(last.end, secret.end), kind, last.probable or secret.probable)
        found.append(secret)
    return found


# --- recognized by form: in an address, after an option, by itself

_ADDRESS = re.compile(r"://[^\s:/@\"'<>]{0,60}:(?P<value>[^\s/@\"'<>{}$]{3,100})@(?=[\w\[.-])")
_OPTION = re.compile(
    r"(?<![\w}-])(?:-p ?(?![a-z]+=)|--pass(?:word)?[ =]|(?P<user>(?:-u|--user)[ =]{0,3})[\"']?[\w.@{}-]{0,40}[\"']?:)"
    r"[\"'{]?(?P<value>[^\s\"'`<>|;$]{6,100})"
)
_LONG_WORD = re.compile(
    r"(?<![\w/+.@%#?&-])(?<![A-Za-z0-9+/]{40}\n)(?P<value>[A-Za-z0-9+/_.~-]{20,400}+={0,2})(?![\w(\[@:%=]|\n[\w+/]{40})"
)
_CHECKSUM_ID_OR_PATH = re.compile(r"[^A-Z]+|[^a-z]+|(?=.*/).*\..*")


def _by_form(text: str) -> Iterator[Secret]:
    for match in find_all(_ADDRESS, text):
        yield Secret(*match.span("value"), "password in an address")
    if "-p" in text or "-u" in text:  # each option contains one of these
        for match in find_all(_OPTION, text):
            if _is_password(match["value"]) or (match["user"] and not _is_placeholder(match["value"])):
                yield Secret(*match.span("value"), PASSWORD)
    for match in find_all(_LONG_WORD, text):
        before = text[max(0, match.start() - 34) : match.start()].rpartition("\n")[2]
        public = _CHECKSUM_ID_OR_PATH.fullmatch(match["value"]) or _PUBLIC.fullmatch(match["value"])
        if not (public or _NO_SECRET.search(before.lower())) and _is_machine_made(match["value"]):
            yield Secret(*match.span("value"), "possible key", probable=False)


# --- after a name, or in a sentence: words for a password | words for a code of digits | words between them and the
# secret. `-`: a blank, a hyphen or nothing.
_TABLE: Final = """
    password passphrase pass-code passwd pwd pass-word pass-phrase wifi-key | pin pass-code door-code gate-code alarm-code access-code entry-code security-code unlock-code lock-code garage-code keypad-code lockbox-code safe-code lock-combination safe-combination | is was are to to-be is-now should-be will-be
    passwort kennwort zugangsdaten wlan-schlüssel | tür-code alarm-code zugangs-code geheimzahl tresor-code | ist lautet war sind heißt auf
    mot-de-passe mots-de-passe mdp | digicode code-pin code-secret code-d'accès code-de-la-porte code-de-l'alarme code-du-portail | est c'est était
    contraseña contrasena clave | código-de-la-puerta código-de-acceso código-de-la-alarma código-de-seguridad | es era son será
    senha palavra-passe | código-da-porta código-do-portão código-de-acesso código-do-alarme | é era será
    parola-d'ordine parola-chiave | codice-del-portone codice-della-porta codice-di-accesso codice-dell'allarme | è era sarà
    wachtwoord | pincode deur-code toegangs-code | is was wordt
    hasło hasła haslo hasłem | kod-do-drzwi kod-do-bramy kod-do-domofonu kod-pin kod-dostępu kod-alarmu | to jest brzmi
    heslo hesla heslem | kód-ke-dveřím kód-od-dveří kód-do-dverí kód-k-alarmu | je bylo zní
    lösenord adgangskode passord kodeord | port-koden portkod dörr-koden dør-kode dør-koden pinkode pin-koden | är er var
    salasana parool | ovikoodi pin-koodi uksekood | on oli
    jelszó jelszava parola parolă | kapukód pin-kód codul-pin codul-ușii | az este
    şifre şifrem şifresi parola | kapı-kodu pin-kodu | olan ise
    κωδικός κωδικό συνθηματικό | κωδικός-πόρτας | είναι
    пароль пароля паролем | пин-код пин пін-код код-от-двери код-домофона код-від-дверей | является это є
    slaptažodis slaptažodžio parole | durų-kodas pin-kodas durvju-kods | yra ir
    סיסמה סיסמא كلمة-المرور كلمة-السر كلمة-سر رمز-عبور | קוד-הדלת رمز-الباب | היא هي هو است
    पासवर्ड পাসওয়ার্ড รหัสผ่าน mật-khẩu kata-sandi | mã-pin kode-pintu | है হল คือ là adalah
    パスワード | 暗証番号 暗証コード | は が
    密码 密碼 口令 | 门锁密码 门禁密码 门禁码 取款密码 | 是 為 为
    비밀번호 패스워드 암호 | 출입문-비밀번호 현관-비밀번호 | 은 는 이
"""
_ROWS = [row.split("|") for row in _TABLE.strip().splitlines()]
PASSWORDS, CODES, IS = (
    frozenset(word for row in _ROWS for word in row[column].split()) for column in range(3)
)


def _words(words: Iterable[str]) -> str:
    return "|".join(re.escape(word).replace(r"\-", "[ -]?") for word in sorted(words, key=len, reverse=True))


PASSWORD_WORDS: Final = _words(PASSWORDS)
_LETTER: Final = "a-zà-žα-ωа-яёіїє"
_QUOTES: Final = "\"'`“”„«»「」‘’*"
_LAST_CYRILLIC: Final = "ӿ"
"""Words in the scripts behind it in Unicode are also found without blanks around them."""
_IS_WORDS: Final = (
    rf"(?<![{_LETTER}])(?:{_words(word for word in IS if word[0] < _LAST_CYRILLIC)})(?![{_LETTER}])"
)
_IS_SIGNS: Final = [word for word in IS if word[0] > _LAST_CYRILLIC]
_NAME = re.compile(
    rf"(?P<code>(?<![{_LETTER}0-9])(?:{_words(CODES)})(?![{_LETTER}]))|(?P<phrase>(?:seed|recovery|mnemonic)[ -]?phrase)"
    rf"|(?P<password>{PASSWORD_WORDS}|(?<![a-z])(?:pw|creds)(?![a-z])|(?<![a-z])pass(?![a-z ])|securestring"
    r"|identified (?:by|with)(?= ))"
    r"|(?P<key>secret|token|(?:api|access|private|license)[ _.-]?key|credential|authorization|bearer"
    r"|(?<![a-z])(?:auth|basic)(?![a-z])|[_.-]key|key(?=\d?[\"'`\])= :])|_pat(?![a-z]))"
)
_KEY_WORDS: Final = (
    "_pat access api auth basic bearer creds credential identified key license mnemonic pass private pw recovery secret "
    "securestring seed token"
)
_BEGIN_NAMES: Final = {word.split("-")[0] for word in PASSWORDS | CODES | {*_KEY_WORDS.split()}}
"""Each name begins with one of these words, or with a sign before `key`. Searching a text for them is much faster."""
_LONGEST_BEGINNING: Final = max(map(len, _BEGIN_NAMES))
_ASCII_BEGIN_NAMES: Final = frozenset(filter(str.isascii, _BEGIN_NAMES))
_SEPARATOR = re.compile(
    r"[\w.-]{0,40}+(?:\[\w{0,20}\])?[\"'`\\\])*]{0,4}"  # the rest of the name
    r"(?P<between>[ \t]{0,12}(?:[:=]{1,3}>?|!=|=>|->|,(?=[ ]?[\"'])|\||[ ]-[ ]|\|\||：)[ \t\r\n]{0,8}|[ \t]{1,4}(?=[\"'])|>)"
)
_CLAUSE = re.compile(r"[^\n.?!;=,：。]{0,50}")
_IS = re.compile(
    rf"(?=[{_LETTER}'’:：{''.join(sign[0] for sign in _IS_SIGNS)}])"  # most searches end here
    rf"(?:{_IS_WORDS}|{_words(_IS_SIGNS)}|['’]s(?![{_LETTER}])|[:：])[ \t:]{{0,3}}"
)
_PART_OF_VALUE: Final = rf"[^\t-\r\x1c-\x20\x85\xa0{_QUOTES}<>,;|&\\\u0590-\uffff]"
_VALUE = re.compile(
    rf"(?P<quote>[{_QUOTES}\\]{{0,4}})(?:(?:String|string|new)\b[ (\"]{{0,3}})?[ ]?(?![\w-]{{1,40}}=[\w-])"
    rf"(?P<value>(?:{_PART_OF_VALUE}{{1,300}}|&(?!\w{{1,20}}=)|\\(?![nrt\"'])){{1,3}})"
)
_LATER_WORD = re.compile(
    r"(?:[ \t({]{1,3}[\w.:-]{1,15}){0,2}?[ \t({]{1,3}(?P<value>[\w+/=~.-]{16,200})(?![\w(\[])"
)
_DIGITS = re.compile(
    r"[\s\"'*]{0,4}(?P<value>(?=[A-Z]{0,5}\d)[A-Z0-9]{3,8}|\d{1,2}(?:-\d{1,2}){2})(?![A-Za-z0-9_-]|[.,:/]\d)[#*]?"
)
_PHRASE = re.compile(r"\s{0,3}(?P<value>[a-z]{3,9}(?:[ ,]{1,2}[a-z]{3,9}){11,23})")


def _after_names(text: str) -> Iterator[Secret]:
    last_end = 0
    # `İ` is longer in lower case and would shift all later positions.
    low = text.replace("\u0130", "I").lower()
    for name in _names_in(low):
        # What looks like a name inside a secret that was found is none.
        if name.start() >= last_end and (found := _named(text, name)):
            last_end = found.end
            yield found


def _names_in(low: str) -> "Iterator[re.Match[str]]":
    """Yield what `_NAME` finds in a text in lower case."""
    places: set[int] = set()
    words = _ASCII_BEGIN_NAMES if low.isascii() else _BEGIN_NAMES
    for start, piece in pieces(low, overlap=_LONGEST_BEGINNING):
        for word in words:
            place = piece.find(word)
            while place >= 0:
                places.add(start + place)
                if word == "key" and start + place:
                    places.add(start + place - 1)  # `_key`
                place = piece.find(word, place + 1)
    last_end = 0
    for place in sorted(places):
        if place >= last_end and (name := _NAME.match(low, place)):
            last_end = name.end()
            yield name


def _named(text: str, name: "re.Match[str]") -> Secret | None:
    """Return the secret that follows a name; `None` if none does."""
    last_end = 0  # of the value before: a place inside that value is no place of another one
    for place, between in _places(text, name.end()):
        if name["code"] or name["phrase"]:
            match = (_DIGITS if name["code"] else _PHRASE).match(text, place)
            # Three digits right behind a name can be any number.
            if match and (between or len(match["value"]) > 3):
                return Secret(*match.span("value"), CODE if name["code"] else "seed phrase")
        elif place >= last_end and (match := _VALUE.match(text, place)):
            last_end = match.end()
            if found := _secret_in_value(text, name, match, between):
                before = text[max(0, name.start() - 30) : match.start("value")].rpartition("\n")[2]
                return None if _NO_SECRET.search(before.lower()) else found
    return None


def _places(text: str, end: int) -> Iterator[tuple[int, str]]:
    """Yield where the value of a name may begin, and what stands between the two.

    That is a sign such as `:` or `=`, `is` for any word with that meaning, `" "` for blanks before a quotation mark, or
    nothing for a blank.
    """
    if separator := _SEPARATOR.match(text, end):
        yield separator.end(), separator["between"].strip() or " "
        return
    if text.startswith((" ", "\t"), end):
        yield end + 1, ""
    clause = _CLAUSE.match(text, end)
    for is_ in itertools.islice(_IS.finditer(text, end, clause.end() if clause else end), 4):
        yield is_.end(), "is"


def _secret_in_value(text: str, name: "re.Match[str]", match: "re.Match[str]", between: str) -> Secret | None:
    """Return the value of a name, or a later word, if it is a secret.

    Args:
        between: the text between the name and the value, as `_places` returns it.
    """
    kind = PASSWORD if name["password"] else KEY
    in_sentence = between in ("", "is") or (between in (":", "：") and not match["quote"])
    whole = match["value"].strip("{}")
    value = whole.rstrip(".)]}?!:*&")
    if whole.startswith("!", len(value)) and re.search(r"\d", value):
        value += "!"  # `Tulip2024!`: passwords often end like this, sentences rarely
    start = text.index(value, match.start("value"))
    probable = _is_machine_made(value) or (kind == PASSWORD and _is_password(value, in_sentence=in_sentence))
    quoted_after_is = between == "is" and bool(match["quote"])
    after_assignment_sign = ":" in between or "=" in between
    is_assigned = quoted_after_is if in_sentence else after_assignment_sign
    if probable or (is_assigned and _is_possible(value, kind)):
        return Secret(start, start + len(value), kind, probable)
    later = None if in_sentence else _LATER_WORD.match(text, match.end("value"))
    return Secret(*later.span("value"), kind) if later and _is_machine_made(later["value"]) else None


def _is_possible(value: str, kind: str) -> bool:
    """Whether somebody may have chosen this value for a name that it is assigned to."""
    if kind == KEY:
        return _is_password(value) and re.search(r"\d", value) is not None
    return _PLAIN.fullmatch(value) is not None and not _is_placeholder(value)


# --- what a value looks like

_SHOWS_A_PLACE = re.compile(r"xxxx|\*\*\*|\.\.\.|…|\$\{|\$\(|\{\{|\}\}|%\(|%[A-Z_]{2,40}%")
_PLACEHOLDER = re.compile(  # in lower case, which is much faster than `(?i)`
    r"example|sample|placeholder|change[-_ ]?(?:me|it|this)|dummy|redacted|masked|hidden|todo|fixme"
    r"|your[-_ ]?(?:api|key|token|secret|pass|client|own|access|auth|\w{0,12}here)"
    r"|^(?:my|your|the|a|some|our|new|old|test|fake|mock|insert|replace|enter|put|use|set|get)[-_.]"
    r"|^(?:pass|password|passwd|passphrase|pw|pwd|secret|user|username|token|admin|root|postgres|test|guest|key|apikey"
    r"|null|none|nil|true|false|undefined|string|str|int|bool|object|value|default|required|optional|env)\d{0,4}$"
    r"|(?:token|key|secret|password)[-_]?(?:here|goes|value)"
    r"|(.)\1{7,}|^(.{2,12}?)\2{2,}$|^0?123456789?0?$"
)
_CODE = re.compile(
    r"[()\[\]{}]|=[\"']|^\.{0,2}/|^~/|://|::|->|=>|&&|\|\||\?\.|\\[swdb][*+|]"
    r"|^!?(?:os|env|self|this|process|config|settings|secrets|vars|var|local|module|data|params|request|req|ctx|args)\."
)
_IDENTIFIER = re.compile(
    r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|_*(?:[A-Za-z]+\d{0,3}|\d{1,4})(?:[-_./:+@]+(?:[A-Za-z]+\d{0,3}|\d{1,4}))*"
    r"|[A-Za-z]?[a-z]+(?:[A-Z][a-z]+)*\d{0,4}"
)
_PUBLIC = re.compile(  # a version, a checksum, a package or an e-mail address
    r"(?i)v?\d{1,4}\.\d{1,4}(?:\.\d{1,6})?(?:[-+.].*)?|(?:sha-?\d{1,3}|md5)[-:].+|[@\w/-]+@v?\d+\.\d.*|[\w.+-]+@[\w-]+\.[\w.-]+"
)
_NO_SECRET = re.compile(  # in lower case
    r"public|keyboard|key[ _-]?(?:stone|note|word|frame|path|file|name|id\b|type|size|len|code|store)"
    r"|(?:primary|foreign|host|cache|sort|partition|object|row|dict|index|message|idempotency|publishable)[ _-]?key"
    r"|(?:page|next|continuation|cancell?ation|sync|cursor)[ _-]?token|tokens|token[ _-]?(?:count|limit|type|url)"
    r"|hash|digest|checksum|integrity|fingerprint|signature|author(?!i)|secret[_-]?(?:name|id|arn|ref)|bypass|compass"
    r"|(?:id|ids|uuid|sha\d*|md5|etag|commit|version|ur[il]|src|href|image|base64|path|file|nonce|salt|name|cursor|h1)[\"'`]?[ \t=:>,]{0,4}[\"'`]?$"
)
_WORD = re.compile(r"[a-zA-Z]?[a-z]{3,}")
_PLAIN = re.compile(r"(?=.{6,20}$)[A-Za-z]+\d{0,4}(?:-[A-Za-z]*\d{1,4})?")
_SIGN = re.compile(r"[^\w./:,'’-]")


def _is_placeholder(value: str) -> bool:
    """Whether a value only shows where a secret belongs: `your_api_key`, `${TOKEN}`."""
    return (
        len(set(value)) <= 3
        or value.startswith(("<", "$", "enc[", "enc("))
        or bool(_SHOWS_A_PLACE.search(value) or _PLACEHOLDER.search(value.lower()))
    )


def _is_machine_made(value: str) -> bool:
    """Whether a value looks generated: a key or a token. Its first 200 characters show that."""
    value = value[:200]
    if len(value) < 12 or not value.isascii() or len(set(value)) < 9:
        return False
    capitals = [*map(str.isupper, value)]
    case_changes = sum(map(ne, capitals, capitals[1:]))
    digits = sum(map(str.isdigit, value))
    mixes_cases = case_changes > 0.4 * len(value)  # only what is random does
    if not mixes_cases:
        is_something_else = (
            not digits or _CODE.search(value) or _IDENTIFIER.fullmatch(value) or _PUBLIC.fullmatch(value)
        )
        if is_something_else:
            return False
    in_words = digits < 0.1 * len(value) and len("".join(_WORD.findall(value))) > 0.6 * len(value)
    return not in_words and not _is_placeholder(value)


def _is_password(value: str, *, in_sentence: bool = False) -> bool:
    """Whether a person may have chosen a value as a password. Outside sentences, `Sunflower42` is an identifier."""
    if not 4 < len(value) <= 80:
        return False
    has_digit = any(map(str.isdigit, value))
    has_sign = _SIGN.search(value) is not None
    if not (has_digit or has_sign):
        return False
    if value.isdigit():
        return in_sentence
    if len(value) == 5:  # only five digits can be a password
        return False
    if _CODE.search(value) or _PUBLIC.fullmatch(value) or (not in_sentence and _IDENTIFIER.fullmatch(value)):
        return False
    has_capital, has_small = any(map(str.isupper, value)), any(map(str.islower, value))
    classes = [has_digit, has_sign, has_capital, has_small]
    return classes.count(True) >= 2 and any(map(str.isalpha, value)) and not _is_placeholder(value)
