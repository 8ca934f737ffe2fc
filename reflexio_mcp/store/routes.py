"""One function a route: a checked body in, the API's answer out. They block and run in worker threads.

A storage failure is answered as the API does: 200 with `success: false` and the reason, or 503 when the same
call can simply be repeated.
"""

import json
import uuid
from collections.abc import Callable
from typing import Any, Final

from reflexio_mcp import __version__
from reflexio_mcp.store import bodies, pages, queries
from reflexio_mcp.store.checking import (
    Answer,
    Call,
    Json,
    body_of,
    checked,
    invalid,
    parsed,
    wait_flag,
    warnings,
)
from reflexio_mcp.store.errors import StoreError, StoreFailed

ORGANIZATION: Final = "embedded"
STORAGE: Final[Json] = {"storage_type": "sqlite", "storage_label": "embedded store"}
NOT_TRACKED: Final[Json] = {"learning_status": "not_tracked", "learning_reason": "embedded_store"}
NOT_APPLICABLE: Final[Json] = {"learning_status": "done", "learning_reason": "not_applicable"}


Route = Callable[[Call], Json | list[bytes]]
"""Returns the reply's body, or its JSON in parts."""


def publish_interaction(call: Call) -> Json:
    sent = parsed(call)
    body = checked(bodies.Publish, sent)
    wait_flag(call)
    request_id = body.request_id or str(uuid.uuid4())
    if body.retrieval_experiment_id is not None:
        return _not_published("retrieval experiment does not exist for this organization")
    try:
        with call.store.writing() as connection:
            stored = queries.store(connection, body, request_id, call.now)
    except StoreFailed as error:
        return {**_not_published(error.message), **_unchanged(error)}
    if not stored:
        return _not_published(f"request_id {request_id!r} already exists")
    return {
        "success": True,
        "message": "Interaction published successfully",
        "warnings": warnings(body, sent),
        "request_id": request_id,
        **STORAGE,
        "profiles_added": 0,
        "playbooks_added": 0,
        **(NOT_APPLICABLE if body.evaluation_only else NOT_TRACKED),
    }


def learning_status(call: Call) -> Json:
    if "request_id" not in call.query:
        raise invalid(
            [{"type": "missing", "loc": ["query", "request_id"], "msg": "Field required", "input": None}]
        )
    try:
        with call.store.reading() as connection:
            evaluation_only = queries.is_evaluation_only(connection, call.query["request_id"])
    except StoreFailed as error:
        raise unavailable(error) from error
    if evaluation_only is None:
        raise Answer(404, {"detail": "request not found"})
    answer = NOT_APPLICABLE if evaluation_only else NOT_TRACKED
    return {"status": answer["learning_status"], "reason": answer["learning_reason"]}


def get_requests(call: Call) -> list[bytes]:
    """Encoded as it is read: a session of many thousand requests is one reply."""
    body = body_of(bodies.GetRequests, call)
    parts: list[bytes] = []
    sessions = requests = 0
    last: str | None = None
    try:
        with call.store.reading() as connection:
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
    # A full page counts as "more", even when it was the last one. So does the API.
    has_more = sessions >= (body.top_k or pages.DEFAULT_PAGE)
    closing = "]}" if parts else ""
    message = f"Found {requests} request(s) in {sessions} session(s)"
    parts.insert(0, b'{"success":true,"sessions":[')
    parts.append(f'{closing}],"has_more":{compact(has_more)},"msg":{compact(message)}}}'.encode())
    return parts


def _unchanged(error: StoreFailed) -> Json:
    # `changed` is this store's own word: it rolls back what failed, which a server cannot promise.
    return {"success": False, **({"changed": False} if error.unchanged else {}), "message": error.message}


def delete_request(call: Call) -> Json:
    body = body_of(bodies.DeleteRequest, call)
    try:
        with call.store.writing(deletes=True) as connection:
            queries.delete_requests(connection, [body.request_id])
    except StoreFailed as error:
        return _unchanged(error)
    return {"success": True, "message": "Deleted successfully"}


