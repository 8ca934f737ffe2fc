"""How much of a shared resource one account may hold at a time."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["Quota"]


class Quota:
    """Counts what each account holds.

    Args:
        each: what one account may hold.
        all_: what all of them may hold together; `None` for no limit.
    """

    def __init__(self, each: int, all_: int | None = None) -> None:
        self._each = each
        self._all = all_
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, account: str) -> Generator[bool]:
        """Hold one during the block; yields whether `account` may have it."""
        if self._held[account] >= self._each or (self._all is not None and self._held.total() >= self._all):
            yield False
            return
        self._held[account] += 1
        try:
            yield True
        finally:
            self._held[account] -= 1
            if not self._held[account]:
                del self._held[account]
