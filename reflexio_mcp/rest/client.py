"""The one HTTP client: auth, user agent, timeouts, retries and size guards stand here and nowhere else."""

from types import TracebackType
from typing import Any, Self

from reflexio_mcp.rest.models import (
    DeleteReply,
    HealthReply,
    LearningStatus,
    PublishBody,
    PublishReply,
    RequestPage,
    RequestQuery,
    UserPlaybook,
    UserProfile,
    VersionReply,
    WhoAmI,
)


class ReflexioClient:
    """Async client over one connection pool.

    Args:
        base_url: where the API is, path prefix kept, trailing slash dropped.
        api_key: sent as a bearer token when given.
        user_agent: checked against the server's list when given.
        timeout: seconds one ordinary call may take, retries included.
        transport: an `httpx` transport instead of the network (the embedded store, or a test's faults).
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        user_agent: str | None = None,
        timeout: float = 30.0,
        transport: Any = None,
    ) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        raise NotImplementedError

    async def publish(
        self, body: PublishBody, *, minted: bool, wait: bool = False, timeout: float | None = None
    ) -> PublishReply:
        """Store one request. `minted` says that `request_id` was made here and not by the caller."""
        raise NotImplementedError

    async def get_requests(self, query: RequestQuery) -> RequestPage:
        raise NotImplementedError

    async def delete_request(self, request_id: str) -> DeleteReply:
        raise NotImplementedError

    async def delete_session(self, session_id: str) -> DeleteReply:
        raise NotImplementedError

    async def delete_requests_by_ids(self, request_ids: list[str]) -> DeleteReply:
        raise NotImplementedError

    async def learning_status(self, request_id: str) -> LearningStatus:
        raise NotImplementedError

    async def get_profiles(self, user_id: str, *, top_k: int) -> list[UserProfile]:
        raise NotImplementedError

    async def get_user_playbooks(
        self, user_id: str, *, request_id: str | None = None, limit: int
    ) -> list[UserPlaybook]:
        raise NotImplementedError

    async def delete_profiles(self, profile_ids: list[str]) -> DeleteReply:
        raise NotImplementedError

    async def delete_user_playbooks(self, user_playbook_ids: list[str]) -> DeleteReply:
        raise NotImplementedError

    async def whoami(self) -> WhoAmI:
        raise NotImplementedError

    async def health(self) -> HealthReply:
        raise NotImplementedError

    async def version(self) -> VersionReply:
        raise NotImplementedError
