"""One function a route: a checked body in, the API's answer out. They block and run in worker threads.

A storage failure is answered as the API does: 200 with `success: false` and the reason, or 503 when the same
call can simply be repeated.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from reflexio_mcp import __version__
from reflexio_mcp.store import bodies, queries
from reflexio_mcp.store.database import Database
from reflexio_mcp.store.errors import StoreError, StoreFailed

Json = dict[str, Any]
Body = TypeVar("Body", bound=BaseModel)

ORGANIZATION: Final = "embedded"
STORAGE: Final[Json] = {"storage_type": "sqlite", "storage_label": "embedded store"}
NOT_TRACKED: Final[Json] = {"learning_status": "not_tracked", "learning_reason": "embedded_store"}
NOT_APPLICABLE: Final[Json] = {"learning_status": "done", "learning_reason": "not_applicable"}

MAX_NAMED_FIELDS: Final = 5
MAX_FIELD_WARNINGS: Final = 20
MAX_FIELD_CHARS: Final = 64
MAX_NAMED_POSITIONS: Final = 10

_flag = TypeAdapter(bool)


@dataclass(frozen=True)
class Call:
    """One request as the routes see it."""

    store: Database
    now: int
    query: dict[str, str]
    content_type: str
    raw: bytes


class Answer(Exception):  # noqa: N818
    """Ends a call early with a status and a body."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def publish_interaction(call: Call) -> Json:
    sent = _json(call)
    body = _checked(bodies.Publish, sent)
    _wait_flag(call)
    request_id = body.request_id or str(uuid.uuid4())
    if body.retrieval_experiment_id is not None:
        return _not_published("retrieval experiment does not exist for this organization")
    try:
        with call.store.writing() as connection:
            stored = queries.store(connection, body, request_id, call.now)
    except StoreFailed as error:
        return _not_published(error.message)
    if not stored:
        return _not_published(f"request_id {request_id!r} already exists")
    return {
        "success": True,
        "message": "Interaction published successfully",
        "warnings": _warnings(body, sent),
        "request_id": request_id,
        **STORAGE,
        "profiles_added": 0,
        "playbooks_added": 0,
        **(NOT_APPLICABLE if body.evaluation_only else NOT_TRACKED),
    }


def learning_status(call: Call) -> Json:
    if "request_id" not in call.query:
        raise _invalid(
            [{"type": "missing", "loc": ["query", "request_id"], "msg": "Field required", "input": None}]
        )
    try:
        with call.store.reading() as connection:
            evaluation_only = queries.evaluation_only(connection, call.query["request_id"])
    except StoreFailed as error:
        raise unavailable(error) from error
    if evaluation_only is None:
        raise Answer(404, {"detail": "request not found"})
    answer = NOT_APPLICABLE if evaluation_only else NOT_TRACKED
    return {"status": answer["learning_status"], "reason": answer["learning_reason"]}


def get_requests(call: Call) -> Json:
    body = _body(bodies.GetRequests, call)
    try:
        with call.store.reading() as connection:
            sessions = queries.sessions(connection, body)
    except StoreFailed as error:
        return {"success": False, "sessions": [], "has_more": False, "msg": error.message}
    requests = sum(len(session["requests"]) for session in sessions)
    return {
        "success": True,
        "sessions": sessions,
        # A full page counts as "more", even when it was the last one. So does the API.
        "has_more": len(sessions) >= (body.top_k or queries.DEFAULT_PAGE),
        "msg": f"Found {requests} request(s) in {len(sessions)} session(s)",
    }


def delete_request(call: Call) -> Json:
    body = _body(bodies.DeleteRequest, call)
    try:
        with call.store.writing(deletes=True) as connection:
            queries.delete_requests(connection, [body.request_id])
    except StoreFailed as error:
        return {"success": False, "message": error.message}
    return {"success": True, "message": "Deleted successfully"}


def delete_session(call: Call) -> Json:
    body = _body(bodies.DeleteSession, call)
    try:
        with call.store.writing(deletes=True) as connection:
            deleted = queries.delete_session(connection, body.session_id)
    except StoreFailed as error:
        return {"success": False, "message": error.message, "deleted_requests_count": 0}
    return {"success": True, "message": f"Deleted {deleted} item(s)", "deleted_requests_count": deleted}


def delete_requests_by_ids(call: Call) -> Json:
    body = _body(bodies.DeleteRequestsByIds, call)
    try:
        with call.store.writing(deletes=True) as connection:
            deleted = queries.delete_requests(connection, body.request_ids)
    except StoreFailed as error:
        return {"success": False, "deleted_count": 0, "message": error.message}
    return _deleted(deleted)


def delete_interaction(call: Call) -> Json:
    body = _body(bodies.DeleteInteraction, call)
    try:
        with call.store.writing(deletes=True) as connection:
            queries.delete_interaction(connection, body.user_id, body.interaction_id)
    except StoreFailed as error:
        return {"success": False, "message": error.message}
    return {"success": True, "message": "Deleted successfully"}


def get_profiles(call: Call) -> Json:
    _body(bodies.GetProfiles, call)
    return {"success": True, "user_profiles": [], "msg": "Found 0 profile(s)"}


def get_user_playbooks(call: Call) -> Json:
    _body(bodies.GetUserPlaybooks, call)
    return {"success": True, "user_playbooks": [], "msg": "Found 0 user playbook(s)"}


def delete_profiles_by_ids(call: Call) -> Json:
    _body(bodies.DeleteProfilesByIds, call)
    return _deleted(0)


