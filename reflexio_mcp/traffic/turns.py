"""Turns: the calls of one account are worked on one after another, so they alternate with the calls of others.

A call gives up its turn while it waits for a person who answers a form, or for Reflexio while it learns. A long call
lets waiting calls of its account go first from time to time, and long work rests while others have a turn.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Final
from weakref import WeakValueDictionary

import anyio

__all__ = [
    "REFUSAL_SECONDS",
    "Turn",
    "Turns",
    "aside",
    "current_turn",
    "give_way",
    "give_way_in_loop",
    "let_others",
    "while_client_waits",
]

MOST_PAUSED: Final = 3
"""How many calls of one account may have let others go first and wait to go on. Each keeps what it has read so far."""

REFUSAL_SECONDS: Final = 0.1
"""Time between two refusals of one account: a caller that asks again at once would keep the event loop busy."""

UNREAD_BYTES: Final = 16 * 1024 * 1024
"""While clients of an account have left more of their answers unread, its calls wait: the first one in its turn."""


WORK_SECONDS: Final = 0.001
REST_SECONDS: Final = 0.002
"""While another account has a turn, long work rests for `REST_SECONDS` after each `WORK_SECONDS`.

Only one thread can run Python at a time. A short call changes threads dozens of times, and would wait each time.
"""


FEW_AT_ONCE: Final = 2
LATELY_SECONDS: Final = 0.5
"""If another account began a turn within this time, a call asks the service for at most `FEW_AT_ONCE` things at once,
so that the service has room for the others."""


class _InTurn:
    """How many turns there are now, of all accounts, and when turns began lately."""

    def __init__(self) -> None:
        self.number = 0
        self._last_account: object = None
        self._last_began = -LATELY_SECONDS
        self._last_of_another_began = -LATELY_SECONDS
        """When an account other than `_last_account` last began a turn."""

    def begin(self, account: object) -> None:
        self.number += 1
        if account is not self._last_account:
            self._last_of_another_began = self._last_began
        self._last_account, self._last_began = account, time.monotonic()

    def others_lately(self, account: object) -> bool:
        began = self._last_of_another_began if account is self._last_account else self._last_began
        return time.monotonic() - began < LATELY_SECONDS


class _Account:
    """What the calls of one account share."""

    def __init__(self, in_turn: _InTurn) -> None:
        self.in_turn = in_turn
        self.line_of_calls = anyio.Semaphore(1)
        self.line_of_notices = anyio.Semaphore(1)
        self.calls = 0
        self.calls_from_address = Counter[str]()
        self.paused = 0
        self.unread_bytes = 0
        self.was_read = anyio.Event()
        self.refusal = anyio.Lock()

    async def wait_to_refuse(self) -> None:
        async with self.refusal:
            await anyio.sleep(REFUSAL_SECONDS)


class Turn:
    """The turn of one call. It lasts while somebody uses it, and can be given up before."""

    def __init__(
        self, account: _Account, address: str, *, notice: bool = False, refused: bool = False
    ) -> None:
        self.refused = refused
        """Too many calls of the account wait or run. The call is answered so, and needs no turn."""
        self.until_over = ExitStack()
        """What the account holds for this call; closed when nobody uses the turn any more."""
        self.has = False
        self._account = account
        self._address = address
        self._notice = notice
        self._blocks = 0
        """How many blocks of `used` are running."""
        self._client_has_left = False
        self._ended_if_client_leaves = set[anyio.CancelScope]()
        self._rested_at = 0.0

    @asynccontextmanager
    async def used(self) -> AsyncGenerator[None]:
        """Keep the turn during the block. A turn that is over is taken again."""
        self._blocks += 1
        try:
            if self._blocks == 1 and not self.refused:
                if not self._notice:
                    self._account.calls += 1
                    self._account.calls_from_address[self._address] += 1
                    self.until_over.callback(self._uncount)
                await self._take()
            yield
        finally:
            self._blocks -= 1
            if not self._blocks:
                self.give_up()
                self.until_over.close()

    def give_up(self) -> None:
        if self.has:
            self.has = False
            self._account.in_turn.number -= 1
            self._line.release()

    async def wait_to_refuse(self) -> None:
        """Wait before a call of the account is refused. Its refusals wait one after another."""
        await self._account.wait_to_refuse()

    def client_left(self) -> None:
        """End what waits for the client: the connection on which the call came is over."""
        self._client_has_left = True
        for scope in self._ended_if_client_leaves:
            scope.cancel()

    @contextmanager
    def while_client_waits(self) -> Generator[None]:
        with anyio.CancelScope() as scope:
            self._ended_if_client_leaves.add(scope)
            try:
                if self._client_has_left:
                    scope.cancel()
                yield
            finally:
                self._ended_if_client_leaves.discard(scope)

    async def resume(self) -> None:
        """Take the turn again after it was given up, unless the call is over."""
        if not self._blocks:
            return
        await self._take()
        if not self._blocks:
            self.give_up()

    async def pause(self) -> None:
        """Give up the turn and wait for the next, unless too many calls of the account do so already."""
        if not self.has or self._account.paused >= MOST_PAUSED:
            return
        self._account.paused += 1
        try:
            self.give_up()
            await self.resume()
        finally:
            self._account.paused -= 1

    def give_way(self) -> None:
        """Rest if it is time to, and somebody else has a turn. Blocks the thread.

        In the event loop it does nothing: a rest there would keep the others waiting, too.
        """
        if time.perf_counter() - self._rested_at < WORK_SECONDS or _in_event_loop():
            return
        if self._others_have_turns:
            time.sleep(REST_SECONDS)
        self._rested_at = time.perf_counter()

    async def give_way_in_loop(self) -> None:
        """Rest as `give_way` does, in the event loop."""
        if time.perf_counter() - self._rested_at < WORK_SECONDS:
            return
        if self._others_have_turns:
            await anyio.sleep(REST_SECONDS)
        self._rested_at = time.perf_counter()

    async def rest_before(self, seconds: float) -> None:
        """Rest in the turn before a long step of the event loop, if another account began a turn lately."""
        if self._account.in_turn.others_lately(self._account):
            await anyio.sleep(seconds)

    def share_of(self, most: int) -> int:
        return min(most, FEW_AT_ONCE) if self._account.in_turn.others_lately(self._account) else most

    @property
    def _others_have_turns(self) -> bool:
        own_turns = 1 if self.has else 0
        return self._account.in_turn.number > own_turns

    @property
    def _line(self) -> anyio.Semaphore:
        return self._account.line_of_notices if self._notice else self._account.line_of_calls

    async def _take(self) -> None:
        await self._line.acquire()
        self.has = True
        self._account.in_turn.begin(self._account)
        while self._account.unread_bytes > UNREAD_BYTES:
            await self._account.was_read.wait()

    def _uncount(self) -> None:
        self._account.calls -= 1
        self._account.calls_from_address[self._address] -= 1
        if not self._account.calls_from_address[self._address]:
            del self._account.calls_from_address[self._address]


def _in_event_loop() -> bool:
    """Whether the calling thread runs the event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_current: Final[ContextVar[Turn | None]] = ContextVar("reflexio_mcp_turn", default=None)


