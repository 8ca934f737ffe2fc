"""Stored requests as results show them: secrets replaced, masked, cut, invisible characters escaped.

Everything a tool, a page or a command shows of stored requests comes from here. Looking for secrets in long texts takes
time: `shown` runs it in a worker thread.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.results.base import Moment, Room, at
from reflexio_mcp.results.reading import Gap, InteractionRow, Learning, RequestRow, SessionRow
from reflexio_mcp.traffic.content import content_chars, first_words, texts_of
from reflexio_mcp.traffic.reading import gaps as unread
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.search import matched
from reflexio_mcp.traffic.reading.words import Words, words_of
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.stored_text import beginning, clip, label, shown_name, visible

__all__ = [
    "Showing",
    "as_name",
    "gap_rows",
    "interaction_row",
    "learning_row",
    "masked_interaction",
    "redacted",
]

LOOKED_CHARS: Final = 4_000
"""Characters of a text in which secrets are looked for if only its beginning is shown: a secret is recognized by more
than the part of it that is shown."""

EXCERPT_CHARS: Final = 400
"""Characters of one text in a list with `detail="full"`."""

FOUND_WITHIN: Final = 2_000
FOUND_BEFORE: Final = 25
FOUND_BEHIND: Final = 45
"""How far into a text words are shown that were looked for, and how much before and behind them."""

NAMES: Final = 10
"""Users, sources or versions that one row names."""

SAME_SECONDS: Final = 60
"""An interaction's own time is shown from so many seconds before or after the arrival of its request on."""

_TEXTS: Final = ("content", "user_action_description", "shadow_content", "expert_content")
_NAME: Final = re.compile(r"[\w.+:/@-]{1,64}(?: [\w.+:/@-]{1,24}){0,2}")

RowT = TypeVar("RowT", RequestRow, SessionRow)


def as_name(text: str) -> str:
    """A role or a version as it is, or its length if it says more than a name: then it counts as content."""
    return text if not text or (_NAME.fullmatch(text) and len(text) <= 64) else f"({len(text):,} characters)"


