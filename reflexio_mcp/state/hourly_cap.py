"""How many requests may be deleted in an hour, so that a runaway loop stops early."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ["HourlyCap"]

WINDOW_SECONDS: Final = 3600.0


class HourlyCap:
    """Counts the requests that were deleted in the last hour, for each owner.

    The count is kept in memory: it starts anew with the process, and each process has its own.

    Args:
        limit: requests an hour; 0 means no cap.
        clock: monotonic seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._taken: dict[str, deque[tuple[float, int]]] = {}

    def room(self, owner: str) -> int | None:
        """Return how many more requests may be deleted now; `None` when there is no cap."""
        if not self.limit:
            return None
        return max(0, self.limit - sum(number for _, number in self._current(owner)))

    def take(self, owner: str, number: int) -> bool:
        """Count deletions that are about to happen.

        Returns:
            Whether they fit. When they do not, nothing is counted.
        """
        room = self.room(owner)
        if room is not None and number > room:
            return False
        if self.limit and number:
            for other in list(self._taken):
                self._current(other)
            self._taken.setdefault(owner, deque()).append((self._clock(), number))
        return True

    def give_back(self, owner: str, number: int) -> None:
        """Uncount what was taken last and was not deleted after all."""
        taken = self._taken.get(owner, deque())
        while number > 0 and taken:
            at, last = taken.pop()
            if last > number:
                taken.append((at, last - number))
            number -= last

    def wait(self, owner: str, number: int) -> float:
        """Return the seconds until `number` more requests fit, provided that nothing else is deleted."""
        needed = number - (self.room(owner) or 0)
        for at, taken in self._current(owner):
            if needed <= 0:
                break
            needed -= taken
            if needed <= 0:
                return max(0.0, at + WINDOW_SECONDS - self._clock())
        return WINDOW_SECONDS if needed > 0 else 0.0

    def _current(self, owner: str) -> deque[tuple[float, int]]:
        taken = self._taken.get(owner, deque())
        while taken and taken[0][0] <= self._clock() - WINDOW_SECONDS:
            taken.popleft()
        if not taken:
            self._taken.pop(owner, None)
        return taken
