"""The words of facts, for each reader.

`ANYBODY` suits a person who reads a form or a receipt: it names nothing that can be called or set. The other tables lie
over it, for readers who can act: `words_for_model` by the tools that the model has, `SHELL` with commands and options.
The page has its own table, `explorer/page/words.js`.

A sentence is a format string:

- `{number}` is `2,000`, `{number:request}` is `2,000 requests` or `1 request`, `{number:is|are}` agrees with it.
- `{names}` are stored names in quotation marks, `{names:total}` says how many of `{number}` are not named,
  `{names:known}` puts what is known in brackets, `{names:plain}` leaves the quotation marks out. A model gets names
  only inside a fence, from `named_in_fence`.
- `{until}` is a time, in another form with a format of `strftime`; both are empty without a time.
- `{kept}` is how long a recovery copy is kept: at least until a time, or for a number of days.
- `{done}` is `deleted`, or `changed` for a correction.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Final, Literal

from reflexio_mcp.render.blocks import Told, counted, lines, moment, named, quoted, sentence
from reflexio_mcp.render.topic_words import TopicWords
from reflexio_mcp.render.words_of_audit import AUDIT, REFUSALS, STATUS
from reflexio_mcp.render.words_of_cases import CASES
from reflexio_mcp.render.words_of_deletion import DELETION
from reflexio_mcp.render.words_of_exports import EXPORTS
from reflexio_mcp.render.words_of_failures import FAILURES
from reflexio_mcp.render.words_of_reading import READING
from reflexio_mcp.results.base import Moment
from reflexio_mcp.results.deletion import LearningCase, Outcome, PastStatus, PlanStatus, WayBack, WayBackState
from reflexio_mcp.results.facts import Fact, FactCode

__all__ = ["SHELL", "Words", "refusal", "words_for_model"]

CopyWords = Literal["plan", "correction", "deletion"]


@dataclass(frozen=True)
class Words:
    """The words for one reader. An empty sentence says that this reader is not told.

    Args:
        facts: a sentence for each code.
        statuses: what came of a call that only shows a plan.
        next_steps: what to do about such a plan.
        deletions: what became of an earlier deletion; `{number}` of `{asked}` items are gone.
        restores: what became of an earlier restore; `{number}` of `{asked}` are back, `{rest}` is about the others.
        way_back: a sentence for each state of the recovery copy.
        outcomes: why an item was not deleted, corrected or restored.
        cases: what a deletion means for a learning.
        copies: sentences about recovery copies: `plan` and `correction` about the copy that such a plan will make,
            `deletion` about the copy of a deletion.
    """

    facts: Mapping[FactCode, str] = field(default_factory=dict[FactCode, str])
    statuses: Mapping[PlanStatus, str] = field(default_factory=dict[PlanStatus, str])
    next_steps: Mapping[PlanStatus, str] = field(default_factory=dict[PlanStatus, str])
    deletions: Mapping[PastStatus, str] = field(default_factory=dict[PastStatus, str])
    restores: Mapping[PastStatus, str] = field(default_factory=dict[PastStatus, str])
    way_back: Mapping[WayBackState, str] = field(default_factory=dict[WayBackState, str])
    outcomes: Mapping[Outcome, str] = field(default_factory=dict[Outcome, str])
    cases: Mapping[LearningCase, str] = field(default_factory=dict[LearningCase, str])
    copies: Mapping[CopyWords, str] = field(default_factory=dict[CopyWords, str])

    def over(self, others: "Words") -> "Words":
        """Return both together: these words, and those of the others for which there are none here."""
        tables = [table.name for table in fields(self)]
        return Words(**{name: {**getattr(others, name), **getattr(self, name)} for name in tables})

    def of(self, fact: Fact) -> str:
        """Return the sentence of a fact; empty if this reader is not told."""
        number = fact.number or 0
        return self.facts[fact.code].format(
            number=_Number(number), names=_Names(fact.names, number), until=_Time(fact.until)
        )

    def say(self, facts: Iterable[Fact]) -> str:
        """Return the sentences of facts, each on its own line."""
        return lines(map(self.of, facts))

    def status(self, status: PlanStatus, *, corrects: bool) -> str:
        """Say what came of a call that only shows a plan."""
        return self.statuses[status].format(done="changed" if corrects else "deleted")

    def may_return(self, number: int) -> str:
        """Say in a list of deletions that erased items can still be stored again; empty if they cannot."""
        # A deletion can do that, too: it stores the learning again that a deleted one had replaced.
        said = (
            "a restore or a deletion can still store {number:erased item} again; {number:it is|they are} deleted when "
            "it does, but a corrected learning has to be corrected again"
        )
        return said.format(number=_Number(number)) if number else ""

    def became(self, status: PastStatus, *, number: int, asked: int, restore: bool) -> str:
        """Say what became of an earlier deletion, or of a restore: `number` of `asked` items are gone, or back."""
        table = self.restores if restore else self.deletions
        rest = (
            "; the others were stored already, cannot be stored again or were erased"
            if number < asked
            else ""
        )
        return table[status].format(number=_Number(number), asked=_Number(asked), rest=rest)

    def undo(self, way_back: WayBack | None, number: int = 0) -> str:
        """Say whether a deletion can be undone, and how.

        Args:
            number: the number of the deletion; 0 for a plan.
        """
        if way_back is None:
            return ""
        # `until` is by the clock. A copy also needs as many days of use before it expires, so it can last longer.
        kept = f"at least until {moment(way_back.until)}"
        if not way_back.until:
            kept = f"for at least {counted(way_back.days, 'day')}"
        said = self.way_back[way_back.state].format(kept=kept)
        if not way_back.has_copy:
            return said
        if number:
            which: CopyWords = "deletion"
        else:
            which = "correction" if way_back.state == "text" else "plan"
        return sentence(said, self.copies[which].format(number=number))


class _Number:
    """A number in a sentence: `{:request}` counts requests, `{:is|are}` is the word that agrees with it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __format__(self, word: str) -> str:
        if not word:
            return f"{self._number:,}"
        singular, _, plural = word.partition("|")
        if plural:
            return singular if self._number == 1 else plural
        return counted(self._number, singular)


