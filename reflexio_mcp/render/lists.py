"""Pages of sessions and of requests."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Generic, Required, TypeVar

from reflexio_mcp.render.gaps import gap_facts, gap_lines
from reflexio_mcp.render.masking import as_name
from reflexio_mcp.render.requests import (
    found_beside,
    found_in,
    has_all_turns,
    request_facts,
    request_head,
    request_text,
    turn_text,
)
from reflexio_mcp.render.result import (
    BUDGET,
    NAMES,
    Facts,
    GapFacts,
    Rendered,
    Unlisted,
    as_sentence,
    counted,
    dense,
    indented,
    joined,
    sentences,
    tabled,
)
from reflexio_mcp.render.stored_text import NOTICE, fence, label, shown_id, shown_name, visible
from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import Fingerprints, first_words
from reflexio_mcp.traffic.reading.filters import NO_FILTER, TrafficFilter
from reflexio_mcp.traffic.reading.listing import LOOK_LIMIT, LOOK_SECONDS, Ended, Page, SessionRow
from reflexio_mcp.traffic.reading.words import words_of
from reflexio_mcp.traffic.times import iso

__all__ = [
    "RequestBudget",
    "RequestsFacts",
    "SessionBudget",
    "SessionsFacts",
    "asked",
    "nothing_stored",
    "page_of_requests",
    "page_of_sessions",
    "whole_where_short",
]


def session_facts(row: SessionRow, *, masked: Fingerprints | None = None) -> Facts:
    versions = [as_name(one) for one in row.agent_versions] if masked else row.agent_versions
    return dense(
        {
            "session_id": shown_id(row.session_id),
            "users": [shown_id(user) for user in row.users[:NAMES]],
            "more_users": max(0, len(row.users) - NAMES) or None,
            "requests": row.requests,
            "out_of": row.out_of if row.out_of != row.requests else None,
            "interactions": row.interactions,
            "first": iso(row.first),
            "last": iso(row.last) if row.last != row.first else None,
            "sources": [shown_name(source) for source in row.sources[:NAMES]],
            "more_sources": max(0, len(row.sources) - NAMES) or None,
            "agent_versions": [shown_name(version) for version in versions[:NAMES]],
            "more_agent_versions": max(0, len(row.agent_versions) - NAMES) or None,
            "evaluation_only": row.evaluation_only or None,
            "first_words": "" if masked else visible(row.first_words),
            "fingerprint": masked.of(row.opening) if masked else "",
        }
    ) | {"chars": row.chars}


def session_text(facts: Mapping[str, Any]) -> str:
    head = joined(
        (
            facts["session_id"],
            _named("user", facts, "users"),
            _counts(facts),
            f"{facts['first']} to {facts['last']}" if "last" in facts else facts["first"],
            _named("source", facts, "sources"),
            _named("agent", facts, "agent_versions"),
            f"{facts['evaluation_only']:,} for evaluation only" if "evaluation_only" in facts else "",
        )
    )
    if "fingerprint" in facts:
        return f"{head} · first fingerprint {facts['fingerprint']}"
    return f"{head}\n  “{facts['first_words']}”" if "first_words" in facts else head


def _counts(facts: Mapping[str, Any]) -> str:
    requests = counted(facts["requests"], "request")
    if "out_of" in facts:
        requests = f"{facts['requests']:,} of {counted(facts['out_of'], 'request')} match"
    interactions, chars = counted(facts["interactions"], "interaction"), counted(facts["chars"], "character")
    return f"{requests}, {interactions}, {chars}"


def _named(noun: str, facts: Mapping[str, Any], key: str) -> str:
    if key not in facts:
        return ""
    if isinstance(facts[key], int):
        return counted(facts[key], noun)
    if isinstance(facts[key], str):
        return f"{noun} {facts[key]}"
    more = f" and {facts[f'more_{key}']:,} more" if f"more_{key}" in facts else ""
    return f"{noun} {', '.join(facts[key])}{more}"


RowT = TypeVar("RowT", SessionRow, RequestWithInteractions)


class _Budget(Generic[RowT]):
    """Keeps the rows that fit into `BUDGET` characters. What all of them have in common stands once, beside them.

    Args:
        shared: the facts that may stand beside the rows, with the word for each.
        masked: makes the fingerprints that are shown instead of stored text, where none may be.
    """

    def __init__(self, shared: Mapping[str, str], masked: Fingerprints | None) -> None:
        self._shared = shared
        self._masked = masked
        self.clear()

    def clear(self) -> None:
        self.facts: list[Facts] = []
        self.redacted = 0
        """Rows in which secrets were hidden."""
        self.not_looked_for = ""
        """Of the secrets of the rows."""
        self._texts: list[str] = []
        self._common: Facts = {}
        self._chars = 0

    def take(self, row: RowT, /) -> bool:
        """Take a row; whether it fits."""
        return self._fits(*self._render(row))

    def _fits(self, facts: Facts, text: str) -> bool:
        common, chars = self._in_common_with(facts), self._chars + len(text) + 1
        saved = sum(len(one) + len(" · ") for one in self.told(common)) * len(self.facts)
        if self.facts and chars - saved > BUDGET:
            return False
        self._common, self._chars = common, chars
        self.facts.append(facts)
        self._texts.append(text)
        return True

    async def redact(self, rows: Sequence[RowT]) -> None:
        """Show the rows that were taken without their secrets."""
        if self._masked:
            return
        # Its patterns take a while to compile.
        from reflexio_mcp.traffic.rules.secrets import MISSING, available, looked

        taken = list(zip(rows, self.facts, self._texts, strict=True))

        def shown() -> list[tuple[Facts, str]]:
            return [
                (facts, text) if (safe := self._covered(row)) is row else self._render(safe)
                for row, facts, text in taken
            ]

        covered = await looked((turn for row in rows for turn in self._looked_at(row)), shown)
        before = self.facts
        self.facts, self._texts = [], []
        for facts, text in covered:
            self._common = self._in_common_with(facts)
            self.facts.append(facts)
            self._texts.append(text)
        self.redacted = sum(facts != old for facts, old in zip(self.facts, before, strict=True))
        if rows and not available():
            self.not_looked_for = as_sentence(MISSING)

    @property
    def each(self) -> Facts:
        """What several rows have in common."""
        return self._common if len(self.facts) > 1 else {}

    @property
    def above(self) -> list[str]:
        """The same as one line, or none."""
        return [f"each: {joined(self.told(self.each))}"] if self.each else []

    @property
    def rows(self) -> list[Facts]:
        """The rows, without what they have in common."""
        return [_without(facts, self.each) for facts in self.facts]

    @property
    def texts(self) -> list[str]:
        """The rows as text, without what stands above them."""
        return [self._text(facts) for facts in self.rows] if self.each else self._texts

    def _render(self, row: RowT) -> tuple[Facts, str]:
        """A row in both forms."""
        raise NotImplementedError

    @staticmethod
    def _text(facts: Facts) -> str:
        raise NotImplementedError

    def _covered(self, row: RowT) -> RowT:
        """A row without its secrets; the same object where that changes nothing."""
        raise NotImplementedError

    def _looked_at(self, row: RowT) -> Iterable[StoredInteraction]:
        """The interactions in which secrets are looked for."""
        raise NotImplementedError

    def told(self, common: Facts) -> list[str]:
        """What rows have in common, in words."""
        return [_named(noun, common, key) for key, noun in self._shared.items() if key in common]

    def shared(self, rows: Sequence[Facts]) -> Facts:
        """What some of the `rows` have in common beside `each`; of one alone nothing."""
        first, *others = rows
        return {
            key: first[key]
            for key in self._shared
            if others and key in first and all(one.get(key) == first[key] for one in others)
        }

    def _in_common_with(self, facts: Facts) -> Facts:
        """What the rows so far and one more have in common."""
        before = self._common if self.facts else facts
        return {
            key: facts[key]
            for key in self._shared
            if key in facts and before.get(key) == facts[key] and f"more_{key}" not in facts
        }


class SessionBudget(_Budget[SessionRow]):
    """Session rows within the budget; `masked` shows fingerprints instead of first words."""

    def __init__(self, *, masked: Fingerprints | None = None) -> None:
        super().__init__({"users": "user", "sources": "source", "agent_versions": "agent"}, masked)

    def _render(self, row: SessionRow) -> tuple[Facts, str]:
        facts = session_facts(row, masked=self._masked)
        return facts, self._text(facts)

    _text = staticmethod(session_text)

    def _covered(self, row: SessionRow) -> SessionRow:
        from reflexio_mcp.render.secret_redaction import redacted_session

        return redacted_session(row)

    def _looked_at(self, row: SessionRow) -> Iterable[StoredInteraction]:
        return row.opening.interactions


class RequestBudget(_Budget[RequestWithInteractions]):
    """Requests within the budget; `full` brings interactions, `masked` fingerprints and no content.

    Args:
        words: what was looked for; it is shown where the first words do not have it, or where else it is.
    """

    def __init__(self, *, full: bool, masked: Fingerprints | None = None, words: str = "") -> None:
        shared = {"user_id": "user", "source": "source", "agent_version": "agent"}
        super().__init__(shared | {"interaction_count": "interaction", "found_in": "found in"}, masked)
        self._full = full
        self._words = words_of(words) if words and not masked else None

    def _render(self, row: RequestWithInteractions) -> tuple[Facts, str]:
        facts: Facts = {**request_facts(row, full=self._full, masked=self._masked)}
        if self._full and len(self._text(facts)) > BUDGET:
            facts = _shortened(facts)
        if self._words and self._words.place_in(first_words(row)) is None:
            if found := found_in(row, self._words):
                facts |= {} if self._full else {"found": found[1]}
            elif where := found_beside(row, self._words, has_all=self._full and has_all_turns(facts, row)):
                facts["found_in"] = where
        return facts, self._text(facts)

    _text = staticmethod(request_text)

    def _covered(self, row: RequestWithInteractions) -> RequestWithInteractions:
        from reflexio_mcp.render.secret_redaction import redacted_listing, redacted_where

        words, safe = self._words, redacted_listing(row, full=self._full)
        if not words or self._full:
            return safe
        return redacted_where(safe, lambda item: (found_in(item, words) or (None,))[0], row)

    def _looked_at(self, row: RequestWithInteractions) -> Iterable[StoredInteraction]:
        return row.interactions


class _Whole(RequestBudget):
    """All words of what a search found."""

    may_be_shown = True
    """Nothing is cut, and of secrets they show no more than a list of first words does."""

    def _render(self, row: RequestWithInteractions) -> tuple[Facts, str]:
        facts, text = super()._render(row)
        self.may_be_shown &= has_all_turns(facts, row)
        return facts, text

    def _covered(self, row: RequestWithInteractions) -> RequestWithInteractions:
        from reflexio_mcp.render.secret_redaction import shows_more_whole

        self.may_be_shown &= not shows_more_whole(row)
        return super()._covered(row)


async def whole_where_short(rows: Sequence[RequestWithInteractions], words: str) -> RequestBudget | None:
    """The rows of a search with all their words, if these are few enough: whoever searches reads on where it is found.

    Returns:
        The rows without their secrets; `None` where they are more than `FOUND_WHOLE` characters, some would be cut, or
        words behind the name of a secret would be shown, which a list covers.
    """
    if sum(len(turn.content) for row in rows for turn in row.interactions) > FOUND_WHOLE:
        return None
    budget = _Whole(full=True, words=words)
    fits = all(map(budget.take, rows)) and sum(map(len, budget.texts)) <= FOUND_WHOLE
    if fits and budget.may_be_shown:
        await budget.redact(rows)
        return budget if budget.may_be_shown else None
    return None


def _shortened(facts: Facts) -> Facts:
    """A request too long for one answer: its first interactions, and how many there are in all."""
    kept: list[Facts] = []
    used = len(request_head(facts))
    for turn in facts.get("interactions", []):
        used += len(turn_text(turn)) + 4
        if kept and used > BUDGET:
            break
        kept.append(turn)
    left = len(facts.get("interactions", [])) - len(kept)
    return {**facts, "interactions": kept, **({"interactions_left_out": left} if left else {})}


FOUND_WHOLE: Final = 2_400
"""Characters of what a search found, up to which it is shown whole: some twice as long as its first words."""

FILTER_CHARS: Final = 600

ALTERNATIVES: Final = 5
"""Of the words of a search, how many alternatives a page repeats."""

EXACT_IDS: Final = "Ids match exactly, upper and lower case too."

CHARACTERS: Final = "characters of text; images and tool data do not count"
"""What the longest are ordered by, and what `chars` of a session counts."""

_CONDITION: Final = re.compile(r"(?:^|\s)[a-z_]+(?::(?!//)|[<>]=?)\S")
"""What searches elsewhere take as a condition, such as `rule:duplicate` or `size>100`."""

_WHY: Final[dict[Ended, str]] = {
    "limit": "limit is reached",
    "sessions": "top_k is reached",
    "full": f"an answer has room for about {BUDGET:,} characters",
    "looked": f"{LOOK_LIMIT:,} requests were looked through",
    "time": f"the time for looking through texts ({LOOK_SECONDS:.0f} s) was over",
}


class _End(GapFacts, total=False):
    complete: bool
    not_all_because: Unlisted[str]
    total: int | None
    left: Unlisted[int | None]
    requests_looked_at: Unlisted[int | None]
    looked_back_to: Unlisted[str]
    more_in_last_session: Unlisted[int | None]
    ordered_by: Unlisted[str]
    most_interactions: Unlisted[Facts]
    notes: Unlisted[list[str]]
    cursor: str | None


class _PageFacts(_End, total=False):
    """A page of rows, which `tabled` made. `each` holds what every row has in common: a row is complete together with
    it. `notes` are sentences of the text: what else the rows call for, or why there is none."""

    notice: Unlisted[str]
    columns: Unlisted[dict[str, list[str]]]
    returned: Required[int]
    each: Unlisted[Facts]
    filter: Unlisted[str]


class SessionsFacts(_PageFacts, total=False):
    """A page of `list_sessions`. A session without `last` has one time, its `first`."""

    sessions: Required[list[list[Any]]]


class RequestsFacts(_PageFacts, total=False):
    """A page of `list_requests`: rows of requests, grouped by session. A session's own `each` adds what its requests
    have in common."""

    sessions: Required[list[list[Any]]]


PART_COUNTED: Final = "Only matching requests are counted; delete_session takes all of a session."
USER_COUNTED: Final = (
    "Only this user's requests are counted; without user_id delete_session takes others' too."
)
REDACTED: Final = "Secrets in {count} of these are redacted; get_request shows a request in full."


def _searched(count: int, wanted: TrafficFilter) -> str:
    """What was looked through, where that was everything; of words also how, so that nobody need read it after."""
    all_of = counted(count, "request") if count == 1 else f"All {counted(count, 'request')}"
    were = "was" if count == 1 else "were"
    if replace(wanted, contains="", finding="", agent_version="").narrows:
        whose = " that the other filters select"
    elif wanted.user_id:
        user = label(wanted.user_id)
        whose = f" of user {user}" if user == wanted.user_id else " of this user"
    else:
        whose = ""
    if wanted.contains and not (wanted.finding or wanted.agent_version):
        return f"{all_of}{whose} {were} searched: texts and tools of every turn, inside longer words too, and ids."
    return f"{all_of}{whose} {were} looked through."


def _end(page: Page[Any], noun: str, wanted: TrafficFilter, tool: str = "") -> tuple[list[str], _End]:
    """Whether a page is all there is, and how to go on: with `tool`, else with the same one."""
    whole = (
        bool(page.looked_at) and page.total is not None and not (page.cursor or page.gaps or page.continues)
    )
    why = _WHY[page.ended] if page.ended else ""
    if page.ended and page.total is None:
        why += "; how many there are in all is not known"
    facts: _End = dense(
        {
            "complete": page.ended == "" and page.cursor is None and not page.gaps,
            "not_all_because": why,
            "total": page.total,
            "left": (page.left or None) if page.cursor else None,
            "requests_looked_at": page.looked_at,
            "looked_back_to": iso(page.looked_back_to)
            if page.looked_back_to is not None and not whole
            else "",
            "more_in_last_session": page.rest_of_session or None,
            "cursor": page.cursor,
        }
    )
    lines: list[str] = []
    notes: list[str] = []
    looked = ""
    if whole and page.looked_at:
        notes.append(_searched(page.looked_at, wanted))
        looked = f" {notes[0]}"
    elif page.looked_at is not None:
        back = f", back to {facts['looked_back_to']}" if "looked_back_to" in facts else ""
        looked = f" {counted(page.looked_at, 'request')} looked through{back}."
    if page.ended:
        total = f" {counted(page.total, noun)} in all." if page.total is not None else ""
        more = f" {page.left:,} more follow{'s' * (page.left == 1)}." if page.left and page.cursor else ""
        lines.append(f"Not all: {why}.{total}{more}{looked}")
        if page.rest_of_session:
            lines.append(f"{page.rest_of_session:,} more in the last session.")
    elif page.gaps:
        lines.append(looked.strip())
    elif page.rows or looked:
        total = page.total or 0
        before = f"{counted(total, noun)} with the pages before." if total > len(page.rows) else ""
        # Of nothing, that everything was searched says it.
        all_of_it = "" if whole and not page.rows else "That is all."
        lines.append((sentences(all_of_it, before) + looked).strip())
        notes += [before] if before else []
    if page.unjudged:
        session_id, count = page.unjudged
        notes.append(
            f"Not looked through: session {label(session_id)}, whose {counted(count, 'request')} took too long to be "
            "judged together. With this session_id and a shorter time (start_time, end_time) a part of it is."
        )
        lines.append(notes[-1])
    if page.not_looked_through:
        count = page.not_looked_through
        notes.append(
            f"Of the last session {counted(count, 'request')} {'was' if count == 1 else 'were'} not looked through: "
            "the next page counts what matches there in a row of its own."
        )
        lines.append(notes[-1])
    if page.goes_on:
        notes.append("The first row counts what the page before had not looked through of that session.")
        lines.append(notes[-1])
    if page.others:
        sees = "list_requests with session_id shows a whole conversation"
        count = page.others.total()
        match = (
            f"{counted(count, 'other request')} of these sessions {'does' if count == 1 else 'do'} not match"
        )
        notes.append(f"{match}: {sees}.")
        lines.append(notes[-1])
    lines = [line for line in lines if line] + gap_lines(page.gaps)
    facts = {**facts, **gap_facts(page.gaps)}
    if page.cursor:
        lines.append(f"Go on with {tool}{' ' * bool(tool)}cursor={page.cursor}")
        notes += [f"Go on with {tool}"] if tool else []
    facts["notes"] = notes
    return lines, facts


def asked(wanted: TrafficFilter, most: int | None = None) -> str:
    """The filter in words. It stands outside the fence, so an id that is not one word is not repeated.

    Args:
        most: how many alternatives of `contains` are named; of further ones only the number is.
    """
    plain = {
        name: value if not value or label(value) == value else "as given"
        for name in ("user_id", "session_id", "source", "agent_version")
        for value in (getattr(wanted, name),)
    }
    described = replace(wanted, **plain).describe(most=most)
    return "" if described == NO_FILTER else shown_name(described, FILTER_CHARS)


def nothing_stored(wanted: TrafficFilter) -> str:
    """That there is nothing at all, or nothing of the user that the filter names."""
    if not wanted.user_id:
        return "Nothing is stored."
    return f"Nothing is stored for user {shown_id(wanted.user_id)}. {EXACT_IDS}"


def _how_words_match(wanted: TrafficFilter, page: Page[Any]) -> str:
    """What else may find what no request has."""
    # One that was given cannot be given instead, nor one that is not shown.
    named = [
        f"{name}={value} ({counted(count, 'request')})"
        for (name, value), count in page.named.items()
        if not getattr(wanted, name) and label(value) == value
    ][:NAMES]
    if named and not page.continues:
        told = (
            f" Words are looked for in texts and ids, not in {', '.join(named)}: give "
            f"{'that' if len(named) == 1 else 'one of these'} instead of contains, to delete_requests too."
        )
    elif page.looked_at and not (page.some_named or page.continues or wanted.finding or wanted.agent_version):
        told = " No source or agent_version among them has the words either."
    else:
        told = " Words are looked for in texts and ids; source and agent_version are filters of their own."
    if any(len(terms) > 1 for terms in words_of(wanted.contains).alternatives):
        told += " All words have to be in one request; OR stands between alternatives."
    if _CONDITION.search(wanted.contains):
        told += " contains takes words alone; finding takes what audit_traffic found."
    return told


def _head(noun: str, page: Page[Any], wanted: TrafficFilter, described: str, found: str) -> str:
    filtered = f" ({described})" if described else ""
    if page.rows:
        # A number alone would be read as that of all.
        part = ("Next " if page.before else "First ") if page.ended else ""
        return f"{part}{found}{filtered}."
    if page.gaps:
        return f"No {noun} matches{filtered} among those that could be read."
    if page.ended:
        # Not an all-clear: the search stopped before the end.
        return f"No {noun} matches{filtered} among those looked through so far."
    if page.total and not wanted.narrows:
        return f"No more {noun}s follow."
    served = replace(wanted, agent_version="", contains="", finding="")
    if not (page.total or page.looked_at or served.narrows):
        return nothing_stored(wanted)
    ids = f" {EXACT_IDS}" if (wanted.user_id or wanted.session_id) and not page.looked_at else ""
    elsewhere = _how_words_match(wanted, page)
    if wanted.contains:
        return f"No {noun} matches{filtered}.{elsewhere}{ids}"
    names = " source and agent_version match whole names; audit_traffic lists those in use."
    exact = wanted.source or wanted.agent_version
    return f"No {noun} matches{filtered}.{names if exact else ''}{ids}"


def page_of_sessions(
    budget: SessionBudget, page: Page[SessionRow], wanted: TrafficFilter, tool: str = ""
) -> Rendered:
    """A page of `list_sessions`; `tool` is what has the next page, where it is another one."""
    more, more_facts = _end(page, "session", wanted, tool)
    returned, described = len(page.rows), asked(wanted, ALTERNATIVES)
    head = _head("session", page, wanted, described, counted(returned, "session"))
    body = [fence("\n".join([*budget.above, *budget.texts]))] if returned else []
    if most := page.most_interactions:
        more_facts["ordered_by"] = CHARACTERS
        more_facts["most_interactions"] = {
            "session_id": shown_id(most.session_id),
            "interactions": most.interactions,
        }
        ties = ""
        if page.as_many_interactions:
            as_many = page.as_many_interactions
            more_facts["most_interactions"]["sessions_with_as_many"] = [shown_id(one) for one in as_many]
            have = "has" if len(as_many) == 1 else "have"
            ties = f"; {', '.join(map(label, as_many))} {have} as many"
            if others := page.more_with_as_many:
                more_facts["most_interactions"]["others_with_as_many"] = others
                ties += f", and {counted(others, 'other')}"
        more.append(
            f"Ordered by {CHARACTERS}. By interactions the longest is {label(most.session_id)}, with "
            f"{most.interactions:,}{ties}."
        )
    part = PART_COUNTED if wanted.counts_part_of_sessions else USER_COUNTED if page.one_of_many else ""
    if page.rows and part:
        more.insert(0, part)
        more_facts.setdefault("notes", []).insert(0, part)
    return _page(budget, [head, *body], more, budget.rows, more_facts, described, ("sessions",), budget.each)


def page_of_requests(
    budget: RequestBudget, page: Page[RequestWithInteractions], wanted: TrafficFilter, request_id: str = ""
) -> Rendered:
    """A page of `list_requests`, grouped by session; `request_id` is what it was asked for, if for one request."""
    more, more_facts = _end(page, "request", wanted)
    returned, described = len(page.rows), asked(wanted, ALTERNATIVES)
    groups: list[Facts] = []
    for item, facts in zip(page.rows, budget.rows, strict=True):
        session = shown_id(item.request.session_id)
        if not groups or groups[-1]["session_id"] != session:
            groups.append({"session_id": session, "each": {}, "requests": []})
            others = page.others[item.request.session_id]
            groups[-1] |= {"not_matching": others} if others else {}
        groups[-1]["requests"].append(facts)
    each, lines = dict(budget.each), budget.above
    for group in groups:
        group["each"] = shared = budget.shared(group["requests"])
        group["requests"] = [_without(facts, shared) for facts in group["requests"]]
        lines.append(_session_line(group, budget.told(shared)))
        for facts in group["requests"]:
            text = request_text(facts)
            if left := facts.get("interactions_left_out"):
                text += f"\n  … {counted(left, 'more interaction')}: see get_request"
            lines.append(indented(text))
    # In the text each turn begins with its role.
    _put_roles_once([facts for group in groups for facts in group["requests"]], each)
    for group in groups:
        _put_roles_once(group["requests"], group["each"])
    found = f"{counted(returned, 'request')} in {counted(len(groups), 'session')}"
    head = _head("request", page, wanted, described, found)
    if request_id and not returned:
        filtered = f" ({described})" if described else ""
        head = f"No request {label(request_id)} is stored{filtered}."
        if page.unmatched:
            head = f"Request {label(request_id)} is stored and does not match{filtered}."
    body = [fence("\n".join(lines))] if returned else []
    groups = [dense(group) for group in groups]
    tables = ("sessions", "requests", "interactions")
    return _page(budget, [head, *body], more, groups, more_facts, described, tables, each)


def _session_line(group: Facts, shared: list[str]) -> str:
    others = group.get("not_matching")
    head = f"session {group['session_id']}" + (
        f" ({counted(others, 'other')} not matching)" if others else ""
    )
    return joined((head, f"each: {joined(shared)}" if shared else ""))


def _without(facts: Facts, shared: Facts) -> Facts:
    return {key: value for key, value in facts.items() if key not in shared}


def _put_roles_once(requests: Sequence[Facts], each: Facts) -> None:
    """Move the roles of the turns into `each`, where they are the same in several requests."""
    roles = [[turn.get("role") for turn in one.get("interactions", ())] for one in requests]
    if len(roles) < 2 or not all(roles[0]) or any(one != roles[0] for one in roles):
        return
    if roles[0]:
        each["turn_roles"] = roles[0]
    for one in requests:
        if "interactions" in one:
            one["interactions"] = [_without(turn, {"role": ""}) for turn in one["interactions"]]


def _page(
    budget: _Budget[Any],
    body: list[str],
    more: list[str],
    sessions: list[Facts],
    end: _End,
    described: str,
    rows: tuple[str, ...],
    each: Facts,
) -> Rendered:
    """A page in both forms; `rows` are the keys of the lists whose objects become rows, and `each` is what all of
    them have in common."""
    notes = [] if sessions else body[:1]
    if budget.redacted:
        more.insert(0, REDACTED.format(count=f"{budget.redacted:,}"))
        notes.append(more[0])
    if budget.not_looked_for:
        more.insert(0, budget.not_looked_for)
        notes.append(more[0])
    end["notes"] = [*notes, *end.get("notes", ())]
    first: _PageFacts = dense({"notice": NOTICE if budget.facts else "", "returned": len(budget.facts)})
    if each:
        first["each"] = each
    if described:
        first["filter"] = described
    facts = tabled({**first, "sessions": sessions, **dense(end)}, *rows)
    return Rendered("\n".join([*body, *more]), facts)
