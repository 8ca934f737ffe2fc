"""Every malformed line that a client can send over stdio: what has an id is answered, and the next line is too."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from tests.support.stdio import SERVER, environment

HELLO = (
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
    b'"clientInfo":{"name":"raw","version":"1"}}}\n{"jsonrpc":"2.0","method":"notifications/initialized"}'
)
PING = b'{"jsonrpc":"2.0","id":%b,"method":"ping"}'
BROKEN, INVALID, FINE = -32700, -32600, None
BOM = b"\xef\xbb\xbf"

LINES: list[tuple[bytes, Any, int | None]] = [
    # A line, the id that its answer has, and the code of the error.
    (BOM + PING % b"1", 1, FINE),
    (BOM + BOM + PING % b'"a"', "a", FINE),
    (BOM + b'{"jsonrpc":"2.0","id":1,"method":7}', 1, INVALID),
    (PING % b"null", None, INVALID),
    (PING % b"1.5", None, INVALID),
    (PING % b"1.0", None, INVALID),
    (PING % b"true", None, INVALID),
    (PING % b"[1]", None, INVALID),
    (PING % b'{"id":1}', None, INVALID),
    (PING % (b"9" * 4000), int("9" * 4000), FINE),
    (PING % (b"9" * 5000), None, BROKEN),
    (PING % b"NaN", None, INVALID),
    (PING % b"01", None, BROKEN),
    (PING % b'"a\x00b"', "a\0b", BROKEN),
    (b'{"jsonrpc":"1.0","id":1.0,"method":"ping"}', 1, INVALID),
    (b'{"jsonrpc":"2.0","id":[],"method":"ping","params":5}', None, INVALID),
    (b'{"jsonrpc":"2.0","\\u0069d":1,"method":"ping",}', 1, BROKEN),
    (b"data: " + PING % b"1", 1, BROKEN),
    (b"\x00" + PING % b"1", 1, BROKEN),
    (b"\xe2\x80\x8b" + PING % b"1", 1, BROKEN),
    (PING % b"1" + b"\x00", 1, BROKEN),
    (PING % b"1" + PING % b"2", 1, BROKEN),
    (PING % b"1" + b" // a comment", 1, BROKEN),
    (b"[" + PING % b"1" + b",", 1, BROKEN),
    (b'{"jsonrpc":"2.0","id":1,"method":"pi\tng"}', 1, BROKEN),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b"[" * 100_000, 1, BROKEN),
    (b'{"params":{"n":' + b"1" * 5000 + b'},"id":1,"jsonrpc":"2.0","method":"ping"}', 1, BROKEN),
]
UNANSWERED = [
    b"", b"5", b"null", b'"x"', b"{}", b"[]", b"[[]]", b"hello", b"{'id':1}", b"\xff\xfe",
    b'{"jsonrpc":"2.0","method":"notifications/unheard_of"}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}',
    b'{"jsonrpc":"2.0","id":77,"result":{}}', b'{"jsonrpc":"2.0","id":77,"error":5}',
    b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
]  # fmt: skip
"""Nobody waits for an answer to these, or nobody can tell who."""


def talk(lines: list[bytes], last: int, folder: Path) -> list[dict[str, Any]]:
    """Send lines to a new process, and return its answers up to the one with the id `last`."""
    env = environment(folder, REFLEXIO_MCP_STORE=":memory:")
    with subprocess.Popen(SERVER, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        stop = threading.Timer(60, process.kill)
        stop.start()
        assert process.stdin is not None
        assert process.stdout is not None
        # From beside, as a client does: neither end of the pipes holds all of it.
        writer = threading.Thread(target=_write, args=(process.stdin, lines))
        writer.start()
        answers: list[dict[str, Any]] = []
        while not answers or answers[-1]["id"] != last:
            line = process.stdout.readline()
            assert line, answers[-3:]
            answers.append(json.loads(line))
        writer.join()
        process.stdin.close()
        assert process.wait(30) == 0
        stop.cancel()
    return answers


def _write(stdin: Any, lines: list[bytes]) -> None:
    stdin.write(b"\n".join(lines) + b"\n")
    stdin.flush()


def test_each_line_is_answered_under_its_id_and_the_next_one_too(tmp_path: Path) -> None:
    sent = [HELLO]
    for number, line in enumerate([line for line, _, _ in LINES] + UNANSWERED, 1000):
        sent += [line, PING % str(number).encode()]
    pings = range(1000, 1000 + len(LINES) + len(UNANSWERED))
    answers = talk(sent, pings[-1], tmp_path)
    assert [one["id"] for one in answers if one["id"] in pings] == list(pings)
    found = [
        (one["id"], one["error"]["code"] if "error" in one else FINE)
        for one in answers
        if one["id"] != 0 and one["id"] not in pings
    ]
    wanted = [(id_, code) for _, id_, code in LINES]
    assert sorted(found, key=repr) == sorted(wanted, key=repr)


def test_a_byte_order_mark_before_the_first_line_is_no_obstacle(tmp_path: Path) -> None:
    answers = talk([BOM + HELLO, PING % b"1"], 1, tmp_path)
    assert [(one["id"], "result" in one) for one in answers] == [(0, True), (1, True)]
