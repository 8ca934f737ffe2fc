"""Reading traffic: lists, one request, an audit, and an export."""

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Annotated, Any, BinaryIO, Literal, cast

from mcp.types import CallToolResult
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp import private_files
from reflexio_mcp.backend import default_store, store_folder
from reflexio_mcp.render import reading as text
from reflexio_mcp.results.answer_size import SHORT_PAGE_ROWS, page_room
from reflexio_mcp.results.audit import AuditResult
from reflexio_mcp.results.base import NOTICE, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Step
from reflexio_mcp.results.reading import Exported, OneRequest, RequestPage, SessionPage
from reflexio_mcp.state.state import in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import (
    DOWNLOADS_PATH,
    Call,
    ProgressReporter,
    answer,
    app_of,
    place_shown,
    scope_of,
    words_of,
)
from reflexio_mcp.traffic.errors import Unreadable, needing_state
from reflexio_mcp.traffic.learnings.request_with_learnings import read_request
from reflexio_mcp.traffic.reading import listing
from reflexio_mcp.traffic.reading.cursors import open_cursor
from reflexio_mcp.traffic.reading.filter_wording import filter_in_words
from reflexio_mcp.traffic.reading.filters import TrafficFilter

Order = Annotated[Literal["newest", "longest"], Field(description="longest: the 10 with the most text")]
MostSessions = Annotated[parameters.Limit | SkipJsonSchema[None], Field(description="sessions at most")]
FullOrMasked = Annotated[Literal["full", "masked"], Field(description=parameters.MASKED)]


@parameters.filtered()
async def list_sessions(
    call: Call,
    asked: TrafficFilter,
    detail: parameters.ListDetail = "summary",
    order: Order = "newest",
    limit: parameters.PageLimit = None,
    cursor: parameters.Cursor = "",
) -> Annotated[CallToolResult, SessionPage]:
    async with ProgressReporter(call).steady(Step.LOOKING_THROUGH):
        page = await listing.list_sessions(
            scope_of(call),
            asked,
            limit=limit or SHORT_PAGE_ROWS,
            cursor=cursor,
            detail=detail,
            order=order,
            room=page_room(limit),
        )
    return answer(page, text.session_page(page, words_of(call)))


@parameters.filtered()
async def list_requests(
    call: Call,
    asked: TrafficFilter,
    request_id: str = "",
    detail: parameters.Detail = "summary",
    limit: parameters.PageLimit = None,
    top_k: MostSessions = None,
    cursor: parameters.Cursor = "",
) -> Annotated[CallToolResult, RequestPage]:
    async with ProgressReporter(call).steady(Step.LOOKING_THROUGH):
        page = await listing.list_requests(
            scope_of(call),
            asked,
            request_id=request_id,
            limit=limit or SHORT_PAGE_ROWS,
            cursor=cursor,
            detail=detail,
            most_sessions=top_k,
            room=page_room(limit),
        )
    return answer(page, text.request_page(page, words_of(call)))


async def get_request(
    call: Call, request_id: str, detail: FullOrMasked = "full", cursor: parameters.Cursor = ""
) -> Annotated[CallToolResult, OneRequest]:
    found = await read_request(scope_of(call), request_id, cursor, detail=detail)
    return answer(found, text.one_request(found, words_of(call)))


@parameters.filtered()
async def audit_traffic(
    call: Call,
    asked: TrafficFilter,
    cursor: parameters.Cursor = "",
) -> Annotated[CallToolResult, AuditResult]:
    from reflexio_mcp.render.audit import audit_text
    from reflexio_mcp.traffic.audit.calls import Offer  # needed for audits only
    from reflexio_mcp.traffic.audit.judged import judged_in
    from reflexio_mcp.traffic.audit.places import list_places
    from reflexio_mcp.traffic.audit.run import run_audit

    app, scope = app_of(call), scope_of(call)
    offer = Offer(app.tools, scope)
    async with ProgressReporter(call).steady(Step.READING) as reporter:
        judged = await judged_in(app.state, partial(app.owner, scope))
        if asked.finding:
            found = await list_places(
                scope, asked, offer=offer, cursor=cursor, progress=reporter, judged=judged
            )
        else:
            after = open_cursor(scope, cursor, "audit", asked) if cursor else None
            found = await run_audit(
                scope,
                asked,
                offer=offer,
                after=after,
                progress=reporter,
                personal=app.settings.personal_data,
                judged=judged,
            )
    return answer(found, audit_text(found, words_of(call)))


