"""Results of plans, deletions and restores."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from reflexio_mcp.results.base import Moment, Row, shown_name
from reflexio_mcp.results.facts import Fact, FactCode, Result

__all__ = [
    "MOST_REASON",
    "Change",
    "Counts",
    "Decision",
    "Deletion",
    "Earlier",
    "Example",
    "Excepted",
    "LearningCase",
    "Logged",
    "Outcome",
    "Part",
    "PastDeletion",
    "PastStatus",
    "Plan",
    "PlanStatus",
    "Receipt",
    "Restored",
    "RuleSourceRow",
    "SharedRuleRow",
    "TaughtLearning",
    "WayBack",
    "WayBackState",
    "Who",
    "excepted",
    "few",
    "parts",
    "recorded_receipt",
]

PlanStatus = Literal[
    "planned",
    "scheduled",
    "changed",
    "not_found",
    "declined",
    "unanswered",
    "wrong_number",
    "cannot_ask",
    "held",
]
Decision = Literal["approve", "reject", "delete"]
"""What becomes of a shared rule."""

LearningCase = Literal["only", "replace", "partly", "window", "unknown"]
"""What a deletion means for a learning."""

Status = Literal[PlanStatus, "complete", "incomplete"]

Outcome = Literal[
    "still_present",
    "changed",
    "unknown",
    "gone_before",
    "held",
    "not_found",
    "already_there",
    "id_taken",
    "not_restorable",
    "erased",
    "left",
]
"""Why an item was not deleted, or not restored."""

PastStatus = Literal[
    "running", "unfinished", "complete", "incomplete", "partly_restored", "restored", "unknown"
]

WayBackState = Literal["whole", "words", "text", "none", "off", "erased", "unknown"]
"""What can be undone.

