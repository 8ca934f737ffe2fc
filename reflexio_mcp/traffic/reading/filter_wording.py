"""A filter in words, for lists, plans and records."""

from collections.abc import Iterator
from typing import Final

from reflexio_mcp.matching.words import words_of
from reflexio_mcp.results.base import label
from reflexio_mcp.traffic.audit.rules import NEWEST_ASKED
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.times import iso

__all__ = ["WORDS_NOT_KEPT", "filter_in_words"]

WORDS_NOT_KEPT: Final = "containing words (not recorded)"


def filter_in_words(wanted: TrafficFilter, *, words: bool = True, plain: bool = False) -> str:
    """Describe a filter; empty if it selects everything.

    Args:
        words: include the words of `contains`. A record that outlives a deletion must not have them.
        plain: make ids and names safe outside a fence.
    """
    return ", ".join(_parts(wanted, words=words, plain=plain))


def _parts(wanted: TrafficFilter, *, words: bool, plain: bool) -> Iterator[str]:
    for field, name in wanted.names.items():
        yield f"{field.removesuffix('_id').replace('_', ' ')} {label(name) if plain else name}"
    if wanted.start_time is not None:
        yield f"from {iso(wanted.start_time)}"
    if wanted.end_time is not None:
        yield f"until {iso(wanted.end_time)}"
    if wanted.evaluation_only == "only":
        yield "for evaluation only"
    elif wanted.evaluation_only == "never":
        yield "not for evaluation only"
    if wanted.finding:
        yield f"found as {_finding(wanted.finding)}"
    if wanted.contains:
        yield f"containing {words_of(wanted.contains).described()}" if words else WORDS_NOT_KEPT


def _finding(name: str) -> str:
    if name == "duplicate":
        return f"{name} of a request that stays"
    if name == "learning-failed":
        return f"{name} among the {NEWEST_ASKED} newest"
    return name
