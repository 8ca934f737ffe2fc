"""Where what knows the vendors' formats cannot be had, the rest works and an audit says so first."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from scripts.musl_wheel import DEPENDENCY, TAG, musl_wheel

AUDIT = """
import sys
{how}
import asyncio, httpx
from reflexio_mcp.render.audit import audited
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.traffic.audit.next_call import Offer
from reflexio_mcp.traffic.audit.run import run_audit
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.scope import Scope

async def main():
    store = EmbeddedStore(":memory:")
    client = ReflexioClient("http://store.invalid", transport=lambda: httpx.ASGITransport(app=store))
    text = "Here: a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8, and my password is Tr0ub4dor&3x9"
    await client.publish(PublishBody(user_id="ada", session_id="s", request_id="r", source="web",
                                     interaction_data_list=[Interaction(content=text)]), minted=False)
    print(audited(await run_audit(Scope(client), TrafficFilter(), offer=Offer(frozenset()))).text)
    await client.aclose()
    await store.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("missing", ["not installed", "does not load"])
def test_an_audit_without_the_vendors_formats_runs_and_says_so_first(missing: str, tmp_path: Path) -> None:
    how = "sys.modules['kingfisher_sdk'] = None"
    if missing == "does not load":
        (tmp_path / "kingfisher_sdk.py").write_text("raise ImportError('wrong ELF class')", encoding="utf-8")
        how = f"sys.path.insert(0, {str(tmp_path)!r})"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", AUDIT.format(how=how)],
        capture_output=True, text=True, encoding="utf-8", check=True, timeout=120, env={**os.environ},
    )  # fmt: skip
    lines = ran.stdout.splitlines()
    assert lines[1].startswith(
        "Not looked for: probable-secret, possible-secret (keys are not looked for by the formats"
    )
    assert "[high] probable-secret: 1 request" in ran.stdout


def test_the_wheel_for_musl_asks_for_everything_but_what_has_no_wheel_there(tmp_path: Path) -> None:
    wheel = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("demo/__init__.py", "")
        made.writestr(
            "demo-1.0.dist-info/METADATA",
            f"Name: demo\nVersion: 1.0\nRequires-Dist: httpx\nRequires-Dist: {DEPENDENCY}<2; python_version > '3'\n\n",
        )
        made.writestr(
            "demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr("demo-1.0.dist-info/RECORD", "")
    path = musl_wheel(wheel)
    assert path.name == f"demo-1.0-{TAG}.whl"
    with zipfile.ZipFile(path) as inside:
        metadata = inside.read("demo-1.0.dist-info/METADATA").decode()
        record = inside.read("demo-1.0.dist-info/RECORD").decode()
        assert inside.testzip() is None
        assert {line.split(",")[0] for line in record.splitlines()} == set(inside.namelist())
        assert (
            "Tag: py3-none-musllinux_1_1_x86_64\nTag: py3-none-musllinux_1_1_aarch64\n"
            in inside.read("demo-1.0.dist-info/WHEEL").decode()
        )
    assert "Requires-Dist: httpx" in metadata
    assert DEPENDENCY not in metadata
    with pytest.raises(ValueError, match="does not require"):
        musl_wheel(path)