def current_turn() -> Turn | None:
    """The turn of the current call; `None` over stdio, where only one person calls."""
    return _current.get()


class Turns:
    """The turns of all accounts.

    Args:
        most: calls of one account that may wait or run at once. Further calls are refused, except the first from an
            address: people who share a token cannot lock each other out.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._in_turn = _InTurn()
        self._accounts = WeakValueDictionary[str, _Account]()

    @asynccontextmanager
    async def take(self, account: str, address: str = "", *, notice: bool = False) -> AsyncGenerator[Turn]:
        """Wait for a turn of an account, which lasts during the block.

        Args:
            address: where the call comes from.
            notice: a short message that is no call, such as a cancellation. It does not wait for calls.
        """
        shared = self._account(account)
        full = shared.calls >= self._most and address in shared.calls_from_address
        turn = Turn(shared, address, notice=notice, refused=full and not notice)
        token = _current.set(turn)
        try:
            async with turn.used():
                yield turn
        finally:
            _current.reset(token)

    async def wait_to_refuse(self, account: str) -> None:
        """Wait before a call of an account is refused. Its refusals wait one after another."""
        await self._account(account).wait_to_refuse()

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(self._in_turn)
        return account

    @contextmanager
    def unread(self, account: str, size: int) -> Generator[None]:
        """Count `size` bytes of an answer during the block, in which the client reads it."""
        shared = self._account(account)
        shared.unread_bytes += size
        try:
            yield
        finally:
            shared.unread_bytes -= size
            shared.was_read.set()
            shared.was_read = anyio.Event()


@asynccontextmanager
async def aside() -> AsyncGenerator[None]:
    """Let other calls of the account have the turn during the block. After an error the call goes on without a turn."""
    turn = _current.get()
    if turn is None or not turn.has:
        yield
        return
    turn.give_up()
    yield
    await turn.resume()


@contextmanager
def while_client_waits() -> Generator[None]:
    """End the block when the client closes the connection on which its call came, and thus cannot get the answer.

    Over `/sse`, the answer goes to the stream, whose end ends its calls.
    """
    turn = _current.get()
    with turn.while_client_waits() if turn else nullcontext():
        yield


def give_way() -> None:
    """Let the calls of others be worked on first. Long work in a thread calls this often; it costs little."""
    turn = _current.get()
    if turn is not None:
        turn.give_way()


async def give_way_in_loop() -> None:
    """Let the calls of others be worked on first. Long work in the event loop calls this often; it costs little."""
    turn = _current.get()
    if turn is not None:
        await turn.give_way_in_loop()


def share_of(most: int) -> int:
    """Return how many of `most` things at once a call may work on."""
    turn = _current.get()
    return most if turn is None else turn.share_of(most)


async def let_others() -> None:
    """Let calls of the account that wait have the turn first."""
    turn = _current.get()
    if turn is not None:
        await turn.pause()
