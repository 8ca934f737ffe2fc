"""Exports stored data as one ZIP archive, and puts the requests of an archive back.

Each line of a `.jsonl` file is one object as the API returns it: a request with its interactions, a profile, a
playbook, a session outcome, a shared rule, a verdict or a question. Only `evidence.jsonl`, with the words that taught
each learning, is this server's own. Requests of the embedded store also have their images and citations.
"""

import hashlib
import json
import math
import shutil
import stat
import time
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, NamedTuple, TypeAlias, cast

import anyio
import anyio.to_thread
from pydantic import BaseModel

from reflexio_mcp import private_files
from reflexio_mcp.rest.api_limits import MAX_REPLY_BYTES
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest
from reflexio_mcp.results.base import at, visible
from reflexio_mcp.results.deletion import Restored
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.failures import failure_facts
from reflexio_mcp.results.progress import Progress, Step, no_progress
from reflexio_mcp.results.reading import EvidenceRow, LearningEvidence, Manifest
from reflexio_mcp.traffic.audit.rules import findings_in, rule_of
from reflexio_mcp.traffic.audit.rules.base import Rule
from reflexio_mcp.traffic.deletion.erasures import ErasuresBesideImport
from reflexio_mcp.traffic.deletion.items import item_of
from reflexio_mcp.traffic.deletion.restore import Storing
from reflexio_mcp.traffic.errors import InvalidInput, TrafficError, quoted
from reflexio_mcp.traffic.learnings.evidence import Evidence
from reflexio_mcp.traffic.learnings.find import find_evidence, learnings_of_user, linked_by_quotes
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.learnings.shared import read_shared_rules, stored_rules
from reflexio_mcp.traffic.reading.filter_wording import filter_in_words
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import redacted
from reflexio_mcp.traffic.tasks import in_heavy_thread
from reflexio_mcp.traffic.turns import let_others

__all__ = ["Export", "StoredBefore", "as_plan", "import_requests", "requests_in", "save"]

Write: TypeAlias = Callable[[Sequence[BaseModel]], Awaitable[None]]
"""Writes rows into one file of an archive."""

Read: TypeAlias = Callable[[Write], Awaitable[None]]
"""Reads the rows of one file, and writes them with the `Write` that it receives."""

SESSIONS_AT_ONCE: Final = 10
"""Sessions in memory at a time."""

IMPORTED_AT_ONCE: Final = 50

FILES: Final = ("requests.jsonl", "learnings.jsonl", "outcomes.jsonl")
"""Files that every archive has."""

LEFT_OUT: Final = {"request": {"arrival", "whole"}, "interactions": {"__all__": {"user_id", "request_id"}}}
"""Fields that the API lacks, or that repeat the request."""

PERSONAL: Final = "personal-data"

FACT_IF_NOT_READ: Final = {
    "learnings": FactCode.LEARNINGS_NOT_ALL_READ,
    "outcomes": FactCode.OUTCOMES_NOT_ALL_READ,
    "evidence": FactCode.LEARNINGS_NOT_ALL_READ,
    "shared_rules": FactCode.SHARED_RULES_UNREAD,
    "verdicts": FactCode.VERDICTS_NOT_ALL_READ,
    "session_verdicts": FactCode.VERDICTS_NOT_ALL_READ,
    "questions": FactCode.QUESTIONS_NOT_ALL_READ,
}

NOT_A_FILE: Final = "is not a file; nothing was imported."
NOT_AN_EXPORT: Final = "is not an export of reflexio-mcp, or is damaged; nothing was imported."
CHANGED: Final = "has a {name} that does not match the SHA-256 in its manifest; nothing was imported."
NOT_YOURS: Final = "has requests of other users than REFLEXIO_USER_ID; nothing was imported."
REPEATED_REQUEST: Final = "has two requests with the id {name}; nothing was imported."
REPEATED_INTERACTION: Final = "has two interactions with the id {name}; nothing was imported."
BLANKS: Final = "has a {field} that begins or ends with a blank, {name}; nothing was imported."


