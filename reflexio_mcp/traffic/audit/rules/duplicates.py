"""Finds content that is stored again."""

import hashlib
import itertools
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session
from reflexio_mcp.traffic.content import order_of, pieces, texts_of

__all__ = ["Duplicate", "DuplicateRun"]

MINUTES_30: Final = 1800

LEAST_CHARS: Final = 15
"""A shorter request, such as `yes, go on`, is not a duplicate by itself."""

RUN: Final = 3
"""Number of repeated requests in a row that is no coincidence."""

POSITIONS_TRIED: Final = 8
"""Maximum number of earlier positions of the same content from which a run is compared."""

REQUESTS_KEPT: Final = 200_000
"""Maximum number of requests compared across sessions."""


KeptInstead: TypeAlias = dict[str, StoredRequest]
"""Maps the id of each duplicate to the request that is kept instead of it."""


class _Content(NamedTuple):
    digest: int
    chars: int


class _Position(NamedTuple):
    """The index of a session of a user, and of a request in it."""

    session: int
    request: int


@dataclass(frozen=True, slots=True)
class _Entry:
    """A request, with what is compared of it."""

    request: StoredRequest
    content: _Content
    arrival: tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class DuplicateRun:
    """Duplicates of one source without a pause of 30 minutes, such as an import that was made twice.

    Args:
        source: may be empty.
        requests: the duplicates, the oldest first.
        stay: the requests that they repeat.
        unmixed: a filter by source and time selects these requests alone, because nothing else of the source was stored
            in that time. If the source is empty, nothing else at all was stored in it.
    """

    source: str
    requests: Sequence[StoredRequest]
    stay: Sequence[StoredRequest]
    unmixed: bool


class Duplicate(Rule):
    """Finds three kinds of repetition by a user.

    - A session has the same content twice within 30 minutes.
    - A publish begins with all interactions of an earlier publish of its session.
    - A session of two requests, or a run of three requests, is stored again under any session id.

    Content means role, letters, digits, images, actions and tool data. The first copy stays, or the longest of growing
    publishes. An `evaluation_only` request never replaces a request that is learned from.
    """

    name = "duplicate"
    severity = "medium"
    limit = FactCode.KNOWS_DUPLICATES
    why = (
        "A duplicate has the same letters and digits of a user again, within 30 minutes or in a row: Reflexio learns "
        "from it twice."
    )
    advice = (
        "Repeat a failed publish under the same id, publish each interaction once, import a history once."
    )
    offers = "delete"

    def __init__(self, now: float | None = None) -> None:
        super().__init__(now)
        self._sessions: defaultdict[str, list[list[_Entry]]] = defaultdict(list)
        self._kept = 0
        self._repeats: list[tuple[StoredRequest, StoredRequest]] = []
        self.runs: list[DuplicateRun] = []
        """Set by `finish`."""

    def look(self, session: Session) -> Iterator[Finding]:
        for items in _by_user(session.requests):
            beginnings = [_beginnings(item) for item in items]
            entries = [
                _Entry(item.request, of_item[-1], order_of(item))
                for item, of_item in zip(items, beginnings, strict=True)
            ]
            # If several of these find a request, the last one decides which request is kept: the longest publish.
            kept_instead = {**_again([entries]), **_within_minutes(entries), **_grown(items, beginnings)}
            yield from self._findings([item.request for item in items], kept_instead, from_one_session=True)
            rest = [entry for entry in entries if entry.request.request_id not in kept_instead]
            if self._kept + len(rest) > REQUESTS_KEPT:
                self.left_out = Fact(code=FactCode.FEW_COMPARED, number=REQUESTS_KEPT)
            elif rest:
                self._kept += len(rest)
                self._sessions[rest[0].request.user_id].append(rest)

    def finish(self) -> Iterator[Finding]:
        stay_times: defaultdict[str, list[int]] = defaultdict(list)
        for sessions in self._sessions.values():
            kept_instead = _again(sessions)
            requests = [entry.request for entries in sessions for entry in entries]
            yield from self._findings(
                [item for item in requests if item.request_id in kept_instead],
                kept_instead,
                from_one_session=False,
            )
            for request in requests:
                if request.request_id not in kept_instead:
                    stay_times[request.source].append(request.created_at)
        self._sessions.clear()
        self.runs = _runs(self._repeats, stay_times)

    def _findings(
        self, requests: Sequence[StoredRequest], kept_instead: KeptInstead, *, from_one_session: bool
    ) -> Iterator[Finding]:
        for request in requests:
            stays = kept_instead.get(request.request_id)
            # The kept request may be a duplicate itself. The loop ends, because each step leads to a longer request, or
            # to an equal one that is learned from instead of evaluated, or else came earlier.
            while stays and stays.request_id in kept_instead:
                stays = kept_instead[stays.request_id]
            if stays:
                self._repeats.append((request, stays))
                yield Finding(self.name, request, repeats=stays.request_id, from_one_session=from_one_session)


