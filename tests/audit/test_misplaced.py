"""What stands in a turn where something else belongs: an assistant's words, an image, a prompt."""

import base64
import random

import pytest

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.rules.turns import (
    IMAGE_CHARS,
    has_image,
    is_assistants,
    is_in_the_future,
    prompt_of,
)


def said(text: str, role: str = "User", created_at: int = 0) -> RequestWithInteractions:
    turn = StoredInteraction(interaction_id=1, role=role, content=text, created_at=created_at)
    return RequestWithInteractions(request=StoredRequest(request_id="r", session_id="s"), interactions=[turn])


@pytest.mark.parametrize(
    "text",
    [
        "Assistant: The shop opens at nine.",
        "As an AI language model, I cannot see your screen.",
        "I'm sorry, but I can't assist with that.",
        "Certainly! Here's a plan for the week:",
        "Sure, here is the letter.",
        "**Of course!** Here are three ideas".replace("**", ""),
        "I'd be happy to help you with that. Which city?",
        "I am a large language model, trained to answer questions.",
        "Gerne! Hier ist der Entwurf.",
        "¡Claro! Aquí tienes la receta.",
        "User: when do you open?\nAssistant: At nine.",
        "Me: when do you open?\nChatGPT: At nine.",
        "I apologize for the confusion. The shop opens at nine.",
        "You're welcome! If you have more questions, feel free to ask.",
        "Hello! How can I assist you today?",
        "I'm sorry, but I can't help with that request. The law says what a landlord may ask for.",
        "Sure! Here is what the previous answers say, in one table.",
        "\nUser: hi\nUser: hello?\nAssistant: hello there",
    ],
)
def test_what_an_assistant_said_is_told_from_what_a_person_says(text: str) -> None:
    assert is_assistants(said(text))
    assert not is_assistants(said(text, role="Assistant"))


@pytest.mark.parametrize(
    "text",
    [
        "Sure, that works for me.",
        "Sure, here is my address: the blue house.",
        "You're welcome to come along on Friday.",
        "Hello, how can I get a refund?",
        "Certainly not before nine.",
        "I am an AI engineer and need a plan.",
        "I'm sorry, but I can't come on Friday. Write a reply?",
        "Summarise this talk:\nUser: when do you open?\nAssistant: At nine.",
        "Assistant professors earn how much?",
        "Claude Monet painted which of these?",
        "User: please keep my name out of it",
        "Here is the list. Of course! Here we go again is my motto.",
        "I'm sorry, but I can't help with that request, my boss said. How do I answer him?",
        "How can I assist you today? is what the bot always says, change it please",
        '"I apologize for the confusion", the support agent wrote, and then nothing for a week.',
        "As an AI language model, I cannot do this: you always say that. Why?",
        "User: root\nHost: web1\nAssistant: none set",
        "\nMe: owner\n  Billing: Ruta\n  Bot: off",
    ],
)
def test_what_people_say_is_theirs(text: str) -> None:
    assert not is_assistants(said(text))


