"""Rules about content. Each imports its patterns at first use, because they compile slowly."""

from collections.abc import Iterator, Sequence
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session, excerpt, stop_if_cancelled
from reflexio_mcp.traffic.content import every_text

__all__ = ["PersonalData", "PlantedInstructions", "Secret"]

LONG_CHARS: Final = 10_000
"""In a longer text, the rule first checks for cancellation."""


def _texts(
    items: Sequence[RequestWithInteractions],
) -> Iterator[tuple[RequestWithInteractions, StoredInteraction, str, str]]:
    """Yield every text with its request, interaction and field, without roles of one word."""
    for item in items:
        stop_if_cancelled()
        for interaction in item.interactions:
            for field, text in every_text(interaction):
                if len(text) > LONG_CHARS:
                    stop_if_cancelled()
                if field != "role" or not text.isalpha():
                    yield item, interaction, field, text


class Secret(Rule):
    """Keys, tokens and passwords. A request with only probable secrets is probable."""

    name = "secret"
    findings = ("probable-secret", "possible-secret")
    severity = "high"
    why = "It comes back in later prompts until it is deleted."
    advice = "Revoke a key at its issuer and change a password; strip credentials before publishing."
    offers = "delete"

    def look(self, session: Session) -> Iterator[Finding]:
        for item in session.requests:
            found = list(self._found(item))
            probable = [one for one in found if one.name == "probable-secret"]
            yield from probable or found

    def _found(self, item: RequestWithInteractions) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.personal import personal_in
        from reflexio_mcp.traffic.audit.rules.redaction import asked_for, secret_in_name, secrets_in_answer
        from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

        answers = {
            interaction.interaction_id
            for interaction, asked in zip(item.interactions, asked_for(item.interactions), strict=True)
            if asked
        }
        for _, interaction, field, text in _texts([item]):
            answer = field == "content" and interaction.interaction_id in answers
            found = secrets_in_answer(text) if answer else find_secrets(text)
            hidden = [(one.start, one.end) for one in found]
            if found:
                hidden += ((start, end) for start, end, _ in personal_in(text))
            for one in found:
                name = "probable-secret" if one.probable else "possible-secret"
                place = (one.start, one.end)
                around = excerpt(text, place, one.kind, hidden) if field == "content" else f"in {field}"
                yield Finding(name, item.request, one.kind, interaction.interaction_id, around)
        request = item.request
        named = (
            request.request_id,
            request.session_id,
            request.user_id,
            request.source,
            request.agent_version,
        )
        for kind in filter(None, map(secret_in_name, named)):
            yield Finding("probable-secret", request, f"{kind} in an id or a name")


class PlantedInstructions(Rule):
    """Orders to an assistant, chat template markers and hidden text."""

    name = "planted-instructions"
    severity = "high"
    why = "A model that recalls it may follow it."
    advice = "Publish what was said, not pages and tool results from outside."
    offers = "delete"

    def look(self, session: Session) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.planted import is_foreign, planted_in

        for item, interaction, field, text in _texts(session.requests):
            # The text is not shown: it was written for whoever reads it.
            if kind := planted_in(text, foreign=is_foreign(interaction.role) or field == "tools_used"):
                yield Finding(self.name, item.request, kind, interaction.interaction_id)


class PersonalData(Rule):
    """Card numbers, IBANs, national numbers, phone numbers and e-mail addresses."""

    name = "personal-data"
    severity = "medium"
    why = "It identifies a person, and whoever may read the memory can find it."
    advice = "Strip what the assistant does not need before publishing; names, addresses and health are not looked for."
    offers = "look"

    def look(self, session: Session) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.personal import personal_in
        from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

        for item, interaction, field, text in _texts(session.requests):
            # Tool names, roles and image addresses identify nobody.
            if field in ("role", "interacted_image_url") or not (found := list(personal_in(text))):
                continue
            hidden = [(start, end) for start, end, _ in found]
            hidden += ((one.start, one.end) for one in find_secrets(text))
            for start, end, kind in found:
                around = excerpt(text, (start, end), kind, hidden)
                yield Finding(self.name, item.request, kind, interaction.interaction_id, around)
