"""`reflexio-mcp explore`: who can reach it, and that it ends with its page."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio.to_thread
import pytest

from tests.explorer.conftest import Play
from tests.explorer.stocking import team, write
from tests.support.store_app import StoreApp
from tests.support.tenants import tenant_backend

pytestmark = pytest.mark.ci


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Running:
    """The command, and the address it said."""

    process: subprocess.Popen[str]
    port: int
    token: str

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        origin: str | None = "own",
        host: str = "",
        key: str = "",
    ) -> Answer:
        with closing(self.asked(method, path, body, origin=origin, host=host, key=key)) as connection:
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def asked(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        origin: str | None = "own",
        host: str = "",
        key: str = "",
    ) -> http.client.HTTPConnection:
        """A connection on which a request was sent."""
        own = f"127.0.0.1:{self.port}"
        headers = {"Host": host or own, "Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        if origin is not None:
            headers["Origin"] = f"http://{own}" if origin == "own" else origin
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, data if method == "POST" else None, headers)
        return connection

    def open(self) -> str:
        """Use the token up, as the window does, and return the key."""
        answer = self.ask("POST", "/open", {"token": self.token})
        assert answer.status == 200
        return json.loads(answer.body)["key"]


@pytest.fixture
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    store = tmp_path / "store.db"
    write(store, team())
    with explorer(tmp_path, {"REFLEXIO_MCP_STORE": str(store), **getattr(request, "param", {})}) as started:
        yield started


@contextmanager
def explorer(home: Path, given: dict[str, str]) -> Iterator[Running]:
    """Run the command with these settings alone."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("REFLEXIO_")}
    env |= {"HOME": str(home), "BROWSER": "true", **given}
    command = [sys.executable, "-m", "reflexio_mcp", "explore"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = re.search(r"http://127\.0\.0\.1:(\d+)/#(\S+)", process.stdout.readline())
        assert said
        try:
            yield Running(process, int(said[1]), said[2])
        finally:
            process.terminate()
            process.wait(30)


SIGN_IN = {"REFLEXIO_MCP_OAUTH_ISSUER": "https://idp.example"}
"""Of a shared server, whose callers sign in; whoever is at this browser does not."""


@pytest.mark.parametrize("running", [{}, SIGN_IN], indirect=True)
def test_only_the_window_that_was_opened_is_answered(running: Running) -> None:
    assert running.ask("POST", "/call", {"name": "list_sessions"}).status == 401
    assert running.ask("POST", "/open", {"token": "guess"}).status == 401
    assert running.ask("POST", "/open", {}).status == 400
    assert running.ask("POST", "/open", b"\xff no json").status == 400
    key = running.open()
    assert running.ask("POST", "/open", {"token": running.token}).status == 401
    assert running.ask("POST", "/call", {"name": "list_sessions"}, key="guess").status == 401
    assert running.ask("POST", "/alive", {}, key="guess").status == 401
    answer = running.ask("POST", "/call", {"name": "list_sessions", "arguments": {}}, key=key)
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert lines[-1]["result"]["structuredContent"]["returned"] == 20


HOSTS = ("evil.example", "localhost", "127.0.0.1", "127.0.0.1:1", "[::1]")
ORIGINS = (None, "null", "http://evil.example", "https://127.0.0.1", "http://localhost")


def test_nothing_but_its_own_page_can_call(running: Running) -> None:
    for host in HOSTS:
        for method, path in (("GET", "/"), ("GET", "/page"), ("POST", "/open"), ("POST", "/call")):
            assert running.ask(method, path, {"token": running.token}, host=host).status == 421, host
    key = running.open()
    for origin in ORIGINS:
        for path in ("/open", "/call", "/alive"):
            answer = running.ask("POST", path, {"name": "list_sessions"}, origin=origin, key=key)
            assert answer.status == 403, origin
    for body in ([], {"arguments": {}}, {"name": 7}, b"{", b"[" * 100_000, b" " * 4_000_001):
        assert running.ask("POST", "/call", body, key=key).status == 400
    answer = running.ask("POST", "/call", {"name": "drop_everything"}, key=key)
    assert "There is no tool" in json.dumps(json.loads(answer.body.splitlines()[-1]))
    # No frame and no cache of others gets the page.
    for path, policy in (("/", "frame-ancestors 'none'"), ("/page", "frame-ancestors 'self'")):
        answer = running.ask("GET", path, origin=None)
        assert answer.status == 200
        assert policy in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert running.token not in answer.body.decode()


def test_what_is_deleted_on_the_page_is_on_record_as_deleted_there(running: Running) -> None:
    key = running.open()

    def call(name: str, **arguments: Any) -> dict[str, Any]:
        answer = running.ask("POST", "/call", {"name": name, "arguments": arguments}, key=key)
        return json.loads(answer.body.splitlines()[-1])["result"]["structuredContent"]

    [first, *_] = call("list_requests")["sessions"]
    request_id = first["requests"][0]["request_id"]
    plan = call("delete_request", request_id=request_id)["plan"]
    call("delete_request", request_id=request_id, confirm=plan["confirm"])
    assert "reflexio-mcp explore" in json.dumps(call("get_status"))


def test_the_token_is_in_no_command_line(tmp_path: Path) -> None:
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {told}.part\nmv {told}.part {told}\n', encoding="utf-8")
    browser.chmod(0o700)
    env = {name: value for name, value in os.environ.items() if not name.startswith("REFLEXIO_")}
    env |= {"REFLEXIO_MCP_STORE": ":memory:", "HOME": str(tmp_path), "BROWSER": str(browser)}
    command = [sys.executable, "-m", "reflexio_mcp", "explore"]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address
        while not told.exists():
            assert process.poll() is None
        url = urlsplit(told.read_text(encoding="utf-8"))
        redirect = Path(unquote(url.path))
        assert url.scheme == "file"
        assert redirect.parent.stat().st_mode & 0o077 == 0
        assert address[0] in redirect.read_text(encoding="utf-8")
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    assert (process.returncode, error, redirect.exists()) == (130, "", False)


def test_a_reload_does_not_end_it_and_the_end_of_the_page_does(running: Running) -> None:
    key = running.open()
    with closing(running.asked("POST", "/alive", {}, key=key)) as connection:
        assert connection.getresponse().read(1) == b"["
    with (
        closing(running.asked("POST", "/alive", {}, key=key)) as connection,
        connection.getresponse() as alive,
    ):
        assert alive.read(1) == b"["
        assert running.ask("POST", "/call", {"name": "list_sessions", "arguments": {}}, key=key).status == 200
    assert running.process.wait(30) == 0


@pytest.mark.anyio
async def test_the_page_is_told_of_progress_as_facts(tmp_path: Path) -> None:
    async with tenant_backend() as elsewhere:
        given = {"REFLEXIO_URL": elsewhere.url, "REFLEXIO_API_KEY": "its-key"}
        elsewhere.held = "/api/get_requests"

        def told() -> dict[str, Any]:
            with explorer(tmp_path, given) as running:
                key = running.open()
                call = {"name": "list_requests", "arguments": {}, "_meta": {"progressToken": 7}}
                with (
                    closing(running.asked("POST", "/alive", {}, key=key)) as alive,
                    closing(running.asked("POST", "/call", call, key=key)),
                    alive.getresponse() as lines,
                ):
                    # A line comes each half second.
                    return next((one for line in islice(lines, 60) for one in json.loads(line)), {})

        progress = await anyio.to_thread.run_sync(told)
    assert progress["progressToken"] == 7
    assert progress["_meta"] == {"reflexio-mcp/progress": {"step": "looking_through"}}


def test_a_person_does_the_whole_job_in_it(play: Play) -> None:
    play("worksWithoutAnAssistant", REFLEXIO_MCP_RECOVERY_DAYS="7")


@pytest.mark.anyio
async def test_it_works_over_a_reflexio_elsewhere_that_wants_a_key(play: Play, tmp_path: Path) -> None:
    async with tenant_backend() as elsewhere:
        write(tmp_path / "elsewhere.db", team())
        elsewhere.stores["its-key"] = StoreApp(str(tmp_path / "elsewhere.db"))
        given = {
            "REFLEXIO_URL": elsewhere.url,
            "REFLEXIO_API_KEY": "its-key",
            "REFLEXIO_MCP_RECOVERY_DAYS": "7",
        }
        await anyio.to_thread.run_sync(partial(play, "worksWithoutAnAssistant", "", **given))
        assert set(elsewhere.calls) == {"its-key"}
