"""No stored text and no search takes the time that other callers need."""

import sys
import time
import tracemalloc
import unicodedata
from collections.abc import Callable

import pytest

from reflexio_mcp.matching.words import words_of
from reflexio_mcp.traffic.audit.rules.redaction import secret_in_name
from reflexio_mcp.traffic.learnings.evidence import evidence_of, normalized
from tests.learnings.rows import interactions, learned, playbook, turns_of

MARKS = "\u0301\u0328"
"""Two marks that Unicode puts into another order."""


def find(text: str) -> None:
    assert not words_of("nowhere at-all").are_in([text])


def find_fast(text: str) -> None:
    assert not words_of("nowhere at-all").may_be_in([text])


def quote(text: str) -> None:
    """A learning lists the text and quotes something else."""
    assert not evidence_of(learned(playbook(1, [1], "nowhere")), turns_of(interactions(text))).quoted_ids


@pytest.mark.parametrize("letter", ["\ufdfa", "\u3316"])
@pytest.mark.parametrize("look", [find, find_fast, quote])
def test_letters_that_stand_for_many_take_about_as_long_as_those_they_stand_for(
    look: Callable[[str], None], letter: str
) -> None:
    def taken(text: str) -> float:
        began = time.thread_time()
        look(text)
        return time.thread_time() - began

    spelled_out = unicodedata.normalize("NFKC", letter)
    # In turns, because other programs slow both down.
    rounds = [(taken(letter * 20_000), taken(spelled_out * 20_000)) for _ in range(10)]
    letters, spelled = zip(*rounds, strict=True)
    assert min(letters) < 3 * min(spelled)


@pytest.mark.parametrize("look", [find, find_fast, quote])
def test_many_marks_in_a_row_are_no_work(look: Callable[[str], None]) -> None:
    began = time.perf_counter()
    look("a" + MARKS * 30_000)
    assert time.perf_counter() - began < 3


LONG_TEXTS = pytest.mark.parametrize(
    "text",
    ["\ufdfa" * 50_000, "a\u200b" * 250_000, "\U000e0041" * 500_000, "é " * 250_000, "e " * 250_000],
    ids=["letters that stand for 18", "invisible ones among others", "invisible ones", "words", "ASCII"],
)


@LONG_TEXTS
@pytest.mark.parametrize("look", [find, find_fast])
def test_a_search_never_holds_a_whole_text_again(look: Callable[[str], None], text: str) -> None:
    """A step that is as large as a text would block all threads, too."""
    assert memory_of(look, text) < 500_000


@LONG_TEXTS
def test_a_text_that_may_be_quoted_is_held_once_besides_its_pieces(text: str) -> None:
    assert memory_of(normalized, text) < 2.2 * sys.getsizeof(normalized(text))


def memory_of(look: Callable[[str], object], text: str) -> int:
    """The most bytes that a look at a text holds."""
    tracemalloc.start()
    try:
        look(text)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("word", ["cafe\u0301", "\u304b\u3099", "\u1112\u1161\u11ab", "\uff76\uff9e"])
def test_a_word_is_found_wherever_it_stands_in_a_long_text(word: str) -> None:
    assert all(words_of(word).are_in(["é" + " x" * place + f" {word} end"]) for place in range(240, 260))


@pytest.mark.parametrize("word", ["\u304b\u3099", "\u1112\u1161\u11ab", "\uff76\uff9e"])
def test_a_word_is_found_wherever_it_stands_in_a_long_text_without_blanks(word: str) -> None:
    assert all(
        words_of(word).are_in(["東" * place + word]) for place in (*range(490, 510), *range(990, 1140))
    )


@pytest.mark.parametrize("first", ["é", "e"])
def test_a_phrase_is_found_and_a_part_of_a_word_is_not_wherever_they_stand(first: str) -> None:
    for place in (*range(480, 520), *range(980, 1020), *range(15_980, 16_020)):
        text = f"{first} " + "x" * place
        assert words_of('"night train"').are_in([f"{text} night \n train"])
        assert words_of("ines").are_in([f"{text} ines"])
        assert not words_of("ines").are_in([f"{text}ines{'y' * 600}"])


def test_many_blanks_between_two_words_are_one_blank() -> None:
    assert words_of('"two words"').are_in(["é two" + " \u2003" * 10_000 + "words"])
    assert words_of('"two words"').are_in(["two" + " \n" * 20_000 + "words"])


def test_a_word_behind_many_marks_is_found_and_quoted() -> None:
    text = "a" + MARKS * 1_000 + " said cafe\u0301 au lait"
    assert words_of("CAF\u00c9").are_in([text])
    evidence = evidence_of(learned(playbook(1, [1], "said caf\u00e9 au lait")), turns_of(interactions(text)))
    assert evidence.quoted_ids == {1}


def test_a_very_long_id_is_looked_through_quickly() -> None:
    began = time.perf_counter()
    secret_in_name("password is " * 20_000)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("Ines", "its readINESs", False),
        ("Ines", "its readiness, says INES", True),
        ("Ines", "Inesita", True),
        ("port", "the airport", False),
        ("airport", "all airports", True),
        ("irport", "all airports", True),
        ("px", "20px wide", True),
        ("id", "user_id", True),
        ("ß", "grüße", False),
        ("東京", "大東京都", True),
        ("ביתי", "הביתי", True),
        ('"ad to"', "road to town", True),
    ],
)
def test_a_short_word_is_found_where_a_word_begins(word: str, text: str, found: bool) -> None:
    assert words_of(word).are_in([text]) is found


def test_the_place_of_a_short_word_is_where_a_word_begins() -> None:
    assert words_of("Ines").index_in("Readiness, says Ines") == 16
