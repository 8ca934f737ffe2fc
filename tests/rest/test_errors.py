"""The sentences of the errors, which a person or a model reads."""

import pytest

from reflexio_mcp.rest.errors import RateLimited, ReflexioError, ServerFault, explain


def kinds(base: type[ReflexioError] = ReflexioError) -> list[type[ReflexioError]]:
    return [base, *(one for below in base.__subclasses__() for one in kinds(below))]


@pytest.mark.parametrize("kind", kinds())
def test_every_error_says_what_happened_what_changed_and_what_to_do(kind: type[ReflexioError]) -> None:
    happened, next_step = explain(kind("some detail", correlation_id="abc123")).split(". ")
    assert "(some detail; correlation id abc123)" in happened
    changed = {"none": "Nothing was changed; ", "unknown": "Whether the call took effect is not known; "}
    assert next_step.startswith(changed[kind.effect])
    assert len(next_step) > len(changed[kind.effect]) + 5
    assert next_step.endswith(".")


def test_a_failed_read_says_nothing_about_changes() -> None:
    text = explain(ServerFault("503"), "read")
    assert text == "Reflexio had an internal error (503). Try again later, or look at the server's log."


def test_a_rate_limit_says_how_long_to_wait() -> None:
    assert "try again in 42 s" in explain(RateLimited(retry_after=41.6))
