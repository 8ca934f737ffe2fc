"""Many clients at once on several replicas, and a record of the answers they got."""

import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio
import httpx

from tests.support.replicas import HOST
from tests.support.serving import BOTH, JSON, TOKEN, interactions, message_of, modern_request

RETRYABLE = ("try again", "Try again", "retry", "Retry", "repeat", "Repeat")
GATEWAY = frozenset({502, 503, 504})
MOST_TRIES = 200


@dataclass
class Ledger:
    """What the clients were told.

    Args:
        acknowledged: request id to the text that was acknowledged as stored.
        calls: how many calls got an answer.
        failures: retryable ones, by kind.
        wrong: answers that no client should ever get.
        latencies: of answered calls, in seconds.
    """

    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    calls: int = 0
    failures: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    latencies: list[float] = field(default_factory=list[float])


class LoadClient:
    """One client of either era with a session of its own: publishes, reads back, lists.

    Args:
        number: makes its ids, and decides its era.
        url: of the proxy.
        ledger: shared by all.
        most: calls of all clients together.
    """

    def __init__(self, number: int, url: str, ledger: Ledger, most: int) -> None:
        self._name = f"client-{number}"
        self._modern = number % 2 == 0
        self._url = url
        self._ledger = ledger
        self._most = most
        self._random = random.Random(number)
        self._own: list[str] = []
        self._ids = count(1)

    async def run(self) -> None:
        """Call until all clients together have made `most` calls."""
        headers = {"authorization": f"Bearer {TOKEN}", "host": HOST}
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        async with httpx.AsyncClient(headers=headers, timeout=30, limits=limits) as http:
            while self._ledger.calls < self._most:
                chance = self._random.random()
                if chance < 0.5 or not self._own:
                    await self._publish(http)
                elif chance < 0.9:
                    await self._read(http)
                else:
                    await self._list(http)

    async def _publish(self, http: httpx.AsyncClient) -> None:
        request_id = f"{self._name}-{next(self._ids)}"
        text = f"{request_id} says {self._random.random()}"
        given = {
            "user_id": self._name,
            "session_id": self._name,
            "request_id": request_id,
            "interactions": interactions(text),
        }
        answer = await self._call(http, "publish_interaction", given)
        if answer.get("request_id") != request_id:
            self._ledger.wrong.append(f"publish {request_id}: {answer}")
        self._ledger.acknowledged[request_id] = text
        self._own.append(request_id)

    async def _read(self, http: httpx.AsyncClient) -> None:
        request_id = self._random.choice(self._own)
        answer = await self._call(http, "get_request", {"request_id": request_id})
        if self._ledger.acknowledged[request_id] not in str(answer):
            self._ledger.wrong.append(f"get {request_id}: {answer}")

    async def _list(self, http: httpx.AsyncClient) -> None:
        answer = await self._call(http, "list_requests", {"session_id": self._name, "limit": 5})
        listed = str(answer)
        if self._own[-1] not in listed or any(
            f"client-{other}-" in listed for other in range(64) if f"client-{other}" != self._name
        ):
            self._ledger.wrong.append(f"list {self._name}: {answer}")

    async def _call(self, http: httpx.AsyncClient, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool until it is answered."""
        return await self._ask(http, "tools/call", name, {"name": name, "arguments": arguments})

    async def _ask(
        self, http: httpx.AsyncClient, method: str, name: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        """Ask until it is answered. What fails in a way that is not worth another try is wrong."""
        for _ in range(MOST_TRIES):
            began = anyio.current_time()
            outcome = await self._try(http, method, name, params)
            if isinstance(outcome, dict):
                self._ledger.calls += 1
                self._ledger.latencies.append(anyio.current_time() - began)
                return outcome
            self._ledger.failures[outcome] += 1
            await anyio.sleep(0.05)
        self._ledger.wrong.append(f"{name} never got an answer")
        return {}

    async def _try(
        self, http: httpx.AsyncClient, method: str, name: str, params: dict[str, Any]
    ) -> dict[str, Any] | str:
        headers, body = modern_request(method, params, name=name, request_id=next(self._ids))
        if not self._modern:
            headers = {"content-type": JSON, "accept": BOTH, "mcp-protocol-version": "2025-11-25"}
            body["params"].pop("_meta")
        try:
            reply = await http.post(f"{self._url}/mcp", headers=headers, json=body)
        except httpx.TransportError as error:
            return type(error).__name__
        if reply.status_code in GATEWAY:
            return f"HTTP {reply.status_code}"
        message = message_of(reply)
        result = message.get("result")
        if reply.status_code != 200 or result is None:
            self._ledger.wrong.append(f"{name}: HTTP {reply.status_code} {reply.text[:300]}")
            return "not retryable"
        if result.get("isError"):
            text = result["content"][0]["text"]
            if not any(word in text for word in RETRYABLE):
                self._ledger.wrong.append(f"{name}: {text}")
            return text[:60]
        return result.get("structuredContent") or result


async def load(url: str, *, clients: int, calls: int, half_way: Any) -> Ledger:
    """Run `clients` clients until they have made `calls` calls; `half_way` is awaited when half are made."""
    ledger = Ledger()
    async with anyio.create_task_group() as tasks:
        for number in range(clients):
            tasks.start_soon(LoadClient(number, url, ledger, calls).run)

        async def watch() -> None:
            while ledger.calls < calls // 2:  # noqa: ASYNC110 - it only has to be about the middle
                await anyio.sleep(0.02)
            await half_way()

        tasks.start_soon(watch)
    return ledger
