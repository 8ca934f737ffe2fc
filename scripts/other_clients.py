"""Install the clients of others, each in an environment of its own: `python3 scripts/other_clients.py`.

They are in `.cache/clients/NAME` as `tests/clients/requirements/NAME.txt` pins them, and in `.cache/node`; the tests of
`tests/clients` use what they find there and skip the rest.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bootstrap
import node_tools

FOLDER = bootstrap.ROOT / ".cache" / "clients"
REQUIREMENTS = bootstrap.ROOT / "tests" / "clients" / "requirements"


def install(requirements: Path) -> None:
    bootstrap.environment(FOLDER / requirements.stem, requirements, "--require-hashes")


if __name__ == "__main__":
    bootstrap.require_python()
    try:
        bootstrap.ensure("dev")
        with ThreadPoolExecutor() as beside:
            node = beside.submit(node_tools.ensure)
            list(beside.map(install, sorted(REQUIREMENTS.glob("*.txt"))))
            node.result()
    except bootstrap.SetupError as error:
        sys.exit(str(error))
