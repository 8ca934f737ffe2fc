"""Processor time of the first text with a key, of secrets in a million characters, of an audit of hostile texts."""

import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import Figure
from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.audit.rules import RULES, findings_in

KEY = "ghp_" + "8sKq2pLx9Zr4TbWm8Yc1f7Kq2pLx9Zr4TbWm"
TEXT_CHARS = 3_000
HOSTILE = {
    "names": "pw=" * 33_000,
    "names as values": "pwd:" * 25_000,
    "sentences": "password is " * 8_000,
    "passwords": "pw=aB3!x7 " * 10_000,
    "names and addresses": "token{://@" * 10_000,
    "Chinese": "密码" * 50_000,
}
"""Texts of 100,000 characters that could take a search far longer than other texts."""

FIRST = """
import time
from reflexio_mcp.traffic.audit.rules.redaction import find_secrets
begun = time.process_time()
assert find_secrets(%r)
print(time.process_time() - begun)
"""


def measure() -> list[Figure]:
    from reflexio_mcp.traffic.audit.rules.secrets import find_secrets

    # Other programs on the machine slow a processor down: the fastest of three counts.
    first = min(_first() for _ in range(3))
    find_secrets(KEY)
    pages = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path("docs").glob("*.md")))
    million = (pages * (1_000_000 // len(pages) + 1))[:1_000_000]
    kilobytes = [million[start : start + TEXT_CHARS] for start in range(0, 300_000, TEXT_CHARS)]
    spent = {name: _seconds(lambda text=text: _audit(text)) for name, text in HOSTILE.items()}
    worst = max(spent, key=spent.__getitem__)
    return [
        Figure("the first text with a key", first, 1.2, "s", "in a new process"),
        Figure(
            "a million characters of documentation",
            _seconds(lambda: find_secrets(million)),
            1.0,
            "s",
            "this project's pages",
        ),
        Figure(
            "an audit of 1,000 characters of documentation",
            _seconds(lambda: [_audit(text) for text in kilobytes]) / 300 * 1e6,
            600.0,
            "µs",
            f"by all rules, in texts of {TEXT_CHARS:,} characters",
        ),
        Figure("the worst hostile text of 100,000 characters", spent[worst], 0.5, "s", worst),
    ]


def _first() -> float:
    words = [sys.executable, "-c", FIRST % KEY]
    return float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def _audit(text: str) -> None:
    request = StoredRequest(request_id="r", user_id="ada", created_at=1)
    said = StoredInteraction(interaction_id=1, role="User", content=text)
    findings_in([RequestWithInteractions(request=request, interactions=[said])], RULES)


def _seconds(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, timer=time.process_time, repeat=3, number=1))
