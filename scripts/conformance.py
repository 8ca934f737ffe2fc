"""The official MCP conformance suite against `/mcp` of a real process: `python3 scripts/conformance.py`.

Both protocol revisions. `tests/conformance/REVISION.yml` names the scenarios that need the suite's own test tools,
resources and prompts; any other failure, and any of those that passes by now, ends with exit code 1.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import bootstrap
import node_tools
from serving import serving

REVISIONS = ("2025-11-25", "2026-07-28")
SUITE = Path("@modelcontextprotocol", "conformance", "dist", "index.js")


def passes(url: str, revision: str, folder: str) -> bool:
    """Run the suite for one revision, and say how it went."""
    node, modules = node_tools.ensure()
    known = bootstrap.ROOT / "tests" / "conformance" / f"{revision}.yml"
    words = ["--suite", "all", "--spec-version", revision, "--expected-failures", str(known)]
    done = subprocess.run(
        [str(node), str(modules / SUITE), "server", "--url", f"{url}/mcp", *words, "-o", f"{folder}/{revision}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", errors="replace", timeout=180, check=False,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    if done.returncode:
        print("\n".join(lines[-80:]))
    total = next((line for line in lines if line.startswith("Total:")), "no total")
    print(f"conformance {revision}: {'FAILED' if done.returncode else 'ok'} ({total})", flush=True)
    return done.returncode == 0


def main() -> int:
    try:
        python = bootstrap.ensure("run")
        # The suite sends no token.
        words = ["-m", "reflexio_mcp", "serve", "--transport", "http", "--unsafe-no-auth", "--port"]
        with (
            tempfile.TemporaryDirectory() as folder,
            serving([python, *words], Path(folder), REFLEXIO_MCP_STORE=f"{folder}/store.db") as url,
        ):
            done = [passes(url, revision, folder) for revision in REVISIONS]
    except bootstrap.SetupError as error:
        sys.exit(str(error))
    return 0 if all(done) else 1


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
