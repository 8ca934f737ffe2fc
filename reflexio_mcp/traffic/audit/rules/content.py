"""Rules about content. Each imports its patterns at first use, because they compile slowly."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.results.base import visible
from reflexio_mcp.results.facts import FactCode
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session, excerpt, stop_if_cancelled
from reflexio_mcp.traffic.content import every_text

if TYPE_CHECKING:
    from reflexio_mcp.traffic.audit.rules.injection import Passage

Span = tuple[int, int]


class Place(NamedTuple):
    """A match in a text, from `start` to before `end`."""

    finding: str
    start: int
    end: int
    kind: str


def _findings(
    item: RequestWithInteractions,
    places: Callable[[StoredInteraction, str, str], Iterable[Place]],
    *others: Callable[[str], Iterable[Span]],
) -> Iterator[Finding]:
    """Yield the first match of each kind in a request.

    Args:
        places: returns the matches in a text of an interaction; also receives the field of the text.
        others: find other parts of the text that no finding may show.
    """
    known: set[tuple[str, str]] = set()
    for interaction in item.interactions:
        for field, text in every_text(interaction):
            if field == "role" and text.isalpha():
                continue
            stop_if_cancelled()
            found = list(places(interaction, field, text))
            letters: list[str] = []
            for place in found:
                if (place.finding, place.kind) in known:
                    continue
                known.add((place.finding, place.kind))
                if not letters:
                    letters = list(text)
                    spans = [(found_place.start, found_place.end) for found_place in found]
                    for begin, stop in itertools.chain(spans, *(search(text) for search in others)):
                        letters[begin:stop] = "·" * (stop - begin)
                around = excerpt(letters, place.start, place.end, place.kind)
                yield Finding(place.finding, item.request, place.kind, interaction.interaction_id, around)


def _secrets(text: str) -> Iterator[Span]:
    from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

    return ((secret.start, secret.end) for secret in find_secrets(text))


def _personal_data(text: str) -> Iterator[Span]:
    from reflexio_mcp.traffic.audit.rules.personal import personal_in

    return ((start, end) for start, end, _ in personal_in(text))


def _private_spans(text: str) -> list[Span]:
    """Return where secrets and personal data are, in order. What overlaps is one span."""
    spans: list[Span] = []
    for begin, end in sorted([*_secrets(text), *_personal_data(text)]):
        if spans and begin <= spans[-1][1]:
            begin, last = spans.pop()
            end = max(end, last)
        spans.append((begin, end))
    return spans


COVERED: Final = "[covered]"

PASSAGE_CHARS: Final = 220


def passage_as_data(text: str, passage: "Passage", covered: Sequence[Span]) -> str:
    """Return the words of a passage in one line, with dots for blanks, so that nobody takes them for an order to follow.

    A long passage begins with its strongest sentence.

    Args:
        covered: what of the text nobody may read here, in order and without overlaps.
    """
    from reflexio_mcp.traffic.audit.rules.injection import strongest_sentence

    start = passage.start
    if passage.end - start > PASSAGE_CHARS:
        start = strongest_sentence(text, passage)
    shown: list[str] = []
    for begin, end in covered:
        if begin < passage.end and end > start:
            shown += [text[start:begin], COVERED]
            start = end
    shown.append(text[start : passage.end])
    words = " ".join("".join(shown).split())
    if len(words) > PASSAGE_CHARS:
        words = f"{_without_half_marker(words[:PASSAGE_CHARS])}…"
    return words.replace(" ", "·")


def _without_half_marker(words: str) -> str:
    """Leave out the beginning of `COVERED` at the end, where words were cut."""
    begin = words.rfind(COVERED[0])
    is_half = begin >= 0 and words[begin:] != COVERED and COVERED.startswith(words[begin:])
    return words[:begin] if is_half else words


def passage_parts(shown: str) -> list[str]:
    """Return the words of `passage_as_data` as they are written, split where something is covered."""
    parts = visible(shown.removesuffix("…").replace("·", " ")).split(COVERED)
    return [part.strip() for part in parts if part.strip()]


class Secret(Rule):
    """Keys, tokens and passwords. A request with a probable secret does not report possible secrets."""

    name = "secret"
    findings = ("probable-secret", "possible-secret")
    possible = "possible-secret"
    judge = FactCode.JUDGE_SECRETS
    severity = "high"
    limit = FactCode.KNOWS_SECRETS
    why = "A stored secret comes back in later prompts until it is deleted."
    advice = "Revoke a key at its issuer and change a password; strip credentials before publishing."
    offers = "delete"

    def look(self, session: Session) -> Iterator[Finding]:
        for item in session.requests:
            found = list(self._found(item))
            probable = [secret for secret in found if secret.name == "probable-secret"]
            yield from probable or found

    def _found(self, item: RequestWithInteractions) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.redaction import (
            are_passwords,
            secret_in_name,
            whole_text_as_password,
        )
        from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

        password_ids = {
            interaction.interaction_id
            for interaction, is_password in zip(
                item.interactions, are_passwords(item.interactions), strict=True
            )
            if is_password
        }

        def places(interaction: StoredInteraction, field: str, text: str) -> Iterator[Place]:
            is_password = field == "content" and interaction.interaction_id in password_ids
            secrets = whole_text_as_password(text) if is_password else find_secrets(text)
            for secret in secrets:
                finding = "probable-secret" if secret.probable else "possible-secret"
                yield Place(finding, secret.start, secret.end, secret.kind)

        yield from _findings(item, places, _personal_data)
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


class PromptInjection(Rule):
    """Passages with the signs of orders to an assistant. A request that has a probable one reports no possible ones."""

    name = "prompt-injection"
    findings = ("prompt-injection", "possible-prompt-injection")
    possible = "possible-prompt-injection"
    judge = FactCode.JUDGE_PASSAGES
    severity = "high"
    limit = FactCode.KNOWS_PASSAGES
    limit_if_nothing = FactCode.NO_PASSAGE
    why = "A model that recalls the text may follow its instructions."
    advice = "Publish the conversation itself, not web pages and tool results."
    offers = "delete"

    def look(self, session: Session) -> Iterator[Finding]:
        for item in session.requests:
            found = list(self._found(item))
            probable = [passage for passage in found if passage.name == "prompt-injection"]
            yield from probable or found

    def _found(self, item: RequestWithInteractions) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.injection import passages_in

        for interaction in item.interactions:
            for field, text in every_text(interaction):
                if field == "role":
                    continue
                stop_if_cancelled()
                # An assistant often repeats or explains what it read.
                is_answer = interaction.role.casefold() == "assistant" and field == "content"
                reported = [passage for passage in passages_in(text) if passage.probable or not is_answer]
                # The whole text is searched, because a word before a passage can tell that a password is in it.
                private = _private_spans(text) if reported else []
                for passage in reported:
                    name = "prompt-injection" if passage.probable else self.possible
                    shown = passage_as_data(text, passage, private)
                    yield Finding(
                        name,
                        item.request,
                        passage.signs[0],
                        interaction.interaction_id,
                        shown,
                        role=interaction.role,
                        points=passage.points,
                    )


class PersonalData(Rule):
    """Card numbers, IBANs, national numbers, phone numbers and e-mail addresses."""

    name = "personal-data"
    severity = "medium"
    limit = FactCode.KNOWS_PERSONAL
    why = "Personal data identifies a person to everybody who can read the memory."
    advice = "Before publishing, remove data that the assistant does not need."
    offers = "look"

    def look(self, session: Session) -> Iterator[Finding]:
        from reflexio_mcp.traffic.audit.rules.personal import personal_in

        def places(interaction: StoredInteraction, field: str, text: str) -> Iterator[Place]:
            # Roles and image addresses identify nobody.
            if field not in ("role", "interacted_image_url"):
                yield from (Place(self.name, start, end, kind) for start, end, kind in personal_in(text))

        for item in session.requests:
            yield from _findings(item, places, _secrets)
