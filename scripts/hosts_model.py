"""A language model on loopback that does one job through whatever host asks it: four dialects, one script.

The script is a function of what its tools have returned so far, so it needs no memory of its own: the host sends the
whole conversation each time. What the model was given is kept, since that is what a check looks at.
"""

import json
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT = "WaitForMcpServers"

Step = tuple[str, dict[str, Any]]
"""A tool, by its own name, and its arguments."""


@dataclass
class Model:
    """Which tool is called next.

    Args:
        job: from the results so far, as the model was given them, to the next call; `None` when all is done.
        url: where it listens.
        given: the results of the longest conversation seen.
    """

    job: Callable[[list[str]], Step | None]
    url: str = ""
    given: list[str] = field(default_factory=list)

    def answer(self, tools: list[str], results: list[str]) -> Step | str:
        """The next call by the name that the host gave its tool, or the last words."""
        if not tools:
            return "A title"
        if len(results) >= len(self.given):
            self.given = results
        step = self.job(results)
        if step is None:
            return "All done."
        named = [name for name in tools if re.fullmatch(rf"(?:.*[^a-zA-Z])?{step[0]}", name)]
        if named:
            return min(named, key=len), step[1]
        # Claude Code asks before its servers have started.
        return (WAIT, {}) if WAIT in tools else f"There is no tool {step[0]}."


