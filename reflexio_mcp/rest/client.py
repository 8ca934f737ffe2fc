import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import random
from typing import Any, Final, Literal, Self, TypeVar

import anyio
from pydantic_core import to_json

import reflexio_mcp
from reflexio_mcp.rest import api_limits, models
from reflexio_mcp.rest.api_limits import check_api_key, check_base_url
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
from reflexio_mcp.rest.exchange import Answer, Call, Kind, Sender, in_thread_if

__all__ = ["MAX_SESSION_IDS", "ReflexioClient"]

ReceivedT = TypeVar("ReceivedT", bound=models.Received)
ReplyT = TypeVar("ReplyT", bound=models.Reply)
T = TypeVar("T")

EVERY_STATUS: Final = (None, "pending", "archived", "archive_in_progress", "merged", "superseded", "expired")
"""The statuses of learnings. A current one has `None`."""

EVERY_ROW: Final = 1_000_000_000
"""More rows than a list can have. The API has lists without pages that return 100 rows if no limit is sent."""

OUTCOMES_AT_ONCE: Final = 1_000
VERDICTS_AT_ONCE: Final = 1_000
QUESTIONS_AT_ONCE: Final = 500
"""Maximum numbers of rows in a reply."""

MAX_SESSION_IDS: Final = 100
"""Maximum number of sessions in one call for outcomes."""


