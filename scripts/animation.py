"""Write docs/pictures/clean-up.svg: how one cleans up after a test run, as a terminal shows it.

The commands are run by the real program on a terminal, with an embedded store in a temporary folder:
`.venv/bin/python scripts/animation.py`. Not for Windows, which has no pseudo-terminals.
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

import anyio

from reflexio_mcp.backend import open_client
from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "clean-up.svg"

STORED = (
    ("allergy", "ada", "dinner", "chat", "I cannot eat peanuts."),
    ("test-1", "ci", "e2e-1", "ci.e2e", "lorem ipsum one"),
    ("test-2", "ci", "e2e-2", "ci.e2e", "lorem ipsum two"),
    ("test-3", "ci", "e2e-3", "ci.e2e", "lorem ipsum three"),
)
"""Id, user, session, source and words of the requests that the store has at first."""

COMMANDS = (
    "reflexio-mcp requests --start-time 24h",
    "reflexio-mcp delete --source ci.e2e --start-time 24h",
    "reflexio-mcp requests --start-time 24h",
)
QUESTION = "[y/N] "
"""How a question ends that is answered with yes."""

COLUMNS = 118
LINE_PIXELS = 18
COLUMN_PIXELS = 7.9
TYPED_SECONDS = 1.0
READ_SECONDS = 2.5
LAST_SECONDS = 6.0


class Step(NamedTuple):
    """What appears at once: a typed command or what the program writes, and how long it stands alone."""

    lines: list[str]
    seconds: float
    is_typed: bool


async def _fill(store: Path) -> None:
    async with open_client(Settings(store=str(store))) as backend:
        for request_id, user_id, session_id, source, words in STORED:
            body = PublishBody(
                request_id=request_id,
                user_id=user_id,
                session_id=session_id,
                source=source,
                interaction_data_list=[Interaction(content=words)],
            )
            await backend.publish(body, minted=False)


def on_a_terminal(command: list[str], home: Path) -> str:
    """Run a command on a terminal, answer its questions with yes, and return what the terminal received."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {
        "HOME": str(home),
        "NO_COLOR": "1",
        "PATH": os.environ.get("PATH", ""),
        "TERM": "xterm",
    }
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=home, close_fds=True
    )
    os.close(theirs)
    received = b""
    try:
        while piece := os.read(ours, 65_536):
            received += piece
            if received.endswith(QUESTION.encode()):
                os.write(ours, b"y\n")
    except OSError:
        pass  # Linux says in this way that the program has closed the terminal.
    os.close(ours)
    if process.wait() != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}: {received.decode()}")
    return received.decode().replace("\r\n", "\n")


def steps() -> list[Step]:
    """Run the commands and return what a person sees, in order."""
    shown: list[Step] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        store = home / ".local" / "share" / "reflexio-mcp" / "store.db"
        store.parent.mkdir(parents=True, mode=0o700)
        anyio.run(_fill, store)
        for command in COMMANDS:
            words = command.split()[1:]
            written = on_a_terminal([sys.executable, "-m", "reflexio_mcp", *words], home)
            written = written.replace(str(home), "~").strip("\n")
            shown.append(Step([f"$ {command}"], TYPED_SECONDS, is_typed=True))
            before, asked, after = written.partition(QUESTION)
            shown.append(
                Step(_wrapped(before + asked + ("y" if asked else "")), READ_SECONDS, is_typed=False)
            )
            if asked:
                answered = after.removeprefix("y")  # which the terminal echoes
                shown.append(Step(_wrapped(answered.strip("\n")), READ_SECONDS, is_typed=False))
    return shown


def _wrapped(text: str) -> list[str]:
    """Lines as a terminal of `COLUMNS` columns breaks them; the last one is empty."""
    lines: list[str] = []
    for line in text.splitlines():
        pieces = [line[at : at + COLUMNS] for at in range(0, len(line), COLUMNS)]
        lines += [piece.rstrip() for piece in pieces] or [""]
    return [*lines, ""]


def picture(shown: list[Step]) -> str:
    """The steps as an SVG that shows one after the other, and all of them to a reader without animations."""
    length = sum(step.seconds for step in shown) + LAST_SECONDS
    rules: list[str] = []
    groups: list[str] = []
    began, row = 0.0, 0
    for number, step in enumerate(shown):
        percent = 100 * began / length
        rules.append(f"@keyframes s{number}{{0%{{opacity:0}}{percent:.2f}%,100%{{opacity:1}}}}")
        rules.append(f".s{number}{{animation:s{number} {length:.1f}s step-end infinite}}")
        name = f"s{number} typed" if step.is_typed else f"s{number}"
        texts: list[str] = []
        for line in step.lines:
            row += 1
            if line:
                texts.append(f'<text x="12" y="{row * LINE_PIXELS + 6}">{escape(line)}</text>')
        groups.append(f'<g class="{name}">\n' + "\n".join(texts) + "\n</g>")
        began += step.seconds
    width, height = round(COLUMNS * COLUMN_PIXELS + 24), row * LINE_PIXELS + 12
    style = "\n".join(
        [
            "rect{fill:#0d1117}",
            "text{fill:#c9d1d9;font:13px ui-monospace,Menlo,Consolas,monospace;white-space:pre}",
            ".typed text{fill:#7ee787}",
            *rules,
            "@media (prefers-reduced-motion:reduce){g{animation:none!important}}",
        ]
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    title = "<title>Clean up after a test run, in a terminal</title>"
    frame = f'<rect width="{width}" height="{height}" rx="6"/>'
    return "\n".join([head, title, f"<style>\n{style}\n</style>", frame, *groups, "</svg>\n"])


if __name__ == "__main__":
    PICTURE.write_text(picture(steps()), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)} is up to date again")