def delete_session(call: Call) -> Json:
    body = body_of(bodies.DeleteSession, call)
    try:
        with call.store.writing(deletes=True) as connection:
            deleted = queries.delete_session(connection, body.session_id)
    except StoreFailed as error:
        return {**_unchanged(error), "deleted_requests_count": 0}
    return {"success": True, "message": f"Deleted {deleted} item(s)", "deleted_requests_count": deleted}


def delete_requests_by_ids(call: Call) -> Json:
    body = body_of(bodies.DeleteRequestsByIds, call)
    try:
        with call.store.writing(deletes=True) as connection:
            deleted = queries.delete_requests(connection, body.request_ids)
    except StoreFailed as error:
        return {**_unchanged(error), "deleted_count": 0}
    return _deleted(deleted)


def delete_interaction(call: Call) -> Json:
    body = body_of(bodies.DeleteInteraction, call)
    try:
        with call.store.writing(deletes=True) as connection:
            queries.delete_interaction(connection, body.user_id, body.interaction_id)
    except StoreFailed as error:
        return _unchanged(error)
    return {"success": True, "message": "Deleted successfully"}


def get_profiles(call: Call) -> Json:
    body_of(bodies.GetProfiles, call)
    return {"success": True, "user_profiles": [], "msg": "Found 0 profile(s)"}


def get_user_playbooks(call: Call) -> Json:
    body_of(bodies.GetUserPlaybooks, call)
    return {"success": True, "user_playbooks": [], "msg": "Found 0 user playbook(s)"}


def delete_profiles_by_ids(call: Call) -> Json:
    body_of(bodies.DeleteProfilesByIds, call)
    return _deleted(0)


def delete_user_playbooks_by_ids(call: Call) -> Json:
    body_of(bodies.DeleteUserPlaybooksByIds, call)
    return _deleted(0)


def whoami(call: Call) -> Json:
    message = ""
    try:
        with call.store.reading():
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
        with call.store.reading() as connection:
            # An open connection alone does not notice that its file is none any more.
            connection.execute("SELECT 1 FROM requests LIMIT 1").fetchall()
            return {"status": "healthy"}
    except StoreError as error:
        raise Answer(503, {"status": "unhealthy"}) from error


def version(call: Call) -> Json:
    return {"server_version": f"embedded-{__version__}", "api_version": "v1", "min_client_version": "0.1.0"}


ROUTES: Final[dict[str, tuple[str, Route]]] = {
    "/api/publish_interaction": ("POST", publish_interaction),
    "/api/learning_status": ("GET", learning_status),
    "/api/get_requests": ("POST", get_requests),
    "/api/delete_request": ("DELETE", delete_request),
    "/api/delete_session": ("DELETE", delete_session),
    "/api/delete_requests_by_ids": ("DELETE", delete_requests_by_ids),
    "/api/delete_interaction": ("DELETE", delete_interaction),
    "/api/get_profiles": ("POST", get_profiles),
    "/api/get_user_playbooks": ("POST", get_user_playbooks),
    "/api/delete_profiles_by_ids": ("DELETE", delete_profiles_by_ids),
    "/api/delete_user_playbooks_by_ids": ("DELETE", delete_user_playbooks_by_ids),
    "/api/whoami": ("GET", whoami),
    "/health": ("GET", health),
    "/meta/version": ("GET", version),
}


WRITING: Final = (
    publish_interaction,
    delete_request,
    delete_session,
    delete_requests_by_ids,
    delete_interaction,
)


_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def compact(value: Any) -> str:
    """JSON without spaces."""
    return _json.encode(value)


def unavailable(error: StoreError) -> Answer:
    """The API's 503, for what a repeat may cure and for routes whose answer cannot say `success: false`."""
    return Answer(503, {"detail": {"reason": error.reason, "message": error.message}})


def _deleted(count: int) -> Json:
    return {"success": True, "deleted_count": count, "message": f"Deleted {count} item(s)"}


def _not_published(message: str) -> Json:
    return {"success": False, "message": message, "warnings": []}
