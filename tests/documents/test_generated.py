"""Tables, entries and the demo's output in the documents are what the code says now."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def docs() -> Any:
    """The script that makes them; there is a folder of its name."""
    sys.path.insert(0, str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("docs_script", ROOT / "scripts" / "docs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_that_is_made_from_the_code_is_out_of_date(docs: Any) -> None:
    stale = [path.relative_to(ROOT).as_posix() for path in docs.stale()]
    assert stale == [], "run .venv/bin/python scripts/docs.py"


def test_a_block_that_is_wrong_is_found(docs: Any) -> None:
    text = "<!-- generated: tools -->\n| old |\n<!-- end -->\n"
    assert docs.renewed(text) != text
    assert docs.renewed(docs.renewed(text)) == docs.renewed(text)
