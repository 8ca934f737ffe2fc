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
- `{kept}` is how long a recovery copy is kept: until a time, or for a number of days.
- `{done}` is `deleted`, or `changed` for a correction.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Final

from reflexio_mcp.render.blocks import Told, counted, lines, moment, named, quoted, sentence
from reflexio_mcp.render.room_words import RoomWords
from reflexio_mcp.render.words_of_audit import AUDIT, REFUSALS, STATUS
from reflexio_mcp.render.words_of_cases import CASES
from reflexio_mcp.render.words_of_exports import EXPORTS
from reflexio_mcp.render.words_of_reading import READING
from reflexio_mcp.results.base import Moment
from reflexio_mcp.results.deletion import PastStatus, PlanStatus, WayBack, WayBackState
from reflexio_mcp.results.facts import Fact, FactCode

__all__ = ["SHELL", "Words", "refusal", "words_for_model"]


@dataclass(frozen=True)
class Words:
    """The words for one reader. An empty sentence says that this reader is not told.

    Args:
        facts: a sentence for each code.
        statuses: what came of a call that only shows a plan.
        next_steps: what to do about such a plan.
        deletions: what became of an earlier deletion; `{gone}` of `{asked}` items are gone.
        restores: what became of an earlier restore; `{gone}` of `{asked}` items are back.
        way_back: a sentence for each state of the recovery copy.
        copies: about the copy that a plan will make, by `plan`; about the copy of a deletion, by `deletion`.
    """

    facts: Mapping[FactCode, str] = field(default_factory=dict[FactCode, str])
    statuses: Mapping[PlanStatus, str] = field(default_factory=dict[PlanStatus, str])
    next_steps: Mapping[PlanStatus, str] = field(default_factory=dict[PlanStatus, str])
    deletions: Mapping[PastStatus, str] = field(default_factory=dict[PastStatus, str])
    restores: Mapping[PastStatus, str] = field(default_factory=dict[PastStatus, str])
    way_back: Mapping[WayBackState, str] = field(default_factory=dict[WayBackState, str])
    copies: Mapping[str, str] = field(default_factory=dict[str, str])

    def over(self, others: "Words") -> "Words":
        """Lay these words over others."""
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
        """Say in a list of deletions that a restore can store erased items again; empty if it cannot."""
        said = "a restore can still store {number:erased item} again; {number:it is|they are} deleted when it does"
        return said.format(number=_Number(number)) if number else ""

    def undo(self, way_back: WayBack | None, number: int = 0) -> str:
        """Say whether a deletion can be undone, and how.

        Args:
            number: the number of the deletion; 0 for a plan.
        """
        if way_back is None:
            return ""
        kept = f"until {moment(way_back.until)}" if way_back.until else f"for {counted(way_back.days, 'day')}"
        said = self.way_back[way_back.state].format(kept=kept)
        if way_back.state not in ("whole", "words", "text"):
            return said
        return sentence(said, self.copies["deletion" if number else "plan"].format(number=number))


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
    """Return the words of a refused or failed call, which has facts, or a sentence before them."""
    facts = [one for one in said if isinstance(one, Fact)]
    return Told(
        sentence(*(words.of(one) if isinstance(one, Fact) else one for one in said)), named_in_fence(facts)
    )


ROOMS: Final = (READING, EXPORTS, AUDIT, STATUS, REFUSALS, CASES)
"""Rooms with a file of their own."""


def _of_rooms(table: Callable[[RoomWords], Mapping[FactCode, str]]) -> dict[FactCode, str]:
    return {code: said for room in ROOMS for code, said in table(room).items()}


