"""Edits of TOML that keep comments and layout, with `tomlkit`; what is no TOML raises `MalformedError`."""

from collections.abc import MutableMapping, Sequence
from typing import Any, Final, cast

from reflexio_mcp.install.errors import MalformedError

__all__ = ["get_value", "remove_value", "set_value"]

_MARK: Final = "\ufeff"
"""Editors on Windows put it before the text; it stays there."""


def get_value(text: str, path: Sequence[str]) -> Any:
    """The value at a path of names as Python objects; `None` when it is not there."""
    node: Any = _parsed(text)
    for key in path:
        node = _table(node, key).get(key)
        if node is None:
            return None
    return _plain(node)


def set_value(text: str, path: Sequence[str], value: Any) -> str:
    """The text with the value at a path set; tables that are missing on the way are made."""
    import tomlkit
    import tomlkit.items

    document = _parsed(text)
    node: Any = document
    for depth, key in enumerate(path[:-1]):
        owner = _table(node, key)
        if key not in owner:
            # Only the innermost table needs a header of its own.
            owner[key] = tomlkit.table(is_super_table=depth < len(path) - 1)
        node = owner[key]
    owner = _table(node, path[-1])
    if path[-1] in owner and _plain(owner[path[-1]]) == value:
        return text
    inline = isinstance(owner, tomlkit.items.InlineTable)
    owner[path[-1]] = _written(value, inline=inline)
    return _dumped(text, document)


def remove_value(text: str, path: Sequence[str]) -> str:
    """The text without what is at a path; the same text when it is not there."""
    document = _parsed(text)
    node: Any = document
    for key in path[:-1]:
        node = _table(node, key).get(key)
        if node is None:
            return text
    if path[-1] not in _table(node, path[-1]):
        return text
    del node[path[-1]]
    changed = _dumped(text, document)
    newline = "\r\n" if "\r\n" in text else "\n"
    # Without the last table, the blank line before it goes too.
    return (
        changed.removesuffix(newline)
        if changed.endswith(newline * 2) and text.startswith(changed)
        else changed
    )


def _parsed(text: str) -> Any:
    import tomlkit
    from tomlkit.exceptions import ParseError

    try:
        return tomlkit.parse(text.removeprefix(_MARK))
    except ParseError as error:
        raise MalformedError(f"line {error.line}, column {error.col + 1}: this is not TOML") from None
    except ValueError:
        raise MalformedError("this is not TOML") from None


def _table(node: Any, key: str) -> MutableMapping[str, Any]:
    if not isinstance(node, MutableMapping):
        raise MalformedError(f"what should hold {key!r} is not a table")
    return cast("MutableMapping[str, Any]", node)


def _plain(node: Any) -> Any:
    return node.unwrap() if hasattr(node, "unwrap") else node


def _written(value: Any, *, inline: bool) -> Any:
    import tomlkit

    if not isinstance(value, dict):
        return value
    table: Any = tomlkit.inline_table() if inline else tomlkit.table()
    for key, inner in cast("dict[str, Any]", value).items():
        table[key] = _written(inner, inline=inline)
    return table


def _dumped(before: str, document: Any) -> str:
    import tomlkit

    text = tomlkit.dumps(document)
    if "\r\n" in before:
        text = text.replace("\r\n", "\n").replace("\n", "\r\n")
    return _MARK + text if before.startswith(_MARK) else text
