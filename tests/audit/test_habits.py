"""Rules about names and counts."""

from typing import Any

import pytest

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.audit.rules import select
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session
from reflexio_mcp.traffic.audit.rules.habits import SplitConversation, TemporarySession, UnclearMetadata
from tests.audit.stored import request

DAY = 86_400


def looked(rule: Rule, *sessions: list[RequestWithInteractions]) -> list[Finding]:
    found = [one for items in sessions for one in rule.look(Session(items[0].request.session_id, items))]
    return [*found, *rule.finish()]


@pytest.mark.parametrize(
    ("named", "is_test"),
    [
        ({"source": "checkout-test"}, True),
        ({"source": "staging"}, True),
        ({"agent_version": "2.1.0-dev"}, True),
        ({"session_id": "test-12"}, True),
        ({"user_id": "test-user"}, True),
        ({"source": "test-prep"}, False),
        ({"source": "ab-test"}, False),
        ({"source": "über-test"}, True),
        ({"user_id": "yağci"}, False),
        ({"user_id": "prétest"}, False),
        ({"source": "web-dev"}, False),
        ({"session_id": "fix-failing-tests-in-router"}, False),
        ({"user_id": "test.engineer@corp.example"}, False),
        ({"source": "staging", "evaluation_only": True}, False),
    ],
)
def test_traffic_is_a_test_if_a_name_says_so(named: dict[str, Any], is_test: bool) -> None:
    item = request("r", "hello", **named)
    assert bool(select("test-traffic", [item])) is is_test


def test_a_scratch_session_is_over_after_a_day() -> None:
    items = [request("r", "hello", session_id="tmp-17", at=1_000_000)]
    assert looked(TemporarySession(now=1_000_000 + 2 * DAY), items)
    assert not looked(TemporarySession(now=1_000_000 + 60), items)
    assert not looked(TemporarySession(now=9_000_000), [request("r", "hello", session_id="room-temp-sensor")])


def test_a_session_of_two_users_is_shared() -> None:
    mixed = [request("b", "hello", user_id="bob"), request("a", "hello")]
    assert select("shared-session", mixed) == mixed
    assert not select("shared-session", mixed[:1])


def test_a_source_must_be_there_and_carry_no_id() -> None:
    plain, without = request("a", "hello"), request("b", "hello", source="")
    dated = request("c", "hello", source="import-2026-11-28")
    model = request("d", "hello", source="claude-20250514")
    assert select("unclear-metadata", [plain, without, dated, model]) == [without, dated]


def test_one_version_for_months_says_nothing() -> None:
    def requests(*versions: str) -> list[RequestWithInteractions]:
        return [
            request(
                f"r{index}",
                "hello",
                at=9_000_000 - index * DAY,
                agent_version=versions[index % len(versions)],
            )
            for index in range(60)
        ]

    assert looked(UnclearMetadata(), requests("1.0"))
    assert not looked(UnclearMetadata(), requests("1.0", "1.1"))


def test_months_count_from_the_oldest_request_of_a_long_session() -> None:
    def requests(name: str, days: list[int]) -> list[RequestWithInteractions]:
        return [
            request(f"{name}{age}", "hello", at=9_000_000 - age * DAY, session_id=name, agent_version="1.0")
            for age in days
        ]

    long, short = requests("long", [*range(40)]), requests("short", [*range(1, 21)])
    assert [finding.request.request_id for finding in looked(UnclearMetadata(), long, short)] == ["long0"]


def test_a_session_for_each_interaction_is_one_conversation_if_they_continue_each_other() -> None:
    def sessions(text: str) -> list[list[RequestWithInteractions]]:
        return [
            [request(f"r{index}", text, "Fine.", session_id=f"s{index}", at=9_000_000 - 60 * index)]
            for index in range(7)
        ]

    assert len(looked(SplitConversation(), *sessions("and what about the second one?"))) == 7
    assert not looked(SplitConversation(), *sessions("Translate this letter into French"))