ANYBODY: Final = Words(
    facts={
        **_of_rooms(lambda room: room.anybody),
        # What a plan selects, and what it leaves
        FactCode.ON_HOLD: "{number:item} {number:is|are} left out, on hold: {names}{until:, through %Y-%m-%d UTC}.",
        FactCode.HOLD_FILE: "The operator sets holds in the file {names}.",
        FactCode.HOLD_CONTACT: "About the hold, ask {names}.",
        FactCode.PART_UNREAD: (
            "Reflexio fails to return a part of what is stored. This set does not include that part."
        ),
        FactCode.UNREADABLE: (
            "Reflexio fails to return {number} of these requests. What they contain is unknown, and no recovery copy "
            "can contain them."
        ),
        FactCode.REPEATED_REQUESTS_STAY: "The selected requests repeat others, which stay: {names:total}.",
        FactCode.INTERACTIONS_STAY: (
            "The request stays, with {number:interaction}. An undo makes requests of deleted interactions."
        ),
        FactCode.OTHER_USERS_STAY: "Data of other users stays, even if it mentions this user.",
        FactCode.OTHER_RECORDS_STAY: (
            "Session evaluations, Reflexio's questions to people with their answers, and the logs of "
            "its runs stay: nothing here can delete them."
        ),
        FactCode.OUTCOMES_STAY: "Session outcomes and evaluations stay.",
        # Learnings of a plan
        FactCode.LEARNINGS_UNREAD: "What was learned from this selection could not be read.",
        FactCode.NOTHING_LEARNED: "Nothing was learned from this selection.",
        FactCode.NO_LEARNING_KNOWN: "No learning from this selection is known.",
        FactCode.LEARNINGS_UNLINKED: (
            "{number:learning} of users in this selection {number:names|name} no source interactions and "
            "{number:stays|stay}."
        ),
        FactCode.USERS_NOT_LOOKED_AT: "The learnings of {number:more user} were not looked at.",
        FactCode.SOURCES_STAY: (
            "Source interactions are still stored, in {number:request} ({names:total}), so Reflexio can learn the old "
            "text again. To prevent that, {number:this request has|these requests have} to be deleted too."
        ),
        FactCode.SOURCES_IN_ONE_PLAN: "",
        FactCode.SOURCES_UNKNOWN: (
            "It is unknown whether source interactions are still stored. If so, Reflexio can learn the old text again."
        ),
        FactCode.SOURCES_GONE: (
            "No source interactions are stored any more, so Reflexio cannot learn the old text from them again."
        ),
        FactCode.QUOTE_STAYS: (
            "The words it came from still say the old: no correction changes what a learning quotes."
        ),
        FactCode.LEARNING_REPLACED: (
            "Another learning took the place of this one meanwhile: {names}. It was not corrected."
        ),
        # Recovery copies and exports
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} that {number:is|are} not stored any more."
        ),
        FactCode.COPIES_OF_REQUEST_GO: (
            "Every recovery copy of this request is erased, also of interactions that stay stored."
        ),
        FactCode.EXPORTS_STAY: "Earlier exports are not deleted.",
        FactCode.COPIES_SEALED: (
            "{number} recovery copies are sealed with a key that this server does not have. They were not looked at, "
            "and stay until their days are over."
        ),
        # What happened during a deletion
        FactCode.ENDED_EARLY: "The work ended early.",
        FactCode.MAY_STILL_GO: (
            "{number:item} {number:is|are} still stored and may disappear or change, because an answer was lost. Look "
            "again before you rely on {number:it|them}."
        ),
        FactCode.ARRIVED: "{number:more item} of this user arrived meanwhile and {number:is|are} stored.",
        FactCode.STILL_LEARNING: (
            "Reflexio may still be learning from {number:user}; new learnings can contain the old text."
        ),
        FactCode.LEARNINGS_APPEARED: (
            "{number:more learning} appeared meanwhile and {number:was|were} deleted too."
        ),
        FactCode.NOT_RECORDED: "The receipt could not be recorded{names:known}.",
        FactCode.COPIES_ON_HOLD: "No recovery copy was erased, because a hold keeps {number} of them.",
        FactCode.DELETED_AGAIN: (
            "{number:item} that {number:was|were} erased for good and that a restore had stored again "
            "{number:was|were} deleted."
        ),
        FactCode.MAY_RETURN: (
            "A restore of the same copy is running or was interrupted, and can store {number:erased item} again. "
            "{number:It is|They are} deleted as soon as that is seen."
        ),
        FactCode.REPEAT_CALL: "This is not finished.",
        FactCode.LEARNINGS_MAY_BE_MISSED: "",
        FactCode.LOOK_LATER: "Look again in some minutes.",
        # What happened during a restore
        FactCode.REQUESTS_NOT_SHOWN: "The 50 oldest of {number:request} are shown.",
        FactCode.WRONG_CODE: "The selection or the copy has changed.",
        FactCode.ERASED_BUT_ON_HOLD: (
            "{number:item} {number:is|are} stored again although erased for good, because a hold keeps "
            "{number:it|them}."
        ),
        FactCode.RESTORE_NOT_RECORDED: "The end of this restore could not be recorded{names:known}.",
        FactCode.INTERACTIONS_LOST: (
            "{number:interaction} cannot be stored again: {number:it contains|they contain} only an image or a "
            "citation, or too much."
        ),
        FactCode.CONFIRM_RESTORE: "",
        FactCode.RESTORE_REST: "This is not finished.",
        FactCode.CHOOSE_DELETION: "",
        # Why nothing was deleted or restored
        FactCode.NOTHING_DELETED: "Nothing was deleted.",
        FactCode.NOTHING_RESTORED: "Nothing was restored.",
        FactCode.OVER_THE_CAP: "This would delete or change {number:item}.",
        FactCode.CAP: "{number} an hour are allowed.",
        FactCode.ROOM_LEFT: "{number} {number:is|are} left now.",
        FactCode.ROOM_IN_MINUTES: "There is room in {number:minute}.",
        FactCode.DELETE_LESS: "",
        FactCode.CODE_USED: "This plan was carried out already, as deletion {number}.",
        FactCode.UNREADABLE_NEED_ERASURE: (
            "Reflexio fails to return {number} of these requests, so no recovery copy can contain them."
        ),
        FactCode.NO_COPY: "Deletion {number} has no recovery copy that you can restore.",
        FactCode.NO_COPY_OF_REQUESTS: (
            "Deletion {number} has no recovery copy of these requests that you can restore{names:known}."
        ),
        FactCode.LIST_COPIES: "",
        FactCode.COPIES_UNREADABLE: "Recovery copies cannot be read now{names:known}; nothing more was restored.",
        FactCode.HOLDS_UNKNOWN: "It is unknown whether a hold keeps these learnings.",
        FactCode.STATE_UNUSABLE: "The state of this server cannot be used now{names:known}.",
        FactCode.MEND_STATE: "",
        FactCode.STOPPING: "This server is stopping; nothing was changed.",
        # Why a call failed, and what to do about it
        FactCode.NOT_SENT: "The call was not sent to Reflexio{names:known}.",
        FactCode.BAD_ADDRESS: "The connection to Reflexio is not set up right{names:known}.",
        FactCode.TOO_LARGE: "The request is too large for Reflexio{names:known}.",
        FactCode.CLOSED: "The connection to Reflexio is closed here.",
        FactCode.UNREACHABLE: "Reflexio could not be reached{names:known}.",
        FactCode.NO_ANSWER: "Reflexio's answer did not arrive{names:known}.",
        FactCode.TIMED_OUT: "Reflexio did not answer in time{names:known}.",
        FactCode.CONNECTION_LOST: "The connection to Reflexio broke before its answer was complete{names:known}.",
        FactCode.ANSWER_TOO_LARGE: "Reflexio's answer is too large to read{names:known}.",
        FactCode.NOT_THE_API: "The answer is not from the Reflexio API{names:known}.",
        FactCode.REFUSED: "Reflexio refused the call{names:known}.",
        FactCode.ARGUMENTS_REFUSED: "Reflexio does not accept the arguments{names:known}.",
        FactCode.ACCESS_REFUSED: "Reflexio refused access{names:known}.",
        FactCode.UNKNOWN_ID: "Reflexio does not know this id{names:known}.",
        FactCode.ID_TAKEN: "This id is taken{names:known}.",
        FactCode.RATE_LIMITED: "Reflexio's rate limit is reached{names:known}.",
        FactCode.OPERATION_FAILED: "Reflexio reported that the operation failed{names:known}.",
        FactCode.SERVER_FAULT: "Reflexio had an internal error{names:known}.",
        FactCode.CALL_FAILED: "The call to Reflexio failed{names:known}.",
        FactCode.SERVICE_SAID: "Reflexio said: {names}.",
        FactCode.NOTHING_CHANGED: "Nothing was changed.",
        FactCode.EFFECT_UNKNOWN: (
            "Whether this took effect is not known. Look at what is stored before you repeat it."
        ),
        FactCode.NO_COPY_WRITTEN: "A recovery copy cannot be written{names:known}.",
        FactCode.TRY_AGAIN: "",
        FactCode.TRY_LATER: "",
        FactCode.TRY_IN_SECONDS: "",
        FactCode.CORRECT_ARGUMENTS: "",
        FactCode.CORRECT_SETTINGS: "",
        FactCode.CHECK_SERVER: "",
        FactCode.CHECK_ADDRESS: "",
        FactCode.CHECK_KEY: "",
        FactCode.CHECK_ID: "",
        FactCode.CHOOSE_ID: "",
        FactCode.SPLIT_REQUEST: "",
        FactCode.ASK_FOR_LESS: "",
        FactCode.READ_SERVER_LOG: "",
        FactCode.ERASE_OR_MEND: "",
        # Receipts that another version recorded
        FactCode.SAID_BY_EARLIER_VERSION: "An earlier version of this program recorded{names:known}.",
        FactCode.SAID_BY_NEWER_VERSION: (
            "A newer version of this program recorded {number:fact} that this version does not know."
        ),
    },
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
        "unfinished": "not finished: at least {gone:,} of {asked:,} are gone",
        "complete": "complete",
        "incomplete": "incomplete",
        "partly_restored": "some of it was restored",
        "restored": "its recovery copy was restored",
    },
    restores={
        "running": "running",
        "unfinished": "not finished, so some of it may be stored",
        "complete": "complete: {gone:,} of {asked:,} items were stored, the others were there or were erased meanwhile",
        "incomplete": "incomplete: {gone:,} of {asked:,} items were stored",
        "partly_restored": "",
        "restored": "",
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
    copies={"plan": "", "deletion": ""},
)

