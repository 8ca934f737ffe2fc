from typing import Annotated

from pydantic import Field

from reflexio_mcp.results.base import Row
from reflexio_mcp.results.deletion import Logged, PastDeletion
from reflexio_mcp.results.facts import Result

__all__ = ["Backend", "Limits", "Policy", "Status"]


class Backend(Row):
    """The backend, and whether it can be reached."""

    kind: str
    where: str = ""
    reachable: bool
    organization: str = ""
    storage: str = ""


class Policy(Row):
    read_only: Annotated[bool, Field(description="nothing can be stored or deleted here")] = False
    confirm: str = ""
    delete_cap: Annotated[
        int | None, Field(description="most items deleted an hour; left out if there is no cap")
    ] = None
    publish_secrets: str = ""
    recovery_days: Annotated[
        float, Field(description="how long a recovery copy is kept; left out if none is made")
    ] = 0
    masked: Annotated[bool, Field(description="stored content is hidden")] = False
    shared_state: str = ""
    holds: Annotated[list[str], Field(description="what nobody may delete, and why")] = []
    expires: Annotated[list[str], Field(description="what the finding `expired` selects")] = []
    policy_problem: str = ""


class Limits(Row):
    """Limits of one call."""

    call_seconds: float
    publish_wait_seconds: float
    interactions_per_publish: int
    ids_per_deletion: int


class Status(Result):
    """The backend, the operator's policy, limits and the last deletions."""

    version: str
    backend: Backend
    scope: Annotated[str, Field(description="the user whose memory this is, or `every user`")]
    policy: Policy
    limits: Limits
    deletions: Annotated[list[PastDeletion], Field(description="the last deletions")] = []
    logged: Annotated[list[Logged], Field(description="the last exports and refusals")] = []
