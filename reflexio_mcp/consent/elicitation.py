"""Asking a person through the client's form, in both protocol eras."""

import functools
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

from reflexio_mcp.consent.policy import Question, Verdict, answered, refused
from reflexio_mcp.traffic.deletion.plan import Planned

__all__ = ["Reply", "ask_now", "asks_in_the_result", "can_ask", "form_of", "gave_no_content", "settle"]

FORMS: Final = "2025-06-18"
"""The first revision that has forms. A client of an earlier one is sent none, whatever it declares."""

MULTI_ROUND: Final = "2026-07-28"
"""From this revision on, a question travels in the result and the call is repeated with the answer."""


FORM_MODES: Final = "2025-11-25"
"""From this revision on, a form says its mode."""


def _only_fields(schema: dict[str, Any]) -> None:
    """Leave what the protocol's schema of a form lists: Codex refuses a form that says more."""
    for name in ("title", "description"):
        schema.pop(name, None)


class Reply(BaseModel):
    """What a person answers."""

    model_config = ConfigDict(json_schema_extra=_only_fields)

    @model_validator(mode="wrap")
    @classmethod
    def _take_any_answer(cls, value: Any, validate: Any) -> "Reply":
        """Take what does not fit as no answer: the SDK would end the call, and nobody would see the plan."""
        try:
            return validate(value)
        except ValidationError:
            return Reply()


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


class Number(Reply):
    """How many would go, typed."""

    number: int


@functools.cache
def _number_of(noun: str) -> type[Number]:
    asked = Field(title=f"Number of {noun}s", description=f"Type how many {noun}s to delete.")
    return create_model(
        "Number", __base__=Number, number=(Annotated[int, BeforeValidator(_not_a_switch)], asked)
    )


def form_of(question: Question) -> type[Reply]:
    """Return the form that asks a question."""
    return Yes if question.number is None else _number_of(question.noun)


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


def gave_no_content(call: Context[Any, Any]) -> bool:
    """Return whether the repeated call brings a form without content, for which the SDK would end the call."""
    given = (call.input_responses or {}).values()
    return any(
        isinstance(one, ElicitResult) and one.action == "accept" and one.content is None for one in given
    )


async def ask_now(call: Context[Any, Any], message: str, planned: Planned, question: Question) -> Verdict:
    """Ask over an open connection, for revisions before 2026-07-28.

    Whatever the client does with the question, this returns a verdict and never raises a protocol error.
    """
    try:
        return settle(planned, question, await _elicit(call, message, form_of(question)))
    except (MCPError, ValueError):
        # The client refused the form, did not understand it, or sent something that is no answer.
        return refused(planned, "ask", "unanswered")


async def _elicit(call: Context[Any, Any], message: str, form: type[Reply]) -> ElicitationResult[Reply]:
    """As `Context.elicit`, which always sends `mode`: a key that 2025-06-18 does not list.

    Raises:
        MCPError: the client refused.
        ValueError: what it sent is no answer.
    """
    if (call.protocol_version or "") >= FORM_MODES:
        return await call.elicit(message, form)
    params = ElicitRequestFormParams.model_construct(
        mode=None, message=message, requested_schema=render_elicitation_schema(form)
    )
    related = ServerMessageMetadata(related_request_id=call.request_id)
    answer = await call.session.send_request(ElicitRequest(params=params), ElicitResult, metadata=related)
    if answer.action == "accept":
        return AcceptedElicitation(data=form.model_validate(answer.content))
    return CancelledElicitation() if answer.action == "cancel" else DeclinedElicitation()


def settle(planned: Planned, question: Question, outcome: ElicitationResult[Reply]) -> Verdict:
    """Decide by what came back from the form."""
    if isinstance(outcome, CancelledElicitation):
        return refused(planned, "ask", "cancelled")
    if not isinstance(outcome, AcceptedElicitation):
        return refused(planned, "ask", "declined")
    reply = outcome.data
    if isinstance(reply, Yes) and question.number is None:
        return answered(planned, question, reply.delete)
    if isinstance(reply, Number) and question.number is not None:
        return answered(planned, question, reply.number)
    return refused(planned, "ask", "unanswered")
