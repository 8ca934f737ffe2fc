"""Compares a stored request with the one that was sent."""

from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestWithInteractions, StoredInteraction

_COMPARED = (
    "role",
    "content",
    "user_action",
    "user_action_description",
    "interacted_image_url",
    "shadow_content",
    "expert_content",
)


def differences(body: PublishBody, stored: RequestWithInteractions) -> list[str]:
    """Return the arguments of a publish in which the two differ; images and citations do not come back from the API."""
    sent_labels = {
        "user_id": body.user_id.strip(),
        "session_id": body.session_id.strip(),
        "source": body.source,
        "agent_version": body.agent_version or api_limits.DEFAULT_AGENT_VERSION,
        "evaluation_only": body.evaluation_only,
    }
    stored_labels = stored.request.model_dump(include=set(sent_labels))
    sent = [_words(turn) for turn in body.interaction_data_list if _says_something(turn)]
    differ = [name for name, sent_label in sent_labels.items() if sent_label != stored_labels[name]]
    return differ if sent == [_words(turn) for turn in stored.interactions] else ["interactions", *differ]


def _words(turn: Interaction | StoredInteraction) -> list[str]:
    return [getattr(turn, name).strip() for name in _COMPARED]


def _says_something(turn: Interaction) -> bool:
    """The server drops a turn that holds nothing but its role and its time."""
    return bool(turn.model_dump(exclude_defaults=True, exclude={"role", "created_at"}))