class _Names:
    """Names in a sentence, in the forms that the module describes."""

    def __init__(self, names: Sequence[str], total: int) -> None:
        self._plain = names
        self._names = [quoted(name) for name in names]
        self._total = total

    def __format__(self, form: str) -> str:
        if form == "total":
            return named(self._names, self._total)
        if form == "plain":
            return ", ".join(self._plain)
        names = ", ".join(self._names)
        return f" ({names})" if form == "known" and names else names


class _Time:
    def __init__(self, at: Moment | None) -> None:
        self._at = at

    def __format__(self, form: str) -> str:
        return self._at.strftime(form) if self._at and form else moment(self._at)


def named_in_fence(facts: Iterable[Fact]) -> list[str]:
    """Return the names of facts for a fence, a line for each fact: `on hold (3): Miller case`."""
    said: list[str] = []
    for fact in facts:
        if fact.names:
            count = f" ({fact.number:,})" if fact.number else ""
            until = f", until {moment(fact.until)}" if fact.until else ""
            said.append(f"{fact.code.replace('_', ' ')}{count}: {', '.join(fact.names)}{until}")
    return said


def refusal(said: Sequence[Fact | str], words: Words) -> Told:
    """Return the words of a refused or failed call.

    Args:
        said: facts. Our own sentence can stand before them.
    """
    facts = [fact for fact in said if isinstance(fact, Fact)]
    return Told(
        sentence(*(words.of(fact) if isinstance(fact, Fact) else fact for fact in said)),
        named_in_fence(facts),
    )


TOPICS: Final = (DELETION, READING, EXPORTS, AUDIT, STATUS, REFUSALS, CASES, FAILURES)
"""The topics whose words are put together here."""


def _of_topics(table: Callable[[TopicWords], Mapping[FactCode, str]]) -> dict[FactCode, str]:
    return {code: said for topic in TOPICS for code, said in table(topic).items()}


