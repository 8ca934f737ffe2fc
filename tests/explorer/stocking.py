"""Stores for the explorer's tests: a month of a small team's traffic, and stores of a given size."""

import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from reflexio_mcp.embedded_store.database import Database

DAY = 86_400


@dataclass(frozen=True)
class Request:
    """One stored request. `at` is epoch seconds; interactions are (role, content)."""

    id: str
    session: str
    user: str
    at: int
    interactions: tuple[tuple[str, str], ...]
    source: str = ""
    version: str = "agent-v0"
    evaluation: bool = False
    beside: dict[str, str] = field(default_factory=dict[str, str])


def write(path: Path, requests: Iterable[Request]) -> None:
    """Put requests into a store's file, each at its own time."""
    database = Database(str(path))
    with database.writing() as connection:
        for one in requests:
            done = connection.execute(
                "INSERT INTO requests (request_id, session_id, user_id, created_at, source, agent_version, "
                "evaluation_only) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (one.id, one.session, one.user, one.at, one.source, one.version, int(one.evaluation)),
            )
            for role, content in one.interactions:
                connection.execute(
                    "INSERT INTO interactions (request, created_at, role, content, user_action, "
                    "user_action_description, interacted_image_url, shadow_content, expert_content, tools_used, "
                    "retrieved_learnings, citations, image_encoding) "
                    "VALUES (?, ?, ?, ?, 'none', '', '', '', '', ?, '[]', '[]', '')",
                    (done.lastrowid, one.at, role, content, json.dumps([one.beside] if one.beside else [])),
                )
    database.close()


_TALK = (
    ("Which fields does the quarterly invoice export have?", "Number, date, customer, net, tax and total."),
    (
        "Move my standing call with the Lisbon office to Thursdays.",
        "Done: Thursdays at ten from next week on.",
    ),
    ("I prefer short answers in the morning, details after lunch.", "Noted."),
    (
        "How do I roll back a migration that half succeeded?",
        "Restore the snapshot first, then replay the log.",
    ),
    ("Draft a polite reminder for the overdue purchase order 20413.", "Here is a draft in three sentences."),
    ("Our staging database is rebuilt every night at two.", "I will keep that in mind for deployments."),
    ("Which of the onboarding steps can run in parallel?", "Accounts and hardware; training has to wait."),
    ("Summarize the incident review from Monday.", "A certificate expired; renewal is automated now."),
    ("Please always use the metric system.", "Metric from now on."),
    ("Compare the two vendors for the label printer.", "The second is cheaper and slower by a third."),
)
_STAND_UP = (
    ("maria.keller", "Notes of the stand-up: the import job is late again.", "Noted."),
    (
        "jonas",
        "Notes of the stand-up, from me: the vendor sent the file at nine, not at six.",
        "Noted. So the job was waiting for the vendor.",
    ),
    (
        "maria.keller",
        "When an import is late, tell me first which step is waiting.",
        "I will: the waiting step first, then the rest.",
    ),
    (
        "maria.keller",
        "Who looks after the nightly import while I am away?",
        "Jonas does, from Thursday until you are back.",
    ),
)
_USERS = ("maria.keller", "jonas", "user-42", "ops-rotation", "priya.n")
_SOURCES = {"web_app": 60, "slack": 22, "ci_assistant": 12, "mobile": 6}


def team(now: int | None = None, seed: int = 7) -> list[Request]:
    """A month of a small team's traffic, with what an audit finds in it."""
    now = int(time.time()) if now is None else now
    chance = random.Random(seed)
    names, weights = list(_SOURCES), list(_SOURCES.values())
    made: list[Request] = []
    number = 0
    for session in range(96):
        back = int(chance.betavariate(1.1, 2.2) * 29 * DAY) + chance.randrange(3_600)
        user, source = chance.choice(_USERS), chance.choices(names, weights)[0]
        begun = now - back
        # Most of it in working hours.
        begun -= (begun % DAY) - chance.randrange(7 * 3_600, 18 * 3_600) if back > DAY else 0
        for interaction in range(chance.choice((1, 1, 2, 2, 3, 4, 6, 9))):
            number += 1
            asked, answered = chance.choice(_TALK)
            made.append(
                Request(
                    f"req-{number:04d}-{chance.getrandbits(32):08x}",
                    f"chat-{session:03d}-{chance.getrandbits(48):012x}"
                    if interaction == 0
                    else made[-1].session,
                    user,
                    min(begun + interaction * chance.randrange(40, 400), now - 5),
                    (("User", asked), ("Assistant", answered)),
                    source,
                    chance.choice(("assistant-2.1", "assistant-2.1", "assistant-2.0")),
                )
            )
    shared = "standup-" + "5f0c2a9be1d4"
    for index, (user, said, answer) in enumerate(_STAND_UP):
        made.append(
            Request(
                f"req-shared-{index}",
                shared,
                user,
                now - 5_400 + index * 90,
                (("User", said), ("Assistant", answer)),
                "slack",
                "assistant-2.1",
            )
        )
    made += [
        Request(
            f"req-eval-{index:02d}",
            "eval-nightly-0421",
            "eval-bot",
            now - 2 * DAY - index * 61,
            (("User", f"Case {index}: name the capital of Portugal."), ("Assistant", "Lisbon.")),
            "staging_eval",
            "assistant-2.2-rc1",
            evaluation=index != 3,
        )
        for index in range(14)
    ]
    made.append(
        Request(
            "req-secret-1",
            "deploy-help-77aa01",
            "ops-rotation",
            now - 1_900,
            (
                (
                    "User",
                    "The deploy fails. We use aws_access_key_id = AKIAQ3EGUZ7TV4KJ9XLP\nWhat is wrong with it?",
                ),
                ("Assistant", "The key lacks the permission to write to that bucket."),
            ),
            "ci_assistant",
            "assistant-2.1",
        )
    )
    return made


