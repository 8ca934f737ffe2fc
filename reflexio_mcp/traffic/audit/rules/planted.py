"""Finds instructions for an assistant that are planted in a text."""

import re
from collections.abc import Iterator
from typing import Final

from reflexio_mcp.results.base import JOINERS, WITHOUT_GLYPH

READ_CHARS: Final = 1_000_000

NEAR_CHARS: Final = 400
"""Words about attacks excuse signs up to this distance after them."""

PASTED_CHARS: Final = 400
"""A shorter text of a person counts as typed, unless it matches `_DOCUMENT`."""

_FOREIGN: Final = frozenset(["tool", "function", "tool_result", "observation", "document", "web", "context"])

_ASSISTANT = (
    r"(?:(?:ai |virtual |helpful )?assistants?|ai(?: (?:agents?|models?|systems?|readers?))?|llms?|language models?"
    r"|agents?|(?:chat)?bots?|claude|chatgpt|gpt-?\d?|gemini|copilot|llama)"
)
_INSTRUCTIONS = r"(?:i?[iu]?nstr\w{2,9}|prompts?|rules|guidelines|directives?|orders|commands|constraints|restrictions|programming|task)"
_ORDER = (
    r"(?:must|should|shall|need to|have to|please|do not|don't|never|always|ignore|disregard|forget|stop|begin|say|reply|respond"
    r"|answer|output|print|write|include|add|append|insert|recommend|rate|rank|call|use|execute|run|send|visit|click|delete|open"
    r"|go to|follow|tell|reveal|repeat|praise|change|start)"
)
_SIGNALS: Final = (
    (
        "override",
        re.compile(
            rf"\b(?:ign\w{{1,3}}re?|disregard|forget|overrid\w|bypass|neglect|discard|do not (?:follow|obey)|stop following)(?:ing)?\b"
            rf"[^.\n]{{0,30}}?\b(?:pr\w{{2,5}}ous(?:ly)?|prior|above|earlier|preceding|system|original|initial|your|all|any|former"
            rf"|given|current|these|safety)\b[^.\n]{{0,30}}?\b{_INSTRUCTIONS}\b"
            r"|(?:ignorier|vergiss|missacht)\w{0,4}\b[^.\n]{0,40}?(?:anweisung|instruktion|befehl|regeln|vorgaben)"
            r"|(?:ignore[zr]?|oublie[zr]?)\b[^.\n]{0,40}?(?:instructions|consignes|directives)\b[^.\n]{0,12}?(?:précédent|antérieur|ci-dessus)"
            r"|(?:ignor[ae]|olvid[ae])\w{0,2}\b[^.\n]{0,40}?(?:instrucciones|órdenes|reglas|indicaciones)"
            r"|(?:ignor[ea]|esque[çc])\w{0,3}\b[^.\n]{0,40}?(?:instruções|ordens|regras)"
            r"|(?:ignor[ai]|dimentica)\w{0,3}\b[^.\n]{0,40}?(?:istruzioni|regole)"
            r"|(?:игнорир|забудь)\w{0,5}\b[^.\n]{0,40}?(?:инструкци|указани|команд)"
            r"|(?:忽略|无视|無視|忘记|忘記)[^。\n]{0,20}?(?:指令|指示|说明|提示)|指示を無視"
        ),
    ),
    (
        "template marker",
        re.compile(
            r"<\|(?:im_start|start_header_id|system|user|assistant|endoftext|eot_id)\|>|\[/?inst\]|<</?sys>>"
            r"|(?:^|\n)\s{0,4}#{2,4}\s?\(?(?:system(?:[ _](?:message|prompt|override))?|instructions?)\)?\s?:?(?=[\s)])"
            r"|\[\s?system\s?\]|</?system[ _-]?(?:prompt|message|note|reminder|override)>"
            r"|\bsystem (?:override|alert|update|notice|message)\s?[:!\]]|(?:^|\n)\s{0,4}system\s?: "
        ),
    ),
    (
        "address",
        re.compile(
            rf"\b(?:dear|hey|hello|hi|attention|note to|notice to|instructions? (?:for|to)|message (?:for|to)|to) (?:any |all |the |every )?{_ASSISTANT}\b"
            rf"(?: \w+){{0,4}}\s?[,:!.;-]|\b(?:if|when|as) you(?: are|'re) (?:an? )?{_ASSISTANT}\b"
            rf"|(?:^|[\n.!?:>*]\s{{0,3}}){_ASSISTANT}(?: \w+){{0,4}}\s?[,:!] (?:\w+ ){{0,3}}?{_ORDER}\b|\b(?:the )?{_ASSISTANT} (?:must|shall|should (?:always|never|now|instead))\b"
        ),
    ),
    (
        "announcement",
        re.compile(
            r"\b(?:important|urgent|critical|mandatory|priority|new|updated|additional|special|hidden|real) (?:\w+ )?(?:instructions?|message|tasks?|directives?|orders?)"
            r"(?: (?:for|to|from) (?:you|me|the)\b| ?[:!*]|\s?-\s)"
            r"|\bbefore (?:you )?(?:can |do |answer\w*|solv\w+|respond\w*|proceed\w*|complet\w+|finish\w*)(?:[^.\n]{0,60}?)\b(?:please|first|must|need to)\b"
            r"|\byour (?:new|real|only|actual) (?:task|goal|objective|job|role|instructions?) (?:is|are)\b|\bfrom now on,? you\b|\byou are now (?:an? |the |in )"
        ),
    ),
)
_ACTS = re.compile(
    r"\b(?:send|forward|e?mail|transfer|share|upload)\b[^.\n]{0,80}?\bto\b[^.\n]{0,40}?@[\w-]+\.\w"
    r"|\bplease (?:\w+ ){1,3}my (?:\w+ ){0,3}(?:account|password|policy|address|contacts|history|records|files)\b"
)
"""Orders that count only in foreign text."""
_DISCUSSES = re.compile(
    r"prompt[ -]injection|jailbreak|red[ -]team|adversarial|\battacks?\b|\battackers?\b|\bmalicious\b|\bfor example\b|\be\.g\.|such as|guardrail|system prompt of"
)
_TAGGED = re.compile("[\U000e0020-\U000e007e]{8,}")
_DOCUMENT = re.compile(r"<(?:document|page|webpage|context|search_result|email|file)\b|(?:^|\n)> |\n\n|:\n")
_UNSEEN = re.compile(f"[{WITHOUT_GLYPH}{JOINERS}]")
_HINTS = re.compile(
    r"instr|ignor|disreg|forget|system|assistant|\bai\b|llm|model|agent|bot|claude|gpt|you are|before|task|message|prompt"
    r"|overrid|bypass|anweis|инстр|указан|指|istruz|olvid|oubli"
)


