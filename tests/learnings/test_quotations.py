"""Where the words stand that a learning quotes."""

import unicodedata
from typing import Any

import pytest

from reflexio_mcp.rest.models import StoredInteraction
from reflexio_mcp.traffic.learnings.quotations import are_said, passages, words_of

MERGED = """Original source evidence values (separate excerpts):
My dog is called Rex.

--- Separate source evidence value ---

I live in Lisbon."""


def said(quote: str, **turn: Any) -> bool | None:
    """Whether a turn has a quotation; `None` where nothing of it can be looked for."""
    quoted = passages(quote)
    return are_said(quoted, words_of(StoredInteraction(interaction_id=1, **turn))) if quoted else None


@pytest.mark.parametrize(
    "turn",
    [
        {"content": "As I said: I LIVE in  Lisbon, you know."},
        {"expert_content": "They say: I live in Lisbon"},
        {"shadow_content": "I live in Lisbon"},
        {"user_action": "click", "user_action_description": "I live in Lisbon"},
        {"content": "x", "tools_used": [{"tool_name": "note", "tool_data": {"text": "I live in Lisbon"}}]},
    ],
    ids=["content", "an expert's answer", "shadow", "an action", "a tool"],
)
def test_words_are_found_wherever_reflexio_reads_them(turn: dict[str, Any]) -> None:
    assert said("“I live in Lisbon.”", **turn)
    assert not said("“I live in London.”", **turn)


@pytest.mark.parametrize(
    ("quote", "content"),
    [
        ("click I opened the settings", ""),
        ('[used tool: search({"q": "flights to Lisbon"})]', ""),
    ],
    ids=["an action", "a tool"],
)
def test_a_quotation_is_found_as_reflexio_writes_it(quote: str, content: str) -> None:
    turn = {
        "content": content,
        "user_action": "click",
        "user_action_description": "I opened the settings",
        "tools_used": [{"tool_name": "search", "tool_data": {"q": "flights to Lisbon"}}],
    }
    assert said(quote, **turn)


@pytest.mark.parametrize(
    "quote",
    [
        "I live in Lisbon.\n\nMy dog is called Rex.",
        MERGED,
        "I live … Lisbon",
        "My dog ... called Rex\n\nno",
    ],
)
def test_one_whole_passage_is_enough(quote: str) -> None:
    assert said(quote, content="I live in Lisbon, and my dog is called Rex")


@pytest.mark.parametrize(
    ("quote", "content"),
    [
        ("Hi,\nmy favourite colour is green", "I think this is a health question"),
        ("Yes.\nI am allergic to nuts", "Yes, yesterday I flew home"),
        ("I … like tea very much", "The moon is like a cheese"),
        ("no\n\nI am allergic to nuts", "Do you know it? No."),
    ],
)
def test_a_part_of_a_passage_is_not_enough(quote: str, content: str) -> None:
    assert said(quote, content=content) is False


@pytest.mark.parametrize(
    "quote", ["", "👍", "!!!", "no", "ok ok", "…", "--- Separate source evidence value ---"]
)
def test_what_says_too_little_is_not_looked_for(quote: str) -> None:
    assert said(quote, content=f"so {quote} it is") is None


def test_the_same_letters_are_the_same_however_they_are_written() -> None:
    assert said("We meet at the café", content=unicodedata.normalize("NFD", "we meet at the café today"))
    assert said("我住在里斯本", content="你好 我住在里斯本。")
    assert said("我住在里斯本", content="你好 我住在伦敦。") is False
