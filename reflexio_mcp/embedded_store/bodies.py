"""Request bodies as the API accepts them: the server's side of the contract.

What the client sends is stricter and stands in `rest.models`.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.address import image_url_fault

MAX_LIST_ITEMS = 1000
"""Tool uses, citations and retrieved learnings one interaction may carry."""

MAX_TOOL_STATUS_CHARS = 100
LAST_EPOCH_SECOND = 253402300799
"""9999-12-31T23:59:59Z. The API moves an interaction's `created_at` into 0..this instead of refusing it."""


def _not_blank(value: str) -> str:
    stripped = value.strip()
    if not stripped:
        raise ValueError("String must not be empty or whitespace-only")
    return stripped


def _short_text(value: object) -> str:
    return "" if value is None else str(value)[:MAX_TOOL_STATUS_CHARS]


def _image_url(value: str) -> str:
    if value and (fault := image_url_fault(value)):
        raise ValueError(f"image URL {fault}")
    return value


def _encodable(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what could not be read back: numbers beyond a float, half a surrogate pair, endless nesting."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(
            "must hold whole characters and finite numbers, and not be nested too deeply"
        ) from error
    return value


Name = Annotated[str, AfterValidator(_not_blank)]
Source = (
    Literal[""]
    | Annotated[str, StringConstraints(max_length=128, pattern=rf"^{api_limits.SOURCE_PATTERN.pattern}$")]
)
Text = Annotated[str, Field(max_length=api_limits.MAX_CONTENT_CHARS)]


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)


class ToolUse(Body):
    tool_name: str
    tool_data: Annotated[dict[str, Any], AfterValidator(_encodable)] = Field(default_factory=dict[str, Any])
    status: Annotated[str, BeforeValidator(_short_text)] = ""


class Citation(Body):
    kind: Literal["playbook", "profile", "user_playbook", "agent_playbook"]
    real_id: str
    tag: str = ""
    title: str = ""


class RetrievedLearning(Body):
    kind: Literal["profile", "user_playbook", "agent_playbook"]
    learning_id: Annotated[str, Field(min_length=1, max_length=1000)]


class Interaction(Body):
    created_at: int = 0
    role: Annotated[str, Field(max_length=api_limits.MAX_ROLE_CHARS)] = "User"
    content: Text = ""
    shadow_content: Text = ""
    expert_content: Text = ""
    user_action: Literal["click", "scroll", "type", "none"] = "none"
    user_action_description: Annotated[str, Field(max_length=api_limits.MAX_ACTION_DESCRIPTION_CHARS)] = ""
    interacted_image_url: Annotated[
        str, Field(max_length=api_limits.MAX_IMAGE_URL_CHARS), AfterValidator(_image_url)
    ] = ""
    image_encoding: Annotated[str, Field(max_length=api_limits.MAX_IMAGE_BASE64_CHARS)] = ""
    tools_used: Annotated[list[ToolUse], Field(max_length=MAX_LIST_ITEMS)] = Field(
        default_factory=list[ToolUse]
    )
    citations: Annotated[list[Citation], Field(max_length=MAX_LIST_ITEMS)] = Field(
        default_factory=list[Citation]
    )
    retrieved_learnings: Annotated[list[RetrievedLearning], Field(max_length=MAX_LIST_ITEMS)] = Field(
        default_factory=list[RetrievedLearning]
    )

    def contradiction(self) -> str | None:
        if self.user_action != "none" and not self.user_action_description:
            return "user_action requires a user_action_description"
        if self.interacted_image_url and self.image_encoding:
            return "interacted_image_url and image_encoding cannot both be set"
        return None

    def epoch_second(self, arrived: int) -> int:
        """What was sent, moved into the range the API keeps; the arrival time when nothing was."""
        if "created_at" not in self.model_fields_set:
            return arrived
        return min(max(self.created_at, 0), LAST_EPOCH_SECOND)


class Publish(Body):
    request_id: Name | None = None
    user_id: Name
    interaction_data_list: Annotated[
        list[Interaction], Field(min_length=1, max_length=api_limits.MAX_INTERACTIONS)
    ]
    source: Source = ""
    agent_version: Annotated[str, Field(max_length=api_limits.MAX_AGENT_VERSION_CHARS)] = ""
    session_id: Name
    session_finished: bool = False
    skip_aggregation: bool = False
    force_extraction: bool = False
    evaluation_only: bool = False
    override_learning_stall: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.evaluation_only and self.force_extraction:
            raise ValueError("evaluation_only cannot be combined with force_extraction")
        for position, interaction in enumerate(self.interaction_data_list):
            if reason := interaction.contradiction():
                raise ValueError(f"interaction_data_list[{position}] {reason}")
        learnings = sum(len(interaction.retrieved_learnings) for interaction in self.interaction_data_list)
        if learnings > api_limits.MAX_RETRIEVED_LEARNINGS:
            raise ValueError(
                f"a publish request may carry at most {api_limits.MAX_RETRIEVED_LEARNINGS} retrieved_learnings"
                f" across all interactions (got {learnings})"
            )
        return self


def _as_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


Moment = Annotated[datetime, AfterValidator(_as_utc)]


class GetRequests(Body):
    user_id: str | None = None
    request_id: str | None = None
    session_id: str | None = None
    source: Source | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    count: Literal["sessions", "requests"] | None = None
    top_k: Annotated[int, Field(gt=0)] | None = 30
    offset: Annotated[int, Field(ge=0)] | None = 0

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.start_time is not None and self.end_time is not None and self.end_time <= self.start_time:
            raise ValueError("end_time must be after start_time")
        return self


class DeleteRequest(Body):
    request_id: Name


class DeleteSession(Body):
    session_id: Name


class ClearUserData(Body):
    user_id: Name


class DeleteInteraction(Body):
    user_id: Name
    interaction_id: Annotated[int, Field(gt=0)]


class ReadWhole(Body):
    request_ids: list[str]


class DeleteRequestsByIds(Body):
    request_ids: Annotated[list[str], Field(min_length=1, max_length=api_limits.MAX_DELETE_IDS)]
