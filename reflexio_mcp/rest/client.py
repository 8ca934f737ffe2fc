"""The typed client of the API, with every call of the contract. `retry` repeats calls, `transport` sends them."""

import math
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence, Set
from dataclasses import replace
from random import random
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, cast

import reflexio_mcp
from reflexio_mcp.rest import api_limits, models
from reflexio_mcp.rest.address import check_api_key, check_base_url
from reflexio_mcp.rest.codec import Choose, encode, iso_time, parsed, parsed_list, text
from reflexio_mcp.rest.errors import (
    AlreadyExists,
    BodyTooLarge,
    Closed,
    ConnectionLost,
    NotSent,
    NotTheApi,
    OperationFailed,
    ReflexioError,
    Unreachable,
)
from reflexio_mcp.rest.read_back import differences
from reflexio_mcp.rest.responses import Answer, Call, Kind

if TYPE_CHECKING:
    from reflexio_mcp.rest.retry import Sender

__all__ = ["ReflexioClient"]

ReadT = TypeVar("ReadT", bound=models.Read)
ReplyT = TypeVar("ReplyT", bound=models.Reply)
T = TypeVar("T")

HEALTH_SECONDS: Final = 5.0
"""Longest wait for `/health`, whose callers want an answer at once."""

EVERY_STATUS: Final = (None, "pending", "archived", "archive_in_progress", "merged", "superseded", "expired")
"""A learning that is no longer current still holds what was learned."""

OUTCOMES_AT_ONCE: Final = 1_000
"""Session outcomes in one call: as many as the API gives."""

EVERY_ONE: Final = 1_000_000_000
"""More learnings than any user has."""