def is_foreign(role: str) -> bool:
    return role.lower() in _FOREIGN


def planted_in(text: str, *, foreign: bool) -> tuple[int, int, str] | None:
    """Return start, end and kind of a planted instruction.

    Args:
        foreign: the text comes from a tool or page, so that one sign is enough. A person's own text must have hidden
            text, or look pasted and have two different signs.
    """
    text = text[:READ_CHARS]
    if tagged := _TAGGED.search(text):
        return *tagged.span(), "hidden text"
    # `İ` is longer in lower case and would shift all later positions.
    low = _UNSEEN.sub("", text).replace("\u0130", "I").lower().replace("’", "'")
    if not foreign and len(low) < PASTED_CHARS and not _DOCUMENT.search(low):
        return None
    signs = list(_signs(low, foreign=foreign))
    if len(signs) < (1 if foreign else 2):
        return None
    start, end, kind = signs[0]
    if len(low) < len(text):
        seen = [place for place, letter in enumerate(text) if not _UNSEEN.match(letter)]
        start, end = seen[start], seen[end - 1] + 1
    return start, end, kind


def _signs(low: str, *, foreign: bool) -> Iterator[tuple[int, int, str]]:
    if foreign and (act := _ACTS.search(low)):
        yield *act.span(), "order"
    for kind, pattern in _SIGNALS if _HINTS.search(low) else ():
        for match in pattern.finditer(low):
            # A text about attacks may quote an instruction.
            if not _DISCUSSES.search(low, max(0, match.start() - NEAR_CHARS), match.start()):
                yield *match.span(), kind
                break