_UNREADABLE: Final = (
    "Reflexio fails to return {{number}} of these requests. What they contain is unknown, and no recovery copy can "
    "contain them, so they can be deleted only with {}."
)
_UNREADABLE_STAY: Final = (
    "Reflexio fails to return {{number}} of these requests, so no recovery copy can contain them. {}"
)
_RESTORE_UNFINISHED: Final = (
    "not finished, so some of it may be stored; the same {} again restores what is left"
)
_UNFINISHED: Final = (
    "not finished: at least {{gone:,}} of {{asked:,}} are gone; the same {} again deletes what is left, but cannot "
    "find learnings whose requests are neither stored nor in a recovery copy"
)
_ADVICE: Final[Mapping[FactCode, str]] = {
    FactCode.TRY_AGAIN: "Try again.",
    FactCode.TRY_LATER: "Try again later.",
    FactCode.TRY_IN_SECONDS: "Try again in {number:second}.",
    FactCode.CORRECT_ARGUMENTS: "Correct the arguments and try again.",
    FactCode.CORRECT_SETTINGS: "Correct REFLEXIO_URL, REFLEXIO_API_KEY or the proxy, and start again.",
    FactCode.CHECK_SERVER: "Check that Reflexio runs and that REFLEXIO_URL is right, then try again.",
    FactCode.CHECK_ADDRESS: "Check that REFLEXIO_URL is the API's address, without a page's path.",
    FactCode.CHECK_KEY: "Check REFLEXIO_API_KEY, and that it belongs to REFLEXIO_URL.",
    FactCode.CHECK_ID: "Check the id.",
    FactCode.CHOOSE_ID: "Choose another id, or leave it out.",
    FactCode.SPLIT_REQUEST: "Split it into several requests, or send images by URL.",
    FactCode.ASK_FOR_LESS: "Use a narrower filter or a smaller limit.",
    FactCode.READ_SERVER_LOG: "Try again later, or look at Reflexio's log.",
}
"""What to do about a failure, for a model and a shell."""

