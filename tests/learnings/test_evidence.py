"""Which stored interactions the quotes of a learning are found in."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexio_mcp.traffic.learnings.evidence import Evidence, evidence_of
from tests.learnings.rows import Row, interactions, learned, merged, playbook, profile, turns_of
from tests.support import belief_oracle

PEANUTS = "I cannot eat peanuts. Give me everything in metric"
COLOUR = "My favourite colour is test-blue"
CAT = "It has a cat in it"


def look(row: Row, rows: dict[int, Row], **options: bool) -> Evidence:
    return evidence_of(learned(row), turns_of(rows, **options))


def found(evidence: Evidence) -> list[tuple[str, list[int]]]:
    return [(one.words, [turn.interaction_id for turn in one.turns]) for one in evidence.passages]


def test_a_quote_names_its_interaction_and_the_rest_of_the_window_is_a_number() -> None:
    rows = interactions(PEANUTS, "ping", COLOUR, CAT)
    evidence = look(profile("p", [1, 2, 3, 4, 9], "I cannot eat peanuts"), rows)
    assert found(evidence) == [("I cannot eat peanuts", [1])]
    assert (evidence.quoted_ids, evidence.window_only, evidence.gone) == ({1}, {2, 3, 4}, {9})
    [turn] = evidence.quoted_turns
    assert (turn.request_id, turn.session_id, turn.role) == ("r1", "s1", "User")


@pytest.mark.parametrize(
    "quote",
    [merged(CAT, merged(COLOUR, PEANUTS)), merged(merged(CAT, COLOUR), PEANUTS)],
    ids=["newest first", "newest last"],
)
def test_the_quotes_of_a_profile_that_was_merged_twice_are_taken_apart(quote: str) -> None:
    rows = interactions(PEANUTS, COLOUR, CAT)
    evidence = look(profile("p", [1, 2, 3], quote), rows)
    assert found(evidence) == [(CAT, [3]), (COLOUR, [2]), (PEANUTS, [1])]
    assert evidence.is_complete


def test_equal_quotes_are_kept_once_and_each_interaction_that_says_them_is_evidence() -> None:
    rows = interactions(CAT, "What is the weather?", CAT)
    evidence = look(profile("p", [1, 2, 3], merged(CAT, CAT)), rows)
    assert found(evidence) == [(CAT, [1, 3])]


def test_blank_lines_of_an_interaction_are_no_border_and_those_between_interactions_are() -> None:
    letter = "Dear Sir,\n\nI write to you about the heating.\n\nYours, Ada"
    rows = interactions(letter, "Shorter, please", "I write to you about the heating.")
    evidence = look(playbook(1, [1, 2], f"{letter}\n\nShorter, please"), rows)
    assert found(evidence) == [(letter, [1]), ("Shorter, please", [2])]


def test_the_head_and_the_tail_of_a_long_interaction_are_two_passages_of_it() -> None:
    rows = interactions("The first words. Many in the middle. The last words.", "Thanks")
    evidence = look(playbook(1, [1, 2], "The first words.\n\nThe last words."), rows)
    assert found(evidence) == [("The first words.", [1]), ("The last words.", [1])]


@pytest.mark.parametrize(
    ("interaction", "quote"),
    [
        (
            {
                "content": "Here",
                "tools_used": [{"tool_name": "find", "tool_data": {"where": "Köln", "n": 2}}],
            },
            '[used tool: find({"where": "K\\u00f6ln", "n": 2})]\n\nHere',
        ),
        ({"user_action": "click", "user_action_description": "the blue button"}, "click the blue button"),
        ({"content": "Long answer", "expert_content": "A short answer"}, "A short answer"),
        ({"content": "I’m “vegan” – mostly"}, 'I\'m "vegan" - mostly'),  # noqa: RUF001
        ({"content": "I  EAT\nno Meat"}, "I eat no meat"),
        ({"content": "私は寿司が好きです"}, "寿司が好き"),
    ],
    ids=["tool", "action", "expert", "quotation marks", "blanks and case", "a script without blanks"],
)
def test_a_quote_is_found_in_the_form_that_reflexio_gives_it(interaction: Row, quote: str) -> None:
    evidence = look(playbook(1, [1, 2], quote), interactions(interaction, "Something else"))
    assert [
        (turn.interaction_id, passage.near) for passage in evidence.passages for turn in passage.turns
    ] == [(1, False)]


def test_a_short_quote_is_not_found_inside_a_word() -> None:
    evidence = look(profile("p", [1, 2], "tea"), interactions("Ask the team", "Green tea, please"))
    assert evidence.quoted_ids == {2}


def test_a_quote_is_looked_for_only_in_the_interactions_that_the_learning_lists() -> None:
    evidence = look(profile("p", [1], CAT), interactions(PEANUTS, CAT))
    assert not evidence.quoted_ids
    assert [one.words for one in evidence.unresolved] == [CAT]


@pytest.mark.parametrize(
    "quote",
    [
        "I can not eat peanuts. Give everything in metric!",
        "cannot eat peanuts. Give me everything in met",
        "I cannot eat ... everything in metric",
        "cannot eat pean…",
        "User: I cannot eat peanuts. Give me everything in metric.",
    ],
    ids=["edited", "cut", "left out", "cut with dots", "speaker"],
)
def test_a_quote_that_nearly_matches_names_its_interaction_as_near(quote: str) -> None:
    rows = interactions(CAT, PEANUTS, "Peanuts are legumes, as a matter of fact.")
    [passage] = look(profile("p", [1, 2, 3], quote), rows).passages
    assert passage.near
    assert [turn.interaction_id for turn in passage.turns] == [2]


@pytest.mark.parametrize(
    "quote",
    [
        "Ada lives in Vienna since May",
        "peanuts no",
        "everything in metric ... I cannot eat",
        "I cannot eat peanuts. " * 4,
    ],
    ids=["another fact", "too short", "another order", "much that is not there"],
)
def test_a_quote_that_nothing_is_similar_to_stays_unresolved(quote: str) -> None:
    evidence = look(profile("p", [1, 2], quote), interactions(PEANUTS, CAT))
    assert not evidence.quoted_ids
    assert len(evidence.unresolved) == 1
    assert evidence.possible_turns == evidence.listed


def test_the_most_similar_interaction_is_meant_and_not_every_similar_one() -> None:
    rows = interactions(
        *(f"Please book my flight to Lisbon for the {day} of May, thank you" for day in ("3rd", "5th"))
    )
    quote = "Please book my flights to Lisbon for the 3rd of May, thank you"
    [passage] = look(profile("p", [1, 2], quote), rows).passages
    assert [turn.interaction_id for turn in passage.turns] == [1]


def test_a_learning_without_a_quote_may_come_from_every_interaction_that_it_lists() -> None:
    evidence = look(profile("p", [1, 2], None), interactions(PEANUTS, CAT))
    assert not evidence.passages
    assert [turn.interaction_id for turn in evidence.possible_turns] == [1, 2]


def test_what_was_not_reached_is_not_called_gone() -> None:
    evidence = look(profile("p", [1, 7], CAT), interactions(CAT), missing_are_gone=False)
    assert (evidence.gone, evidence.unread) == (frozenset(), {7})
    assert not evidence.is_complete


def test_a_quote_of_a_hundred_thousand_repeated_words_is_not_compared_for_long() -> None:
    rows = interactions("ab " * 300_000)
    evidence = look(profile("p", [1], "ba " * 30_000 + "c"), rows)
    assert evidence.unresolved


SENTENCES = (
    "I cannot eat peanuts",
    "Everything in metric, please",
    "It has a cat in it",
    "My favourite colour is test-blue",
    "Where do I find the printer?",
    "Dear Sir,\n\nthe heating is cold",
    "Noted: “no satay” – ever",  # noqa: RUF001
)

ACTIONS = (
    {"user_action": "click", "user_action_description": "on the green bicycle"},
    {"tools_used": [{"tool_name": "weather", "tool_data": {"town": "Graz"}}], "content": "Sunny in Graz"},
    {"content": "Two pages of it", "expert_content": "Three short sentences"},
)


def forms_of(row: Row) -> list[str]:
    """What Reflexio quotes of an interaction: all of it, or a text."""
    texts = list(belief_oracle.texts(row))
    if "user_action" in row:
        return texts[-1:]
    return ["\n\n".join(texts), *texts]


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[int, Row], list[Row]]:
    """Interactions, some of them deleted, and a row that quotes some of them."""
    said = draw(
        st.lists(st.one_of(st.sampled_from(SENTENCES), st.sampled_from(ACTIONS)), min_size=1, max_size=8)
    )
    everything = interactions(*said)
    ids = draw(st.lists(st.sampled_from(list(everything)), unique=True, min_size=1))
    quoted = draw(st.lists(st.sampled_from(ids), max_size=4))
    texts = [draw(st.sampled_from(forms_of(everything[one]))) for one in quoted]
    rows = [playbook(1, ids, "\n\n".join(dict.fromkeys(texts)) or None)]
    quote = ""
    for text in texts:
        quote = merged(text, quote) if quote else text
    rows.append(profile("p", ids, quote or None))
    kept = draw(st.sets(st.sampled_from(list(everything))))
    return {one: row for one, row in everything.items() if one in kept}, rows


@settings(deadline=None)
@given(histories())
def test_evidence_is_what_the_oracle_finds(history: tuple[dict[int, Row], list[Row]]) -> None:
    stored, rows = history
    for row in rows:
        wanted = belief_oracle.evidence(row, stored)
        evidence = look(row, stored)
        assert sorted(evidence.quoted_ids) == wanted["evidence"]
        assert sorted(evidence.window_only) == sorted(wanted["window_only"])
        assert sorted(evidence.gone) == sorted(wanted["gone"])
        assert [one.words for one in evidence.unresolved] == wanted["unresolved"]
        assert [one.words for one in evidence.passages] == [text for text, _ in wanted["passages"]]


def test_words_of_an_interaction_that_is_not_stored_are_looked_for_where_they_are_stored_again() -> None:
    rows = interactions("ping", COLOUR, CAT)
    again = turns_of({3: rows[3], 4: {"interaction_id": 4, "content": PEANUTS}}).by_id
    stored = replace(turns_of({2: rows[2]}), quoted=again)
    evidence = evidence_of(learned(profile("p", [1, 2], merged("I cannot eat peanuts", COLOUR))), stored)
    assert found(evidence) == [("I cannot eat peanuts", [4]), (COLOUR, [2])]
    assert (evidence.quoted_ids, evidence.window_only, evidence.gone) == ({2, 4}, set(), {1})
    assert evidence.is_complete


def test_words_of_a_learning_whose_interactions_are_all_stored_are_not_looked_for_elsewhere() -> None:
    rows = interactions(CAT, CAT)
    stored = replace(turns_of({1: rows[1]}), quoted=turns_of({2: rows[2]}).by_id)
    assert found(evidence_of(learned(profile("p", [1], CAT)), stored)) == [(CAT, [1])]
