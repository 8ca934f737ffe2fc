"""The command line in a process of its own, forked from one that has imported what the commands need.

A start costs most of a second, nearly all of it for imports. Where a test needs dozens of runs, they share those.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from reflexio_mcp.cli import main

if "forkserver" in multiprocessing.get_all_start_methods():
    _context = multiprocessing.get_context("forkserver")
    _context.set_forkserver_preload(
        [f"reflexio_mcp.{name}" for name in ("stdio", "http.app", "http.serving", "read_commands")]
    )
else:
    _context = multiprocessing.get_context("spawn")


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
    process = _context.Process(target=_run, args=(list(words), dict(env), str(folder), str(said)))
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
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    given = os.open(os.devnull, os.O_RDONLY)
    written = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, descriptor in enumerate((given, written, written)):
        os.dup2(descriptor, number)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    sys.exit(main(words))
