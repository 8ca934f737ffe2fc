"""`learning-failed` and `learning-unfinished`: asked of the service, a request at a time."""

import random
from typing import Final

import anyio

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.audit.overview import Overview
from reflexio_mcp.traffic.reading.lookup import learning_status
from reflexio_mcp.traffic.rules.catalog import rule
from reflexio_mcp.traffic.rules.found import Example, Found, example
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["DOES_NOT_LEARN", "LEARNING_CHECKS", "LearningChecks"]

DOES_NOT_LEARN: Final = "this store does not learn"

LEARNING_CHECKS: Final = 60
"""The service answers 120 of these questions a minute for one client: an audit takes half of them."""

LEARNING_SECONDS: Final = 8.0
"""Time for all of them; a slow service is asked about fewer."""

LEARNING_OVERDUE_SECONDS: Final = 3600
"""Extraction takes seconds to minutes; after an hour it has failed."""

AT_ONCE: Final = 6

NOT_TRACKED: Final = 3
"""So many answers of `not_tracked` in a row say that the store does not learn."""


class LearningChecks:
    """An even sample of the period (reservoir sampling), asked about when the pass is over."""

    def __init__(self, now: int) -> None:
        self.founds = [Found(rule("learning-failed")), Found(rule("learning-unfinished"))]
        self.candidates = 0
        self._now = now
        self._sample: list[Example] = []
        self._random = random.Random(0)

    def request(self, item: RequestWithInteractions) -> None:
        if item.request.evaluation_only:
            return
        self.candidates += 1
        if len(self._sample) < LEARNING_CHECKS:
            self._sample.append(example(item))
        elif (place := self._random.randrange(self.candidates)) < LEARNING_CHECKS:
            self._sample[place] = example(item)

    async def ask(self, scope: Scope, overview: Overview) -> str:
        """Ask about the sample.

        Returns:
            Why the rules could not be applied, or not to all; empty when they were.
        """
        untracked = 0
        failure: ReflexioError | None = None

        async def check(one: Example) -> None:
            nonlocal untracked, failure
            if failure or (untracked >= NOT_TRACKED and untracked == overview.learning_checked):
                return
            try:
                status = await learning_status(scope, one.request_id)
            except ReflexioError as error:
                failure = error
                return
            if status is None:
                return
            overview.learning_checked += 1
            untracked += status.status == "not_tracked"
            self._judge(status.status, one, overview)

        with anyio.move_on_after(LEARNING_SECONDS):
            await for_each(sorted(self._sample, key=lambda one: -one.created_at), check, at_once=AT_ONCE)
        if overview.learning_checked and untracked == overview.learning_checked:
            overview.learning_tracked = False
            return DOES_NOT_LEARN
        if failure is not None and not overview.learning_checked:
            return "the service did not say how learning stands"
        if overview.learning_checked < self.candidates:
            return (
                f"the service was asked about {overview.learning_checked:,} of {self.candidates:,} requests"
            )
        return ""

    def _judge(self, status: str, one: Example, overview: Overview) -> None:
        failed, unfinished = self.founds
        if status == "failed":
            overview.learning_failed += 1
            failed.note_example(one)
        elif status in ("pending", "processing"):
            overview.learning_pending += 1
            if self._now - one.created_at > LEARNING_OVERDUE_SECONDS:
                unfinished.note_example(one)
