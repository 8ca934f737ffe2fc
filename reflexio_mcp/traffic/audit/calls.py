"""Follow-up calls that show a finding or act on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from reflexio_mcp.results.audit import Call
from reflexio_mcp.results.base import SHOWN_ID_CHARS, visible
from reflexio_mcp.traffic.audit.rules import judgement_of, offers_deletion, rule_of
from reflexio_mcp.traffic.audit.rules.duplicates import DuplicateRun
from reflexio_mcp.traffic.reading.filters import INJECTIONS, TrafficFilter
from reflexio_mcp.traffic.scope import IDS, Scope

__all__ = ["Offer"]

MOST_IDS: Final = 15
"""Maximum number of ids in a call."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What follow-up calls may name.

    Args:
        tools: the tools that the caller has.
        scope: shows ids, and reads them back.
    """

    tools: frozenset[str]
    scope: Scope

    @property
    def takes_user(self) -> bool:
        """Whether the caller may name a user."""
        return not self.scope.user_id

    def id_for(self, stored: str) -> str:
        """Return how a call names an id; empty if it cannot name exactly this id.

        A call names an id as lists show it, because tools and commands turn that back into the stored id. They would
        turn a stored id such as `a\\u200b`, which only looks escaped, into one with a zero-width space. What lists show
        makes no link and hides nothing.
        """
        shown = self.scope.shown_id(stored)
        # Blanks around an argument are left out.
        is_exact = stored == stored.strip() and self.scope.stored_id(shown) == stored
        is_short = len(shown) <= SHOWN_ID_CHARS
        return shown if is_exact and is_short and shown.isprintable() else ""


def calls_about(
    finding: str, ids: Sequence[str], wanted: TrafficFilter, offer: Offer, *, selected: bool
) -> tuple[Call | None, Call | None]:
    """Return the calls that show and delete a finding; `None` for a call that is not possible.

    Without a filter that selects them, the first call shows the first of the requests, and the second deletes the first
    `MOST_IDS`. Another audit finds the rest.

    Args:
        ids: ids of requests with the finding, as they are stored. Those that a call cannot name are left out.
        wanted: the filter of the audit.
        selected: `wanted` together with the finding selects exactly these requests.
    """
    ids = list(islice((id_ for id_ in ids if offer.id_for(id_)), MOST_IDS))
    deletes = offers_deletion(finding)
    by_finding = {**_arguments(wanted, offer), "finding": finding}
    # A recovery copy would keep the secret.
    how_deleted = {"erase": True} if finding == "probable-secret" else {}
    show = act = None
    if judgement_of(finding) and "audit_traffic" in offer.tools:
        # An audit for one finding shows every place, as somebody has to judge each.
        show = call_for(offer, "audit_traffic", by_finding)
    elif selected and rule_of(finding).selects:
        how_shown = {"detail": "masked"} if finding in INJECTIONS else {}
        show = call_for(offer, "list_requests", {**by_finding, **how_shown})
        act = call_for(offer, "delete_requests", {**by_finding, **how_deleted}) if deletes else None
    if show:
        return show, act
    if not ids:
        return None, None
    show = call_for(offer, "get_request", {"request_id": ids[0], "detail": "masked"})
    if not deletes:
        return show, None
    return show, call_for(offer, "delete_requests", {"request_ids": ids, **how_deleted})


def call_for_run(run: DuplicateRun, wanted: TrafficFilter, offer: Offer, *, whole: bool) -> Call | None:
    """Return the call that deletes this run alone; `None` if neither a filter nor few ids select it.

    Args:
        whole: everything that `wanted` selects was looked at.
    """
    if whole and run.unmixed:
        first, last = run.requests[0].created_at, run.requests[-1].created_at
        of_run = replace(wanted, source=run.source, start_time=first, end_time=last)
        return call_for(offer, "delete_requests", _arguments(of_run, offer))
    ids = [request.request_id for request in run.requests]
    return call_for(offer, "delete_requests", {"request_ids": ids}) if len(ids) <= MOST_IDS else None


def call_for_learnings(finding: str, wanted: TrafficFilter, offer: Offer) -> Call | None:
    """Return the call that lists what was learned from test traffic; `None` for other findings."""
    if finding != "test-traffic":
        return None
    return call_for(offer, "list_learnings", {**_arguments(wanted, offer), "finding": finding})


def call_for(offer: Offer, tool: str, arguments: Mapping[str, Any]) -> Call | None:
    """Return a call; `None` if the caller does not have the tool, or if no call can have exactly these arguments.

    Args:
        arguments: with ids as they are stored.
    """
    if tool not in offer.tools:
        return None
    given: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in IDS:
            given[name] = value
            is_exact = not isinstance(value, str) or _is_given_as_it_is(value)
        elif isinstance(value, str):
            given[name] = offer.id_for(value)
            is_exact = bool(given[name])
        else:
            given[name] = [offer.id_for(id_) for id_ in value]
            is_exact = all(given[name])
        if not is_exact:
            return None
    return Call(tool=tool, arguments=given)


def _is_given_as_it_is(text: str) -> bool:
    """Whether an argument that is no id arrives as it was written: blanks around it and what hides would not."""
    return bool(text) and text.isprintable() and text == text.strip() and text == visible(text)


def _arguments(wanted: TrafficFilter, offer: Offer) -> dict[str, Any]:
    given = wanted.arguments()
    if not offer.takes_user:
        given.pop("user_id", None)
    return dict(given)
