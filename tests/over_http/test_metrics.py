"""Measured calls, scraped as `docs/shared-server.md` says."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from tests.support.serving import TOKEN, WAIT, Served, free_port, modern_call, until_healthy
from tests.support.stdio import environment

pytestmark = [pytest.mark.anyio, pytest.mark.ci]
ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = ROOT / "packaging" / "dashboard.json"
PAGE = ROOT / "docs" / "shared-server.md"


def documented() -> tuple[dict[str, str], list[str], str]:
    """The variables, the command and the address that the page gives."""
    block = next(
        one
        for one in re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if "opentelemetry-instrument" in one
    )
    _, exported, command, scrape = block.strip().splitlines()
    pairs = shlex.split(exported)[1:]
    return dict(pair.split("=", 1) for pair in pairs), shlex.split(command), scrape.split()[1]


def names_a_metric(expression: str, told: str) -> bool:
    """Whether the metric of a panel is among what was scraped."""
    [name] = re.findall(r"(?:mcp_server|reflexio_mcp)_\w+", expression)
    return re.search(rf"^{name}[ {{]", told, re.MULTILINE) is not None


async def test_the_page_gives_what_prometheus_scrapes(tmp_path: Path) -> None:
    variables, (instrument, program, *words), address = documented()
    assert (instrument, program) == ("opentelemetry-instrument", "reflexio-mcp")
    port, scraped = free_port(), free_port()
    assert address == "http://127.0.0.1:9464/metrics"  # the exporter's default
    env = environment(tmp_path, REFLEXIO_MCP_AUTH_TOKEN=TOKEN, REFLEXIO_MCP_STORE=":memory:") | variables
    env |= {"OTEL_EXPORTER_PROMETHEUS_PORT": str(scraped), "PATH": os.environ["PATH"]}
    command = [str(Path(sys.executable).with_name(instrument)), sys.executable, "-m", "reflexio_mcp", *words]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = await anyio.open_process(
            [*command, "--port", str(port)], env=env, stderr=stderr, cwd=tmp_path
        )
    served = Served(port, process=process, log=log)
    try:
        await until_healthy(served)
        async with httpx.AsyncClient(timeout=WAIT) as http:
            for tool, arguments in (
                ("list_requests", {}),
                ("list_requests", {"cursor": "made-up"}),
                ("secret-of-a-caller", {}),
            ):
                headers, body = modern_call(tool, arguments)
                await http.post(f"{served.url}/mcp", json=body, headers=headers | served.headers)
            await http.post(f"{served.url}/mcp", json={})
            told = (await http.get(address.replace("9464", str(scraped)))).text
    finally:
        with anyio.CancelScope(shield=True):
            process.kill()
            await process.aclose()
    counted = {
        (row["tool"], row["error"] or ""): float(row["count"])
        for row in re.finditer(
            r'^mcp_server_operation_duration_seconds_count{(?:error_type="(?P<error>\w*)",)?'
            r'gen_ai_tool_name="(?P<tool>\w+)",mcp_method_name="tools/call".*} (?P<count>\S+)$',
            told,
            re.MULTILINE,
        )
    }
    assert counted == {
        ("list_requests", ""): 1,
        ("list_requests", "tool_error"): 1,
        ("unknown", "tool_error"): 1,
    }
    assert re.search(r'^reflexio_mcp_refusals_total{.*reason="unauthorized".*} 1.0$', told, re.MULTILINE)
    assert re.search(r"^reflexio_mcp_sessions({.*})? 0.0$", told, re.MULTILINE)
    assert re.search(r"^reflexio_mcp_copies({.*})? 0.0$", told, re.MULTILINE)
    assert re.search(r"^reflexio_mcp_cap_left({.*})? 1000.0$", told, re.MULTILINE)
    assert re.search(r"^reflexio_mcp_jobs({.*})? 0.0$", told, re.MULTILINE)
    shown = [panel["targets"][0]["expr"] for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]]
    assert [expr for expr in shown if not names_a_metric(expr, told)] == []
    assert 'service_name="reflexio-mcp"' in told
    assert "secret-of-a-caller" not in told
