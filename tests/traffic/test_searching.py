"""No stored text and no search takes the time that other callers need."""

import time

import pytest

from reflexio_mcp.matching.words import words_of
from reflexio_mcp.traffic.audit.rules.redaction import secret_in_name

MARKS = "\u0301\u0328"
"""Two marks that Unicode puts into another order."""


def test_many_marks_in_a_row_are_searched_quickly() -> None:
    words, text = words_of("cafe\u0301"), "a" + MARKS * 30_000 + " Caf\u00e9"
    began = time.perf_counter()
    assert words.are_in([text])
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize("word", ["cafe\u0301", "\u304b\u3099", "\u1112\u1161\u11ab"])
def test_a_word_is_found_wherever_it_stands_in_a_long_text(word: str) -> None:
    assert all(words_of(word).are_in(["é" * 10 + " x" * place + f" {word} end"]) for place in range(480, 520))


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
