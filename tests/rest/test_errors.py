"""The error tree is as documented, and each class has its sentence."""

import re
from collections.abc import Iterator

import pytest

from reflexio_mcp.rest import errors
from reflexio_mcp.rest.errors import (
    AlreadyExists,
    BadAddress,
    RateLimited,
    ReflexioError,
    ServerFault,
    Unreachable,
    explain,
)


def descendants(kind: type[ReflexioError]) -> Iterator[type[ReflexioError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


TREE = list(descendants(ReflexioError))


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn: list[tuple[str, str]] = []
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines()[1:]:
        found = re.match(r"([│├└─ ]*)(\w+)", line)
        if found:
            depth = len(found[1]) // 4
            above = [*above[:depth], found[2]]
            drawn.append((found[2], above[depth - 1] if depth else "Exception"))
    real = [(kind.__name__, kind.__bases__[0].__name__) for kind in TREE]
    assert sorted(drawn) == sorted(real)


@pytest.mark.parametrize("kind", TREE)
def test_every_error_says_what_happened_what_changed_and_what_to_do(kind: type[ReflexioError]) -> None:
    error = kind("some detail", correlation_id="abc123")
    text = explain(error)
    happened, next_step = text.split(". ")
    assert "(some detail; correlation id abc123)" in happened
    changed = "Nothing was changed; " if error.effect == "none" else "Whether it took effect is not known; "
    assert next_step.startswith(changed)
    assert len(next_step) > len(changed) + 5
    assert text.endswith(".")
    assert len(text) < 300
    assert explain(kind()).startswith(happened.split(" (")[0])


def test_no_class_borrows_the_sentence_of_another() -> None:
    assert len({explain(kind()) for kind in TREE}) == len(TREE)


def test_a_failed_read_says_nothing_about_changes() -> None:
    text = explain(ServerFault("503"), "read")
    assert text == "Reflexio had an internal error (503). Try again later, or look at the server's log."


def test_what_a_variable_mends_names_the_variable() -> None:
    assert "REFLEXIO_URL" in explain(Unreachable())
    assert "REFLEXIO_API_KEY" in explain(errors.NotAuthorized())
    assert "REFLEXIO_URL" in explain(BadAddress())


def test_a_rate_limit_says_how_long_to_wait() -> None:
    assert "try again in 42 s" in explain(RateLimited(retry_after=41.6))


def test_an_error_may_know_better_than_its_class_whether_something_changed() -> None:
    assert AlreadyExists().effect == "none"
    assert "not known" in explain(AlreadyExists(effect="unknown"))


def test_the_public_names_are_the_tree_and_its_vocabulary() -> None:
    assert set(errors.__all__) == {kind.__name__ for kind in TREE} | {"Action", "Effect", "explain"}
