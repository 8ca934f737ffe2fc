"""The animation of the README shows what the program says."""

import importlib.util
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
CHANGES = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ|\b[0-9a-f]{32}\b")
"""Times, and values of the audit log."""


def words(picture: str) -> list[str]:
    texts = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    return [CHANGES.sub("…", text.text or "") for text in texts]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals.")
def test_the_animation_shows_what_a_new_run_says() -> None:
    spec = importlib.util.spec_from_file_location("animation", ROOT / "scripts" / "animation.py")
    assert spec
    assert spec.loader
    animation: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(animation)
    now = words(animation.picture(animation.steps()))
    assert words(animation.PICTURE.read_text(encoding="utf-8")) == now, "run scripts/animation.py"
    assert now.count("deleted: 3 requests with 3 interactions") == 1
