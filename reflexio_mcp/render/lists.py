"""Pages of sessions and of requests."""

from collections.abc import Mapping
from typing import Any

from reflexio_mcp.render.masking import as_name
from reflexio_mcp.render.requests import request_facts, request_head, request_text, turn_text
from reflexio_mcp.render.text import (
    BUDGET,
    NAME_CHARS,
    NAMES,
    NOTICE,
    Facts,
    Rendered,
    clip,
    counted,
    dense,
    fence,
    indented,
    joined,
    shown_id,
    visible,
)
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import Fingerprints
from reflexio_mcp.traffic.reading.listing import Page, SessionRow
from reflexio_mcp.traffic.times import iso

__all__ = ["RequestBudget", "SessionBudget", "page_of_requests", "page_of_sessions"]


def session_facts(row: SessionRow, *, masked: Fingerprints | None = None) -> Facts:
    versions = [as_name(one) for one in row.agent_versions] if masked else row.agent_versions
    opening = row.opening if masked else None
    return dense(
        {
            "session_id": shown_id(row.session_id),
            "users": [shown_id(user) for user in row.users[:NAMES]],
            "more_users": max(0, len(row.users) - NAMES) or None,
            "requests": row.requests,
            "interactions": row.interactions,
            "first": iso(row.first),
            "last": iso(row.last),
            "sources": [clip(source, NAME_CHARS) for source in row.sources[:NAMES]],
            "more_sources": max(0, len(row.sources) - NAMES) or None,
            "agent_versions": [clip(version, NAME_CHARS) for version in versions[:NAMES]],
            "more_agent_versions": max(0, len(row.agent_versions) - NAMES) or None,
            "evaluation_only": row.evaluation_only or None,
            "first_words": "" if masked else visible(row.first_words),
            "chars": row.chars if masked else None,
            "fingerprint": masked.of(opening) if masked and opening else "",
        }
    )


def session_text(facts: Mapping[str, Any]) -> str:
    head = joined(
        (
            facts["session_id"],
            _named("user", facts, "users"),
            f"{counted(facts['requests'], 'request')}, {counted(facts['interactions'], 'interaction')}",
            facts["first"] if facts["first"] == facts["last"] else f"{facts['first']} to {facts['last']}",
            _named("source", facts, "sources"),
            _named("agent", facts, "agent_versions"),
            f"evaluation-only {facts['evaluation_only']:,}" if "evaluation_only" in facts else "",
        )
    )
    if "fingerprint" in facts:
        return f"{head} · {counted(facts.get('chars', 0), 'character')}, first fingerprint {facts['fingerprint']}"
    return f"{head}\n  “{facts['first_words']}”" if "first_words" in facts else head


def _named(noun: str, facts: Mapping[str, Any], key: str) -> str:
    if key not in facts:
        return ""
    more = f" and {facts[f'more_{key}']:,} more" if f"more_{key}" in facts else ""
    return f"{noun} {', '.join(facts[key])}{more}"


