"""Hosts that others wrote do the whole job with a model that follows a script: publish, list, read, delete, restore."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from scripts.hosts_model import Step, serving_model
from tests.support.serving import TOKEN, message_of, post, serving_process

pytestmark = [
    pytest.mark.ci,
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="the environments are looked for where Unix has them"),
]

JOB = Path(__file__).with_name("job_hosts.py")
CLIENTS = JOB.parents[2] / ".cache" / "clients"

HOSTS = {
    "hosts_mcp1": ("langchain", "llama_index", "haystack", "strands", "autogen", "semantic_kernel"),
    "hosts_mcp2": ("pydantic_ai", "agent_framework", "google_adk", "agno"),
}
"""By their environment: some need the official client 1.x, the others 2.x."""

SAID = "I cannot eat peanuts."
SESSION = {"session_id": "s"}


def job(results: list[str]) -> Step | None:
    """The next call, from what the host gave its model so far."""
    publish = {"user_id": "ada", "request_id": "r1", "interactions": [{"role": "User", "content": SAID}]}
    steps: list[Step] = [
        ("publish_interaction", SESSION | publish),
        ("list_requests", SESSION),
        ("get_request", {"request_id": "r1"}),
        ("delete_session", SESSION),
        ("delete_session", SESSION | code_in(results[3:])),
        ("list_requests", SESSION),
        ("restore_requests", {"deletion": 1}),
        ("restore_requests", {"deletion": 1} | code_in(results[6:])),
        ("list_requests", SESSION),
    ]
    return steps[len(results)] if len(results) < len(steps) else None


def code_in(plans: list[str]) -> dict[str, str]:
    """The code of the first of these plans."""
    found = re.search(r"confirm\W+(\d+-\w+)", plans[0]) if plans else None
    return {"confirm": found[1]} if found else {}


@pytest.mark.parametrize(
    ("environment", "host"), [(environment, host) for environment, hosts in HOSTS.items() for host in hosts]
)
async def test_a_host_publishes_lists_reads_deletes_and_restores(
    environment: str, host: str, tmp_path: Path
) -> None:
    home = CLIENTS / environment
    if not (home / "installed").exists():
        pytest.skip("not installed: python3 scripts/other_clients.py")
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REFLEXIO_"))}
    env |= {"HOME": str(tmp_path)}
    async with serving_process(tmp_path) as served:
        with serving_model(job) as model:
            command = [
                str(home / "bin" / "python"),
                str(JOB),
                host,
                f"{model.url}/v1",
                f"{served.url}/mcp",
                TOKEN,
            ]
            with anyio.fail_after(200):
                done = await anyio.run_process(
                    command, env=env, check=False, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
                )
        said = done.stdout.decode("utf-8", "replace")[-3000:]
        assert done.returncode == 0, said
        assert job(model.given) is None, f"{model.given[-1:]}\n{said}"
        listed, read, gone, back = (model.given[step] for step in (1, 2, 5, 8))
        assert "r1" in listed
        assert SAID in read
        assert SAID not in gone
        assert SAID in back
        [deletion] = await deletions(served)
        assert deletion["status"] == "restored"


async def deletions(served: Any) -> list[dict[str, Any]]:
    """What the server says of deletions, without the host."""
    status = message_of(await post(served, "get_status"))["result"]["structuredContent"]
    return [row for row in status["deletions"] if not row.get("restores")]