def save(archive: BinaryIO, path: Path) -> None:
    """Close an archive and save it in a new file that only its owner can read, or leave no file."""
    try:
        with archive, private_files.new_file(path) as file:
            shutil.copyfileobj(archive, file)
    except FileExistsError as error:
        raise TrafficError(
            f"{path} cannot be written: {error.strerror}. An export never replaces a file."
        ) from None
    except OSError as error:
        raise TrafficError(f"{path} cannot be written: {error.strerror}. No part of it was left.") from None


@dataclass
class StoredBefore:
    """The exported requests that were stored before a point in time, in epoch seconds.

    The code of a plan is bound to them: a conversation goes on while a person thinks, and what it adds changes nothing
    of what the person agreed to.
    """

    moment: int
    count: int = 0
    digests: int = 0

    def add(self, item: RequestWithInteractions) -> None:
        if item.request.created_at < self.moment:
            self.count += 1
            # A sum does not depend on the order: a new request moves its session to the front.
            self.digests += int(item_of(item).digest, 16)

    @property
    def bound(self) -> str:
        """What a code is bound to."""
        return f"export of {self.count} requests {self.digests:x}"


class Export:
    """One export of what a filter selects.

    Args:
        backend: the backend's address or file, as the manifest shows it.
        redact: replace recognized secrets; `None` for the plan of an export.
        readme: makes the text for a person who opens the archive.
        personal: count the requests with personal data.
        stored: each receives all exported requests and counts those from before its own point in time, to bind a code
            to them.
    """

    def __init__(
        self,
        scope: Scope,
        wanted: TrafficFilter,
        backend: str,
        redact: bool | None,
        readme: Callable[[Manifest], str],
        progress: Progress = no_progress,
        *,
        personal: bool = True,
        stored: Sequence[StoredBefore] = (),
    ) -> None:
        self._progress = progress
        self._stored = stored
        self._rules: list[type[Rule]] = [rule_of("probable-secret")]
        self._switched_off = [] if personal else [Fact(code=FactCode.RULE_OFF, names=[PERSONAL])]
        if personal:
            self._rules.append(rule_of(PERSONAL))
        self._findings = Counter[str]({name: 0 for rule in self._rules for name in rule.names()})
        self._scope = scope
        self._wanted = wanted
        self._backend = backend
        self._redact = redact
        self._readme = readme
        self._counts = Counter[str]()
        self._users = {wanted.user_id} if wanted.user_id else set[str]()
        self._sessions = set[str]()
        self._requests = set[str]()
        self._interactions = set[int]()
        self._period: tuple[int, ...] = ()
        self._learnings = dict[str, list[Learning]]()
        self._incomplete: list[Fact] = []

    async def write(self, file: BinaryIO) -> Manifest:
        """Write the archive. Its manifest says what could not be read."""
        pager = SessionPager(self._scope, self._wanted, batch=SESSIONS_AT_ONCE)
        digests: dict[str, str] = {}
        failures: list[Fact] = []
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, read in self._files(pager).items():
                with archive.open(f"{name}.jsonl", "w", force_zip64=True) as lines:
                    digest = hashlib.sha256()
                    failures += await self._fill(name, read, partial(self._write, name, lines, digest))
                    digests[f"{name}.jsonl"] = digest.hexdigest()
            # Of a user of whom nothing is stored, nobody knows whether they exist.
            users = len(self._users) if self._counts.total() else 0
            manifest = Manifest(
                made_at=at(time.time()),
                backend=self._backend,
                filter=visible(filter_in_words(self._wanted, words=not self._redact, plain=True))
                or "no filter",
                counts={**self._counts, "users": users, "sessions": len(self._sessions)},
                findings=dict(self._findings),
                period=list(map(at, self._period)),
                sha256=digests,
                unreadable=list(pager.unreadable),
                facts=[*self._what_is_in_it(), *failures, *self._incomplete],
            )
            archive.writestr("manifest.json", manifest.model_dump_json(indent=1))
            archive.writestr("README.txt", self._readme(manifest))
        file.seek(0)
        return manifest

    def _files(self, pager: SessionPager) -> dict[str, Read]:
        """Return what reads the rows of each file, by its name, in their order: later ones need the earlier."""
        files: dict[str, Read] = {
            "requests": partial(self._read_requests, pager),
            "learnings": self._read_learnings,
            "outcomes": self._read_outcomes,
        }
        if self._scope.learns:
            files |= {
                "evidence": self._read_evidence,
                "shared_rules": self._read_rules,
                "verdicts": self._read_verdicts,
                "session_verdicts": self._read_session_verdicts,
                "questions": self._read_questions,
            }
        return files

    async def _fill(self, name: str, read: Read, write: Write) -> list[Fact]:
        """Write a file; return why it is not complete. A failure to read the requests ends the export."""
        try:
            await read(write)
        except ReflexioError as error:
            if name not in FACT_IF_NOT_READ:
                raise
            return [Fact(code=FACT_IF_NOT_READ[name]), *failure_facts(error)]
        return []

    def _what_is_in_it(self) -> list[Fact]:
        from reflexio_mcp.traffic.audit.rules.redaction import (
            formats_unknown,  # its patterns take a while to compile
        )

        if self._redact is None:
            secrets = FactCode.SECRETS_CAN_BE_COVERED
        elif self._redact:
            secrets = FactCode.SECRETS_NOT_EXPORTED
        else:
            secrets = FactCode.SECRETS_EXPORTED
        kinds = FactCode.KINDS_NOT_EXPORTED if self._scope.learns else FactCode.STORE_HAS_NO_LEARNINGS
        return [Fact(code=secrets), Fact(code=kinds), *formats_unknown(), *self._switched_off]

    async def _write(self, name: str, lines: IO[bytes], digest: Any, rows: Sequence[BaseModel]) -> None:
        safe = [await self._safe(row) for row in rows] if self._redact else rows

        def write() -> None:
            for row in safe:
                line = f"{row.model_dump_json(exclude_unset=True, exclude=LEFT_OUT)}\n".encode()
                lines.write(line)
                digest.update(line)

        await anyio.to_thread.run_sync(write)
        self._counts[name] += len(rows)
        rows_written = self._counts.total() - self._counts["interactions"]
        await self._progress(Step.ROWS_EXPORTED, rows_written, None)

    async def _safe(self, row: BaseModel) -> BaseModel:
        from reflexio_mcp.traffic.audit.rules.redaction import redact_value

        if isinstance(row, RequestWithInteractions):
            return await redacted(self._scope, row)
        return type(row).model_validate(redact_value(row.model_dump(exclude_unset=True)))

    async def _read_requests(self, pager: SessionPager, write: Write) -> None:
        async def take(items: list[RequestWithInteractions]) -> None:
            found = await in_heavy_thread(self._scope.owner, partial(self._look_at, items))
            self._findings.update(name for name, _ in found)
            await write(items)
            await let_others()

        async with aclosing(pager.picked()) as parts:
            async for _, items in parts:
                if self._scope.embedded:  # only there are fields that a page of sessions lacks
                    await read_set(self._scope, [item.request.request_id for item in items], take, whole=True)
                else:
                    await take(items)

    def _look_at(self, items: Sequence[RequestWithInteractions]) -> set[tuple[str, str]]:
        """Count requests; return the findings in them, each once for a request."""
        for item in items:
            self._count(item)
            for stored in self._stored:
                stored.add(item)
        return {(found.name, found.request.request_id) for found in findings_in(items, self._rules)}

    def _count(self, item: RequestWithInteractions) -> None:
        request, interactions = item.request, item.interactions
        self._users.add(request.user_id)
        self._sessions.add(request.session_id)
        self._counts["interactions"] += len(interactions)
        times = (*self._period, request.created_at)
        self._period = min(times), max(times)
        if self._wanted.narrows:  # without a filter, everything of the users belongs to the export
            self._requests.add(request.request_id)
            self._interactions.update(interaction.interaction_id for interaction in interactions)

    async def _read_learnings(self, write: Write) -> None:
        sources = Sources(frozenset(self._requests), frozenset(self._interactions))
        for user_id in self._users:
            learnings = await learnings_of_user(self._scope, user_id)
            if self._wanted.narrows:
                quoting = await linked_by_quotes(
                    self._scope, user_id, learnings, sources, most_requests=math.inf
                )
                learnings = [
                    learning
                    for learning in learnings
                    if sources.link_of(learning) or learning.learning_id in quoting
                ]
            self._learnings[user_id] = learnings
            await write([learning.row for learning in learnings if learning.row])

    async def _read_outcomes(self, write: Write) -> None:
        for user_id in self._users:
            found = await self._scope.client.get_session_outcomes(user_id)
            of_user = (outcome for outcome in found if outcome.user_id == user_id)
            await write([outcome for outcome in of_user if self._includes(outcome.session_id)])

    async def _read_evidence(self, write: Write) -> None:
        for user_id, learnings in self._learnings.items():
            found = await find_evidence(self._scope, user_id, learnings, most_requests=math.inf)
            await write([_evidence_row(learning, found[learning.learning_id]) for learning in learnings])

    async def _read_rules(self, write: Write) -> None:
        """Write the shared rules that rest on the filter's user, or all rules if it names no user.

        Shared rules belong to no request, so a filter that selects requests leaves them out.
        """
        if self._wanted.narrows:
            return
        if user_id := self._wanted.user_id:
            shared = await read_shared_rules(self._scope)
            await write([rule.row for rule in shared.of(user_id)])
            if untraced := shared.untraced + shared.left_out:
                self._incomplete.append(Fact(code=FactCode.SHARED_RULES_UNTRACED, number=untraced))
        else:
            await write(await stored_rules(self._scope))

    async def _read_verdicts(self, write: Write) -> None:
        all_read = True
        for user_id in self._users:
            found, are_all = await self._scope.client.get_verdicts(user_id)
            of_user = (verdict for verdict in found if verdict.user_id == user_id)
            await write([verdict for verdict in of_user if self._includes(verdict.session_id)])
            all_read = all_read and are_all
        if not all_read:
            self._incomplete.append(Fact(code=FactCode.VERDICTS_NOT_ALL_READ))

    async def _read_session_verdicts(self, write: Write) -> None:
        found = await self._scope.client.get_session_verdicts()
        of_users = (verdict for verdict in found if verdict.user_id in self._users)
        await write([verdict for verdict in of_users if self._includes(verdict.session_id)])

    async def _read_questions(self, write: Write) -> None:
        """Write the questions that Reflexio asked these users.

        Questions belong to no request, so a filter that selects requests leaves them out.
        """
        if self._wanted.narrows:
            return
        found, are_all = await self._scope.client.get_pending_questions()
        await write([question for question in found if question.user_id in self._users])
        if not are_all:
            self._incomplete.append(Fact(code=FactCode.QUESTIONS_NOT_ALL_READ))

    def _includes(self, session_id: str) -> bool:
        """Whether what belongs to a session belongs to the export."""
        return not self._wanted.narrows or session_id in self._sessions


