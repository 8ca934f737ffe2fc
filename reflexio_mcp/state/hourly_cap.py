"""How many requests may be deleted in an hour, so that a runaway loop stops early."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from reflexio_mcp.traffic.errors import CapReached

__all__ = ["HourlyCap"]

WINDOW_SECONDS: Final = 3600.0


class HourlyCap:
    """Counts requests deleted in the last hour, for each key, in this process.

    The count is kept in memory: it starts anew with the process, and two processes each have their own.

    Args:
        limit: requests an hour; 0 is no cap.
        clock: monotonic seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._taken: dict[str, deque[tuple[float, int]]] = {}

    def room(self, owner: str) -> int | None:
        """How many more may go now; `None` when there is no cap."""
        if not self.limit:
            return None
        return max(0, self.limit - sum(number for _, number in self._current(owner)))

    def check(self, owner: str, number: int) -> None:
        """Refuse what does not fit.

        Raises:
            CapReached: says how much room there is, and when there is enough.
        """
        room = self.room(owner)
        if room is None or number <= room:
            return
        what = "1 request" if number == 1 else f"{number:,} requests"
        lead = (
            f"Nothing was deleted: this would delete {what}, and {self.limit:,} an hour are allowed "
            f"({room:,} left now)."
        )
        if number > self.limit:
            raise CapReached(
                f"{lead} Delete a smaller part, or ask the operator to raise REFLEXIO_MCP_DELETE_CAP (0 is no cap)."
            )
        minutes = max(1, round(self._wait(owner, number - room) / 60 + 0.5))
        raise CapReached(f"{lead} There is room for it in {minutes} min; do not retry before.")

    def take(self, owner: str, number: int) -> None:
        """Count deletions that are about to happen.

        Raises:
            CapReached: they do not fit; nothing was counted.
        """
        self.check(owner, number)
        if self.limit and number:
            for other in list(self._taken):
                self._current(other)
            self._taken.setdefault(owner, deque()).append((self._clock(), number))

    def give_back(self, owner: str, number: int) -> None:
        """Uncount what was taken last and did not go after all."""
        taken = self._taken.get(owner, deque())
        while number > 0 and taken:
            at, last = taken.pop()
            if last > number:
                taken.append((at, last - number))
            number -= last

    def _current(self, owner: str) -> deque[tuple[float, int]]:
        taken = self._taken.get(owner, deque())
        while taken and taken[0][0] <= self._clock() - WINDOW_SECONDS:
            taken.popleft()
        if not taken:
            self._taken.pop(owner, None)
        return taken

    def _wait(self, owner: str, needed: int) -> float:
        for at, number in self._current(owner):
            needed -= number
            if needed <= 0:
                return max(0.0, at + WINDOW_SECONDS - self._clock())
        return WINDOW_SECONDS
