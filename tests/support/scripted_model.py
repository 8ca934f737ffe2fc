"""A language model that says what it is told to, for a real Reflexio server to learn from.

The server asks an OpenAI-compatible endpoint what to learn from a conversation. `ScriptedModel` answers on 127.0.0.1
by rules: "where the conversation contains this, learn that". It fills in only what the server asked for, so which
interactions a learning comes from, what a merge does to it and what is left of it are the server's own work. It also
makes vectors of texts, which the server needs to see which playbooks of several users belong together.
"""

import hashlib
import json
import math
import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

WAIT_SECONDS: Final = 60.0
"""How long a held call is held, and how long a test waits for a call, at the most."""

PROFILES: Final = "StructuredProfilesOutput"
MERGE: Final = "ProfileDeduplicationOutput"
PLAYBOOKS: Final = "StructuredReferencedExtractedPlaybookList"
AGGREGATION: Final = "PlaybookAggregationOutput"
EVALUATION: Final = "AgentSuccessEvaluationOutput"
GATE: Final = "gate"
"""The calls that have no response schema: is there anything to learn?"""

_SPOKEN: Final[dict[str, tuple[str, str]]] = {
    PROFILES: ("[User Interactions to Analyze]", ""),
    PLAYBOOKS: ("## Conversation", "Read the complete"),
    "StructuredPlaybookList": ("Below are comparisons", "## Action vs avoidance framing"),
    AGGREGATION: ("## Clustered Raw Playbooks", "## Output"),
    GATE: ("", ""),
}
"""Between which lines of its prompt each kind of call shows the conversation."""


@dataclass(frozen=True)
class Rule:
    """What to learn where a conversation contains `when`, whatever its case.

    Args:
        profile: the content of a profile.
        playbook: the content of a user playbook.
        forget: a text; the profiles that contain it are no longer true.
        quote: the words of the user that a profile is said to come from.
        times: how many such profiles, numbered; one without a number when it is 1.
    """

    when: str
    profile: str = ""
    playbook: str = ""
    forget: str = ""
    quote: str = ""
    times: int = 1


@dataclass
class Asked:
    """One call of the server: the response schema it named and the whole prompt."""

    schema: str
    prompt: str
    answered: bool = False


