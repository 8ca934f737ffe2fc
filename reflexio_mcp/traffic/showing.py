"""Makes rows of stored requests and sessions: secrets are redacted, texts cut, invisible characters escaped.

Rows with long texts are made in a worker thread, because looking for secrets takes time.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from reflexio_mcp.matching.words import words_of
from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest
from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.base import at, shown_name, visible
from reflexio_mcp.results.reading import (
    MOST_NAMES,
    ExplorerRow,
    Held,
    InteractionRow,
    RequestRow,
    SessionRow,
    as_name,
    interaction_row,
)
from reflexio_mcp.traffic.content import content_chars, in_brief, opening, texts_of
from reflexio_mcp.traffic.policy import Hold
from reflexio_mcp.traffic.reading.filters import TrafficFilter, matched
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Showing", "held_row", "redacted"]

LOOKED_CHARS: Final = 4_000
"""A text is searched beyond its shown beginning, because a cut secret may not be recognized."""

EXCERPT_CHARS: Final = 400
"""Limit of one text in a list with `detail="full"`."""

FOUND_WITHIN: Final = 2_000
FOUND_BEFORE: Final = 25
FOUND_BEHIND: Final = 45
"""How far an excerpt looks for the words of a filter, and how much text it shows around them."""

T = TypeVar("T")


class Showing:
    """How the rows of one answer are shown.

    Args:
        wanted: the filter. Rows leave out its fixed fields, and show the words that it searches for.
        detail: `full` shows interactions, `summary` the first words, `masked` fingerprints instead of content, `page`
            what the explorer needs besides a summary.
        uncovered: show secrets in texts. Keys in ids and names are never shown.
    """

    def __init__(
        self, scope: Scope, wanted: TrafficFilter, detail: str = "summary", *, uncovered: bool = False
    ) -> None:
        self.detail = detail
        self.masked = scope.masked or detail == "masked"
        self._scope = scope
        self._wanted = wanted
        self._full = detail == "full" and not self.masked
        self._uncovered = uncovered
        self._words = words_of(wanted.contains) if wanted.contains and not self.masked else None

    async def requests(self, items: Sequence[RequestWithInteractions]) -> list[RequestRow]:
        if self.detail == "page":
            return await self._in_thread(items, lambda: [*self._page_rows(items)])
        return await self._in_thread(items, lambda: [self.request(item) for item in items])

    def _page_rows(self, items: Sequence[RequestWithInteractions]) -> Iterable[ExplorerRow]:
        """Yield rows for the explorer. `items` are requests of one session, newest first."""
        for item in items:
            fields = {name: value for name, value in self.request(item) if value is not None}
            fields["first_interaction"] = min(
                (interaction.interaction_id for interaction in item.interactions), default=0
            )
            if item is items[0] and not self.masked:
                fields |= self._last_words(item)
            yield ExplorerRow(**fields)

    def _last_words(self, item: RequestWithInteractions) -> dict[str, str]:
        for interaction in reversed(item.interactions):
            if interaction.content.strip():
                said = in_brief(_beginning(interaction.content[: LOOKED_CHARS + 1]))
                return {"last_words": visible(said), "last_role": self._name(interaction.role)}
        return {}

    async def session(
        self, session_id: str, not_matching: int, items: Sequence[RequestWithInteractions]
    ) -> SessionRow:
        """Return the row of a session. `items` are its matching requests, newest first."""
        earliest = items[-1:]  # the only one whose texts are looked at
        return await self._in_thread(earliest, lambda: self._session(session_id, not_matching, items))

    async def _in_thread(self, items: Sequence[RequestWithInteractions], look: Callable[[], T]) -> T:
        if self.masked or self._uncovered:
            return look()
        from reflexio_mcp.traffic.audit.rules.redaction import look_in_thread

        interactions = (interaction for item in items for interaction in item.interactions)
        return await look_in_thread(self._scope.owner, interactions, look)

    def request(self, item: RequestWithInteractions) -> RequestRow:
        request, wanted = item.request, self._wanted
        hold = self._scope.policy.now().hold_on(request)
        return RequestRow(
            request_id=self._scope.shown_id(request.request_id),
            user_id=None if wanted.user_id else self._scope.shown_id(request.user_id),
            created_at=at(request.created_at),
            source="" if wanted.source else self._name(request.source),
            agent_version="" if wanted.agent_version else self._name(request.agent_version),
            evaluation_only=request.evaluation_only,
            held=held_row(hold) if hold else None,
            retrieval_experiment_id=self._name(request.retrieval_experiment_id or ""),
            retrieval_experiment_arm=self._name(request.retrieval_experiment_arm or ""),
            **self._content(item),
        )

    def _name(self, text: str) -> str:
        from reflexio_mcp.traffic.audit.rules.redaction import without_key

        return shown_name(without_key(as_name(text) if self.masked else text))

    def _holds(self, requests: Iterable[StoredRequest]) -> list[Held]:
        """Return the holds on requests, each once."""
        holds = map(self._scope.policy.now().hold_on, requests)
        return list(map(held_row, dict.fromkeys(hold for hold in holds if hold)))

    def _content(self, item: RequestWithInteractions) -> dict[str, Any]:
        count = len(item.interactions)
        if self.masked:
            return {
                "interaction_count": count,
                "fingerprint": self._scope.fingerprints.of(item),
                "characters": content_chars(item),
                "roles": self._names(interaction.role for interaction in item.interactions)[:MOST_NAMES],
            }
        if self._full:
            return self._interactions(item) | self._found(item)
        first_words, covered = self._first_words(item)
        row = {"interaction_count": count, "first_words": visible(first_words), "redacted": covered}
        return row | self._found(item, first_words)

    def _names(self, values: Iterable[str]) -> list[str]:
        return [self._name(value) for value, _ in Counter(filter(None, values)).most_common()]

    def _first_words(self, item: RequestWithInteractions) -> tuple[str, bool]:
        """Return the first words of a request, and whether a secret in or soon after them was redacted."""
        text = opening(item, LOOKED_CHARS + 1)
        safe = text if self._uncovered else _beginning(text)
        # Without a redaction, `safe` is the text itself or a shorter beginning of it.
        was_redacted = not text.startswith(safe)
        return in_brief(safe), was_redacted

    def _interactions(self, item: RequestWithInteractions) -> dict[str, Any]:
        """Return as many interactions of a request as one answer has room for."""
        from reflexio_mcp.traffic.audit.rules.redaction import are_passwords, redact_interaction

        room = Room()
        rows: list[InteractionRow] = []
        covered = False
        for interaction, is_password in zip(item.interactions, are_passwords(item.interactions), strict=True):
            safe = (
                interaction if self._uncovered else redact_interaction(interaction, LOOKED_CHARS, is_password)
            )
            row = interaction_row(safe, EXCERPT_CHARS, arrived=item.request.created_at)
            if not room.take(row):
                break
            rows.append(row)
            covered |= safe != interaction
        left = len(item.interactions) - len(rows)
        return {
            "interaction_count": len(item.interactions) if left else None,
            "interactions": rows,
            "interactions_left_out": left,
            "redacted": covered,
        }

    def _found(self, item: RequestWithInteractions, first_words: str = "") -> dict[str, Any]:
        """Return which part matches, and the text around the words unless the first words contain them."""
        if not self._words:
            return {}
        part, index = matched(item, self._words)
        if index is None or self._full or self._words.index_in(first_words) is not None:
            return {"matched": part}
        return {"matched": part, "found": visible(self._around(item, index))}

    def _around(self, item: RequestWithInteractions, index: int) -> str:
        """Return the first matching word in an interaction, with the text around it."""
        from reflexio_mcp.traffic.audit.rules.redaction import are_passwords, redact_interaction

        assert self._words
        interaction = item.interactions[index]
        if not self._uncovered:
            is_password = are_passwords(item.interactions)[index]
            interaction = redact_interaction(interaction, LOOKED_CHARS, is_password)
        for text in texts_of(interaction):
            start = self._words.index_in(text[:FOUND_WITHIN])
            if start is not None:
                begin, end = max(0, start - FOUND_BEFORE), start + FOUND_BEHIND
                around = " ".join(text[begin:end].split())
                left_out_before = "…" if begin > 0 else ""
                left_out_behind = "…" if end < len(text) else ""
                return left_out_before + around + left_out_behind
        return ""

    def _session(
        self, session_id: str, not_matching: int, items: Sequence[RequestWithInteractions]
    ) -> SessionRow:
        requests = [item.request for item in items]
        first, last = requests[-1].created_at, requests[0].created_at
        users = Counter(request.user_id for request in requests).most_common()
        shown_users = [] if self._wanted.user_id else users[:MOST_NAMES]
        sources = self._names(request.source for request in requests)
        versions = self._names(request.agent_version for request in requests)
        first_words, covered = ("", False) if self.masked else self._first_words(items[-1])
        return SessionRow(
            session_id=self._scope.shown_id(session_id),
            users=[self._scope.shown_id(user) for user, _ in shown_users],
            requests_of_users=[count for _, count in shown_users] if len(users) > 1 else [],
            more_users=max(0, len(users) - MOST_NAMES),
            requests=len(items),
            not_matching=not_matching,
            interactions=sum(len(item.interactions) for item in items),
            characters=sum(map(content_chars, items)),
            first=at(first),
            last=at(last) if last != first else None,
            sources=[] if self._wanted.source else sources[:MOST_NAMES],
            agent_versions=[] if self._wanted.agent_version else versions[:MOST_NAMES],
            evaluation_only=sum(request.evaluation_only for request in requests),
            held=self._holds(requests)[:MOST_NAMES],
            first_words=visible(first_words),
            fingerprint=self._scope.fingerprints.of(items[-1]) if self.masked else "",
            redacted=covered,
        )


def held_row(hold: Hold) -> Held:
    return Held(reason=shown_name(hold.reason), until=hold.ends_at)


async def redacted(scope: Scope, item: RequestWithInteractions) -> RequestWithInteractions:
    """Return a request with its secrets replaced by their kinds, also in its ids and names."""
    from reflexio_mcp.traffic.audit.rules.redaction import look_in_thread, redact_interactions, redact_value

    request, interactions = item.request, item.interactions
    return item.model_copy(
        update={
            "request": request.model_copy(update=redact_value(request.model_dump(exclude_unset=True))),
            "interactions": await look_in_thread(
                scope.owner, interactions, lambda: redact_interactions(interactions)
            ),
        }
    )


def _beginning(text: str) -> str:
    """Return the beginning of a text, secrets replaced, without a possible part of a secret at its end."""
    from reflexio_mcp.traffic.audit.rules.redaction import redact, without_end

    text = text.lstrip()
    if len(text) <= LOOKED_CHARS:
        return redact(text)
    return without_end(redact(text[:LOOKED_CHARS]), text[:LOOKED_CHARS])
