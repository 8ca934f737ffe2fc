"""`probable-secret` and `possible-secret`: keys, tokens and passwords in a text, where they are and what they are.

Kingfisher knows the formats of some hundreds of vendors. It runs in this process and never uses the network: what
it could ask a vendor about a key is not called. It is imported, and its rules are loaded, when the first text has
something in it that could be a key. What no format gives away, `told_secrets` finds.
"""

import functools
import importlib.util
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import anyio.to_thread

from reflexio_mcp.rest.models import Interaction, RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import TEXT_FIELDS, every_text, stored_texts
from reflexio_mcp.traffic.rules.detector import SCANNED_CHARS, Detector, stop_if_cancelled
from reflexio_mcp.traffic.rules.folding import visible
from reflexio_mcp.traffic.rules.found import EXAMPLES
from reflexio_mcp.traffic.rules.roles import is_person
from reflexio_mcp.traffic.rules.secret_heuristics import (
    is_made_up,
    is_placeholder,
    is_uuid,
    is_wording,
    text_in_base64,
)
from reflexio_mcp.traffic.rules.told_secrets import KEY, TOLD, asks_for, speaks_of_secrets, told_secrets

__all__ = [
    "MISSING",
    "Secret",
    "Secrets",
    "asked_for",
    "available",
    "called",
    "find_secrets",
    "is_probable",
    "looked",
    "redact",
    "redact_opening",
    "redact_turn",
    "redact_within",
    "secret_in",
    "secret_in_name",
    "without_end",
    "without_key",
]

MISSING: Final = (
    "keys are not looked for by the formats of their vendors: the package kingfisher-secret-scanner does not run on "
    "this platform; passwords, and keys beside their names, are"
)

