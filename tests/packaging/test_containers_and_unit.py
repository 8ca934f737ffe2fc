"""What runs the shared server for a team: the image, the compose file, nginx beside it and the systemd unit.

No image is built here: that needs a registry. Everything that these files name is held against the program itself, and
read by the programs that are meant to read it, where they are installed.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from reflexio_mcp.backend import open_state
from reflexio_mcp.cli import parse
from reflexio_mcp.http.access import token_file, transport_security
from reflexio_mcp.settings import OPTIONS, ConfigurationError, Settings, load
from reflexio_mcp.state.tables import StateUnusable
from tests.support.postgres_server import PASSWORD, USER, PostgresServer
from tests.support.replicas import EXAMPLE, NGINX
from tests.support.serving import (
    WAIT,
    Served,
    free_port,
    interactions,
    modern_call,
    serving_process,
    until_healthy,
)

pytestmark = pytest.mark.ci

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "packaging" / "docker"
UNIT = ROOT / "packaging" / "systemd" / "reflexio-mcp.service"
FINISHING_SECONDS = 60
"""How long a deletion that has begun may take after SIGTERM, as docs/shared-server.md says."""

COMPOSE = shutil.which("docker-compose")
ANALYZE = shutil.which("systemd-analyze")
needs_compose = pytest.mark.skipif(COMPOSE is None, reason="docker-compose is not installed")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def instruction(name: str) -> str:
    """The last instruction of a name."""
    return next(rest for found, rest in reversed(instructions()) if found == name)


def image_variables() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in instruction("ENV").split())


def ours(variables: dict[str, Any]) -> dict[str, str]:
    """The variables that this program reads, all of which it has to know. `None` is what Compose does not set."""
    found = {name: value for name, value in variables.items() if name.startswith("REFLEXIO")}
    assert set(found) <= {option.env for option in OPTIONS}
    return {name: value for name, value in found.items() if value is not None}


def health_command() -> list[str]:
    return json.loads(instruction("HEALTHCHECK").partition(" CMD ")[2])


def test_the_image_starts_the_server_with_words_that_it_takes() -> None:
    program, *entry = json.loads(instruction("ENTRYPOINT"))
    scripts = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'{program} = "reflexio_mcp.cli:main"' in scripts
    typed = parse([*entry, *json.loads(instruction("CMD"))])
    assert (typed.command, typed.transport) == ("serve", "http")


def test_the_image_lets_nobody_in_before_its_hosts_are_named() -> None:
    settings = load(ours(image_variables()))
    assert (settings.host, str(settings.port)) == ("0.0.0.0", instruction("EXPOSE"))
    with pytest.raises(ConfigurationError, match="REFLEXIO_MCP_ALLOWED_HOSTS"):
        transport_security(settings)
    named = transport_security(replace(settings, allowed_hosts=("memory.example",)))
    assert "memory.example" in named.allowed_hosts


def test_the_image_runs_as_an_ordinary_user_and_writes_to_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not instruction("USER").startswith(("0", "root"))
    monkeypatch.setenv("XDG_DATA_HOME", image_variables()["XDG_DATA_HOME"])
    if sys.platform == "linux":
        assert token_file().is_relative_to(instruction("VOLUME"))


def test_what_the_image_copies_is_there_and_reaches_the_builder() -> None:
    sent = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    sources = [source for sources in copied for source in sources]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in sent
    assert f"--requirement {sources[0]}" in " ".join(rest for _, rest in instructions())


@pytest.mark.anyio
async def test_the_health_check_follows_the_server(tmp_path: Path) -> None:
    port = free_port()
    program, *arguments = health_command()
    assert program == "python"
    command = [sys.executable, *arguments]
    # A proxy is for other places than this container.
    env = {"PATH": os.environ["PATH"], "http_proxy": "http://127.0.0.1:9", "REFLEXIO_MCP_PORT": str(port)}

    async def checked() -> int:
        return (await anyio.run_process(command, check=False, env=env)).returncode

    variables = ours(image_variables()) | {"REFLEXIO_MCP_ALLOWED_HOSTS": "memory.example"}
    async with serving_process(tmp_path, port=port, **variables) as served:
        assert await checked() == 0
        await served.terminate()
    assert await checked() != 0


FILLED = {
    "REFLEXIO_MCP_AUTH_TOKEN": "0" * 64,
    "REFLEXIO_MCP_STATE_KEYS": "k" * 44,
    "DATABASE_PASSWORD": "1" * 64,
    "DATABASE_OWNER_PASSWORD": "3" * 64,
    "DATABASE_ADMIN_PASSWORD": "2" * 64,
}


def assignments(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#") for line in text.splitlines() if re.match(r"#?[A-Z_]+=", line)]
    return dict(line.split("=", 1) for line in lines)


def composed(
    tmp_path: Path, override: Path | None = None, /, **changed: str | None
) -> subprocess.CompletedProcess[str]:
    assert COMPOSE
    example = assignments((DOCKER / "env.example").read_text(encoding="utf-8"))
    filled = tmp_path / ".env"
    given = {name: value for name, value in (example | FILLED | changed).items() if value is not None}
    filled.write_text("".join(f"{name}={value}\n" for name, value in given.items()), encoding="utf-8")
    command = [
        COMPOSE,
        "--env-file",
        str(filled),
        "--file",
        str(DOCKER / "compose.yaml"),
        *(["--file", str(override)] if override else []),
        "config",
        "--format",
        "json",
    ]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=env, timeout=WAIT)


@pytest.fixture
def services(tmp_path: Path) -> dict[str, Any]:
    """The services, as Docker Compose itself reads the file with every value of `env.example` filled in."""
    done = composed(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    return json.loads(done.stdout)["services"]


@needs_compose
def test_the_replicas_take_the_variables_that_compose_gives_them(services: dict[str, Any]) -> None:
    server = services["server"]
    settings = load(ours(image_variables()) | ours(server["environment"]))
    assert transport_security(settings)
    assert settings.state.endswith("@database/memory")
    assert server["deploy"]["replicas"] > 1
    stop = re.fullmatch(r"(?:(\d+)m)?(\d+)s", server["stop_grace_period"])
    assert stop
    assert int(stop[1] or 0) * 60 + int(stop[2]) > settings.stop_timeout + FINISHING_SECONDS
    # What depends on a service is stopped before it: nginx would cut the answers of calls that the replicas finish.
    assert services["proxy"]["stop_grace_period"] == server["stop_grace_period"]
    assert "depends_on" not in services["proxy"]


@needs_compose
def test_every_option_in_the_file_of_values_reaches_the_replicas(tmp_path: Path) -> None:
    fixed = {"STORE", "STATE", "AUDIT_LOG", "RECOVERY_DIR", "HOST", "PORT", "UNSAFE_NO_AUTH"}
    given = {
        one.env: f"of {one.env}" for one in OPTIONS if one.env.removeprefix("REFLEXIO_MCP_") not in fixed
    }
    done = composed(tmp_path, **given)
    assert done.returncode == 0, done.stderr
    passed = json.loads(done.stdout)["services"]["server"]["environment"]
    assert {name: passed.get(name) for name in given} == given
    assert not {f"REFLEXIO_MCP_{one}" for one in fixed - {"STATE"}} & passed.keys()


@needs_compose
def test_a_limit_without_a_value_in_the_file_of_values_stops_a_replica_and_one_that_is_not_named_does_not(
    tmp_path: Path,
) -> None:
    limits = [option.env for option in OPTIONS if option.limits and option.env != "REFLEXIO_MCP_STATE"]

    def environment(**changed: str | None) -> dict[str, str]:
        done = composed(tmp_path, **changed)
        return ours(json.loads(done.stdout)["services"]["server"]["environment"])

    assert not environment(**dict.fromkeys(limits)).keys() & set(limits)
    for variable in limits:
        with pytest.raises(ConfigurationError, match=f"{variable} is blank"):
            load(environment(**{variable: ""}))


@needs_compose
@pytest.mark.parametrize("missing", [*FILLED, "REFLEXIO_URL", "REFLEXIO_MCP_ALLOWED_HOSTS"])
def test_nothing_starts_while_a_value_is_missing(missing: str, tmp_path: Path) -> None:
    done = composed(tmp_path, **{missing: None if missing == "REFLEXIO_MCP_AUTH_TOKEN" else ""})
    assert done.returncode != 0
    assert missing in done.stderr


@needs_compose
def test_every_container_is_confined_and_mounts_what_is_there(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert "no-new-privileges:true" in service["security_opt"], name
        for mount in service.get("volumes", []):
            assert mount["type"] == "volume" or (Path(mount["source"]).is_file() and mount["read_only"]), name
        for place in service.get("tmpfs", []):
            # Podman refuses an owner, and a folder of root's stays closed to the server without a mode.
            assert re.fullmatch(r"/tmp|/\w+:mode=1777", place), name
    for name in ("server", "tables", "proxy"):
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
    assert "outside" not in services["database"]["networks"]
    assert "ports" not in services["server"]
    (build,) = [service["build"] for service in services.values() if "build" in service]
    assert Path(build["context"], build["dockerfile"]).samefile(DOCKER / "Dockerfile")
    listening = re.search(r"listen (\d+);", (DOCKER / "nginx.conf").read_text(encoding="utf-8"))
    assert listening
    assert [port["target"] for port in services["proxy"]["ports"]] == [int(listening[1])]
    assert [port["host_ip"] for port in services["proxy"]["ports"]] == ["127.0.0.1"]


def test_the_replicas_believe_the_address_of_a_client_from_the_proxy_alone() -> None:
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    trusted = re.findall(r"FORWARDED_ALLOW_IPS: (\S+)", text)
    assert trusted == re.findall(r"  proxy:\n.*?ipv4_address: (\S+)", text, re.DOTALL)
    assert len(trusted) == 1
    for path in (EXAMPLE, DOCKER / "nginx.conf"):
        assert "proxy_set_header X-Forwarded-For $remote_addr;" in path.read_text(encoding="utf-8")


def test_nginx_in_the_container_is_nginx_of_the_example() -> None:
    def essence(text: str) -> list[str]:
        lines = [line.strip() for line in text.splitlines()]
        kept = [
            line.replace(" consistent;", ";")
            for line in lines
            if line and not line.startswith(("#", "pid ", "listen ", "server_name ", "resolver ", "zone "))
        ]
        return [
            line for line in kept if "_temp_path " not in line and not re.match(r"server [\w.]+:\d+", line)
        ]

    example, inside = (path.read_text(encoding="utf-8") for path in (EXAMPLE, DOCKER / "nginx.conf"))
    assert essence(inside) == essence(example)
    assert (
        re.findall(r"server (\w+):(\d+) resolve max_fails=0;", inside)
        == [("server", instruction("EXPOSE"))] * 2
    )


def local_nginx(folder: Path, replica: str) -> str:
    """The container's configuration for this machine, with one name in place of the service's."""
    text = (DOCKER / "nginx.conf").read_text(encoding="utf-8")
    assert len(re.findall(r" /tmp/", text)) == 6  # all that it writes
    text = text.replace(" /tmp/", f" {folder}/").replace("${NGINX_LOCAL_RESOLVERS}", "127.0.0.1")
    # Distributions have an nginx that does not look names up again.
    return re.sub(r"server server:\d+ resolve max_fails=0;", f"server {replica};", text)


@needs_nginx
def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    assert NGINX
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(local_nginx(tmp_path, "127.0.0.1:8765"), encoding="utf-8")
    command = [NGINX, "-t", "-e", str(tmp_path / "error.log"), "-c", str(configuration)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=WAIT)
    assert done.returncode == 0, done.stderr


@needs_compose
def test_the_roles_that_compose_makes_are_enough_and_the_replicas_cannot_change_what_was_logged(
    postgres: PostgresServer, postgres_url: str, services: dict[str, Any]
) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("psql is not installed")
    database = postgres_url.rpartition("/")[2].partition("?")[0]
    env = {
        "PATH": os.environ["PATH"], "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGPASSWORD": PASSWORD,
        "POSTGRES_USER": USER, "POSTGRES_DB": database,
    }  # fmt: skip
    passwords = {
        name: services["database"]["environment"][name] for name in ("OWNER_PASSWORD", "SERVER_PASSWORD")
    }
    assert len(set(passwords.values())) == 2
    owner, server = (
        Settings(
            state=services[name]["environment"]["REFLEXIO_MCP_STATE"].replace(
                "@database/memory", f"@127.0.0.1:{postgres.port}/{database}"
            ),
            state_keys=("k" * 44,),
        )
        for name in ("tables", "server")
    )
    assert services["server"]["depends_on"]["tables"]["condition"] == "service_completed_successfully"
    program, *words = services["tables"]["entrypoint"]
    assert program == "reflexio-mcp"

    def tables(url: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "reflexio_mcp", *words],
            env={"PATH": os.environ["PATH"], "REFLEXIO_MCP_STATE": url},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    try:
        done = subprocess.run(
            ["sh", str(DOCKER / "database.sh")],
            env=env | passwords,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        refused = tables(server.state)
        assert (refused.returncode, "belongs to the role reflexio_mcp," in refused.stderr) == (1, True)
        for _ in range(2):  # at each start
            made = tables(owner.state)
            assert (made.returncode, "reflexio_mcp_server can use them" in made.stdout) == (0, True)
        state = open_state(server)
        state.check()
        with closing(state.database) as replica:
            for forbidden in ("DELETE FROM main.log", "CREATE TABLE main.more ()"):
                with (
                    pytest.raises(StateUnusable, match="insufficient privilege"),
                    replica.transaction() as one,
                ):
                    one.execute(forbidden)
    finally:
        roles = "reflexio_mcp, reflexio_mcp_server"
        for statement in (f"DROP OWNED BY {roles} CASCADE", f"DROP ROLE {roles}"):
            subprocess.run([psql, "-U", USER, "-d", database, "-c", statement], env=env, check=True)
    assert tables("").returncode == 2


def unit() -> dict[str, list[str]]:
    """The directives of the unit, each with its values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def unit_command() -> list[str]:
    return shlex.split(unit()["ExecStart"][0])


