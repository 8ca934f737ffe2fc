"""Every rule and every threshold is documented, with its reason."""

import os

from reflexio_mcp.traffic.rules.catalog import RULES
from tests.audit.documented import PAGE, constants, named_in, page


def test_the_page_of_rules_follows_from_the_catalog() -> None:
    if os.environ.get("REFLEXIO_UPDATE_SNAPSHOTS"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page(), "REFLEXIO_UPDATE_SNAPSHOTS=1 writes it"


def test_every_threshold_a_rule_names_exists_and_has_a_reason() -> None:
    known = constants()
    for one in RULES:
        for name in named_in(one.method):
            assert known[name][1], f"{name} of {one.id} gives no reason"


def test_a_rule_says_one_sentence_why_and_one_what_to_do() -> None:
    for one in RULES:
        assert one.why.endswith(".")
        assert one.advice.endswith(".")
        assert len(one.why) <= 160
