"""Results of the reading tools: sessions, requests, learnings and exports."""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, WithJsonSchema

from reflexio_mcp.rest.models import StoredInteraction
from reflexio_mcp.results.base import Moment, Row, at, beginning, clip, label, shown_name
from reflexio_mcp.results.deletion import SharedRuleRow
from reflexio_mcp.results.facts import Fact, FactCode, Result

__all__ = [
    "MOST_NAMES",
    "NOT_APPLICABLE",
    "UNREADABLE_SHOWN",
    "ChangeKind",
    "ChangeRow",
    "EvidenceRow",
    "ExplorerData",
    "ExplorerRow",
    "ExplorerSession",
    "ExplorerState",
    "Exported",
    "FromRequest",
    "Held",
    "InteractionRow",
    "LearnedHere",
    "LearningEvidence",
    "LearningPage",
    "LearningRow",
    "LearningState",
    "Looked",
    "Manifest",
    "Matched",
    "OneRequest",
    "OtherLearning",
    "OutcomeRow",
    "RequestPage",
    "RequestRow",
    "RuleWords",
    "SessionPage",
    "SessionRequests",
    "SessionRow",
    "UnreadablePart",
    "UsedLearning",
    "UserLearnings",
    "VerdictRow",
    "as_name",
    "interaction_row",
    "learning_state",
]

MOST_NAMES: Final = 10
"""Maximum number of users, sources, versions or tools in one row."""

UNREADABLE_SHOWN: Final = 5

SAME_SECONDS: Final = 60
"""An interaction's own time is shown if it differs by more than this from the time of its request."""

CutBySize = Annotated[
    bool, Field(description="fewer rows than asked for, because one answer has no room for more")
]

Matched = Literal["tool data", "image address", "request_id", "session_id"]


class Looked(Row):
    """The filter of a list, and how much was read for it."""

    filter: Annotated[str, Field(description="the filter as it was understood")] = ""
    requests: Annotated[int | None, Field(description="requests read to apply the filter")] = None
    back_to: Annotated[Moment | None, Field(description="nothing older was looked at")] = None
    complete: Annotated[bool, Field(description="true: nothing else matches")]


class UnreadablePart(Row):
    """The time of a session or request that the service fails to return."""

    first: Moment | None = None
    last: Moment | None = None
    whole_session: Annotated[bool, Field(description="a session whose newest request arrived then")] = False


class Held(Row):
    """A hold of the operator: what it keeps can be neither deleted nor corrected."""

    reason: str
    until: Annotated[Moment | None, Field(description="the end of its last day")] = None


class OutcomeRow(Row):
    """How a session ended for a user."""

    outcome: str
    label: str = ""
    value: float | None = None
    inferred: Annotated[bool, Field(description="Reflexio's own judgment")] = False
    occurred_at: Moment | None = None
    user_id: Annotated[str, Field(description="left out if there is only one user")] = ""


class SessionRow(Row):
    """One session, counting only requests that match the filter."""

    session_id: str
    users: Annotated[
        list[str], Field(description="most frequent first; left out if the filter names one")
    ] = []
    requests_of_users: Annotated[
        list[int], Field(description="matching requests of each of users, if there are several")
    ] = []
    more_users: int = 0
    requests: Annotated[int, Field(description="matching requests")]
    not_matching: Annotated[int, Field(description="requests looked at that do not match")] = 0
    interactions: int
    characters: Annotated[int, Field(description="of text in the matching requests")]
    first: Annotated[Moment, Field(description="arrival of its oldest matching request")]
    last: Annotated[Moment | None, Field(description="arrival of its newest matching request, if later")] = (
        None
    )
    sources: list[str] = []
    agent_versions: list[str] = []
    evaluation_only: Annotated[int, Field(description="requests that are never learned from")] = 0
    held: Annotated[list[Held], Field(description="the holds on its matching requests")] = []
    outcomes: Annotated[list[OutcomeRow], Field(description="how it ended")] = []
    first_words: str = ""
    fingerprint: Annotated[str, Field(description="of its oldest matching request, if content is hidden")] = (
        ""
    )
    redacted: Annotated[bool, Field(description="a secret was replaced in this row")] = False


