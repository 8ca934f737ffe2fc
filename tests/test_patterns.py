"""Every regular expression of the package takes time that grows with the text and no faster."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).parent / "support" / "patterns.py"
PUT_TOGETHER = {"install/files.py", "traffic/rules/secrets.py", "traffic/rules/word_finder.py"}
"""Files that put a pattern together when it is needed: `test_linear.py` has the words and the names of vendors;
`test_shown.py` the files."""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timer that ends a process")
def test_no_text_makes_a_pattern_slow() -> None:
    child = subprocess.run(
        [sys.executable, str(CHILD), "reflexio_mcp"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=1_200,
        check=True,
    )
    said: list[dict[str, Any]] = [json.loads(line) for line in child.stdout.splitlines()]
    patterns = [one for one in said if "pattern" in one]
    assert len(patterns) > 150
    [unknown] = [one["unknown"] for one in said if "unknown" in one]
    assert {one.split(":")[0].removeprefix("reflexio_mcp/") for one in unknown} == PUT_TOGETHER
    slow, pattern = list[Any](), ""
    for before, one in zip([{}, *said], said, strict=False):
        pattern = one.get("pattern", pattern)
        if "slow" in one:
            slow.append((pattern, before.get("text"), one["slow"]))
    assert not slow
