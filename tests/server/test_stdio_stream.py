"""What is found in a line that no parser takes."""

import json
import time

import pytest

from reflexio_mcp.server.stdio_stream import top_level


@pytest.mark.parametrize(
    "message",
    [
        {"id": 7, "method": "m"},
        {"params": {"id": 1, "a": [{"id": 2}, "}{", '"id": 3']}, "id": "seven", "method": "m"},
        {"a": '"', "b": "\\", "c": "\\\\", "id": 7},
        {'"id"': 1, "id": 7},
        {"id": {"id": 1}},
        {},
    ],
)
def test_the_keys_of_the_outermost_object_are_found(message: dict[str, object]) -> None:
    for line in (json.dumps(message), json.dumps(message, indent=1), json.dumps(message) + " trailing"):
        found = top_level(line)
        assert len(found) == len(message)
        if isinstance(message.get("id"), int | str):
            assert found["id"] == json.dumps(message["id"])


@pytest.mark.parametrize("piece", ['"', '\\"', "\\", "[", "{", '{"', '":', "a", "a ", '"a":', "\n"])
def test_a_long_line_takes_time_in_proportion(piece: str) -> None:
    def seconds(times: int) -> float:
        line = '{"id":7,"a":"' + piece * times
        began = time.process_time()
        top_level(line)
        return time.process_time() - began

    short, long = seconds(100_000), seconds(400_000)
    assert long < 0.05 + 12 * short
