"""Follow-up calls that show a finding or act on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from reflexio_mcp.results.audit import Call
from reflexio_mcp.traffic.audit.rules import judgement_of, offers_deletion, rule_of
from reflexio_mcp.traffic.audit.rules.duplicates import DuplicateRun
from reflexio_mcp.traffic.reading.filters import INJECTIONS, TrafficFilter

__all__ = ["Offer"]

MOST_IDS: Final = 15
"""Maximum number of ids in a call."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What follow-up calls may name.

    Args:
        tools: the tools that the caller has.
        takes_user: the caller may name a user.
    """

    tools: frozenset[str]
    takes_user: bool = True


def calls_about(
    finding: str, ids: Sequence[str], wanted: TrafficFilter, offer: Offer, *, selected: bool
) -> tuple[Call | None, Call | None]:
    """Return the calls that show and delete a finding; `None` for a call that is not possible.

    Without a filter that selects them, the first call shows the first of the requests, and the second deletes the first
    `MOST_IDS`. Another audit finds the rest.

    Args:
        ids: ids of requests with the finding, if a call can be given them.
        wanted: the filter of the audit.
        selected: `wanted` together with the finding selects exactly these requests.
    """
    rule = rule_of(finding)
    deletes = offers_deletion(finding)
    if judgement_of(finding) and "audit_traffic" in offer.tools:
        # An audit for one finding shows every place, as somebody has to judge each.
        audit = _call(offer, "audit_traffic", {**_arguments(wanted, offer), "finding": finding})
        if audit or not ids:
            return audit, None
        return _call(offer, "get_request", {"request_id": ids[0], "detail": "masked"}), None
    # A recovery copy would keep the secret.
    how_deleted = {"erase": True} if finding == "probable-secret" else {}
    if selected and rule.selects:
        arguments = {**_arguments(wanted, offer), "finding": finding}
        how_shown = {"detail": "masked"} if finding in INJECTIONS else {}
        show = _call(offer, "list_requests", {**arguments, **how_shown})
        act = _call(offer, "delete_requests", {**arguments, **how_deleted}) if deletes else None
        if show:
            return show, act
    if not ids:
        return None, None
    show = _call(offer, "get_request", {"request_id": ids[0], "detail": "masked"})
    if not deletes:
        return show, None
    return show, _call(offer, "delete_requests", {"request_ids": [*ids[:MOST_IDS]], **how_deleted})


def call_for_run(run: DuplicateRun, wanted: TrafficFilter, offer: Offer, *, whole: bool) -> Call | None:
    """Return the call that deletes this run alone; `None` if neither a filter nor few ids select it.

    Args:
        whole: everything that `wanted` selects was looked at.
    """
    if whole and run.unmixed:
        first, last = run.requests[0].created_at, run.requests[-1].created_at
        of_run = replace(wanted, source=run.source, start_time=first, end_time=last)
        return _call(offer, "delete_requests", _arguments(of_run, offer))
    ids = [request.request_id for request in run.requests]
    if len(ids) <= MOST_IDS and can_be_given(*ids):
        return _call(offer, "delete_requests", {"request_ids": ids})
    return None


def call_for_learnings(finding: str, wanted: TrafficFilter, offer: Offer) -> Call | None:
    """Return the call that lists what was learned from test traffic; `None` for other findings."""
    if finding != "test-traffic":
        return None
    return _call(offer, "list_learnings", {**_arguments(wanted, offer), "finding": finding})


def can_be_given(*values: str) -> bool:
    """Whether a call can have exactly these arguments: tools strip blanks, and invisible characters are escaped."""
    return all(value and value.isprintable() and value == value.strip() for value in values)


def _call(offer: Offer, tool: str, arguments: dict[str, Any]) -> Call | None:
    named = [argument for argument in arguments.values() if isinstance(argument, str)]
    return Call(tool=tool, arguments=arguments) if tool in offer.tools and can_be_given(*named) else None


def _arguments(wanted: TrafficFilter, offer: Offer) -> dict[str, Any]:
    given = wanted.arguments()
    if not offer.takes_user:
        given.pop("user_id", None)
    return dict(given)
