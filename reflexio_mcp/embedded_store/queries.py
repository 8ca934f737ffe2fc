"""The queries, as plain functions over a connection of `Database`."""

import json
import operator
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from reflexio_mcp.embedded_store.bodies import GetRequests, Interaction, Publish
from reflexio_mcp.embedded_store.database import Connection
from reflexio_mcp.embedded_store.pages import DEFAULT_PAGE, Filter, page_of
from reflexio_mcp.rest.api_limits import DEFAULT_AGENT_VERSION
from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest

MAX_VARIABLES: Final = 500
"""Values bound in one statement; older SQLite builds take 999 at most."""

MAX_COUNTED: Final = 1_000
"""Requests that are counted for a list: a short read has a millisecond, and their sessions take up to a third of it."""

_REQUEST_COLUMNS = (
    "arrival, request_id, user_id, created_at, source, agent_version, session_id, evaluation_only"
)
_INTERACTION_COLUMNS = (
    "request, interaction_id, created_at, role, content, user_action, user_action_description,"
    " interacted_image_url, shadow_content, expert_content, tools_used, retrieved_learnings"
)
_TEXTS: Final = (
    "role", "content", "user_action", "user_action_description", "interacted_image_url", "shadow_content",
    "expert_content", "image_encoding",
)  # fmt: skip
_LISTS: Final = ("tools_used", "retrieved_learnings", "citations")

ARRIVAL: Final = 0
SESSION_ID: Final = 6

Json = dict[str, Any]
RequestRow = tuple[int, str, str, int, str, str, str, int]
T = TypeVar("T")


def store(connection: sqlite3.Connection, publish: Publish, request_id: str, arrived: int) -> bool:
    """Add one request with its interactions. False, and nothing added, when the id is taken."""
    version = publish.agent_version or DEFAULT_AGENT_VERSION
    arrival = _add_request(connection, publish, request_id, arrived, version)
    if arrival is None:
        return False
    turns = publish.interaction_data_list
    _add_turns(connection, [(None, arrival, one.epoch_second(arrived)) for one in turns], turns)
    return True


def put_back(connection: sqlite3.Connection, item: RequestWithInteractions) -> bool:
    """Add a request that was read whole, as it was. False, and nothing added, when the id is taken.

    Its interactions have the ids they had, where nothing has one of them now. Its `arrival` is another: who agreed to
    delete it before did not agree to delete it again.
    """
    request, turns = item.request, item.interactions
    arrival = _add_request(connection, request, request.request_id, request.created_at, request.agent_version)
    if arrival is None:
        return False
    keep = _are_free(connection, [one.interaction_id for one in turns])
    rows = [(one.interaction_id if keep else None, arrival, one.created_at) for one in turns]
    _add_turns(connection, rows, turns)
    return True


def _add_request(
    connection: sqlite3.Connection,
    of: Publish | StoredRequest,
    request_id: str,
    created_at: int,
    version: str,
) -> int | None:
    """Add a request without its interactions; its arrival, or `None`, and nothing added, where the id is taken."""
    added = connection.execute(
        "INSERT INTO requests (request_id, session_id, user_id, created_at, source, agent_version,"
        " evaluation_only) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (request_id) DO NOTHING",
        (request_id, of.session_id, of.user_id, created_at, of.source, version, of.evaluation_only),
    )
    return added.lastrowid if added.rowcount else None


def _add_turns(
    connection: sqlite3.Connection,
    places: Sequence[tuple[int | None, int, int]],
    turns: Sequence[Interaction] | Sequence[StoredInteraction],
) -> None:
    """Add interactions, each with its own id or a new one, its request's arrival and its time."""
    columns = ("interaction_id", "request", "created_at", *_TEXTS, *_LISTS)
    texts, lists = operator.attrgetter(*_TEXTS), operator.attrgetter(*_LISTS)
    connection.executemany(
        f"INSERT INTO interactions ({', '.join(columns)}) VALUES ({_marks(columns)})",  # noqa: S608
        [
            (*place, *texts(one), *map(_json_list, lists(one)))
            for place, one in zip(places, turns, strict=True)
        ],
    )


