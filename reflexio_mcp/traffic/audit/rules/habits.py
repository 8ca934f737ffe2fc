"""Rules about names and counts, from Reflexio's guide, and about the age that the policy sets."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from reflexio_mcp.matching.names import says_test, words_in
from reflexio_mcp.rest.api_limits import DEFAULT_AGENT_VERSION
from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest
from reflexio_mcp.results.facts import FactCode
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session
from reflexio_mcp.traffic.policy import current_policy, time_for_expiry

DAY: Final = 86_400

_TEMPORARY: Final = frozenset(
    ["tmp", "temp", "temporary", "scratch", "scratchpad", "throwaway", "ephemeral", "disposable"]
)

_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<!\d)20\d\d[-_.]?[01]\d[-_.]?[0-3]\d(?!\d)"
    r"|(?<![0-9a-z])(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,40}(?![0-9a-z])|(?<!\d)\d{6,}(?!\d)"
    r"|(?<![a-z])(?:build|run|job|pr|session|chat|user|request)[-_.:]\d{3,}"
)
"""Parts that are unique: a uuid, a date, a hash, a long number."""
_MODEL_OR_RELEASE = re.compile(r"gpt|claude|gemini|llama|mistral|sonnet|opus|haiku|release|\bv\d")


MANY_REQUESTS: Final = 50

SPLIT_SESSIONS: Final = 6
SPLIT_SECONDS: Final = 600
RUNS_KEPT: Final = 5_000
_GOES_ON = re.compile(
    r"(?i)\s*(?:and|but|or|so|then|also|ok(?:ay)?|yes|yeah|no|sure|thanks|thank you|great|good|what about|how about|it|that|those"
    r"|they|which one|the (?:first|second|last|other|same)|more|another|again|und|aber|ja|nein|danke|et|oui|non|merci|y|sí|gracias"
    r"|да|нет)\b|好|是|不|对|那|はい|いいえ|네"
)


class TestTraffic(Rule):
    """Requests with test, demo or staging in their source, session, user or version."""

    name = "test-traffic"
    severity = "medium"
    limit = FactCode.KNOWS_NAMES
    why = "A source, session, user or version says test, demo, staging or development. Where Reflexio learns, it takes it for real."
    advice = "Publish tests for evaluation only."
    offers = "delete"

    def look(self, session: Session) -> Iterator[Finding]:
        for item in session.requests:
            request = item.request
            named = {
                "source": request.source,
                "session id": request.session_id,
                "agent version": request.agent_version,
            }
            # A user `test.engineer@corp.example` is a person.
            named["user id"] = "" if "@" in request.user_id else request.user_id
            if not request.evaluation_only:
                kind = next((field for field, name in named.items() if says_test(name)), "")
                if kind:
                    yield Finding(self.name, request, f"test word in the {kind}")


class TemporarySession(Rule):
    """Sessions with a temporary id whose last request is older than a day."""

    name = "temporary-session"
    severity = "low"
    limit = FactCode.KNOWS_NAMES
    why = "Assistants still recall a session that was meant to be temporary."
    advice = "Delete a scratch session when it is over, or publish it for evaluation only."
    offers = "delete"
    needs_newest = True

    def look(self, session: Session) -> Iterator[Finding]:
        newest = session.requests[0].request.created_at
        first = "".join(words_in(session.session_id)[:1])
        if newest <= self.now - DAY and first.rstrip("0123456789") in _TEMPORARY:
            for item in session.requests:
                yield Finding(self.name, item.request)


class SharedSession(Rule):
    """Sessions with requests of several users."""

    name = "shared-session"
    severity = "medium"
    limit = FactCode.KNOWS_NAMES
    why = "Learning treats a session as one person's, and deleting the session deletes the requests of all its users."
    advice = "Give every user a session id of their own."

    def look(self, session: Session) -> Iterator[Finding]:
        users = {item.request.user_id for item in session.requests}
        if len(users) > 1:
            for item in session.requests:
                yield Finding(self.name, item.request, f"{len(users):,} users in one session")


class UnclearMetadata(Rule):
    """Requests without a source or with an id or a time in the source, and one version for all requests."""

    name = "unclear-metadata"
    severity = "low"
    limit = FactCode.KNOWS_NAMES
    why = "Nobody can filter, compare or clean up by an unclear source or version."
    advice = "Send one constant source for an integration and the released version of the agent; ids belong in the session's id."

    def __init__(self, now: float | None = None) -> None:
        super().__init__(now)
        self._versions = set[str]()
        self._requests = 0
        self._newest: StoredRequest | None = None
        self._oldest_at = 0

    def look(self, session: Session) -> Iterator[Finding]:
        for item in session.requests:
            request = item.request
            self._requests += 1
            if len(self._versions) < 2:  # it only matters whether there is more than one
                self._versions.add(request.agent_version)
            if self._newest is None:
                self._newest, self._oldest_at = request, request.created_at
            self._oldest_at = min(self._oldest_at, request.created_at)
            if not request.source:
                yield Finding(self.name, request, "no source")
            elif _VARIABLE.search(request.source) and not _MODEL_OR_RELEASE.search(request.source):
                yield Finding(self.name, request, "an id or a time in the source")

    def finish(self) -> Iterator[Finding]:
        if self._newest and self._requests >= MANY_REQUESTS and len(self._versions) == 1:
            (version,) = self._versions
            if version == DEFAULT_AGENT_VERSION or self._newest.created_at - self._oldest_at > 30 * DAY:
                yield Finding(
                    self.name,
                    self._newest,
                    f"one agent version for all {self._requests:,} requests",
                    from_one_session=False,
                )


class _OnlyRequest(NamedTuple):
    request: StoredRequest
    goes_on: bool


class SplitConversation(Rule):
    """Six requests of a user in a row, each the only one of its session, that continue each other."""

    name = "split-conversation"
    severity = "medium"
    limit = FactCode.KNOWS_ORDER
    why = "Learning sees single requests without their context and learns little from them."
    advice = "Keep one session for the whole conversation."
    selects = False

    def __init__(self, now: float | None = None) -> None:
        super().__init__(now)
        self._runs: dict[tuple[str, str, str], list[_OnlyRequest]] = {}

    def look(self, session: Session) -> Iterator[Finding]:
        item = session.requests[0]
        request = item.request
        key = (request.user_id, request.source, request.agent_version)
        run = self._runs.pop(key, [])  # put back behind the others: the first key waits longest
        is_only_request = len(session.requests) == 1 and len(item.interactions) <= 2
        # Sessions come newest first, so the last of the run was stored after this one.
        pause = run[-1].request.created_at - request.created_at if run else 0
        if not is_only_request or pause > SPLIT_SECONDS:
            yield from self._findings(run)
            run = []
        if is_only_request:
            run.append(_OnlyRequest(request, _goes_on(item)))
            self._runs[key] = run
        if len(self._runs) > RUNS_KEPT:
            longest_waiting = next(iter(self._runs))
            yield from self._findings(self._runs.pop(longest_waiting))

    def finish(self) -> Iterator[Finding]:
        for run in self._runs.values():
            yield from self._findings(run)
        self._runs.clear()

    def _findings(self, run: Sequence[_OnlyRequest]) -> Iterator[Finding]:
        going_on = sum(only.goes_on for only in run)
        if len(run) >= SPLIT_SESSIONS and going_on >= len(run) / 2:
            for only in run:
                yield Finding(self.name, only.request, from_one_session=False)


def _goes_on(item: RequestWithInteractions) -> bool:
    return bool(item.interactions) and _GOES_ON.match(item.interactions[0].content) is not None


class Expired(Rule):
    """Requests that the operator's policy lets expire."""

    name = "expired"
    severity = "medium"
    limit = FactCode.KNOWS_EXPIRED
    why = "The operator's policy says that these requests must be deleted."
    advice = "The operator can let a timer delete what has expired."
    offers = "delete"

    @classmethod
    def applies(cls) -> bool:
        return bool(current_policy().expire)

    def look(self, session: Session) -> Iterator[Finding]:
        policy, now = current_policy(), time_for_expiry()
        for item in session.requests:
            if expiry := policy.expired(item.request, now):
                yield Finding(self.name, item.request, expiry.describe())