def _text(content: Any) -> str:
    """The text of a tool's result, however a dialect wraps it."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_text(part.get("text", part.get("content", ""))) for part in content)
    return json.dumps(content, ensure_ascii=False)


Events = list[tuple[str, dict[str, Any]]]
"""What a dialect streams: the name of each event, or nothing if it has none, and its data."""


def _messages(model: Model, asked: dict[str, Any]) -> tuple[dict[str, Any], Events]:
    """Anthropic's Messages API."""
    results = [
        _text(block.get("content", ""))
        for message in asked["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
        if block["type"] == "tool_result" and block["tool_use_id"].startswith("toolu_job")
    ]
    said = model.answer([tool["name"] for tool in asked.get("tools", []) if "name" in tool], results)
    if isinstance(said, str):
        block: dict[str, Any] = {"type": "text", "text": said}
        begin, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": said}
    else:
        number = f"wait_{len(asked['messages'])}" if said[0] == WAIT else f"job_{len(results)}"
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": said[0], "input": said[1]}
        begin = block | {"input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(said[1])}
    stop = "end_turn" if isinstance(said, str) else "tool_use"
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {
        "id": f"msg_{len(results)}", "type": "message", "role": "assistant", "model": asked["model"],
        "content": [block], "stop_reason": stop, "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    events: Events = [
        ("message_start", {"message": message | {"content": [], "stop_reason": None}}),
        ("content_block_start", {"index": 0, "content_block": begin}),
        ("content_block_delta", {"index": 0, "delta": delta}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": stop, "stop_sequence": None}, "usage": usage}),
        ("message_stop", {}),
    ]
    return message, [(name, {"type": name, **event}) for name, event in events]


def _completions(model: Model, asked: dict[str, Any]) -> tuple[dict[str, Any], Events]:
    """OpenAI's Chat Completions."""
    results = [_text(message["content"]) for message in asked["messages"] if message["role"] == "tool"]
    said = model.answer([tool["function"]["name"] for tool in asked.get("tools") or []], results)
    message: dict[str, Any] = {"role": "assistant", "content": said if isinstance(said, str) else None}
    if not isinstance(said, str):
        function = {"name": said[0], "arguments": json.dumps(said[1])}
        message["tool_calls"] = [
            {"index": 0, "id": f"call_{len(results)}", "type": "function", "function": function}
        ]
    stop = "stop" if isinstance(said, str) else "tool_calls"
    head = {"id": f"c{len(results)}", "created": 1, "model": asked["model"]}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    whole = head | {
        "object": "chat.completion", "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": stop}],
    }  # fmt: skip
    parts = [
        {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": stop}]},
        {"choices": [], "usage": usage},
    ]
    return whole, [("", head | {"object": "chat.completion.chunk"} | part) for part in parts]


def _responses(model: Model, asked: dict[str, Any]) -> tuple[dict[str, Any], Events]:
    """OpenAI's Responses."""
    given = asked["input"] if isinstance(asked["input"], list) else []
    results = [_text(item["output"]) for item in given if item.get("type") == "function_call_output"]
    # By one name for the script: the namespace, or nothing, and the name in it.
    names: dict[str, tuple[str, str]] = {}
    for tool in asked.get("tools") or []:
        if tool["type"] == "namespace":
            for inner in tool["tools"]:
                names[f"{tool['name']}__{inner['name']}"] = (tool["name"], inner["name"])
        elif tool["type"] == "function":
            names[tool["name"]] = ("", tool["name"])
    said = model.answer(list(names), results)
    if isinstance(said, str):
        item: dict[str, Any] = {
            "type": "message", "role": "assistant", "id": f"m{len(results)}", "status": "completed",
            "content": [{"type": "output_text", "text": said, "annotations": []}],
        }  # fmt: skip
    else:
        space, name = names[said[0]]
        item = {
            "type": "function_call", "id": f"f{len(results)}", "call_id": f"call_{len(results)}", "name": name,
            "arguments": json.dumps(said[1]), "status": "completed", **({"namespace": space} if space else {}),
        }  # fmt: skip
    usage = {
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2,
    }  # fmt: skip
    whole = {
        "id": f"r{len(results)}",
        "object": "response",
        "status": "completed",
        "output": [item],
        "usage": usage,
    }
    events: Events = [
        ("response.created", {"response": whole | {"status": "in_progress", "output": []}}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": whole}),
    ]
    return whole, [(name, {"type": name, **event}) for name, event in events]


def _gemini(model: Model, asked: dict[str, Any]) -> tuple[dict[str, Any], Events]:
    """Google's generateContent."""
    parts = [part for content in asked["contents"] for part in content.get("parts", [])]
    results = [_text(part["functionResponse"]["response"]) for part in parts if "functionResponse" in part]
    tools = [
        function["name"]
        for group in asked.get("tools", [])
        for function in group.get("functionDeclarations", [])
    ]
    said = model.answer(tools, results)
    part = {"text": said} if isinstance(said, str) else {"functionCall": {"name": said[0], "args": said[1]}}
    whole = {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    }
    return whole, [("", whole)]


_DIALECTS: tuple[tuple[str, Callable[[Model, dict[str, Any]], tuple[dict[str, Any], Events]]], ...] = (
    (r"/messages$", _messages),
    (r"/chat/completions$", _completions),
    (r"/responses$", _responses),
    (r":(?:streamG|g)enerateContent$", _gemini),
)


@contextmanager
def serving_model(job: Callable[[list[str]], Step | None]) -> Generator[Model]:
    """A model that listens on a free port of 127.0.0.1."""
    model = Model(job)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by the base class
            pass

        def do_GET(self) -> None:
            names = [{"id": "scripted", "object": "model", "name": "scripted"}]
            self._send(json.dumps({"object": "list", "data": names, "models": names}), "application/json")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.partition("?")[0]
            for pattern, dialect in _DIALECTS:
                if re.search(pattern, path):
                    asked = json.loads(body)
                    whole, events = dialect(model, asked)
                    if asked.get("stream") or "stream" in path:
                        lines: list[str] = []
                        for name, data in events:
                            if name:
                                lines.append(f"event: {name}\n")
                            lines.append(f"data: {json.dumps(data)}\n\n")
                        ending = "data: [DONE]\n\n" if "completions" in path else ""
                        self._send("".join(lines) + ending, "text/event-stream")
                    else:
                        self._send(json.dumps(whole), "application/json")
                    return
            self._send(json.dumps({"input_tokens": 1, "totalTokens": 1}), "application/json")

        def _send(self, text: str, kind: str) -> None:
            data = text.encode()
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    model.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()