class SessionPage(Result):
    """Stored sessions, newest first."""

    looked_at: Looked
    returned: Annotated[int, Field(description="sessions on this page")]
    cut_by_size: CutBySize = False
    total: Annotated[int | None, Field(description="sessions in all pages, if known")] = None
    sessions: list[SessionRow]
    unreadable: list[UnreadablePart] = []
    cursor: Annotated[str | None, Field(description="for the next page")] = None


class InteractionRow(Row):
    """One interaction. `characters` is the full length of a content that is cut, or of all texts that are hidden."""

    interaction_id: int
    role: str
    created_at: Annotated[Moment | None, Field(description="if it differs from that of the request")] = None
    content: str = ""
    content_from: Annotated[int, Field(description="the content begins at this character")] = 0
    characters: Annotated[
        int | None, Field(description="of the content if it is cut, of all texts if they are hidden")
    ] = None
    user_action: str = ""
    user_action_description: str = ""
    interacted_image_url: str = ""
    shadow_content: str = ""
    expert_content: str = ""
    tools_used: Annotated[list[str], Field(description="each as JSON")] = []
    retrieved_learnings: Annotated[list[str], Field(description="each as JSON")] = []


_NAME: Final = re.compile(r"(?=.{0,64}\Z)(?:[\w.+:/@-]{1,64}(?: [\w.+:/@-]{1,24}){0,2})?")


def as_name(text: str) -> str:
    """Return a role or version, or only its length if it is a sentence: then it counts as content."""
    return text if _NAME.fullmatch(text) else f"({len(text):,} characters)"


def interaction_row(
    interaction: StoredInteraction,
    chars: int,
    *,
    arrived: int,
    begin: int = 0,
    other_chars: int | None = None,
    masked: bool = False,
) -> InteractionRow:
    """Return one interaction, its content cut to `chars` from `begin` on.

    Args:
        arrived: when its request arrived.
        other_chars: limit of each other text; `chars` if left out.
        masked: show who spoke and how much instead of texts.
    """
    has_own_time = interaction.created_at and abs(interaction.created_at - arrived) > SAME_SECONDS
    action = interaction.user_action if interaction.user_action != "none" else ""
    row = InteractionRow(
        interaction_id=interaction.interaction_id,
        role=shown_name(as_name(interaction.role) if masked else interaction.role),
        created_at=at(interaction.created_at) if has_own_time else None,
        user_action=shown_name(as_name(action) if masked else action),
    )
    if masked:
        texts = (
            interaction.content,
            interaction.user_action_description,
            interaction.shadow_content,
            interaction.expert_content,
        )
        return row.model_copy(update={"characters": sum(map(len, texts))})
    content, used = beginning(interaction.content, chars, begin)
    other = chars if other_chars is None else other_chars
    return row.model_copy(
        update={
            "content": content,
            "content_from": begin,
            "characters": len(interaction.content) if used < len(interaction.content) else None,
            "user_action_description": clip(interaction.user_action_description, other),
            "interacted_image_url": shown_name(interaction.interacted_image_url, other),
            "shadow_content": clip(interaction.shadow_content, other),
            "expert_content": clip(interaction.expert_content, other),
            "tools_used": _as_json(interaction.tools_used, other),
            "retrieved_learnings": _as_json(interaction.retrieved_learnings, other),
        }
    )


def _as_json(values: Sequence[object], chars: int) -> list[str]:
    shown = [
        json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
        for value in values[:MOST_NAMES]
    ]
    more = [f"… {len(values) - MOST_NAMES:,} more"] if len(values) > MOST_NAMES else []
    return [*(clip(text, chars) for text in shown), *more]


class RequestRow(Row):
    request_id: str
    user_id: Annotated[str | None, Field(description="left out if the filter names it")] = None
    created_at: Annotated[Moment, Field(description="when it arrived")]
    source: str = ""
    agent_version: str = ""
    evaluation_only: bool = False
    held: Annotated[Held | None, Field(description="the hold on this request")] = None
    retrieval_experiment_id: str = ""
    retrieval_experiment_arm: str = ""
    interaction_count: Annotated[
        int | None, Field(description="left out if all of them are listed below")
    ] = None
    first_words: str = ""
    matched: Annotated[
        Matched | None, Field(description="the part that `contains` matched, if it is not a text")
    ] = None
    found: Annotated[str, Field(description="the words and the text around them")] = ""
    fingerprint: Annotated[str, Field(description="of the content, if content is hidden")] = ""
    characters: Annotated[int | None, Field(description="of text, if content is hidden")] = None
    roles: Annotated[list[str], Field(description="if content is hidden")] = []
    interactions: list[InteractionRow] = []
    interactions_left_out: int = 0
    redacted: Annotated[bool, Field(description="a secret was replaced in this row")] = False