ANYBODY: Final = Words(
    facts=_of_topics(lambda topic: topic.anybody),
    statuses={
        "planned": "Nothing is {done} yet: this is the plan.",
        "scheduled": "Scheduled, not yet {done}.",
        "changed": "Nothing was {done}: the selection has changed. This is the plan now.",
        "not_found": "Nothing was {done}, because nothing was found.",
        "held": "Nothing was {done}: a hold keeps the entire selection.",
        "declined": ("Nothing was {done}: the question was declined or could not be shown."),
        "unanswered": ("Nothing was {done}: nobody answered the question within ten minutes."),
        "wrong_number": ("Nothing was {done}: the number that was typed is not the number in the question."),
        "cannot_ask": ("Nothing was {done}: a person must agree, and the question cannot be shown."),
    },
    next_steps={
        "planned": "",
        "scheduled": "",
        "changed": "",
        "not_found": "",
        "held": "",
        "declined": "",
        "unanswered": "",
        "wrong_number": "",
        "cannot_ask": "",
    },
    deletions={
        "running": "running",
        "unfinished": "not finished: at least {number} of {asked} are gone",
        "complete": "complete",
        "incomplete": "incomplete",
        "partly_restored": "some of it was restored",
        "restored": "its recovery copy was restored",
        "unknown": "how it ended is not known",
    },
    restores={
        "running": "running",
        "unfinished": "not finished, so some of it may be stored",
        "complete": "complete: {number} of {asked:item} {asked:was|were} stored{rest}",
        "incomplete": "incomplete: {number} of {asked:item} {asked:was|were} stored",
        "partly_restored": "",
        "restored": "",
        "unknown": "how it ended is not known",
    },
    way_back={
        "whole": "You can undo this {kept}.",
        "words": "You can undo this {kept}, but without times, base64 images and citations.",
        "text": "You can undo this {kept}.",
        "none": "No recovery copy is kept, because nothing was deleted.",
        "off": "This cannot be undone: no recovery copy is kept.",
        "erased": (
            "This cannot be undone: no recovery copy is kept, and earlier copies of the same data are erased too."
        ),
        "unknown": "Recovery copies may still contain some of what was deleted.",
    },
    outcomes={
        "still_present": "still stored",
        "changed": "changed since the plan, and left alone",
        "unknown": "not known, because reading again failed",
        "gone_before": "gone already",
        "held": "kept by a hold of the operator",
        "not_found": "not found",
        "already_there": "stored already",
        "id_taken": "not restored, because something else is stored under this id",
        "not_restorable": "cannot be stored again",
        "erased": "erased for good meanwhile, so not restored",
        "left": "not restored yet",
    },
    cases={
        "only": "said only here",
        "replace": "said here, and it replaced what was said elsewhere",
        "partly": "also said in what stays",
        "window": "quotes only what stays",
        "unknown": "quotes nothing that is stored",
    },
    copies={"plan": "", "correction": "", "deletion": ""},
)

_RESTORE_UNFINISHED: Final = (
    "not finished, so some of it may be stored; the same {} again restores what is left"
)
_UNFINISHED: Final = (
    "not finished: at least {{number}} of {{asked}} are gone; the same {} again deletes what is left (both count "
    "towards the hourly cap), but cannot find learnings whose requests are neither stored nor in a recovery copy"
)

_WITHOUT_KNOWN_NAMES: Final[Mapping[FactCode, str]] = {
    code: text.replace("{names:known}", "") for code, text in ANYBODY.facts.items() if "{names:known}" in text
}
"""Sentences for a model, which reads these names inside the fence."""

