"""What came of storing traffic."""

from reflexio_mcp.results.base import Result

__all__ = ["Finished"]


class Finished(Result):
    """A session has had its last request."""

    user_id: str
    session_id: str
