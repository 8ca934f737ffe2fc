"""Bodies of the API. Validators are built at the first use, so that a server starts fast."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp.rest import api_limits

__all__ = [
    "TEXT_FIELDS",
    "AgentPlaybook",
    "ApplicationStat",
    "Approval",
    "DeleteReply",
    "Interaction",
    "LearningStatus",
    "PublishBody",
    "PublishReply",
    "Reply",
    "RequestPage",
    "RequestQuery",
    "RequestWithInteractions",
    "RetrievedLearningVerdict",
    "Search",
    "SessionGroup",
    "SessionOutcome",
    "SourcePlaybook",
    "StoredInteraction",
    "StoredRequest",
    "UnreadableRequest",
    "UserPlaybook",
    "UserProfile",
    "as_stored",
    "differences",
    "embedded_learning_status",
]

UserAction = Literal["click", "scroll", "type", "none"]


class SentBody(BaseModel):
    """Base of sent bodies and their parts. An unknown field is an error."""

    model_config = ConfigDict(extra="forbid", defer_build=True, str_strip_whitespace=False)


class Received(BaseModel):
    """Base of replies and their parts. Unknown fields are ignored; missing and null ones have the API's default."""

    model_config = ConfigDict(extra="ignore", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_missing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        fields = cast("dict[str, Any]", data)
        if None not in fields.values():
            return fields
        return {name: value for name, value in fields.items() if value is not None}


class Reply(Received):
    success: Literal[True] = True
    correlation_id: str | None = Field(default=None, exclude=True)
    """Set by the client from the `x-correlation-id` header."""
    repeated: bool = Field(default=False, exclude=True)
    """Set by the client: the reply to an earlier try was lost. The service may still carry that try out."""


class ToolUse(SentBody):
    tool_name: Annotated[str, Field(min_length=1)]
    tool_data: dict[str, Any] = {}
    status: str = ""


class Citation(SentBody):
    kind: Literal["playbook", "profile", "user_playbook", "agent_playbook"]
    real_id: str
    tag: str = ""
    title: str = ""


class RetrievedLearning(SentBody):
    kind: str
    learning_id: str


class Interaction(SentBody):
    """One interaction to publish, with a text, an action, an image or a tool use."""

    role: Annotated[str, Field(max_length=api_limits.MAX_ROLE_CHARS, description="User or Assistant")] = (
        "User"
    )
    content: Annotated[str, Field(max_length=api_limits.MAX_CONTENT_CHARS)] = ""
    created_at: Annotated[int, Field(description="epoch seconds")] | SkipJsonSchema[None] = None
    user_action: UserAction = "none"
    user_action_description: Annotated[str, Field(max_length=api_limits.MAX_ACTION_DESCRIPTION_CHARS)] = ""
    interacted_image_url: Annotated[str, Field(max_length=api_limits.MAX_IMAGE_URL_CHARS)] = ""
    image_encoding: Annotated[
        str, Field(max_length=api_limits.MAX_IMAGE_BASE64_CHARS, description="base64 image")
    ] = ""
    shadow_content: Annotated[
        str,
        Field(
            max_length=api_limits.MAX_CONTENT_CHARS, description="answer of an alternative agent, to compare"
        ),
    ] = ""
    expert_content: Annotated[
        str, Field(max_length=api_limits.MAX_CONTENT_CHARS, description="the answer an expert would give")
    ] = ""
    tools_used: list[ToolUse] = []
    citations: Annotated[list[Citation], Field(description="learnings it cites")] = []
    retrieved_learnings: Annotated[
        list[RetrievedLearning], Field(description="learnings retrieved for it")
    ] = []


class PublishBody(SentBody):
    user_id: str
    session_id: str
    request_id: str
    """Set before it is sent, so that the publish can be repeated safely."""
    interaction_data_list: list[Interaction]
    source: str = ""
    agent_version: str = ""
    skip_aggregation: bool = False
    force_extraction: bool = False
    evaluation_only: bool = False
    session_finished: bool = False
    override_learning_stall: bool = False
    retrieval_experiment_id: str | None = None
    retrieval_experiment_arm: str | None = None


class PublishReply(Reply):
    warnings: list[str] = []
    request_id: str = ""
    profiles_added: int | None = None
    playbooks_added: int | None = None
    learning_status: str = ""
    learning_reason: str | None = None
    already_stored: bool = False
    """Set by the client: the first reply was lost, but the request had arrived."""


class StoredInteraction(Received):
    """A stored interaction. The API does not return `image_encoding` and `citations`."""

    interaction_id: int
    user_id: str = ""
    request_id: str = ""
    created_at: int = 0
    role: str = "User"
    content: str = ""
    user_action: str = "none"
    user_action_description: str = ""
    interacted_image_url: str = ""
    shadow_content: str = ""
    expert_content: str = ""
    tools_used: list[dict[str, Any]] = []
    retrieved_learnings: list[dict[str, Any]] = []
    citations: list[dict[str, Any]] | None = None
    image_encoding: str | None = None
    image_digest: str = ""
    """In lists of the embedded store, which have no images: equal for equal images."""


class StoredRequest(Received):
    """A stored request without its interactions. `created_at` is its arrival in epoch seconds."""

    request_id: str
    user_id: str = ""
    created_at: int = 0
    source: str = ""
    agent_version: str = ""
    session_id: str = ""
    evaluation_only: bool = False
    retrieval_experiment_id: str | None = None
    retrieval_experiment_arm: str | None = None
    arrival: int | None = None
    """Serial number in the embedded store. A restored request gets another."""
    whole: bool = False
    """All stored fields were read, so that the request can be restored exactly."""


class RequestWithInteractions(Received):
    request: StoredRequest
    interactions: list[StoredInteraction] = []


class UnreadableRequest(RequestWithInteractions):
    """A stored request that the service fails to return. Only its id and user are known."""

    @classmethod
    def of(cls, request_id: str, user_id: str) -> Self:
        return cls(request=StoredRequest(request_id=request_id, user_id=user_id))


class SessionGroup(Received):
    """A session with its requests that match a query.

    Args:
        left_out: how many requests the session has, if the embedded store returned none of them, because `Search`
            cannot match any; else 0.
        newest: when the newest of the left-out requests arrived, in epoch seconds.
    """

    session_id: str
    requests: list[RequestWithInteractions] = []
    left_out: int = 0
    newest: int = 0


class Search(SentBody):
    """What a filter looks for inside requests. The embedded store leaves out sessions where nothing can match.

    Args:
        contains: words, as in the filter.
        test_traffic: names that say test.
    """

    contains: str = ""
    agent_version: str = ""
    evaluation_only: bool | None = None
    test_traffic: bool = False


class RequestQuery(SentBody):
    """Body of `POST /api/get_requests`. Times are inclusive epoch seconds. `top_k` and `offset` count sessions."""

    user_id: str | None = None
    request_id: str | None = None
    session_id: str | None = None
    source: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    top_k: int = 30
    offset: int = 0
    count: Literal["sessions", "requests"] | None = None
    """Asks the embedded store for a total, which the API does not have."""
    search: Search | None = None
    resume_at: tuple[int, str] | None = None
    """Newest second and id of a session, from which the embedded store reads on instead of counting sessions."""
    most_reply_bytes: int | None = None
    """Not sent. The embedded store returns as many sessions as fit, at least two; over HTTP, the client takes a longer
    reply for an error."""


class RequestPage(Reply):
    """Sessions and their requests, both newest first."""

    sessions: list[SessionGroup] = []
    has_more: bool = False
    total: int | None = None
    server_time: float | None = None
    """Set by the client from the `Date` header, in epoch seconds."""
    size: int = 0
    """Set by the client: the bytes of the reply over HTTP."""


class WholeRequests(Reply):
    """As many of the requested requests as one reply has room for."""

    requests: list[RequestWithInteractions] = []
    looked_up: int
    """How many ids were looked up, stored or not."""


class DeleteReply(Reply):
    """The reply to a call that deletes or overwrites. It does not prove that something is gone."""

    deleted_count: int | None = None
    """`None` also for a repeated call, because an earlier try may have deleted something."""
    deleted_counts: dict[str, int] = {}
    """In the reply to the deletion of a user: how many were deleted of `requests` and other kinds."""


class SessionOutcome(Received):
    """How a session ended. Unknown fields are kept for exports."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    user_id: str = ""
    session_id: str = ""
    outcome: str = ""
    label: str = ""
    value: float | None = None
    is_inferred: bool = False
    occurred_at: int = 0


class LearningStatus(Reply):
    status: str = "not_tracked"
    reason: str | None = None


class Operation(Received):
    """A run, started by an operator, that generates learnings anew.

    Args:
        processed_user_ids: users that the run has finished.
        request_params: `user_id` is the only user; without it the run covers all users.
    """

    status: str = ""
    processed_user_ids: list[str] = []
    request_params: dict[str, Any] = {}

    def runs_for(self, user_id: str) -> bool:
        return (
            self.status == "in_progress"
            and self.request_params.get("user_id") in {None, "", user_id}
            and user_id not in self.processed_user_ids
        )


class OperationReply(Reply):
    operation_status: Operation | None = None


def embedded_learning_status(*, evaluation_only: bool) -> LearningStatus:
    """The state of learning in the embedded store, which does not learn."""
    if evaluation_only:
        return LearningStatus(status="done", reason="not_applicable")
    return LearningStatus(status="not_tracked", reason="embedded_store")


class UserProfile(Received):
    """A profile, with every interaction of the windows that it was learned from."""

    profile_id: str
    user_id: str = ""
    generated_from_request_id: str = ""
    content: str = ""
    last_modified_timestamp: int = 0
    source: str = ""
    source_interaction_ids: list[int] = []
    source_span: str = ""
    status: str | None = None
    """`None` for a current profile; else `pending`, `archived`, `merged`, `superseded` or `expired`."""
    profile_time_to_live: str = "infinity"
    expiration_timestamp: int = 0
    custom_features: dict[str, Any] | None = None
    extractor_names: list[str] | None = None
    tags: list[str] = []


class UserPlaybook(Received):
    """A user playbook, with the interactions that it cites."""

    user_playbook_id: int
    user_id: str | None = None
    request_id: str = ""
    content: str = ""
    trigger: str = ""
    rationale: str = ""
    created_at: int = 0
    source: str = ""
    source_interaction_ids: list[int] = []
    source_span: str = ""
    status: str | None = None
    agent_version: str = ""
    playbook_name: str = ""
    tags: list[str] = []
    reader_angle: str | None = None
    """Never returned, but sent with a restored playbook. If Reflexio learns the same again, it replaces a playbook that
    has a reader angle. Beside one without, it stores a second playbook."""


Approval = Literal["pending", "approved", "rejected"]


class AgentPlaybook(Received):
    """A rule that Reflexio made from playbooks of several users and serves to everybody.

    Args:
        playbook_status: whether a person approved it. Pending rules are served too.
        status: `None` for a current one, as in `UserProfile`.
    """

    agent_playbook_id: int
    agent_version: str = ""
    playbook_name: str = ""
    created_at: int = 0
    content: str = ""
    trigger: str = ""
    rationale: str = ""
    playbook_status: Approval = "pending"
    status: str | None = None
    tags: list[str] = []


class SourceInteraction(Received):
    """Where a stored interaction is. Its content, which can be another user's, is not read."""

    interaction_id: int
    request_id: str = ""


class SourcePlaybook(Received):
    """A user playbook that a shared rule was made from, with its interactions that are stored."""

    user_playbook: UserPlaybook
    source_interaction_ids: list[int] = []
    interactions: list[SourceInteraction] = []


class AgentPlaybookSources(Reply):
    """What a shared rule was made from.

    Args:
        provenance_status: it is `exact` even if the sources of a deleted user are missing, and `unavailable` if the
            service recorded no sources or all of them are deleted.
    """

    provenance_status: Literal["exact", "best_effort", "unavailable"] = "unavailable"
    source_user_playbooks: list[SourcePlaybook] = []


class ApplicationStat(Received):
    """How often answers cited a learning. `kind` is `playbook` for an old citation of either kind of playbook."""

    kind: str
    real_id: str
    title: str = ""
    applied_count: int = 0
    last_applied_at: int | None = None
    last_interaction_id: int | None = None


class RetrievedLearningVerdict(Received):
    """How Reflexio judged one learning that was retrieved for one interaction.

    It stays when the interaction and the learning are deleted.
    """

    kind: str
    learning_id: str
    user_id: str = ""
    session_id: str = ""
    interaction_id: int | None = None
    is_relevant: bool | None = None
    relevance_reason: str = ""
    impact: str | None = None
    impact_reason: str = ""
    diagnosis: dict[str, Any] | None = None
    created_at: int = 0


class SessionVerdict(Received):
    """How Reflexio judged a session. No call deletes it. Unknown fields are kept for exports."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    user_id: str = ""
    session_id: str = ""
    is_success: bool | None = None
    failure_reason: str | None = None


class PendingQuestion(Received):
    """A question that Reflexio asked a person, with the answer. Unknown fields are kept for exports."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    id: str
    user_id: str = ""
    status: str = ""
    question_text: str = ""
    result: dict[str, Any] | None = None


class FinalizeReply(Reply):
    """Whether there was a session to end. Learning continues after the reply."""

    accepted: bool = False


class WhoAmI(Reply):
    """Who calls.

    Args:
        store_id: only of the embedded store.
        store_had_no_id: the embedded store got its id in a later version, so older recovery copies are under its path.
    """

    org_id: str = ""
    store_id: str = ""
    store_had_no_id: bool = False
    storage_type: str = ""
    storage_configured: bool = True


class HealthReply(Reply):
    status: str = ""


class VersionReply(Reply):
    server_version: str = ""


TEXT_FIELDS: Final = (
    "role",
    "content",
    "user_action",
    "user_action_description",
    "interacted_image_url",
    "shadow_content",
    "expert_content",
)
"""Fields of an interaction that are texts."""


def as_stored(body: PublishBody) -> RequestWithInteractions:
    """Return a request in the form of a stored one, with what an erasure can name: its ids and what it says.

    It has no times and no interaction ids, which only the service knows.
    """
    return RequestWithInteractions(
        request=StoredRequest(
            request_id=body.request_id, user_id=body.user_id.strip(), session_id=body.session_id.strip()
        ),
        interactions=[
            StoredInteraction(interaction_id=0, **interaction.model_dump(exclude={"created_at"}))
            for interaction in body.interaction_data_list
        ],
    )


def differences(body: PublishBody, stored: RequestWithInteractions) -> list[str]:
    """Return the arguments in which a stored request differs from a publish.

    Not compared are the experiment, times, and what the API does not return: images and citations. Nor is the order of
    interactions: stores return them by time, and choose the time of those that were sent without one.
    """
    sent_labels = {
        "user_id": body.user_id.strip(),
        "session_id": body.session_id.strip(),
        "source": body.source,
        "agent_version": body.agent_version or api_limits.DEFAULT_AGENT_VERSION,
        "evaluation_only": body.evaluation_only,
    }
    stored_labels = stored.request.model_dump(include=set(sent_labels))
    differ = [name for name, sent_label in sent_labels.items() if sent_label != stored_labels[name]]
    sent = sorted(
        _compared(interaction.model_dump())
        for interaction in body.interaction_data_list
        if _says_something(interaction)
    )
    if sent != sorted(_compared(interaction.model_dump()) for interaction in stored.interactions):
        differ.insert(0, "interactions")
    return differ


def _compared(interaction: Mapping[str, Any]) -> list[str]:
    """Return what an interaction says, in texts."""
    lists = (
        [[use.get(name) or "" for name in ToolUse.model_fields] for use in interaction["tools_used"]],
        [
            [used.get(name) for name in RetrievedLearning.model_fields]
            for used in interaction["retrieved_learnings"]
        ],
    )
    texts = [interaction[name].strip() for name in TEXT_FIELDS]
    return [*texts, *(json.dumps(values, sort_keys=True) for values in lists)]


def _says_something(interaction: Interaction) -> bool:
    """Whether Reflexio stores an interaction. It drops one with only a role and a time."""
    return bool(interaction.model_dump(exclude_defaults=True, exclude={"role", "created_at"}))
