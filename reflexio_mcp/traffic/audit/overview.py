"""What a period holds, in numbers."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions

__all__ = ["DAY", "Overview", "Tally"]

DAY: Final = 86_400

NAMES_KEPT: Final = 20_000
"""Distinct names a tally tells apart; past them it counts the rest together."""


class Tally:
    """Counts by name in bounded memory."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.beyond = 0
        """How many were counted without their name."""

    def add(self, name: str) -> None:
        if name in self.counts or len(self.counts) < NAMES_KEPT:
            self.counts[name] += 1
        else:
            self.beyond += 1

    @property
    def distinct(self) -> int:
        """Names seen; a lower bound once `beyond` is not 0."""
        return len(self.counts)


@dataclass
class Overview:
    """Counts of a period. `days` maps the day's number since 1970 to its requests.

    `learning_checked` requests were asked about; `learning_pending` and `learning_failed` are those of them.
    """

    requests: int = 0
    interactions: int = 0
    sessions: int = 0
    evaluation_only: int = 0
    first: int = 0
    last: int = 0
    days: Counter[int] = field(default_factory=Counter[int])
    sources: Tally = field(default_factory=Tally)
    agent_versions: Tally = field(default_factory=Tally)
    users: Tally = field(default_factory=Tally)
    long_texts: int = 0
    learning_checked: int = 0
    learning_pending: int = 0
    learning_failed: int = 0
    learning_tracked: bool = True

    def add(self, item: RequestWithInteractions) -> None:
        request = item.request
        self.first = min(self.first, request.created_at) if self.requests else request.created_at
        self.last = max(self.last, request.created_at)
        self.requests += 1
        self.interactions += len(item.interactions)
        self.evaluation_only += request.evaluation_only
        self.days[request.created_at // DAY] += 1
        self.sources.add(request.source)
        self.agent_versions.add(request.agent_version)
        self.users.add(request.user_id)