def unit_variables() -> dict[str, str]:
    file = (UNIT.parent / "reflexio-mcp.env").read_text(encoding="utf-8")
    own = dict(pair.split("=", 1) for pair in unit()["Environment"][0].split())
    # As systemd reads them, with their quotes off.
    return own | {name: value.strip('"') for name, value in assignments(file).items()}


def test_the_unit_starts_the_server_with_words_and_variables_that_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program, *words = unit_command()
    assert Path(program).name == "reflexio-mcp"
    typed = parse(words)
    assert (typed.command, typed.transport) == ("serve", "http")
    settings = load(ours(unit_variables()))
    assert float(unit()["TimeoutStopSec"][0]) > settings.stop_timeout + FINISHING_SECONDS
    monkeypatch.setenv("XDG_DATA_HOME", unit_variables()["XDG_DATA_HOME"])
    if sys.platform == "linux":
        assert token_file().parent == Path("/var/lib") / unit()["StateDirectory"][0]


def test_what_the_unit_says_to_install_is_there() -> None:
    said = re.findall(r"^#     install .* (\S+) (/etc/\S+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(ROOT / source).is_file() for source, _ in said] == [True, True]
    assert unit()["EnvironmentFile"][0] in [place for _, place in said]


def verified(folder: Path, *names: str) -> list[str]:
    """Copy units for a program that exists here, let systemd verify them, and return their paths."""
    assert ANALYZE
    program = folder / "reflexio-mcp"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    for name in names:
        text = UNIT.with_name(name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace(unit_command()[0], str(program)), encoding="utf-8")
    copies = [str(folder / name) for name in names]
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", *copies],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=WAIT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return copies


@needs_systemd
def test_systemd_takes_the_unit_and_finds_it_confined(tmp_path: Path) -> None:
    assert ANALYZE
    [copy] = verified(tmp_path, UNIT.name)
    # 1.5 of 10: what is left is the network, which it needs.
    judged = [ANALYZE, "security", "--offline=true", "--threshold=15", copy]
    done = subprocess.run(judged, capture_output=True, encoding="utf-8", check=False, timeout=WAIT)
    assert done.returncode == 0, done.stdout[-300:]


@needs_systemd
def test_systemd_takes_the_timer_and_what_it_starts(tmp_path: Path) -> None:
    service, _ = verified(tmp_path, "reflexio-mcp-expire.service", "reflexio-mcp-expire.timer")
    [words] = re.findall(r"^ExecStart=\S+ (.*)$", Path(service).read_text("utf-8"), re.MULTILINE)
    assert parse(words.split()).filter == {"finding": "expired"}


@needs_systemd
def test_systemd_takes_the_timer_of_the_report_and_its_command_writes_a_new_page_each_time(
    tmp_path: Path,
) -> None:
    service, _ = verified(tmp_path, "reflexio-mcp-report.service", "reflexio-mcp-report.timer")
    [line] = re.findall(r"^ExecStart=(.*)$", Path(service).read_text("utf-8"), re.MULTILINE)
    shell, _, script = shlex.split(line.replace("%%", "%"))
    shown = shlex.join(["printf", "%s\\n"]) + script.removeprefix(script.split()[0])
    written = subprocess.run([shell, "-c", shown], capture_output=True, encoding="utf-8", check=True).stdout
    typed = parse(written.split())
    assert (typed.command, typed.since) == ("report", "last")
    assert re.fullmatch(r"/var/lib/reflexio-mcp/report-\d{4}-\d\d-\d\dT\d{6}\.html", typed.output)


CONFINED = """
set -e
mount --make-rprivate /
mount --bind "$XDG_DATA_HOME" "$XDG_DATA_HOME"
mount -o remount,bind,ro /
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
# As MemoryDenyWriteExecute: PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN.
NO_WRITABLE_CODE = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def confined(tmp_path: Path) -> tuple[Path, list[str]]:
    """A data folder, and what comes before a command that may write there alone."""
    data = tmp_path / "data"
    data.mkdir()
    tools = [shutil.which(name) for name in ("unshare", "setpriv", "mount")]
    before = ["unshare", "--mount", "sh", "-c", CONFINED, "sh"]
    env = os.environ | {"XDG_DATA_HOME": str(data)}
    if (
        None in tools
        or subprocess.run([*before, "true"], env=env, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounts cannot be changed here")
    return data, [*before, sys.executable, "-c", NO_WRITABLE_CODE]


@pytest.mark.anyio
async def test_the_units_command_runs_with_nothing_writable_but_its_data_and_without_privileges(
    confined: tuple[Path, list[str]], tmp_path: Path
) -> None:
    data, before = confined
    _, *words = unit_command()
    port = free_port()
    variables = {"XDG_DATA_HOME": str(data), "PYTHONDONTWRITEBYTECODE": "1", "REFLEXIO_MCP_PORT": str(port)}
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | variables
    command = [*before, sys.executable, "-m", "reflexio_mcp", *words]
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = await anyio.open_process(command, env=env, stderr=stderr, cwd=ROOT)
    served = Served(port, process=process, log=log)
    try:
        await until_healthy(served)
        token = (data / "reflexio-mcp" / "http-token").read_text(encoding="ascii").strip()
        given = {
            "user_id": "ada",
            "session_id": "s",
            "interactions": interactions("the key is AKIAQ3EGRIPLM2ZXCVBN"),
        }
        headers, body = modern_call("publish_interaction", given)
        headers["authorization"] = f"Bearer {token}"
        async with httpx.AsyncClient(timeout=WAIT) as http:
            reply = await http.post(f"{served.url}/mcp", json=body, headers=headers)
        assert "Stored" in reply.text, reply.text
        assert await served.terminate() == 0, served.stderr()
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()
