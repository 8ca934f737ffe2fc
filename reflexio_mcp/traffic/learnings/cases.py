"""What a deletion of interactions means for a learning."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from reflexio_mcp.traffic.learnings.evidence import Evidence, Turns, evidence_of
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning

__all__ = ["Case", "Only", "Partly", "Replace", "Unknown", "Window"]


@dataclass(frozen=True, slots=True)
class AnyCase:
    """What all cases have.

    Args:
        evidence: what the learning quotes, and where it is said.
    """

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Only(AnyCase):
    """Said only in what is deleted: it goes too."""


@dataclass(frozen=True, slots=True)
class Replace(AnyCase):
    """Said in what is deleted, but replaced learnings that were said elsewhere: it goes, and these are current again.

    Args:
        earlier: these replaced learnings, the newest one of each chain.
    """

    earlier: tuple[Learning, ...]


@dataclass(frozen=True, slots=True)
class Partly(AnyCase):
    """Said in what is deleted, and perhaps elsewhere: it stays, unless it was replaced."""


@dataclass(frozen=True, slots=True)
class Window(AnyCase):
    """Learned at the same time from what stays: it stays."""


@dataclass(frozen=True, slots=True)
class Unknown(AnyCase):
    """May come from what is deleted, and quotes nothing that shows it: it stays."""


Case: TypeAlias = Only | Replace | Partly | Window | Unknown


def judge(learning: Learning, lineage: Lineage, turns: Turns, deleted_ids: Collection[int]) -> Case:
    """Decide what the deletion of interactions means for a learning that lists or quotes some of them.

    Args:
        lineage: of all learnings of the user.
        turns: the interactions that these learnings list or quote.
        deleted_ids: of interactions.
    """
    deleted = frozenset(deleted_ids)
    evidence = evidence_of(learning, turns)
    sources = learning.interaction_ids.union(turn.interaction_id for turn in evidence.unlisted)
    staying_sources = sources - deleted - evidence.gone
    if not sources.isdisjoint(deleted) and not staying_sources:
        return Only(evidence)  # nothing else is left that it could come from, whatever it quotes
    if evidence.quoted_ids.isdisjoint(deleted):
        return Window(evidence) if evidence.is_complete else Unknown(evidence)
    if earlier := _clean_predecessors(learning, lineage, turns, deleted):
        return Replace(evidence, earlier)
    said_only_there = evidence.is_complete and evidence.quoted_ids <= deleted
    return Only(evidence) if said_only_there else Partly(evidence)


def _clean_predecessors(
    learning: Learning, lineage: Lineage, turns: Turns, deleted: frozenset[int]
) -> tuple[Learning, ...]:
    """Return what may become current again in place of a current learning.

    These are the learnings that it replaced and that quote only what stays, the newest of each chain.
    """
    if learning.state != "current":
        return ()
    clean = [
        predecessor
        for predecessor in lineage.predecessors(learning)
        if _quotes_only_what_stays(evidence_of(predecessor, turns), deleted)
    ]
    return tuple(lineage.newest(clean))


def _quotes_only_what_stays(evidence: Evidence, deleted: frozenset[int]) -> bool:
    return bool(evidence.quoted_ids) and evidence.quoted_ids.isdisjoint(deleted)


def goes(learning: Learning, case: Case) -> bool:
    """Whether a deletion takes a learning with it.

    A replaced learning is kept to become current again if it quotes only what stays. If it quotes anything that is
    deleted, it goes.
    """
    match case:
        case Only() | Replace():
            return True
        case Partly():
            return learning.is_replaced
        case Window() | Unknown():
            return False
