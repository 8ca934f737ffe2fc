"""What one of many callers may use up, and what it cannot take from the others."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.callers import Caller, read_caller
from reflexio_mcp.server.client_pool import ClientPool, PoolFull
from reflexio_mcp.settings import Settings
from reflexio_mcp.state import job_records
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import JobRecords
from reflexio_mcp.state.local.database import LocalDatabase
from tests.over_http.test_attacks import ask, events
from tests.over_http.test_tenancy import as_caller, bring, publish, refused, tenants
from tests.support.serving import connected, serving
from tests.support.tenants import TenantBackend, tenant_backend

pytestmark = pytest.mark.anyio


@pytest.fixture
async def backend() -> AsyncIterator[TenantBackend]:
    async with tenant_backend() as backend:
        yield backend


def test_naming_a_user_is_another_caller_and_the_same_account() -> None:
    settings = Settings(tenancy="header", url="http://127.0.0.1:9")

    def of(key: bytes, *user: bytes, token: str = "t") -> Caller:
        headers = [(b"x-reflexio-api-key", key), *((b"x-reflexio-user-id", one) for one in user)]
        return read_caller(headers, settings, token=token)

    assert of(b"a").account == of(b"a", b"ann").account
    assert of(b"a").name != of(b"a", b"ann").name
    assert len({of(b"a").account, of(b"b").account, of(b"a", token="other").account}) == 3


async def test_naming_other_users_lets_nobody_run_more_calls(backend: TenantBackend) -> None:
    async with serving(tenants(backend, max_in_flight=2)) as served:
        assert served.app
        limiter = served.app.server.limiter
        account = read_caller(
            [(name.encode(), value.encode()) for name, value in bring("key-a").items()],
            served.app.settings,
            token=bring("key-a")["authorization"].removeprefix("Bearer "),
        ).account
        assert limiter._running.take(account)
        assert limiter._running.take(account)
        try:
            for user in ("", "ann", "bob"):
                async with as_caller(served, "key-a", user) as client:
                    assert "Busy" in await refused(client, "list_requests", {})
            async with as_caller(served, "key-b") as other:
                assert not (await other.call_tool("list_requests", {})).is_error
        finally:
            limiter._running.give_back(account)
            limiter._running.give_back(account)


async def test_naming_a_user_makes_no_more_room_under_the_hourly_cap(backend: TenantBackend) -> None:
    async with (
        serving(tenants(backend, confirm="off", delete_cap=2)) as served,
        as_caller(served, "key-a") as everybody,
        as_caller(served, "key-a", "ann") as ann,
        as_caller(served, "key-b") as other,
    ):
        for number in range(3):
            await publish(everybody, "ann", "x", f"s{number}")
        await publish(other, "ann", "x", "s0")
        for number in range(2):
            done = await everybody.call_tool("delete_session", {"session_id": f"s{number}"})
            assert done.structured_content["deleted"] == 1
        assert "an hour" in await refused(ann, "delete_session", {"session_id": "s2"})
        done = await other.call_tool("delete_session", {"session_id": "s0"})
        assert done.structured_content["deleted"] == 1


def test_an_hourly_cap_forgets_who_has_deleted_nothing_lately() -> None:
    now = 0.0
    database = LocalDatabase(clock=lambda: now)
    cap = HourlyCap(10, database)

    def kept() -> int:
        with database.transaction() as connection:
            return connection.execute("SELECT count(*) FROM deletions").fetchone()[0]

    for number in range(100):
        cap.room(f"invented-{number}")
        cap.take(f"owner-{number}", 1)
    assert kept() == 100
    now = 4000.0
    cap.take("owner", 1)
    assert kept() == 1
    database.close()


def _ended(records: JobRecords, owner: str, caller: str, times: int = 1) -> None:
    for _ in range(times):
        records.end(records.add(owner, caller, "x").key, "done", "")


@pytest.fixture
def records() -> Iterator[JobRecords]:
    with closing(LocalDatabase()) as database:
        yield JobRecords(database)


def test_one_tenants_receipts_do_not_push_out_anothers(
    records: JobRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_records, "MOST_REMEMBERED", 120)
    _ended(records, "victim/", "victim")
    _ended(records, "loud/", "loud", 60)
    assert len(records.of("loud/")) <= job_records.REMEMBERED + 1
    for number in range(200):
        _ended(records, f"loud/user-{number}", "loud")
    assert [job.number for job in records.of("victim/")] == [1]
    assert sum(len(records.of(f"loud/user-{number}")) for number in range(200)) < 120


def test_numbers_of_deletions_count_ones_own_alone(records: JobRecords) -> None:
    _ended(records, "a/", "a", 5)
    _ended(records, "b/", "b", 2)
    assert [job.number for job in records.of("b/")] == [2, 1]


async def test_the_audit_log_names_the_caller_its_user_and_the_call_in_the_log(
    backend: TenantBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    audit = tmp_path / "audit.jsonl"
    async with (
        serving(tenants(backend, confirm="off", audit_log=str(audit))) as served,
        as_caller(served, "canary-key", "ann") as ann,
        as_caller(served, "canary-key") as everybody,
    ):
        for client in (ann, everybody):
            await publish(client, "ann", "x")
            await client.call_tool("delete_session", {"session_id": "s"})
    lines = [json.loads(line) for line in audit.read_text(encoding="utf-8").splitlines()]
    begun = [line for line in lines if line["event"] == "begin"]
    calls = {line["call_id"]: line for line in events(caplog, "call")}
    assert [line.get("user_id") for line in begun] == ["ann", None]
    assert len({line["caller"] for line in begun}) == 2
    for line in begun:
        assert calls[line["call_id"]]["caller"] == line["caller"]
        assert calls[line["call_id"]]["tool"] == "delete_session"
    assert "canary" not in audit.read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_code_of_before_a_change_of_keys_is_good_where_the_old_key_is_kept(
    backend: TenantBackend, mode: str
) -> None:
    old, new = "o" * 32, "n" * 32
    sessions = "none"
    async with (
        serving(tenants(backend, state_keys=(old, new), sessions=sessions)) as before,
        serving(tenants(backend, state_keys=(new, old), sessions=sessions)) as after,
    ):
        # Both ways: while the change goes round, some replicas are ahead of others.
        for number, (first, then) in enumerate(((before, after), (after, before))):
            async with (
                connected(first.url, bring("key"), mode=mode) as planner,
                connected(then.url, bring("key"), mode=mode) as confirmer,
            ):
                session = f"s{number}"
                await publish(planner, "u", "x", session)
                plan = (await planner.call_tool("delete_session", {"session_id": session})).structured_content
                given = {"session_id": session, "confirm": plan["confirm"]}
                done = await confirmer.call_tool("delete_session", given)
                assert done.structured_content["deleted"] == 1


async def test_a_key_with_a_blank_is_refused_by_its_headers_name(backend: TenantBackend) -> None:
    async with serving(tenants(backend)) as served:
        reply = await ask(served, bring("key a"))
        assert reply.status_code == 403
        assert "X-Reflexio-API-Key" in reply.text
        assert "REFLEXIO_API_KEY" not in reply.text


async def test_a_full_pool_opens_no_client_it_would_not_close() -> None:
    opened: list[ReflexioClient] = []

    def open_client(key: str) -> ReflexioClient:
        opened.append(ReflexioClient("http://127.0.0.1:9", api_key=key))
        return opened[-1]

    pool = ClientPool(open_client, 1, lambda key_id: False)
    async with pool.lease(Caller("one", key_id="one")):
        with pytest.raises(PoolFull):
            async with pool.lease(Caller("two", key_id="two")):
                pass
    await pool.aclose()
    assert opened
    assert all(client._closed for client in opened)


class Connection:
    """A connection: what it is told to do at its end."""

    def __init__(self, callback: Any) -> None:
        self.exit_stack = SimpleNamespace(callback=callback)
