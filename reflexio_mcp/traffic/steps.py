"""Long looks at stored text, in steps: whoever else has work gets a turn in between, and a cancellation is heard."""

from collections.abc import Generator
from typing import Final, TypeVar

import anyio.lowlevel

__all__ = ["CHARS_A_TURN", "Pace", "at_once", "in_turns"]

CHARS_A_TURN: Final = 20_000
"""Characters looked at before others have their turn: some milliseconds."""

T = TypeVar("T")


class Pace:
    """Says when enough was looked at."""

    def __init__(self) -> None:
        self._left = CHARS_A_TURN

    def due(self, chars: int) -> bool:
        """Count characters that were looked at; whether it is somebody else's turn now."""
        self._left -= chars
        if self._left > 0:
            return False
        self._left = CHARS_A_TURN
        return True


async def in_turns(steps: Generator[None, None, T]) -> T:
    """What the steps come to; others run between two of them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        await anyio.lowlevel.checkpoint()


def at_once(steps: Generator[None, None, T]) -> T:
    """What the steps come to, where nobody waits."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
