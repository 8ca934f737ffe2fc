"""The detectors that the rows of the catalog name: for an audit, and for a filter by a rule."""

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.rules.catalog import RULES, rule
from reflexio_mcp.traffic.rules.detector import Detector, SessionSeen, stop_if_cancelled

__all__ = ["detector_types", "originals", "select", "select_each"]

Items = Sequence[RequestWithInteractions]
"""Requests of one session, newest first."""

_FOLDER: Final = __name__.rpartition(".")[0]


@functools.cache
def detector_types() -> tuple[type[Detector], ...]:
    """The detectors of all rules, each once, in the order of the catalog."""
    return tuple(dict.fromkeys(_type(one.detector) for one in RULES if one.detector))


@functools.cache
def _type(name: str) -> type[Detector]:
    module, _, called = name.partition(".")
    found: type[Detector] = getattr(importlib.import_module(f"{_FOLDER}.{module}"), called)
    return found


def select(rule_id: str, items: Items, *, is_part: bool = False) -> Items:
    """The requests of one session that a rule finds.

    Args:
        is_part: as `SessionSeen` has it.

    Raises:
        KeyError: there is no such rule, or a single session does not show it.
    """
    return _selected(_type(rule(rule_id).detector), items, is_part=is_part)[rule_id]


def select_each(items: Items, *, is_part: bool = False) -> dict[str, Items]:
    """What every rule that is a filter finds in one session; each detector looks once.

    Args:
        is_part: as `SessionSeen` has it.
    """
    selected: dict[str, Items] = {}
    for kind in detector_types():
        selected |= _selected(kind, items, is_part=is_part)
    return {one.id: selected[one.id] for one in RULES if one.selects and not one.across}


def originals(rule_id: str, items: Items) -> Mapping[str, str]:
    """What stays of a finding that is about copies: the id of each copy with that of the request that it repeats."""
    if not (items and rule_id):
        return {}
    detector = _type(rule(rule_id).detector)()
    detector.session(SessionSeen(items[0].request.session_id, list(items)))
    return detector.originals.get(rule_id, {})


def _selected(kind: type[Detector], items: Items, *, is_part: bool = False) -> dict[str, Items]:
    selected: dict[str, Items] = {
        rule_id: [item for item in items if carries(item)] for rule_id, carries in kind.carries.items()
    }
    detector = kind()
    founds = [
        one
        for one in detector.founds
        if one.rule.selects and not one.rule.across and one.rule.id not in selected
    ]
    if not items or not founds:
        return {one.rule.id: () for one in founds} | selected
    for found in founds:
        found.kept = len(items)
    for item in items:
        stop_if_cancelled()
        detector.request(item)
    session_id = items[0].request.session_id
    detector.session(SessionSeen(session_id, list(items), is_part))
    detector.finish()
    for found in founds:
        subjects = set(found.subjects)
        if found.rule.unit == "session":
            selected[found.rule.id] = items if session_id in subjects else ()
        else:
            selected[found.rule.id] = [item for item in items if item.request.request_id in subjects]
    return selected
