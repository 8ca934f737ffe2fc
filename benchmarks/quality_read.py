"""How many secrets an audit finds where one reader, and not the label of a published set, says what is one.

    python3 benchmarks/quality_read.py FOLDER [FOLDER …] [--write]

The folders are those of `audit_quality.py`. Of the parts held out 200 fixtures and 200 look-alikes were drawn by a
hash, shuffled, and read by their text alone, before anything was run on them and without their labels. `READ` holds
what each was read as beside the beginning of its SHA-256. `--write` puts the table into the page.
"""

import argparse
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import quality_data
import quality_unseen
from audit_quality import put_into_page

from reflexio_mcp.traffic.rules.secrets import find_secrets

READ = Path(__file__).parent / "quality" / "read_fixtures.txt"
AS = {
    "secret": "a secret, which any careful reader would cover",
    "nothing": "a placeholder, or nothing",
    "unclear": "cannot be told",
}
DRAWN_AGAIN = 2_000


@dataclass(frozen=True)
class Read:
    """One text that was read: as what, and whether an audit finds it."""

    read_as: str
    found: bool


Stratum = tuple[int, list[Read]]
"""How many texts of the parts held out have a label, and those of them that were read."""


def strata(folders: list[Path]) -> list[Stratum]:
    """The fixtures, then the look-alikes; a text that several sets have counts once, with its first label."""
    read_as = dict(line.split() for line in READ.read_text(encoding="utf-8").splitlines())
    seen: set[str] = set()
    sizes, read = {True: 0, False: 0}, {True: list[Read](), False: list[Read]()}
    for samples in (quality_data.secrets, quality_unseen.secrets):
        for sample in (sample for folder in folders for sample in samples(folder)):
            if sample.held_out and sample.text not in seen:
                seen.add(sample.text)
                sizes[bool(sample.wanted)] += 1
                digest = hashlib.sha256(sample.text.encode("utf-8", "replace")).hexdigest()[:16]
                if digest in read_as:
                    found = bool(find_secrets(sample.text))
                    read[bool(sample.wanted)].append(Read(read_as[digest], found))
    return [(sizes[label], read[label]) for label in (True, False)]


def table(fixtures: Stratum, look_alikes: Stratum) -> Iterator[str]:
    yield "| read as | found, of fixtures | of look-alikes | of all that is held out |"
    yield "|---|---|---|---|"
    for read_as, said in AS.items():
        cells = [
            _with_interval(
                sum(one.found for one in read if one.read_as == read_as),
                sum(one.read_as == read_as for one in read),
            )
            for _, read in (fixtures, look_alikes)
        ]
        yield f"| {said} | {' | '.join(cells)} | {_of_all(read_as, [fixtures, look_alikes])} |"


def _with_interval(part: int, whole: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    share, z = part / whole, 1.96
    middle = (share + z * z / 2 / whole) / (1 + z * z / whole)
    half = z * sqrt(share * (1 - share) / whole + z * z / 4 / whole / whole) / (1 + z * z / whole)
    return f"{part} of {whole} ({share:.1%}; {middle - half:.0%} to {middle + half:.0%})"


def _of_all(read_as: str, both: list[Stratum]) -> str:
    """The share in the parts held out, where there are more fixtures than look-alikes, with its 95 % interval: drawn
    again from what was read."""
    chance = random.Random(0)
    again = sorted(
        _share(read_as, [(size, chance.choices(read, k=len(read))) for size, read in both])
        for _ in range(DRAWN_AGAIN)
    )
    low, high = again[DRAWN_AGAIN // 40], again[-DRAWN_AGAIN // 40]
    return f"{_share(read_as, both):.1%}; {low:.0%} to {high:.0%}"


def _share(read_as: str, both: list[Stratum]) -> float:
    found = of = 0.0
    for size, read in both:
        each = size / len(read)
        found += each * sum(one.found for one in read if one.read_as == read_as)
        of += each * sum(one.read_as == read_as for one in read)
    return found / of


def main() -> None:
    parser = argparse.ArgumentParser(
        description="How many secrets are found of those that a reader took for one."
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    said = "\n".join(table(*strata(options.folders)))
    print(said)
    if options.write:
        put_into_page(said)


if __name__ == "__main__":
    main()
