"""The last deletions, as the state has them: for the status, and for whoever wants to undo one."""

from collections.abc import Mapping
from typing import Final

import anyio

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import at
from reflexio_mcp.results.deletion import Counts, PastDeletion, Receipt
from reflexio_mcp.state.records import Deletion, Owner, RecoveryCopy
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.stored_text import shown_name

__all__ = ["last_deletions"]

LOOK_SECONDS: Final = 5.0
"""How long it is looked for what an interrupted deletion left."""

MOST: Final = 10
RECEIPTS: Final = 3
"""How many deletions are shown, and how many of them with their receipts."""


async def last_deletions(scope: Scope, state: State, owner: Owner) -> list[PastDeletion]:
    """The last deletions of an owner and what can be put back of them, the newest first.

    What an unfinished deletion has deleted is counted by reading again.

    Raises:
        StateUnusable: it cannot be read.
    """
    deletions = await in_thread(state.last, owner, MOST)
    copies = {one.deletion: one for one in await in_thread(state.copies.listed, owner)}
    past = [await _past(scope, one, copies) for one in deletions]
    return past[:RECEIPTS] + [one.model_copy(update={"receipt": None}) for one in past[RECEIPTS:]]


async def _past(scope: Scope, one: Deletion, copies: Mapping[int, RecoveryCopy]) -> PastDeletion:
    copy, gone = copies.get(one.number), one.gone
    if one.finished is not None:
        status = "complete" if one.outcome == "complete" else "incomplete"
    elif one.here:
        status = "running"
    else:
        status, gone = "unfinished", max(gone, await _gone(scope, one.planned.split("\n")))
    return PastDeletion(
        number=one.number,
        at=at(one.at),
        target=shown_name(one.target),
        status=status,
        asked=one.asked,
        gone=gone,
        copied=_counts(copy) if copy else None,
        until=at(copy.until) if copy else None,
        receipt=Receipt.model_validate_json(one.receipt) if one.receipt else None,
    )


def _counts(copy: RecoveryCopy) -> Counts:
    kinds = copy.counts
    return Counts(
        requests=kinds.get("request", 0),
        interactions=kinds.get("interaction", 0),
        learnings=kinds.get("profile", 0) + kinds.get("user_playbook", 0),
    )


async def _gone(scope: Scope, ids: list[str]) -> int:
    """How many of the planned requests are not stored; 0 if that cannot be read in time."""
    left = 0

    async def take(items: list[RequestWithInteractions]) -> None:
        nonlocal left
        left += len(items)

    wanted = [one for one in ids if one]
    try:
        with anyio.fail_after(LOOK_SECONDS):
            await read_set(scope, wanted, take)
    except (ReflexioError, TimeoutError):
        return 0
    return len(wanted) - left
