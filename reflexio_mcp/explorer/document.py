"""The page as one document, whose policy forbids network access.

A host shows it in a frame, and passes it the results of tools. The modules in `page/` are joined in the order of
their imports, without `import` lines and the word `export`.
"""

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Final

__all__ = ["document", "shell", "uri"]

HERE: Final = Path(__file__).parent

URI_PREFIX: Final = "ui://reflexio-mcp/explorer-"

MODULES: Final = (
    *("format", "dom", "words", "host", "rows", "timeline", "reading"),
    *("table", "conversation", "sheet", "doing", "head", "main"),
)
"""Imports determine the order."""

_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./[a-z]+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async function|function|class|const) )", re.MULTILINE)

POLICY: Final = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'"
)


SHELL_POLICY: Final = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; frame-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The policy of the browser window: only it talks to the server."""


def _read(folder: str, name: str) -> str:
    return (HERE / folder / name).read_text(encoding="utf-8")


def _module(folder: str, name: str) -> str:
    return _EXPORT.sub("", _IMPORT.sub("", _read(folder, f"{name}.js")))


def _put_together(template: str, parts: dict[str, str]) -> str:
    return re.sub(r"\{\{(policy|style|script)\}\}", lambda match: parts[match[1]], template)


def _source(text: str) -> str:
    # The hash of an inline script or style for a content security policy.
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@functools.cache
def document() -> str:
    script = "\n" + "\n".join(_module("page", name) for name in MODULES)
    style = _read("page", "page.css")
    policy = POLICY.format(script=_source(script), style=_source(style))
    parts = {"policy": policy, "style": style, "script": script}
    return _put_together(_read("page", "page.html"), parts)


def shell() -> tuple[str, str]:
    """Return the window for a browser without an assistant: HTML, and the policy for the header."""
    script, style = "\n" + _module("shell", "shell"), _read("shell", "shell.css")
    policy = SHELL_POLICY.format(script=_source(script), style=_source(style))
    return _put_together(_read("shell", "shell.html"), {"style": style, "script": script}), policy


@functools.cache
def uri() -> str:
    """The resource's address, with a hash of the page's files: hosts cache a page by its address."""
    digest = hashlib.sha256()
    for path in sorted((HERE / "page").iterdir()):
        digest.update(path.read_bytes())
    return URI_PREFIX + digest.hexdigest()[:16]