- `whole`: everything; `words`: everything but times, base64 images and citations; `text`: a correction.
- `none`: nothing was deleted, so there is no recovery copy; `off`: no copies are kept; `erased`: not even earlier ones.
- `unknown`: copies may contain some of it.
"""

MOST_REASON: Final = 200

CODES: Final = frozenset(FactCode)

UNFINISHED: Final = frozenset(
    (
        FactCode.REPEAT_CALL,
        FactCode.LOOK_LATER,
        FactCode.MAY_RETURN,
        FactCode.COPIES_SEALED,
        FactCode.COPIES_DAMAGED,
    )
)
"""Codes which say that a deletion has more to do."""

NAMED: Final = 10
"""Maximum number of users and sessions that a plan names."""

IDS_NAMED: Final = 20
IDS_CHARS: Final = 2_000
"""Limits of ids in an answer: their number, and their characters."""


class Counts(Row):
    """Numbers of items by kind, in plans and receipts."""

    requests: int = 0
    interactions: int = 0
    learnings: int = 0
    session_outcomes: int = 0
    shared_rules: int = 0
    only_in_copies: Annotated[int, Field(description="what only recovery copies contain")] = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields})


class Part(Row):
    """The part of a set that belongs to one user or session, or to all others."""

    name: str
    count: int
    names: Annotated[int, Field(description="how many users or sessions these are")] = 1


class Example(Row):
    """One of the first items that a plan shows."""

    id: str
    user_id: str
    created_at: Moment | None = None
    first_words: str = ""


class Earlier(Row):
    """A learning that becomes current again, because what replaced it is deleted."""

    learning_id: str
    content: str = ""


class TaughtLearning(Row):
    """A learning from the selection, and what the deletion means for it.

    Args:
        goes: whether it is deleted; in a receipt, whether it was.
    """

    learning_id: str
    user_id: str
    case: Annotated[
        LearningCase | None,
        Field(
            description="only: said only in what goes; replace: what it replaced becomes current again; partly: "
            "also said in what stays; window: quotes only what stays; unknown: what it quotes is not stored, or not all"
        ),
    ] = None
    goes: bool
    content: str = ""
    quoted_in: Annotated[
        list[str], Field(description="requests that stay and that it quotes; can teach it again")
    ] = []
    earlier: Annotated[list[Earlier], Field(description="what becomes current again")] = []


class RuleSourceRow(Row):
    """A user playbook that a shared rule was made from."""

    learning_id: str
    user_id: str = ""
    requests: Annotated[list[str], Field(description="the first stored requests that it cites")] = []


class SharedRuleRow(Row):
    """A rule that Reflexio made from playbooks of several users and serves to everybody."""

    rule_id: str
    content: str = ""
    trigger: str = ""
    approval: Annotated[str, Field(description="pending, approved or rejected; pending rules are served too")]
    made_at: Moment | None = None
    applied: Annotated[int | None, Field(description="how often answers of the last 30 days cited it")] = None
    playbooks: Annotated[
        int,
        Field(
            description="user playbooks that it was made from and that are stored; yours, if you see one user"
        ),
    ] = 0
    users: Annotated[list[str], Field(description="the first users whose playbooks these are")] = []
    more_users: int = 0
    sources: Annotated[
        list[RuleSourceRow],
        Field(description="the first of these playbooks: while they are stored, it can be made again"),
    ] = []
    traced: Annotated[bool, Field(description="false: the service does not say what it was made from")] = True


class Change(Row):
    """The old and the new text of a learning, and the words that taught the old one, which stay in it."""

    before: str
    after: str
    quote: Annotated[str, Field(description="what it quotes, which no correction changes")] = ""
    known_since: Annotated[Moment | None, Field(description="when it was first learned")] = None


class WayBack(Row):
    """Whether the deletion can be undone.

    Args:
        state: `whole`, `words` and `text` can be undone, `words` without times, base64 images and citations.
        days: how long the copy of a plan will be kept.
        until: how long an existing copy is kept.
    """

    state: WayBackState
    days: int = 0
    until: Moment | None = None

    @property
    def has_copy(self) -> bool:
        return self.state in ("whole", "words", "text")


Facts = Annotated[list[Fact], Field(description="what else there is to know")]


class Plan(Row):
    """The plan of a deletion. Nothing is deleted yet."""

    target: str
    selected: Counts
    corrects: Annotated[
        bool, Field(description="a correction, or a rule is approved or rejected: nothing is deleted")
    ] = False
    decision: Annotated[Decision | None, Field(description="what becomes of the shared rules")] = None
    change: Annotated[Change | None, Field(description="a correction: the old and the new text")] = None
    users: list[Part] = []
    sessions: list[Part] = []
    first: Moment | None = None
    last: Moment | None = None
    examples: list[Example] = []
    learnings: Annotated[
        list[TaughtLearning], Field(description="the first of them, those that go first")
    ] = []
    earlier: Annotated[
        list[Earlier],
        Field(
            description="what becomes current again, because the last call of this deletion failed to do that"
        ),
    ] = []
    shared_rules: Annotated[
        list[SharedRuleRow], Field(description="those to decide on, or the first that rest on an erased user")
    ] = []
    not_found: list[str] = []
    not_found_count: int = 0
    facts: Facts = []
    way_back: WayBack | None = None
    confirm: Annotated[str, Field(description="the code for the next call")] = ""
    number: Annotated[int, Field(description="of the scheduled deletion")] = 0


class Excepted(Row):
    """Items that were not deleted, or not restored, for one reason."""

    why: Outcome
    count: int
    ids: Annotated[list[str], Field(description="the first ids")] = []


class Receipt(Row):
    """What a deletion did, as a read afterwards shows.

    `planned` = `deleted` (of a correction: `corrected`) + `not_deleted`, without those `not_found`.
    """

    number: int
    planned: Counts
    deleted: Counts
    reason: Annotated[str, Field(description="in the caller's words")] = ""
    change: Change | None = None
    decision: Annotated[Decision | None, Field(description="what became of the shared rules")] = None
    corrected: Annotated[
        int, Field(description="learnings that have the new text, or shared rules that have the new status")
    ] = 0
    not_deleted: list[Excepted] = []
    learnings: Annotated[
        list[TaughtLearning], Field(description="the first of them, those that went first")
    ] = []
    earlier: Annotated[
        list[Earlier], Field(description="what is current again, besides those of learnings")
    ] = []
    shared_rules: Annotated[
        list[SharedRuleRow],
        Field(description="as the plan has them: an erasure removes the record of their sources"),
    ] = []
    facts: Facts = []
    way_back: WayBack | None = None
    log: Annotated[str, Field(description="the value of the audit log's chain after this deletion")] = ""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, as far as is known."""
        return not any(fact.code in UNFINISHED for fact in self.facts)


class Deletion(Result):
    """The answer of a tool that deletes: its plan, or its receipt."""

    status: Status
    plan: Plan | None = None
    receipt: Receipt | None = None


class Who(Row):
    """Who did something, as the audit log has it."""

    tool: str = ""
    caller: Annotated[str, Field(description="who called; empty if this server knows no callers")] = ""
    person: Annotated[str, Field(description="the user of the caller's token or sign-in")] = ""
    client: str = ""
    consent: Annotated[
        str, Field(description="ask: a person's answer; preview: a plan's code; off: nobody was asked")
    ] = ""
    reason: Annotated[str, Field(description="in the caller's words")] = ""
    finding: Annotated[str, Field(description="the finding that its filter named")] = ""


