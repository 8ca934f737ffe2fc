"""What tools were given and gave is stored text like any other: it is audited, covered and screened."""

import time
from typing import Any

import pytest

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.rules.personal_data import kinds_in
from reflexio_mcp.traffic.rules.secrets import redact_within, secret_in
from reflexio_mcp.traffic.rules.selection import select
from reflexio_mcp.traffic.showing import redacted

KEY = "ghp_" + "x9Kq2LmV7tRb4ZsWc8NpJ5hYd3FgA6eUo1Ti"


def used(data: dict[str, Any]) -> RequestWithInteractions:
    turn = StoredInteraction(
        interaction_id=1, content="Done.", tools_used=[{"tool_name": "http", "tool_data": data}]
    )
    request = StoredRequest(request_id="r", user_id="ada", session_id="s", created_at=int(time.time()))
    return RequestWithInteractions(request=request, interactions=[turn])


@pytest.mark.parametrize(
    "data",
    [
        {"input": {"headers": [f"Authorization: token {KEY}"]}},
        {"output": f"remote: {KEY}"},
        {"input": {"password": "Tr0ub4dor&3x9"}},
        {"input": {"env": [{"client_secret": "p0Lm93kxQvTt82bW"}]}},
        {"output": '{"password": "Tr0ub4dor&3x9"}'},
    ],
)
def test_a_secret_in_a_tools_input_or_output_is_found_and_covered(data: dict[str, Any]) -> None:
    item = used(data)
    assert secret_in(item)[0]
    assert select("probable-secret", [item]) == [item]
    shown = str(redacted(item).interactions[0].tools_used)
    assert "[redacted: " in shown
    assert not [one for one in (KEY, "Tr0ub4dor", "p0Lm93kxQvTt82bW") if one in shown]
    assert shown == str([{"tool_name": "http", "tool_data": redact_within(data)}])


@pytest.mark.parametrize(
    "data",
    [
        {"input": {"city": "Lisbon", "days": 3, "units": "metric"}},
        {"input": {"password_hint": "the usual"}, "output": "ok"},
        {"output": {"id": "3f2a9c1d8e7b6a5f4e3d2c1b0a9f8e7d6c5b4a39", "next_page_token": "page-2"}},
    ],
)
def test_ordinary_tool_data_is_no_secret_and_stays_as_it_is(data: dict[str, Any]) -> None:
    item = used(data)
    assert not secret_in(item)[0]
    assert redacted(item).interactions[0].tools_used == item.interactions[0].tools_used


def test_what_a_secret_hides_in_may_be_nested_deep() -> None:
    data: dict[str, Any] = {"password": "Tr0ub4dor&3x9"}
    for _ in range(300):
        data = {"step": data}
    assert secret_in(used(data))[0]
    assert "Tr0ub4dor" not in str(redact_within(data))


def test_personal_data_in_what_a_tool_gave_is_found() -> None:
    assert kinds_in(used({"output": {"iban": "DE89 3704 0044 0532 0130 00"}})) == {"personal-iban"}