def _are_free(connection: sqlite3.Connection, ids: Sequence[int]) -> bool:
    """Whether this file once gave these ids, each of them once, and no interaction has one of them now.

    An id beyond those would move all that come after it.
    """
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'interactions'").fetchone()
    if last is None or len(set(ids)) < len(ids) or not all(0 < one <= last[0] for one in ids):
        return False
    return not any(
        connection.execute(
            f"SELECT 1 FROM interactions WHERE interaction_id IN ({_marks(some)}) LIMIT 1",  # noqa: S608
            some,
        ).fetchone()
        for some in _portions(ids)
    )


def is_evaluation_only(connection: sqlite3.Connection, request_id: str) -> bool | None:
    """Whether the request is for evaluation only; `None` when there is no such request."""
    row = connection.execute(
        "SELECT evaluation_only FROM requests WHERE request_id = ?", (request_id,)
    ).fetchone()
    return None if row is None else bool(row[0])


def sessions(connection: Connection, query: GetRequests) -> Iterator[tuple[str, list[Json]]]:
    """One page of sessions in the API's order, each with its matching requests, newest first.

    A large session comes in several parts, one after the other, so that it is never in memory as a whole.
    """
    found = Filter.of(query)
    page = page_of(connection, found, query)
    groups: dict[str, list[RequestRow]] = {session_id: [] for session_id in page}
    for row in _requests(connection, found, page):
        groups[row[SESSION_ID]].append(row)
    for some in _whole_groups(groups):
        interactions = _interactions(connection, [row[ARRIVAL] for _, rows in some for row in rows])
        for session_id, rows in some:
            yield session_id, [_with_interactions(row, interactions.get(row[ARRIVAL], [])) for row in rows]


def whole(connection: sqlite3.Connection, request_ids: Sequence[str]) -> Iterator[Json | None]:
    """Each of these requests with all that is stored of it; `None` for one that is not stored."""
    for request_id in request_ids:
        row: RequestRow | None = connection.execute(
            f"SELECT {_REQUEST_COLUMNS} FROM requests WHERE request_id = ?",  # noqa: S608
            (request_id,),
        ).fetchone()
        if row is None:
            yield None
            continue
        arrival = row[ARRIVAL]
        item = _with_interactions(row, _interactions(connection, [arrival], whole=True).get(arrival, []))
        item["request"]["whole"] = True
        yield item


def total(connection: Connection, query: GetRequests) -> int | None:
    """How many sessions or requests match in all, as the query asks.

    `None` where the page is all there is, and where more than `MAX_COUNTED` requests match: a count would take longer
    the more is stored.
    """
    found = Filter.of(query)
    if len(page_of(connection, found, query)) < (query.top_k or DEFAULT_PAGE):
        return None
    matching = (
        f"SELECT session_id FROM requests {found.index} WHERE {found.condition} LIMIT {MAX_COUNTED + 1}"  # noqa: S608
    )
    [number] = connection.execute(f"SELECT COUNT(*) FROM ({matching})", found.values).fetchone()  # noqa: S608
    if number > MAX_COUNTED:
        return None
    if query.count == "sessions":
        [number] = connection.execute(
            f"SELECT COUNT(DISTINCT session_id) FROM ({matching})",  # noqa: S608
            found.values,
        ).fetchone()
    return number


def _whole_groups(groups: dict[str, list[RequestRow]]) -> Iterator[list[tuple[str, list[RequestRow]]]]:
    """Sessions in portions of at most `MAX_VARIABLES` requests; a session that is larger is cut."""
    portion: list[tuple[str, list[RequestRow]]] = []
    size = 0
    for session_id, rows in groups.items():
        for some in _portions(rows):
            if size + len(some) > MAX_VARIABLES:
                yield portion
                portion, size = [], 0
            portion.append((session_id, list(some)))
            size += len(some)
    if portion:
        yield portion


def _requests(connection: sqlite3.Connection, found: Filter, page: list[str]) -> Iterator[RequestRow]:
    """All matching requests of these sessions, newest first inside each."""
    index = "INDEXED BY requests_by_session" if found.index else ""
    for some in _portions(page):
        yield from connection.execute(
            f"SELECT {_REQUEST_COLUMNS} FROM requests {index} WHERE session_id IN ({_marks(some)})"  # noqa: S608
            f" AND {found.condition} ORDER BY created_at DESC, arrival DESC",
            (*some, *found.values),
        )