class _Room:
    """Counts characters of text and keeps what was rendered, so that nothing is rendered twice."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self.clear()

    def clear(self) -> None:
        self.facts: list[Facts] = []
        self.texts: list[str] = []
        self._used = 0

    def fits(self, facts: Facts, text: str) -> bool:
        if self.texts and self._used + len(text) + 1 > self._budget:
            return False
        self._used += len(text) + 1
        self.facts.append(facts)
        self.texts.append(text)
        return True


class SessionBudget(_Room):
    """Room for session rows within a budget of characters; `masked` shows fingerprints instead of first words."""

    def __init__(self, budget: int = BUDGET, *, masked: Fingerprints | None = None) -> None:
        super().__init__(budget)
        self._masked = masked

    def take(self, row: SessionRow, /) -> bool:
        facts = session_facts(row, masked=self._masked)
        return self.fits(facts, session_text(facts))


class RequestBudget(_Room):
    """Room for requests; `full` brings their interactions, cut to what the budget holds,
    `masked` no content but its fingerprints."""

    def __init__(self, *, full: bool, masked: Fingerprints | None = None, budget: int = BUDGET) -> None:
        super().__init__(budget)
        self._full = full
        self._masked = masked

    def take(self, row: RequestWithInteractions, /) -> bool:
        facts = request_facts(row, full=self._full, masked=self._masked)
        text = request_text(facts)
        if len(text) > self._budget:
            facts = _shortened(facts, self._budget)
            text = request_text(facts)
        return self.fits(facts, text)


def _shortened(facts: Facts, budget: int) -> Facts:
    """A request too long for one answer: its first interactions, and how many there are in all."""
    kept: list[Facts] = []
    used = len(request_head(facts))
    for turn in facts.get("interactions", []):
        used += len(turn_text(turn)) + 4
        if kept and used > budget:
            break
        kept.append(turn)
    left = len(facts.get("interactions", [])) - len(kept)
    return {**facts, "interactions": kept, **({"interactions_left_out": left} if left else {})}


def _more(page: Page[Any]) -> tuple[list[str], Facts]:
    lines: list[str] = []
    facts: Facts = {}
    if page.looked_at is not None:
        back = f", back to {iso(page.looked_back_to)}" if page.looked_back_to is not None else ""
        lines.append(f"Looked through {counted(page.looked_at, 'request')}{back}.")
        facts["looked_at"] = page.looked_at
        if page.looked_back_to is not None:
            facts["looked_back_to"] = iso(page.looked_back_to)
    if page.rest_of_session:
        lines.append(f"{page.rest_of_session:,} more in the last session.")
        facts["rest_of_session"] = page.rest_of_session
    if page.cursor:
        lines.append(f"More follow: call again with cursor={page.cursor}")
        facts["cursor"] = page.cursor
    return lines, facts


def _none(noun: str, page: Page[Any], described: str) -> str:
    asked = clip(described, NAME_CHARS)
    if page.cursor:
        # Not an all-clear: the search stopped before the end.
        return f"No {noun} matches ({asked}) among those looked through so far."
    return f"No {noun} matches ({asked})."


def page_of_sessions(budget: SessionBudget, page: Page[SessionRow], described: str) -> Rendered:
    """A page of `list_sessions`."""
    more, more_facts = _more(page)
    returned = len(page.rows)
    head = f"{counted(returned, 'session')}, newest first." if returned else _none("session", page, described)
    body = [fence("\n".join(budget.texts))] if returned else []
    structured: Facts = {"notice": NOTICE, "returned": returned, "sessions": budget.facts, **more_facts}
    return Rendered("\n".join([head, *body, *more]), structured)


def page_of_requests(budget: RequestBudget, page: Page[RequestWithInteractions], described: str) -> Rendered:
    """A page of `list_requests`, grouped by session."""
    more, more_facts = _more(page)
    returned = len(page.rows)
    groups: list[Facts] = []
    lines: list[str] = []
    for item, facts, text in zip(page.rows, budget.facts, budget.texts, strict=True):
        session = shown_id(item.request.session_id)
        if not groups or groups[-1]["session_id"] != session:
            groups.append({"session_id": session, "requests": []})
            lines.append(f"session {session}")
        groups[-1]["requests"].append(facts)
        if left := facts.get("interactions_left_out"):
            text += f"\n  … {counted(left, 'more interaction')}: see get_request"
        lines.append(indented(text))
    head = (
        f"{counted(returned, 'request')} in {counted(len(groups), 'session')}, newest first."
        if returned
        else _none("request", page, described)
    )
    body = [fence("\n".join(lines))] if returned else []
    structured: Facts = {"notice": NOTICE, "returned": returned, "sessions": groups, **more_facts}
    return Rendered("\n".join([head, *body, *more]), structured)