_KNOWN_IN_FENCE: Final[Mapping[FactCode, str]] = {
    code: text.replace("{names:known}", "") for code, text in ANYBODY.facts.items() if "{names:known}" in text
}
"""Sentences of which a model reads the names inside the fence."""

_MODEL: Final = Words(
    facts={
        **_KNOWN_IN_FENCE,
        **_of_rooms(lambda room: room.model),
        **_ADVICE,
        FactCode.ON_HOLD: "{number:item} {number:is|are} left out: a hold of the operator keeps {number:it|them}.",
        FactCode.HOLD_FILE: "",
        FactCode.HOLD_CONTACT: "",
        FactCode.ID_TAKEN: "This request_id is taken.",
        FactCode.CHOOSE_ID: "Choose another request_id, or leave it out.",
        FactCode.SERVICE_SAID: "",
        FactCode.UNREADABLE: _UNREADABLE.format("erase=true"),
        FactCode.REPEATED_REQUESTS_STAY: "The selected requests repeat {number:other}, which {number:stays|stay}.",
        FactCode.LEARNING_REPLACED: (
            "Another learning took the place of this one meanwhile, so it was not corrected. Correct that one if it is "
            "wrong too."
        ),
        FactCode.SOURCES_STAY: (
            "Source interactions are still stored, in {number:request}, so Reflexio can learn the old text again. To "
            "prevent that, delete {number:this request|these requests} too."
        ),
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} that {number:is|are} not stored any more; erase=true removes "
            "{number:it|them}."
        ),
        FactCode.REPEAT_CALL: "Call again with the same arguments to finish.",
        FactCode.LEARNINGS_MAY_BE_MISSED: "That call may not find learnings whose requests are gone.",
        FactCode.ROOM_IN_MINUTES: "There is room in {number:minute}; do not retry before.",
        FactCode.DELETE_LESS: (
            "Delete a smaller part, or ask the operator to raise REFLEXIO_MCP_DELETE_CAP, or for expired requests the "
            "policy's cap."
        ),
        FactCode.CODE_USED: (
            "confirm was used already, for deletion {number}. Call without confirm for a new plan."
        ),
        FactCode.LIST_COPIES: "A restore without a number lists the deletions that have a copy.",
        FactCode.UNREADABLE_NEED_ERASURE: _UNREADABLE_STAY.format(
            "Delete them with erase, which keeps no copy."
        ),
        FactCode.MEND_STATE: "Ask the operator to mend it.",
        FactCode.STOPPING: "This server is stopping; nothing was changed. Try again in a moment.",
        FactCode.REQUESTS_NOT_SHOWN: (
            "The 50 oldest of {number:request} are shown. The audit log has the ids of all."
        ),
        FactCode.WRONG_CODE: "confirm does not match: it is too old, or the copy or the arguments have changed.",
        FactCode.CONFIRM_RESTORE: "To restore the copy, call again with the same arguments and this code as confirm.",
        FactCode.RESTORE_REST: (
            "Call again with the same arguments to restore the rest; restored items stay."
        ),
        FactCode.CHOOSE_DELETION: (
            "The last deletions with a recovery copy are listed, at most 50. Call again with deletion=NUMBER."
        ),
        FactCode.ERASE_OR_MEND: "Repeat the call with erase, or ask the operator to mend the state.",
        FactCode.SAID_BY_EARLIER_VERSION: "An earlier version of this program recorded more, in words.",
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
        facts={
            FactCode.ONLY_IN_COPIES: (
                "Recovery copies still contain {number:item} that {number:is|are} not stored any more: "
                "restore_requests lists the deletions, erase=true removes {number:it|them}."
            ),
        },
        way_back={
            "unknown": "Recovery copies may still contain some of what was deleted; restore_requests lists them.",
        },
        copies={
            "plan": (
                "restore_requests undoes the deletion. For a secret or personal data, use erase: it keeps no copy and "
                "removes earlier copies."
            ),
            "deletion": "restore_requests deletion={number} undoes it.",
        },
    ),
    ("get_status",): Words(
        facts={
            FactCode.CODE_USED: (
                "confirm was used already, for deletion {number}. get_status shows its receipt. Call without confirm "
                "for a new plan."
            ),
            FactCode.MAY_RETURN: (
                "A restore of the same copy is running or was interrupted, and can store {number:erased item} again. "
                "{number:It is|They are} deleted as soon as that is seen; get_status says when nothing can return."
            ),
        },
        next_steps={"scheduled": "The receipt will be in get_status."},
    ),
    ("list_requests",): Words(next_steps={"not_found": "Ids are case-sensitive; list_requests shows them."}),
    ("list_requests", "list_learnings"): Words(
        next_steps={"not_found": "Ids are case-sensitive; list_requests and list_learnings show them."}
    ),
    ("delete_requests",): Words(
        facts={
            FactCode.SOURCES_IN_ONE_PLAN: (
                "delete_requests with request_ids and include_learnings=true deletes both in one plan."
            ),
        }
    ),
    ("list_learnings", "delete_learnings"): Words(
        facts={
            FactCode.LEARNINGS_MAY_BE_MISSED: (
                "That call may not find learnings whose requests are gone: look with list_learnings in some minutes, "
                "and pass their ids to delete_learnings."
            ),
        }
    ),
}
"""Sentences that name tools, by these tools; a model reads them only if it has all of them."""