class ExplorerRow(RequestRow):
    """A row of the explorer's page.

    Args:
        first_interaction: the smallest id of its interactions. It orders requests that arrived in the same second.
        last_words: the beginning of its last text; empty unless it is its session's newest request on the page.
        last_role: who said it.
        restored: a restore of the last days has stored it.
        restored_from, restored_interaction: this request is a restored copy of that interaction of that request.
    """

    first_interaction: int = 0
    last_words: str = ""
    last_role: str = ""
    restored: bool = False
    restored_from: str = ""
    restored_interaction: int = 0


class ExplorerSession(Row):
    session_id: str
    outcomes: list[OutcomeRow] = []
    requests: list[ExplorerRow]


class SessionRequests(Row):
    session_id: str
    not_matching: Annotated[int, Field(description="its requests that were looked at and do not match")] = 0
    requests: list[RequestRow]


class RequestPage(Result):
    """Stored requests, grouped by session, newest first."""

    looked_at: Looked
    returned: Annotated[int, Field(description="requests on this page")]
    cut_by_size: CutBySize = False
    total: Annotated[int | None, Field(description="requests in all pages, if known")] = None
    sessions: list[SessionRequests]
    unreadable: list[UnreadablePart] = []
    cursor: Annotated[str | None, Field(description="for the next page")] = None

    @property
    def requests(self) -> list[RequestRow]:
        return [request for session in self.sessions for request in session.requests]


class LearningState(Row):
    """The state of learning from a request."""

    status: Annotated[str, Field(description="the service's word, `nothing`, `still_learning` or `unknown`")]
    reason: str = ""
    means: Annotated[FactCode, WithJsonSchema({"type": "string", "description": "a code of docs/tools.md"})]


NOT_APPLICABLE: Final = "not_applicable"

_MEANINGS: Final = {
    "waiting_for_window": FactCode.LEARNING_WAITS,
    "covered": FactCode.LEARNING_COVERED,
    "deferred": FactCode.LEARNING_NOT_BEGUN,
    "pending": FactCode.LEARNING_NOT_BEGUN,
    "processing": FactCode.LEARNING_RUNS,
    "still_learning": FactCode.LEARNING_RUNS,
    "inputs_erased": FactCode.LEARNING_INPUT_GONE,
    "done": FactCode.LEARNING_DONE,
    "not_tracked": FactCode.LEARNING_NOT_TRACKED,
    "embedded_store": FactCode.STORE_DOES_NOT_LEARN,
    "failed": FactCode.LEARNING_FAILED,
}
"""By the service's word for a reason, or else for a status."""


def learning_state(status: str, reason: str | None, *, evaluation_only: bool) -> LearningState:
    if reason == NOT_APPLICABLE:
        means = FactCode.LEARNING_EXCLUDED if evaluation_only else FactCode.LEARNING_POINTLESS
        return LearningState(status="nothing", reason=NOT_APPLICABLE, means=means)
    known, why = label(status or "unknown"), label(reason or "")
    means = _MEANINGS.get(why) or _MEANINGS.get(known) or FactCode.LEARNING_UNKNOWN
    return LearningState(status=known, reason=why, means=means)


class EvidenceRow(Row):
    """Words that a learning quotes, and a stored interaction that says them."""

    quote: Annotated[str, Field(description="left out if content is hidden")] = ""
    near: Annotated[bool, Field(description="the interaction says it in similar words")] = False
    request_id: str
    interaction_id: int
    role: str = ""
    said_at: Moment


class FromRequest(Row):
    """A stored request of the window that a learning came from."""

    request_id: str
    interaction_ids: list[int]