class Showing:
    """How the rows of one answer are shown.

    Args:
        scope: whose operator may hide all content.
        wanted: the filter. What it fixes is left out of each row, and the words it looks for are shown.
        detail: `full` shows interactions, `summary` the first words, `masked` fingerprints instead of content.
        uncovered: show secrets.
    """

    def __init__(
        self, scope: Scope, wanted: TrafficFilter, detail: str = "summary", *, uncovered: bool = False
    ) -> None:
        self.detail = detail
        self.masked = scope.fingerprints if scope.masked or detail == "masked" else None
        self._scope = scope
        self._wanted = wanted
        self._full = detail == "full" and not self.masked
        self._uncovered = uncovered
        self._words = words_of(wanted.contains) if wanted.contains and not self.masked else None

    def name(self, text: str) -> str:
        """A source, version or role, a key in it covered."""
        from reflexio_mcp.traffic.audit.rules.redaction import without_key

        return shown_name(without_key(as_name(text) if self.masked else text))

    async def requests(self, items: Sequence[RequestWithInteractions]) -> list[RequestRow]:
        """The rows of some requests."""
        return await self._in_thread(items, lambda: [self.request(item) for item in items])

    def request(self, item: RequestWithInteractions) -> RequestRow:
        """The row of a request."""
        request = item.request
        row = RequestRow(
            request_id=self._scope.shown_id(request.request_id),
            user_id=None if self._wanted.user_id else self._scope.shown_id(request.user_id),
            created_at=at(request.created_at),
            source="" if self._wanted.source else self.name(request.source),
            agent_version="" if self._wanted.agent_version else self.name(request.agent_version),
            evaluation_only=request.evaluation_only,
            retrieval_experiment_id=self.name(request.retrieval_experiment_id or ""),
            retrieval_experiment_arm=self.name(request.retrieval_experiment_arm or ""),
            interaction_count=len(item.interactions),
        )
        if self.masked:
            roles = Counter(turn.role for turn in item.interactions)
            return row.model_copy(
                update={
                    "fingerprint": self.masked.of(item),
                    "characters": content_chars(item),
                    "roles": [self.name(role) for role, _ in roles.most_common(NAMES)],
                }
            )
        if self._full:
            return row.model_copy(update=self._interactions(item))
        safe = item if self._uncovered else _opening(item)
        found = self._found(item, first_words(safe))
        return row.model_copy(
            update={"first_words": visible(first_words(safe)), "redacted": safe is not item, **found}
        )

    def _interactions(self, item: RequestWithInteractions) -> dict[str, Any]:
        """The interactions of a request, as many as one answer has room for."""
        room, rows, redacted = Room(), list[InteractionRow](), False
        covered = item.interactions if self._uncovered else _redacted_turns(item.interactions, LOOKED_CHARS)
        for stored, turn in zip(item.interactions, covered, strict=True):
            row = interaction_row(turn, EXCERPT_CHARS, arrived=item.request.created_at)
            if not room.take(row):
                break
            rows.append(row)
            redacted |= turn != stored
        left = len(item.interactions) - len(rows)
        return {"interactions": rows, "interactions_left_out": left, "redacted": redacted} | self._found(item)

    def _found(self, item: RequestWithInteractions, opening: str = "") -> dict[str, str]:
        """What has the words that were looked for, and the text around them if the first words do not have them."""
        if not self._words:
            return {}
        part, index = matched(item, self._words)
        if index is None or self._full or self._words.place_in(opening) is not None:
            return {"matched": part}
        turn = item.interactions[index]
        if not self._uncovered:
            turn = _redacted_turn(item.interactions, index)
        return {"matched": part, "found": visible(_around(turn, self._words))}

    async def sessions(
        self, sessions: Sequence[tuple[str, int, Sequence[RequestWithInteractions]]]
    ) -> list[SessionRow]:
        """The rows of some sessions: the id of each, how many of its requests do not match, and those that do."""
        openings = [items[-1] for _, _, items in sessions]
        return await self._in_thread(openings, lambda: [self.session(*one) for one in sessions])

    def session(
        self, session_id: str, not_matching: int, items: Sequence[RequestWithInteractions]
    ) -> SessionRow:
        """The row of a session; `items` are its matching requests, newest first."""
        requests = [item.request for item in items]
        users = _by_frequency(request.user_id for request in requests)
        versions = _by_frequency(request.agent_version for request in requests)
        sources = _by_frequency(request.source for request in requests)
        first, last = requests[-1].created_at, requests[0].created_at
        opening = items[-1]
        safe = opening if self._uncovered or self.masked else _opening(opening)
        return SessionRow(
            session_id=self._scope.shown_id(session_id),
            users=[] if self._wanted.user_id else [self._scope.shown_id(user) for user in users[:NAMES]],
            more_users=max(0, len(users) - NAMES),
            requests=len(items),
            not_matching=not_matching,
            interactions=sum(len(item.interactions) for item in items),
            characters=sum(map(content_chars, items)),
            first=at(first),
            last=at(last) if last != first else None,
            sources=[] if self._wanted.source else [self.name(one) for one in sources[:NAMES]],
            agent_versions=[] if self._wanted.agent_version else [self.name(one) for one in versions[:NAMES]],
            evaluation_only=sum(request.evaluation_only for request in requests),
            first_words="" if self.masked else visible(first_words(safe)),
            fingerprint=self.masked.of(opening) if self.masked else "",
            redacted=safe is not opening,
        )

    async def _in_thread(
        self, items: Sequence[RequestWithInteractions], look: Callable[[], list[RowT]]
    ) -> list[RowT]:
        if self.masked or self._uncovered:
            return look()
        from reflexio_mcp.traffic.audit.rules.redaction import looked  # its patterns take a while to compile

        return await looked((turn for item in items for turn in item.interactions), look)


def _by_frequency(values: Iterable[str]) -> list[str]:
    return [value for value, _ in Counter(value for value in values if value).most_common()]


def redacted(item: RequestWithInteractions, chars: int | None = None) -> RequestWithInteractions:
    """The request with each secret in it replaced by what kind it is.

    Args:
        chars: so many characters of each text are looked at, because no more are shown.
    """
    return item.model_copy(update={"interactions": list(_redacted_turns(item.interactions, chars))})


def _redacted_turns(turns: Sequence[StoredInteraction], chars: int | None) -> Iterator[StoredInteraction]:
    from reflexio_mcp.traffic.audit.rules.redaction import asked_for, redact_turn

    for turn, asked in zip(turns, asked_for(turns), strict=True):
        yield redact_turn(turn, chars, asked)


def _opening(item: RequestWithInteractions) -> RequestWithInteractions:
    """The request with the first interaction that says something cut short and redacted; the same if nothing was."""
    for index, turn in enumerate(item.interactions):
        if any(text.strip() for text in texts_of(turn)):
            texts = {name: text for name in _TEXTS if (text := getattr(turn, name))}
            safe = {name: _beginning(text) for name, text in texts.items()}
            if all(text.lstrip().startswith(safe[name]) for name, text in texts.items()):
                return item
            turns = [*item.interactions]
            turns[index] = turn.model_copy(update=safe)
            return item.model_copy(update={"interactions": turns})
    return item


def _redacted_turn(turns: Sequence[StoredInteraction], index: int) -> StoredInteraction:
    from reflexio_mcp.traffic.audit.rules.redaction import asked_for, redact_turn

    asked = asked_for(turns)[index]
    turn = redact_turn(turns[index], LOOKED_CHARS, asked)
    # An answer to a question is a secret as a whole, which the turn before told.
    names = _TEXTS[1:] if asked else _TEXTS
    return turn.model_copy(
        update={name: _beginning(text) for name in names if (text := getattr(turns[index], name))}
    )