_TOOL_WORDS: Final = (
    *_WITH_TOOLS.items(),
    *((tools, Words(facts, {})) for room in ROOMS for tools, facts in room.with_tools.items()),
)

SHELL: Final = Words(
    facts={
        **_of_rooms(lambda room: room.in_shell),
        **_ADVICE,
        FactCode.UNREADABLE: _UNREADABLE.format("--erase"),
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} that {number:is|are} not stored any more: `reflexio-mcp "
            "restore` lists the deletions, --erase removes {number:it|them}."
        ),
        FactCode.REPEAT_CALL: "The same command again does the rest.",
        FactCode.LEARNINGS_MAY_BE_MISSED: (
            "It may not find learnings whose requests are gone: `reflexio-mcp learned` lists them."
        ),
        FactCode.DELETE_LESS: (
            "Repeat the command with --delete-cap NUMBER, or --delete-cap 0 for no cap. What has expired has a cap of "
            "its own, `cap` in the policy file."
        ),
        FactCode.UNREADABLE_NEED_ERASURE: _UNREADABLE_STAY.format(
            "Delete them with --erase, which keeps no copy."
        ),
        FactCode.MEND_STATE: "To fix this, {names:plain}.",
        FactCode.LIST_COPIES: "`reflexio-mcp restore` lists the deletions that have a copy.",
        FactCode.RESTORE_REST: "The same command again restores the rest; restored items stay.",
        FactCode.ERASE_OR_MEND: "Repeat it with --erase, or {names:plain}.",
    },
    statuses={
        "not_found": "Nothing was found, and nothing was {done}.",
        "held": "Nothing was {done}: a hold keeps the entire selection.",
    },
    deletions={"unfinished": _UNFINISHED.format("command")},
    restores={"unfinished": _RESTORE_UNFINISHED.format("command")},
    way_back={
        "unknown": "Recovery copies may still contain some of what was deleted; `reflexio-mcp restore` lists them.",
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
