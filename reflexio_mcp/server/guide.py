"""The guide: what is stored, how the tools work together, and how to publish."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.rest import api_limits
from reflexio_mcp.settings import Confirm
from reflexio_mcp.traffic.audit.rules import RULES


@dataclass(frozen=True, slots=True)
class Field:
    """One argument of `publish_interaction`. `learns`: offered only if the backend learns."""

    name: str
    accepts: str
    advice: str
    learns: bool = False


TERMS: Final = (
    "Interaction: one message, who spoke and what was said.",
    (
        "Request: the interactions of one publish, usually a question and its answer. It has an id, a user, a"
        " source and an agent version. Requests are what is listed, read and deleted."
    ),
    "Session: one conversation, all requests with the same session_id, of any user.",
)

LEARNING: Final = (
    "Learning: a profile (about the user) or a playbook (how to answer them), made by Reflexio from a window "
    "of a user's latest interactions, across requests and sessions. It outlives the request that it came "
    "from."
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the work, for a model that has one of its tools.

    `{tools}` are those that it has, and `{deletes}` is how a deletion works.
    """

    text: str
    tools: tuple[str, ...]
    learns: bool = False


STEPS: Final = (
    Step(
        "Publish each question with its answer, under the session_id of the conversation.",
        ("publish_interaction",),
    ),
    Step("Look: {tools}.", ("list_sessions", "list_requests", "get_request")),
    Step(
        "Check: {tools} says what is wrong with stored requests, and names the call that cleans them up.",
        ("audit_traffic",),
    ),
    Step(
        "Delete: {deletes}, and the receipt says what was deleted and what was not.",
        ("delete_request", "delete_session", "delete_requests"),
    ),
    Step(
        "Say when a conversation is over: {tools}, or session_finished with its last publish. Reflexio then learns "
        "from it at once.",
        ("finish_session",),
        learns=True,
    ),
    Step("See what was learned, and from what: {tools}.", ("list_learnings",), learns=True),
    Step("Correct a learning with {tools}.", ("correct_learning",), learns=True),
    Step(
        "Delete a learning with {tools}, or with include_learnings together with its requests.",
        ("delete_learnings",),
        learns=True,
    ),
)

DELETES: Final = {
    "auto": "a delete_ tool asks the person in a form, or shows a plan and acts with its confirm code after their yes",
    "ask": "a delete_ tool asks the person in a form, and then acts",
    "preview": "a delete_ tool shows a plan; once the person agrees, the same call with its confirm code acts",
    "off": "a delete_ tool acts at once and shows no plan, so ask the person before deleting more than a few requests",
}
"""How a deletion works, by `REFLEXIO_MCP_CONFIRM`."""

CHOICES: Final = (
    ("a conversation with a person", "their user_id, a new session_id, and the same source every time"),
    ("a coding agent", "the developer as user_id, the thread as session_id, source=ide"),
    ("several agents in one product", "one source; agent_version tells the agents apart"),
    (
        "tests, demos, evaluation runs",
        "evaluation_only=true and a source of their own, so that they are easy to delete",
    ),
    ("importing old conversations", "their original session ids, published once, with your own request_ids"),
    ("the reply to a publish was lost", "publish again with the same request_id"),
    ("a private matter, of no use to others", "skip_aggregation=true"),
)

CHOICE_OF_LEARNING: Final = (
    "the next step needs what is learned", "force_extraction=true and wait_for_response=true",
)  # fmt: skip

NOT_LEARNING: Final = "This store learns nothing. Advice about learning here is for a backend that learns."

WAITING: Final = (
    "wait_for_response defaults to false for a publish: learning takes a while, and the conversation goes on without "
    "it. It defaults to true for a deletion, because the receipt says whether it worked. Pass false there when the "
    "selection is large and the host gives up early."
)
RECEIPT_LATER: Final = " The receipt is then in get_status."

