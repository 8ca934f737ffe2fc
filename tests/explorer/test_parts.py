"""The parts of the page that need no browser, in Node."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PARTS = Path(__file__).parent / "parts.mjs"
OLDEST = 20
"""The first version of Node with a test runner that names what failed, and with all that the parts use."""


def test_what_the_page_works_out_and_does_with_answers() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip(
            "no Node here: install Node 20 or later to test the parts of the page that need no browser"
        )
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.match(r"v(\d+)", said)
    if version is None or int(version[1]) < OLDEST:
        pytest.skip(f"Node {said.strip()} is too old: the parts of the page need Node {OLDEST}")
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec", str(PARTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"pass [12]\d\b", done.stdout), "all of them ran"