class ReflexioClient:
    """Async client over one connection pool, which is opened by the first call.

    Every method raises an error of `reflexio_mcp.rest.errors`, and nothing else but cancellation.

    Args:
        base_url: where the API is, path prefix kept, trailing slash dropped.
        api_key: sent as a bearer token when given.
        timeout: seconds one ordinary call may take, repeats and waits included.
        transport: instead of the network a store in this process (a `Transport` of `rest.retry`) or an `httpx`
            transport, or a function that makes one at the first call.
        sleep: waits that many seconds between tries.
        clock: monotonic seconds.
        jitter: a number from 0 to 1 that spreads the waits of several clients.
        names_address: errors say where the API is; not for callers who have no business with it.

    Raises:
        BadAddress: the URL or the key cannot work.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        transport: Any = None,
        sleep: Callable[[float], Awaitable[object]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random,
        names_address: bool = True,
    ) -> None:
        self.base_url = check_base_url(base_url)
        """Where the API is, without a trailing slash."""
        self._api_key = check_api_key(api_key)
        self._timeout = timeout
        self._transport = transport
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._names_address = names_address
        self._sender: Sender | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pool. Later calls raise `Closed`; closing again does nothing."""
        self._closed = True
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.aclose()

    async def publish(
        self, body: models.PublishBody, *, minted: bool, wait: bool = False, timeout: float | None = None
    ) -> models.PublishReply:
        """Store one request, at most once however often its reply is lost.

        Args:
            body: what to store, with its `request_id`.
            minted: the `request_id` was made here for this content, and not chosen by the caller.
            wait: let the server answer only when extraction has covered the request, or given up on it.
            timeout: seconds the call may take. The default is the client's, plus what the server waits.

        Returns:
            The reply. With `already_stored`, when an earlier try had arrived, the rest of it is empty.

        Raises:
            AlreadyExists: the caller's `request_id` holds something else, and nothing was stored.
            ConnectionLost: the reply was lost, and what the `request_id` holds could not be read back.
        """
        if timeout is None:
            timeout = self._timeout + (api_limits.PUBLISH_WAIT_SECONDS if wait else 0)
        call = Call(
            "POST",
            "/api/publish_interaction",
            "publish",
            timeout,
            content=encode(body.model_dump(exclude_defaults=True)),
            params={"wait_for_response": "true"} if wait else {},
            required=("success",),
        )
        try:
            reply = await self._ask(call, models.PublishReply)
        except AlreadyExists as error:
            taken = error
        else:
            reply.request_id = reply.request_id or body.request_id
            return reply
        if minted or (taken.effect == "unknown" and await self._holds(body, taken)):
            reply = models.PublishReply(request_id=body.request_id, already_stored=True)
            reply.correlation_id = taken.correlation_id
            return reply
        raise AlreadyExists(status=taken.status, correlation_id=taken.correlation_id, effect="none")

    async def _holds(self, body: models.PublishBody, taken: AlreadyExists) -> bool:
        """Return whether a `request_id` that is taken after a lost reply holds what was sent."""
        try:
            page = await self.get_requests(models.RequestQuery(request_id=body.request_id))
        except ReflexioError:
            page = models.RequestPage()
        found = [item for group in page.sessions for item in group.requests]
        if not found:
            detail = "this request_id is taken, but whether by this request could not be read back"
            raise ConnectionLost(detail, correlation_id=taken.correlation_id)
        return not differences(body, found[0])

    async def get_requests(self, query: models.RequestQuery, *, repeat: bool = True) -> models.RequestPage:
        """Read one page of sessions with their matching requests.

        The server takes no period of a single second, so the second before is asked for too and dropped here.
        It comes behind the wanted one in the server's order, which therefore stays true.

        Args:
            repeat: try again after a failure that may pass.

        Raises:
            NotSent: `end_time` is before `start_time`, or a number is out of the server's range.
        """
        if query.top_k < 1 or query.offset < 0:
            raise NotSent("top_k must be at least 1, and offset at least 0")
        sent = query.model_dump(exclude_none=True, exclude={"start_time", "end_time"})
        # Beyond 64 bits the server fails, and it adds one to see whether there is more.
        sent["top_k"] = min(query.top_k, api_limits.MAX_TOP_K // 2)
        sent["offset"] = min(query.offset, api_limits.MAX_TOP_K // 2)
        start, end = query.start_time, query.end_time
        single = start is not None and start == end
        if start is not None and not (single and start == 0):
            sent["start_time"] = iso_time(start - 1 if single else start)
        if end is not None:
            if start is not None and end < start:
                raise NotSent("end_time must not be before start_time")
            sent["end_time"] = iso_time(end)
        if single:
            sent.pop("count", None)  # it would count the second before too
        call = self._post("/api/get_requests", sent, "success", "sessions", repeat=repeat)
        page = await self._ask(call, models.RequestPage)
        if single:
            for group in page.sessions:
                group.requests = [item for item in group.requests if item.request.created_at == start]
            wanted = [group for group in page.sessions if group.requests]
            page.has_more = page.has_more and len(wanted) == len(page.sessions)
            page.sessions = wanted
        return page

    async def read_whole(self, request_ids: Sequence[str]) -> models.WholeRequests:
        """Read requests with all that is stored of them, the first ones as many as have room in a reply.

        The embedded store alone gives them out so.
        """
        call = self._post("/embedded/read_whole", {"request_ids": request_ids}, "success", "looked_up")
        return await self._ask(call, models.WholeRequests)

    async def put_back(self, item: models.RequestWithInteractions) -> models.Reply:
        """Store a request that was read whole exactly as it was. The embedded store alone takes it.

        Raises:
            AlreadyExists: its `request_id` is taken, and nothing was stored.
            InvalidBody: it is no request as the store has them.
        """
        sent = item.model_dump(
            mode="json",
            exclude_defaults=True,
            exclude={"interactions": {"__all__": {"user_id", "request_id"}}},
        )
        call = self._post("/embedded/put_back", sent, "success", kind="publish")
        # What was published within the limit is longer with its ids and defaults, and this goes over no network.
        return await self._ask(replace(call, most_bytes=sys.maxsize), models.Reply)

    async def delete_request(self, request_id: str) -> models.DeleteReply:
        """Delete one request. The server says success for an unknown id too."""
        return await self._delete("/api/delete_request", {"request_id": request_id})

    async def delete_session(self, session_id: str) -> models.DeleteReply:
        """Delete the requests of every user in a session."""
        return await self._delete("/api/delete_session", {"session_id": session_id})

    async def delete_requests_by_ids(self, request_ids: list[str]) -> models.DeleteReply:
        """Delete up to 10,000 requests. Unknown ids are skipped."""
        return await self._delete_ids("/api/delete_requests_by_ids", "request_ids", request_ids)

    async def delete_interaction(self, user_id: str, interaction_id: int) -> models.DeleteReply:
        """Delete one interaction of a user. Its request stays, even empty; success also for an unknown id."""
        return await self._delete(
            "/api/delete_interaction", {"user_id": user_id, "interaction_id": interaction_id}
        )

    async def learning_status(self, request_id: str) -> models.LearningStatus:
        """Ask whether learning has covered a request.

        Raises:
            NotFound: no such request.
        """
        sent = {"request_id": text(request_id)}
        return await self._ask(
            self._get("/api/learning_status", "status", params=sent, by_id=True), models.LearningStatus
        )

    async def generation(self, kind: Literal["profile", "playbook"]) -> models.Operation | None:
        """Ask how the last run stands that generates learnings anew; `None` where there was none, or none can be."""
        call = self._get("/api/get_operation_status", params={"service_name": f"{kind}_generation"})
        try:
            return (await self._ask(call, models.OperationReply)).operation_status
        except (NotTheApi, OperationFailed):
            return None

    async def finalize_session(self, user_id: str, session_id: str) -> models.FinalizeReply:
        """Say that a session of a user has had its last turn, so that what waits for more is learned from now."""
        sent = {"user_id": user_id, "session_id": session_id}
        return await self._ask(
            self._post("/api/finalize_session", sent, "success", "accepted"), models.FinalizeReply
        )

    async def get_profiles(
        self, user_id: str, *, turns: Set[int] | None = None, also: Collection[str] = ()
    ) -> list[models.UserProfile]:
        """Read a user's profiles, of every status, last modified first.

        The server leaves out those whose time to live is over.

        Args:
            turns: leave out those that list interactions, and none of these. The server cannot, and making models of
                thousands takes longer than reading them.
            also: ids of profiles that are not left out.
        """
        # Without a number the server gives 30.
        sent = {"user_id": user_id, "top_k": None, "status_filter": EVERY_STATUS}
        choose = None if turns is None else _fed_by(turns, "profile_id", also)
        return await self._list("/api/get_profiles", sent, "user_profiles", models.UserProfile, choose)

    async def get_user_playbooks(
        self, user_id: str, *, turns: Set[int] | None = None, also: Collection[str] = ()
    ) -> list[models.UserPlaybook]:
        """Read a user's playbooks, of every status, newest first; `turns` and `also` as for `get_profiles`."""
        # Here no number means 100, and there are no pages.
        sent = {"user_id": user_id, "limit": EVERY_ONE, "status_filter": EVERY_STATUS}
        choose = None if turns is None else _fed_by(turns, "user_playbook_id", also)
        return await self._list(
            "/api/get_user_playbooks", sent, "user_playbooks", models.UserPlaybook, choose
        )

    async def delete_profiles(self, profile_ids: list[str]) -> models.DeleteReply:
        """Delete up to 10,000 profiles. Unknown ids are skipped."""
        return await self._delete_ids("/api/delete_profiles_by_ids", "profile_ids", profile_ids)

    async def delete_user_playbooks(self, user_playbook_ids: list[str]) -> models.DeleteReply:
        """Delete up to 10,000 user playbooks. Their ids are numbers; unknown ones are skipped.

        Raises:
            NotSent: an id is not a number.
        """
        if not all(text.isascii() and text.isdigit() for text in user_playbook_ids):
            raise NotSent("the id of a user playbook is a number")
        numbers = [int(text) for text in user_playbook_ids]
        return await self._delete_ids("/api/delete_user_playbooks_by_ids", "user_playbook_ids", numbers)

    async def add_profiles(self, profiles: Sequence[models.UserProfile]) -> models.Reply:
        """Store profiles under their own ids, as they are, without learning. One whose id is taken is overwritten."""
        needed = {"profile_id", "user_id", "content", "last_modified_timestamp", "generated_from_request_id"}
        return await self._add("/api/add_user_profile", "user_profiles", profiles, needed)

    async def add_user_playbooks(self, playbooks: Sequence[models.UserPlaybook]) -> models.Reply:
        """Store user playbooks as they are, without learning, under new ids."""
        needed = {"user_id", "agent_version", "request_id", "created_at"}
        return await self._add("/api/add_user_playbook", "user_playbooks", playbooks, needed)

    async def clear_user_data(self, user_id: str) -> models.DeleteReply:
        """Delete all of a user's requests, learnings in every status, and session outcomes."""
        call = self._post("/api/clear_user_data", {"user_id": user_id}, "success", kind="delete")
        return await self._ask(call, models.DeleteReply)

    async def get_session_outcomes(self, user_id: str) -> list[models.SessionOutcome]:
        """Read how a user's sessions are said to have ended."""
        found: list[models.SessionOutcome] = []
        while True:
            sent = {"user_id": user_id, "top_k": OUTCOMES_AT_ONCE, "offset": len(found)}
            page = await self._list(
                "/api/get_session_outcomes", sent, "session_outcomes", models.SessionOutcome
            )
            found += page
            if len(page) < OUTCOMES_AT_ONCE:
                return found

    async def get_agent_playbooks(self) -> list[models.AgentPlaybook]:
        """Read the ids of all agent playbooks, of every status."""
        sent = {"limit": EVERY_ONE, "status_filter": EVERY_STATUS}
        return await self._list("/api/get_agent_playbooks", sent, "agent_playbooks", models.AgentPlaybook)

    async def agent_playbook_sources(self, agent_playbook_id: int) -> models.Provenance:
        """Ask whose playbooks an agent playbook was made from."""
        sent = {"kind": "agent_playbook", "id": str(agent_playbook_id)}
        return await self._ask(self._post("/api/get_learning_provenance", sent, "success"), models.Provenance)

    async def whoami(self) -> models.WhoAmI:
        """Ask whose data the key reaches and where it is stored."""
        return await self._ask(self._get("/api/whoami", "success", "org_id"), models.WhoAmI)

    async def health(self) -> models.HealthReply:
        """Ask whether the server runs; the key is not checked."""
        return await self._ask(self._get("/health", "status", seconds=HEALTH_SECONDS), models.HealthReply)

    async def version(self) -> models.VersionReply:
        """Ask for the server's version."""
        return await self._ask(self._get("/meta/version", "server_version"), models.VersionReply)

    def _get(
        self,
        route: str,
        *required: str,
        params: Mapping[str, str] | None = None,
        by_id: bool = False,
        seconds: float = math.inf,
    ) -> Call:
        seconds = min(seconds, self._timeout)
        return Call("GET", route, "read", seconds, params=params or {}, required=required, by_id=by_id)

    def _post(
        self, route: str, sent: dict[str, Any], *required: str, kind: Kind = "read", repeat: bool = True
    ) -> Call:
        return Call("POST", route, kind, self._timeout, encode(sent), required=required, repeat=repeat)

    async def _delete_ids(self, route: str, name: str, ids: list[str] | list[int]) -> models.DeleteReply:
        if not 1 <= len(ids) <= api_limits.MAX_DELETE_IDS:
            raise NotSent(f"{name} takes 1 to {api_limits.MAX_DELETE_IDS} ids, and {len(ids)} were given")
        return await self._delete(route, {name: ids})

    async def _delete(self, route: str, sent: dict[str, Any]) -> models.DeleteReply:
        call = Call("DELETE", route, "delete", self._timeout, content=encode(sent), required=("success",))
        reply = await self._ask(call, models.DeleteReply)
        if reply.repeated:
            reply.deleted_count = reply.deleted_requests_count = None
        return reply

    async def _add(
        self,
        route: str,
        name: str,
        rows: Sequence[models.UserProfile] | Sequence[models.UserPlaybook],
        needed: set[str],
    ) -> models.Reply:
        """Store learnings. The reply is no proof: only what is read again is."""
        sent = [
            row.model_dump(mode="json", exclude_defaults=True) | row.model_dump(mode="json", include=needed)
            for row in rows
        ]
        # A playbook that was sent twice is stored twice.
        call = self._post(route, {name: sent}, "success", kind="publish", repeat=False)
        return await self._ask(call, models.Reply)

    async def _list(
        self, route: str, sent: dict[str, Any], name: str, model: type[ReadT], choose: Choose | None = None
    ) -> list[ReadT]:
        call = self._post(route, sent, "success", name)
        return await self._send(call, lambda answer: parsed_list(model, answer, name, choose))

    async def _ask(self, call: Call, model: type[ReplyT]) -> ReplyT:
        return await self._send(call, lambda answer: parsed(model, answer))

    async def _send(self, call: Call, read: Callable[[Answer], T]) -> T:
        """Send a call and read its answer. A failed read changes nothing, which is set here alone."""
        if self._closed:
            raise Closed
        if call.content is not None and len(call.content) > call.most_bytes:
            size, most = len(call.content) / 2**20, call.most_bytes // 2**20
            raise BodyTooLarge(f"{size:.1f} MiB as sent, the limit is {most} MiB")
        if self._sender is None:
            self._sender = self._open()
        try:
            return read(await self._sender.send(call))
        except ReflexioError as error:
            if call.kind == "read":
                error.effect = "none"
            if not self._names_address and isinstance(error, Unreachable | NotTheApi):
                error.detail = ""
            raise

    def _open(self) -> "Sender":
        import anyio

        from reflexio_mcp.rest.retry import Pace, Sender

        transport: Any = self._transport() if callable(self._transport) else self._transport
        if not hasattr(transport, "exchange"):
            from reflexio_mcp.rest.transport import HttpTransport

            agent = f"reflexio-mcp/{reflexio_mcp.__version__}"
            transport = HttpTransport(self.base_url, api_key=self._api_key, user_agent=agent, inner=transport)
        pace = Pace(self._sleep or anyio.sleep, self._clock, self._jitter)
        return Sender(self.base_url, api_key=self._api_key, transport=transport, pace=pace)


def _fed_by(turns: Set[int], id_name: str, also: Collection[str]) -> Choose:
    """Choose the learnings that list one of these interactions, or none, or are among `also`."""

    def choose(rows: list[Any]) -> list[Any]:
        chosen: list[Any] = []
        for row in rows:
            try:
                listed = row["source_interaction_ids"]
                others = isinstance(listed, list) and turns.isdisjoint(cast("list[Any]", listed))
                if not others or not listed or (also and str(row[id_name]) in also):
                    chosen.append(row)
            except (TypeError, KeyError):
                chosen.append(row)  # it lists none, or is no learning, which its model says
        return chosen

    return choose