_FORMATS: Final = (
    ("Anthropic key", "sk-ant-", r"sk-ant-[a-z]{2,6}\d\d-[\w-]{32,200}"),
    ("OpenAI key", "sk-", r"sk-(?:proj|svcacct|admin)-[\w-]{32,200}"),
    ("Google client secret", "GOCSPX-", r"GOCSPX-[\w-]{28}"),
    ("Hugging Face token", "hf_", r"hf_[A-Za-z0-9]{34}[\w-]{0,200}"),
    ("Telegram bot token", ":AA", r"(?<=\d):AA[\w-]{32,33}"),
    ("Tavily key", "tvly-", r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{32}"),
    ("Netlify token", "nfp_", r"nfp_[A-Za-z0-9]{36}"),
    ("Mailgun key", "key-", r"key-[0-9a-f]{32}"),
    ("Mailchimp key", "-us", r"(?<=[0-9a-f]{32})-us\d{1,2}"),
    ("Pinecone key", "pcsk_", r"pcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{50,70}"),
    ("Cloudflare token", "cfut_", r"cfut_[A-Za-z0-9]{48}"),
    ("Notion token", "ntn_", r"ntn_[0-9]{11}[A-Za-z0-9]{35}"),
    ("Slack token", "xox", r"xox[abeoprs]-(?:\d-)?[\w-]{20,250}"),
    ("Azure client secret", "~", r"(?<=[\w.~-]{3}\dQ)~[\w.~-]{31,34}"),
    ("Doppler token", "dp.", r"dp\.(?:pt|st|sa|ct|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}"),
    ("Stripe webhook secret", "whsec_", r"whsec_[A-Za-z0-9+/]{32,64}"),
    ("New Relic key", "NRAK-", r"NRAK-[A-Z0-9]{27}"),
    ("Packagist token", "packagist_", r"packagist_(?:ack|acs|ort|out|uut)_[0-9a-fA-F]{32,80}"),
    ("Cursor key", "key_", r"key_[0-9a-f]{64}"),
    ("Cursor key", "crsr_", r"crsr_[0-9a-f]{64}"),
    ("Google token", "ya29.", r"ya29\.[\w-]{30,300}"),
    ("Google key", "AQ.", r"AQ\.Ab8R[\w-]{40,60}"),
    ("Supabase key", "sb_secret_", r"sb_secret_[\w-]{22}_[\w-]{8,40}"),
    ("Square secret", "sq0csp-", r"sq0csp-[\w-]{43}"),
    ("Amazon MWS token", "amzn.mws.", r"amzn\.mws\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    ("crates.io token", "cio", r"cio[A-Za-z0-9]{32}"),
    ("Twitch stream key", "live_", r"live_\d{7,12}_[A-Za-z0-9]{30}"),
    ("1Password token", "ops_eyJ", r"ops_eyJ[\w+/-]{200,1500}+={0,2}"),
    ("ElevenLabs key", "sk_", r"sk_[0-9a-f]{48}"),
    ("Sentry token", "sntrys_eyJ", r"sntrys_eyJ[\w+/-]{20,400}={0,2}_[\w+/-]{43}"),
    ("AppSync key", "da2-", r"da2-[a-z0-9]{26}"),
    ("Docker token", "dckr_pat_", r"dckr_pat_[\w-]{27,200}"),
    ("Perplexity key", "pplx-", r"pplx-[A-Za-z0-9]{48}[\w-]{0,200}"),
    ("Heroku token", "HRKU-", r"HRKU-[\w-]{36,60}"),
    ("PostHog key", "phx_", r"phx_[A-Za-z0-9]{43,60}"),
    ("PostHog key", "pha_", r"pha_[A-Za-z0-9]{43,60}"),
    ("Supabase token", "sbp_", r"sbp_(?:v0_)?[0-9a-f]{40}"),
    ("Cloudflare key", "cfk_", r"cfk_[A-Za-z0-9]{48}"),
    ("GitLab token", "glwt-", r"glwt-[\w-]{20,60}"),
    ("PlanetScale token", "pscale_tkn_", r"pscale_tkn_[\w.-]{32,64}"),
    ("Braintree token", "access_token$", r"access_token\$production\$[0-9a-z]{16}\$[0-9a-f]{32}"),
    ("Bearer token", "earer ", r"earer +[\w.~+/-]{32,300}=*"),
)
"""What Kingfisher 1.5 leaves out: the kind, how one begins, and the form that its vendor documents."""

_PATTERNS: Final = tuple(
    (kind, begins, re.compile(rf"{form}(?![\w-])"), begins[0].isalpha()) for kind, begins, form in _FORMATS
)
_HASH: Final = "password hash"
_WITHIN: Final = (
    (
        _HASH,
        "$",
        # As crypt writes them; whoever has one can try passwords on it as fast as he likes.
        re.compile(
            r"\$(?:2[abxy]?\$\d\d\$[./\w]{53}|(?:1|apr1)\$[./\w]{2,8}\$[./\w]{22,25}"
            r"|5\$(?:rounds=\d{1,9}\$)?[./\w]{1,16}\$[./\w]{43}|6\$(?:rounds=\d{1,9}\$)?[./\w]{1,16}\$[./\w]{86}"
            r"|y\$[./\w]{1,10}\$[./\w]{1,86}\$[./\w]{43}|[89]\$[./\w]{14}\$[./\w]{43}"
            r"|argon2(?:id|i|d)\$v=\d{1,3}\$m=\d{1,9},t=\d{1,6},p=\d{1,4}\$[\w+/]{8,90}\$[\w+/]{16,180}"
            r"|krb5(?:asrep|tgs)\$\d{1,2}\$(?:[^\s:$]{0,120}[:$])?[^\s$]{0,200}\$[0-9a-f]{64,4000})(?![./\w])"
        ),
    ),
    (
        "Azure key",
        "JQQJ9",
        re.compile(
            r"(?<![A-Za-z0-9])[A-Za-z0-9]{52}JQQJ9[A-Za-z0-9]{27}(?:[A-Za-z0-9]{2}==)?(?![A-Za-z0-9])"
        ),
    ),
    ("Salesforce token", "!", re.compile(r"(?<![A-Za-z0-9])00D[A-Za-z0-9]{12}![\w.]{80,200}(?![\w.])")),
    ("Web Push key", ":B", re.compile(r"(?<![\w-])[\w-]{43}:B[\w-]{86}(?![\w-])")),
    (
        "private key of PuTTY",
        "Private-Lines: ",
        re.compile(r"Private-Lines: \d{1,3}\s{1,2}(?:[\w+/=]{4,64}\s{1,2}){2,80}"),
    ),
    (
        "signature in an address",
        "sig=",
        # Of 32 bytes; whoever has the address may do what it allows.
        re.compile(r"(?<=[?&;]sig=)(?:[A-Za-z0-9+/_-]|%2[BFbf]){43}(?:=|%3[Dd])?(?![A-Za-z0-9%+/_-])"),
    ),
    ("New Relic key", "NRAL", re.compile(r"(?<![A-Za-z0-9])[0-9a-f]{36}NRAL(?![A-Za-z0-9])")),
)
"""Forms that begin with nothing of their own: the kind, what stands in each, and the whole form."""

END_CHARS: Final = 500
"""Characters at the end of a text that was cut off, in which a secret may begin."""

JUDGED_CHARS: Final = 200
"""Of a key: these show whether it is a placeholder."""
WORD_CHARS: Final = 32
"""Characters before a key's form that are looked at for the word it belongs to."""
_WORD_BEFORE = re.compile(rf"[\w.~-]{{0,{WORD_CHARS}}}\Z")
_AWS_ID = re.compile(r"(?:A(?:KIA|SIA)[A-Z0-9]{16}|GOOG1[A-Z0-9]{56})(?![A-Za-z0-9])")
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
AWS_PAIR_CHARS: Final = 200
"""Between the id and the secret of an AWS key; the secret alone has no form of its own."""

NAMES_READ: Final = 2_000
"""Characters of a request's ids and names that are looked at: no key is longer."""

_ONE_WORD = re.compile(r"\s*\S{4,64}\s*")
_LONG_WORD = re.compile(r"[\w+/=.~:-]{16}")
"""No key of any form is shorter, nor is a line of a private key."""
_COULD_BE_A_KEY = re.compile(r"[A-Za-z0-9+/=_.-]{16,}")
ENCODED_CHARS: Final = 40
"""Shortest text in base64 that is read: in thirty letters stands a name with its secret."""
_BASE64 = re.compile(rf"[A-Za-z0-9+/]{{{ENCODED_CHARS},}}={{0,2}}")
DEPTH: Final = 2
"""What is in base64 may be so within base64: the values of a Kubernetes Secret are."""
_DIGIT = re.compile(r"\d")
_KINDS: Final = (str.isdigit, str.isupper, str.islower)
_PEM: Final = "PRIVATE KEY"
_PEM_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"(?:[A-Za-z0-9+/=\s\\:,]++|<br ?/?>|-(?!----END ))*+")
_PEM_LINE = re.compile(r"[A-Za-z0-9+/]{16,}")
_HEXADECIMAL = re.compile(r"[0-9a-f]*")
PRIVATE_KEY: Final = "private-key"
_BY_WORDS: Final = (KEY, TOLD)
"""Kinds that only say where a secret stands."""
NAME_CHARS: Final = 60
"""Before a key, in which its name stands."""
_NAME_BEGINS = re.compile(r"[\n,;{(&?]")
_OF_A_KEY = re.compile(r"(?i)secret|token|key|auth|cred|_pat")
_OF_A_PASSWORD = re.compile(r"(?i)pass|pwd|pw(?![a-z])")
_CHECKSUM = re.compile(r"[0-9a-fA-F]{32}")
_RULE_OF = re.compile(r"[^./]+[./](?:.*/)?(\w{4,})")
"""Kingfisher calls its rules `set.vendor-what`."""
_NO_VENDORS: Final = {
    "auth0", "azure", "basic", "canadian", "credentials", "curl", "generic", "google", "http", "kubernetes",
    "microsoft", "password", "private",
}  # fmt: skip
"""What rules are called after that is no vendor, or has keys of very many kinds."""
_PLAIN_WORDS: Final = {
    "amplitude", "brave", "checkout", "clerk", "crates", "cursor", "defined", "elastic", "harness", "honeycomb",
    "hunter", "instantly", "intercom", "ionic", "kraken", "lark", "linear", "llama", "looker", "mercury",
    "monday", "neon", "notion", "octopus", "paddle", "persona", "plaid", "polar", "prefect", "proof",
    "rainforest", "ramp", "readme", "redirect", "render", "replicate", "resend", "retell", "segment", "sonar",
    "square", "stability", "temporal", "vault", "weights",
}  # fmt: skip
"""Vendors called by a word of the language, which says in names and sentences what it means: `redirect_secret`."""
_BEARER: Final = "Bearer token"
_AWS: Final = "AWS key"
_NAMES = re.compile(r"(?:[A-Za-z]+\d{0,2}|\d{1,4})(?:[-_./:](?:[A-Za-z]+\d{0,2}|\d{1,4}))+")
"""Words and numbers with separators: `Bearer prod-db-main-2024-backup-node` is what something is called."""


QUICK_CHARS: Final = 2_000
"""Characters that are looked through before a worker thread would have its turn."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret in a text: its first character, the one after its last, and what it is."""

    start: int
    end: int
    kind: str


@functools.cache
def _is_installed() -> bool:
    return importlib.util.find_spec("kingfisher_sdk") is not None


_fails_to_load = threading.Event()


def available() -> bool:
    """Whether the formats of vendors can be looked for here; does not import what knows them."""
    return _is_installed() and not _fails_to_load.is_set()


def find_secrets(text: str, *, lines: bool = False) -> list[Secret]:
    """The secrets in the first `SCANNED_CHARS` characters of a text, in their order; none overlaps another.

    Args:
        lines: also what follows the name of a password, to the end of its line.
    """
    plain, places = visible(text[:SCANNED_CHARS])
    return [
        Secret(places[one.start], places[one.end - 1] + 1, one.kind) if plain is not text else one
        for one in _find(plain, lines)
    ]


def _find(text: str, lines: bool, deep: int = DEPTH) -> list[Secret]:
    places = [Secret(*place) for place in told_secrets(text, lines=lines)]
    if _LONG_WORD.search(text):
        if deep:
            places += _in_base64(text, deep)
        places += _by_form(text)
        if available() and (_PEM in text or _could_be_a_key(text)):
            places += _by_format(text)
    return _apart(places)


def _in_base64(text: str, deep: int) -> Iterator[Secret]:
    """Where a text is written in base64 that tells a secret."""
    for word in _BASE64.finditer(text):
        # The beginning shows whether it is a text: an image is none.
        inside = text_in_base64(word[0][:ENCODED_CHARS]) and text_in_base64(word[0])
        if inside and (found := _find(inside, False, deep - 1)):
            yield Secret(word.start(), word.end(), found[0].kind)


async def looked(
    turns: Iterable[Interaction | StoredInteraction], look: Callable[[], T], names: Iterable[str] = ()
) -> T:
    """What `look` returns, which looks for secrets in these turns and names.

    It runs in a worker thread, so that other calls go on meanwhile; at once where there is little to look at and none
    of it needs Kingfisher, whose rules take a while to load.
    """
    left = QUICK_CHARS
    if any(map(_could_be_a_key_in_name, names)):
        return await anyio.to_thread.run_sync(look)
    for turn in turns:
        if isinstance(turn, Interaction) and turn.image_encoding:
            return await anyio.to_thread.run_sync(look)
        for _, text in every_text(turn):
            left -= len(text)
            if left < 0 or _PEM in text or (_could_be_a_key(visible(text)[0]) and not is_uuid(text)):
                return await anyio.to_thread.run_sync(look)
    return look()


def _could_be_a_key(text: str) -> bool:
    return any(map(_DIGIT.search, _COULD_BE_A_KEY.findall(text)))


def _could_be_a_key_in_name(name: str) -> bool:
    """Most ids have digits and are long; those with letters of both cases too are few, and most keys are such."""
    return any(map(_is_of_all_kinds, _COULD_BE_A_KEY.findall(name)))


def _is_of_all_kinds(value: str) -> bool:
    return all(any(map(kind, value)) for kind in _KINDS)


def _apart(places: Iterable[Secret]) -> list[Secret]:
    found: list[Secret] = []
    for place in sorted(places, key=lambda one: (one.start, -one.end)):
        if found and place.start < (last := found[-1]).end:
            # What the key itself gives away says more than the words before it.
            named = last.kind in _BY_WORDS and place.start == last.start
            found[-1] = Secret(last.start, max(last.end, place.end), place.kind if named else last.kind)
        else:
            found.append(place)
    return found


def redact(text: str, name: str = "") -> str:
    """The text with each secret replaced by what it is: `[redacted: github-pat]`.

    Args:
        name: what the text is called where it stands; `password` says that all of it is a secret.
    """
    text = called(text, name)
    return _without(text, find_secrets(text), len(name) + 2 if name else 0)


def called(text: str, name: str) -> str:
    """A text with what it is called where it stands, for `find_secrets`."""
    return f"{name}: {text}" if name else text


def asked_for(turns: Sequence[Interaction | StoredInteraction]) -> list[str]:
    """Of each turn, what the one before asked for where it answers in one word: `password` or `PIN`, else nothing."""
    return [
        asks_for(before.content)
        if before
        and is_person(turn.role)
        and not is_person(before.role)
        and _ONE_WORD.fullmatch(turn.content)
        else ""
        for before, turn in zip((None, *turns), turns, strict=False)
    ]


def redact_opening(text: str) -> str:
    """The beginning of a text without its secrets, for where the first words are shown to somebody.

    What follows the name of a password is covered to the end of its line, also where it reads like ordinary words: a
    passphrase does.
    """
    return _without(text, find_secrets(text, lines=True))


def _without(text: str, secrets: Iterable[Secret], behind: int = 0) -> str:
    """What of a text stands from `behind` on, each secret replaced."""
    kept: list[str] = []
    for secret in secrets:
        if secret.end > behind:
            kept += (text[behind : max(behind, secret.start)], f"[redacted: {secret.kind}]")
            behind = secret.end
    return "".join((*kept, text[behind:]))


def without_end(covered: str, text: str) -> str:
    """A text that was cut off and then covered, without what may be the beginning of a secret at its end."""
    same = 0
    while same < min(END_CHARS, len(covered), len(text)) and covered[-1 - same] == text[-1 - same]:
        same += 1
    return covered[: len(covered) - same]


def redact_within(value: Any, name: str = "", chars: int | None = None) -> Any:
    """What a tool was given or gave, with each secret in it replaced, however deep it stands.

    Args:
        name: what it is called where it stands.
        chars: as for `redact_turn`, of each text in it.
    """
    if isinstance(value, str):
        if chars is None or len(value) <= chars:
            return redact(value, name)
        covered = redact(value[:chars], name)
        # A secret that goes on behind them would come into sight, because what is covered gets shorter.
        return value if covered == value[:chars] else f"{without_end(covered, value[:chars])}…"
    if isinstance(value, list):
        return [redact_within(one, name, chars) for one in cast("list[Any]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {redact(key): redact_within(one, key, chars) for key, one in fields.items()}
    return value


Turn = TypeVar("Turn", Interaction, StoredInteraction)


def redact_turn(turn: Turn, chars: int | None = None, asked: str = "") -> Turn:
    """The turn with each secret in `every_text` of it replaced by what it is.

    Args:
        chars: of each text only so many characters are shown, so that no secret is looked for behind them.
        asked: what its content answers, from `asked_for`.
    """
    update: dict[str, Any] = {
        name: redact_within(text, asked if name == "content" else "", chars)
        for name in TEXT_FIELDS
        if (text := getattr(turn, name))
    }
    for name in ("tools_used", "retrieved_learnings", "citations"):
        if held := getattr(turn, name, None):
            update[name] = [
                redact_within(one, chars=chars)
                if isinstance(one, dict)
                else one.model_copy(update=redact_within(dict(one), chars=chars))
                for one in held
            ]
    return turn.model_copy(update=update)


def _private_keys(text: str) -> Iterator[Secret]:
    """Private keys, those that are cut off included."""
    behind = 0
    while begins := _PEM_BEGINS.search(text, behind):
        body = _PEM_BODY.match(text, begins.end())
        assert body
        ends = _PEM_ENDS.match(text, body.end())
        behind = (ends or body).end()
        if _is_key(text, begins.end(), behind):
            yield Secret(begins.start(), behind, PRIVATE_KEY)


def _is_key(text: str, begin: int, end: int) -> bool:
    """Whether what stands between the lines of a private key may be one: examples have letters there that none has."""
    # The headers of a key that has a passphrase give numbers in hexadecimal; the key itself stands behind them.
    runs = (one for one in _PEM_LINE.finditer(text, begin, end) if not _HEXADECIMAL.fullmatch(one[0]))
    line = next(runs, None)
    return bool(line and text[line.end() : line.end() + 1] != "_")


def _by_form(text: str) -> Iterator[Secret]:
    yield from _private_keys(text)
    for kind, begins, pattern, is_word in _PATTERNS:
        start = text.find(begins)
        while start >= 0:
            preceded = is_word and kind != _BEARER and text[start - 1 : start].isalnum()
            match = None if preceded else pattern.match(text, start)
            if match:
                value = match[0].split()[-1]
                begin = match.end() - len(value) if is_word else _word_begins(text, start)
                named = kind == _BEARER and _NAMES.fullmatch(value)
                judged = value[:JUDGED_CHARS]
                shown = is_placeholder(judged) or is_wording(judged)
                if not shown and not named and (not is_word or _is_mixed(judged)):
                    yield Secret(begin, match.end(), kind)
            # Behind a match: it may hold its own beginning many times over, and would be judged at each.
            start = text.find(begins, match.end() if match else start + 1)
    for kind, hint, form in _WITHIN:
        if hint in text:
            for match in form.finditer(text):
                if kind == _HASH or (_is_mixed(match[0]) and not is_placeholder(match[0])):
                    yield Secret(match.start(), match.end(), kind)
    for begins, kind in (("AKIA", _AWS), ("ASIA", _AWS), ("GOOG1", "Google HMAC key")):
        start = text.find(begins)
        while start >= 0:
            if (match := _AWS_ID.match(text, start)) and not is_placeholder(match[0]):
                yield Secret(match.start(), match.end(), kind)
                around = max(0, start - AWS_PAIR_CHARS)
                for secret in _AWS_SECRET.finditer(text, around, match.end() + AWS_PAIR_CHARS):
                    if _is_mixed(secret[0]) and not is_placeholder(secret[0]):
                        yield Secret(secret.start(), secret.end(), kind)
            start = text.find(begins, start + 1)


def _word_begins(text: str, end: int) -> int:
    before = _WORD_BEFORE.search(text, max(0, end - WORD_CHARS), end)
    return before.start() if before else end


def _is_mixed(value: str) -> bool:
    return sum(any(map(kind, value)) for kind in _KINDS) >= 2


def _by_format(text: str) -> Iterable[Secret]:
    raw = text.encode("utf-8", "replace")  # a lone surrogate becomes `?`, so that places stay where they are
    for kind, start, end in _scanner()(raw):
        begin = len(raw[:start].decode("utf-8", "replace"))
        found = text[begin : begin + len(raw[start:end].decode("utf-8", "replace"))]
        if (begins := _PEM_BEGINS.match(found)) and not _is_key(found, begins.end(), len(found)):
            continue
        if not is_placeholder(found) and (kind == PRIVATE_KEY or not is_wording(found)):
            yield Secret(begin, begin + len(found), kind)


Scanner = Callable[[bytes], "list[tuple[str, int, int]]"]
_loading = threading.Lock()


def _scanner() -> Scanner:
    return _loaded()[0]


def _vendors() -> "re.Pattern[str] | None":
    """Names of the vendors whose keys Kingfisher knows, as they stand in names; `None` where it does not run."""
    return _loaded()[1]


def _loaded() -> "tuple[Scanner, re.Pattern[str] | None]":
    with _loading:  # two threads would each take seconds the first time
        return _load()


@functools.cache
def _load() -> "tuple[Scanner, re.Pattern[str] | None]":
    try:
        import kingfisher_sdk
    except ImportError:  # its library does not fit this machine's
        _fails_to_load.set()
        return lambda raw: [], None

    rules = kingfisher_sdk.Rules()
    scanner = kingfisher_sdk.Scanner(rules)

    def scan(raw: bytes) -> list[tuple[str, int, int]]:
        return [
            (_kind_of(one.rule_id), one.location["start_offset"], one.location["end_offset"])
            for one in scanner.scan(raw)
            if one.visible
        ]

    named = (
        {rule[1] for one in rules.metadata() if (rule := _RULE_OF.match(one["id"]))}
        - _NO_VENDORS
        - _PLAIN_WORDS
    )
    begins = r"(?:(?<![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
    return scan, re.compile(f"{begins}(?i:{'|'.join(map(re.escape, sorted(named)))})(?![a-z])")


def _kind_of(rule_id: str) -> str:
    """What Kingfisher calls its rules (`set.vendor-what`), without the number that tells two of one name apart."""
    return re.split(r"[./]", re.sub(r"\.\d+$", "", rule_id))[-1]


def is_probable(text: str, secret: Secret) -> bool:
    """Whether a secret that was found in a text looks like one in all respects; else it is a possible one.

    Not so one that looks made up, and one that only stands beside a name and could be a checksum, or stands beside
    the name of a vendor of whom Kingfisher knows keys, and it takes it for none of them: it lacks a character, or is
    of a kind that Kingfisher does not know of this vendor.
    """
    value = text[secret.start : secret.end]
    if is_made_up(value[:JUDGED_CHARS]):
        return False
    if secret.kind not in _BY_WORDS:
        return True
    name = _NAME_BEGINS.split(text[max(0, secret.start - NAME_CHARS) : max(0, secret.start - 1)])[-1]
    if not _is_of_vendor(name) and not _CHECKSUM.fullmatch(value):
        return True
    # Kingfisher reads assignments; what somebody tells in a sentence is no less sure.
    assigned = f"{name.strip()}="
    return available() and any(one.end > len(assigned) for one in _by_format(assigned + value))


def _is_of_vendor(name: str) -> bool:
    """Whether the name of a key has that of a vendor of whom Kingfisher knows keys."""
    if not available() or not _OF_A_KEY.search(name) or _OF_A_PASSWORD.search(name):
        return False
    return bool((vendors := _vendors()) and vendors.search(name))


def secret_in(item: RequestWithInteractions) -> tuple[str, bool]:
    """What kind of secret a request seems to hold, in its texts or its names, and whether it is a probable one.

    The kind is empty where there is none. A probable one counts before those that are only possible.
    """
    possible = ""
    for turn, asked in zip(item.interactions, asked_for(item.interactions), strict=True):
        for field, content in every_text(turn):
            stop_if_cancelled(len(content))
            text = called(content, asked if field == "content" else "")
            for found in find_secrets(text):
                if is_probable(text, found):
                    return found.kind, True
                possible = possible or found.kind
    request = item.request
    experiment = request.retrieval_experiment_id or ""
    names = _named(request.session_id, request.user_id, request.source, request.agent_version, experiment)
    key = names or secret_in_name(request.request_id)
    return key or possible, bool(key)


def secret_in_name(name: str) -> str:
    """What kind of key an id or a name is; empty for none."""
    return "" if is_uuid(name) else _named(name)


def without_key(name: str) -> str:
    """An id or a name as it may be shown: what kind of key it is, where it is one."""
    kind = secret_in_name(name)
    return f"[redacted: {kind}]" if kind else name


@functools.lru_cache(maxsize=64)
def _named(*names: str) -> str:
    """The kind of key that an id or a name is: only the forms of vendors, since all ids look made by a machine."""
    text = "\n".join(names)[:NAMES_READ]
    if not _LONG_WORD.search(text):
        return ""
    found = [*_by_form(text), *(_by_format(text) if available() and _could_be_a_key_in_name(text) else ())]
    return f"{found[0].kind} in an id or a name" if found else ""


class Secrets(Detector):
    """`probable-secret`, and `possible-secret` for requests that have no probable one."""

    def __init__(self) -> None:
        super().__init__()
        self.speak_of_secrets = 0
        """Requests in which none was found and that have a word for one: whoever doubts the rule looks there."""
        self.speaking: list[str] = []
        """The first of them."""

    def request(self, item: RequestWithInteractions) -> None:
        request_id = item.request.request_id
        kind, is_sure = secret_in(item)
        if kind:
            probable, possible = self.founds
            (probable if is_sure else possible).add(request_id, item, note=kind)
        elif any(speaks_of_secrets(text) for turn in item.interactions for text in stored_texts(turn)):
            self.speak_of_secrets += 1
            if len(self.speaking) < EXAMPLES:
                self.speaking.append(request_id)