def _with_interactions(row: RequestRow, turns: list[Json]) -> Json:
    arrival, request_id, user_id, created_at, source, agent_version, session_id, evaluation_only = row
    for turn in turns:
        turn["user_id"] = user_id
        turn["request_id"] = request_id
    request = {
        "request_id": request_id,
        "user_id": user_id,
        "created_at": created_at,
        "source": source,
        "agent_version": agent_version,
        "session_id": session_id,
        "evaluation_only": bool(evaluation_only),
        "arrival": arrival,  # this store's own field
    }
    return {"request": request, "interactions": turns}


def _interactions(
    connection: sqlite3.Connection, arrivals: list[int], *, whole: bool = False
) -> dict[int, list[Json]]:
    """The interactions of these requests, oldest first inside each.

    Args:
        whole: with their citations and images, which the API does not give out.
    """
    columns = f"{_INTERACTION_COLUMNS}, citations, image_encoding" if whole else _INTERACTION_COLUMNS
    result: dict[int, list[Json]] = {}
    for some in _portions(arrivals):
        rows = connection.execute(
            f"SELECT {columns} FROM interactions WHERE request IN ({_marks(some)})",  # noqa: S608
            some,
        )
        for row in rows:
            result.setdefault(row[0], []).append(
                {
                    "interaction_id": row[1],
                    "user_id": "",
                    "request_id": "",
                    "created_at": row[2],
                    "role": row[3],
                    "content": row[4],
                    "user_action": row[5],
                    "user_action_description": row[6],
                    "interacted_image_url": row[7],
                    "shadow_content": row[8],
                    "expert_content": row[9],
                    "tools_used": json.loads(row[10]) if row[10] else [],
                    "retrieved_learnings": json.loads(row[11]) if row[11] else [],
                }
            )
            if whole:
                result[row[0]][-1]["citations"] = json.loads(row[12]) if row[12] else []
                result[row[0]][-1]["image_encoding"] = row[13]
    for turns in result.values():
        turns.sort(key=operator.itemgetter("created_at", "interaction_id"))
    return result


def delete_requests(connection: sqlite3.Connection, request_ids: Sequence[str]) -> int:
    """Delete these requests and their interactions. Unknown ids are passed over. Returns how many went."""
    return sum(
        connection.execute(
            f"DELETE FROM requests WHERE request_id IN ({_marks(some)})",  # noqa: S608
            some,
        ).rowcount
        for some in _portions(request_ids)
    )


def delete_session(connection: sqlite3.Connection, session_id: str) -> int:
    """Delete every user's requests in the session. Returns how many went."""
    return connection.execute("DELETE FROM requests WHERE session_id = ?", (session_id,)).rowcount


def clear_user(connection: sqlite3.Connection, user_id: str) -> dict[str, int]:
    """Delete all requests of a user. Returns how many rows of each kind went."""
    interactions = connection.execute(
        "SELECT COUNT(*) FROM interactions JOIN requests ON arrival = request WHERE user_id = ?", (user_id,)
    ).fetchone()[0]
    requests = connection.execute("DELETE FROM requests WHERE user_id = ?", (user_id,)).rowcount
    return {"requests": requests, "interactions": interactions}


def delete_interaction(connection: sqlite3.Connection, user_id: str, interaction_id: int) -> int:
    """Delete one interaction if it is this user's. Its request stays, even when it was the last one."""
    return connection.execute(
        "DELETE FROM interactions WHERE interaction_id = ?"
        " AND EXISTS (SELECT 1 FROM requests WHERE arrival = request AND user_id = ?)",
        (interaction_id, user_id),
    ).rowcount


def _json_list(items: Sequence[Any]) -> str:
    """JSON text for storage; nothing at all for an empty list, as most are."""
    if not items:
        return ""
    rows: list[Any] = [item if isinstance(item, dict) else item.model_dump() for item in items]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":"))


def _portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), MAX_VARIABLES):
        yield items[start : start + MAX_VARIABLES]


def _marks(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))
