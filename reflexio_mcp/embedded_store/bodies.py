"""Request bodies of the store. Published interactions have the models of the client."""

import uuid
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from reflexio_mcp.rest import api_limits, models


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("String must not be empty or whitespace-only")
    return value.strip()


Name = Annotated[str, AfterValidator(_not_blank)]
Source = Annotated[str, StringConstraints(pattern=rf"^({api_limits.SOURCE_PATTERN.pattern})?$")]


class Body(BaseModel):
    """Base of the bodies. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", defer_build=True)


class Publish(models.PublishBody):
    model_config = ConfigDict(extra="ignore", defer_build=True)

    request_id: Name = Field(default_factory=lambda: str(uuid.uuid4()))
    user_id: Name
    session_id: Name
    source: Source = ""
    interaction_data_list: Annotated[
        list[models.Interaction], Field(min_length=1, max_length=api_limits.MAX_INTERACTIONS)
    ]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.evaluation_only and self.force_extraction:
            raise ValueError("evaluation_only cannot be combined with force_extraction")
        for turn in self.interaction_data_list:
            if turn.user_action != "none" and not turn.user_action_description:
                raise ValueError("user_action requires a user_action_description")
            if turn.interacted_image_url and turn.image_encoding:
                raise ValueError("interacted_image_url and image_encoding cannot both be set")
        return self


class GetRequests(Body):
    user_id: str | None = None
    request_id: str | None = None
    session_id: str | None = None
    source: Source | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    top_k: Annotated[int, Field(gt=0)] = 30
    offset: Annotated[int, Field(ge=0)] = 0
    count: Literal["sessions", "requests"] | None = None


class RequestId(Body):
    request_id: Name


class RequestIds(Body):
    request_ids: Annotated[list[str], Field(min_length=1, max_length=api_limits.MAX_DELETE_IDS)]


class User(Body):
    user_id: Name


class OneInteraction(User):
    interaction_id: Annotated[int, Field(gt=0)]
