"""The corpus is stored and audited once; its table closes the test run."""

from typing import Any

import anyio
import pytest

from tests.audit.measuring import Measured, measure

TABLE = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> Measured:
    """Every rule's score over the whole corpus."""
    result = anyio.run(measure)
    pytestconfig.stash[TABLE] = result.table()
    return result


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if table := config.stash.get(TABLE, None):
        terminalreporter.section("audit rules over the labelled corpus")
        for line in table:
            terminalreporter.write_line(line)
