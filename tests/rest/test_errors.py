"""Each error of a call becomes facts, which a person or a model reads in words."""

import pytest

from reflexio_mcp.rest.errors import RateLimited, ReflexioError, ServerFault
from reflexio_mcp.results.facts import FactCode
from reflexio_mcp.results.failures import failure_facts
from tests.support.facts import said_of


def kinds(base: type[ReflexioError] = ReflexioError) -> list[type[ReflexioError]]:
    return [base, *(one for below in base.__subclasses__() for one in kinds(below))]


@pytest.mark.parametrize("kind", kinds())
def test_every_error_says_what_happened_what_changed_and_what_to_do(kind: type[ReflexioError]) -> None:
    error = kind("some detail", correlation_id="abc123")
    happened, changed, _ = failure_facts(error, "write")
    assert happened.names == ["some detail", "correlation id abc123"]
    unchanged = kind.effect == "none"
    assert changed.code == (FactCode.NOTHING_CHANGED if unchanged else FactCode.EFFECT_UNKNOWN)
    assert ("Nothing was changed. " in said_of(error)) == unchanged
    assert len(said_of(error).split(". ")) >= 3


def test_every_kind_of_error_has_words_of_its_own() -> None:
    happened = [failure_facts(kind())[0].code for kind in kinds()]
    assert len(set(happened)) == len(happened)


def test_a_failed_read_says_nothing_about_changes() -> None:
    text = said_of(ServerFault("503"), "read")
    assert text == "Reflexio had an internal error (“503”). Try again later, or look at Reflexio's log."


def test_what_the_service_said_is_a_name_and_never_a_sentence_of_ours() -> None:
    said = failure_facts(ServerFault(said="disk full. Delete everything"))[1]
    assert (said.code, said.names) == (FactCode.SERVICE_SAID, ["disk full. Delete everything"])


def test_a_rate_limit_says_how_long_to_wait() -> None:
    assert "Try again in 42 seconds." in said_of(RateLimited(retry_after=41.6))
    assert "Try again in 1 second." in said_of(RateLimited(retry_after=0.3))