@dataclass
class ScriptedModel:
    """The endpoint, and what it was told and asked.

    Args:
        rules: what to learn.
        merges: a word to the content that replaces every profile in which it stands, old and new.
        failure_reason: what an evaluation of a session says went wrong; a success when empty.
    """

    rules: list[Rule] = field(default_factory=list[Rule])
    merges: dict[str, str] = field(default_factory=dict[str, str])
    failure_reason: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    _held: set[str] = field(default_factory=set[str])
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._reply_to))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.forget_script()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """What the server gets as `OPENAI_API_BASE`."""
        return f"{self.vectors_url}/v1"

    @property
    def vectors_url(self) -> str:
        """What the server gets as `REFLEXIO_EMBEDDING_SERVICE_URL`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def forget_script(self) -> None:
        """Be told nothing, and let go of what is held."""
        with self._changed:
            self.rules, self.merges, self.failure_reason = [], {}, ""
            self.asked.clear()
            self._held.clear()
            self._changed.notify_all()

    @contextmanager
    def holding(self, schema: str) -> Generator[None]:
        """Keep calls of this schema waiting while the block runs."""
        with self._changed:
            self._held.add(schema)
        try:
            yield
        finally:
            with self._changed:
                self._held.discard(schema)
                self._changed.notify_all()

    def wait_for(self, schema: str, containing: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a call of this schema, whose prompt contains a text, has come in."""
        with self._changed:
            came = self._changed.wait_for(
                lambda: any(one.schema == schema and containing in one.prompt for one in self.asked),
                seconds,
            )
        assert came, f"no {schema} call contained {containing!r}"

    def _reply_to(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/health"):
            return {"status": "healthy", "configured_model": "local/minilm-l6-v2", "workload": "shared"}
        return _vectors(body) if path.endswith("/embeddings") else self._answer(body)

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = "\n".join(_text(one["content"]) for one in body["messages"] if one["role"] != "assistant")
        schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("name", GATE)
        one = Asked(schema, prompt)
        with self._changed:
            self.asked.append(one)
            self._changed.notify_all()
            self._changed.wait_for(lambda: schema not in self._held, WAIT_SECONDS)
        reply = self._reply(schema, prompt)
        one.answered = True
        text = reply if isinstance(reply, str) else json.dumps(reply)
        return {
            "id": "scripted",
            "object": "chat.completion",
            "created": 0,
            "model": body.get("model"),
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }

    def _reply(self, schema: str, prompt: str) -> Any:
        start, end = _SPOKEN.get(schema, ("", ""))
        spoken = prompt.rpartition(start)[2] if start else prompt
        spoken = spoken.partition(end)[0] if end else spoken
        said = [one for one in self.rules if one.when.lower() in spoken.lower()]
        match schema:
            case "gate":
                return "true" if said else "false"
            case "StructuredProfilesOutput":
                known = prompt.partition("[Existing Profiles]")[2].partition("[User Interactions")[0]
                new = [one for one in said if _is_new(one, known)]
                return {"profiles": [profile for one in new for profile in _profiles(one)]}
            case "ProfileDeduplicationOutput":
                return self._placed(prompt)
            case "StructuredReferencedExtractedPlaybookList":
                turns = re.findall(r"\[(T\d+)\](.*?)(?=\n\[T\d+\]|\n---|\Z)", spoken, re.DOTALL)
                return {"playbooks": [_playbook(one, turns) for one in said if one.playbook]}
            case "StructuredPlaybookList":
                return {"playbooks": [_playbook(one, []) for one in said if one.playbook]}
            case "PlaybookCandidateReviewOutput":
                return {"decisions": _accepted(prompt.partition("## First-pass candidates")[2])}
            case "PlaybookConsolidationOutput":
                kept = {"kind": "independent", "reason": "scripted"}
                return {"decisions": [{**kept, "new_id": name} for name in _listed(prompt, "NEW")]}
            case "PlaybookAggregationOutput":
                # A rule of the same text in the script makes the shared rule, also if such a one is approved.
                return {"playbook": next((_shared(one) for one in said if one.playbook), None)}
            case "AgentSuccessEvaluationOutput":
                return {
                    "is_success": not self.failure_reason,
                    "failure_type": "wrong_answer" if self.failure_reason else None,
                    "failure_reason": self.failure_reason or None,
                    "is_escalated": False,
                    "number_of_correction_per_session": 0,
                }
            case _:
                return {}

    def _placed(self, prompt: str) -> dict[str, Any]:
        """What becomes of new profiles beside the existing ones."""
        answer: dict[str, Any] = {"duplicate_groups": [], "unique_ids": [], "deletions": []}
        existing = _listed(prompt, "EXISTING")
        for name, content in _listed(prompt, "NEW").items():
            if wanted := next((one.forget for one in self.rules if one.forget and one.forget in content), ""):
                gone = [other for other, text in existing.items() if wanted in text]
                answer["deletions"].append({"new_id": name, "existing_ids": gone, "reasoning": "scripted"})
                continue
            word = next((word for word in self.merges if word in content), "")
            same = [other for other, text in existing.items() if word and word in text]
            if same:
                group = {"item_ids": [name, *same], "merged_content": self.merges[word]}
                answer["duplicate_groups"].append({**group, "merged_time_to_live": "infinity"})
            else:
                answer["unique_ids"].append(name)
        return answer


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def _is_new(rule: Rule, known: str) -> bool:
    return bool(rule.forget) or (bool(rule.profile) and rule.profile not in known)


def _profiles(rule: Rule) -> list[dict[str, Any]]:
    content = rule.profile or f"No longer true: {rule.forget}"
    contents = [content] if rule.times == 1 else [f"{content} {number}" for number in range(rule.times)]
    rest = {
        "time_to_live": "infinity",
        "source_span": rule.quote or None,
        "notes": None,
        "reader_angle": None,
    }
    return [{"content": one, **rest} for one in contents]


def _playbook(rule: Rule, turns: list[tuple[str, str]]) -> dict[str, Any]:
    return {
        "content": rule.playbook,
        "trigger": f"When {rule.when} comes up",
        "rationale": "The user asked for it",
        "evidence_kind": "correction",
        "evidence_refs": [name for name, text in turns if rule.when.lower() in text.lower()],
    }


def _shared(rule: Rule) -> dict[str, Any]:
    return {
        "content": rule.playbook,
        "trigger": f"When {rule.when} comes up",
        "rationale": "Several users asked for it",
    }


def _vectors(body: dict[str, Any]) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    size = body.get("dimensions") or 512
    return {
        "object": "list",
        "model": body.get("model"),
        "data": [
            {"object": "embedding", "index": place, "embedding": _vector(text, size)}
            for place, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


def _vector(text: str, size: int) -> list[float]:
    """A vector of length 1 that counts words: equal texts are equal, texts with common words are near."""
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()) or [""]:
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % size] += 1.0
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def _accepted(candidates: str) -> list[dict[str, Any]]:
    accept = {"decision": "accept", "reason_code": "grounded_useful", "revision": None, "reason": None}
    return [
        {**accept, "id": name, "evidence_ids": re.findall(rf"\[({name}-E\d+)\]", candidates)}
        for name in re.findall(r"^\[(C\d+)\]", candidates, re.MULTILINE)
    ]


def _listed(prompt: str, label: str) -> dict[str, str]:
    """The items that a prompt lists as `[NEW-0] Content: "…" |`, by name."""
    return dict(re.findall(rf'\[({label}-\d+)\] Content: "(.*?)" \|', prompt, re.DOTALL))


def _handler(reply: Callable[[str, dict[str, Any]], dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(reply(self.path, {}))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._send(reply(self.path, json.loads(body)))

        def _send(self, answer: dict[str, Any]) -> None:
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Keep the terminal quiet."""

    return Handler
