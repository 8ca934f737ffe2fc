"""The API's calls as raw HTTP, for tests that hold a backend to the contract."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

Json = dict[str, Any]

REFUSED_AGENT_WORDS = ("bot", "crawler", "spider", "scraper", "curl", "wget")
"""A User-Agent that is empty or contains one of these gets 403 on every route but `/health`."""


class Api:
    """One backend under test.

    `user` and `session` belong to this test alone: a real server is shared with others.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, embedded: bool, next_second: Callable[[], Awaitable[None]]
    ) -> None:
        self.client = client
        self.embedded = embedded
        self.next_second = next_second
        """Returns in a later second of the backend's clock, which is the grain of arrival times."""
        self.user = fresh("user")
        self.session = fresh("session")

    async def publish(self, content: str = "hello", *, wait: bool | None = None, **fields: Any) -> Json:
        """Publish what must be accepted; returns the reply."""
        response = await self.try_publish(content, wait=wait, **fields)
        assert response.status_code == 200, response.text
        reply = response.json()
        assert reply["success"], reply
        return reply

    async def try_publish(
        self, content: str = "hello", *, wait: bool | None = None, **fields: Any
    ) -> httpx.Response:
        body = {
            "user_id": self.user,
            "session_id": self.session,
            "interaction_data_list": [{"content": content}],
            **fields,
        }
        query = {} if wait is None else {"wait_for_response": str(wait).lower()}
        return await self.client.post("/api/publish_interaction", json=body, params=query)

    async def try_interaction(self, **fields: Any) -> httpx.Response:
        """Publish one interaction that consists of these fields."""
        return await self.try_publish(interaction_data_list=[fields])

    async def get(self, **query: Any) -> Json:
        """One page of this test's user, or of whoever the query names."""
        response = await self.try_get(**{"user_id": self.user, **query})
        assert response.status_code == 200, response.text
        reply = response.json()
        assert reply["success"], reply
        return reply

    async def try_get(self, **query: Any) -> httpx.Response:
        return await self.client.post("/api/get_requests", json=query)

    async def ids(self, **query: Any) -> list[list[str]]:
        """Request ids as the page groups them: one list a session."""
        page = await self.get(**query)
        return [[one["request"]["request_id"] for one in group["requests"]] for group in page["sessions"]]

    async def request(self, request_id: str) -> Json:
        """The stored request with its interactions."""
        page = await self.get(request_id=request_id)
        ((one,),) = (group["requests"] for group in page["sessions"])
        return one

    async def stored(self, *request_ids: str) -> list[bool]:
        """Which of these are there."""
        return [bool(await self.ids(request_id=one)) for one in request_ids]

    async def delete(self, route: str, **body: Any) -> Json:
        response = await self.try_delete(route, **body)
        assert response.status_code == 200, response.text
        return response.json()

    async def try_delete(self, route: str, **body: Any) -> httpx.Response:
        return await self.client.request("DELETE", f"/api/{route}", json=body)


def fresh(kind: str = "id") -> str:
    return f"{kind}-{uuid.uuid4()}"


def fields_of(response: httpx.Response) -> list[list[Any]]:
    """Where a 422 saw the faults."""
    assert response.status_code == 422, response.text
    return [error["loc"] for error in response.json()["detail"]]


def messages_of(response: httpx.Response) -> str:
    assert response.status_code == 422, response.text
    return "; ".join(error["msg"] for error in response.json()["detail"])
