"""How many pairs of learnings a search for contradictions would show in vain.

    python3 benchmarks/conflicts.py FOLDER

FOLDER has the conversations of LoCoMo (snap-research/locomo, `data/locomo10.zip` unpacked). What was observed of each of its
people is an ordinary memory. Pairs that contradict each other are planted in each: one, or two. A rule shows at most 20
pairs a person, the most likely first, and every pair but the planted ones counts as shown in vain. Prints a row for each
rule.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log
from pathlib import Path

MOST_SHOWN = 20

PLANTED = (
    ("{} cannot eat peanuts.", "{} loves peanut butter with peanuts on toast."),
    ("{} lives in Lisbon.", "{} does not live in Lisbon any more."),
    ("{} drinks coffee every morning.", "{} never drinks coffee."),
    ("{} is allergic to penicillin.", "{} tolerates penicillin well."),
    ("{} prefers metric units.", "{} prefers imperial units."),
    ("{} wants answers in German.", "{} wants answers in English only."),
    ("{} is a vegetarian.", "{} is no vegetarian and orders steak."),
    ("{} owns a diesel car.", "{} has sold the diesel car."),
    ("{} has a sister called Ines.", "{} has no sister."),
    ("{} wakes at five o'clock.", "{} wakes at nine o'clock."),
    ("{} speaks Portuguese fluently.", "{} does not understand Portuguese."),
    ("{} earns a salary of 40,000.", "{} earns a salary of 90,000."),
)

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
DENIALS = frozenset(
    WORD.findall("no not never cannot can't doesn't don't isn't without sold any hates dislikes stopped")
)
COMMON = frozenset(
    WORD.findall(
        "a an the and or of to in on at for with her his their she he they is are was were be has have had it its that "
        "this by as from about who which when while also into being can"
    )
)


@dataclass(frozen=True)
class Rule:
    """Which pairs are shown.

    Args:
        most: how many learnings of a person may have a word that counts as rare.
        shared: how many rare words both have.
        alike: which part of the rarer words of one learning the other has at least.
        denial: only one of both has a word that denies.
    """

    most: int
    shared: int
    alike: float = 0.0
    denial: bool = False


RULES = [
    *(
        Rule(most, shared, denial=denial)
        for denial in (False, True)
        for most in (2, 4, 8)
        for shared in (1, 2)
    ),
    *(Rule(1_000, 1, alike, denial) for denial in (False, True) for alike in (0.3, 0.5, 0.7)),
]


def memories(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each person with what was observed of them."""
    for path in sorted(folder.rglob("*.json")):
        conversation = json.loads(path.read_text(encoding="utf-8"))
        for name in (conversation["speaker_a"], conversation["speaker_b"]):
            observed = [
                observation
                for key, of_people in conversation.items()
                if key.endswith("_observation")
                for observation, *_ in of_people.get(name, [])
            ]
            yield name, observed


def words_in(text: str) -> frozenset[str]:
    """Return the words of a text, without common ones and without a plural's end."""
    return frozenset(word.removesuffix("s") for word in WORD.findall(text.casefold()) if word not in COMMON)


def shown(name: str, texts: Sequence[str], rule: Rule) -> list[tuple[int, int]]:
    """Return the pairs that a rule shows, as the numbers of their texts."""
    words = [words_in(text) for text in texts]
    topics = [of_text - DENIALS - words_in(name) for of_text in words]
    having = Counter(word for of_text in topics for word in of_text)

    def weight(of_text: frozenset[str]) -> float:
        return sum(log(len(texts) / having[word]) for word in of_text)

    ranked: list[tuple[float, int, int]] = []
    for first, second in combinations(range(len(texts)), 2):
        both = topics[first] & topics[second]
        if sum(having[word] <= rule.most for word in both) < rule.shared:
            continue
        if rule.denial and bool(words[first] & DENIALS) == bool(words[second] & DENIALS):
            continue
        alike = weight(both) / min(weight(topics[first]), weight(topics[second]))
        if alike >= rule.alike:
            ranked.append((-alike, first, second))
    return [(first, second) for _, first, second in sorted(ranked)[:MOST_SHOWN]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    people = list(memories(parser.parse_args().folder))
    learnings = sum(len(observed) for _, observed in people)
    print(f"{len(people)} people, {learnings:,} learnings")
    print(
        "rare up to | shared | alike | one denies | one planted: found, shown, in vain | two planted: the same"
    )
    for rule in RULES:
        row = [str(rule.most), str(rule.shared), str(rule.alike), "yes" if rule.denial else "no"]
        print(" | ".join([*row, *(measured(people, rule, number) for number in (1, 2))]))


def measured(people: Sequence[tuple[str, list[str]]], rule: Rule, planted_each: int) -> str:
    """Return how many planted pairs a rule finds, how many it shows, and which part of these is in vain."""
    found = total = 0
    for number, (name, observed) in enumerate(people):
        planted = [PLANTED[(2 * number + place) % len(PLANTED)] for place in range(planted_each)]
        texts = [*observed, *(text.format(name) for pair in planted for text in pair)]
        wanted = {(len(observed) + 2 * place, len(observed) + 2 * place + 1) for place in range(planted_each)}
        pairs = shown(name, texts, rule)
        total += len(pairs)
        found += len(wanted.intersection(pairs))
    return f"{found} of {planted_each * len(people)}, {total}, {(total - found) / max(1, total):.0%}"


if __name__ == "__main__":
    main()
