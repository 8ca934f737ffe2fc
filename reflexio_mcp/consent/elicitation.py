"""Asking a person through the client's form, in both protocol eras."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, Final

from mcp.server.elicitation import (
    AcceptedElicitation,
    CancelledElicitation,
    DeclinedElicitation,
    ElicitationResult,
    render_elicitation_schema,
)
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from reflexio_mcp.consent.policy import CANCELLED, DECLINED, UNANSWERED, Question, Verdict, answered

__all__ = [
    "Reply",
    "ask_now",
    "asks_in_the_result",
    "can_ask",
    "form_of",
    "gave_no_content",
    "settle",
    "taking_any_answer",
]

FORMS: Final = "2025-06-18"
"""The first revision that has forms. A client of an earlier one is sent none, whatever it declares."""

MULTI_ROUND: Final = "2026-07-28"
"""From this revision on, a question travels in the result and the call is repeated with the answer."""

FORM_MODES: Final = "2025-11-25"
"""From this revision on, a form says its mode. Before, the protocol's schema does not list the key."""


def _only_fields(schema: dict[str, Any]) -> None:
    """Leave what the protocol's schema of a form lists: some clients refuse a form that says more."""
    for name in ("title", "description"):
        schema.pop(name, None)


class Reply(BaseModel):
    """What a person answers."""

    model_config = ConfigDict(json_schema_extra=_only_fields)


class Yes(Reply):
    """An explicit yes. A form that is sent without it agrees to nothing."""

    # Clients that show a list preselect an answer, so that one key would delete: the default is no.
    # Strict: a word or number that reads like a yes is not the answer that was asked for.
    delete: bool = Field(
        default=False, strict=True, title="Delete", description="Yes deletes. No keeps everything."
    )


def _not_a_switch(value: object) -> object:
    """Refuse a yes where a number has to be typed: as a number it would be 1."""
    if isinstance(value, bool):
        raise ValueError("a number has to be typed")
    return value


Typed = Annotated[int, BeforeValidator(_not_a_switch)]


class Number(Reply):
    """How many would go, typed. The key is the same whatever is counted."""

    requests: Typed


@functools.cache
def _number_of(noun: str) -> type[Number]:
    asked = Field(title=f"Number of {noun}s", description=f"Type how many {noun}s to delete.")
    return create_model("Number", __base__=Number, requests=(Typed, asked))


def form_of(question: Question) -> type[Reply]:
    """Return the form that asks a question."""
    return Yes if question.number is None else _number_of(question.noun)


@functools.cache
def taking_any_answer(form: type[Reply]) -> type[Reply]:
    """Return a form that asks the same and takes what does not fit as a bare `Reply`.

    The SDK ends a repeated call whose answer does not fit, so nobody would see the plan.
    """

    def take(cls: object, value: Any, validate: Callable[[Any], Reply]) -> Reply:
        try:
            return validate(value)
        except ValidationError:
            return Reply()

    wrapping: Any = model_validator(mode="wrap")
    return create_model(form.__name__, __base__=form, __validators__={"take": wrapping(classmethod(take))})


def gave_no_content(call: Context[Any, Any]) -> bool:
    """Return whether the repeated call brings something that is no answer to any form."""
    return any(
        not isinstance(one, ElicitResult) or (one.action == "accept" and one.content is None)
        for one in (call.input_responses or {}).values()
    )


def can_ask(call: Context[Any, Any]) -> bool:
    """Return whether this client can show a form on this connection."""
    declared = call.client_capabilities
    forms = declared.elicitation if declared else None
    if (
        forms is None
        or (call.protocol_version or "") < FORMS
        or (forms.form is None and forms.url is not None)
    ):
        return False
    return asks_in_the_result(call) or call.session.can_send_request


def asks_in_the_result(call: Context[Any, Any]) -> bool:
    """Return whether a question travels in the result, so that the call is repeated with the answer."""
    return (call.protocol_version or "") >= MULTI_ROUND


async def ask_now(call: Context[Any, Any], message: str, question: Question) -> Verdict:
    """Ask over an open connection, for revisions before 2026-07-28.

    Whatever the client does with the question, this returns a verdict and never raises a protocol error.
    """
    form = form_of(question)
    try:
        if (call.protocol_version or "") < FORM_MODES:
            return settle(question, await _elicit_without_mode(call, message, form))
        return settle(question, await call.elicit(message, form))
    except (MCPError, ValueError):
        # The client refused the form, did not understand it, or sent something that is no answer.
        return UNANSWERED


async def _elicit_without_mode(
    call: Context[Any, Any], message: str, form: type[Reply]
) -> ElicitationResult[Reply]:
    """As `Context.elicit`, which always sends `mode`.

    Raises:
        MCPError: the client refused.
        ValueError: what it sent is no answer.
    """
    params = ElicitRequestFormParams.model_construct(
        mode=None, message=message, requested_schema=render_elicitation_schema(form)
    )
    related = ServerMessageMetadata(related_request_id=call.request_id)
    answer = await call.session.send_request(ElicitRequest(params=params), ElicitResult, metadata=related)
    if answer.action == "accept":
        return AcceptedElicitation(data=form.model_validate(answer.content))
    return CancelledElicitation() if answer.action == "cancel" else DeclinedElicitation()


def settle(question: Question, outcome: ElicitationResult[Reply]) -> Verdict:
    """Decide by a person's answer."""
    if isinstance(outcome, AcceptedElicitation):
        reply = outcome.data
        if isinstance(reply, Yes) and question.number is None:
            return answered(question, reply.delete)
        if isinstance(reply, Number) and question.number is not None:
            return answered(question, reply.requests)
        return UNANSWERED
    return CANCELLED if isinstance(outcome, CancelledElicitation) else DECLINED