class OtherLearning(Row):
    """A learning that replaced another one, or was replaced by it."""

    learning_id: str
    state: str
    content: Annotated[str, Field(description="left out if content is hidden")] = ""
    changed_at: Moment | None = None


class LearningRow(Row):
    """One profile or playbook, with the words that taught it."""

    learning_id: str
    state: str
    held: Annotated[
        Held | None, Field(description="the hold on it, or on a stored request that it came from")
    ] = None
    known_since: Annotated[
        Moment | None, Field(description="when it, or the first learning that it replaced, was learned")
    ] = None
    changed_at: Moment | None = None
    user_id: Annotated[str | None, Field(description="left out if the call names the user")] = None
    content: str = ""
    characters: Annotated[int | None, Field(description="of the content, if content is hidden")] = None
    trigger: str = ""
    evidence: Annotated[list[EvidenceRow], Field(description="the words that taught it")] = []
    more_evidence: int = 0
    quotes_not_found: Annotated[
        list[str], Field(description="words that it quotes and no interaction says that was looked up")
    ] = []
    window_only: Annotated[
        int,
        Field(description="stored interactions that were read at the same time and that it does not quote"),
    ] = 0
    words_nowhere_else: Annotated[
        bool,
        Field(description="the user's other stored requests have none of its longer words"),
    ] = False
    from_requests: Annotated[
        list[FromRequest],
        Field(description="what it may have come from, if its evidence does not show it"),
    ] = []
    more_requests: int = 0
    source: Annotated[
        Literal["recorded", "reconstructed", "not_known"],
        Field(description="reconstructed: from the last request of the window that it was learned in"),
    ]
    interactions_deleted: Annotated[
        int, Field(description="that it came from and that are not stored any more")
    ] = 0
    interactions_not_looked_up: int = 0
    last_request: Annotated[str, Field(description="the request it names, if it lists no interactions")] = ""
    replaced_by: Annotated[OtherLearning | None, Field(description="what it has become")] = None
    replaced: Annotated[
        list[OtherLearning], Field(description="what it took the place of, the latest first")
    ] = []
    more_replaced: int = 0


class LearnedHere(Row):
    """A learning that quotes the shown request."""

    learning_id: str
    state: str
    content: Annotated[str, Field(description="left out if content is hidden")] = ""
    quote: Annotated[str, Field(description="what it quotes; left out if content is hidden")] = ""
    near: Annotated[bool, Field(description="the interaction says it in similar words")] = False
    interaction_id: int


class VerdictRow(Row):
    """How Reflexio's own evaluation judged a learning that was retrieved for an answer."""

    is_relevant: bool | None = None
    relevance_reason: str = ""
    impact: str = ""
    impact_reason: str = ""


class UsedLearning(Row):
    """A learning that was retrieved for an answer, as the client that stored the answer says."""

    interaction_id: int
    kind: str
    learning_id: Annotated[str, Field(description="as list_learnings shows it")]
    learning: Annotated[LearningRow | None, Field(description="left out if it is not stored any more")] = None
    shared_rule: Annotated[OtherLearning | None, Field(description="of an agent playbook")] = None
    verdict: VerdictRow | None = None
    applied: Annotated[int | None, Field(description="answers of the last 30 days that cite it")] = None


class OneRequest(Result, RequestRow):
    session_id: str
    learning: LearningState
    outcomes: Annotated[list[OutcomeRow], Field(description="how its session ended")] = []
    learned: Annotated[list[LearnedHere], Field(description="what was learned from its words")] = []
    used: Annotated[list[UsedLearning], Field(description="the memory behind its answers")] = []
    cursor: Annotated[str | None, Field(description="for its further interactions")] = None


ChangeKind = Literal[
    "new",
    "replaced",
    "corrected",
    "forgotten",
    "expired",
    "taken_back",
    "put_back",
    "exported",
]


