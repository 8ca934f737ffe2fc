"""Starting what a client would start, and waiting for its first answer."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Final

import anyio
import anyio.abc

__all__ = ["POOR_PATH", "child_environment", "start"]

_HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "reflexio-mcp-doctor", "version": "1"},
    },
}

POOR_PATH: Final = "/usr/bin:/bin"
"""The PATH of a client that was started from a dock. On Windows it has the person's own."""

_KEPT: Final = (
    "HOME", "USERPROFILE", "SYSTEMROOT", "SYSTEMDRIVE", "APPDATA", "LOCALAPPDATA", "TEMP", "TMP", "PATHEXT"
)  # fmt: skip


def child_environment(
    variables: Mapping[str, str], base: Mapping[str, str], *, terminal: bool
) -> dict[str, str]:
    """What a client gives the server that it starts.

    Args:
        variables: the entry's own.
        base: the shell's.
        terminal: whether the client is started from a shell and so has its PATH; else it has almost none.
    """
    made = {name: base[name] for name in _KEPT if name in base}
    made |= {
        name: value
        for name, value in base.items()
        if name.lower().endswith("_proxy") or name == "SSL_CERT_FILE"
    }
    whole = terminal or os.name == "nt"
    return made | {"PATH": base.get("PATH", POOR_PATH) if whole else POOR_PATH} | dict(variables)


async def start(command: Sequence[str], env: Mapping[str, str], seconds: float) -> tuple[str, str]:
    """Start a server, say hello and end it.

    Args:
        command: program and arguments.
        env: all that the process gets.
        seconds: the longest wait for the answer.

    Returns:
        How it went, empty when the server answered, else `missing`, `ended` or `silent`; and what it said last.
    """
    # An empty folder: Python would import what lies in the working folder.
    with tempfile.TemporaryDirectory() as folder:
        return await _start(command, env, seconds, folder)


async def _start(
    command: Sequence[str], env: Mapping[str, str], seconds: float, folder: str
) -> tuple[str, str]:
    try:
        process = await anyio.open_process(
            list(command),
            env={"PYTHONDONTWRITEBYTECODE": "1", **env},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return "missing", error.strerror or ""
    heard: dict[str, str] = {}
    try:
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_collect, process.stderr, heard)
                heard["answer"] = await _ask(process)
                tasks.cancel_scope.cancel()
            if not heard["answer"]:
                await process.wait()
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()
    if heard.get("answer") == "yes":
        return "", ""
    said = heard.get("stderr", "").strip().splitlines()
    last = said[-1][:300] if said else ""
    if "answer" not in heard:
        return "silent", last
    return "ended", last or f"exit code {process.returncode}"


async def _ask(process: anyio.abc.Process) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    buffer = b""
    try:
        await process.stdin.send(json.dumps(_HELLO).encode() + b"\n")
        while True:
            buffer += await process.stdout.receive()
            for line in buffer.splitlines():
                if b'"serverInfo"' in line and line.rstrip().endswith(b"}"):
                    return "yes"
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        # What it wrote last may still be on its way.
        with anyio.move_on_after(1):
            await process.wait()
        return ""


async def _collect(stream: anyio.abc.ByteReceiveStream | None, heard: dict[str, str]) -> None:
    assert stream is not None
    try:
        while True:
            said = heard.get("stderr", "") + (await stream.receive()).decode("utf-8", "replace")
            heard["stderr"] = said[-4000:]
    except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
        return