FIELDS: Final = (
    Field("user_id", "any text but blank",
          "Whose memory it is. One stable id for each person; never a shared account such as `default`."),
    Field("session_id", "any text but blank",
          "One conversation of one user, the same id from its first interaction to its last. Sessions are shared "
          "across users, so make the id unique: a uuid, or the chat's own id."),
    Field("interactions", f"1 to {api_limits.MAX_INTERACTIONS:,} interactions, {api_limits.MAX_CONTENT_CHARS:,} "
          f"characters each, {api_limits.MAX_BODY_BYTES // 2**20} MiB in all",
          "What was said since the last publish, question and answer together, each interaction once."),
    Field("source", f"empty, or {api_limits.SOURCE_PATTERN.pattern}",
          "Which integration sent it: one constant word such as `ide` or `support-chat`. No dates, no ids."),
    Field("agent_version", f"up to {api_limits.MAX_AGENT_VERSION_CHARS:,} characters; empty is stored as "
          f"{api_limits.DEFAULT_AGENT_VERSION}",
          "Which agent answered: change it with every change of prompt or model, so that versions can be compared."),
    Field("request_id", "any text but blank; made when left out",
          "Leave it out, or give your own to repeat a publish safely: the same id is never stored twice."),
    Field("wait_for_response", f"true or false; the service waits at most {api_limits.PUBLISH_WAIT_SECONDS} s",
          "True only when the next step needs what is learned from this request."),
    Field("skip_aggregation", "true or false",
          "True keeps it out of what is learned across users."),
    Field("force_extraction", "true or false; not with evaluation_only",
          "True learns from it now instead of waiting for more of the conversation."),
    Field("evaluation_only", "true or false",
          "True for tests, demos, staging and shadow traffic: it is stored and never learned from."),
    Field("session_finished", "true or false",
          "True with the last publish of a conversation: its waiting requests are then learned from.",
          learns=True),
    Field("override_learning_stall", "true or false",
          "True tries to learn although the service has paused because its model refused the key or account.",
          learns=True),
    Field("retrieval_experiment_id", "any text, with retrieval_experiment_arm",
          "The experiment that compares answers with and without what was learned.", learns=True),
    Field("retrieval_experiment_arm", "treatment or holdout",
          "treatment if the agent was given what was learned, holdout if it was not.", learns=True),
)  # fmt: skip


def guide(tools: Collection[str], *, learns: bool, confirm: Confirm) -> str:
    """Return the guide as text.

    Args:
        tools: the tools that the reader has. No other tool is named.
        learns: whether the backend learns from what is stored.
        confirm: who agrees to a deletion.
    """
    parts = [
        [
            "How to publish so that Reflexio learns the right things and a mistake can be undone.",
        ],
        ["What is stored", *TERMS, LEARNING if learns else NOT_LEARNING],
        ["Using the tools", *_steps(tools, learns=learns, confirm=confirm)],
        ["Common choices", *_choices(tools, learns=learns)],
    ]
    if "publish_interaction" in tools:
        fields = [field for field in FIELDS if learns or not field.learns]
        arguments = [f"{field.name} ({field.accepts}): {field.advice}" for field in fields]
        parts.append(["The arguments of publish_interaction", *arguments])
        if learns:
            parts.append(
                [f"The service takes {api_limits.PUBLISHES_PER_MINUTE} publishes a minute from one client."]
            )
    if "audit_traffic" in tools:
        # Rules about learning have the word in their names.
        rules = [rule for rule in RULES if learns or "learning" not in rule.name]
        advice = [f"{rule.name}: {rule.advice}" for rule in rules]
        parts.append(["What audit_traffic looks for, and what to do instead:", *advice])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _steps(tools: Collection[str], *, learns: bool, confirm: Confirm) -> list[str]:
    lines: list[str] = []
    for step in STEPS:
        offered = [tool for tool in step.tools if tool in tools]
        if offered and (learns or not step.learns):
            text = step.text.format(tools=", ".join(offered), deletes=DELETES[confirm])
            lines.append(f"{len(lines) + 1}. {text}")
    return lines


def _choices(tools: Collection[str], *, learns: bool) -> list[str]:
    choices = (*CHOICES, CHOICE_OF_LEARNING) if learns else CHOICES
    receipt = RECEIPT_LATER if "get_status" in tools else ""
    return [*(f"- {what}: {chosen}" for what, chosen in choices), f"{WAITING}{receipt}"]