def delete_user_playbooks_by_ids(call: Call) -> Json:
    _body(bodies.DeleteUserPlaybooksByIds, call)
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
        with call.store.reading():
            return {"status": "healthy"}
    except StoreError as error:
        raise Answer(503, {"status": "unhealthy"}) from error


def version(call: Call) -> Json:
    return {"server_version": f"embedded-{__version__}", "api_version": "v1", "min_client_version": "0.1.0"}


ROUTES: Final[dict[str, tuple[str, Callable[[Call], Json]]]] = {
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


def unavailable(error: StoreError) -> Answer:
    """The API's 503, for what a repeat may cure and for routes whose answer cannot say `success: false`."""
    return Answer(503, {"detail": {"reason": error.reason, "message": error.message}})


def _deleted(count: int) -> Json:
    return {"success": True, "deleted_count": count, "message": f"Deleted {count} item(s)"}


def _not_published(message: str) -> Json:
    return {"success": False, "message": message, "warnings": []}


def _invalid(errors: list[Json]) -> Answer:
    return Answer(422, {"detail": errors})


def _body(model: type[Body], call: Call) -> Body:
    return _checked(model, _json(call))


def _json(call: Call) -> Any:
    if not call.raw:
        raise _invalid([{"type": "missing", "loc": ["body"], "msg": "Field required", "input": None}])
    if "json" not in call.content_type:
        return call.raw.decode("utf-8", "replace")
    try:
        # As Python's parser does, the API takes NaN; it then fails on reading it back. Here it never gets in.
        return json.loads(call.raw, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise Answer(400, {"detail": "There was an error parsing the body"}) from error
    except json.JSONDecodeError as error:
        raise _invalid([_json_error(error.pos, error.msg)]) from error
    except (ValueError, RecursionError) as error:
        raise _invalid([_json_error(0, "Unsupported number or nesting")]) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _json_error(position: int, reason: str) -> Json:
    return {
        "type": "json_invalid",
        "loc": ["body", position],
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": reason},
    }


def _checked(model: type[Body], sent: Any) -> Body:
    if not isinstance(sent, dict):
        raise _invalid(
            [
                {
                    "type": "model_attributes_type",
                    "loc": ["body"],
                    "msg": "Input should be a valid dictionary or object to extract fields from",
                    "input": sent,
                }
            ]
        )
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise _invalid([_shown(one, "body") for one in error.errors(include_url=False)]) from error


def _wait_flag(call: Call) -> None:
    """Nothing is learned here, so there is nothing to wait for; the flag is only checked."""
    value = call.query.get("wait_for_response", "false")
    try:
        _flag.validate_python(value)
    except ValidationError as error:
        raise _invalid(
            [
                {**_shown(one, "query"), "loc": ["query", "wait_for_response"]}
                for one in error.errors(include_url=False)
            ]
        ) from error


def _shown(error: Any, where: str) -> Json:
    """A validation error in the API's form. Like the API's, it repeats the input: never show it."""
    shown = dict(error)
    shown["loc"] = [where, *shown["loc"]]
    if "ctx" in shown:
        shown["ctx"] = {
            name: {} if isinstance(value, Exception) else value for name, value in shown["ctx"].items()
        }
    return shown


def _warnings(body: bodies.Publish, sent: Json) -> list[str]:
    """What was dropped from a publish: unknown fields by name, empty interactions by position."""
    sent_list: list[Json] = sent["interaction_data_list"]
    found = [
        f"interaction_data_list[{position}]: ignored unrecognised field(s) {_named(names)}"
        for position, one in enumerate(sent_list)
        if (names := _unknown_in_interaction(one))
    ]
    if len(found) > MAX_FIELD_WARNINGS:
        rest = len(found) - MAX_FIELD_WARNINGS
        found[MAX_FIELD_WARNINGS:] = [f"...and {rest} more interaction(s) with the same problem"]
    if names := _unknown(sent, bodies.Publish):
        found.append(f"publish request: ignored unrecognised field(s) {_named(names)}")
    empty = [
        str(position) for position, one in enumerate(body.interaction_data_list) if not one.says_something()
    ]
    if empty:
        more = len(empty) - MAX_NAMED_POSITIONS
        found.append(
            f"skipped {len(empty)} empty interaction(s) that carried no content, at index(es) "
            + ", ".join(empty[:MAX_NAMED_POSITIONS])
            + (f", +{more} more" if more > 0 else "")
        )
    return found


def _unknown_in_interaction(sent: Json) -> list[str]:
    names = _unknown(sent, bodies.Interaction)
    for field, model in (
        ("tools_used", bodies.ToolUse),
        ("citations", bodies.Citation),
        ("retrieved_learnings", bodies.RetrievedLearning),
    ):
        for position, item in enumerate(sent.get(field, ())):
            names.extend(f"{field}[{position}].{name}" for name in _unknown(item, model))
    return sorted(names)


def _unknown(sent: Json, model: type[BaseModel]) -> list[str]:
    silent = frozenset[str]() if model is bodies.Publish else bodies.SILENT_UNKNOWN_FIELDS
    return sorted(name for name in sent if name not in model.model_fields and name not in silent)


def _named(names: list[str]) -> str:
    shown = [_printable(name) for name in names[:MAX_NAMED_FIELDS]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f", +{more} more" if more else "")


def _printable(name: str) -> str:
    cleaned = "".join(char if char.isprintable() else "?" for char in name)
    return cleaned if len(cleaned) <= MAX_FIELD_CHARS else f"{cleaned[:MAX_FIELD_CHARS]}..."
