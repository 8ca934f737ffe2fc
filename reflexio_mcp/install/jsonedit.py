"""Edits of JSON with comments that touch nothing else: text is spliced, never written anew.

VS Code, Cursor, Zed and others keep comments, trailing commas and people's own layout in these files.
What is understood is JSON plus `//` and `/* */` comments and trailing commas, as those editors take it. Every function
raises `MalformedError` where the text is something else, or what is on the path is not an object.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reflexio_mcp.install.errors import MalformedError

__all__ = ["append_item", "get_value", "remove_item", "remove_value", "set_value"]

_TOKEN: Final = re.compile(
    r"""(?P<blank>[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)
    |(?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")
    |(?P<scalar>true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])
    |(?P<mark>[{}\[\],:])""",
    re.VERBOSE | re.DOTALL,
)
_REMARK: Final = re.compile(r"[ \t]*(?://[^\r\n]*|/\*.*?\*/)", re.DOTALL)
_REST_OF_LINE: Final = re.compile(r"[ \t]*(\r?\n)?")
_MOST_NESTED: Final = 200


@dataclass(slots=True)
class _Node:
    """One value. `start` and `end` are its span in the text; `comma` is where its own comma stands, or -1."""

    start: int
    end: int = 0
    kind: str = "scalar"
    value: Any = None
    key: str = ""
    key_start: int = -1
    comma: int = -1
    items: "list[_Node]" = field(default_factory=list["_Node"])

    @property
    def outer(self) -> int:
        """Where the value begins, its key included."""
        return self.start if self.key_start < 0 else self.key_start

    def plain(self) -> Any:
        """The value as Python objects."""
        if self.kind == "{":
            return {item.key: item.plain() for item in self.items}
        return [item.plain() for item in self.items] if self.kind == "[" else self.value


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._kind = ""
        self._start = 0
        self._end = 0
        self._advance()

    def document(self) -> _Node | None:
        """The one value of the text, or `None` when there is none at all."""
        if not self._kind:
            return None
        node = self._value(0)
        if self._kind:
            raise self._wrong("there is more after the end")
        return node

    def _advance(self) -> None:
        self._kind = ""
        while self._at < len(self._text):
            match = _TOKEN.match(self._text, self._at)
            if match is None:
                self._start = self._at
                raise self._wrong("this is not JSON")
            self._at = match.end()
            if match.lastgroup != "blank":
                self._kind = str(match.lastgroup)
                self._start, self._end = match.span()
                return
        self._start = self._end = len(self._text)

    @property
    def _shown(self) -> str:
        return self._text[self._start : self._end]

    def _wrong(self, what: str) -> MalformedError:
        line = self._text.count("\n", 0, self._start) + 1
        column = self._start - self._text.rfind("\n", 0, self._start)
        return MalformedError(f"line {line}, column {column}: {what}")

    def _value(self, depth: int) -> _Node:
        if depth > _MOST_NESTED:
            raise self._wrong("it is nested too deeply")
        node = _Node(self._start)
        if self._kind in ("string", "scalar"):
            try:
                node.value = json.loads(self._shown)
            except ValueError:
                raise self._wrong("this is not a JSON text") from None
            node.end = self._end
            self._advance()
            return node
        opening = self._shown
        if opening not in ("{", "["):
            raise self._wrong("a value is missing")
        node.kind = opening
        closing = "}" if opening == "{" else "]"
        self._advance()
        while self._shown != closing:
            node.items.append(self._item(opening, depth))
            if self._shown == ",":
                node.items[-1].comma = self._start
                self._advance()
            elif self._shown != closing:
                raise self._wrong(f"a comma or {closing} is missing")
        node.end = self._end
        self._advance()
        return node

    def _item(self, opening: str, depth: int) -> _Node:
        if opening == "[":
            return self._value(depth + 1)
        if self._kind != "string":
            raise self._wrong("a name in double quotes is missing")
        key, key_start = json.loads(self._shown), self._start
        self._advance()
        if self._shown != ":":
            raise self._wrong("a colon is missing")
        self._advance()
        node = self._value(depth + 1)
        node.key, node.key_start = key, key_start
        return node


def _parsed(text: str) -> _Node | None:
    node = _Reader(text).document()
    if node is not None and node.kind != "{":
        raise MalformedError("it does not hold an object")
    return node


def get_value(text: str, path: Sequence[str]) -> Any:
    """The value at a path of names as Python objects; `None` when it is not there."""
    node = _at(text, path)
    return None if node is None else node.plain()


def set_value(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the value at a path set; objects that are missing on the way are made."""
    node = _parsed(text)
    if node is None:
        fresh = json.dumps(_nested(path, value), indent=2, ensure_ascii=False) + "\n"
        return fresh if not text.strip("\ufeff \t\r\n") else text.rstrip() + "\n" + fresh
    for depth, key in enumerate(path):
        inner = _member(node, key)
        if inner is None:
            return _insert(text, node, key, _nested(path[depth + 1 :], value))
        node = inner
    if node.plain() == value:
        return text
    return text[: node.start] + _dumped(text, node.outer, value) + text[node.end :]


def append_item(text: str, path: Sequence[str], value: Any) -> str:
    """The text with an item added at the end of the list at a path, which is made when it is missing."""
    node = _at(text, path)
    if node is None:
        return set_value(text, path, [value])
    if node.kind != "[":
        raise MalformedError(f"{'.'.join(path)} is not a list")
    return _insert(text, node, None, value)


def remove_value(text: str, path: Sequence[str]) -> str:
    """The text without the member at a path; the same text when it is not there."""
    owner = _at(text, path[:-1])
    item = _member(owner, path[-1])
    return text if owner is None or item is None else _cut(text, owner, item)


def remove_item(text: str, path: Sequence[str], id_: str) -> str:
    """The text without those items of a list of objects that have this `id`."""
    while (owner := _at(text, path)) is not None:
        found = [one for one in owner.items if one.kind == "{" and one.plain().get("id") == id_]
        if not found:
            break
        text = _cut(text, owner, found[0])
    return text


def _at(text: str, path: Sequence[str]) -> _Node | None:
    node = _parsed(text)
    for key in path:
        node = _member(node, key)
    return node


def _member(node: _Node | None, key: str) -> _Node | None:
    if node is None:
        return None
    if node.kind != "{":
        raise MalformedError(f"{node.key or 'it'} is not an object")
    found = [item for item in node.items if item.key == key]
    if len(found) > 1:
        raise MalformedError(f"it has {key!r} twice in one object; keep one of them")
    return found[0] if found else None


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent_of_line(text: str, position: int) -> str:
    begin = text.rfind("\n", 0, position) + 1
    found = re.match(r"[ \t]*", text[begin:position])
    return found.group() if found else ""


def _unit(text: str) -> str:
    """One step of indentation, as the file has it."""
    found = re.search(r"\n([ \t]+)\S", text)
    if not found:
        return "  "
    return "\t" if found.group(1)[0] == "\t" else found.group(1)


def _dumped(text: str, position: int, value: Any) -> str:
    """`value` as it should look on the line of `position`: spread out unless the file is one line."""
    if "\n" not in text.strip():
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    return (_newline(text) + _indent_of_line(text, position)).join(lines)


def _insert(text: str, owner: _Node, key: str | None, value: Any) -> str:
    """The text with an item put at the end of an object or a list."""
    name = "" if key is None else json.dumps(key, ensure_ascii=False) + ": "
    closing = owner.end - 1
    spread = "\n" in text[owner.start : owner.end]
    if not spread and ("\n" not in text.strip() or owner.items):
        # A container on one line stays on one line.
        item = name + json.dumps(value, ensure_ascii=False)
        if not owner.items:
            return text[:closing] + item + text[closing:]
        last = owner.items[-1]
        at = last.end if last.comma < 0 else last.comma + 1
        return text[:at] + (", " if last.comma < 0 else " ") + item + text[at:]
    newline = _newline(text)
    outer = _indent_of_line(text, closing if spread else owner.outer)
    inner = _indent_of_line(text, owner.items[0].outer) if owner.items and spread else outer + _unit(text)
    body = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    item = inner + name + (newline + inner).join(body)
    if not owner.items:
        before = text[owner.start + 1 : closing]
        kept = before.rstrip(" \t\r\n")
        return text[: owner.start + 1] + kept + newline + item + newline + outer + text[closing:]
    last = owner.items[-1]
    if last.comma < 0:
        text = text[: last.end] + "," + text[last.end :]
        closing += 1
        after = last.end + 1
    else:
        after, item = last.comma + 1, item + ","
    # Behind what else stands on the last item's line: a comment there belongs to it.
    at = _end_of_remarks(text, after, closing)
    tail = "" if text[at:closing].lstrip(" \t").startswith(("\n", "\r")) else newline + outer
    return text[:at] + newline + item + tail + (text[at:] if not tail else text[at:].lstrip(" \t"))


def _end_of_remarks(text: str, position: int, limit: int) -> int:
    """Behind the comments that stand on the same line as `position`."""
    while match := _REMARK.match(text, position, limit):
        position = match.end()
    return position


def _cut(text: str, owner: _Node, item: _Node) -> str:
    """The text without one item, its comma and, where nothing else stands on them, its lines."""
    index = owner.items.index(item)
    around = text[owner.start + 1 : item.outer] + text[item.end : owner.end - 1]
    if len(owner.items) == 1 and not around.strip(" \t\r\n,"):
        return text[: owner.start + 1] + text[owner.end - 1 :]
    begin, end = item.outer, item.end if item.comma < 0 else item.comma + 1
    line = text.rfind("\n", 0, begin) + 1
    rest = _REST_OF_LINE.match(text, end)
    assert rest is not None
    if not text[line:begin].strip(" \t") and rest.group(1):
        begin, end = line, rest.end()
    elif index + 1 < len(owner.items):
        end = rest.end(0) if not rest.group(1) else end
    else:
        begin = len(text[:begin].rstrip(" \t"))
    text = text[:begin] + text[end:]
    if index and item.comma < 0:
        # The item before is the last one now, so its comma goes too.
        comma = owner.items[index - 1].comma
        text = text[:comma] + text[comma + 1 :]
    return text
