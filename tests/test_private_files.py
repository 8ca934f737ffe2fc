"""Private files: who may read them, and what else may be found in their place."""

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from reflexio_mcp import private_files
from reflexio_mcp.backend import local_key, process_key
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.tables import StateUnusable

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permission bits")


def kept(path: Path, secret: bytes = b"new") -> bytes:
    return private_files.keep_secret(path, lambda: secret, lambda found: len(found) == 3)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "data" / "key"
    assert kept(path, b"one") == kept(path, b"two") == b"one"
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["key"]


def readable_by_others(path: Path) -> None:
    path.write_bytes(b"old")
    path.chmod(0o644)


def cut_off(path: Path) -> None:
    path.write_bytes(b"ol")
    path.chmod(0o600)


@pytest.mark.parametrize("put", [readable_by_others, cut_off, os.mkfifo])
def test_what_protects_no_secret_is_replaced(tmp_path: Path, put: Callable[[Path], None]) -> None:
    path = tmp_path / "key"
    put(path)
    found: list[bytes] = []
    asking = threading.Thread(target=lambda: found.append(kept(path)), daemon=True)
    asking.start()
    asking.join(60)
    assert found == [b"new"], "a pipe must not be waited for"
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600


def test_several_that_ask_at_once_get_the_same_secret(tmp_path: Path) -> None:
    path, found = tmp_path / "key", list[bytes]()
    start = threading.Barrier(8)

    def ask(number: int) -> None:
        start.wait()
        found.append(kept(path, b"%03d" % number))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {path.read_bytes()}


def test_others_lose_what_they_may_do_with_a_file_and_its_owner_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    for wide, narrow in ((0o644, 0o600), (0o777, 0o700), (0o440, 0o400)):
        path.chmod(wide)
        private_files.restrict(path)
        assert mode(path) == narrow
    private_files.restrict(tmp_path / "nothing")


def test_the_key_of_fingerprints_outlives_the_process_unless_no_file_can_be_kept(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "store.db"))
    assert local_key(settings) == local_key(settings)
    assert len(local_key(settings) or b"") == 32
    (tmp_path / "file").touch()
    nowhere = Settings(store=str(tmp_path / "file" / "store.db"))
    with pytest.raises(StateUnusable, match="cannot be kept in a file"):
        local_key(nowhere)
    assert len(process_key(nowhere)) == 32


def test_a_file_that_cannot_be_written_to_its_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        private_files.make_secret(tmp_path / "fingerprint.key", b"k" * 32)
    with pytest.raises(OSError, match="No space left"):
        private_files.write_new(tmp_path / "receipt.json", b"{}")
    assert not list(tmp_path.iterdir())
