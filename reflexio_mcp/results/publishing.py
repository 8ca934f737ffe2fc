"""What came of storing traffic."""

from typing import Annotated, Literal

from pydantic import Field

from reflexio_mcp.results.base import Result
from reflexio_mcp.results.reading import Learning

__all__ = ["Finished", "Stored"]


class Stored(Result):
    """One request was stored."""

    status: Literal["stored", "already_stored"]
    request_id: str
    session_id: str
    user_id: str
    interactions: int
    agent_version: str
    read_back: Annotated[bool, Field(description="it was seen in the store after the call")] = False
    learning: Learning | None = None
    profiles_added: int | None = None
    playbooks_added: int | None = None
    secrets: Annotated[list[str], Field(description="kinds of secrets that were found")] = []
    secrets_replaced: bool = False
    unusual_roles: list[str] = []
    warnings: Annotated[list[str], Field(description="of the service")] = []


class Finished(Result):
    """A session has had its last request."""

    user_id: str
    session_id: str
