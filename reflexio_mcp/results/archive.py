"""The result of an export."""

from reflexio_mcp.results.base import Moment, Result, Row
from reflexio_mcp.results.reading import Gap

__all__ = ["Exported", "Manifest"]


class Manifest(Row):
    """What an archive contains, or would contain: its file `manifest.json`."""

    made_at: Moment
    backend: str
    filter: str
    secrets: str
    counts: dict[str, int]
    period: list[Moment] = []
    sha256: dict[str, str] = {}
    unreadable: list[Gap] = []
    left_out: list[str] = []


class Exported(Result):
    """The plan of an export, or where its archive is."""

    archive: Manifest
    file: str = ""
    link: str = ""
    next: str = ""