class Logged(Row):
    """An export, an import, or a refusal: because of a hold, or because a person who was asked did not agree."""

    at: Moment
    event: Literal["held", "exported", "imported", "refused"]
    target: str
    caller: str = ""
    person: Annotated[str, Field(description="the user of the caller's token or sign-in")] = ""
    client: Annotated[str, Field(description="the program that asked the person who refused")] = ""
    tool: Annotated[str, Field(description="of a refused call")] = ""
    why: Annotated[str, Field(description="of a refusal: declined, unanswered or wrong_number")] = ""
    held: Annotated[list[str], Field(description="what holds kept")] = []
    counts: Annotated[
        dict[str, int], Field(description="what the export contains, or the import stored")
    ] = {}


class PastDeletion(Row):
    """A deletion, a correction or a restore."""

    number: int
    at: Moment
    target: str = ""
    by_operator: Annotated[
        bool, Field(description="an operator deleted it, so what was asked for is not shown")
    ] = False
    status: PastStatus
    restores: Annotated[int, Field(description="a restore: the deletion whose copy it stores")] = 0
    asked: int
    gone: Annotated[int, Field(description="items that were deleted, or restored")]
    may_return: Annotated[
        int, Field(description="erased items that a restore or deletion can still store again")
    ] = 0
    copied: Annotated[Counts | None, Field(description="what its recovery copy contains now")] = None
    until: Annotated[Moment | None, Field(description="how long that copy is kept")] = None
    by: Who | None = None
    receipt: Receipt | None = None
    damaged: Annotated[
        bool, Field(description="its record was changed, so what cannot be opened of it is left out")
    ] = False


class Restored(Result):
    """The deletions that can be undone, the plan of a restore, or its result."""

    status: Literal["listed", "planned", "complete", "incomplete"]
    deletions: list[PastDeletion] = []
    number: int = 0
    planned: Counts | None = None
    restored: Counts | None = None
    not_restored: list[Excepted] = []
    examples: list[Example] = []
    confirm: str = ""


def recorded_receipt(text: str) -> Receipt | None:
    """Read a receipt on record, which an earlier or a later version may have written.

    Fields that this version does not have are left out. An earlier version kept sentences (`remains`, `next`): they
    become the names of one fact. Another fact counts the codes and reasons that this version does not know. Returns
    `None` for what is no receipt at all.
    """
    try:
        record = json.loads(text)
        said = [*record.pop("remains", ())]
        if next_step := record.pop("next", ""):
            said.append(next_step)
        facts, reasons = record.pop("facts", []), record.pop("not_deleted", [])
        known_facts = [fact for fact in facts if fact["code"] in CODES]
        known_reasons = [row for row in reasons if row["why"] in get_args(Outcome)]
        if unknown := len(facts) - len(known_facts) + len(reasons) - len(known_reasons):
            known_facts.append({"code": FactCode.SAID_BY_NEWER_VERSION, "number": unknown})
        if said:
            known_facts.append(
                {
                    "code": FactCode.SAID_BY_EARLIER_VERSION,
                    "names": [shown_name(sentence, 1_000) for sentence in said],
                }
            )
        record.pop("way_back", None)  # its recovery copy may have changed since
        kept = record | {"facts": known_facts, "not_deleted": known_reasons}
        return Receipt.model_validate(kept, extra="ignore")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def parts(names: Iterable[str], shown: Callable[[str], str]) -> list[Part]:
    counts = Counter(names).most_common()
    named = [Part(name=shown_name(shown(name)) or "(none)", count=count) for name, count in counts[:NAMED]]
    if rest := sum(count for _, count in counts[NAMED:]):
        named.append(Part(name="(others)", count=rest, names=len(counts) - NAMED))
    return named


def excepted(became: Mapping[str, Outcome], shown: Callable[[str], str]) -> list[Excepted]:
    by_reason: defaultdict[Outcome, list[str]] = defaultdict(list)
    for item_id, why in became.items():
        by_reason[why].append(item_id)
    return [Excepted(why=why, count=len(ids), ids=few(ids, shown)) for why, ids in by_reason.items()]


def few(ids: Sequence[str], shown: Callable[[str], str]) -> list[str]:
    """Return the first ids of a set as `Scope.shown_id` shows them, as many as an answer has room for."""
    named: list[str] = []
    left = IDS_CHARS
    for id_ in map(shown, ids[:IDS_NAMED]):
        left -= len(id_)
        if left < 0 and named:
            break
        named.append(id_)
    return named
