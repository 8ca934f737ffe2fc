"""The whole circle with `--write`: publish, list, delete, and look again, in a session made for it."""

import secrets
import uuid

from reflexio_mcp.backend import open_client
from reflexio_mcp.doctor.api import problem
from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.report import Finding, failure, ok, skipped
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery

__all__ = ["check_writing"]


async def check_writing(case: Case) -> list[Finding]:
    """Publish one request that teaches nothing, find it, delete it, and see that it is gone."""
    if not case.write:
        return [skipped("not asked for (--write)")]
    body = PublishBody(
        user_id=case.settings.user_id or "reflexio-mcp-doctor",
        session_id=f"reflexio-mcp-doctor-{secrets.token_hex(6)}",
        request_id=str(uuid.uuid4()),
        interaction_data_list=[Interaction(content="Written by reflexio-mcp doctor and deleted at once.")],
        source="reflexio-mcp-doctor",
        evaluation_only=True,
    )
    async with open_client(case.settings) as client:
        try:
            await client.publish(body, minted=True)
        except ReflexioError as error:
            return [problem(case, error)]
        try:
            listed = await _is_there(client, body)
            await client.delete_request(body.request_id)
            left = await _is_there(client, body)
        except ReflexioError as error:
            found = problem(case, error)
            return [found, _left_behind(body)]
    if not listed:
        return [
            failure(
                "write-not-listed",
                "what was just stored is not listed",
                "The server takes requests and does not show them: its storage is behind, or is another one.",
                "Look at the server's storage.",
            )
        ]
    return [_left_behind(body)] if left else [ok("published, listed, deleted, and gone")]


async def _is_there(client: ReflexioClient, body: PublishBody) -> bool:
    page = await client.get_requests(RequestQuery(user_id=body.user_id, request_id=body.request_id))
    return any(session.requests for session in page.sessions)


def _left_behind(body: PublishBody) -> Finding:
    return failure(
        "write-not-deleted",
        f"the request {body.request_id} in the session {body.session_id} may still be there",
        "Deleting it did not work, or could not be seen to.",
        "Delete it by its id when the server works again.",
    )
