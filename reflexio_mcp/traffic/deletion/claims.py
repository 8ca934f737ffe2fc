"""Claims learnings for a job before it reads them in order to write them.

Reflexio overwrites a text without comparing it with the one that the caller has read. So if two calls read the same
text, the later one would overwrite what the earlier one wrote, and nobody would notice.
"""

from collections.abc import Iterable
from contextlib import suppress

from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.state.records import Claimed, JobNumber, Name, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.errors import BeingChanged, needing_state


async def claim(
    state: State,
    owner: Owner,
    number: JobNumber,
    learnings: Iterable[tuple[str, Name]],
    call_seconds: float,
    *,
    alone: bool = False,
    stores: bool = False,
) -> bool:
    """Claim learnings, by user and name, until `release`.

    Returns whether a call of another job may still overwrite one of them.

    Args:
        call_seconds: how long a call that writes may take.
        alone: share them with no other job.
        stores: the job makes them current again, which an erasure has to know.

    Raises:
        BeingChanged: another call is writing one of them.
        NotRecorded: the state cannot be used.
    """
    try:
        with needing_state():
            return await in_thread(
                state.claim, owner, number, learnings, call_seconds, alone=alone, stores=stores
            )
    except Claimed:
        raise BeingChanged(Fact(code=FactCode.LEARNING_BEING_CHANGED)) from None


async def release(state: State, number: JobNumber) -> None:
    """End the claims of a job, of which no call can still take effect."""
    with suppress(StateUnusable):  # then they end by the clock
        await in_thread(state.release, number)
