"""Fixtures shared by all tests."""

import gc
import importlib.util
import itertools
import json
import logging
import os
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from reflexio_mcp.server.runtime import tune_collector
from scripts import reflexio_server
from scripts.serving import free_port
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.real_learning import LearningReflexio
from tests.support.scripted_model import ScriptedModel
from tests.support.store_app import StoreApp

# httpx asks for sniffio at every request. Where it is not installed, pytest's import hook makes that a long search.
if importlib.util.find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]


# A shell starts what it runs in the background without Ctrl-C, and the processes of the tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from what is imported and collected, as in a server that serves: it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        tune_collector()


@pytest.fixture(scope="session", autouse=True)
def schemas_are_checked_once() -> Iterator[None]:
    """Checking the schemas in each client would be most of what a server in this process costs.

    Every client still checks each answer against the schema.
    """
    check_schema = Draft202012Validator.check_schema
    good: set[str] = set()

    def check_once(schema: Any, *options: Any, **named: Any) -> None:
        text = json.dumps(schema, sort_keys=True)
        if text not in good:
            check_schema(schema, *options, **named)
            good.add(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft202012Validator, "check_schema", check_once)
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: two workers per core, because the tests spend half of their time waiting for processes."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests that share a costly server or browser to one worker, and begin with them."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "learning_reflexio" in fixtures or "sharing_reflexio" in fixtures:
            item.add_marker(pytest.mark.xdist_group("learning"))
        elif item.get_closest_marker("live"):
            item.add_marker(pytest.mark.xdist_group("live"))
        elif "postgres" in fixtures or "[postgresql" in item.name:
            item.add_marker(pytest.mark.xdist_group("postgres"))
        elif "stage" in fixtures:
            item.add_marker(pytest.mark.xdist_group(f"browser-{next(_browsers) % 2}"))
    items.sort(key=lambda item: not item.get_closest_marker("xdist_group"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why tests were skipped, one line a reason."""
    skipped = terminalreporter.getreports("skipped")
    for reason, times in Counter(report.longrepr[2] for report in skipped).most_common():
        terminalreporter.write_line(f"{times} skipped: {reason.removeprefix('Skipped: ')}")


_browsers = itertools.count()

_folders = itertools.count()
"""Their numbers. pytest finds the next one by looking at every folder of the run, for each test again."""


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each test's own, named for it."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}{next(_folders)}", numbered=False)


@pytest.fixture(autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder of each test's own: servers keep their keys, copies and counts there."""
    folder = tmp_path_factory.mktemp(f"data{next(_folders)}", numbered=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder))
        patch.setenv("LOCALAPPDATA", str(folder))
        yield folder


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """An HTTP server in a test quiets the loggers of libraries; undo that after the test."""
    before = {logger: (logger.level, list(logger.filters)) for logger in _loggers()}
    yield
    for logger in _loggers():
        level, filters = before.get(logger, (logging.NOTSET, []))
        if logger.level != level:  # setting it empties the caches of all loggers
            logger.setLevel(level)
        logger.filters[:] = filters


def _loggers() -> list[logging.Logger]:
    return [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]


@pytest.fixture
async def store_app(tmp_path: Path) -> AsyncIterator[StoreApp]:
    """An embedded store on a file of its own."""
    app = StoreApp(str(tmp_path / "store.db"))
    yield app
    await app.aclose()


@pytest.fixture
async def store_client(store_app: StoreApp) -> AsyncIterator[httpx.AsyncClient]:
    """Raw HTTP to `store_app`."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=store_app),
        base_url="http://store",
        headers={"user-agent": "reflexio-mcp-tests/0"},
    ) as client:
        yield client


@pytest.fixture(scope="session")
def reflexio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Reflexio server: `REFLEXIO_TEST_URL`, else one that is started for this run.

    Without either the test is skipped, unless `REFLEXIO_LIVE=1` asks for it: then the server is installed when it
    is missing, and a server that cannot be had is a failure.
    """
    if url := os.environ.get("REFLEXIO_TEST_URL"):
        yield url.rstrip("/")
        return
    home = tmp_path_factory.mktemp("reflexio-home")
    with _real_server(home) as url:
        yield url


@pytest.fixture(scope="module")
def unused_reflexio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As `reflexio_url`, but a server that no other module has used.

    A test that looks at everybody's traffic takes minutes where others have left theirs.
    """
    if url := os.environ.get("REFLEXIO_TEST_URL"):
        yield url.rstrip("/")
        return
    with _real_server(tmp_path_factory.mktemp("unused-reflexio-home")) as url:
        yield url


@pytest.fixture(scope="session")
def learning_reflexio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearningReflexio]:
    """A real Reflexio server of this run that learns, by the rules of a scripted model. Skipped as `reflexio_url`."""
    home = tmp_path_factory.mktemp("reflexio-learning-home")
    with ScriptedModel() as model, _real_server(home, model.url) as url:
        yield LearningReflexio(url, model, home)


@pytest.fixture(scope="session")
def sharing_reflexio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LearningReflexio]:
    """As `learning_reflexio`, with vectors, so that it also makes rules for everybody from what it learns."""
    home = tmp_path_factory.mktemp("reflexio-sharing-home")
    with ScriptedModel() as model, _real_server(home, model.url, model.vectors_url) as url:
        yield LearningReflexio(url, model, home)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this run. A test that stops it starts it again."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with postgres_server() as server:
        if server is None:
            pytest.skip("PostgreSQL is not installed")
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """An empty database of the test's own."""
    name = f"test_{next(_databases)}"
    postgres.sql(f"CREATE DATABASE {name}")
    yield postgres.url(name)
    postgres.sql(f"DROP DATABASE {name} WITH (FORCE)")


_databases = itertools.count()


@contextmanager
def _real_server(home: Path, model: str = "", vectors: str = "") -> Generator[str]:
    wanted = os.environ.get("REFLEXIO_LIVE") == "1"
    if not wanted and reflexio_server.installed() is None:
        pytest.skip(
            "no Reflexio server: run python3 scripts/reflexio_server.py install, or set REFLEXIO_TEST_URL"
        )
    try:
        python = reflexio_server.install()
        port = free_port()
        process = reflexio_server.start(port, home, python, model=model, vectors=vectors)
    except reflexio_server.ServerError as error:
        if wanted:
            pytest.fail(str(error), pytrace=False)
        pytest.skip(f"the Reflexio server did not start: {error}")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        reflexio_server.stop(process)


_loopback_hosts = itertools.count(random.randrange(1 << 20))


@pytest.fixture
def live_transport() -> Callable[[], httpx.AsyncHTTPTransport]:
    """Makes transports to the real server, each from a loopback address of its own.

    The server allows 60 publishes a minute for one address. Where the system has just one loopback address (not
    Linux), all share its allowance.
    """

    def transport() -> httpx.AsyncHTTPTransport:
        if sys.platform != "linux":
            return httpx.AsyncHTTPTransport()
        host = next(_loopback_hosts)
        return httpx.AsyncHTTPTransport(
            local_address=f"127.{1 + (host >> 16) % 254}.{host >> 8 & 255}.{1 + host % 254}"
        )

    return transport
