"""The routes: one function each, from a call to the API's answer. They block, so they run in worker threads, but for
reads that are short.

Only this package's client calls them, so they refuse only what it can send and the API would refuse.

A storage failure is answered as the API does it: 200 with `success: false` and the reason, or 503 when the call
can simply be repeated.
"""

import json
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from reflexio_mcp import __version__
from reflexio_mcp.embedded_store import bodies, pages, queries
from reflexio_mcp.embedded_store.database import Connection, Database, TakesLonger
from reflexio_mcp.embedded_store.errors import StoreError, StoreFailed
from reflexio_mcp.rest.models import RequestWithInteractions, unlearned

Json = dict[str, Any]
BodyT = TypeVar("BodyT", bound=BaseModel)

ORGANIZATION: Final = "embedded"
WHOLE_BYTES: Final = 1024 * 1024
"""Requests that are given out whole in one reply, unless a single one is longer."""

STORAGE: Final[Json] = {"storage_type": "sqlite", "storage_label": "embedded store"}


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the routes see it.

    Args:
        now: when it arrived, epoch seconds.
        raw: the encoded JSON body.
        at_once: answer on the event loop, or raise `TakesLonger`.
    """

    store: Database
    now: int
    query: Mapping[str, str]
    raw: bytes
    at_once: bool = False

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection to read from."""
        return self.store.reading_at_once() if self.at_once else self.store.reading()


ReadRoute = Callable[[Call], Json | list[bytes]]
"""Returns the body of the reply, or its JSON in parts."""

Change = Callable[[Connection], Json]
"""Carries out a write in a transaction and returns the body of the reply."""

WriteRoute = Callable[[Call], Change]
"""Checks a call before the transaction begins."""


class Refusal(Exception):
    """Ends a call early with a status and a body."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def publish_interaction(call: Call) -> Change:
    body = _body_of(bodies.Publish, call)
    request_id = body.request_id or str(uuid.uuid4())
    learning = unlearned(evaluation_only=body.evaluation_only)

    def change(connection: Connection) -> Json:
        if not queries.store(connection, body, request_id, call.now):
            return _taken(request_id)
        return {
            "success": True,
            "message": "Interaction published successfully",
            "warnings": [],
            "request_id": request_id,
            **STORAGE,
            "profiles_added": 0,
            "playbooks_added": 0,
            "learning_status": learning.status,
            "learning_reason": learning.reason,
        }

    return change


def put_back(call: Call) -> Change:
    """This store's own: a request as `read_whole` gave it out, stored exactly so."""
    item = _body_of(RequestWithInteractions, call)

    def change(connection: Connection) -> Json:
        try:
            added = queries.put_back(connection, item)
        except (sqlite3.IntegrityError, OverflowError, ValueError) as error:
            # A copy that was changed by hand, say: no fault of the store, so others are put back all the same.
            raise Refusal(
                422, {"detail": [{"loc": ["body"], "msg": "not a request as it is stored"}]}
            ) from error
        return {"success": True} if added else _taken(item.request.request_id)

    return change


def learning_status(call: Call) -> Json:
    try:
        with call.reading() as connection:
            evaluation_only = queries.is_evaluation_only(connection, call.query.get("request_id", ""))
    except StoreFailed as error:
        raise unavailable(error) from error
    if evaluation_only is None:
        raise Refusal(404, {"detail": "request not found"})
    learning = unlearned(evaluation_only=evaluation_only)
    return {"status": learning.status, "reason": learning.reason}


def get_requests(call: Call) -> list[bytes]:
    """Encoded as it is read, since a session of many thousand requests is one reply."""
    body = _body_of(bodies.GetRequests, call)
    parts: list[bytes] = []
    sessions = requests = 0
    last: str | None = None
    try:
        with call.reading() as connection:
            # Before the page: writing that as JSON takes what a short read has of time.
            total = queries.total(connection, body) if body.count else None
            for session_id, group in queries.sessions(connection, body):
                text = ",".join(compact(one) for one in group)
                if session_id == last:
                    parts.append(f",{text}".encode())
                else:
                    opening = "]}," if parts else ""
                    parts.append(f'{opening}{{"session_id":{compact(session_id)},"requests":[{text}'.encode())
                    sessions += 1
                    last = session_id
                requests += len(group)
    except StoreFailed as error:
        return [compact({"success": False, "sessions": [], "has_more": False, "msg": error.message}).encode()]
    # The API says "more" after any full page, even the last one.
    has_more = sessions >= (body.top_k or pages.DEFAULT_PAGE)
    closing = "]}" if parts else ""
    message = f"Found {requests} request(s) in {sessions} session(s)"
    parts.insert(0, b'{"success":true,"sessions":[')
    # This store's own field; the API has no total.
    counted = "" if total is None else f'"total":{total},'
    parts.append(f'{closing}],"has_more":{compact(has_more)},{counted}"msg":{compact(message)}}}'.encode())
    return parts


def read_whole(call: Call) -> list[bytes]:
    """This store's own: requests with all that is stored of them, as many of the first as have room."""
    if call.at_once:
        raise TakesLonger  # an image may have millions of characters
    body = _body_of(bodies.ReadWhole, call)
    found: list[bytes] = []
    size = looked_up = 0
    try:
        with call.reading() as connection:
            for item in queries.whole(connection, body.request_ids):
                if item is not None:
                    found.append(compact(item).encode())
                    size += len(found[-1])
                    if size > WHOLE_BYTES and len(found) > 1:
                        found.pop()
                        break
                looked_up += 1
    except StoreFailed as error:
        return [compact(failed(error)).encode()]
    return [f'{{"success":true,"looked_up":{looked_up},"requests":['.encode(), b",".join(found), b"]}"]


