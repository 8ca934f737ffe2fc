"""Secrets that no vendor's prefix gives away: told in a sentence, set beside their name, given to a command.

One pass finds the words; then one bounded pattern is matched at each of them, so that a text takes time linear in its
length.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from reflexio_mcp.traffic.rules.secret_heuristics import (
    is_machine_made,
    is_password,
    is_placeholder,
    is_scrambled,
    is_uuid,
    text_in_base64,
)
from reflexio_mcp.traffic.rules.word_finder import WordFinder

__all__ = ["SENSITIVE_WORDS", "Place", "asks_for", "speaks_of_secrets", "told_secrets"]

Place = tuple[int, int, str]
"""First character, the one after the last, and the kind."""

TOLD: Final = "password in a sentence"
KEY: Final = "password or key beside its name"
CODE: Final = "PIN or door code"
SEED: Final = "seed phrase"
BACKUP: Final = "backup codes"
BASIC: Final = "Basic auth"
IN_URL: Final = "password in a URL"
COMMAND: Final = "password in a command"
JWT: Final = "JSON web token"
HOOK: Final = "address of a webhook"
WIFI: Final = "Wi-Fi password"
MANIFEST: Final = "value of a Kubernetes Secret"
TOO_MANY: Final = "rest of a text with too many words for secrets to judge each"

WORDS_JUDGED: Final = 100_000
"""Of one text. It takes one in ten characters to have more, which nobody writes. What is behind them counts as a
secret: none may hide there, and looking at each would take longer than anybody waits."""


SENSITIVE_WORDS: Final = (
    "password, passphrase, passcode, PIN, token, secret, credential, login, API or access key"
)
"""What `speaks_of_secrets` looks for, each also in the plural."""

_SPOKEN = re.compile(
    r"(?<![^\W_])(?:pass[ -]?(?:word|phrase|code)|pin|token|secret|credential|log-?in|(?:api|access)[ _-]?key)s?"
    r"(?![^\W_])",  # within STRIPE_SECRET_KEY too
    re.IGNORECASE,
)


def speaks_of_secrets(text: str) -> bool:
    """Whether a text has a word for a secret in it, in English."""
    return _SPOKEN.search(text) is not None


ASKED_CHARS: Final = 160
"""The end of a turn: its last sentence says what is asked for."""
_ASKS_FOR = re.compile(
    r"(?i)(?:\b(?:your|the|dein|ihr|votre|ton|tu|su|la tua|la sua|sua|seu|uw|jouw|je|twoje|twój|ditt|din|ваш|твой"
    r"|jūsų|tavo)(?: [\w-]{1,16}){0,2}[ -]|您的|你的)"
    r"(?:(?P<code>pin|pin-код|пин-код)(?!\w)(?! ?code)|(?:pass ?word|pass ?code|pass ?phrase|wi-?fi key|passwort"
    r"|kennwort|mot de passe|contraseña|clave|senha|password|wachtwoord|hasło|lösenord|пароль|slaptažodis|密码|密碼)"
    r"(?![a-z])(?! (?:manager|policy|rule|reset|length|field|hint)))"
    r"(?P<rest>[^.?!？。\n]{0,60})(?P<end>[?？:：.]?)\s*\Z"
)
_TELLS = re.compile(
    r"(?i)\b(?:tell|give|enter|type|send|need|provide|share|nenn\w*|sag\w*|gib|geben|donne\w*|dites?|dime|escrib\w*|dimmi|diga|podaj"
    r"|geef|ange|назовите|скажи\w*|введите)\b|请|請"
)

_CLAUSE_ENDS = re.compile(r"[.?!,;:。？！，；：¿\n—–]")
_ASKS_ABOUT = re.compile(
    r"(?i)\s*(?:(?:and|so|but|und|aber|et|y|e|och|en|и)\s+)?(?:"
    r"where|when|who|whose|whom|why|how|which(?! is\b)|(?:what|for what) (?:site|app|account|page|service|program|tool)"
    r"|did|does|has|had"
    r"|wo|wann|wer|wem|warum|wieso|woher|wohin|wof[üu]r|wie (?:viele?|oft|lange?|alt|wird|wurde)"
    r"|welche[mnrs]?(?! (?:ist|lautet)\b)|waar|wanneer|waarom|hoe (?:vaak|lang|oud)|welke?(?! is\b)"
    r"|où|quand|qui|pourquoi|combien|d[óo]nde|cu[áa]ndo|qui[ée]n|por qu[ée]|cu[áa]nt[oa]s?"
    r"|dove|quando|chi|perch[éè]|quant[oiae]|onde|quem|gdzie|kiedy|kto|dlaczego"
    r"|var|hvor|n[åä]r|vem|hvem|varför|где|когда|кто|почему|зачем|сколько|kur|kada|kodėl"
    r")(?!\w)"
)
"""How a question begins that is about a password and asks for something else: a place, a time, somebody, a number."""
_OF_SOMETHING_ELSE = re.compile(r"(?i)\s*(?:for|from|about)|.*(?:哪里|哪裡|哪儿|在哪).*")
"""What stands behind the word then: `What is your password for?`"""
_ASKS_VALUE = re.compile(
    rf"{_TELLS.pattern}|\b(?:what(?:['’]s| is| was| your)|spell\w*|was ist|wie lautet|quel(?:le)? est|cu[áa]l es"
    r"|qual [èeé]|wat is|jakie jest|vad är|какой)\b"
)
"""What asks for the password itself, whatever the question begins with."""


def asks_for(text: str) -> str:
    """What a turn asks somebody to tell, `password` or `PIN`; empty for nothing."""
    end = text[-ASKED_CHARS:]
    match = _ASKS_FOR.search(end)
    if not match or not (match["end"] in ("?", "？", ":", "：") or _TELLS.search(end)):
        return ""
    if match["end"] in ("?", "？"):
        clause = _CLAUSE_ENDS.split(end[: match.start()])[-1] + match[0]
        about = _ASKS_ABOUT.match(clause) and not _ASKS_VALUE.search(clause)
        if about or _OF_SOMETHING_ELSE.fullmatch(match["rest"].rstrip()):
            return ""
    return "PIN" if match["code"] else "password"


def told_secrets(text: str, *, lines: bool = False) -> Iterator[Place]:
    """The secrets that a text tells; places may overlap.

    Args:
        lines: also what follows the name of a password, to the end of its line: more than a secret, where none may be
            shown.
    """
    # The one letter whose lower case is longer than itself would shift every place behind it.
    text = text.replace("\u0130", "I")
    low = text.lower()
    places, unjudged = _places(low)
    if not places:
        return
    if unjudged:
        yield unjudged, len(text), TOO_MANY
    yield from _beside_names(text, low, places)
    yield from _in_sentences(text, low, places)
    yield from _in_tables(text, low, places)
    yield from _codes(text, low, places)
    yield from _phrases(text, low, places)
    yield from _in_commands(text, places)
    if lines:
        for _, end in _ends(low, places, {**_PASSWORDS, **_SEEDS}):
            if match := _PHRASE.match(text, end):
                yield match.start(1), match.end(1), TOLD


Places = Mapping[str, Sequence[int]]
"""Where words begin."""


def _places(low: str) -> tuple[Places, int]:
    """Where words begin, and from where on they are not judged; 0 where all are."""
    places: dict[str, list[int]] = {}
    words = 0
    for start, word in _FINDER.places(low):
        words += word[0].isalpha()  # not rows of dashes and lists of addresses
        if words > WORDS_JUDGED:
            return places, start
        places.setdefault(word, []).append(start)
    return places, 0


def _ends(low: str, places: Places, words: Mapping[str, bool]) -> Iterator[tuple[int, int]]:
    """Where words of a list begin and end."""
    for stem in words.keys() & places.keys():
        inflected, whole = words[stem], stem.isascii() or (stem[0].isalpha() and ord(stem[0]) < 0x590)
        for start in places[stem]:
            end = start + len(stem)
            before = low[start - 1 : start]
            if not whole or (not (before.isalnum() and len(stem) < 8) and before not in (":", "/", "@", "_")):
                if inflected:
                    limit = end + 5
                    while end < limit and low[end : end + 1].isalpha():
                        end += 1
                if not whole or not (low[end : end + 1].isalnum() or low[end : end + 1] == "_"):
                    yield start, end


def _words(listed: str) -> dict[str, bool]:
    """The words of a list with `;` between them, and whether they may have an ending (written `~`)."""
    words: dict[str, bool] = {}
    for word in listed.split(";"):
        plain = " ".join(word.split())
        stem = plain.rstrip("~")
        words[stem] = words.get(stem, False) or stem != plain
    return words


# --- beside its name: `JIRA_API_TOKEN=…`, `"client_secret" : "…"`, `password: …`

_NAMES: Final = (
    "pass", "pw", "pasw", "secret", "token", "key", "auth", "cred", "_pat", "contrase", "senha", "haslo", "heslo",
)  # fmt: skip
_ASSIGNED = re.compile(
    r"""[\w.\\ -]{0,40}?(?:\\{0,3}["'`\]]){0,3}"""
    r"""(?P<pair>[ \t\r\n,{]{1,40}["']?(?:value|default|params)["']?)?[ \t]{0,8}"""
    r"""(?::{1,3}=|=>|->|\?=|\.=|!?==?|:|>|\|\||[ ]-[ ]|(?<=["']),|,(?=[ ]["'])|[ ](?=["']))"""
    r"""(?:[ \t]{9,40}|[ \t\r\n]{0,8})(?:(?:new|String|str|string)\b[ (]{0,2}(?:=[ ])?)?"""
    r"""(?:\[\s?)?(?:\\{0,3}["'`]){0,3}(?:(?<=["'])[ ])?"""
    r"""(?P<value>(?:[^\s"'`<>,;\\|]|\\_){6,100})"""
)
_REST = re.compile(r"""[^\s"'`<>,;\\|]+""")
"""Of a value longer than what is needed to judge it."""
_IS_A_NAME = re.compile(r"""\\?["'`][ \t]{0,8}:(?![:=])""")
"""Behind what is itself the name of the next value: `"api-key", "c098f218-…": …`."""
_NO_KEY: Final = (
    r"key[ _-]?(?:board|stone|note|word|frame|hole|pad|stores?|paths?|files?|names?|ids?|types?|size|len"
    r"|length|code|usage"
    r"|events?|down|up|press|hash|fingerprint|index|idx|chain|space|map|pair|alias|ring|ref|vault)(?![a-z])"
    r"|(?:primary|foreign|host|accept|websocket|issue|style|measurement|tracking|cache|sort|partition|object|row|dict|map|index|hot|shortcut|i18n|translation|message|event"
    r"|registry|answer|lookup|group|idempotency|s3|storage|etag|column|config|session|restore|site"
    r"|publishable)[ _-]?key"
    r"|(?:hash|hashed|digest|checksum|md5|sha-?\d{0,3}|integrity|crc)[ _-]?(?:\w{0,10}[ _-])?(?:key|token|secret|pass)"
    r"|(?:key|token|secret|pass\w{0,5})[ _-]?(?:hash|digest|checksum|md5|sha-?\d|version|integrity)"
    r"|(?:page|next|continuation|resume|cancell?ation|sync|cursor|public)[ _-]?token"
    r"|public[ _-]?api[ _-]?(?:key|token)"
    r"|tokens?[ _-]?(?:count|limit|budget|usage|type|length)|pass(?:@| rate)"
)
"""What something is found or checked by, or what everybody may know."""
_NO_KEY_NAME = re.compile(f"(?i){_NO_KEY}")
_NO_SECRET_NAME = re.compile(
    rf"(?i){_NO_KEY}|credentials?_?-?id|pub(?:lic)?[ _-]?key|signature|author|monkey|turkey|tokeni[sz]|secretary"
    r"|compass|bypass|keying|max[_ ]?tokens|token[_ ]?(?:count|limit|type|usage|ur[li]|endpoint|ids?)(?![a-z])"
    r"|pass(?:enger|ive|age|ed|ing|port)|authori[tz]|authentic|secret[_-]?(?:name|id|arn|ref|length|type|path|manager)"
)
_KEPT_SECRET = re.compile(
    r"(?i)api|secret|token|pass|auth|access|private|client|cred|licen[cs]e|service|account"
)
"""Beside these a uuid is a key; beside `key` alone it is what something is found by."""
_INSIDE_A_WORD = re.compile(r"pwd?[a-z]|_pat[a-z]")
_PASSWORD_NAME = re.compile(r"pass|pwd|pw(?![a-z])|pasw|contrase|senha|haslo|heslo")
_AT_A_HOST = re.compile(r"[^@]+@[\w.-]+(?::\d{2,5})?/.*")
"""The end of an address whose user is named like a key: `_USERINFO` judges its password."""
_IN_A_QUERY = re.compile(r"[?&#][\w%.-]*\Z")
"""Before a name in an address: its value ends where the next one begins."""
_CLOSERS: Final = ".)]}?!:*"


def _beside_names(text: str, low: str, places: Places) -> Iterator[Place]:
    behind = 0
    for start in sorted(start for name in _NAMES for start in places.get(name, ())):
        if (
            start < behind
            or _INSIDE_A_WORD.match(low, start)
            or not (match := _ASSIGNED.match(text, start + 2))
        ):
            continue
        value = match["value"].rstrip(_CLOSERS)
        if _IN_A_QUERY.search(text, max(0, start - 30), start):
            value = value.split("&", maxsplit=1)[0]
        named_to = match.start("pair") if match["pair"] else match.start("value") - 1
        name = re.split(r"[\n,;{(]", text[max(0, start - 30) : named_to])[-1]
        plain = value.replace("\\_", "_")
        if (is_uuid(plain) and not _KEPT_SECRET.search(name)) or _AT_A_HOST.fullmatch(plain):
            continue
        if (inside := text_in_base64(plain)) and is_placeholder(inside):
            continue
        if is_machine_made(plain) or (_PASSWORD_NAME.match(low, start) and is_password(plain)):
            # The name last, as in `_in_sentences`.
            if _IS_A_NAME.match(text, match.end()) or _NO_SECRET_NAME.search(name):
                continue
            whole = _REST.match(text, match.end())
            behind = whole.end() if whole else match.start("value") + len(value)
            yield match.start("value"), behind, KEY


# --- in a sentence: `my password is …`, in the languages people write to assistants in

_PASSWORDS: Final = _words(
    """
    password; passwords; pass word; passphrase; pass phrase; passcode; pwd; pw; passwort; kennwort~;
    zugangsdaten; mot de passe; mots de passe; mdp; contraseña~; contrasena~; clave; senha;
    palavra-passe; palavra passe; parola; parolă; parola~; wachtwoord; hasło; hasła; haslo; lösenord~;
    losenord~; adgangskode~; passord~; kodeord~; şifre~; sifre~; heslo; hesla; salasana~; jelszó~;
    jelsz~; mật khẩu; mat khau; kata sandi~; geslo; lozinka; parole; paroli; slaptažod~; parool; wi-fi key; wifi key;
    wifi code; network key; wlan-schlüssel; wifi-schlüssel; clé wifi; clé du wifi; chiave wifi; chiave
    del wifi; clave del wifi; парол~; κωδικ~; συνθηματικ~; パスワード;
    暗証番号; 密码; 密碼; 口令; 비밀번호; 암호; كلمة
    المرور; كلمة السر; كلمة سر; كلمة مرور; סיסמ~; पासवर्ड; รหัสผ่าน
    """
)
_KEYS: Final = _words("pass; token; api key; api keys; access key; secret key; key; apikey; credentials")
_LOGINS: Final = _words("login; logins; creds; credentials")
"""Who somebody is, and nothing secret, unless a password follows."""
_IS: Final = (
    r"(?:(?<!\w)(?:is|was|to|be|are|it['’]?s|ist|lautet|war|est|c['’]est|était|es|era|è|é|e|jest|ä?r|är|er|je|on|este"
    r"|adalah|là|la|είναι|это|це|yra|ir)(?!\w)|['’]s(?!\w)|[:=：]|[–—-](?=\s)|は|是|為|为|는|은|हैं?|هي|هو|היא|הוא|คือ)"
)
_QUOTE: Final = "\"'`“”„«»「」‘’*"
_SIGN: Final = "!-~À-ɏ"
"""What passwords are written in: ASCII, and Latin letters with marks."""
_AFTER = re.compile(
    rf"(?:[^.\n?!;:=：。]|\.(?=\w)){{0,40}}?[?]? ?{_IS}[ \t]{{0,3}}[{_QUOTE}]{{0,3}}([{_SIGN}]{{4,64}})"
)
_BEHIND_WORDS = re.compile(
    rf"(?:[ \t][^\W\d_]{{1,16}}(?:-[^\W\d_]{{1,12}})?){{0,6}}[ \t]{{1,2}}"
    rf"((?=\S{{0,60}}\d)(?![a-z]+#\d+(?:\W|\Z))(?=[^\s!#$%&*+?]{{1,40}}[!#$%&*+?][^\s!#$%&*+?=]{{1,40}}(?:\s|[.,]|\Z))[{_SIGN}]{{6,64}})"
)
"""A value without a word such as `is` before it, as in languages that have none; with a sign that no name has."""
_OWNED = re.compile(
    r"(?i)(?<!\w)(?:my|our|meine?|unsere?|mon|mes|notre|mis?|nuestra|la mia|mio|minha|nossa|mijn|ons|moje|nasze|min"
    r"|mitt|vår|benim|mano|mans|mana|мой|наш|мій)(?: \w{1,16}){0,2} \Z"
)
_OF_WHAT = re.compile(
    rf",| ?{_IS}| (?:for|to|at|on|of|von|vom|für|fürs|zu|zum|zur|del?|della|di|para|pour|du|da|do|voor|van|til|till"
    r"|od|от|від|к|до)\b"
)
"""Behind the word for a password: not `password manager`."""
OWNER_CHARS: Final = 40
"""Before the word for a password, that say whose it is."""
_DIRECT = re.compile(rf"[ \t:]{{0,3}}[{_QUOTE}]{{0,3}}([^=<>?.,;:)\]}}\s{_QUOTE}-][!-~]{{5,63}})")
_WORD_OF_A_LIST = re.compile(r"[A-Z]?[a-z]+\d{1,2}")
"""Behind `key` without `is`: `Key Features1`, as pages number them."""
_PAIR = re.compile(r"[ \t:]{0,3}(?:is |are )?[\w.@-]{2,40} ?/ ?([!-~]{6,64})")
_PAIR_BEHIND_WORDS = re.compile(
    r" (?:for|to|on|of|für|fürs|zum|pour|para|per|voor|do|till)(?: [\w'’-]{1,20}){1,4}?:?"
    r"(?: (?:is|are|to|as|ist|lautet|est|es|è|é))? [\w.@-]{2,40} / ([!-~]{6,64})"
)
"""`login for the router to ruta / …`; without blanks it may be an address."""
_PAIR_OF_LINES = re.compile(
    r"[ \t]{0,3}:[ \t]{0,8}\n[ \t]{0,8}[\w.@-]{2,40}[ \t]{0,8}\n[ \t]{0,8}([!-~]{6,64})(?=\s|\Z)"
)
"""Who, and his password, each on a line of its own."""
_AS_MY = re.compile(r"(?i)(?<!\S)([!-~]{6,64}) as (?:my|our|the|a) (?:pass ?word|pass ?phrase|pass ?code)\b")
_PASSPHRASES: Final = _words("passphrase; pass phrase")
_QUOTED_PHRASE = re.compile(
    rf"[^\n.?!]{{0,40}}?[{_QUOTE}]([a-zA-Z]{{2,12}}(?:[ -][a-zA-Z]{{2,12}}){{2,7}})[{_QUOTE}]"
)
_CODE_BEHIND: Final = {2: ("(", "_"), 3: ("(", "_", "-", "=", '"', "'", ">")}
"""What follows a word in code; `_beside_names` looks there. By the kinds of letters that a value must have."""
_ENDING: Final = ".,;:?)]}>" + _QUOTE
_CLOSED = re.compile(
    r"[\"`“”«»]|</|\A\\[nrt]"
    r"|\\[nrt](?=(?:[A-Za-z_.]*|[\w-]+:|\d[.)])[,:;?)\]}>*#-]{0,3}(?:\Z|[\"'`“”«»]|\\[nrtu\"'\\]))"
)
"""Within what follows a name: the value ends here, and the rest is markup or another value.

So does `\\n` where a plain word or more of an escaped text follows; else it is a backslash and a letter of a password.
"""
_IN_AN_ADDRESS = re.compile(r"(?:://|%20)\S*\Z")
ADDRESS_CHARS: Final = 200
"""Before a name that are looked at for the address it stands in."""


def _in_sentences(text: str, low: str, places: Places) -> Iterator[Place]:
    patterns = (_AFTER, _DIRECT, _PAIR)
    for words, kinds, tried in (
        (_PASSWORDS, 2, (*patterns, _BEHIND_WORDS)),
        (_KEYS, 3, patterns),
        (_LOGINS, 3, (_PAIR, _PAIR_BEHIND_WORDS, _PAIR_OF_LINES)),
    ):
        for start, end in _ends(low, places, words):
            if text[end : end + 1] in _CODE_BEHIND[kinds]:
                continue
            for pattern in tried:
                if match := pattern.match(text, end):
                    value = _CLOSED.split(match[1], maxsplit=1)[0].rstrip(_ENDING)
                    if value.endswith("!") and not any(map(str.isdigit, value)):
                        continue
                    if "%20" in value and _IN_AN_ADDRESS.search(text, max(0, start - ADDRESS_CHARS), start):
                        continue  # a sentence within an address
                    needed = max(kinds, 3) if pattern is not _AFTER else kinds
                    if (
                        pattern in (_DIRECT, _PAIR_OF_LINES)
                        and words is not _PASSWORDS
                        and _WORD_OF_A_LIST.fullmatch(value)
                    ):
                        continue
                    plain = value.replace("\\_", "_")
                    if (
                        is_password(plain, kinds=needed)
                        or (words is _KEYS and is_machine_made(value))
                        or (
                            words is _PASSWORDS
                            and pattern is _AFTER
                            # `my password is blue_kettle_92`: elsewhere this is what something is called
                            and is_password(re.sub("[_-]", "", plain))
                            and _OF_WHAT.match(text, end)
                            and _OWNED.search(text, max(0, start - OWNER_CHARS), start)
                        )
                    ):
                        # The name last: in a text full of names, it takes longer than the value that most of them lack.
                        if not _NO_KEY_NAME.search(text, max(0, start - 20), end + 8):
                            yield match.start(1), match.start(1) + len(value), TOLD
                        break
    for _, end in _ends(low, places, _PASSPHRASES):
        if match := _QUOTED_PHRASE.match(text, end):
            yield match.start(1), match.end(1), TOLD
    for start in places.get(" as ", ()):
        since = max(0, start - 70)
        match = _AS_MY.match(
            text, max(since - 1, text.rfind(" ", since, start), text.rfind("\n", since, start)) + 1
        )
        if match and is_password(match[1].strip(_ENDING)):
            yield match.start(1), match.end(1), TOLD


_RULE: Final = frozenset("|:- \t\r")
"""Below the names of a table's columns."""
TABLE_ROWS: Final = 200
CELLS: Final = 20
ROW_CHARS: Final = 1_000


def _in_tables(text: str, low: str, places: Places) -> Iterator[Place]:
    """The cells of a column that is called password."""
    behind = 0
    for start, end in sorted(_ends(low, places, _PASSWORDS)):
        first, last = (
            text.rfind("\n", max(0, start - ROW_CHARS), start) + 1,
            text.find("\n", end, end + ROW_CHARS),
        )
        if start < behind or last < 0 or "|" not in text[first:last]:
            continue
        below = text.find("\n", last + 1, last + 1 + ROW_CHARS)
        if "--" not in (rule := text[last + 1 : max(last, below)]) or set(rule) - _RULE:
            continue
        column, behind = text.count("|", first, start), below
        for _ in range(TABLE_ROWS):
            begin = behind + 1
            behind = text.find("\n", begin, begin + ROW_CHARS)
            behind = min(len(text), begin + ROW_CHARS) if behind < 0 else behind
            cells = text[begin:behind].split("|", maxsplit=CELLS)
            if len(cells) <= max(1, column):
                break
            value = cells[column].strip(" \t\r*`")
            if not re.search(r"\s", value) and is_password(value):
                at = text.index(value, begin + sum(map(len, cells[:column])) + column)
                yield at, at + len(value), TOLD


# --- codes of digits

_PLACES: Final = "door gate alarm entry access lock garage safe entrance vault keypad lockbox building"
_CODES: Final = {
    **{f"{place} {what}": False for place in _PLACES.split() for what in ("code", "combination", "pin")},
    **_words(
        """
    pin; pins; pin code; pin-code; pincode; pin number; passcode; geheimzahl; digicode; code pin;
    pin-kod~; türcode; tür-code; zugangscode; alarmcode; code de la porte; code d'entrée; code
    d’entrée; code du portail; code de l'immeuble; code de l'alarme; code d'accès; código de la puerta;
    código del portal; código de acceso; código de la alarma; clave del portal; clave de la puerta;
    clave de la alarma; pin de la tarjeta; código da porta; código do portão; código de acesso; código
    do alarme; pin do cartão; codice del portone; codice della porta; codice del cancello; codice di
    accesso; codice dell'allarme; pin della carta; pin del bancomat; deurcode; toegangscode; kod do
    drzwi; kod do bramy; kod do klatki; kod do domofonu; kod do alarmu; portkod~; dörrkod~; dørkode~;
    kapı kodu; kapı şifresi; codul de la; ovikoodi~; kapukód~; пин-код~; пин код~; пинкод~; код от
    двери; код от подъезда; код от домофона; код от сейфа;
    код двери; код домофона; clave del banco; clave de la tarjeta; clave de mi tarjeta; clave del cajero;
    contraseña del banco; contraseña de la tarjeta; senha do cartão; senha do banco; senha da conta; code de la carte;
    code de ma carte; codice della carta; codice del bancomat; kod do karty; şifre~; sifre~; الرقم السري; رقمي السري;
    رقم سري; الرمز السري; 暗証番号; 门禁密码; 门禁码;
    開門密碼; 开门密码; 비밀번호; 비번; 密码; 密碼; パスワード; парол~; пароль
    """
    ),
}
_CODE_AFTER = re.compile(
    rf"(?:[^.\n?!;:=：。\d]{{0,24}}?[?]? ?{_IS}|[^.\n?!;:=：。\d]{{0,10}})[ \t]{{0,3}}[{_QUOTE}]{{0,3}}"
    r"((?:\d{1,3}-){2,4}\d{1,3}|\d[\dA-Z-]{2,10}[A-Z*#]?)(?![A-Za-z.,%/-]{0,3}\d|[A-Za-z_%])"
)
_COUNTED = re.compile(
    r"(?i)[ \t]*(?:characters?|chars?|digits?|letters?|zeichen|stellen|caract[èe]res|znak|tecken|tegn|символ|文字"
    r"|桁|位|자"
    r"|ký tự|times|years?|mm|cm|kb|mb|bits?)"
)
_YEAR = re.compile(r"(?:19|20)\d\d(?:-\d{1,2}){0,2}")
_CARD_CODES: Final = _words("security code; cvv; cvc")
_BARE_PIN = ("pin", "pins")
_CVV = re.compile(r"[^.\n?!\d]{0,30}?(?:is|was|[:=]) {0,3}(\d{3,4})(?!\d)")


_PHRASE = re.compile(
    rf"(?:[^.\n?!;:=：]|\.(?=\w)){{0,40}}?[?]? ?{_IS}[ \t]{{0,3}}[{_QUOTE}]{{0,3}}([^\s][^\n]{{3,200}})"
)


def _codes(text: str, low: str, places: Places) -> Iterator[Place]:
    for start, end in _ends(low, places, _CODES):
        match = _CODE_AFTER.match(text, end)
        if not match or _COUNTED.match(text, match.end(1)) or _YEAR.fullmatch(match[1]):
            continue
        between = text[end : match.start(1)]
        if low[start:end] in _BARE_PIN and not (
            (text[start:end].isupper() or "my " in low[max(0, start - 10) : start]) and between.strip()
        ):
            continue  # `pin 4827 of the board`
        if sum(map(str.isdigit, match[1])) >= 4:
            yield match.start(1), match.end(1), CODE
    for _, end in _ends(low, places, _CARD_CODES):
        if "card" in low[max(0, end - 60) : end + 40] and (match := _CVV.match(text, end)):
            yield match.start(1), match.end(1), CODE


# --- phrases that restore a wallet or an account

_SEEDS: Final = _words(
    """
    seed phrase; seed words; recovery phrase; mnemonic phrase; mnemonic; wallet phrase; backup phrase;
    frase semilla; frase de recuperación; phrase de récupération; frase di recupero;
    wiederherstellungsphrase; seed-phrase; сид-фраз~; сид фраз~; 助记词; シードフレーズ; 시드 문구
    """
)
_TWELVE_WORDS = re.compile(
    r"[^\n]{0,40}?[:=]?\s{0,3}[\"'`“]?((?:(?:\d{1,2}[.)] ?)?[a-z]{3,8}(?:, ?|[ \n]{1,3})){11,23}[a-z]{3,8})\b"
)
_SENTENCE: Final = frozenset(
    _words(
        """
        the; and; you; your; that; this; with; must; never; not; are; for; was; were; have; has; from; they; which;
        what; when; words; word; phrase; consists; should; share; anybody; keep; safe; store; write; down; where
        """
    )
)
"""Words of ordinary sentences, which no such phrase consists of."""
_BACKUPS: Final = _words("backup codes; backup code; recovery codes; recovery code; 2fa codes")
_BACKUP_CODES = re.compile(r"[^\n]{0,20}?((?:[0-9a-z]{4,5}-[0-9a-z]{4,5}[ ,\n]{0,3}){2,20})")


def _phrases(text: str, low: str, places: Places) -> Iterator[Place]:
    for _, end in _ends(low, places, _SEEDS):
        if (match := _TWELVE_WORDS.match(text, end)) and not _SENTENCE & set(re.findall(r"[a-z]+", match[1])):
            yield match.start(1), match.end(1), SEED
    for _, end in _ends(low, places, _BACKUPS):
        if (match := _BACKUP_CODES.match(text, end)) and sum(map(str.isdigit, match[1])) >= 6:
            yield match.start(1), match.end(1), BACKUP


# --- in commands, headers, addresses and tokens

_USERINFO = re.compile(r"://([^\s:/@\"'<>]{0,80}):([^\s/@\"'<>]{3,100})@[\w.\[-]")
_MAIL_USERINFO = re.compile(r"://([^\s:/@\"'<>]{1,60}@[\w.-]{3,60}):([^\s/\"'<>]{4,60})@[\w-]{1,60}\.\w")
"""Whose user is an e-mail address."""
_OF_USERS = re.compile(r"(?i)[-_.]?user(?:name)?[-_.]?")
_OF_PASSWORDS = re.compile(r"(?i)[-_.]?(?:pass(?:word|wd)?|pw|pwd|secret)[-_.]?")
_BASIC_HEADER = re.compile(r"basic ([A-Za-z0-9+/]{8,200}={0,2})(?![A-Za-z0-9+/=])", re.IGNORECASE)
_PLAIN_PAIR = re.compile(r"[!-~]{1,60}:[ -~]{3,80}")
_COMMANDS: Final = tuple(
    (word, re.compile(form, re.IGNORECASE))
    for word, form in (
        ("curl", r"curl\b[^\n]{0,120}? (?:-u|--user)[ =]?[\"']?[^\s:\"']{0,60}:([^\s\"']{3,80})"),
        ("mysql", r"mysql(?:dump)?\b[^\n]{0,80}? -p([^\s-]\S{4,60})"),
        ("sshpass", r"sshpass -p ?[\"']?([^\s\"']{4,60})"),
        ("docker login", r"docker login\b[^\n]{0,80}? -p (\S{6,200})"),
        ("--", r"--(?:password|passwd|token|secret|api-key)[ =][\"']?([^\s\"'-][^\s\"']{5,200})"),
        (
            "identified by",
            r"identified by (?:[\\]?[\"'](?=[^\s\"'`\\;]+[\\]?[\"'])|(?=\w*\d))([^\s\"'`\\;]{6,80})",
        ),
        ("password ", r"password [\\]?[\"'`]([^\s\"'`\\]{6,80})[\\]?[\"'`]"),
        ("#define ", r"#define \w{0,40}pass\w{0,40}[ \t]{1,40}\"([^\s\"]{6,80})\""),
        ("#define ", r"#define \w{0,40}(?:key|token|secret)[ \t]{1,40}\"((?=\D{0,80}\d)[\w+/=-]{20,80})\""),
        (
            "credential",
            r"credentials?\w{0,12}\([^()\"']{0,20}[\"'][^\n\"']{0,120}[\"'],\s{0,20}[\"']([^\s\"']{6,100})[\"']",
        ),
        (
            "directoryentry",
            r"directoryentry\((?:\s{0,20}[\"'][^\n\"']{0,120}[\"'],){2}\s{0,20}[\"']([^\s\"']{6,100})[\"']",
        ),
        ("basicauth", r"basicauth\([\"'][^\n\"']{1,80}[\"'], {0,4}[\"']([^\s\"']{6,100})[\"']"),
        ("vapid", r"vapid\w{0,20}\([^()]{0,300}?[\"'`]([\w-]{43})[\"'`]"),
        ("psexec", r"psexec(?:64)?(?:\.exe)?\b[^\n]{0,120}? -p [\"']?([^\s\"'%$-][^\s\"']{3,80})"),
        ("operator unseal", r"operator unseal ([\w+/-]{20,100}=*)"),
        ("approle", r"approle\b[^;]{0,200}?\bsecret_id[\"']?[=:] ?[\"']?([0-9a-f-]{36})\b"),
        (
            "crypto.tink.",
            r"crypto\.tink\.(?!\w*public)\w{3,40}[\\\"]{1,4}\s{0,8},\s{0,8}[\\\"]{1,4}value[\\\"]{1,4}\s{0,4}:\s{0,4}[\\\"]{1,4}([a-z\d+/=]{16,400})",
        ),
        # As Jenkins and Maven keep them.
        *(
            (f"{name}>{{", rf"{name}>\{{(?:[\w.@:-]{{0,60}} ){{0,3}}([^\s{{}}<>]{{10,300}})\}}</")
            for name in ("secret", "password", "passphrase", "token", "master")
        ),
        # As `.netrc` and its like keep them.
        ("machine ", r"machine \S{1,100}\s{1,20}login \S{1,80}\s{1,20}password ([^\s\"'\\]{4,100})"),
    )
)
_WIFI = re.compile(
    r"wifi:(?:[ahirst]\w{0,4}:(?:[^;\\\n]|\\.){0,64};){0,6}p:((?:[^;\\\n]|\\.){4,64});", re.IGNORECASE
)
"""As the square codes beside a counter hold it."""
_SCRAMBLED = re.compile(r"\w{0,20}\\?[\"']?\]?\s{0,3}[:=]\s{0,3}[\"']([^\s\"'\\]{32,120})[\"']")
_WEBHOOK = re.compile(
    r"://[\w.-]{3,100}(?::\d{1,5})?/(?:[\w.@%-]{1,100}/){0,6}?(?:incoming)?web-?hooks?/([\w@/-]{20,300})",
    re.IGNORECASE,
)
"""Whoever has the address may send: what stands behind the word is the key."""
SEGMENT_CHARS: Final = 20
_MANIFEST = re.compile(r"(?:^|\n)[ \t-]*[\"']?kind[\"']?[ \t]*:[ \t]*[\"']?\Z", re.IGNORECASE)
_KIND_ENDS = re.compile(r"[\"'\s]|\Z")
"""Behind `secret`: `SecretStore` is another kind."""
_DATA = re.compile(r"^([ \t]*)(?:- )?data:[ \t]*\n((?:\1[ \t]+\S.*\n?)+)", re.MULTILINE)
_ENCODED = re.compile(
    r"^[ \t]+[\"']?[\w.-]+[\"']?:[ \t]*(?:[|>][-+]?[ \t]*\n[ \t]*)?[\"']?"
    r"((?:[A-Za-z0-9+/]{4}){3,}={0,2}|(?:[A-Za-z0-9+/]{4}){2,}[A-Za-z0-9+/]{2,3}={1,2})[\"']?[ \t]*$",
    re.MULTILINE,
)
MANIFEST_CHARS: Final = 4_000
"""Of a manifest before and behind the line that says what kind it is."""
_JWT = re.compile(r"eyJ[\w-]{8,2000}\.eyJ[\w-]{8,4000}+(?:\.[\w-]{10,1000}|(?!\.[a-z]{1,9}(?![\w-])))")
"""Not `eyJ….eyJ….signature`, which shows where the third part belongs."""


_FINDER: Final = WordFinder(
    (
        *_NAMES, *_PASSWORDS, *_KEYS, *_LOGINS, *_CODES, *_CARD_CODES, *_SEEDS, *_BACKUPS,
        *(word for word, _ in _COMMANDS), "://", "basic ", "eyj", " as ", "wifi:",
    )
)  # fmt: skip


def _in_commands(text: str, places: Places) -> Iterator[Place]:
    for start in places.get("://", ()):
        match = _USERINFO.match(text, start) or _MAIL_USERINFO.match(text, start)
        if match and len(match[2]) >= 4 and _is_given_in_url(*match.groups()):
            yield match.start(2), match.end(2), IN_URL
        elif (hook := _WEBHOOK.match(text, start)) and any(map(_is_long_id, hook[1].split("/"))):
            yield hook.start(1), hook.end(1), HOOK
    yield from _in_manifests(text, places)
    for start in places.get("basic ", ()):
        if (match := _BASIC_HEADER.match(text, start)) and _is_pair(match[1]):
            yield match.start(1), match.end(1), BASIC
    for word, pattern in _COMMANDS:
        for start in places.get(word, ()):
            match = pattern.match(text, start)
            if match and _is_given(match[1]):
                yield match.start(1), match.end(1), COMMAND
    for start in places.get("wifi:", ()):
        if (
            (match := _WIFI.match(text, start))
            and not is_placeholder(match[1])
            and not match[1].startswith(("$", "{", "<"))
        ):
            yield match.start(1), match.end(1), WIFI
    for word in ("secret", "password"):
        for start in places.get(word, ()):
            match = _SCRAMBLED.match(text, start + len(word))
            if match and is_scrambled(match[1]):
                yield match.start(1), match.end(1), KEY
    for start in places.get("eyj", ()):
        if match := _JWT.match(text, start):
            yield match.start(), match.end(), JWT


def _in_manifests(text: str, places: Places) -> Iterator[Place]:
    """The values of Kubernetes Secrets, each written in base64."""
    read = 0
    for start in places.get("secret", ()):
        if (
            start < read
            or not _KIND_ENDS.match(text, start + len("secret"))
            or not _MANIFEST.search(text, max(0, start - 30), start)
        ):
            continue
        begin = max(read, start - MANIFEST_CHARS, text.rfind("\n---", max(0, start - MANIFEST_CHARS), start))
        end = text.find("\n---", start, start + MANIFEST_CHARS)
        read = end if end >= 0 else start + MANIFEST_CHARS
        for block in _DATA.finditer(text, begin, read):
            for value in _ENCODED.finditer(text, *block.span(2)):
                yield value.start(1), value.end(1), MANIFEST


def _is_long_id(segment: str) -> bool:
    return len(segment) >= SEGMENT_CHARS and (is_uuid(segment) or is_machine_made(segment))


def _is_given_in_url(user: str, value: str) -> bool:
    plain = unquote(value)
    # `postgres:postgres`, `user:pass%20word`, `proxyuser:proxypass`
    shown = plain == user or (user == "user" and plain.startswith("pass")) or _are_named_alike(user, plain)
    # `://[^:]+:(.*?)@` is the form of an address, and `mailto:` none that has a password.
    formal = user == "mailto" or user.startswith("[^") or value.startswith("(")
    return not shown and not formal and not value.startswith(("$", "{")) and not is_placeholder(value)


def _are_named_alike(user: str, password: str) -> bool:
    names = _OF_USERS.sub("", user), _OF_PASSWORDS.sub("", password)
    return names[0] == names[1] and names[0] != user and names[1] != password


def _is_given(value: str) -> bool:
    return (
        not is_placeholder(value)
        and not value.startswith(("$", "{", "<"))
        and (any(map(str.isdigit, value)) or not value.isalpha())
    )


def _is_pair(encoded: str) -> bool:
    try:
        pair = base64.b64decode(encoded + "=" * (-len(encoded) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return bool(_PLAIN_PAIR.fullmatch(pair)) and not is_placeholder(pair.partition(":")[2])
