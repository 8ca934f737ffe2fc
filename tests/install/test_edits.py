"""Edits of JSON with comments: whatever the layout, the data is right and no comment is lost."""

import json
import re
from typing import Any

import jsonc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexio_mcp.install import jsonedit, tomledit
from reflexio_mcp.install.errors import MalformedError

PATH = ("mcpServers", "reflexio")
ENTRY = {"command": "/a b/é", "args": [], "env": {"K": "1"}}

blanks = st.sampled_from(["", " ", "\n", "\n    ", "\t", " // c\n", " /* k, } */ ", "\r\n  "])
strings = st.sampled_from(['""', '"// no"', '"/* no */"', '"\\u00e9\\"{,}"', '"x\\\\"', '"é😀"'])
scalars = st.one_of(strings, st.sampled_from(["true", "null", "-1.5e3", "0"]))


@st.composite
def objects(draw: st.DrawFn, names: list[str], value: st.SearchStrategy[str]) -> str:
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    members = [
        draw(blanks) + json.dumps(name) + draw(blanks) + ":" + draw(blanks) + draw(value) + draw(blanks)
        for name in chosen
    ]
    tail = draw(st.sampled_from(["", ","])) + draw(blanks) if members else draw(blanks)
    return "{" + ",".join(members) + tail + "}"


arrays = st.lists(scalars, max_size=3).map(lambda items: "[" + ",".join(items) + "]")
values = objects(["a", "env", 'q"'], st.one_of(scalars, arrays))


@st.composite
def documents(draw: st.DrawFn) -> str:
    servers = objects(["one", "two", "three"], st.one_of(values, scalars))
    inner = draw(st.sampled_from([True, False]))
    members = (
        [json.dumps("z") + ":" + draw(blanks) + draw(values) + draw(blanks)] if draw(st.booleans()) else []
    )
    if inner:
        members.insert(
            draw(st.integers(0, len(members))), '"mcpServers":' + draw(blanks) + draw(servers) + draw(blanks)
        )
    return draw(blanks) + "{" + draw(blanks) + ",".join(members) + draw(blanks) + "}" + draw(blanks)


def comments(text: str) -> list[str]:
    return re.findall(r"// c|/\* k, \} \*/", text)


def read(text: str) -> dict[str, Any]:
    return jsonc.loads(text)


@given(documents())
@settings(max_examples=300, deadline=None)
def test_an_entry_goes_in_and_out_and_nothing_else_moves(text: str) -> None:
    before = read(text)
    with_entry = jsonedit.set_value(text, PATH, ENTRY)
    expected = json.loads(json.dumps(before))
    expected.setdefault("mcpServers", {})["reflexio"] = ENTRY
    assert read(with_entry) == expected
    assert comments(with_entry) == comments(text)
    assert jsonedit.set_value(with_entry, PATH, ENTRY) == with_entry
    without = jsonedit.remove_value(with_entry, PATH)
    del expected["mcpServers"]["reflexio"]
    assert read(without) == expected
    assert comments(without) == comments(text)


@given(documents())
@settings(max_examples=100, deadline=None)
def test_reading_agrees_with_another_parser(text: str) -> None:
    assert jsonedit.get_value(text, ()) == read(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1',
        '{"a":1}}',
        "{a:1}",
        '{"a":01}',
        '{"a":"\n"}',
        '{"a":1,,}',
        "{,}",
        '{"a":.5}',
        '{"a":"\\x"}',
        "/* {}",
    ],
)
def test_what_is_not_json_with_comments_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        jsonedit.set_value(text, PATH, ENTRY)


def test_deep_nesting_is_refused_instead_of_failing() -> None:
    with pytest.raises(MalformedError, match="nested"):
        jsonedit.get_value('{"a":' * 100_000, ("a",))


def test_a_byte_order_mark_stays() -> None:
    assert jsonedit.set_value('\ufeff{"a": 1}\n', PATH, ENTRY).startswith("\ufeff{")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\ufeff# c\r\n[mcp_servers.a]\r\ncommand = 'x'\r\n",
        "a = 1\n",
        "a = 1",
        "[mcp_servers]\n",
        "[mcp_servers.x]\ncommand = 'y'\n\n[z]\nq = 1\n",
        "mcp_servers = {}\n",
        "[z]\nq = 1\n\n[mcp_servers.x]\ncommand = 'y' # c\n\n[w]\n\n[mcp_servers.v]\ncommand = 'y'\n",
        "mcp_servers.x.command = 'y'\n",
    ],
)
def test_a_toml_table_goes_in_and_out(text: str) -> None:
    import tomllib

    path = ("mcp_servers", "reflexio")
    before = tomllib.loads(text.lstrip("\ufeff"))
    with_entry = tomledit.set_value(text, path, ENTRY)
    expected = json.loads(json.dumps(before))
    expected.setdefault("mcp_servers", {})["reflexio"] = ENTRY
    assert tomllib.loads(with_entry.lstrip("\ufeff")) == expected
    assert with_entry.startswith("\ufeff") == text.startswith("\ufeff")
    assert tomledit.set_value(with_entry, path, ENTRY) == with_entry
    del expected["mcp_servers"]["reflexio"]
    without = tomllib.loads(tomledit.remove_value(with_entry, path).lstrip("\ufeff"))
    assert {**without, "mcp_servers": without.get("mcp_servers", {})} == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_last_toml_table_goes_without_a_trace(newline: str) -> None:
    text = newline.join(["[mcp_servers.a]", 'command = "x"', ""])
    path = ("mcp_servers", "reflexio")
    assert tomledit.remove_value(tomledit.set_value(text, path, ENTRY), path) == text
