"""A server process spoken to over blocking pipes: nothing between the clock and the wire."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BARE = (sys.executable, str(Path(__file__).parent / "bare_server.py"))
OURS = (sys.executable, "-m", "reflexio_mcp")


class WireProcess:
    """A server over stdio at revision 2025-11-25.

    Args:
        command: what to run.
        home: the folder that stands for the user's, and takes the server's log.
        variables: its configuration; none of the caller's own reaches it.
    """

    def __init__(
        self, command: Sequence[str], home: Path, variables: Mapping[str, str] | None = None
    ) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("REFLEXIO_")}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling anew at each start is not what users have
        self._log = (home / "stderr.txt").open("ab")
        self.begun = time.perf_counter()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=home,
            env=inherited | {"HOME": str(home), "XDG_DATA_HOME": str(home)} | dict(variables or {}),
        )
        self._next_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout
            self._process.stdout.close()
            self._log.close()

    def open(self) -> None:
        """The handshake."""
        info = {"name": "benchmark", "version": "1"}
        self.request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info})
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send one request and read its result; notifications in between are dropped."""
        self._next_id += 1
        self._write({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": dict(params or {})})
        assert self._process.stdout
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the server ended; its log is in stderr.txt of its home folder")
            message = json.loads(line)
            if message.get("id") == self._next_id:
                return message["result"]

    def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool and return its result, which must not be an error."""
        result = self.request("tools/call", {"name": tool, "arguments": dict(arguments)})
        if result.get("isError"):
            raise RuntimeError(f"{tool}: {result['content'][0]['text']}")
        return result

    def call_watched(self, tool: str, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """Call a tool that reports progress; its result, and the longest time without a sign of life in seconds."""
        self._next_id += 1
        params = {"name": tool, "arguments": dict(arguments), "_meta": {"progressToken": self._next_id}}
        self._write({"jsonrpc": "2.0", "id": self._next_id, "method": "tools/call", "params": params})
        assert self._process.stdout
        longest, last = 0.0, time.perf_counter()
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the server ended; its log is in stderr.txt of its home folder")
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
            message = json.loads(line)
            if message.get("id") == self._next_id:
                return message["result"], longest

    def peak_memory(self) -> float:
        """Peak resident memory in MB. Linux only.

        Raises:
            OSError: the system has no `/proc`.
        """
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) / 1024

    def worked(self) -> float:
        """Seconds that the processor has worked for it. Linux only.

        Raises:
            OSError: the system has no `/proc`.
        """
        return worked(self._process.pid)

    def _write(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()


def worked(pid: int) -> float:
    """Seconds that the processor has worked for a process. Linux only.

    Raises:
        OSError: the system has no `/proc`.
    """
    # The name of the program stands in brackets and may hold blanks; the times follow it.
    times = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
