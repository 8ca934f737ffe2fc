"""How much the audit's rules find, and what they find wrongly, on published data (`quality_sets.py`).

    python3 benchmarks/audit_quality.py FOLDER ["made with" | "held out" | "seen once" | "never seen"]

FOLDER has checkouts of the repositories that `quality_sets.py` names; what is missing is left out. Prints one row a set,
as `benchmarks/audit_quality.md` has them.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import get_args

import quality_sets
from quality_sets import Part, Sample

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.audit.rules.base import Session
from reflexio_mcp.traffic.audit.rules.duplicates import Duplicate
from reflexio_mcp.traffic.audit.rules.injection import passages_in
from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

CONVERSATIONS = 400


def found(samples: Iterable[Sample], rule: str, look: Callable[[Sample], tuple[bool, ...]]) -> Iterator[str]:
    """A row a set: in how many texts the rule finds something; for secrets, something probable, and anything."""
    sets: dict[str, list[tuple[bool, ...]]] = {}
    for sample in samples:
        seen = look(sample)
        for name in (sample.source, "all of these"):
            sets.setdefault(f"{name}, {'wanted' if sample.wanted else 'others'}", []).append(seen)
    for name, each in sorted(sets.items()):
        shares = [_share(sum(column), len(each)) for column in zip(*each, strict=True)]
        yield f"| {rule}: {name} | {' | '.join(shares)} |"


def secret(sample: Sample) -> tuple[bool, bool]:
    places = find_secrets(sample.text)
    return any(one.probable for one in places), bool(places)


def injected(sample: Sample) -> tuple[bool, bool]:
    places = list(passages_in(sample.text))
    return any(place.probable for place in places), bool(places)


def duplicates(dialogues: Iterable[list[str]]) -> Iterator[str]:
    """Conversations stored once, stored again within minutes, and imported again under the same and other session ids."""
    conversations = [list(zip(said[::2], said[1::2], strict=False)) for said in dialogues]
    chosen = [pairs for pairs in conversations if len(pairs) >= 3][:CONVERSATIONS]
    turns = sum(map(len, chosen))
    found = {"stored again within minutes": 0, "the same session": 0, "another session": 0, "wrongly": 0}
    for pairs in chosen:
        once = _requests("a", pairs, 1_000_000, "s")
        found["wrongly"] += _duplicates(once)
        soon = [
            one
            for item, again in zip(once, _requests("b", pairs, 1_000_001, "s"), strict=True)
            for one in (item, again)
        ]
        found["stored again within minutes"] += _duplicates(soon)
        found["the same session"] += _duplicates([*once, *_requests("b", pairs, 2_000_000, "s")])
        found["another session"] += _duplicates(once, _requests("b", pairs, 2_000_000, "t"))
    for name, count in found.items():
        yield f"| duplicate: dialogues, {name} | {_share(count, turns)} | |"


def _requests(
    name: str, pairs: list[tuple[str, str]], at: int, session: str
) -> list[RequestWithInteractions]:
    return [
        RequestWithInteractions(
            request=StoredRequest(
                request_id=f"{name}{index}", user_id="ada", session_id=session, created_at=at + 60 * index
            ),
            interactions=[
                StoredInteraction(
                    interaction_id=at + 60 * index + place, role=("User", "Assistant")[place], content=text
                )
                for place, text in enumerate(pair)
            ],
        )
        for index, pair in enumerate(pairs)
    ]


def _duplicates(*sessions: list[RequestWithInteractions]) -> int:
    rule = Duplicate()
    found = [
        one for items in sessions for one in rule.look(Session(items[0].request.session_id, items[::-1]))
    ]
    return len([*found, *rule.finish()])


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.2%})" if whole else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description="How much the audit's rules find on published data.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("part", choices=get_args(Part), default="made with", nargs="?")
    given = parser.parse_args()
    print("| rule and set | found (probable) | probable or possible |\n|---|---|---|")
    print(*rows(given.folder, given.part), sep="\n")


def rows(folder: Path, part: Part) -> Iterator[str]:
    """All rows of one part of the data."""
    yield from found(quality_sets.fixtures(folder, part), "secret", secret)
    yield from found(quality_sets.told(part), "secret", secret)
    others = [*quality_sets.pages(folder, part), *quality_sets.talk(folder, part)]
    yield from found(others, "secret", secret)
    yield from found(quality_sets.planted(folder, part), "prompt-injection", injected)
    yield from found(others, "prompt-injection", injected)
    yield from duplicates(quality_sets.dialogues(folder, part))


if __name__ == "__main__":
    main()
