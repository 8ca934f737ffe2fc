"""A client of the API for each key that callers bring."""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.callers import Caller

__all__ = ["ClientPool", "PoolFull"]


class PoolFull(Exception):
    """Every client of the pool is in use."""


@dataclass
class _Kept:
    client: ReflexioClient
    leases: int = 0


class ClientPool:
    """At most so many clients, one for each key; the one unused for longest makes room.

    Args:
        open_client: makes the client of a key.
        most: clients that are open at the same time.
        promised: whether work of this `key_id` goes on outside any call, so that its client must stay.
    """

    def __init__(
        self, open_client: Callable[[str], ReflexioClient], most: int, promised: Callable[[str], bool]
    ) -> None:
        self._open = open_client
        self._most = most
        self._promised = promised
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @asynccontextmanager
    async def lease(self, caller: Caller) -> AsyncGenerator[ReflexioClient]:
        """The caller's client, open for as long as this context is.

        Raises:
            PoolFull: no room, and nobody to make it.
            BadAddress: the key cannot be a header.
        """
        kept = self._kept.get(caller.key_id)
        spare: ReflexioClient | None = None
        if kept is None:
            leaving = self._unused() if len(self._kept) >= self._most else None
            kept = _Kept(self._open(caller.api_key))
            spare = self._kept.pop(leaving).client if leaving is not None else None
            self._kept[caller.key_id] = kept
        self._kept.move_to_end(caller.key_id)
        kept.leases += 1
        try:
            if spare is not None:
                with anyio.CancelScope(shield=True):
                    await spare.aclose()
            yield kept.client
        finally:
            kept.leases -= 1

    def _unused(self) -> str:
        for key_id, kept in self._kept.items():
            if not kept.leases and not self._promised(key_id):
                return key_id
        raise PoolFull

    async def aclose(self) -> None:
        """Close every client."""
        while self._kept:
            _, kept = self._kept.popitem()
            await kept.client.aclose()
