"""`probable-secret`: the detectors of `detect-secrets`, used offline.

The package comes with the extra `audit` and is imported when the first text is looked at. Its plugins are called
one by one: the scanner around them would verify what it finds with the services concerned, over the network.
"""

import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable
from math import log2
from typing import Any, Final, Protocol, cast

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.rules.detector import Detector, stop_if_cancelled

__all__ = ["MISSING", "Secrets", "available", "secret_in", "secret_kinds"]

MISSING: Final = (
    "needs the package detect-secrets; install reflexio-mcp[audit] (pip install 'reflexio-mcp[audit]')"
)

SECRET_CHARS: Final = 8
"""Shortest value that a keyword hit may have; shorter ones are words and examples."""

SECRET_ENTROPY: Final = 2.8
"""Bits a character of a value found by its keyword: words stay below it, random text above."""

SCANNED_CHARS: Final = 200_000
"""Of one text, so that a single huge one cannot hold up the audit."""

LINE_CHARS: Final = 600
"""Keyword patterns look at one line, and at no longer one: they were written for code."""

_PLUGINS: Final = (
    ("artifactory", "ArtifactoryDetector"),
    ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("basic_auth", "BasicAuthDetector"),
    ("cloudant", "CloudantDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("ibm_cloud_iam", "IbmCloudIamDetector"),
    ("ibm_cos_hmac", "IbmCosHmacDetector"),
    ("jwt", "JwtTokenDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("openai", "OpenAIDetector"),
    ("private_key", "PrivateKeyDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("softlayer", "SoftlayerDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"),
    ("telegram_token", "TelegramBotTokenDetector"),
    ("twilio", "TwilioKeyDetector"),
)
"""Everything but the entropy plugins and public addresses, which mostly find what is no secret."""

RUN_CHARS: Final = 1_000
"""A run of letters and digits longer than this is data (an image, an archive) and no secret."""

# What makes some of the detectors' patterns take quadratic time or worse, while it can be part of no secret.
_DATA = re.compile(rf"[\w+/=\-]{{{RUN_CHARS},}}")
_BLANKS = re.compile(r"[^\S\n]{4,}")
_NPM_HINT: Final = "_authToken"

_BEARER: Final = "Bearer token"

_VENDORS: Final = (
    ("Anthropic key", r"sk-ant-[a-z]{2,6}\d\d-[\w-]{32,}"),
    ("OpenAI key", r"sk-(?:proj|svcacct|admin)-[\w-]{32,}"),
    ("Google API key", r"AIza[\w-]{35}"),
    ("Google client secret", r"GOCSPX-[\w-]{28}"),
    ("Hugging Face token", r"hf_[A-Za-z0-9]{34}"),
    ("GitHub token", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    ("npm token", r"npm_[A-Za-z0-9]{36}"),
    ("Groq key", r"gsk_[A-Za-z0-9]{52}"),
    ("xAI key", r"xai-[A-Za-z0-9]{80}"),
    ("Replicate token", r"r8_[A-Za-z0-9]{37}"),
    ("DigitalOcean token", r"do[por]_v1_[0-9a-f]{64}"),
    ("Shopify token", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("Databricks token", r"dapi[0-9a-f]{32}"),
    ("Linear key", r"lin_api_[A-Za-z0-9]{40}"),
    (_BEARER, r"[Bb]earer +[\w.~+/-]{32,200}=*"),
)
"""Keys that begin with a prefix of their vendor's own, with the length and letters it documents; those that the
detectors of the package do not know."""

_VENDOR = re.compile(
    "|".join(rf"(?<![\w-])(?P<v{place}>{one})(?![\w-])" for place, (_, one) in enumerate(_VENDORS))
)

VENDOR_ENTROPY: Final = 3.5
"""Bits a character of a key with a prefix: placeholders (`xxxx`, `your_key_here`) stay below it."""

_TOLD = re.compile(
    r"(?i)\b(?:password|passphrase|passcode|passwort|contraseña|mot de passe|pwd|secret key|api[ -]?key|access key)\b"
    r"[^.\n:=]{0,30}?(?:\b(?:is|was|ist|es|est)\b:?|[:=]) *[\"'`]?([^\s\"'`]{8,64})"
)
"""As people say it: `my password is ...`."""

_NAMELIKE = re.compile(r"(?:[A-Za-z]+\d{0,2}|\d{1,4})(?:[-_./:](?:[A-Za-z]+\d{0,2}|\d{1,4}))+")
"""Words and years with separators: `prod/db-main-2024` is what something is called."""

_MEASURE = re.compile(r"\d+[a-z]+|[a-z]+\d{1,2}|[a-z]+\d[a-z]+")
"""Lower-case words with a number at them (`3600seconds`, `step2`); told in a sentence it is no secret."""

_GATE = re.compile(r"[\w+/=.:\-]{13,}|PRIVATE KEY|PuTTY-User-Key|://[^\s/]{0,100}@")
_KEYWORD = re.compile(
    r"(?i)(?:passw|pwd|secret|_?key|db_?pass|contrase)\w{0,20}[\"'\]]{0,2}\s{0,3}(?::=|[:=])"
)
_PLACEHOLDER = re.compile(
    r"(?i)example|sample|placeholder|changeme|change[-_]me|your[-_ ]|my[-_]?(?:password|secret|token|key)|dummy|"
    r"redacted|masked|xxxx|\*\*\*|\.\.\.|<[^>]*>|\$\{|\{\{|%\(|todo|fixme|(?:^|[_-])(?:password|passwd|secret)\d{0,3}$|"
    r"^(?:pass|password|passwd|pw|secret|user|token|admin|root|postgres|test|guest|key)\d{0,4}$"
)
_CODE = re.compile(r"[()\[\]{}]|^[\w.]+\.[a-z_]+$|^/|^[a-z]+://|^(?:os|env|self|process|config)\.|\s")


_PRIVATE_KEY: Final = "Private Key"
_BESIDE: Final = "Password or key beside its name"
_BASIC_AUTH: Final = "Basic Auth Credentials"


class _Plugin(Protocol):
    secret_type: str

    def analyze_string(self, string: str, **options: Any) -> Iterable[str]: ...


Scanner = Callable[[str], str]
_scanner: list[Scanner] = []


def available() -> bool:
    """Whether the detector is installed; does not import it."""
    return importlib.util.find_spec("detect_secrets") is not None


def secret_kinds(text: str) -> str:
    """What kind of secret a text seems to hold; empty for none.

    Raises:
        ImportError: the detector is not installed.
    """
    text = text[:SCANNED_CHARS]
    if not _GATE.search(text) and not _KEYWORD.search(text) and not _TOLD.search(text):
        return ""
    if not _scanner:
        _scanner.append(_load())
    return _scanner[0](text)


def _load() -> Scanner:
    def module(name: str) -> Any:
        return importlib.import_module(f"detect_secrets.{name}")

    plugins = [cast("_Plugin", getattr(module(f"plugins.{name}"), kind)()) for name, kind in _PLUGINS]
    npm = cast("_Plugin", module("plugins.npm").NpmDetector())
    keyword_module = module("plugins.keyword")
    keyword = cast("_Plugin", keyword_module.KeywordDetector())
    config_patterns = keyword_module.CONFIG_DENYLIST_REGEX_TO_GROUP
    heuristics = module("filters.heuristic")
    doubts: list[Callable[[str], bool]] = [
        heuristics.is_sequential_string,
        heuristics.is_templated_secret,
        heuristics.is_potential_uuid,
    ]

    def is_real(value: str) -> bool:
        return not _PLACEHOLDER.search(value) and not any(doubt(value) for doubt in doubts)

    def scan(text: str) -> str:
        text = _BLANKS.sub("   ", _DATA.sub(" ", text))
        lines = [line for line in text.splitlines() if len(line) <= LINE_CHARS]
        if _GATE.search(text):
            # This one looks from every double slash to the end of its line.
            if _NPM_HINT in text and any(
                _NPM_HINT in line and any(npm.analyze_string(line)) for line in lines
            ):
                return npm.secret_type
            for match in _VENDOR.finditer(text):
                kind, value = _VENDORS[int((match.lastgroup or "v0")[1:])][0], match[0].split()[-1]
                named = kind == _BEARER and _NAMELIKE.fullmatch(value)
                if _entropy(value) >= VENDOR_ENTROPY and not named and is_real(value):
                    return kind
            for plugin in plugins:
                for value in plugin.analyze_string(text):
                    if plugin.secret_type == _PRIVATE_KEY or (
                        is_real(value) and _is_mixed(value, plugin.secret_type)
                    ):
                        return plugin.secret_type
        if _KEYWORD.search(text):
            for line in lines:
                if not _KEYWORD.search(line):
                    continue
                values = [
                    *keyword.analyze_string(line),
                    *keyword.analyze_string(line, denylist_regex_to_group=config_patterns),
                ]
                words = [value.split()[0].strip(",;.") for value in values if value.strip()]
                if any(_looks_secret(word) and is_real(word) for word in words):
                    return _BESIDE
        for match in _TOLD.finditer(text):
            word = match[1].rstrip(".,;:!?)")
            if not _MEASURE.fullmatch(word) and _looks_secret(word) and is_real(word):
                return _BESIDE
        return ""

    return scan


def _is_mixed(value: str, kind: str) -> bool:
    if kind == _BASIC_AUTH:
        return len(value) >= 4
    return len(value) < 12 or (any(map(str.isdigit, value)) and any(map(str.isalpha, value)))


def _looks_secret(value: str) -> bool:
    if len(value) < SECRET_CHARS or len(value) > 200 or _CODE.search(value) or _NAMELIKE.fullmatch(value):
        return False
    if not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))):
        return False
    return _entropy(value) >= SECRET_ENTROPY


def _entropy(value: str) -> float:
    counts = [value.count(letter) for letter in set(value)]
    return -sum(count / len(value) * log2(count / len(value)) for count in counts)


def secret_in(item: RequestWithInteractions) -> str:
    """What kind of secret a request's texts seem to hold; empty for none."""
    for turn in item.interactions:
        for text in texts_of(turn):
            stop_if_cancelled()
            if text and (kind := secret_kinds(text)):
                return kind
    return ""


class Secrets(Detector):
    """`probable-secret`."""

    def __init__(self) -> None:
        super().__init__("probable-secret")

    def request(self, item: RequestWithInteractions) -> None:
        if kind := secret_in(item):
            self.founds[0].add(item.request.request_id, item, note=kind)
