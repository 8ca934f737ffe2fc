"""The command line in a process of its own, forked from one that has imported what the commands need.

A start costs most of a second, nearly all of it for imports. Where a test is about what follows, it shares those.
"""

import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import reduction
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import anyio

from reflexio_mcp.cli import main

if "forkserver" in multiprocessing.get_all_start_methods():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [f"reflexio_mcp.{name}" for name in ("stdio", "http.app", "http.serving", "read_commands")]
    )
else:
    context = multiprocessing.get_context("spawn")


def run_forked(
    words: Sequence[str], env: Mapping[str, str], folder: Path, *, timeout: float = 120
) -> tuple[int, str]:
    """Run a command in `folder` with an empty standard input.

    Args:
        words: the command line, without the program.
        env: the whole environment.
        folder: where it runs; also gets the file that its output is written to.
        timeout: in seconds.

    Returns:
        The exit code, and all that was written to standard output and standard error.

    Raises:
        TimeoutError: it did not end in time, and was killed.
    """
    said = folder / "said.txt"
    process = context.Process(target=_run, args=(list(words), dict(env), str(folder), str(said)))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(said.read_text(encoding="utf-8", errors="replace"))
    code = process.exitcode
    process.close()
    text = said.read_text(encoding="utf-8", errors="replace")
    said.unlink()
    return code, text


def _run(words: list[str], env: dict[str, str], folder: str, said: str) -> None:
    given = os.open(os.devnull, os.O_RDONLY)
    written = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _become(functools.partial(main, words), env, folder, given, written, written)


def _become(
    run: Callable[[], int], env: dict[str, str], folder: str, given: int, written: int, logged: int
) -> None:
    """Take an environment, a folder and standard streams, then run until the end of the process."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for number, descriptor in enumerate((given, written, logged)):
        os.dup2(descriptor, number)
    # What reads from a stream sees its end only when nobody can write to it any more.
    for descriptor in {given, written, logged}:
        os.close(descriptor)
    # What was there knows whether it was a file.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.argv[1:] = []
    sys.exit(run())


class _Descriptor(int):
    """A file descriptor that goes to the forked process with what it is given."""

    def __reduce__(self) -> tuple[Callable[[Any], int], tuple[Any]]:
        return _received, (reduction.DupFd(int(self)),)


def _received(sent: Any) -> int:
    return sent.detach()


class Pipe:
    """This process's end of a pipe, as a stream of bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    async def send(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            await anyio.wait_writable(self._descriptor)
            try:
                left = left[os.write(self._descriptor, left) :]
            except BrokenPipeError:
                raise anyio.BrokenResourceError from None

    async def receive(self) -> bytes:
        await anyio.wait_readable(self._descriptor)
        if not (data := os.read(self._descriptor, 65_536)):
            raise anyio.EndOfStream
        return data

    async def aclose(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class ForkedProcess:
    """A forked process, with what the tests use of `anyio.abc.Process`. Made by `open_forked`."""

    def __init__(self, process: BaseProcess, stdin: Pipe, stdout: Pipe) -> None:
        assert process.pid
        self._process = process
        self.pid = process.pid
        self.stdin = stdin
        self.stdout = stdout
        self._one_waits = anyio.Lock()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    async def wait(self) -> int:
        async with self._one_waits:
            while (code := self.returncode) is None:
                await anyio.wait_readable(self._process.sentinel)
            return code

    async def aclose(self) -> None:
        await self.stdin.aclose()
        await self.stdout.aclose()
        await self.wait()


def open_forked(
    run: Callable[[], int], env: Mapping[str, str], folder: Path, *, stderr: int
) -> ForkedProcess:
    """Run in `folder`, with pipes as standard input and output.

    Args:
        run: what runs, and returns the exit code; it can be pickled.
        env: the whole environment. What Python reads when it starts is without effect.
        folder: where it runs.
        stderr: the descriptor of what its standard error is written to.
    """
    given, to_give = os.pipe()
    to_read, written = os.pipe()
    theirs = (_Descriptor(given), _Descriptor(written), _Descriptor(stderr))
    process = context.Process(target=_become, args=(run, dict(env), str(folder), *theirs))
    try:
        process.start()
    finally:
        os.close(given)
        os.close(written)
    return ForkedProcess(process, Pipe(to_give), Pipe(to_read))
