"""Content that is stored again: the first copy stays."""

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.audit.rules import findings_in, select
from reflexio_mcp.traffic.audit.rules.base import Finding, Session
from reflexio_mcp.traffic.audit.rules.duplicates import Duplicate
from tests.audit.stored import request

ASKED = "How do I repair the kettle that stopped?"
ANSWER = "Begin with the seal: after some years it is usually worn."


def originals(items: list[RequestWithInteractions]) -> dict[str, str]:
    """Each copy in one session, newest first, with the request that stays."""
    return {one.request.request_id: one.repeats for one in findings_in(items, [Duplicate])}


def history(name: str, at: int, **more: str) -> list[RequestWithInteractions]:
    return [
        request(f"{name}{index}", f"Question {index} about kettles", f"Answer {index} about seals", at=at + 60 * index,
                **more)
        for index in range(4)
    ]  # fmt: skip


def looked(*sessions: list[RequestWithInteractions]) -> list[Finding]:
    """What an audit finds in sessions, the newest first; the requests of each oldest first."""
    rule = Duplicate()
    found = [
        one for items in sessions for one in rule.look(Session(items[0].request.session_id, items[::-1]))
    ]
    return [*found, *rule.finish()]


def test_the_same_content_within_half_an_hour_goes_and_the_first_stays() -> None:
    first, again = request("a", ASKED, ANSWER), request("b", ASKED.upper(), f"{ANSWER}!", at=1_000_900)
    assert select("duplicate", [again, first]) == [again]
    assert originals([again, first]) == {"b": "a"}


def test_the_same_question_on_another_day_with_another_answer_or_user_stays() -> None:
    first = request("a", ASKED, ANSWER)
    for other in (
        request("b", ASKED, ANSWER, at=1_100_000),
        request("b", ASKED, "Call the shop, it has a guarantee."),
        request("b", ASKED, ANSWER, user_id="bob"),
    ):
        assert not select("duplicate", [other, first])
    assert not select("duplicate", [request("d", "yes"), request("c", "yes")])


def test_a_publish_that_repeats_all_interactions_so_far_replaces_the_earlier_ones() -> None:
    first = request("a", ASKED)
    then = request("b", ASKED, ANSWER, at=1_000_100)
    last = request("c", ASKED, ANSWER, "And the plug?", at=1_000_200)
    assert originals([last, then, first]) == {"a": "c", "b": "c"}


def test_a_history_imported_again_goes_under_any_session_id() -> None:
    old = history("a", 1_000_000, session_id="s1")
    again = history("b", 2_000_000, session_id="s2")
    assert [(one.request.request_id, one.repeats) for one in looked(again, old)] == [
        (f"b{index}", f"a{index}") for index in range(4)
    ]
    same = [*old, *history("b", 2_000_000, session_id="s1")]
    assert [one.repeats for one in looked(same)] == ["a0", "a1", "a2", "a3"]


def test_three_in_a_row_inside_another_conversation_are_found_and_two_are_not() -> None:
    old = history("a", 1_000_000, session_id="s1")
    other = request("x", "Something else entirely about tents", at=2_900_000, session_id="s2")
    assert len(looked([*history("b", 2_000_000, session_id="s2")[:3], other], old)) == 3
    assert not looked([*history("b", 2_000_000, session_id="s2")[:2], other], old)


def test_what_teaches_never_goes_for_what_is_for_evaluation_only() -> None:
    trial = request("a", ASKED, ANSWER, evaluation_only=True)
    real = request("b", ASKED, ANSWER, at=1_000_100)
    assert originals([real, trial]) == {"a": "b"}
