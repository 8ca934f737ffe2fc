"""The file of a generated token: whatever stands there, the start does not hang, and all processes get one token."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from reflexio_mcp.http import bearer_tokens
from reflexio_mcp.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes and pipes are POSIX's")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "data" / "http-token"
    monkeypatch.setattr(bearer_tokens, "token_file", lambda: path)
    path.parent.mkdir()
    return path


def test_a_pipe_in_the_tokens_place_does_not_hold_the_start(path: Path) -> None:
    os.mkfifo(path)
    started = threading.Thread(target=bearer_tokens.bearer_tokens, args=(Settings(),), daemon=True)
    started.start()
    started.join(60)
    assert not started.is_alive()
    assert path.is_file()


def test_two_starts_that_find_a_token_others_could_read_end_with_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("y" * 43, encoding="utf-8")
    path.chmod(0o644)
    both_have_looked = threading.Barrier(2, timeout=0.5)
    unlink = Path.unlink

    def late(self: Path, missing_ok: bool = False) -> None:
        if self == path:
            with suppress(threading.BrokenBarrierError):  # broken when only one gets as far as this
                both_have_looked.wait()
            if threading.current_thread().name == "slow":
                threads[1].join(1)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", late)
    made: dict[str, bearer_tokens.Tokens] = {}

    def start(name: str) -> None:
        made[name] = bearer_tokens.bearer_tokens(Settings())[0]

    threads = [threading.Thread(target=start, args=(name,), name=name) for name in ("slow", "fast")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    kept = path.read_bytes().strip()
    assert [one.check(kept) for one in made.values()] == [True, True]
