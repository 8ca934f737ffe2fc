"""The page as one document: its files put together, with a policy that lets it reach nothing.

A host shows the document in a frame of its own. It has no network: what it shows comes through the host as results
of tools. The modules in `page/` are joined in the order in which they need each other; that takes out the lines
that import and the word `export`, and nothing else.
"""

import base64
import functools
import hashlib
import re
from importlib.resources import files
from typing import Final

__all__ = ["URI_PREFIX", "document", "shell", "uri"]

URI_PREFIX: Final = "ui://reflexio-mcp/explorer-"

MODULES: Final = ("format", "dom", "host", "rows", "timeline", "table", "conversation", "sheet", "main")
"""Each after those it imports."""

_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./[a-z]+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async function|function|class|const) )", re.MULTILINE)

POLICY: Final = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'"
)


SHELL_POLICY: Final = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Of the window that shows the page in a browser: it alone talks to the server beside it."""


def _read(folder: str, name: str) -> str:
    return (files("reflexio_mcp.explorer") / folder / name).read_text(encoding="utf-8")


def _module(folder: str, name: str) -> str:
    return _EXPORT.sub("", _IMPORT.sub("", _read(folder, f"{name}.js")))


def _put_together(template: str, parts: dict[str, str]) -> str:
    return re.sub(r"\{\{(policy|style|script)\}\}", lambda match: parts[match[1]], template)


def _source(text: str) -> str:
    # As a content security policy names an inline script or style.
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@functools.cache
def document() -> str:
    """The whole page, as HTML."""
    script = "\n" + "\n".join(_module("page", name) for name in MODULES)
    style = _read("page", "page.css")
    policy = POLICY.format(script=_source(script), style=_source(style))
    parts = {"policy": policy, "style": style, "script": script}
    return _put_together(_read("page", "page.html"), parts)


def shell() -> tuple[str, str]:
    """The window around the page for a browser without an assistant.

    Returns:
        The HTML, and its content security policy for the header.
    """
    script, style = "\n" + _module("shell", "shell"), _read("shell", "shell.css")
    policy = SHELL_POLICY.format(script=_source(script), style=_source(style))
    return _put_together(_read("shell", "shell.html"), {"style": style, "script": script}), policy


@functools.cache
def uri() -> str:
    """The resource's address. It carries a hash of the page: hosts keep a page for as long as its address stays."""
    return URI_PREFIX + hashlib.sha256(document().encode()).hexdigest()[:16]