class ChangeRow(Row):
    """A change in what is known."""

    change: Annotated[
        ChangeKind,
        Field(description="forgotten: by Reflexio; taken_back: deleted here; put_back: current again"),
    ]
    at: Moment
    learning_id: str = ""
    user_id: Annotated[str | None, Field(description="left out if the call names the user")] = None
    content: Annotated[str, Field(description="what it says now, or said before it was deleted")] = ""
    trigger: str = ""
    old: Annotated[
        list[str], Field(description="what it said before, or what it took the place of, the latest first")
    ] = []
    more_old: int = 0
    elsewhere: Annotated[bool, Field(description="not by this server: the old text is not known")] = False
    # Either Reflexio has forgotten it, or what had replaced it was deleted. Nothing shows which.
    maybe_deleted: Annotated[
        bool, Field(description="forgotten, or what had taken its place was deleted")
    ] = False
    job: Annotated[int, Field(description="the number of the deletion, correction or restore")] = 0
    selected: Annotated[str, Field(description="what was exported")] = ""
    exported: Annotated[int, Field(description="number of exported learnings")] = 0


class UserLearnings(Row):
    """How many learnings one user has among the selected ones."""

    user_id: str
    learnings: int


class LearningPage(Result):
    """Learnings, last changed first, the current learnings before all others."""

    of: Annotated[str, Field(description="what the learnings were selected by")]
    returned: int
    cut_by_size: CutBySize = False
    total: int
    by_user: Annotated[list[UserLearnings], Field(description="the users with most, if none is named")] = []
    learnings: list[LearningRow]
    lists_rules: Annotated[bool, Field(description="shared_rules was asked for, not learnings")] = False
    shared_rules: list[SharedRuleRow] = []
    changed_since: Annotated[Moment | None, Field(description="if changes are listed instead")] = None
    changes: Annotated[list[ChangeRow], Field(description="the latest first")] = []
    users_not_read: int = 0
    unlinked: Annotated[int, Field(description="learnings that do not say what they came from")] = 0
    learning: Annotated[LearningState | None, Field(description="the state of learning from the request")] = (
        None
    )
    unreadable: list[UnreadablePart] = []
    cursor: str | None = None


class RuleWords(Row):
    """What the explorer's page says about a rule."""

    why: str
    grave: bool


class ExplorerState(Row):
    """What the page needs to know about this server before it draws.

    Args:
        whose: the user that the server is confined to.
        where, keeper: where requests are stored, and where recovery copies are, in words.
        rules: what the page says of each finding.
        delete_cap: maximum number of items deleted in an hour; 0 means no limit.
        filter: the filter that the page was opened with, its times in epoch seconds.
    """

    whose: str
    where: str
    keeper: str
    masked: bool
    recovery_days: float
    delete_cap: int
    tools: list[str]
    rules: dict[str, RuleWords]
    filter: dict[str, str | int | None]


class ExplorerData(Result):
    """An answer to the page; each view fills some of the fields.

    Args:
        sessions: rows of requests.
        looked_at: requests that were read for the rows or findings.
        without_words: the rows have no words yet, because the formats of secrets are not loaded yet.
        findings: by rule and request id, the ids of the interactions that have the finding.
        no_problem: the same, of findings that somebody judged to be no problem.
        passages: by request id, the words that may be orders to an assistant, without secrets and personal data.
    """

    view: str
    state: ExplorerState | None = None
    sessions: list[ExplorerSession] = []
    looked_at: int = 0
    cursor: str | None = None
    without_words: bool = False
    findings: dict[str, dict[str, list[int]]] = {}
    no_problem: dict[str, dict[str, list[int]]] = {}
    passages: dict[str, list[str]] = {}
    one: OneRequest | None = None
    plan: dict[str, Any] | None = None


class LearningEvidence(Row):
    """The words that taught a learning, as an export has them: whole, and as they are stored."""

    learning_id: str
    user_id: str
    evidence: list[EvidenceRow]
    quotes_not_found: list[str]
    window_only: int
    interactions_deleted: int


class Manifest(Row):
    """The content of `manifest.json` in an archive, made or planned.

    Args:
        findings: how many requests have a secret or personal data as they are stored, by the findings of an audit. A
            finding that was not looked for is missing.
    """

    made_at: Moment
    backend: str
    filter: str
    counts: dict[str, int]
    findings: dict[str, int] = {}
    period: list[Moment] = []
    sha256: dict[str, str] = {}
    unreadable: list[UnreadablePart] = []
    facts: list[Fact] = []


class Exported(Result):
    """The plan of an export, or where its archive is."""

    archive: Manifest
    file: str = ""
    link: str = ""
    confirm: str = ""