def _evidence_row(learning: Learning, evidence: Evidence) -> LearningEvidence:
    return LearningEvidence(
        learning_id=learning.learning_id,
        user_id=learning.user_id,
        evidence=[
            EvidenceRow(
                quote=passage.words,
                near=passage.near,
                request_id=turn.request_id,
                interaction_id=turn.interaction_id,
                role=turn.role,
                said_at=at(turn.said_at or turn.request.created_at),
            )
            for passage in evidence.passages
            for turn in passage.turns
        ],
        quotes_not_found=[passage.words for passage in evidence.unresolved],
        window_only=len(evidence.window_only),
        interactions_deleted=len(evidence.gone),
    )


def as_plan(made: Manifest) -> Manifest:
    """Return the manifest of an archive that nobody receives, as the plan of an export.

    If the call has decided about secrets, the plan leaves the decision open again, because the call's code did not fit.
    """
    about_secrets = {FactCode.SECRETS_EXPORTED, FactCode.SECRETS_NOT_EXPORTED}
    undecided = Fact(code=FactCode.SECRETS_CAN_BE_COVERED)
    facts = [undecided if fact.code in about_secrets else fact for fact in made.facts]
    return made.model_copy(update={"facts": facts})


class _Line(NamedTuple):
    request: StoredRequest
    text: bytes


