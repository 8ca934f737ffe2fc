"""How much of a shared resource one account may hold at a time."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["Quota"]


class Quota:
    """Counts what each account holds.

    Args:
        each: what one account may hold; `None` for no limit.
        all_: what all of them may hold together; `None` for no limit.
    """

    def __init__(self, each: int | None, all_: int | None = None) -> None:
        self._each = each
        self._all = all_
        self._held: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether any account holds any."""
        return bool(self._held)

    def holds(self, account: str) -> bool:
        """Whether `account` holds any."""
        return account in self._held

    def has_room(self, account: str) -> bool:
        """Whether `account` may have one more."""
        own = self._each is None or self._held[account] < self._each
        return own and (self._all is None or self._held.total() < self._all)

    def take(self, account: str) -> bool:
        """Count one more for `account` if it may have it, and return whether it may."""
        if not self.has_room(account):
            return False
        self._held[account] += 1
        return True

    def give_back(self, account: str) -> None:
        """Count one less for `account`."""
        self._held[account] -= 1
        if not self._held[account]:
            del self._held[account]

    @contextmanager
    def hold(self, account: str) -> Generator[bool]:
        """Hold one during the block; yields whether `account` may have it."""
        taken = self.take(account)
        try:
            yield taken
        finally:
            if taken:
                self.give_back(account)
