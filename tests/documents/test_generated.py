"""Tables, entries and the demo's output in the documents are what the code says now."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))


def test_nothing_that_is_made_from_the_code_is_out_of_date() -> None:
    import docs

    stale = [path.relative_to(ROOT).as_posix() for path in docs.stale()]
    assert stale == [], "run .venv/bin/python scripts/docs.py"


def test_what_differs_from_run_to_run_does_not_count() -> None:
    import docs

    one = "request_id=019223bc-a3c2-4d5e-b87f-3b03672bf93e demo-d86b0ad6-trip 2026-11-24T23:53:05Z confirm=1-x-Y"
    two = "request_id=119223bc-a3c2-4d5e-b87f-3b03672bf93e demo-e86b0ad6-trip 2026-11-25T23:53:05Z confirm=1-a-B"
    assert docs.steady(one) == docs.steady(two)
    assert docs.steady("Deleted 1") != docs.steady("Deleted 2")


def test_a_block_that_is_wrong_is_found() -> None:
    import docs

    text = "<!-- generated: tools -->\n| old |\n<!-- end -->\n"
    assert docs.renewed(text) != text
    assert docs.renewed(docs.renewed(text)) == docs.renewed(text)
