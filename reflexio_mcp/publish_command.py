"""`reflexio-mcp publish`: stores one request from the command line."""

import json
import shlex
import sys
import uuid
from argparse import Namespace
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

import anyio
from pydantic import BaseModel, Field, ValidationError

from reflexio_mcp.backend import open_scope, open_state, owner_of
from reflexio_mcp.read_commands import Screen, check_allowed
from reflexio_mcp.render.blocks import lines
from reflexio_mcp.render.publishing import stored
from reflexio_mcp.render.words import SHELL
from reflexio_mcp.rest.api_limits import MAX_INTERACTIONS
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestWithInteractions
from reflexio_mcp.results.base import shown_id
from reflexio_mcp.results.publishing import Stored
from reflexio_mcp.screen import TerminalProgress, print_json
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.toolkit.parameters import invalid_arguments, validated_by
from reflexio_mcp.traffic.deletion.erasures import would_be_erased
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.publishing import check_interaction, publish

STANDARD_INPUT: Final = "-"


class _Document(BaseModel):
    """Interactions from a file or the command line, checked as those of the tool."""

    interactions: Annotated[
        list[Annotated[Interaction, validated_by(check_interaction)]],
        Field(min_length=1, max_length=MAX_INTERACTIONS),
    ]


def run_publish(arguments: Namespace, settings: Settings) -> int:
    """Store what a file, standard input or `--user` and `--assistant` say, as one request."""
    check_allowed(settings, "publish_interaction")
    if not settings.user_id:
        raise ConfigurationError("Whose request is it? Add --user-id.")
    draft = PublishBody(
        user_id=settings.user_id,
        session_id=arguments.session_id or str(uuid.uuid4()),
        request_id=arguments.request_id or "",
        interaction_data_list=_interactions(arguments),
        source=settings.source,
        agent_version=settings.agent_version,
        evaluation_only=arguments.evaluation_only,
        session_finished=arguments.session_finished,
    )

    async def run() -> Stored:
        async with open_scope(settings) as scope:

            async def erased_if_stored(requests: Sequence[RequestWithInteractions]) -> set[str]:
                state = open_state(settings)
                with closing(state.database):
                    return await would_be_erased(state, lambda: owner_of(scope, settings), requests)

            seconds = settings.wait_timeout if arguments.wait else None
            return await publish(
                scope,
                draft,
                policy=settings.publish_secrets,
                wait_seconds=seconds,
                would_be_erased=erased_if_stored,
            )

    try:
        with TerminalProgress().shown():
            done = anyio.run(run)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nInterrupted: {_after_interruption(arguments, draft)}\n")
        raise
    if arguments.json:
        print_json(done)
        return 0
    told = stored(done, SHELL)
    Screen(settings).say(lines(told.said, told.stored, told.then))
    return 0


def _after_interruption(arguments: Namespace, draft: PublishBody) -> str:
    unknown = "Whether the request is stored is not known."
    if arguments.request_id:
        return f"{unknown} Run the command again; with the same --request-id it is stored once."
    look = f"`reflexio-mcp requests --session-id {shlex.quote(shown_id(draft.session_id))}` shows it."
    return f"{unknown} {look}"


def _interactions(arguments: Namespace) -> list[Interaction]:
    said: list[tuple[str, str]] = arguments.said or []
    if said and arguments.file:
        raise ConfigurationError("Give either a FILE, or --user and --assistant.")
    typed = [{"role": role, "content": text} for role, text in said]
    try:
        return _Document.model_validate({"interactions": typed or _read(arguments.file)}).interactions
    except ValidationError as error:
        raise ConfigurationError(invalid_arguments(error)) from None


def _read(file: str) -> object:
    """Return the JSON of a file. The name `-` is standard input, and so is no name if something is piped in."""
    if not file and sys.stdin.isatty():
        raise ConfigurationError('Give a FILE, "-" for standard input, or --user TEXT and --assistant TEXT.')
    try:
        text = sys.stdin.read() if file in ("", STANDARD_INPUT) else Path(file).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise InvalidInput("FILE", f"cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise InvalidInput(
            "FILE", 'is not JSON in UTF-8, such as [{"role": "User", "content": "..."}].'
        ) from None