def delete_request(call: Call) -> Change:
    body = _body_of(bodies.DeleteRequest, call)

    def change(connection: Connection) -> Json:
        queries.delete_requests(connection, [body.request_id])
        return {"success": True, "message": "Deleted successfully"}

    return change


def delete_session(call: Call) -> Change:
    body = _body_of(bodies.DeleteSession, call)

    def change(connection: Connection) -> Json:
        deleted = queries.delete_session(connection, body.session_id)
        return {"success": True, "message": f"Deleted {deleted} item(s)", "deleted_requests_count": deleted}

    return change


def delete_requests_by_ids(call: Call) -> Change:
    body = _body_of(bodies.DeleteRequestsByIds, call)
    return lambda connection: _deleted(queries.delete_requests(connection, body.request_ids))


def delete_interaction(call: Call) -> Change:
    body = _body_of(bodies.DeleteInteraction, call)

    def change(connection: Connection) -> Json:
        queries.delete_interaction(connection, body.user_id, body.interaction_id)
        return {"success": True, "message": "Deleted successfully"}

    return change


def clear_user_data(call: Call) -> Change:
    body = _body_of(bodies.ClearUserData, call)
    return lambda connection: {
        "success": True,
        "deleted_counts": queries.clear_user(connection, body.user_id),
    }


def whoami(call: Call) -> Json:
    message = ""
    try:
        with call.reading():
            pass
    except StoreFailed as error:
        message = error.message
    return {
        "success": not message,
        "org_id": ORGANIZATION,
        **STORAGE,
        "storage_configured": not message,
        "message": message,
    }


def health(call: Call) -> Json:
    try:
        with call.reading() as connection:
            # A damaged file shows only when it is read.
            connection.execute("SELECT 1 FROM requests LIMIT 1").fetchall()
            return {"status": "healthy"}
    except StoreError as error:
        raise Refusal(503, {"status": "unhealthy"}) from error


def _taken(request_id: str) -> Json:
    return {"success": False, "message": f"request_id {request_id!r} already exists", "warnings": []}


def _deleted(count: int) -> Json:
    return {"success": True, "deleted_count": count, "message": f"Deleted {count} item(s)"}


def _always(body: Json) -> ReadRoute:
    """A route with one answer, such as those for what this store never has: anything learned."""
    return lambda call: body


READING: Final[dict[tuple[str, str], ReadRoute]] = {
    ("GET", "/api/learning_status"): learning_status,
    ("POST", "/api/get_requests"): get_requests,
    ("POST", "/embedded/read_whole"): read_whole,
    ("POST", "/api/get_session_outcomes"): _always({"success": True, "session_outcomes": []}),
    ("POST", "/api/get_agent_playbooks"): _always(
        {"success": True, "agent_playbooks": [], "msg": "Found 0 agent playbook(s)"}
    ),
    ("POST", "/api/get_profiles"): _always(
        {"success": True, "user_profiles": [], "msg": "Found 0 profile(s)"}
    ),
    ("POST", "/api/get_user_playbooks"): _always(
        {"success": True, "user_playbooks": [], "msg": "Found 0 user playbook(s)"}
    ),
    ("DELETE", "/api/delete_profiles_by_ids"): _always(_deleted(0)),
    ("DELETE", "/api/delete_user_playbooks_by_ids"): _always(_deleted(0)),
    ("GET", "/api/whoami"): whoami,
    ("GET", "/health"): health,
    ("GET", "/meta/version"): _always(
        {"server_version": f"embedded-{__version__}", "api_version": "v1", "min_client_version": "0.1.0"}
    ),
}

WRITING: Final[dict[tuple[str, str], WriteRoute]] = {
    ("POST", "/api/publish_interaction"): publish_interaction,
    ("POST", "/embedded/put_back"): put_back,
    ("DELETE", "/api/delete_request"): delete_request,
    ("DELETE", "/api/delete_session"): delete_session,
    ("DELETE", "/api/delete_requests_by_ids"): delete_requests_by_ids,
    ("DELETE", "/api/delete_interaction"): delete_interaction,
    ("POST", "/api/clear_user_data"): clear_user_data,
}


_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def compact(value: Any) -> str:
    """JSON without spaces."""
    return _json.encode(value)


def unavailable(error: StoreError) -> Refusal:
    """The API's 503, for what a repeat may cure and for routes whose answer cannot say `success: false`."""
    return Refusal(503, {"detail": {"reason": error.reason, "message": error.message}})


def failed(error: StoreFailed) -> Json:
    """The API's answer to a write that its storage did not take."""
    # `changed` is this store's own field: it rolls back what failed, which a server does not promise.
    return {"success": False, **({"changed": False} if error.unchanged else {}), "message": error.message}


def _body_of(model: type[BodyT], call: Call) -> BodyT:
    try:
        return model.model_validate(json.loads(call.raw))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        problems = [{**one, "loc": ["body", *one["loc"]]} for one in found]
    except (ValueError, RecursionError):
        problems = [{"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error"}]
    raise Refusal(422, {"detail": problems})