def _beginning(text: str) -> str:
    """The beginning of a text, secrets replaced, without what may be a part of one at its end."""
    from reflexio_mcp.traffic.audit.rules.redaction import redact_opening, without_end

    text = text.lstrip()
    if len(text) <= LOOKED_CHARS:
        return redact_opening(text)
    return without_end(redact_opening(text[:LOOKED_CHARS]), text[:LOOKED_CHARS])


def _around(turn: StoredInteraction, words: Words) -> str:
    """The first word that was looked for in an interaction, with what is around it."""
    for text in texts_of(turn):
        place = words.place_in(text[:FOUND_WITHIN])
        if place is not None:
            begin, end = max(0, place - FOUND_BEFORE), min(FOUND_WITHIN, place + FOUND_BEHIND)
            before = text[begin:place].partition(" ")[2] if begin else text[:place]
            around = " ".join((before + text[place:end]).split())
            return f"{'…' * (begin > 0)}{around}{'…' * (end < len(text))}"
    return ""


def interaction_row(
    turn: StoredInteraction, chars: int, *, arrived: int, begin: int = 0, beside: int | None = None
) -> InteractionRow:
    """One interaction, its content cut to `chars` from `begin` on.

    Args:
        arrived: when its request arrived.
        beside: characters of the other texts; as many as of the content if left out.
    """
    content, used = beginning(turn.content, chars, begin)
    other = chars if beside is None else beside
    return InteractionRow(
        interaction_id=turn.interaction_id,
        role=shown_name(turn.role),
        created_at=_own_time(turn, arrived),
        content=content,
        content_from=begin,
        characters=len(turn.content) if used < len(turn.content) else None,
        user_action=shown_name(turn.user_action) if turn.user_action != "none" else "",
        user_action_description=clip(turn.user_action_description, other),
        interacted_image_url=shown_name(turn.interacted_image_url, other),
        shadow_content=clip(turn.shadow_content, other),
        expert_content=clip(turn.expert_content, other),
        tools_used=_as_json(turn.tools_used, other),
        retrieved_learnings=_as_json(turn.retrieved_learnings, other),
    )


def masked_interaction(turn: StoredInteraction, *, arrived: int) -> InteractionRow:
    """Who spoke and how much."""
    return InteractionRow(
        interaction_id=turn.interaction_id,
        role=as_name(turn.role),
        created_at=_own_time(turn, arrived),
        characters=sum(map(len, texts_of(turn))),
        user_action=as_name(turn.user_action) if turn.user_action != "none" else "",
    )


def _own_time(turn: StoredInteraction, arrived: int) -> Moment | None:
    apart = turn.created_at and abs(turn.created_at - arrived) > SAME_SECONDS
    return at(turn.created_at) if apart else None


def _as_json(values: Sequence[object], chars: int) -> list[str]:
    shown = [
        json.dumps(one, ensure_ascii=False, separators=(",", ":"), default=str) for one in values[:NAMES]
    ]
    more = [f"… {len(values) - NAMES:,} more"] if len(values) > NAMES else []
    return [*(clip(one, chars) for one in shown), *more]


def gap_rows(gaps: Sequence[unread.Gap], most: int = 5) -> list[Gap]:
    """What the service could not return, the first of it."""
    return [
        Gap(
            first=None if one.first is None else at(one.first),
            last=None if one.last is None else at(one.last),
            whole_session=one.session,
        )
        for one in gaps[:most]
    ]


NOT_APPLICABLE: Final = "not_applicable"
"""The service's reason if nothing can be learned."""

_MEANS: Final = {
    "waiting_for_window": "Nothing is learned from it yet: Reflexio waits for more of the conversation, usually 10 "
    "interactions. finish_session learns now.",
    "covered": "Reflexio has read it, whether or not there was anything to learn.",
    "deferred": "Nothing is learned from it yet.",
    "pending": "Nothing is learned from it yet.",
    "processing": "It is being learned from now.",
    "still_learning": "Reflexio is still learning from it. get_request shows how it went.",
    "done": "Reflexio has learned from it.",
    "not_tracked": "Reflexio does not say what is learned from it.",
    "embedded_store": "This store does not learn; an assistant finds it again by searching.",
    "failed": "Nothing was learned from it: it failed.",
    "unknown": "The service does not say what was learned from it.",
}


def learning_row(status: str, reason: str | None, *, evaluation_only: bool) -> Learning:
    """Where the learning of a request stands.

    Args:
        status, reason: as the service says it.
    """
    if reason == NOT_APPLICABLE:
        why = "it is for evaluation only" if evaluation_only else "nothing in it can be learned from"
        return Learning(status="nothing", reason=NOT_APPLICABLE, means=f"Nothing is learned from it: {why}.")
    known, why = label(status or "unknown"), label(reason or "")
    means = _MEANS.get(why) or _MEANS.get(known) or f"Reflexio says: {known}."
    return Learning(status=known, reason=why, means=means)
