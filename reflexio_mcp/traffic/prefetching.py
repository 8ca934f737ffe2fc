"""The next page on its way while this one is read.

Reading a large set is half waiting for the server and half taking its pages apart. The place of the next page is
known beforehand, so from the second page on it is asked for early; a page that is then not wanted is dropped.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestPage, RequestQuery

__all__ = ["Prefetching", "prefetching"]


class _Early:
    """A page asked for early."""

    def __init__(self, query: RequestQuery) -> None:
        self.query = query
        self.page: RequestPage | None = None
        self.failure: ReflexioError | None = None
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()


class Prefetching:
    """Fetches pages, one ahead. Made by `prefetching`."""

    def __init__(self, client: ReflexioClient, tasks: TaskGroup) -> None:
        self._client = client
        self._tasks = tasks
        self._early: _Early | None = None
        self._last: RequestQuery | None = None

    async def __call__(self, query: RequestQuery) -> RequestPage:
        """The page of a query.

        Raises:
            ReflexioError: as the client raises it.
        """
        early, self._early = self._early, None
        if early is not None and early.query != query:
            early.scope.cancel()
            early = None
        last, self._last = self._last, query
        # Only where pages follow each other regularly; a first page is often the only one.
        if last is not None and query.offset == last.offset + last.top_k - 1:
            ahead = _Early(query.model_copy(update={"offset": query.offset + query.top_k - 1}))
            self._early = ahead
            self._tasks.start_soon(self._fetch, ahead)
        if early is None:
            return await self._client.get_requests(query)
        await early.done.wait()
        if early.page is None:
            assert early.failure is not None
            raise early.failure
        return early.page

    async def _fetch(self, early: _Early) -> None:
        with early.scope:
            try:
                early.page = await self._client.get_requests(early.query)
            except ReflexioError as error:
                early.failure = error
            early.done.set()


@asynccontextmanager
async def prefetching(client: ReflexioClient) -> AsyncGenerator[Prefetching]:
    """Pages one ahead inside this context. An exception of the body leaves as it was raised."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield Prefetching(client, tasks)
        except Exception as error:  # noqa: BLE001 - raised below, outside the group that would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
