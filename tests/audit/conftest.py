"""The corpus is stored and audited once."""

import anyio
import pytest

from tests.audit.measuring import Measured, measure


@pytest.fixture(scope="session")
def measured() -> Measured:
    """Every rule's score over the whole corpus."""
    return anyio.run(measure)
