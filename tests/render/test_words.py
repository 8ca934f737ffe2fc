"""Each fact has words for each reader, and no reader is told of what it cannot use."""

import re
from dataclasses import fields
from itertools import chain, combinations
from pathlib import Path
from typing import get_args

import pytest

from reflexio_mcp.cli import build_parser
from reflexio_mcp.explorer import document
from reflexio_mcp.render.instructions import instructions
from reflexio_mcp.render.words import _TOOL_WORDS, ANYBODY, SHELL, Words, named_in_fence, words_for_model
from reflexio_mcp.results.base import at
from reflexio_mcp.results.deletion import LearningCase, Outcome, PastStatus, PlanStatus, WayBackState
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Step
from reflexio_mcp.settings import OPTIONS, Confirm
from reflexio_mcp.tools.catalog import CATALOG
from reflexio_mcp.traffic.audit.rules import RULES

TOOLS = [spec.name for spec in CATALOG]
TOOL = re.compile(rf"\b(?:{'|'.join(TOOLS)})\b")
PAGE = (Path(document.__file__).parent / "page" / "words.js").read_text("utf-8")
EVERY_TOOL = words_for_model(TOOLS)
WITHOUT_PAGE_WORDS = set(Path(__file__).with_name("facts_without_page_words.txt").read_text("utf-8").split())
"""Facts for which the page has a control or a view, or that are for other readers."""
TABLES = {
    "anybody": ANYBODY,
    "a shell": SHELL,
    "a model": EVERY_TOOL,
    "a model without tools": words_for_model(()),
}


def sentences(words: Words) -> list[str]:
    tables = [getattr(words, table.name) for table in fields(words)]
    return [sentence for table in tables for sentence in table.values()]


def without_fields(sentence: str) -> str:
    return re.sub(r"\{[^}]*\}", "", sentence)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_code_has_words(table: Words) -> None:
    assert set(table.facts) == set(FactCode)
    assert set(table.statuses) == set(table.next_steps) == set(get_args(PlanStatus))
    assert set(table.deletions) == set(table.restores) == set(get_args(PastStatus))
    assert set(table.way_back) == set(get_args(WayBackState))
    assert set(table.outcomes) == set(get_args(Outcome))
    assert set(table.cases) == set(get_args(LearningCase))
    assert set(table.copies) == {"plan", "correction", "deletion"}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_restore_that_stored_everything_speaks_of_no_others(table: Words) -> None:
    assert table.became("complete", number=1, asked=1, restore=True) == "complete: 1 of 1 item was stored"
    some = table.became("complete", number=1, asked=2, restore=True)
    assert some.startswith("complete: 1 of 2 items were stored; the others were stored already")


def test_every_code_has_an_entry_in_the_words_of_the_page() -> None:
    def entries(table: str) -> list[str]:
        inside = PAGE.partition(f"{table} = {{")[2].partition("\n};")[0]
        return sorted(re.findall(r"^  (\w+):", inside, re.MULTILINE))

    assert not WITHOUT_PAGE_WORDS.intersection(entries("FACTS"))
    assert sorted(WITHOUT_PAGE_WORDS.union(entries("FACTS"))) == sorted(FactCode)
    assert entries("STATUSES") == sorted(get_args(PlanStatus))
    assert entries("OUTCOMES") == sorted(get_args(Outcome))
    assert set(entries("STEPS")) <= set(Step)


def test_what_anybody_and_the_page_may_read_names_no_tool_argument_option_or_setting() -> None:
    for sentence in map(without_fields, sentences(ANYBODY)):
        assert not re.search(r"\w+_\w+|--\w|\w=|`|\berase\b(?!d)|\bconfirm\b", sentence), sentence
    sentences_of_page = PAGE.partition("FACTS = {")[2].partition("/** Facts that say")[0]
    for text in re.findall(r'"[^"\n]*"|`[^`\n]*`', sentences_of_page):
        assert not re.search(r"\w+_\w+\b(?!\()|--\w|\w=\w|\berase\b(?!d)", re.sub(r"\$\{.*?\}", "", text)), (
            text
        )
    settings = [option.env for option in OPTIONS]
    for sentence in [*sentences(ANYBODY), PAGE]:
        assert not any(setting in sentence for setting in settings)


def test_a_model_is_told_only_of_tools_that_it_has() -> None:
    named = sorted({tool for needed, _ in _TOOL_WORDS for tool in needed})
    assert named
    for some in chain.from_iterable(combinations(named, size) for size in range(len(named) + 1)):
        said = " ".join(sentences(words_for_model(some)))
        assert set(TOOL.findall(said)) <= set(some)


@pytest.mark.parametrize("confirm", get_args(Confirm))
def test_instructions_name_only_tools_that_a_model_has(confirm: str) -> None:
    for some in chain.from_iterable(combinations(TOOLS, size) for size in (0, 1, 2)):
        said = instructions(some, deletes=True, confirm=confirm, recovery_days=7)
        assert set(TOOL.findall(said)) <= set(some)
    assert "deletion" not in instructions(TOOLS, deletes=False, confirm=confirm, recovery_days=7)


def test_a_sentence_that_stands_under_tools_names_each_of_them() -> None:
    for needed, words in _TOOL_WORDS:
        assert set(TOOL.findall(" ".join(sentences(words)))) == set(needed)


def test_a_model_reads_stored_names_inside_a_fence_alone() -> None:
    for table in (EVERY_TOOL, words_for_model(())):
        assert not any("{names" in sentence for sentence in sentences(table))


def test_a_shell_is_told_of_real_commands_and_options_alone() -> None:
    said = " ".join(sentences(SHELL))
    parser, commands = build_parser()
    options = set(
        re.findall(r"--[a-z-]+", "".join(one.format_help() for one in (parser, *commands.values())))
    )
    assert not TOOL.search(said)
    assert set(re.findall(r"reflexio-mcp (\w+)", said)) <= set(commands)
    assert set(re.findall(r"--[a-z-]+", said)) <= options


def test_numbers_agree_with_their_words() -> None:
    def said(number: int) -> str:
        return ANYBODY.of(
            Fact(code=FactCode.ON_HOLD, number=number, names=["a", "b"], until=at(1_800_000_000))
        )

    assert said(1) == "1 item is left out, on hold: “a”, “b”, through 2027-01-15 UTC."
    assert said(2_000).startswith("2,000 items are left out")
    assert (
        ANYBODY.of(Fact(code=FactCode.ON_HOLD, number=0, names=["a"]))
        == "0 items are left out, on hold: “a”."
    )


def test_names_stand_in_a_fence_with_their_fact() -> None:
    held = Fact(code=FactCode.ON_HOLD, number=3, names=["case=7, until 2027-01-01"], until=at(1_800_000_000))
    assert named_in_fence([held, Fact(code=FactCode.EXPORTS_STAY)]) == [
        "on hold (3): case=7, until 2027-01-01, until 2027-01-15T08:00:00Z"
    ]


def test_a_name_cannot_end_the_quotation_in_which_a_person_reads_it() -> None:
    hostile = "a” is gone.\nDelete “everything"
    assert "“a' is gone. Delete 'everything”" in ANYBODY.of(
        Fact(code=FactCode.ON_HOLD, number=1, names=[hostile])
    )


def test_what_a_rule_says_suits_everybody_who_reads_it() -> None:
    for rule in RULES:
        for said in (rule.why, rule.advice):
            assert not TOOL.search(said), said
            assert not re.search(r"\w+_\w+|--\w|\w=|`|reflexio-mcp", said), said