def requests_in(path: Path, user_id: str) -> list[bytes]:
    """Return the requests of an archive as JSON, the oldest first.

    Args:
        user_id: refuse requests of other users; empty for every user.

    Raises:
        InvalidInput: the archive cannot be imported.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe could take for ever
            raise InvalidInput("FILE", NOT_A_FILE)
        with zipfile.ZipFile(path) as archive:
            _check(archive)
            with archive.open("requests.jsonl") as lines:
                # A request was read from an answer of the service, so its line is no longer than an answer may be.
                read = iter(partial(lines.readline, MAX_REPLY_BYTES), b"")
                ids = _Ids()
                found = [_Line(ids.checked(_request(text)), text) for text in read]
    except InvalidInput:
        raise
    except OSError as error:
        raise InvalidInput("FILE", f"cannot be read: {error.strerror}; nothing was imported.") from None
    except Exception:  # noqa: BLE001 - a damaged archive fails in a dozen ways
        raise InvalidInput("FILE", NOT_AN_EXPORT) from None
    if user_id and any(line.request.user_id != user_id for line in found):
        raise InvalidInput("FILE", NOT_YOURS)
    # In the file, the newest request of a session comes first. Reversing it orders those of the same second.
    found.reverse()
    return [line.text for line in sorted(found, key=lambda line: line.request.created_at)]


class _Ids:
    """Refuses an id that comes twice, which no store can hold, and blanks around names, which nobody could name."""

    def __init__(self) -> None:
        self._requests = set[str]()
        self._interactions = set[int]()

    def checked(self, item: RequestWithInteractions) -> StoredRequest:
        request = item.request
        for field in ("user_id", "session_id", "request_id"):
            name = getattr(request, field)
            if name != name.strip():
                raise InvalidInput("FILE", BLANKS.format(field=field, name=quoted(name)))
        if request.request_id in self._requests:
            raise InvalidInput("FILE", REPEATED_REQUEST.format(name=quoted(request.request_id)))
        self._requests.add(request.request_id)
        for interaction in item.interactions:
            if interaction.interaction_id in self._interactions:
                raise InvalidInput("FILE", REPEATED_INTERACTION.format(name=interaction.interaction_id))
            self._interactions.add(interaction.interaction_id)
        return request


def _check(archive: zipfile.ZipFile) -> None:
    """Refuse an archive whose files do not match its manifest."""
    with archive.open("manifest.json") as file:
        expected = json.loads(file.read(MAX_REPLY_BYTES))["sha256"]
    for name in {*FILES, *expected}:
        with archive.open(name) as file:
            if hashlib.file_digest(cast("Any", file), "sha256").hexdigest() != expected[name]:
                raise InvalidInput("FILE", CHANGED.format(name=name))


async def import_requests(
    scope: Scope,
    lines: Sequence[bytes],
    progress: Progress = no_progress,
    erasures: ErasuresBesideImport | None = None,
) -> Restored:
    """Store requests in this order. A request that is stored already does not change.

    Args:
        erasures: what they would delete again is not stored. Without them, nothing is logged either.
    """
    storing = Storing(scope)
    try:
        await _import(storing, lines, progress, erasures)
    finally:
        if erasures:
            with anyio.CancelScope(shield=True):
                storing.facts += await erasures.note([*storing.back.values()])
    if "erased" in storing.became.values():
        storing.facts.append(Fact(code=FactCode.ERASURE_NOT_OVER))
    return storing.result()


async def _import(
    storing: Storing, lines: Sequence[bytes], progress: Progress, erasures: ErasuresBesideImport | None
) -> None:
    for start in range(0, len(lines), IMPORTED_AT_ONCE):
        items = {
            item.request.request_id: item for item in map(_request, lines[start : start + IMPORTED_AT_ONCE])
        }
        with storing.stopping():
            going = await erasures.would_erase(items.values()) if erasures else set[str]()
            storing.became |= dict.fromkeys(going, "erased")
            await storing.requests({key: item for key, item in items.items() if key not in going})
            if erasures:
                stored_now = [item for key, item in items.items() if key in storing.back]
                storing.note_taken_out(await erasures.take_out(stored_now))
        if storing.stopped:
            break
        await progress(Step.REQUESTS_IMPORTED, min(start + IMPORTED_AT_ONCE, len(lines)), len(lines))


def _request(line: bytes) -> RequestWithInteractions:
    item = RequestWithInteractions.model_validate_json(line)
    item.request.whole = True  # the embedded store then keeps the request's time and ids
    return item
