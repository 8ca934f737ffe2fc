"""The routes, their bodies and their answers.

Only this package's client calls them. The store learns nothing: it has no profiles, playbooks or outcomes.
"""

import hashlib
import json
import sqlite3
import sys
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from reflexio_mcp import __version__
from reflexio_mcp.matching.names import says_test
from reflexio_mcp.matching.words import Words, tool_texts, words_of
from reflexio_mcp.rest import api_limits, models
from reflexio_mcp.rest.api_limits import DEFAULT_AGENT_VERSION


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("String must not be empty or whitespace-only")
    return value.strip()


Name = Annotated[str, AfterValidator(_not_blank)]
Source = Annotated[str, StringConstraints(pattern=rf"^({api_limits.SOURCE_PATTERN.pattern})?$")]


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)


class Publish(models.PublishBody):
    model_config = ConfigDict(extra="ignore", defer_build=True)

    request_id: Name = Field(default_factory=lambda: str(uuid.uuid4()))
    user_id: Name
    session_id: Name
    source: Source = ""
    interaction_data_list: Annotated[
        list[models.Interaction], Field(min_length=1, max_length=api_limits.MAX_INTERACTIONS)
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.evaluation_only and self.force_extraction:
            raise ValueError("evaluation_only cannot be combined with force_extraction")
        for interaction in self.interaction_data_list:
            if interaction.user_action != "none" and not interaction.user_action_description:
                raise ValueError("user_action requires a user_action_description")
            if interaction.interacted_image_url and interaction.image_encoding:
                raise ValueError("interacted_image_url and image_encoding cannot both be set")
        return self


class GetRequests(Body):
    user_id: str | None = None
    request_id: str | None = None
    session_id: str | None = None
    source: Source | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    top_k: Annotated[int, Field(gt=0)] = 30
    offset: Annotated[int, Field(ge=0)] = 0
    count: Literal["sessions", "requests"] | None = None
    search: models.Search | None = None
    resume_at: tuple[int, str] | None = None
    """Newest second and id of a session. The page begins with it, or with the next one if it is gone."""
    most_reply_bytes: int | None = None


class RequestId(Body):
    request_id: Name


class RequestIds(Body):
    request_ids: Annotated[list[str], Field(min_length=1, max_length=api_limits.MAX_DELETE_IDS)]


class User(Body):
    user_id: Name


class OneInteraction(User):
    interaction_id: Annotated[int, Field(gt=0)]


Json: TypeAlias = dict[str, Any]
Change: TypeAlias = Literal["none", "adds", "deletes"]
Answer: TypeAlias = Callable[[sqlite3.Connection, Any, int], Json]

STORAGE: Final[Json] = {"storage_type": "sqlite", "storage_label": "embedded store"}
WHOLE_BYTES: Final = 1024 * 1024
"""Limit of one `read_whole`, unless a single request is larger."""

LARGEST_ID: Final = 2**52
"""The largest id that an import or a restore brings along.

SQLite counts on from the largest id. JavaScript, in which many clients and the page are written, rounds ids above
2**53, so it would delete another interaction. The ids from 2**52 to 2**53 are left for new interactions.
"""

_JSON_COLUMNS: Final = ("tools_used", "retrieved_learnings", "citations")

_LISTED: Final = (
    "request, interaction_id, created_at, role, content, user_action, user_action_description,"
    " interacted_image_url, shadow_content, expert_content, tools_used, retrieved_learnings"
)
_SHOWN: Final = f"{_LISTED}, image_digest(image_encoding) image_digest"
"""The columns of an interaction in a page of requests, with a digest in place of the image."""

_WHOLE: Final = f"{_LISTED}, citations, image_encoding"
"""All columns of an interaction, as they are written."""

_READ_WHOLE: Final = (
    f"{_LISTED}, nullif(citations, '[]') citations, nullif(image_encoding, '') image_encoding"
)
"""The same for reading. Most interactions have no citations and no image. NULL is read as a missing field, which an
export leaves out.
"""

_LENGTH: Final = "octet_length" if sqlite3.sqlite_version_info >= (3, 43) else "length"
_LONG_COLUMNS: Final = (
    "content", "user_action_description", "interacted_image_url", "shadow_content", "expert_content", "tools_used",
    "retrieved_learnings",
)  # fmt: skip
_SIZE: Final = " + ".join(f"{_LENGTH}({name})" for name in _LONG_COLUMNS)
"""Bytes of an interaction. `octet_length` finds them without reading the texts. Where SQLite lacks it: characters."""

_SEARCHED: Final = (
    "tools_used, retrieved_learnings, content, user_action_description, shadow_content, expert_content,"
    " interacted_image_url, request_id, session_id"
)
"""Where the filter looks for words."""

SESSIONS_AT_FIRST: Final = 16
SESSIONS_AT_ONCE: Final = 256
AT_ONCE_BYTES: Final = 1024 * 1024
"""Sessions that are searched at once: few at first, and fewer if they are long."""

SESSIONS_FOUND: Final = 50
"""A searched page ends after so many sessions that may match."""

SEARCHED_BYTES: Final = 32 * 1024 * 1024
"""A searched page ends after so much text, so that its caller can stop a long search."""

_AMONG: Final = "IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Route:
    """`answer` takes a connection, the body and the epoch second of the call."""

    body: type[BaseModel]
    answer: Answer
    change: Change


ROUTES: Final[dict[tuple[str, str], Route]] = {}


class Refusal(Exception):
    """Ends a call with the status and detail of the API."""

    def __init__(self, status: int, detail: object) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail


def _route(method: str, path: str, body: type[BaseModel] = Body, change: Change = "none") -> Any:
    def register(answer: Answer) -> Answer:
        ROUTES[method, path] = Route(body, answer, change)
        return answer

    return register


@_route("POST", "/api/publish_interaction", Publish, "adds")
def publish(connection: sqlite3.Connection, body: Publish, now: int) -> Json:
    version = body.agent_version or DEFAULT_AGENT_VERSION
    interactions = [interaction.model_dump() for interaction in body.interaction_data_list]
    for interaction in interactions:
        sent = interaction["created_at"]
        interaction["created_at"] = now if sent is None else min(max(sent, 0), api_limits.LAST_EPOCH_SECOND)
    if not _insert(
        connection, body.model_dump() | {"created_at": now, "agent_version": version}, interactions
    ):
        return _taken(body.request_id)
    learning = models.embedded_learning_status(evaluation_only=body.evaluation_only)
    return {
        "success": True,
        "message": "Interaction published successfully",
        "warnings": [],
        "request_id": body.request_id,
        **STORAGE,
        "profiles_added": 0,
        "playbooks_added": 0,
        "learning_status": learning.status,
        "learning_reason": learning.reason,
    }


@_route("POST", "/embedded/put_back", models.RequestWithInteractions, "adds")
def put_back(connection: sqlite3.Connection, item: models.RequestWithInteractions, now: int) -> Json:
    """Store a request that `read_whole` or an export returned.

    Its interactions keep their ids if these are free. The request gets a new `arrival`, which makes earlier plans of it
    invalid.
    """
    request, interactions = item.request, [interaction.model_dump() for interaction in item.interactions]
    times = [request.created_at, *(interaction.created_at for interaction in item.interactions)]
    names = (request.request_id, request.user_id, request.session_id)
    if not all(name.strip() for name in names) or min(times) < 0 or max(times) > api_limits.LAST_EPOCH_SECOND:
        raise _malformed()
    ids = [interaction.interaction_id for interaction in item.interactions]
    taken = connection.execute(
        f"SELECT 1 FROM interactions WHERE interaction_id {_AMONG} LIMIT 1",  # noqa: S608
        [json.dumps(ids)],
    ).fetchone()
    if taken or any(not 0 < interaction_id <= LARGEST_ID for interaction_id in ids):
        for interaction in interactions:
            interaction["interaction_id"] = None
    try:
        added = _insert(connection, request.model_dump(), interactions)
    except (sqlite3.IntegrityError, OverflowError):
        raise _malformed() from None
    return {"success": True} if added else _taken(request.request_id)


def _malformed() -> Refusal:
    return Refusal(422, [{"loc": ["body"], "msg": "not a request as it is stored"}])


def _insert(connection: sqlite3.Connection, request: Json, interactions: Iterable[Json]) -> bool:
    """Store a request with its interactions, unless its id is taken."""
    added = connection.execute(
        "INSERT INTO requests (request_id, session_id, user_id, created_at, source, agent_version, evaluation_only)"
        " VALUES (:request_id, :session_id, :user_id, :created_at, :source, :agent_version, :evaluation_only)"
        " ON CONFLICT (request_id) DO NOTHING",
        request,
    )
    if not added.rowcount:
        return False
    names = _WHOLE.split(", ")
    rows = [
        {"interaction_id": None, **interaction, "request": added.lastrowid} for interaction in interactions
    ]
    for row in rows:
        row.update({name: json.dumps(row[name] or []) for name in _JSON_COLUMNS})
        row["image_encoding"] = row["image_encoding"] or ""
    connection.executemany(
        f"INSERT INTO interactions ({_WHOLE}) VALUES ({', '.join(f':{name}' for name in names)})",  # noqa: S608
        rows,
    )
    return True


def _taken(request_id: str) -> Json:
    return {"success": False, "message": f"request_id {request_id!r} already exists"}


@_route("GET", "/api/learning_status", RequestId)
def learning_status(connection: sqlite3.Connection, body: RequestId, now: int) -> Json:
    row = connection.execute(
        "SELECT evaluation_only FROM requests WHERE request_id = ?", [body.request_id]
    ).fetchone()
    if row is None:
        raise Refusal(404, "request not found")
    learning = models.embedded_learning_status(evaluation_only=bool(row[0]))
    return {"status": learning.status, "reason": learning.reason}


@_route("POST", "/api/get_requests", GetRequests)
def get_requests(connection: sqlite3.Connection, query: GetRequests, now: int) -> Json:
    condition, values = _condition(query)
    session_ids = _sessions(connection, query)
    # The API reports more after any full page, even the last one.
    has_more = len(session_ids) == query.top_k
    left_out: dict[str, Json] = {}
    if query.search:
        searched, left_out = _search(connection, session_ids, query, query.search)
        has_more = has_more or searched < len(session_ids)
        session_ids = session_ids[:searched]
    page: dict[str, list[Json]] = {session_id: [] for session_id in session_ids}
    found = connection.execute(
        f"SELECT * FROM requests INDEXED BY requests_by_session WHERE session_id {_AMONG}"  # noqa: S608
        f" AND {condition} ORDER BY created_at DESC, arrival DESC",
        [json.dumps([session_id for session_id in session_ids if session_id not in left_out]), *values],
    )
    rows = found.fetchall()
    if query.most_reply_bytes is not None:
        fitting = _fitting(connection, list(page), rows, query.most_reply_bytes)
        has_more = has_more or fitting < len(page)
        page = dict(list(page.items())[:fitting])
        rows = [row for row in rows if row["session_id"] in page]
    connection.create_function("image_digest", 1, _image_digest, deterministic=True)
    items = _with_interactions(connection, rows, _SHOWN)
    for item in items:
        page[item["request"]["session_id"]].append(item)
    counted: Json = {}
    if query.count:
        what = "DISTINCT session_id" if query.count == "sessions" else "*"
        count = f"SELECT COUNT({what}) FROM requests WHERE {condition}"  # noqa: S608
        counted["total"] = connection.execute(count, values).fetchone()[0]
    return {
        "success": True,
        "sessions": [
            {"session_id": session_id, "requests": requests, **left_out.get(session_id, {})}
            for session_id, requests in page.items()
        ],
        "has_more": has_more,
        **counted,
        "msg": f"Found {len(items)} request(s) in {len(page)} session(s)",
    }


def _fitting(
    connection: sqlite3.Connection, sessions: Sequence[str], requests: Sequence[sqlite3.Row], most: int
) -> int:
    """Return how many of the first sessions fit into a page, but at least two.

    The reader begins each page with the last session of the page before. With one session a page, it would get the same
    page again and again.
    """
    sizes = dict[int, int](
        connection.execute(
            f"SELECT request, sum({_SIZE}) FROM interactions WHERE request {_AMONG} GROUP BY request",  # noqa: S608
            [json.dumps([request["arrival"] for request in requests])],
        ).fetchall()
    )
    of_session = Counter[str]()
    for request in requests:
        of_session[request["session_id"]] += sizes.get(request["arrival"], 0)
    fitting = size = 0
    for session in sessions:
        size += of_session[session]
        if size > most:
            break
        fitting += 1
    return max(2, fitting)


def _sessions(connection: sqlite3.Connection, query: GetRequests) -> list[str]:
    """Return the ids of the sessions of a page, by their newest request that matches the query."""
    condition, values = _condition(query)
    offset = query.offset
    if query.resume_at:
        newer, newer_values = _condition(query, "newer")
        # Only the newest row of a session counts. Otherwise a session of an earlier page, which has older rows too,
        # would be on this page again.
        has_newer = (
            "SELECT 1 FROM requests AS newer INDEXED BY requests_by_session"  # noqa: S608
            " WHERE newer.session_id = requests.session_id AND newer.created_at > requests.created_at"
            f" AND {newer}"
        )
        condition += f" AND (created_at, session_id) <= (?, ?) AND NOT EXISTS ({has_newer})"
        values += [*query.resume_at, *newer_values]
        offset = 0
    # The index has this order, and DISTINCT keeps the row of a session that is met first: its newest. So the scan stops
    # after the last session of the page.
    found = connection.execute(
        f"SELECT DISTINCT session_id FROM requests WHERE {condition}"  # noqa: S608
        " ORDER BY created_at DESC, session_id DESC LIMIT ? OFFSET ?",
        [*values, query.top_k, offset],
    )
    return [session_id for (session_id,) in found]


class _WordSearch:
    """Whether words may be in the requests of a session: an aggregate function of SQLite."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._texts = set[str]()
        self._unreadable = False

    def step(self, *columns: Any) -> None:
        """Take the columns `_SEARCHED`. Those of the interaction are NULL if the request has no interactions."""
        tools_used, retrieved_learnings, *texts = columns
        self._texts.update(filter(None, texts))
        for written in (tools_used, retrieved_learnings):
            if written and written != "[]":
                try:
                    self._texts.update(tool_texts(json.loads(written)))
                except (ValueError, RecursionError):
                    self._unreadable = True  # so the session is not left out, and reading it reports this

    def finalize(self) -> bool:
        return self._unreadable or self._words.may_be_in(self._texts)


def _image_digest(image: str) -> str:
    return hashlib.blake2b(image.encode(), digest_size=16).hexdigest() if image else ""


def _names_a_test(*names: str) -> bool:
    return any(map(says_test, names))


def _search(
    connection: sqlite3.Connection, sessions: Sequence[str], query: GetRequests, search: models.Search
) -> tuple[int, dict[str, Json]]:
    """Look for sessions where a request may match.

    Returns:
        How many of the first sessions were looked at, at least two. Then, for each of these in which no request can
        match: the fields `left_out` and `newest` of its `SessionGroup`, by the session's id.
    """
    connection.create_aggregate("may_have_words", -1, partial(_WordSearch, words_of(search.contains)))
    connection.create_function("names_a_test", 4, _names_a_test, deterministic=True)
    conditions: dict[str, list[str | bool]] = {}  # SQL about a session, with its parameters
    if search.agent_version:
        conditions["max(agent_version = ?)"] = [search.agent_version]
    if search.evaluation_only is not None:
        conditions["max(evaluation_only = ?)"] = [search.evaluation_only]
    if search.test_traffic:
        conditions["max(names_a_test(source, session_id, agent_version, user_id))"] = []
    joined, size = "", "0"
    if search.contains:
        conditions[f"may_have_words({_SEARCHED})"] = []
        joined, size = "LEFT JOIN interactions ON request = arrival", f"total({_SIZE})"
    condition, values = _condition(query)
    select = (
        "SELECT session_id, count(DISTINCT arrival) AS left_out, max(requests.created_at) AS newest,"  # noqa: S608
        f" {size} AS size, {' AND '.join(conditions) or '1'} AS may_match"
        f" FROM requests INDEXED BY requests_by_session {joined}"
        f" WHERE session_id {_AMONG} AND {condition} GROUP BY session_id"
    )
    given = [parameter for parameters in conditions.values() for parameter in parameters]
    most = sys.maxsize if query.most_reply_bytes is None else query.most_reply_bytes
    left_out: dict[str, Json] = {}
    looked_at = looked_at_bytes = found = found_bytes = 0
    at_once = SESSIONS_AT_FIRST
    while looked_at < len(sessions) and looked_at_bytes < SEARCHED_BYTES:
        if found >= SESSIONS_FOUND or found_bytes >= most:
            break
        some = sessions[looked_at : looked_at + at_once]
        bytes_before = looked_at_bytes
        for row in connection.execute(select, [*given, json.dumps(some), *values]):
            looked_at_bytes += row["size"]
            if row["may_match"]:
                found += 1
                found_bytes += row["size"]
            else:
                left_out[row["session_id"]] = {"left_out": row["left_out"], "newest": row["newest"]}
        looked_at += len(some)
        bytes_each = (looked_at_bytes - bytes_before) / len(some)
        fitting = int(AT_ONCE_BYTES / max(1, bytes_each))
        at_once = max(2, min(at_once * 4, SESSIONS_AT_ONCE, fitting))
    return looked_at, left_out


def _condition(query: GetRequests, table: str = "requests") -> tuple[str, list[str | int]]:
    # In the API, an empty id does not filter, and an empty source selects requests without a source.
    terms: dict[str, str | int | None] = {
        "user_id = ?": query.user_id or None,
        "request_id = ?": query.request_id or None,
        "session_id = ?": query.session_id or None,
        "source = ?": query.source,
        "created_at >= ?": _epoch(query.start_time),
        "created_at <= ?": _epoch(query.end_time),
    }
    given = {term: value for term, value in terms.items() if value is not None}
    return " AND ".join(f"{table}.{term}" for term in given) or "1", list(given.values())


def _epoch(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


@_route("POST", "/embedded/read_whole", RequestIds)
def read_whole(connection: sqlite3.Connection, body: RequestIds, now: int) -> Json:
    found: list[Json] = []
    size = looked_up = 0
    for request_id in body.request_ids:
        rows = connection.execute("SELECT * FROM requests WHERE request_id = ?", [request_id]).fetchall()
        for item in _with_interactions(connection, rows, _READ_WHOLE):
            item["request"]["whole"] = True
            size += len(json.dumps(item))
            if found and size > WHOLE_BYTES:
                return {"success": True, "requests": found, "looked_up": looked_up}
            found.append(item)
        looked_up += 1
    return {"success": True, "requests": found, "looked_up": looked_up}


def _with_interactions(
    connection: sqlite3.Connection, requests: Sequence[sqlite3.Row], columns: str
) -> list[Json]:
    interactions: dict[int, list[Json]] = defaultdict(list)
    rows = connection.execute(
        f"SELECT {columns} FROM interactions WHERE request {_AMONG} ORDER BY created_at, interaction_id",  # noqa: S608
        [json.dumps([request["arrival"] for request in requests])],
    )
    for row in rows:
        interaction = dict(row)
        interaction.update(
            {name: json.loads(interaction[name] or "null") for name in _JSON_COLUMNS if name in interaction}
        )
        if not interaction.get("image_digest"):  # the API has no such field
            interaction.pop("image_digest", None)
        interactions[interaction.pop("request")].append(interaction)
    items: list[Json] = []
    for row in requests:
        request = dict(row) | {"evaluation_only": bool(row["evaluation_only"])}
        whose = {"user_id": request["user_id"], "request_id": request["request_id"]}
        items.append(
            {
                "request": request,
                "interactions": [interaction | whose for interaction in interactions[row["arrival"]]],
            }
        )
    return items


@_route("DELETE", "/api/delete_request", RequestId, "deletes")
def delete_request(connection: sqlite3.Connection, body: RequestId, now: int) -> Json:
    _delete_requests(connection, "request_id = ?", body.request_id)
    return {"success": True, "message": "Deleted successfully"}


@_route("DELETE", "/api/delete_requests_by_ids", RequestIds, "deletes")
def delete_requests_by_ids(connection: sqlite3.Connection, body: RequestIds, now: int) -> Json:
    return _deleted(_delete_requests(connection, f"request_id {_AMONG}", json.dumps(body.request_ids)))


@_route("DELETE", "/api/delete_interaction", OneInteraction, "deletes")
def delete_interaction(connection: sqlite3.Connection, body: OneInteraction, now: int) -> Json:
    connection.execute(
        "DELETE FROM interactions WHERE interaction_id = ?"
        " AND EXISTS (SELECT 1 FROM requests WHERE arrival = request AND user_id = ?)",
        [body.interaction_id, body.user_id],
    )
    return {"success": True, "message": "Deleted successfully"}


@_route("POST", "/api/clear_user_data", User, "deletes")
def clear_user_data(connection: sqlite3.Connection, body: User, now: int) -> Json:
    (interactions,) = connection.execute(
        "SELECT COUNT(*) FROM interactions JOIN requests ON arrival = request WHERE user_id = ?",
        [body.user_id],
    ).fetchone()
    requests = _delete_requests(connection, "user_id = ?", body.user_id)
    return {"success": True, "deleted_counts": {"requests": requests, "interactions": interactions}}


def _delete_requests(connection: sqlite3.Connection, condition: str, value: str) -> int:
    return connection.execute(f"DELETE FROM requests WHERE {condition}", [value]).rowcount  # noqa: S608


def _deleted(count: int) -> Json:
    return {"success": True, "deleted_count": count, "message": f"Deleted {count} item(s)"}


@_route("GET", "/health")
def health(connection: sqlite3.Connection, body: Body, now: int) -> Json:
    # Reading shows whether the file is damaged.
    connection.execute("SELECT 1 FROM requests LIMIT 1").fetchall()
    return {"status": "healthy"}


def _always(body: Json) -> Answer:
    def answer(connection: sqlite3.Connection, asked: Body, now: int) -> Json:
        return body

    return answer


@_route("GET", "/api/whoami")
def whoami(connection: sqlite3.Connection, body: Body, now: int) -> Json:
    store_id, had_none = connection.execute("SELECT id, had_none FROM identity").fetchone()
    about = {"store_id": store_id, "store_had_no_id": bool(had_none), "storage_configured": True}
    return {"success": True, "org_id": "embedded", **STORAGE, **about}


_route("GET", "/meta/version")(
    _always({"server_version": f"embedded-{__version__}", "api_version": "v1", "min_client_version": "0.1.0"})
)
for _method, _path, _name in (
    ("POST", "/api/get_profiles", "user_profiles"),
    ("GET", "/api/get_all_profiles", "user_profiles"),
    ("POST", "/api/get_user_playbooks", "user_playbooks"),
    ("POST", "/api/get_agent_playbooks", "agent_playbooks"),
    ("POST", "/api/get_session_outcomes", "session_outcomes"),
    ("POST", "/api/get_playbook_application_stats", "stats"),
    (
        "POST",
        "/api/get_retrieved_learning_evaluation_results",
        "results",
    ),
    ("GET", "/api/pending_tool_calls", "pending_tool_calls"),
):
    _route(_method, _path)(_always({"success": True, _name: []}))
for _path in (
    "/api/delete_profiles_by_ids",
    "/api/delete_user_playbooks_by_ids",
    "/api/delete_agent_playbooks_by_ids",
):
    _route("DELETE", _path)(_always(_deleted(0)))
