"""What a deletion of interactions means for a learning."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from reflexio_mcp.traffic.learnings.evidence import Evidence, Turns, evidence_of
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning

__all__ = ["Case", "Only", "Partly", "Replace", "Unknown", "Window"]


@dataclass(frozen=True, slots=True)
class Judged:
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Only(Judged):
    """Said only in what is deleted: it goes too."""


@dataclass(frozen=True, slots=True)
class Replace(Judged):
    """Said in what is deleted, and `earlier` learnings that it replaced were not: it goes, and they are current again.

    Args:
        earlier: the newest one of each chain.
    """

    earlier: tuple[Learning, ...]


@dataclass(frozen=True, slots=True)
class Partly(Judged):
    """Said in what is deleted, and perhaps elsewhere: it stays. `evidence` has what else it quotes."""


@dataclass(frozen=True, slots=True)
class Window(Judged):
    """Learned at the same time from what stays: it stays."""


@dataclass(frozen=True, slots=True)
class Unknown(Judged):
    """May come from what is deleted, and quotes nothing that shows it: it stays."""


Case: TypeAlias = Only | Replace | Partly | Window | Unknown


def judge(learning: Learning, lineage: Lineage, turns: Turns, inside: Collection[int]) -> Case:
    """Decide what the deletion of interactions means for a learning that lists or quotes some of them.

    Args:
        lineage: of all learnings of the user.
        turns: the interactions that these learnings list or quote.
        inside: the ids of the interactions that are deleted.
    """
    selected = frozenset(inside)
    evidence = evidence_of(learning, turns)
    said_inside = bool(evidence.quoted & selected)
    said_outside = bool(evidence.quoted - selected)
    sources = learning.interaction_ids.union(turn.interaction_id for turn in evidence.unlisted)
    if sources & selected and sources <= selected | evidence.gone:
        return Only(evidence)  # nothing else is left that it could come from, whatever it quotes
    if not said_inside:
        return Window(evidence) if evidence.is_complete else Unknown(evidence)
    if earlier := _clean_predecessors(learning, lineage, turns, selected):
        return Replace(evidence, earlier)
    return Partly(evidence) if said_outside or not evidence.is_complete else Only(evidence)


def _clean_predecessors(
    learning: Learning, lineage: Lineage, turns: Turns, selected: frozenset[int]
) -> tuple[Learning, ...]:
    """Return the newest learnings of each chain that a current one replaced and that quote only what stays."""
    if learning.state != "current":
        return ()
    clean = [
        predecessor
        for predecessor in lineage.predecessors(learning)
        if _quotes_only_outside(evidence_of(predecessor, turns), selected)
    ]
    return tuple(lineage.newest(clean))


def _quotes_only_outside(evidence: Evidence, selected: frozenset[int]) -> bool:
    return bool(evidence.quoted) and evidence.quoted.isdisjoint(selected)


def goes(learning: Learning, case: Case) -> bool:
    """Whether a deletion takes a learning with it.

    A replaced learning is the way back if it quotes only what stays, and goes if it quotes anything that is deleted.
    """
    match case:
        case Only() | Replace():
            return True
        case Partly():
            return learning.is_replaced
        case Window() | Unknown():
            return False
