"""The page as one document, whose policy forbids network access.

A host shows it in a frame, and passes it the results of tools. The modules in `page/` are joined in the order of
their imports, without `import` lines and the word `export`. There is no build step.
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

LIBRARIES: Final = ("preact", "htm")
"""Modules of others, in `page/vendor/`. Each keeps a scope of its own: its names are short and would meet ours."""

MODULES: Final = (
    *("format", "names", "passages", "rows", "memory", "words", "host", "state", "reading"),
    *("jobs", "findings", "actions", "view", "timeline", "toolbar", "list"),
    *("conversation", "learned", "review", "sheets", "toast", "main"),
)
"""Imports determine the order."""

_IMPORT = re.compile(r"^import [^;]*? from \"\./(?:vendor/)?[a-z]+\.js\";\n", re.MULTILINE)
_COMMENT = re.compile(
    r"^ */\*\*(?:(?!\*/).)*\*/\n|/\*\*(?:(?!\*/).)*\*/ ?|^ *// [^\n]*\n", re.MULTILINE | re.DOTALL
)
"""Comments are left out of the page. They are a fifth of the source, and mostly about types."""

_INDENT = re.compile(r"^ +", re.MULTILINE)
"""White space at the beginning of a line means nothing in the scripts, the styles and what they draw."""

_STYLE_COMMENT = re.compile(r"/\*(?:(?!\*/).)*\*/\n?", re.DOTALL)

_NAMED_EXPORTS = re.compile(r"export\{([^}]*)\};\s*\Z")
_DEFAULT_EXPORT = re.compile(r"\bexport default ")
_EXPORT = re.compile(r"^export (?=(async function|function|class|const) )", re.MULTILINE)

NAMES_OF_PREACT: Final = "const { Component, h, render } = preact;"

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
    script = _COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", _read(folder, f"{name}.js"))))
    return _INDENT.sub("", script)


def _library(name: str) -> str:
    """Return a library's module as a constant with its name: an object of its exports, or its default export."""
    text = _read("page/vendor", f"{name}.js")
    if named := _NAMED_EXPORTS.search(text):
        pairs = (part.split(" as ") for part in named[1].split(","))  # `n as h`: `h` is public
        exports = ", ".join(f"{public}: {private}" for private, public in pairs)
        return f"const {name} = (() => {{\n{text[: named.start()]}\nreturn {{{exports}}};\n}})();"
    return f"const {name} = (() => {{\n{_DEFAULT_EXPORT.sub('return ', text)}\n}})();"


def _put_together(template: str, parts: dict[str, str]) -> str:
    return re.sub(r"\{\{(policy|style|script)\}\}", lambda match: parts[match[1]], template)


def _hash_for_policy(text: str) -> str:
    """Return the source that allows an inline script or style in a content security policy."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@functools.cache
def document() -> str:
    script = "\n" + "\n".join(
        [*map(_library, LIBRARIES), NAMES_OF_PREACT, *(_module("page", name) for name in MODULES)]
    )
    style = _INDENT.sub("", _STYLE_COMMENT.sub("", _read("page", "page.css")))
    policy = POLICY.format(script=_hash_for_policy(script), style=_hash_for_policy(style))
    parts = {"policy": policy, "style": style, "script": script}
    return _put_together(_read("page", "page.html"), parts)


def shell() -> tuple[str, str]:
    """Return the window for a browser without an assistant: HTML, and the policy for the header."""
    script, style = "\n" + _module("shell", "shell"), _read("shell", "shell.css")
    policy = SHELL_POLICY.format(script=_hash_for_policy(script), style=_hash_for_policy(style))
    return _put_together(_read("shell", "shell.html"), {"style": style, "script": script}), policy


@functools.cache
def uri() -> str:
    """The resource's address, with a hash of what the page is made of: hosts cache a page by its address."""
    digest = hashlib.sha256(Path(__file__).read_bytes())  # the policy, and how the files are put together
    for path in sorted((HERE / "page").rglob("*")):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return URI_PREFIX + digest.hexdigest()[:16]
