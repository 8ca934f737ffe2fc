"""How well a quote that is not exact still names its turn, by the similarity that counts as near.

    python3 benchmarks/quotes.py FOLDER ["made with" | "held out"]

FOLDER has a checkout of the schema-guided dialogues, as `quality_sets.py` says. What a user says in a window of ten turns
is quoted with a disturbance. *Right*: the turn is named, *wrong*: another one alone is. Then the turn is taken away, as if
it was deleted, and *in vain* is how often another one is named. Prints one row a disturbance and similarity.
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import quality_sets
from quality_sets import Part

from reflexio_mcp.rest.models import StoredInteraction, StoredRequest, UserProfile
from reflexio_mcp.traffic.learnings import evidence
from reflexio_mcp.traffic.learnings.records import Learning, learning_of

DIALOGUES = 400
WINDOW = 10
SIMILARITIES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

Disturb = Callable[[random.Random, str], str]


def cut_ends(chance: random.Random, said: str) -> str:
    """Without the first words and the last letters."""
    words = said.split()
    fewer = " ".join(words[chance.randint(0, len(words) // 4) :])
    return fewer[: -chance.randint(1, max(1, len(fewer) // 4))] + "…"


def typing_errors(chance: random.Random, said: str) -> str:
    """A wrong letter in twenty."""
    letters = list(said)
    for place in chance.sample(range(len(letters)), max(1, len(letters) // 20)):
        letters[place] = chance.choice("abcdefghijklmnopqrstuvwxyz")
    return "".join(letters)


def changed_words(chance: random.Random, said: str) -> str:
    """One word in six is another or is missing."""
    words = said.split()
    for place in chance.sample(range(len(words)), max(1, len(words) // 6)):
        words[place] = chance.choice(("", "really", "it", "please", "the"))
    return " ".join(words)


def third_person(_: random.Random, said: str) -> str:
    """As a report about the user."""
    others = {
        "i": "the user",
        "i'm": "the user is",
        "my": "their",
        "me": "them",
        "am": "is",
        "you": "the assistant",
    }
    return " ".join(others.get(word.lower(), word) for word in said.split())


def left_out(chance: random.Random, said: str) -> str:
    """Two words in the middle are three dots."""
    words = said.split()
    place = chance.randint(1, max(1, len(words) - 3))
    return " ".join([*words[:place], "...", *words[place + 2 :]])


def with_speaker(_: random.Random, said: str) -> str:
    """As the conversation is shown to the model, without marks."""
    return f"User: {re.sub(r'[^A-Za-z0-9 ]', '', said).lower()}"


DISTURBANCES: Sequence[Disturb] = (
    cut_ends,
    typing_errors,
    changed_words,
    third_person,
    left_out,
    with_speaker,
)


@dataclass(frozen=True)
class Case:
    """A window, and a turn of it that is quoted."""

    turns: evidence.Turns
    said: str
    interaction_id: int


def cases(folder: Path, part: Part) -> Iterator[Case]:
    request = StoredRequest(request_id="r", user_id="u", session_id="s")
    for number, said in enumerate(quality_sets.dialogues(folder, part)):
        if number == DIALOGUES:
            return
        window = {
            place: evidence.Turn(request, place, StoredInteraction(interaction_id=place, content=text))
            for place, text in enumerate(said[:WINDOW], 1)
        }
        turns = evidence.Turns(window)
        yield from (Case(turns, said[place - 1], place) for place in window if place % 2)


def learning(quote: str, turns: evidence.Turns) -> Learning:
    return learning_of(
        UserProfile(profile_id="p", source_interaction_ids=list(turns.by_id), source_span=quote)
    )


def outcome(case: Case, quote: str) -> str:
    named = evidence.evidence_of(learning(quote, case.turns), case.turns).quoted_ids
    if case.interaction_id in named:
        return "right"
    return "wrong" if named else "none"


def named_in_vain(case: Case, quote: str) -> bool:
    rest = {place: turn for place, turn in case.turns.by_id.items() if turn.text != normalized(case.said)}
    turns = evidence.Turns(rest)
    return bool(evidence.evidence_of(learning(quote, turns), turns).quoted_ids)


def normalized(said: str) -> str:
    return evidence.normalized(said)


def rows(folder: Path, part: Part) -> Iterator[str]:
    chosen = [case for case in cases(folder, part) if len(case.said.split()) >= 4]
    for disturb in DISTURBANCES:
        chance = random.Random(42)
        quotes = [disturb(chance, case.said) for case in chosen]
        for similarity in SIMILARITIES:
            evidence.NEAR = similarity
            pairs = list(zip(chosen, quotes, strict=True))
            found = Counter(outcome(case, quote) for case, quote in pairs)
            vain = sum(named_in_vain(case, quote) for case, quote in pairs)
            shares = [found["right"], found["wrong"], vain]
            yield f"| {disturb.__name__} | {similarity} | {' | '.join(f'{one / len(chosen):.1%}' for one in shares)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="How well quotes that are not exact name their turn.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=get_args(Part)[:2], default="made with", nargs="?")
    given = parser.parse_args()
    print("| disturbance | similarity | right | wrong | in vain |\n|---|---|---|---|---|")
    print(*rows(given.folder, given.part), sep="\n")


if __name__ == "__main__":
    main()
