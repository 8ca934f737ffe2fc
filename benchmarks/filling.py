"""Stores of a known size, filled in the file itself: publishing so much would take minutes."""

import time
from pathlib import Path

from reflexio_mcp.embedded_store.database import Database
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import RequestQuery

REQUESTS_A_SESSION = 5
USERS = 7


async def read_all(client: ReflexioClient) -> int:
    """Read every row with the bare client, and return how many requests there are."""
    seen = offset = 0
    while True:
        page = await client.get_requests(RequestQuery(top_k=101, offset=offset))
        seen += sum(len(group.requests) for group in page.sessions)
        offset += len(page.sessions)
        if not page.has_more:
            return seen


def fill(path: Path, requests: int) -> None:
    """Make a store of `requests`, one every 30 seconds up to now, two interactions each.

    They stand in sessions of five, each session by one of seven users.
    """
    database = Database(str(path))
    with database.writing() as connection:
        connection.execute(
            """
            WITH RECURSIVE counter (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM counter WHERE i + 1 < ?)
            INSERT INTO requests
                (request_id, session_id, user_id, created_at, source, agent_version, evaluation_only)
            SELECT 'request-' || i, 'session-' || (i / ?), 'user-' || (i / ? % ?), ? - 30 * (? - i),
                'benchmark', 'agent-' || (i % 3), 0
            FROM counter
            """,
            (requests, REQUESTS_A_SESSION, REQUESTS_A_SESSION, USERS, int(time.time()), requests),
        )
        for role, content in (
            ("User", "Please remember that I prefer short answers in the morning."),
            ("Assistant", "Noted."),
        ):
            connection.execute(
                """
                INSERT INTO interactions (request, created_at, role, content, user_action,
                    user_action_description, interacted_image_url, shadow_content, expert_content,
                    tools_used, retrieved_learnings, citations, image_encoding)
                SELECT arrival, created_at, ?, ?, 'none', '', '', '', '', '[]', '[]', '[]', '' FROM requests
                """,
                (role, content),
            )
    database.close()
