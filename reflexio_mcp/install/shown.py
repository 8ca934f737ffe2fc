"""The difference that an edit makes, as it may be shown: what belongs to others is there in outline only."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from reflexio_mcp.install.files import Original

__all__ = ["difference"]

_SECRET: Final = re.compile(
    r"""(?i)((?:key|token|secret|password|authorization|credential)[\w-]*["']?\s*[:=]\s*)(["'])(?!\$)[^"']+\2"""
)
_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_TOML_STRING: Final = rf"{_STRING}|'[^']*'"
_JSON: Final = re.compile(rf"(?P<string>{_STRING})|(?P<remark>//.*|/\*.*?(?:\*/|$))")
_TOML: Final = re.compile(rf"(?P<string>{_TOML_STRING})|(?P<remark>#.*)")
_OUTLINE: Final = re.compile(
    rf"(?P<shown>\s*(?:[{{}}\[\],\s]*$|\[\[?[\w.\"'/ -]+\]\]?\s*$|(?:{_STRING}|[\w.-]+)\s*[:=]\s*[{{\[]?))(?P<rest>.*)"
)
"""Brackets alone, a table's heading, or a name and perhaps the bracket that its value opens."""


def difference(original: Original, text: str, *, ours: Iterable[object], secrets: Iterable[str] = ()) -> str:
    """What would change, as a unified difference in which no secret can be read, ours or another server's.

    Args:
        original: the file as it was read.
        text: what it would become.
        ours: strings, and objects whose strings, may be shown on a line that changes.
        secrets: strings that are not shown in any case.
    """
    before, after = original.text.splitlines(), text.splitlines()
    name = str(original.path)
    known = set(_strings(list(ours)))
    tokens = _TOML if original.path.suffix == ".toml" else _JSON
    lines: list[str] = []
    for number, line in enumerate(difflib.unified_diff(before, after, name, name, n=2, lineterm="")):
        if number < 2 or line.startswith("@@"):
            lines.append(line)
        elif line.startswith(" "):
            lines.append(_outline(line))
        else:
            lines.append(tokens.sub(lambda match, line=line: _changed(match, line, known), line))
    shown = _SECRET.sub(r"\1\2***\2", "\n".join(lines))
    for secret in secrets:
        shown = shown.replace(json.dumps(secret)[1:-1], "***").replace(secret, "***")
    return shown


def _outline(line: str) -> str:
    """A line that does not change, without what it says."""
    match = _OUTLINE.fullmatch(line)
    if match is None:
        return " " + line[: len(line) - len(line.lstrip())] + "..." if line.strip() else line
    return match["shown"] + ("..." if match["rest"].strip(" ,") else match["rest"])


def _changed(match: re.Match[str], line: str, known: set[str]) -> str:
    """A string or a comment on a line that changes: names and what is ours as they are."""
    if match["remark"]:
        return match["remark"][:2].rstrip() + " ..."
    text = match["string"]
    is_name = re.match(r"\s*[:=]", line[match.end() :]) is not None
    return text if is_name or text[1:-1] in known else f"{text[0]}***{text[0]}"


def _strings(value: object) -> Iterator[str]:
    """All strings inside a value, as they are and as a file writes them."""
    if isinstance(value, str):
        yield value
        yield json.dumps(value)[1:-1]
        yield json.dumps(value, ensure_ascii=False)[1:-1]
    elif isinstance(value, dict):
        for key, inner in cast("dict[Any, Any]", value).items():
            yield from _strings(key)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _strings(inner)