_MODEL: Final = Words(
    facts={
        **_WITHOUT_KNOWN_NAMES,
        **_of_topics(lambda topic: topic.model),
    },
    statuses={
        "changed": (
            "Nothing was {done}: confirm does not match. It is older than 24 hours, is not from this plan, or the "
            "selection has changed. This is the plan now."
        ),
        "held": "Nothing was {done}: a hold of the operator's policy keeps the entire selection.",
        "cannot_ask": ("Nothing was {done}: a person must agree, and this client cannot show the question."),
    },
    next_steps={
        "planned": (
            "Show this to the person. After their yes, call again with the same arguments and this code as confirm. It "
            "works once, within 24 hours, if the selection has not changed."
        ),
        "changed": "Call again without confirm.",
        "not_found": "Ids are case-sensitive.",
        "held": "Only the operator can end a hold, in the file of REFLEXIO_MCP_POLICY.",
        "declined": (
            "Do not repeat the call unless the person asks for it. If no question was shown, the operator can set "
            "REFLEXIO_MCP_CONFIRM=preview, and a plan's code is then enough."
        ),
        "unanswered": "Call again to be asked again.",
        "wrong_number": "Call again to be asked again.",
        "cannot_ask": (
            "Use a client that shows forms, or ask the operator to set REFLEXIO_MCP_CONFIRM=auto or preview."
        ),
    },
    deletions={"unfinished": _UNFINISHED.format("call")},
    restores={"unfinished": _RESTORE_UNFINISHED.format("call")},
    way_back={
        "whole": "A recovery copy is kept {kept}.",
        "words": "A recovery copy is kept {kept}, without times, base64 images and citations.",
        "text": "The old text is kept {kept}.",
    },
    copies={"plan": "For a secret or personal data, use erase: it keeps no copy and removes earlier copies."},
)

_WITH_TOOLS: Final[Mapping[tuple[str, ...], Words]] = {
    ("restore_requests",): Words(
        way_back={
            "unknown": "Recovery copies may still contain some of what was deleted; restore_requests lists them.",
        },
        copies={
            "plan": (
                "restore_requests undoes the deletion. For a secret or personal data, use erase: it keeps no copy and "
                "removes earlier copies."
            ),
            "correction": "restore_requests undoes the correction.",
            "deletion": "restore_requests deletion={number} undoes it.",
        },
    ),
    ("get_status",): Words(
        next_steps={"scheduled": "The receipt will be in get_status."},
    ),
    ("list_requests",): Words(next_steps={"not_found": "Ids are case-sensitive; list_requests shows them."}),
    ("list_requests", "list_learnings"): Words(
        next_steps={"not_found": "Ids are case-sensitive; list_requests and list_learnings show them."}
    ),
}
"""Sentences that name tools, by these tools; a model reads them only if it has all of them.

A later entry lies over an earlier one.
"""

_TOOL_WORDS: Final = (
    *_WITH_TOOLS.items(),
    *((tools, Words(facts)) for topic in TOPICS for tools, facts in topic.with_tools.items()),
)
"""The sentences of `_WITH_TOOLS` and those about facts from `TopicWords.with_tools`, by tools."""

SHELL: Final = Words(
    facts=_of_topics(lambda topic: topic.in_shell),
    statuses={
        "not_found": "Nothing was found, and nothing was {done}.",
        "held": "Nothing was {done}: a hold keeps the entire selection.",
        "wrong_number": "Nothing was {done}: only the number in the question is taken as a yes.",
    },
    deletions={"unfinished": _UNFINISHED.format("command")},
    restores={"unfinished": _RESTORE_UNFINISHED.format("command")},
    way_back={
        "unknown": "Recovery copies may still contain some of what was deleted; `reflexio-mcp restore` lists them.",
    },
    # After a number, as in `not restored: 2 whose id something else has now (r1, r2)`.
    outcomes={
        "id_taken": "whose id something else has now",
        "erased": "erased for good meanwhile",
        "left": "not reached yet",
    },
    copies={
        "plan": "For a secret or personal data, add --erase: it keeps no copy and removes earlier copies.",
        "deletion": "To undo, with the same --url or --store: reflexio-mcp restore {number}",
    },
).over(ANYBODY)


@cache
def _model(tools: frozenset[str]) -> Words:
    words = _MODEL.over(ANYBODY)
    for needed, more in _TOOL_WORDS:
        if tools.issuperset(needed):
            words = more.over(words)
    return words


def words_for_model(offered: Collection[str]) -> Words:
    """Return the words for a model that has these tools."""
    return _model(frozenset(offered))