def _runs(
    repeats: Sequence[tuple[StoredRequest, StoredRequest]], stay_times: Mapping[str, Sequence[int]]
) -> list[DuplicateRun]:
    """Return the runs, the longest first.

    Args:
        repeats: duplicates, each with the request that it repeats.
        stay_times: the times of all other requests, by source.
    """
    by_source: defaultdict[str, list[tuple[StoredRequest, StoredRequest]]] = defaultdict(list)
    for request, stays in repeats:
        by_source[request.source].append((request, stays))
    runs: list[DuplicateRun] = []
    for source, pairs in by_source.items():
        pairs.sort(key=lambda pair: pair[0].created_at)
        others = sorted(stay_times.get(source, ()) if source else _times_beside(by_source, stay_times))
        for run in _without_pause(pairs):
            requests = [request for request, _ in run]
            first, last = requests[0].created_at, requests[-1].created_at
            unmixed = bisect_left(others, first) == bisect_right(others, last)
            runs.append(DuplicateRun(source, requests, [stays for _, stays in run], unmixed))
    return sorted((run for run in runs if len(run.requests) >= RUN), key=lambda run: -len(run.requests))


def _times_beside(
    by_source: Mapping[str, Sequence[tuple[StoredRequest, StoredRequest]]],
    stay_times: Mapping[str, Sequence[int]],
) -> Iterator[int]:
    """Yield the times of everything but the duplicates without a source.

    A filter cannot ask for an empty source: without a source, it selects every request of its time.
    """
    yield from itertools.chain.from_iterable(stay_times.values())
    for source, pairs in by_source.items():
        if source:
            yield from (request.created_at for request, _ in pairs)


def _without_pause(
    pairs: Sequence[tuple[StoredRequest, StoredRequest]],
) -> Iterator[list[tuple[StoredRequest, StoredRequest]]]:
    run: list[tuple[StoredRequest, StoredRequest]] = []
    for pair in pairs:
        if run and pair[0].created_at - run[-1][0].created_at > MINUTES_30:
            yield run
            run = []
        run.append(pair)
    if run:
        yield run


def _by_user(requests: Sequence[RequestWithInteractions]) -> Iterator[list[RequestWithInteractions]]:
    """Yield the requests of each user of a session, the oldest first."""
    users: defaultdict[str, list[RequestWithInteractions]] = defaultdict(list)
    for item in reversed(requests):
        users[item.request.user_id].append(item)
    yield from users.values()


def _within_minutes(entries: Sequence[_Entry]) -> KeptInstead:
    """Find the same content of a user in a session within 30 minutes."""
    kept_instead: KeptInstead = {}
    kept: dict[int, StoredRequest] = {}
    for entry in entries:
        request, content = entry.request, entry.content
        if content.chars < LEAST_CHARS:
            continue
        first = kept.get(content.digest)
        if first is None or request.created_at - first.created_at > MINUTES_30:
            kept[content.digest] = request
        elif first.evaluation_only and not request.evaluation_only:
            kept_instead[first.request_id] = request
            kept[content.digest] = request
        else:
            kept_instead[request.request_id] = first
    return kept_instead


