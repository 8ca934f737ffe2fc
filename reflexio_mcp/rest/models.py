"""Request and response bodies of the REST API.

Models that are sent forbid unknown fields; models that are read ignore them, because a newer server may
say more. Building the validators is deferred to the first use, to keep the start of a stdio server short.
"""

from typing import Annotated, Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp.rest import api_limits

UserAction = Literal["click", "scroll", "type", "none"]


class Sent(BaseModel):
    """Base of what is sent: a field the API does not know is a mistake of ours."""

    model_config = ConfigDict(extra="forbid", defer_build=True, str_strip_whitespace=False)


class Read(BaseModel):
    """Base of what is read: unknown fields are ignored, missing and null ones have the API's default."""

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


class Reply(Read):
    """Base of a whole reply. `success: false` is an error before a reply is made of it."""

    success: Literal[True] = True
    correlation_id: str | None = Field(default=None, exclude=True)
    """Set by the client from the reply's `x-correlation-id` header, which the server's log has too."""


class ToolUse(Sent):
    """One tool call inside an interaction."""

    tool_name: Annotated[str, Field(min_length=1)]
    tool_data: dict[str, Any] = {}
    status: str = ""


class Citation(Sent):
    """A learning that an answer cited."""

    kind: Literal["playbook", "profile", "user_playbook", "agent_playbook"]
    real_id: str
    tag: str = ""
    title: str = ""


class RetrievedLearning(Sent):
    """A learning that was retrieved for an answer."""

    kind: str
    learning_id: str


class Interaction(Sent):
    """One turn to publish. At least one of its content fields must say something."""

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
    citations: Annotated[list[Citation], Field(description="learnings this turn cites")] = []
    retrieved_learnings: Annotated[
        list[RetrievedLearning], Field(description="learnings retrieved for this turn")
    ] = []


class PublishBody(Sent):
    """Body of `POST /api/publish_interaction`. Defaults are left out on the wire."""

    user_id: str
    session_id: str
    request_id: str
    """Minted here when the caller gives none, so that a lost reply can be repeated safely."""
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
    """What a publish answered."""

    warnings: list[str] = []
    request_id: str = ""
    profiles_added: int | None = None
    playbooks_added: int | None = None
    learning_status: str = ""
    learning_reason: str | None = None
    already_stored: bool = False
    """Set by the client: a repeat of a publish whose first reply was lost; it had arrived."""


class StoredInteraction(Read):
    """One stored turn as the API returns it (images, citations and embeddings do not come back).

    The embedded store gives out images and citations too, of a request that is read whole; else they are `None`.
    """

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


class StoredRequest(Read):
    """A stored request without its interactions. `created_at` is the arrival time, epoch seconds."""

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
    """Its number in the embedded store, which gives one that is put back another."""
    whole: bool = False
    """All that is stored is there, so that it can be put back exactly."""


class RequestWithInteractions(Read):
    request: StoredRequest
    interactions: list[StoredInteraction] = []


class UnreadableRequest(RequestWithInteractions):
    """Stands for a stored request that the service fails to return.

    Nothing is known of it but its id, and the user it was asked for under.
    """

    @classmethod
    def of(cls, request_id: str, user_id: str) -> Self:
        return cls(request=StoredRequest(request_id=request_id, user_id=user_id))


class SessionGroup(Read):
    session_id: str
    requests: list[RequestWithInteractions] = []


class RequestQuery(Sent):
    """Body of `POST /api/get_requests`. `None` is left out on the wire.

    `start_time` and `end_time` are epoch seconds, both inclusive at one-second grain; the client sends them
    as ISO 8601 with an offset, because the server fails on a mix. `top_k` and `offset` count sessions.
    """

    user_id: str | None = None
    request_id: str | None = None
    session_id: str | None = None
    source: str | None = None
    start_time: int | None = None
    end_time: int | None = None
    top_k: int = 30
    offset: int = 0
    count: Literal["sessions", "requests"] | None = None
    """Asks the embedded store, and it alone, how many match in all."""


class RequestPage(Reply):
    """Sessions, newest matching request first; inside a session newest first. The API has no total."""

    sessions: list[SessionGroup] = []
    has_more: bool = False
    total: int | None = None
    """How many match in all, where the embedded store was asked, the page is full and not too many match to count."""
    server_time: float | None = None
    """Set by the client from the reply's `Date` header, epoch seconds; `None` when there was none."""


class WholeRequests(Reply):
    """The first of the requests that the embedded store was asked for, whole, as many as have room."""

    requests: list[RequestWithInteractions] = []
    looked_up: int
    """How many of the ids were looked up, those included that are not stored."""


class DeleteReply(Reply):
    """What a delete answered. Counts are `None` where the route gives none. Never proof: re-read to know."""

    deleted_count: int | None = None
    deleted_requests_count: int | None = None
    repeated: bool = False
    """Set by the client: the reply to an earlier try was lost, so the counts of this one are left out."""


class SessionOutcome(Read):
    """How a session of a user is said to have ended."""

    outcome_id: str = ""
    user_id: str = ""
    session_id: str = ""
    outcome: str = ""
    occurred_at: int = 0


class LearningStatus(Reply):
    status: str = "not_tracked"
    reason: str | None = None


class Operation(Read):
    """A run that generates learnings anew, which an operator starts.

    Args:
        status: `in_progress` while it runs.
        processed_user_ids: users whose traffic it is through with.
        request_params: what it was started with: the one `user_id`, or none for all users.
    """

    status: str = ""
    processed_user_ids: list[str] = []
    request_params: dict[str, Any] = {}

    def runs_for(self, user_id: str) -> bool:
        """Whether it is working on a user's traffic, or will."""
        return (
            self.status == "in_progress"
            and self.request_params.get("user_id") in {None, "", user_id}
            and user_id not in self.processed_user_ids
        )


class OperationReply(Reply):
    operation_status: Operation | None = None


def unlearned(*, evaluation_only: bool) -> LearningStatus:
    """Where the learning of a request stands in a backend that learns from none: the embedded store."""
    if evaluation_only:
        return LearningStatus(status="done", reason="not_applicable")
    return LearningStatus(status="not_tracked", reason="embedded_store")


class UserProfile(Read):
    """A profile learned about a user.

    `source_interaction_ids` lists every interaction of the windows it was learned from.
    `generated_from_request_id` names only the request that closed the last window.
    """

    profile_id: str
    user_id: str = ""
    generated_from_request_id: str = ""
    content: str = ""
    last_modified_timestamp: int = 0
    source: str = ""
    source_interaction_ids: list[int] = []
    source_span: str = ""
    """The user's own words."""
    status: str | None = None
    """`None` for a current one; else `pending`, `archived`, `merged`, `superseded` or `expired`."""
    profile_time_to_live: str = "infinity"
    expiration_timestamp: int = 0
    custom_features: dict[str, Any] | None = None
    extractor_names: list[str] | None = None
    tags: list[str] = []


class UserPlaybook(Read):
    """A playbook learned from a user's requests; `source_interaction_ids` lists the interactions it cites."""

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


class FinalizeReply(Reply):
    """Whether a session was there to be finished; learning itself goes on after the reply."""

    accepted: bool = False


class WhoAmI(Reply):
    org_id: str = ""
    storage_type: str = ""
    storage_configured: bool = True


class HealthReply(Reply):
    status: str = ""


class VersionReply(Reply):
    server_version: str = ""
