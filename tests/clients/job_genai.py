"""The whole job with google-genai's own MCP support: `job_genai.py http|sse URL TOKEN`.

A scripted model calls the tools.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from google import genai
from google.genai import types
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client

STEPS, ANSWERS, DECLARED = [], [], set()


class Scripted(BaseHTTPRequestHandler):
    """The model's API: one call of a tool after the other, each made from the answer before."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        names = [one["name"] for tool in asked["tools"] for one in tool["functionDeclarations"]]
        DECLARED.update(names)
        parts = asked["contents"][-1]["parts"]
        ANSWERS.extend(one["functionResponse"]["response"] for one in parts if "functionResponse" in one)
        part = {"text": "done"}
        if STEPS:
            tool, arguments = STEPS.pop(0)(ANSWERS)
            part = {"functionCall": {"name": tool, "args": arguments}}
        content = {"role": "model", "parts": [part]}
        body = json.dumps({"candidates": [{"content": content, "finishReason": "STOP"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


def facts(answer):
    """The structured form of an answer, which this client passes on as the model's API has it."""
    found = answer.get("result", answer)
    return (
        found.get("structuredContent")
        or found.get("structured_content")
        or json.loads(found["content"][0]["text"])
    )


@asynccontextmanager
async def streams(way, url, token):
    headers = {"Authorization": f"Bearer {token}"}
    if way == "sse":
        async with sse_client(url, headers=headers) as opened:
            yield opened
    else:
        async with streamablehttp_client(url, headers=headers) as opened:
            yield opened


async def main(way, url, token):
    said = {"role": "User", "content": "hello"}
    STEPS[:] = [
        lambda _: ("publish_interaction", {"user_id": "u", "session_id": way, "interactions": [said]}),
        lambda answers: ("get_request", {"request_id": facts(answers[0])["request_id"]}),
        lambda answers: ("delete_request", {"request_id": facts(answers[0])["request_id"]}),
        lambda answers: (
            "delete_request",
            {
                "request_id": facts(answers[0])["request_id"],
                "confirm": facts(answers[2])["plan"]["confirm"],
            },
        ),
        lambda _: ("list_requests", {"session_id": way}),
        lambda answers: ("restore_requests", {"deletion": facts(answers[3])["receipt"]["number"]}),
        lambda answers: (
            "restore_requests",
            {
                "deletion": facts(answers[3])["receipt"]["number"],
                "confirm": facts(answers[5])["confirm"],
            },
        ),
        lambda _: ("list_requests", {"session_id": way}),
    ]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    Thread(target=server.serve_forever, daemon=True).start()
    options = types.HttpOptions(base_url=f"http://127.0.0.1:{server.server_port}")
    model = genai.Client(api_key="none", vertexai=False, http_options=options)
    async with streams(way, url, token) as (read, write, *_), ClientSession(read, write) as session:
        await session.initialize()
        await model.aio.models.generate_content(
            model="scripted",
            contents="Store something and forget it.",
            config={"tools": [session]},  # an object would be copied with the session
        )
        assert {one.name for one in (await session.list_tools()).tools} == DECLARED
    stored, read, _, done, listed, _, restored, back = map(facts, ANSWERS)
    assert stored["status"] == "stored", stored
    assert done["receipt"]["deleted"]["requests"] == 1, done
    assert read["interactions"][0]["content"] == "hello", read
    assert (listed["returned"], back["returned"]) == (0, 1), (listed, back)
    assert restored["restored"]["requests"] == 1, restored
    sys.stdout.write("job done\n")


asyncio.run(main(*sys.argv[1:]))