def image(chars: int) -> str:
    return base64.b64encode(random.Random(1).randbytes(chars * 3 // 4)).decode()


@pytest.mark.parametrize(
    "begins",
    ["data:image/png;base64,", "iVBORw0KGgo", "/9j/4AAQ", "R0lGODlh", "see UklGR", "AAAAIGZ0eXBhdmlm"],
)
def test_an_image_in_a_text_is_found_and_a_little_one_is_left(begins: str) -> None:
    assert has_image(said(f"look: {begins}{image(IMAGE_CHARS + 40)} there"))
    assert not has_image(said(f"look: {begins}{image(IMAGE_CHARS - 200)} " + "and words " * 500))


def test_what_is_no_image_is_none() -> None:
    assert not has_image(said("data:text/csv;base64," + image(9000)))
    assert not has_image(said("the certificate " + "MIIC" + image(9000)))
    assert not has_image(said("words " * 3000))


def bitmap(size: int, header: int) -> str:
    head = b"BM" + (size + header).to_bytes(4, "little") + bytes(4) + header.to_bytes(4, "little")
    return base64.b64encode(head + random.Random(2).randbytes(size)).decode()


PNG = "iVBORw0KGgp" + image(9000)


@pytest.mark.parametrize(
    "text",
    [
        '{"url": "data:image\\/png;base64,' + PNG.replace("/", "\\/") + '"}',
        "see " + PNG.replace("/", "\\/"),
        "data:image/png;base64," + PNG.replace("/", "_").replace("+", "-"),
        "the scan: " + bitmap(6000, 54),
        bitmap(6000, 138),
        "<svg xmlns='http://www.w3.org/2000/svg'><path d='" + "M1 2L3 4" * 900 + "'/></svg>",
        "data:image/svg+xml,%3Csvg%20xmlns='x'%3E" + "%3Cpath/%3E" * 900,
        "raw: " + (b"\x89PNG\r\n\x1a\n" + random.Random(3).randbytes(5000)).hex(),
        (b"\xff\xd8\xff\xe0" + random.Random(4).randbytes(5000)).hex().upper(),
        (b"GIF89a" + random.Random(5).randbytes(5000)).hex(" ", 32),
    ],
    ids=["JSON", "JSON, bare", "URL-safe", "BMP", "BMP of version 5", "SVG", "SVG as URL", "PNG in hex", "JPEG in hex",
         "GIF in hex, in rows"],
)  # fmt: skip
def test_an_image_is_found_however_it_is_written(text: str) -> None:
    assert has_image(said(text))


@pytest.mark.parametrize(
    "text",
    [
        "<svg><path d='M1 2'/></svg> " + "and words about <svg> " * 500,
        "<svg><path d='M1 2'/></svg>\n" * 300,
        "an <svg that is never closed " * 300,
        "sha256 of each file: " + random.Random(6).randbytes(9000).hex(),
        "Qk as in quick. " + "words AAAAADYA " * 600,
        base64.b64encode(bytes(7) + random.Random(7).randbytes(9000)).decode(),
    ],
)
def test_a_little_drawing_and_long_numbers_are_no_image(text: str) -> None:
    assert not has_image(said(text))


def test_an_image_that_a_tool_gave_is_found() -> None:
    turn = StoredInteraction(
        interaction_id=1,
        tools_used=[{"tool_name": "shot", "tool_data": {"png": "iVBORw0KGgo" + image(9000)}}],
    )
    item = RequestWithInteractions(request=StoredRequest(request_id="r"), interactions=[turn])
    assert has_image(item)


def test_milliseconds_are_a_time_to_come() -> None:
    now = 1_764_000_000
    assert is_in_the_future(said("hello", created_at=now * 1000), now)
    assert not is_in_the_future(said("hello", created_at=now + 60), now)


@pytest.mark.parametrize(
    "first", ["Today is 2026-05-{day}.", "You talk to customer {day}.", "Session 2026{day}"]
)
def test_a_prompt_that_begins_with_the_day_or_the_customer_is_the_same_prompt(first: str) -> None:
    prompt = "You are the assistant of the museum. " + "Answer in two sentences and stay polite. " * 6
    one, other = (prompt_of(said(f"{first.format(day=day)}\n{prompt}", role="system")) for day in (11, 27))
    assert one == other != ""
    assert one != prompt_of(said(prompt.replace("museum", "theatre"), role="system"))


@pytest.mark.parametrize(
    "begins",
    ["Sie sind ein hilfreicher Assistent des Museums.", "Tu es l'assistant du musée.", "Eres un asistente del museo.",
     "你是博物馆的助手。", "Ты — полезный ассистент музея."],
)  # fmt: skip
def test_a_prompt_in_another_language_is_one(begins: str) -> None:
    assert prompt_of(said(begins + " Answer in two sentences and stay polite." * 6))


@pytest.mark.parametrize(
    "begins",
    [
        "You are Nora, the friendly assistant of the Kaunas public library.",
        "Act as the assistant of the public library.",
        "Please act as a very patient tutor for a child of ten.",
        "Du bist Nora, die freundliche Assistentin der Bibliothek.",
    ],
)
def test_a_prompt_with_a_name_is_one(begins: str) -> None:
    assert prompt_of(said(begins + " Answer in two sentences and stay polite." * 6))


def test_a_prompt_is_told_from_what_a_person_asks_for() -> None:
    prompt = "You are a helpful assistant of the museum. " + "Answer in two sentences and stay polite. " * 6
    assert prompt_of(said(prompt))
    assert prompt_of(said("Keep to the house rules at all times. " * 8, role="System"))
    assert not prompt_of(said("You are a helpful assistant."))
    assert not prompt_of(said("You are late again, and I have told you so often that I am tired of it. " * 4))
    assert not prompt_of(said("Keep to the house rules at all times. " * 8))
