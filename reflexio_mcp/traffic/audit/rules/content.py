"""Rules about what was said: secrets, planted instructions, personal data.

What they look with compiles many patterns, so it is imported by the first audit or filter that needs it.
"""

from collections.abc import Iterator

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session, excerpt, stop_if_cancelled
from reflexio_mcp.traffic.content import every_text, stored_texts

__all__ = ["PersonalData", "PlantedInstructions", "Secret"]


class Secret(Rule):
    """Keys, tokens and passwords in stored text. A request with a probable one counts as probable alone."""

    name = "secret"
    findings = ("probable-secret", "possible-secret")
    severity = "high"
    why = "It comes back in later prompts until it is deleted."
    advice = "Revoke a key at its issuer and change a password; strip credentials before publishing."
    offers = "delete"
    of_content = True

    def look(self, session: Session) -> Iterator[Finding]:
        for item in session.requests:
            found = list(self._found(item))
            probable = [one for one in found if one.name == "probable-secret"]
            yield from probable or found

    def _found(self, item: RequestWithInteractions) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.redaction import asked_for, secrets_in_answer
        from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

        for turn, asked in zip(item.interactions, asked_for(item.interactions), strict=True):
            for field, text in every_text(turn):
                stop_if_cancelled()
                found = secrets_in_answer(text) if asked and field == "content" else find_secrets(text)
                places = [(one.start, one.end) for one in found]
                for one, place in zip(found, places, strict=True):
                    name = "probable-secret" if one.probable else "possible-secret"
                    around = excerpt(text, place, one.kind, places) if field == "content" else f"in {field}"
                    yield Finding(name, item.request, one.kind, turn.interaction_id, around)
        for kind in self._in_names(item):
            yield Finding("probable-secret", item.request, f"{kind} in an id or a name")

    def _in_names(self, item: RequestWithInteractions) -> Iterator[str]:
        from reflexio_mcp.traffic.audit.rules.redaction import secret_in_name

        request = item.request
        named = (request.request_id, request.session_id, request.user_id, request.source)
        yield from filter(None, map(secret_in_name, (*named, request.agent_version)))


class PlantedInstructions(Rule):
    """Text that addresses an assistant and orders something, marks of a chat template, and hidden text."""

    name = "planted-instructions"
    severity = "high"
    why = "A model that recalls it may follow it."
    advice = "Publish what was said, not pages and tool results from outside."
    offers = "delete"
    of_content = True

    def look(self, session: Session) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.planted import is_foreign, planted_in

        for item in session.requests:
            for turn in item.interactions:
                for field, text in every_text(turn):
                    stop_if_cancelled()
                    foreign = is_foreign(turn.role) or field == "tools_used"
                    # The words themselves are not shown: they were written for whoever reads them.
                    if kind := planted_in(text, foreign=foreign):
                        yield Finding(self.name, item.request, kind, turn.interaction_id)


class PersonalData(Rule):
    """Card numbers, IBANs, national numbers, phone numbers and e-mail addresses, as the number libraries know them."""

    name = "personal-data"
    severity = "medium"
    why = "It identifies a person, and whoever may read the memory can find it."
    advice = "Strip what the assistant does not need before publishing; names, addresses and health are not looked for."
    offers = "look"
    of_content = True

    def look(self, session: Session) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.personal import personal_in
        from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

        for item in session.requests:
            for turn in item.interactions:
                for text in stored_texts(turn):
                    stop_if_cancelled()
                    found = list(personal_in(text))
                    hidden = [(start, end) for start, end, _ in found]
                    if found:
                        hidden += ((one.start, one.end) for one in find_secrets(text))
                    for start, end, kind in found:
                        around = excerpt(text, (start, end), kind, hidden)
                        yield Finding(self.name, item.request, kind, turn.interaction_id, around)