def many(count: int, now: int | None = None) -> list[Request]:
    """`count` requests in sessions of five, one every 20 minutes."""
    now = int(time.time()) if now is None else now
    return [
        Request(
            f"request-{index:06d}",
            f"session-{index // 5:05d}",
            f"user-{index // 5 % 7}",
            now - 1_200 * (count - index),
            (("User", f"Note {index}: short answers in the morning, please."), ("Assistant", "Noted.")),
            ("web_app", "slack", "ci_assistant")[index % 3],
        )
        for index in range(count)
    ]


HOSTILE = (
    "<img src=x onerror=hacked1=1>",
    "<script>hacked2=1</script>",
    "</script><script>hacked3=1</script>",
    '"><svg onload=hacked4=1>',
    "<style>body{background:red!important}</style>",
    "</style><style>body{background:red!important}</style>",
    "javascript:hacked5=1",
    "<a href=javascript:hacked6=1>click</a>",
    "<iframe srcdoc='<script>parent.hacked7=1</script>'></iframe>",
    "{{script}} {{style}} {{policy}} ${hacked8=1} <%= hacked9=1 %>",
    "https://evil.example/?steal",
    "url(https://evil.example/x) @import 'https://evil.example/x.css';",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<base href=https://evil.example/><form action=https://evil.example/><button>",
    "safe\u202egnp.exe \u2066hidden\u2069 \u200bzero \u00adsoft",
    "\u0000\u0007\u001b[31m control",
    "العربية نص عربي ועברית 👩‍👩‍👧‍👦 e\u0301 \U0001d573",
    "__proto__",
    "constructor",
    "A" * 3_000,
)


def hostile(now: int | None = None) -> list[Request]:
    """Stored text that tries to be more than text, wherever text can stand."""
    now = int(time.time()) if now is None else now
    return [
        Request(
            f"r{index} {text[:200]}",
            f"s{index % 7} {text[:200]}",
            text[:200],
            now - 60 * (len(HOSTILE) - index),
            ((text[:200], text), ("Assistant", text)),
            "one-long-source" * 20,
            text[:200],
            beside={"tool_name": text[:100], "status": text[:100]},
        )
        for index, text in enumerate(HOSTILE)
    ]


def long_turn() -> list[Request]:
    """One interaction of a million characters."""
    text = "\n".join(f"line {number}: nothing of note happened here" for number in range(25_000))[:1_000_000]
    return [Request("long", "long", "ann", int(time.time()) - 60, (("User", text),))]


def one_second(now: int | None = None) -> list[Request]:
    """Six requests of one second, whose ids are in another order than they came in."""
    now = int(time.time()) if now is None else now
    return [
        Request(
            f"{'fbecad'[place]}-id",
            "quick",
            "ann",
            now - 600,
            (("User", f"question {place + 1} of one second"), ("Assistant", f"answer {place + 1}")),
        )
        for place in range(6)
    ]


def harbours(now: int | None = None) -> list[Request]:
    """The team's traffic, a conversation of 40 requests in two of which a word stands, and one with the same word."""
    now = int(time.time()) if now is None else now
    talk = [
        Request(
            f"long-{place:02d}",
            "long-talk",
            "ann",
            now - 9_000 + 60 * place,
            (
                ("User", f"question {place}{' about the harbour' if place in (20, 38) else ''}"),
                ("Assistant", f"answer {place}"),
            ),
            "web_app",
        )
        for place in range(40)
    ]
    other = Request("other", "other-talk", "ann", now - 9_500, (("User", "Another harbour"),), "web_app")
    return [*team(now), *talk, other]


FAMILY = "👩‍👩‍👧‍👦"


def scripts(now: int | None = None) -> list[Request]:
    """Ids and text in scripts that are read from right to left beside Latin ones, and long emoji."""
    now = int(time.time()) if now is None else now
    said = (
        ("محادثة-أولى", "مستخدم-مجهول", "كيف أتراجع عن ترحيل نجح نصفه فقط؟ " * 8, "web_app"),
        ("שיחה-12", "דנה.לוי", "אני מעדיפה תשובות קצרות בבוקר", "slack"),
        ("emoji", FAMILY * 30, FAMILY * 30, "web_app"),
        ("latin", "maria.keller", "Plain Latin words beside them", "web_app"),
        ("mixed", "user (مستخدم) 42", "Both: שלום and hello, 20% of 1,000", "web_app"),
    )
    return [
        Request(
            f"r-{session}", session, user, now - 60 * place, (("User", text), ("Assistant", text)), source
        )
        for place, (session, user, text, source) in enumerate(said)
    ]


KINDS: dict[str, Callable[[], list[Request]]] = {
    "empty": list[Request],
    "team": team,
    "hostile": hostile,
    "long": long_turn,
    "scripts": scripts,
    "one second": one_second,
    "harbours": harbours,
    "ten thousand": partial(many, 10_000),
    "twelve thousand": partial(many, 12_000),
}
