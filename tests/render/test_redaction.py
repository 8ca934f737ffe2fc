"""What a list shows of a request's beginning."""

import pytest

from reflexio_mcp.render.secret_redaction import OPENING_CHARS, redacted_listing, redacted_opening
from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.content import first_words
from reflexio_mcp.traffic.rules import secrets


def saying(content: str) -> RequestWithInteractions:
    turn = StoredInteraction(interaction_id=1, content=content)
    return RequestWithInteractions(request=StoredRequest(request_id="r1"), interactions=[turn])


def test_a_request_without_secrets_stays_the_same_so_that_its_row_need_not_be_rendered_again() -> None:
    item = saying("Please remember that I prefer short answers.")
    assert redacted_opening(item) == (item, False)
    assert redacted_opening(item)[0] is item


def test_nothing_shows_that_was_not_looked_through() -> None:
    shown, hidden = redacted_opening(saying(f"Hello{' ' * OPENING_CHARS}my password is Tr0ub4dor&3x9"))
    assert not hidden
    assert shown.interactions[0].content.strip() == "Hello"


def test_a_password_is_hidden_and_that_is_said() -> None:
    shown, hidden = redacted_opening(saying("my password is Tr0ub4dor&3x9"))
    assert hidden
    assert "Tr0ub4dor" not in first_words(shown)


def test_of_what_a_tool_gave_no_more_is_looked_through_than_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def look(text: str, *, lines: bool = False) -> list[secrets.Secret]:
        looked.append(len(text))
        return []

    monkeypatch.setattr(secrets, "find_secrets", look)
    used = [{"tool_name": "read", "tool_data": {"out": "password " * 100_000}}]
    turn = StoredInteraction(interaction_id=1, content="ok", tools_used=used)
    item = RequestWithInteractions(request=StoredRequest(request_id="r1"), interactions=[turn])
    assert redacted_listing(item, full=True).interactions[0].tools_used == used
    assert max(looked) <= OPENING_CHARS + len("out: ")


def test_nothing_slides_into_sight_behind_a_long_secret() -> None:
    lines = "\n".join("Zm9vYmFyYmF6cXV4" * 4 for _ in range(100))
    pem = f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----\n"
    assert len(pem) > OPENING_CHARS
    item = saying(pem)
    turn = item.interactions[0].model_copy(update={"tools_used": [{"tool_data": {"output": pem}}]})
    shown = redacted_listing(item.model_copy(update={"interactions": [turn]}), full=True).interactions[0]
    assert shown.content == "[redacted: private-key]…"
    assert "Zm9v" not in str(shown.tools_used)
