"""The configuration itself: can it be read, where does each value come from, is it what was meant."""

import re
from typing import Final

from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.naming import meant
from reflexio_mcp.doctor.report import Finding, Value, failure, note, ok, warning
from reflexio_mcp.settings import OPTIONS, ConfigurationError, load

__all__ = ["check_configuration", "check_key", "misspelt"]

_PLACEHOLDER: Final = re.compile(r"\$\{[^}]+\}|\$[A-Za-z_]\w*|%[A-Za-z_]\w*%")
_EXAMPLE_KEYS: Final = {"your-api-key", "your_api_key", "changeme", "xxx"}


async def check_configuration(case: Case) -> list[Finding]:
    """Read it; name what is wrong, misspelt or was never filled in."""
    found: list[Finding] = []
    for option in OPTIONS:
        flag = case.flags.get(option.name)
        text = flag if flag is not None else case.env.get(option.env, "")
        if not text.strip():
            continue
        source = option.flag if flag is not None else option.env
        case.report.values.append(Value(option.name, "(set)" if option.secret else text.strip(), source))
        if _PLACEHOLDER.fullmatch(text.strip()):
            found.append(
                failure(
                    "placeholder-not-expanded",
                    f"{option.env} is the text {text.strip()}",
                    "Whoever started this did not replace the reference: the variable is not set there.",
                    f"Set {option.env} where the client is started, or write the value itself.",
                )
            )
    if found:
        return found
    try:
        case.settings = load(case.env, case.flags)
        _check_tools(case)
    except ConfigurationError as error:
        return [
            failure(
                "configuration-invalid",
                str(error),
                "The server does not start with it.",
                "Correct this value.",
            )
        ]
    found += _misspelt(case)
    return found or [ok(_backend(case))]


def _check_tools(case: Case) -> None:
    from reflexio_mcp.tools.catalog import offered

    offered(case.settings)


def _backend(case: Case) -> str:
    if case.settings.embedded:
        return "the embedded store is the backend"
    return f"{case.settings.base_url} is the backend"


def _misspelt(case: Case) -> list[Finding]:
    return [misspelt(name, right, "") for name in sorted(case.env) if (right := meant(name)) is not None]


def misspelt(variable: str, right: str, where: str) -> Finding:
    """A variable that nothing reads.

    Args:
        variable: its name.
        right: the name that was probably meant, or nothing.
        where: whose entry it stands in, followed by a colon; empty for the environment.
    """
    return warning(
        "unknown-variable",
        f"{where}{variable} is set, and nothing reads it",
        f"{right} was probably meant, and has no effect like this."
        if right
        else "It is misspelt, or belongs to another version.",
        f"Name it {right}, or remove it." if right else "Remove it.",
    )


async def check_key(case: Case) -> list[Finding]:
    """The key, as far as it can be judged without sending it."""
    from reflexio_mcp.rest.address import check_api_key
    from reflexio_mcp.rest.errors import BadAddress

    key = case.settings.api_key
    if case.settings.embedded:
        return [note("no key is needed for the embedded store")]
    if not key:
        hosted = case.settings.base_url.startswith("https://www.reflexio.ai")
        if hosted:
            return [
                failure(
                    "key-missing",
                    "REFLEXIO_API_KEY is not set",
                    "The hosted service answers nobody without one.",
                    "Set REFLEXIO_API_KEY to the key from your Reflexio account.",
                )
            ]
        return [note("no key is set; the open-source server needs none")]
    if key.lower() in _EXAMPLE_KEYS:
        return [
            failure(
                "key-is-an-example",
                "REFLEXIO_API_KEY is the text of an example",
                "It was copied and never replaced.",
                "Put the key from your Reflexio account there.",
            )
        ]
    try:
        check_api_key(key)
        damaged = key[0] in "\"'" or key.lower().startswith("bearer")
    except BadAddress:
        damaged = True
    if damaged:
        return [
            failure(
                "key-malformed",
                "REFLEXIO_API_KEY holds blanks, quotes or the word Bearer",
                "It is sent as it is, and no key looks like that.",
                "Set it to the bare key, without quotes and without Bearer.",
            )
        ]
    if case.settings.base_url.startswith("http://") and not _is_local(case.settings.base_url):
        return [
            warning(
                "key-sent-in-clear",
                "the key goes over plain http to another machine",
                "Anybody on the way can read it.",
                "Use an https address in REFLEXIO_URL.",
            )
        ]
    return [ok("a key is set")]


def _is_local(url: str) -> bool:
    host = re.sub(r"^https?://", "", url).split("/")[0]
    return bool(re.match(r"(localhost|127\.[\d.]+|\[::1\])(:\d+)?$", host))