Redact = Annotated[
    bool | SkipJsonSchema[None], Field(description="replace what looks like a secret; the person chooses")
]


def _temporary_file() -> BinaryIO:
    """Make a file without a name. Raises `Unreadable` if there is no place for it."""
    from tempfile import TemporaryFile  # few servers need it

    try:
        return TemporaryFile()
    except OSError:  # its text names folders of the server
        raise _not_written("no temporary folder can be written") from None


def _not_written(why: str) -> Unreadable:
    return Unreadable(Fact(code=FactCode.EXPORT_NOT_WRITTEN, names=[why]))


@contextmanager
def _writing(file: BinaryIO) -> Generator[None]:
    """Close a temporary file if it cannot be filled or saved, and turn that into a refusal."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):  # `close` tries once more to write the rest
            file.close()
        if isinstance(error, StateUnusable):  # an `OSError` too, but not of this file
            raise
        raise _not_written(shown_name(error.strerror or type(error).__name__)) from None


@parameters.filtered()
async def export_data(
    call: Call, asked: TrafficFilter, redact: Redact = None, confirm: parameters.Confirm = ""
) -> Annotated[CallToolResult, Exported]:
    from uuid import uuid4

    from reflexio_mcp.traffic.archive import Export, StoredBefore, as_plan, save  # few servers need ZIP

    app, scope = app_of(call), scope_of(call)
    codes, began = app.codes(scope), int(time.time())
    # A code is bound to the requests that were stored when it was made. While the archive is written, two sets are
    # counted: those stored before the given code was made, to check it, and those stored before now, for a new code.
    code_made_at = codes.time_of(confirm)  # 0 without a code; then this call makes a plan
    stored_then, stored_now = StoredBefore(code_made_at), StoredBefore(began)
    async with ProgressReporter(call).steady(Step.EXPORTING) as reporter:
        file = _temporary_file()  # it may outlive this call
        export = Export(
            scope,
            asked,
            place_shown(call) or "Reflexio",
            redact if code_made_at else None,
            text.readme,
            reporter,
            personal=app.settings.personal_data,
            stored=[stored_then, stored_now],
        )
        with _writing(file):
            archive = await export.write(file)
    fits = codes.check(confirm, stored_then.bound, now=began)
    if redact is None or not fits:  # a plan, which also asks about secrets
        file.close()
        wrong = [Fact(code=FactCode.WRONG_CODE)] if confirm and not fits else []
        code = codes.make(stored_now.bound, now=began)
        done = Exported(notice=NOTICE, archive=as_plan(archive), facts=wrong, confirm=code)
        return answer(done, text.exported(done, words_of(call)))
    with needing_state(FactCode.STATE_UNUSABLE, kind=Unreadable):
        owner, selected = await app.owner(scope), filter_in_words(asked, words=False)
        await in_thread(app.state.note_export, owner, selected, archive.counts)
    if call.headers is None:
        folder = store_folder(app.settings) or default_store().parent
        path = folder / f"export-{uuid4().hex[:8]}.zip"
        with _writing(file):
            private_files.make_folder(path.parent)
            save(file, path)
        done = Exported(notice=NOTICE, archive=archive, file=str(path))
    else:
        here = str(cast("Any", call.request_context.request).base_url).rstrip("/")
        base = app.settings.oauth_audience.removesuffix("/mcp") or here
        link = f"{base}{DOWNLOADS_PATH}{app.downloads.offer(scope.owner, file, app.background)}"
        fetch = Fact(code=FactCode.FETCH_ONCE)
        done = Exported(notice=NOTICE, archive=archive, link=link, facts=[fetch])
    return answer(done, text.exported(done, words_of(call)))