class ReflexioClient:
    """Async client whose first call opens connections.

    Every method raises only errors of `reflexio_mcp.rest.errors`.

    Args:
        timeout: seconds for an ordinary call with its repeats.
        transport: an `httpx` transport, or a function that makes a `Transport` of `rest.exchange`; the network if
            left out.
        names_address: whether errors name the API's address, which some callers must not learn.

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
        self._api_key = check_api_key(api_key)
        self.timeout = timeout
        self._transport = transport
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._names_address = names_address
        self._sender: Sender | None = None
        self._closed = False
        self.session_bytes: dict[str, int] = {}
        """By user: bytes of an average session in the last page that was read, for the size of the next over HTTP."""
        self.learned_from: set[tuple[str, int]] = set()
        """Requests that the service has learned from, by id and time: it need not be asked again."""
        self.clock_ahead = 0.0
        """Seconds by which this machine's clock was ahead of the service's at its last reply; 0 if it was behind."""
        self.holds: Callable[[], object] = lambda: ()
        """Returns the holds of the moment. `Sender` repeats a deletion only while they stay the same."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pool. Later calls raise `Closed`."""
        self._closed = True
        sender, self._sender = self._sender, None
        if sender is not None:
            await sender.aclose()

    async def publish(
        self, body: models.PublishBody, *, minted: bool, wait: bool = False, timeout: float | None = None
    ) -> models.PublishReply:
        """Store one request, at most once however often its reply is lost.

        Args:
            minted: the `request_id` was made here, not chosen by the caller.
            wait: ask the server to answer after extraction.

        Returns:
            The reply. If an earlier try had arrived, it has only `already_stored`, the request's id and the correlation
            id of the call.

        Raises:
            AlreadyExists: the caller's `request_id` is taken, perhaps by an equal request; nothing was stored.
            ConnectionLost: the reply was lost, and the request could not be read back.
        """
        if timeout is None:
            timeout = self.timeout + (api_limits.PUBLISH_WAIT_SECONDS if wait else 0)
        try:
            reply = await self._post(
                models.PublishReply,
                "/api/publish_interaction",
                body.model_dump(exclude_defaults=True),
                kind="publish",
                params={"wait_for_response": "true"} if wait else {},
                timeout=timeout,
            )
        except AlreadyExists as error:
            refusal = error
        else:
            reply.request_id = reply.request_id or body.request_id
            return reply
        # After a lost reply the effect is "unknown": an earlier try of this call may have stored it.
        repeated = refusal.effect == "unknown"
        # Nobody else knows an id that was made here, so only an earlier try can have stored something under it.
        stored_by_earlier_try = minted or (repeated and await self._is_stored_equal(body, refusal))
        if not stored_by_earlier_try:
            raise AlreadyExists(status=refusal.status, correlation_id=refusal.correlation_id, effect="none")
        reply = models.PublishReply(request_id=body.request_id, already_stored=True, repeated=repeated)
        reply.correlation_id = refusal.correlation_id
        return reply

    async def _is_stored_equal(self, body: models.PublishBody, refusal: AlreadyExists) -> bool:
        """Whether what is stored under the id of a refused body equals it.

        Raises:
            ConnectionLost: it could not be read back.
        """
        try:
            page = await self.get_requests(models.RequestQuery(request_id=body.request_id))
        except ReflexioError:
            page = models.RequestPage()
        found = [item for group in page.sessions for item in group.requests]
        if not found:
            detail = "this request_id is taken, perhaps by this request, which could not be read back"
            raise ConnectionLost(detail, correlation_id=refusal.correlation_id)
        return not models.differences(body, found[0])

    async def get_requests(self, query: models.RequestQuery, *, repeat: bool = True) -> models.RequestPage:
        """Read one page of sessions with their matching requests.

        The server accepts no period of a single second, so the second before is asked for too and dropped here.
        """
        start, end = query.start_time, query.end_time
        one_second = start is not None and start == end
        sent = query.model_dump(exclude_none=True, exclude={"start_time", "end_time", "most_reply_bytes"})
        if start is not None and not (one_second and start == 0):  # nothing is older than the second 0
            sent["start_time"] = iso_time(start - 1 if one_second else start)
        if end is not None:
            sent["end_time"] = iso_time(end)
        if one_second:
            # The count, and the number that a search leaves out, would include the second before. A search only spares
            # work: the caller looks at every request that is returned.
            sent.pop("count", None)
            sent.pop("search", None)
        page = await self._post(
            models.RequestPage,
            "/api/get_requests",
            sent,
            required=("sessions",),
            repeat=repeat,
            most_reply_bytes=query.most_reply_bytes,
        )
        if one_second:
            for group in page.sessions:
                group.requests = [item for item in group.requests if item.request.created_at == start]
            wanted = [group for group in page.sessions if group.requests]
            # Newer sessions come first. After a session of the second before, all others are too old.
            page.has_more = page.has_more and len(wanted) == len(page.sessions)
            page.sessions = wanted
        return page

    async def read_whole(self, request_ids: Sequence[str]) -> models.WholeRequests:
        """Read complete requests, as many as fit one reply. Only the embedded store can."""
        sent = {"request_ids": request_ids}
        return await self._post(models.WholeRequests, "/embedded/read_whole", sent, required=("looked_up",))

    async def put_back(self, item: models.RequestWithInteractions) -> models.Reply:
        """Store a request as `read_whole` returned it. Only the embedded store can."""
        sent = item.model_dump(
            mode="json",
            exclude_defaults=True,
            exclude={"interactions": {"__all__": {"user_id", "request_id"}}},
        )
        # A stored request with its ids and defaults is longer than the published one.
        return await self._post(
            models.Reply, "/embedded/put_back", sent, kind="publish", most_body_bytes=sys.maxsize
        )

    async def delete_requests_by_ids(self, request_ids: list[str]) -> models.DeleteReply:
        """Delete up to 10,000 requests. Unknown ids are skipped."""
        return await self._delete_ids("/api/delete_requests_by_ids", "request_ids", request_ids)

    async def delete_interaction(self, user_id: str, interaction_id: int) -> models.DeleteReply:
        """Delete one interaction of a user. Its request stays, even empty. An unknown id is a success too."""
        sent = {"user_id": user_id, "interaction_id": interaction_id}
        return await self._change("/api/delete_interaction", sent)

    async def learning_status(self, request_id: str) -> models.LearningStatus:
        """Return the state of learning from a request. Raises `NotFound` if there is no such request."""
        params = {"request_id": sendable(request_id)}
        return await self._get(
            models.LearningStatus, "/api/learning_status", required=("status",), params=params, by_id=True
        )

    async def generation(self, kind: Literal["profile", "playbook"]) -> models.Operation | None:
        """Return the last run that generated learnings anew, if there was one."""
        params = {"service_name": f"{kind}_generation"}
        try:
            reply = await self._get(models.OperationReply, "/api/get_operation_status", params=params)
        except (NotTheApi, OperationFailed):  # no such route, or no run yet
            return None
        return reply.operation_status

    async def finalize_session(self, user_id: str, session_id: str) -> models.FinalizeReply:
        """End a session of a user, so that Reflexio learns from its waiting requests."""
        sent = {"user_id": user_id, "session_id": session_id}
        return await self._post(
            models.FinalizeReply, "/api/finalize_session", sent, required=("accepted",), kind="publish"
        )

    async def get_profiles(self, user_id: str) -> list[models.UserProfile]:
        """Read a user's profiles of every status, last modified first, except those past their expiry."""
        # By default the server returns 30.
        sent = {"user_id": user_id, "top_k": None, "status_filter": EVERY_STATUS}
        return await self._list(models.UserProfile, "/api/get_profiles", sent, "user_profiles")

    async def get_all_profiles(
        self, user_id: str | None, *, created_since: int | None = None
    ) -> list[models.UserProfile]:
        """Read current profiles, also those past their expiry that the service has not marked as expired yet.

        No other call returns the latter. The API allows 30 of these calls a minute.

        Args:
            user_id: `None` for every user.
            created_since: epoch seconds; only profiles that were first stored since then.
        """
        params = {"limit": str(EVERY_ROW)}
        if user_id is not None:
            params["user_id"] = sendable(user_id)
        if created_since is not None:
            params |= {"date_field": "created_at", "start_time": str(created_since)}
        return await self._get_list(models.UserProfile, "/api/get_all_profiles", params, "user_profiles")

    async def get_user_playbooks(self, user_id: str | None) -> list[models.UserPlaybook]:
        """Read a user's playbooks of every status, newest first; those of every user for `None`."""
        sent: dict[str, Any] = {"limit": EVERY_ROW, "status_filter": EVERY_STATUS}
        if user_id is not None:
            sent["user_id"] = user_id
        return await self._list(models.UserPlaybook, "/api/get_user_playbooks", sent, "user_playbooks")

    async def delete_profiles(self, profile_ids: list[str]) -> models.DeleteReply:
        """Delete up to 10,000 profiles. Unknown ids are skipped."""
        return await self._delete_ids("/api/delete_profiles_by_ids", "profile_ids", profile_ids)

    async def delete_user_playbooks(self, user_playbook_ids: list[str]) -> models.DeleteReply:
        """Delete up to 10,000 user playbooks. Unknown ids are skipped."""
        if not all(text.isascii() and text.isdigit() for text in user_playbook_ids):
            raise NotSent("the id of a user playbook is a number")
        numbers = [int(text) for text in user_playbook_ids]
        return await self._delete_ids("/api/delete_user_playbooks_by_ids", "user_playbook_ids", numbers)

    async def update_profile(self, user_id: str, profile_id: str, content: str) -> models.DeleteReply:
        """Change the text of a current profile. An unknown id, or another user's, is an error."""
        sent = {"user_id": user_id, "profile_id": profile_id, "content": content}
        return await self._change("/api/update_user_profile", sent, method="PUT")

    async def update_user_playbook(self, user_playbook_id: int, content: str) -> models.DeleteReply:
        """Change the text of anybody's user playbook. An unknown id is a success too."""
        sent = {"user_playbook_id": user_playbook_id, "content": content}
        return await self._change("/api/update_user_playbook", sent, method="PUT")

    async def add_profiles(self, profiles: Sequence[models.UserProfile]) -> models.Reply:
        """Store profiles under their own ids. A profile with the same id is overwritten."""
        needed = {"profile_id", "user_id", "content", "last_modified_timestamp", "generated_from_request_id"}
        return await self._add("/api/add_user_profile", "user_profiles", profiles, needed)

    async def add_user_playbooks(self, playbooks: Sequence[models.UserPlaybook]) -> models.Reply:
        needed = {"user_id", "agent_version", "request_id", "created_at"}
        return await self._add("/api/add_user_playbook", "user_playbooks", playbooks, needed)

    async def clear_user_data(self, user_id: str) -> models.DeleteReply:
        """Delete everything of a user, also what was stored since the caller looked. So look before each call."""
        sent = {"user_id": user_id}
        return await self._post(
            models.DeleteReply, "/api/clear_user_data", sent, kind="delete", look_first=True
        )

    async def get_session_outcomes(
        self, user_id: str = "", *, session_ids: Sequence[str] = ()
    ) -> list[models.SessionOutcome]:
        """Read how sessions ended: those of a user, up to 100 by their ids, or both. 60 calls a minute are allowed.

        Without a user, the outcome of a session can be any user's.
        """
        if not user_id and not session_ids:
            raise NotSent("the outcomes of sessions need a user or sessions")
        if len(session_ids) > MAX_SESSION_IDS:
            raise NotSent(f"session_ids takes {MAX_SESSION_IDS} ids, and {len(session_ids)} were given")
        asked: dict[str, Any] = {"user_id": user_id} if user_id else {}
        asked |= {"session_ids": list(session_ids)} if session_ids else {}
        found: list[models.SessionOutcome] = []
        while True:
            sent = {**asked, "top_k": OUTCOMES_AT_ONCE, "offset": len(found)}
            page = await self._list(
                models.SessionOutcome, "/api/get_session_outcomes", sent, "session_outcomes"
            )
            found += page
            if len(page) < OUTCOMES_AT_ONCE:
                return found

    async def get_agent_playbooks(
        self, *, agent_playbook_id: int | None = None
    ) -> list[models.AgentPlaybook]:
        """Read the current shared rules, or one of any status. 120 calls a minute are allowed.

        A hosted service bills each rule that is returned.
        """
        sent: dict[str, Any] = {"limit": EVERY_ROW}
        if agent_playbook_id is not None:
            sent |= {"agent_playbook_id": agent_playbook_id, "status_filter": EVERY_STATUS}
        return await self._list(models.AgentPlaybook, "/api/get_agent_playbooks", sent, "agent_playbooks")

    async def agent_playbook_sources(self, agent_playbook_id: int) -> models.AgentPlaybookSources:
        """Read which user playbooks a shared rule was made from, whosoever they are."""
        sent = {"kind": "agent_playbook", "id": str(agent_playbook_id)}
        return await self._post(
            models.AgentPlaybookSources,
            "/api/get_learning_provenance",
            sent,
            required=("provenance_status",),
        )

    async def set_agent_playbook_status(
        self, agent_playbook_id: int, status: models.Approval
    ) -> models.DeleteReply:
        """Approve or reject a shared rule, or make it pending. An unknown id is an error."""
        sent = {"agent_playbook_id": agent_playbook_id, "playbook_status": status}
        return await self._change("/api/update_agent_playbook_status", sent, method="PUT")

    async def delete_agent_playbooks(self, agent_playbook_ids: list[int]) -> models.DeleteReply:
        """Delete up to 10,000 shared rules. Unknown ids are skipped, and counted as deleted."""
        return await self._delete_ids(
            "/api/delete_agent_playbooks_by_ids", "agent_playbook_ids", agent_playbook_ids
        )

    async def get_application_stats(self, *, days: int) -> list[models.ApplicationStat]:
        """Read how often answers of the last days cited each learning of the organization.

        Deleted learnings are counted, deleted interactions are not.
        """
        sent = {"days_back": days}
        return await self._list(models.ApplicationStat, "/api/get_playbook_application_stats", sent, "stats")

    async def get_verdicts(
        self, user_id: str, *, session_id: str = ""
    ) -> tuple[list[models.RetrievedLearningVerdict], bool]:
        """Read how Reflexio judged the learnings that were retrieved for a user's answers.

        Returns:
            At most 1,000 verdicts, and whether these are all.
        """
        sent: dict[str, Any] = {"user_id": user_id, "limit": VERDICTS_AT_ONCE}
        sent |= {"session_id": session_id} if session_id else {}
        route = "/api/get_retrieved_learning_evaluation_results"
        found = await self._list(models.RetrievedLearningVerdict, route, sent, "results")
        return found, len(found) < VERDICTS_AT_ONCE

    async def get_session_verdicts(self) -> list[models.SessionVerdict]:
        """Read how Reflexio judged sessions, of all users: the API has no filter of users."""
        route, name = "/api/get_agent_success_evaluation_results", "agent_success_evaluation_results"
        return await self._list(models.SessionVerdict, route, {"limit": EVERY_ROW}, name)

    async def get_pending_questions(self) -> tuple[list[models.PendingQuestion], bool]:
        """Read the questions that Reflexio asked people, of all users.

        Returns:
            At most 500 questions, and whether these are all.
        """
        params = {"limit": str(QUESTIONS_AT_ONCE)}
        found = await self._get_list(
            models.PendingQuestion, "/api/pending_tool_calls", params, "pending_tool_calls"
        )
        return found, len(found) < QUESTIONS_AT_ONCE

    async def whoami(self) -> models.WhoAmI:
        return await self._get(models.WhoAmI, "/api/whoami", required=("success", "org_id"))

    async def health(self) -> models.HealthReply:
        """Ask whether the server runs. The key is not checked."""
        timeout = min(5.0, self.timeout)
        return await self._get(models.HealthReply, "/health", required=("status",), timeout=timeout)

    async def version(self) -> models.VersionReply:
        return await self._get(models.VersionReply, "/meta/version", required=("server_version",))

    async def _delete_ids(self, route: str, name: str, ids: list[str] | list[int]) -> models.DeleteReply:
        if not 1 <= len(ids) <= api_limits.MAX_DELETE_IDS:
            raise NotSent(f"{name} takes 1 to {api_limits.MAX_DELETE_IDS} ids, and {len(ids)} were given")
        return await self._change(route, {name: ids})

    async def _change(
        self, route: str, sent: dict[str, Any], method: Literal["DELETE", "PUT"] = "DELETE"
    ) -> models.DeleteReply:
        """Delete or overwrite. After a repeated call, the number of deleted items is not known."""
        call = Call(method, route, "delete", self.timeout, content=encoded(sent), required=("success",))
        reply = await self._send(call, lambda answer: answer.parsed(models.DeleteReply))
        if reply.repeated:
            reply.deleted_count = None
        return reply

    async def _add(
        self,
        route: str,
        name: str,
        rows: Sequence[models.UserProfile] | Sequence[models.UserPlaybook],
        needed: set[str],
    ) -> models.Reply:
        """Store learnings. The reply does not prove that they are stored.

        Args:
            needed: fields that the API requires, even if they have their default.
        """
        sent = [
            row.model_dump(mode="json", exclude_defaults=True) | row.model_dump(mode="json", include=needed)
            for row in rows
        ]
        # A playbook sent twice is stored twice.
        return await self._post(models.Reply, route, {name: sent}, kind="publish", repeat=False)

    async def _get(self, model: type[ReplyT], route: str, **options: Any) -> ReplyT:
        """Read a reply. The options are fields of `Call`."""
        options = {"timeout": self.timeout, **options}
        call = Call("GET", route, "read", **options)
        return await self._send(call, lambda answer: answer.parsed(model))

    async def _post(
        self,
        model: type[ReplyT],
        route: str,
        sent: dict[str, Any],
        *,
        required: tuple[str, ...] = (),
        kind: Kind = "read",
        **options: Any,
    ) -> ReplyT:
        """Send a body and read the reply. The other options are fields of `Call`, too."""
        options = {"timeout": self.timeout, **options}
        content = await in_thread_if(kind == "publish", lambda: encoded(sent))
        call = Call("POST", route, kind, content=content, required=("success", *required), **options)
        return await self._send(call, lambda answer: answer.parsed(model))

    async def _list(
        self, model: type[ReceivedT], route: str, sent: dict[str, Any], name: str
    ) -> list[ReceivedT]:
        """Send a body and read the list that the reply has under a name."""
        call = Call("POST", route, "read", self.timeout, encoded(sent), required=("success", name))
        return await self._send(call, lambda answer: answer.parsed_list(model, name))

    async def _get_list(
        self, model: type[ReceivedT], route: str, params: dict[str, str], name: str
    ) -> list[ReceivedT]:
        call = Call("GET", route, "read", self.timeout, params=params, required=(name,))
        return await self._send(call, lambda answer: answer.parsed_list(model, name))

    async def _send(self, call: Call, read: Callable[[Answer], T]) -> T:
        if self._closed:
            raise Closed
        if call.content is not None and len(call.content) > call.most_body_bytes:
            size, most = len(call.content) / 2**20, call.most_body_bytes // 2**20
            raise BodyTooLarge(f"{size:.1f} MiB as sent, the limit is {most} MiB")
        if self._sender is None:
            self._sender = self._open()
        try:
            answer = await self._sender.send(call)
            if answer.server_time is not None:
                self.clock_ahead = max(0.0, time.time() - answer.server_time)
            return await in_thread_if(answer.is_long, lambda: read(answer))
        except ReflexioError as error:
            if call.kind == "read":
                error.effect = "none"
            if not self._names_address and isinstance(error, Unreachable | NotTheApi):
                error.detail = ""
            raise

    def _open(self) -> Sender:
        transport: Any = self._transport() if callable(self._transport) else self._transport
        if not hasattr(transport, "exchange"):
            # The embedded store does not need httpx.
            from reflexio_mcp.rest.transport import HttpTransport

            agent = f"reflexio-mcp/{reflexio_mcp.__version__}"
            transport = HttpTransport(self.base_url, api_key=self._api_key, user_agent=agent, inner=transport)
        return Sender(
            self.base_url,
            api_key=self._api_key,
            transport=transport,
            sleep=self._sleep or anyio.sleep,
            clock=self._clock,
            jitter=self._jitter,
            holds=lambda: self.holds(),
        )


def encoded(body: dict[str, Any]) -> bytes:
    """Write JSON.

    Raises:
        NotSent: JSON does not have one of the values.
    """
    with suppress(ValueError):
        content = to_json(body)
        if b"NaN" not in content and b"Infinity" not in content:
            return content
    # "NaN" is in the body, perhaps only as a text. `json.dumps` tells it from the number, but takes four times as long,
    # and no other thread can run meanwhile.
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        raise NotSent("the body contains a value that JSON does not have, such as NaN") from None
    return in_utf8(text)


def sendable(text: str) -> str:
    in_utf8(text)
    return text


def in_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NotSent("a text contains half of a surrogate pair, which is no character") from None


def iso_time(epoch: int) -> str:
    # Always with an offset: the server fails on a mix of zones.
    return api_limits.date_of(epoch).isoformat()
