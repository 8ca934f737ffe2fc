"""The script that brings the real server: what it says when it cannot."""

import os
import sys
import time
from pathlib import Path

import pytest

from scripts import reflexio_server
from scripts.serving import free_port

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_an_installation_counts_only_when_it_is_complete_and_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFLEXIO_SERVER_CACHE", str(tmp_path))
    assert reflexio_server.installed() is None
    (tmp_path / "installed.json").write_text('{"packages": "of another day"}', encoding="utf-8")
    assert reflexio_server.installed() is None
    monkeypatch.setattr(reflexio_server, "_digest", lambda: "of another day")
    assert reflexio_server.installed() == tmp_path / "bin" / "python"


def test_a_server_that_ends_at_once_shows_its_last_words(tmp_path: Path) -> None:
    broken = script(tmp_path / "env" / "bin" / "python", "echo 'no such module'; exit 3")
    with pytest.raises(reflexio_server.ServerError, match=r"ended with code 3:\nno such module"):
        reflexio_server.start(free_port(), tmp_path, broken)


def test_stopping_ends_what_the_server_started_too(tmp_path: Path) -> None:
    """The server forks workers for model calls, and they outlive it."""
    answer = "import http.server,sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()"
    handler = (
        "import http.server\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
    )
    (tmp_path / "server.py").write_text(f"{handler}{answer}\n", encoding="utf-8")
    stand_in = script(
        tmp_path / "env" / "bin" / "python",
        f'sleep 600 & echo $! > worker; exec {sys.executable} "{tmp_path}/server.py" "$6"',
    )
    process = reflexio_server.start(free_port(), tmp_path, stand_in)
    worker = int((tmp_path / "worker").read_text(encoding="utf-8"))
    os.kill(worker, 0)
    reflexio_server.stop(process)
    deadline = time.monotonic() + 60
    while _runs(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(worker)


def _runs(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    if status.exists():  # a zombie that nobody has collected yet does not run
        return status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path("/proc").exists()