def _grown(items: Sequence[RequestWithInteractions], beginnings: Sequence[Sequence[_Content]]) -> KeptInstead:
    """Find requests whose interactions are all repeated at the beginning of a later request."""
    kept_instead: KeptInstead = {}
    whole: dict[int, StoredRequest] = {}
    for item, of_item in zip(items, beginnings, strict=True):
        *parts, everything = of_item
        for digest, chars in parts:
            before = whole.get(digest)
            if (
                before
                and chars >= LEAST_CHARS
                and (before.evaluation_only or not item.request.evaluation_only)
            ):
                kept_instead[before.request_id] = item.request
        whole[everything.digest] = item.request
    return kept_instead


def _again(sessions: Sequence[Sequence[_Entry]]) -> KeptInstead:
    """Find requests of a user that repeat three requests in a row, or a session of two requests."""
    ordered = sorted(sessions, key=lambda entries: entries[0].arrival)
    kept_instead: KeptInstead = {}
    earlier: defaultdict[int, list[_Position]] = defaultdict(list)
    for number, entries in enumerate(ordered):
        # Two requests of a session of two, three of a longer one: a single request is never enough.
        least = min(RUN, max(2, len(entries)))
        at = 0
        while at < len(entries):
            digest, position = entries[at].content.digest, _Position(number, at)
            repeated: Sequence[_Entry] = ()
            for earlier_position in earlier[digest][:POSITIONS_TRIED]:
                same = _same(ordered, earlier_position, position)
                if len(same) > len(repeated):
                    repeated = same
            run = entries[at : at + len(repeated)]
            if len(run) < least or sum(entry.content.chars for entry in run) < LEAST_CHARS:
                earlier[digest].append(position)
                at += 1
                continue
            for later, earlier_entry in zip(run, repeated, strict=True):
                if earlier_entry.request.evaluation_only and not later.request.evaluation_only:
                    kept_instead[earlier_entry.request.request_id] = later.request
                else:
                    kept_instead[later.request.request_id] = earlier_entry.request
            at += len(run)
    return kept_instead


def _same(ordered: Sequence[Sequence[_Entry]], first: _Position, again: _Position) -> Sequence[_Entry]:
    """Return the requests from the first position on, as far as those from the second position on repeat them.

    The two rows of requests do not overlap.
    """
    end = again.request if first.session == again.session else None
    earlier = ordered[first.session][first.request : end]
    later = ordered[again.session][again.request :]
    pairs = zip(earlier, later, strict=False)
    equal = itertools.takewhile(lambda pair: pair[0].content.digest == pair[1].content.digest, pairs)
    return [entry for entry, _ in equal]


def _beginnings(item: RequestWithInteractions) -> list[_Content]:
    """Return each beginning of a request: no interaction, the first, the first two, up to all."""
    running, chars = hashlib.blake2b(digest_size=8), 0
    found = [_Content(0, 0)]
    for interaction in item.interactions:
        shared = _shared_parts(interaction)
        chars += len(shared)
        running.update(f"{interaction.role.lower()}\0{shared}\0".encode("utf-8", "replace"))
        found.append(_Content(int.from_bytes(running.digest(), "big"), chars))
    return found


def _shared_parts(interaction: StoredInteraction) -> str:
    """Return the parts that equal interactions share: letters and digits, image, action, and tool data."""
    folded = "\0".join(texts_of(interaction)).casefold()
    # In pieces, because no other thread runs before `filter` and `join` are done with a text.
    text = "".join(["".join(filter(str.isalnum, piece)) for _, piece in pieces(folded, 0)])
    others = (
        interaction.interacted_image_url,
        interaction.image_digest,
        "" if interaction.user_action == "none" else interaction.user_action,
    )
    return text + "".join(others) + (repr(interaction.tools_used) if interaction.tools_used else "")
