"""`planted-instructions`: text that was written to command the assistant that reads it later."""

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import leaves, texts_of
from reflexio_mcp.traffic.rules.detector import SCANNED_CHARS, Detector, stop_if_cancelled
from reflexio_mcp.traffic.rules.folding import alike, smuggled
from reflexio_mcp.traffic.rules.roles import is_foreign, is_person, is_system
from reflexio_mcp.traffic.rules.word_finder import WordFinder

__all__ = ["Planted", "planted_kinds", "planted_signals"]

NEAR_CHARS: Final = 400
"""Signals of one planted text stand within a paragraph."""

OPENING_CHARS: Final = 12
"""Who begins a message with `ignore your instructions` tries it out in person; what was planted stands inside a text."""

OWN_CHARS: Final = 400
"""What a person says in one go; a longer text may be pasted."""

OWN_LINES: Final = 3
"""With more lines, with a paragraph or with a colon before a line a text may be pasted too."""

SIGNALS_READ: Final = 200
"""Of one kind in one text; a text with more of them has shown what it is."""

_ASSISTANT = (
    r"(?:assistants?|ai(?: (?:agents?|models?|systems?|assistants?|language models?))?|llms?|(?:large )?language models?"
    r"|agents?|(?:chat)?bots?|claude|chatgpt|gpt-?\d\w*|gpt|gemini|copilot|llama|mistral|deepseek|grok)"
)
_OUT = (
    r"(?:https?://|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.\w"
    r"|\bto (?:this|the following) (?:url|address|server|endpoint|webhook))"
)
_TELL = r"(?:tell|inform|alert|notify|mention|show|reveal)(?:ing)?"
# `instructions` as they are written in haste or to get past a filter: `iunstructions`, `instrctions`.
_INSTRUCTIONS = (
    r"(?:i[a-z]{0,2}nstr[a-z]{0,4}tions?|instr[a-z]{2,8}s|insr?tu?r[a-z]{2,8}s|prompts?|rules|guidelines|guidance|directives?|directions"
    r"|safeguards|orders|commands|requests|constraints|restrictions|tasks?|policies|programming|training|context)"
)
_EARLIER = (
    r"(?:pr[a-z]{0,4}v[a-z]{1,6}s(?:ly)?|prior|above|earlier|preceding|foregoing|system|existing|original|initial|your|all"
    r"|any|every|other|former|given|current|these|those|safety|developer'?s?|user'?s?)"
)
_IGNORE = (
    r"(?:ign[o0]re?(?:ing|s|d)?|i(?:gno?er|gnro|gonr|ngor|gnor)e?|disreg[a-z]{2,4}(?:ing)?|forget(?:ting)?|overr[a-z]{2,4}(?:ing)?|bypass(?:ing)?|neglect"
    r"|do not (?:follow|obey|adhere to)|don'?t (?:follow|obey)|stop following|discard|cancel|skip|abandon|set aside|delete)"
)

_OVERRIDE = re.compile(
    rf"\b{_IGNORE}\b[^.;\n]{{0,20}}?\b{_EARLIER}\b[^.;\n]{{0,40}}?\b{_INSTRUCTIONS}\b"
    rf"|\b{_IGNORE} (?:everything|anything|what|all)(?: \w+){{0,3}} (?:above|before|prior|earlier|previously|said|told)\b"
    # The same in other languages.
    r"|(?:ignorier\w{0,4}|vergiss|vergessen sie|missacht\w{0,4})\b[^.\n]{0,30}?(?:vorherig|bisherig|vorig|obig|früher|vorangeg"
    r"|all[e ])\w{0,8}[^.\n]{0,20}?(?:anweisung|instruktion|befehl|regeln|vorgaben|aufgaben)"
    r"|(?:ignore[zr]?|oublie[zr]?|ne tiens pas compte|ne tenez pas compte)\b[^.\n]{0,30}?(?:instructions|consignes|directives"
    r"|ordres)\b[^.\n]{0,12}?(?:précédent|antérieur|ci-dessus|initial|reçu)"
    r"|(?:ignor[ae]r?|olvid[ae]r?|descart[ae]r?|hagan? caso omiso|haz caso omiso)\b[^.\n]{0,30}?(?:instrucciones|órdenes|indicaciones"
    r"|reglas)\b[^.\n]{0,12}?(?:anteri|previa|inicial|origin)"
    r"|(?:ignor[ea]r?|esqueç[ao]|esquecer|desconsider[ea]r?)\b[^.\n]{0,30}?(?:instruções|ordens|regras)\b[^.\n]{0,12}?(?:anterior|prévia|acima)"
    r"|(?:ignor(?:[ai](?:te)?|are)|dimentica(?:te|re)?|trascura(?:te)?)\b[^.\n]{0,30}?(?:istruzioni|regole|ordini)\b[^.\n]{0,12}?(?:precedent"
    r"|sopra|fornite|iniziali)"
    r"|(?:negeer|vergeet)\b[^.\n]{0,30}?(?:vorige|eerdere|voorgaande|bovenstaande)\b[^.\n]{0,16}?(?:instructies|opdrachten|regels)"
    r"|(?:z?ignoruj|zapomnij|pomiń)\w{0,4}\b[^.\n]{0,30}?(?:poprzedni|wcześniejs|powyższ)\w{0,5}[^.\n]{0,16}?(?:instrukcj|poleceni"
    r"|zasad)"
    r"|(?:ignorera?|glöm|glem|ignorer|se bort fra)\b[^.\n]{0,30}?(?:tidigare|föregående|tidligere|forrige|ovenstående)\b"
    r"[^.\n]{0,16}?(?:instru|anvisning|regler|ordre)"
    r"|(?:önceki|yukarıdaki)\b[^.\n]{0,20}?(?:talimat|komut|yönerge)\w{0,8}[^.\n]{0,16}?(?:yok say|unut|görmezden|dikkate alma)"
    r"|(?:игнориру\w{1,4}|проигнориру\w{1,4}|забудь\w{0,2}|отбрось\w{0,2})\b[^.\n]{0,30}?(?:инструкци|указани|команд|правил)"
    r"|(?:ігнору\w{1,4}|забудь\w{0,2})\b[^.\n]{0,30}?(?:інструкці|вказівк|команд|правил)"
    r"|(?:ignoruj|zapomeň)\w{0,3}\b[^.\n]{0,30}?(?:předchozí|predchádzajúc)\w{0,4}[^.\n]{0,16}?(?:pokyn|instrukc|příkaz|inštrukc)"
    r"|(?:ignoră|uită)\b[^.\n]{0,30}?instrucțiuni\w{0,4}[^.\n]{0,12}?(?:anterioar|precedent)"
    r"|(?:abaikan|lupakan)\b[^.\n]{0,30}?(?:instruksi|perintah|arahan)\b[^.\n]{0,12}?(?:sebelum|di atas)"
    r"|(?:bỏ qua|quên)\b[^.\n]{0,30}?(?:hướng dẫn|chỉ dẫn|chỉ thị|lệnh)\b[^.\n]{0,16}?(?:trước|trên)"
    r"|(?:忽略|无视|無視|忘记|忘記|不要理会|不用管)[^。\n]{0,12}?(?:之前|以上|先前|前面|上面|所有|原有)[^。\n]{0,10}?(?:指令|指示|说明|說明|提示|规则|規則|命令)"
    r"|(?:以前|これまで|上記|前|今まで)の[^。\n]{0,12}?(?:指示|命令|ルール|プロンプト)[^。\n]{0,8}?(?:無視|忘れ|破棄)"
    r"|(?:이전|위의|앞의|기존)[^.\n]{0,10}?(?:지시|명령|지침|규칙|프롬프트)[^.\n]{0,10}?(?:무시|잊)"
    r"|(?:تجاهل|انس)[^.\n]{0,20}?(?:التعليمات|تعليماتك|الأوامر|أوامرك|الإرشادات)"
    r"|(?:पिछले|पूर्व|ऊपर)[^।\n]{0,14}?(?:निर्देश|आदेश)[^।\n]{0,14}?(?:अनदेखा|नज़रअंदाज|नजरअंदाज|भूल)"
    r"|(?:আগের|পূর্বের|পূর্ববর্তী|উপরের)[^।\n]{0,14}?(?:নির্দেশ|আদেশ)[^।\n]{0,14}?(?:উপেক্ষা|অগ্রাহ্য|ভুলে)"
    r"|(?:balewalain|huwag pansinin|kalimutan)\b[^.\n]{0,30}?(?:tagubilin|instruksyon|utos|panuto)"
    r"|התעלם[^.\n]{0,20}?(?:הוראות|הנחיות)"
    r"|(?:ignoruok|nepaisyk|pamiršk)\w{0,3}\b[^.\n]{0,30}?(?:ankstesni|buvusi|vis)\w{0,5}[^.\n]{0,20}?(?:instrukcij|nurodym|taisykl)"
    r"|(?:ignorē\w{0,5}|aizmirst\w{0,3}|neņem\w{0,3} vērā)\b[^.\n]{0,30}?iepriekšēj\w{0,4}[^.\n]{0,20}?(?:norādījum|instrukcij"
    r"|noteikum)"
    r"|(?:figyelmen kívül|felejts\w{0,3} el)\b[^.\n]{0,30}?(?:korábbi|előző|eddigi|fenti)\w{0,3}[^.\n]{0,20}?(?:utasítás|szabály)"
    r"|(?:korábbi|előző|eddigi|fenti)\w{0,3}[^.\n]{0,10}?(?:utasítás|szabály)\w{0,5}[^.\n]{0,20}?(?:figyelmen kívül|felejts)"
    r"|(?:αγν[οό][ηή]σ|ξεχ[αά]σ|ξέχασ)\w{1,3}\b[^.\n]{0,30}?(?:προηγούμεν|παραπάνω)\w{0,4}[^.\n]{0,16}?(?:οδηγίες|εντολές|κανόνες)"
    r"|دستور[^.\n]{0,24}?(?:قبلی|پیشین)[^.\n]{0,16}?(?:نادیده|فراموش)"
    r"|(?:ohita|unohda|sivuuta|älä noudata)\w{0,3}\b[^.\n]{0,30}?(?:aiem|aikaisem|edelli)\w{1,7}[^.\n]{0,16}?(?:ohje|käsky|säännö|sääntö)"
    r"|(?:เพิกเฉย|ละเว้น|สนใจ|ลืม|มองข้าม)[^.\n]{0,20}?(?:คำสั่ง|คำแนะนำ)[^.\n]{0,16}?(?:ก่อน|ข้างต้น|ที่ผ่านมา)",
    re.IGNORECASE,
)
_ANNOUNCED = re.compile(
    r"\b(?:strictly )?(?:adhere to|follow|obey|execute|carry out|comply with) (?:only )?(?:the|these|this) (?:following|new|below) "
    r"(?:[a-z]{1,12} )?(?:i[a-z]{0,2}nstr[a-z]{0,4}tions?|directives?|orders?|commands?)\b[^.\n]{0,20}:"
    rf"|\bimportant (?:message|note|notice|instructions?|announcement)\b[^\n]{{0,40}}?\b(?:to|for) you, (?:the )?{_ASSISTANT}\b"
    r"|\bimportant message from me\b[^\n]{0,60}?\bto you\b"
    r"|\bbefore you (?:can |may |could )?(?:solve|do|complete|continue with|proceed with|answer) (?:the|your|any) (?:\w+ )?(?:task|request"
    r"|question)\b[^\n]{0,60}?\b(?:please |you must |first )"
    r"|(?:[\[*#=|>-]{2}|[!{}]) {0,3}(?:new|updated|revised|additional|important|urgent|critical|system)"
    r"(?: (?:new|important|urgent|system|critical|priority|secret|admin)){0,3} i[a-z]{0,2}nstr[a-z]{0,4}tions?\b {0,3}"
    r"(?:[:*#\]=-]|update)"
    r"|#{2,6} ?\(system[ _]message\)|\[{2,3} ?system (?:message|override|update|command|instructions?)\b"
    r"|\bregardless of (?:your|all|any) (?:previous|prior|earlier|other|existing) (?:instructions|guidelines|rules)\b"
    r"|\binstructions? update\b {0,3}[:\]*]"
    r"|<\s{0,3}(?:\w+ ){0,3}(?:system|override) mode\b"
    r"|\b(?:all |the |your )?(?:previous|prior|earlier) instructions (?:were|are|have been) (?:just |only |all )?"
    r"(?:a (?:test|joke|trick)|void|cancell?ed|revoked|rescinded)\b"
    r"|\b(?:the )?user'?s? (?:original |initial |previous )?(?:question|query|request|task) is (?:no longer|not) (?:relevant|important"
    r"|valid)"
    r"|\b(?:this|these) (?:is|are) (?:now )?(?:the|your) (?:new|only|real|actual) (?:task|instructions?|goal|objective|priority)\b",
    re.IGNORECASE | re.MULTILINE,
)

_SIGNALS: Final = {
    "override": _OVERRIDE,
    "announced": _ANNOUNCED,
    "new task": re.compile(
        r"(?<!\bour )(?<!\bmy )(?<!\bthe )\bnew (?:system )?instructions? *:"
        r"|\byour (?:new|real|true) (?:task|instructions?|goal|objective)\b",
        re.IGNORECASE,
    ),
    "address": re.compile(
        rf"\b(?:attention|note|message|notice|instructions?|memo|important|p\.?s\.?)[^.\n]{{0,12}}\b(?:to|for)\b "
        rf"(?:the |any |all |every )?{_ASSISTANT}\b"
        rf"|\bif you(?:'re| are) (?:an? |the )?{_ASSISTANT}\b"
        rf"|\b{_ASSISTANT} (?:that|who|which|when(?:ever)? (?:it|you)) "
        r"(?:reads?|process(?:es)?|sees?|summari[sz]es?|recalls?)\b"
        r"|(?:^|<!--|[>\n]) {0,3}(?:ai(?: (?:agents?|models?|assistants?))?|llms?|(?:large )?language models?) ?:"
        rf"|\bto (?:the|any|all|every) {_ASSISTANT} \w{{2,16}}ing\b[^.\n]{{0,40}}:"
        rf"|\b(?:any|every) {_ASSISTANT} reading this\b|(?:^|[.,:;!>] *)(?:the |any |all ){_ASSISTANT} must\b"
        r"|\bwhen(?:ever)? you (?:next )?(?:recall|read|retrieve|summari[sz]e) this "
        r"(?:memory|message|text|entry|note)\b",
        re.IGNORECASE,
    ),
    "spoken to": re.compile(
        rf"\b(?:dear|hey|hi|hello|attention,?) (?:{_ASSISTANT}|model)\b[^.\n]{{0,30}}[:,!]"
        r"|\byou are now (?:in )?(?:an? )?(?:dan\b|unrestricted|unfiltered|jailbroken|developer mode|root|admin)",
        re.IGNORECASE,
    ),
    "reader": re.compile(
        r"\bwhen(?:ever)? you (?:have |next )?(?:read|retrieve|process|summari[sz]e|translate|see) this"
        r"(?:,| (?:review|page|document|resume|cv|e-?mail|line|article|comment|post)\b)",
        re.IGNORECASE,
    ),
    "authority": re.compile(
        r"<\|?(?:im_start|start_header_id)\|?>\s{0,9}system|</?system(?:[ _-]?(?:prompt|message))?>"
        r"|\[/?(?:system|inst)\]|<<sys>>|<<end [0-9a-f]{4,64}>>|\(system[ _]message\)"
        r"|^[ \t]{0,20}(?:#{1,6}[ \t]{0,4})?system (?:message|prompt|override|notice|note) *:|\bsystem override\b"
        r"|\b(?:admin(?:istrator)?|developer|operator|root)[ -](?:override|mode enabled|command) *[:!]",
        re.IGNORECASE | re.MULTILINE,
    ),
    "act": re.compile(
        r"\b(?:call|invoke|run|execute|use) (?:the )?`?(?:delete|send|publish|transfer|update|create|restore|pay|post"
        r"|write|remove|forward|grant|list|get)_[a-z_]{1,40}`?"
        r"|\b(?:delete|erase|wipe|purge|drop) (?:all|every|everything|the (?:whole|entire))\b[^.\n]{0,40}"
        rf"|\b(?:send|forward|post|upload|e-?mail|exfiltrate|leak|transmit|append|submit)\b[^.\n]{{0,60}}{_OUT}"
        r"|\b(?:reveal|print|output|disclose|repeat|share|send|include)\b[^.\n]{0,40}\b(?:system prompt"
        r"|hidden prompt|api keys?|credentials|access tokens?|private keys?|passwords?)\b",
        re.IGNORECASE,
    ),
    "secrecy": re.compile(
        rf"\b(?:do not|don't|never|without) {_TELL}\b[^.\n]{{0,30}}"
        r"\b(?:the )?(?:user|human|person|anyone|operator|owner)\b"
        r"|\bwithout (?:asking|the user|any (?:confirmation|approval))\b"
        r"|\bdo not ask (?:for )?(?:confirmation|permission|the user)\b"
        r"|\b(?:do not|don't|never) (?:mention|reveal|show|cite) (?:this|these) "
        r"(?:line|text|note|message|comment|instruction|sentence|paragraph|page)s?\b"
        r"|\b(?:keep|stay) (?:this |it )?(?:hidden |secret |silent )?from (?:the )?(?:user|human)\b",
        re.IGNORECASE,
    ),
    "hidden": re.compile(
        "[\U000e0020-\U000e007e]{4,64}|[\u200b\u200c\u2060]{6,64}"
        r"|<!--[^>]{0,200}\b(?:assistant|instructions?|ignore)\b",
        re.IGNORECASE,
    ),
}

_STRANGE: Final = frozenset(
    {"override", "announced", "new task", "address", "spoken to", "reader", "authority", "hidden"}
)
"""Kinds of which one must be there: people do tell their assistant to act, and to do it silently."""

_NOT_OWN: Final = frozenset({"announced", "address", "act", "secrecy", "hidden"})
"""Kinds of which one must be there in a person's own words: to override, to speak to the assistant and to play its
operator is how people try it out."""

_SAID_TO_IT: Final = frozenset({"spoken to", "reader"})
"""Kinds that mean nothing in a person's own words."""

_PASTED = re.compile(r"\n\s{0,20}\n|:[ \t]{0,20}\n|^[ \t]{0,20}>", re.MULTILINE)

_ASKING: Final = r"(?:todo: ?|hey,? |please,? |kindly |(?:can|could|would) you |first,? |also,? |now,? |and |then |i want you to |we need you to ){0,4}"
_BEGINS: Final = (
    rf"(?:^|[.!?:;'\"\]>}}] {{0,3}}|\n|, (?=please |kindly |can you |could you ))[ \t]{{0,8}}{_ASKING}"
)
_POLITELY: Final = rf"(?:^|[.!?:;'\"\]>}}] {{0,3}}|\n|, )[ \t]{{0,8}}(?=todo: ?|please,? |kindly |(?:can|could|would) you |first, please ){_ASKING}"
_ON: Final = r"(?:[^.\n]|\.(?=\w))"
"""What a sentence goes on with; the point of `example.org` does not end it."""
_ADDRESS: Final = (
    r"(?:(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.\w|\bhttps?://|\bwww\.|\b[A-Z]{2}\d{2} ?[A-Z\d]{4})"
)

_ORDER = re.compile(
    rf"{_BEGINS}"
    r"(?:grant|deposit|publish|submit|enable|authori[sz]e|approve|instruct|fetch|rename|unlock|transfer|withdraw|wire|pay|send|share|forward|export|delete|erase|wipe|upload|post|disable|deactivate|reset"
    r"|change|update|schedule|initiate|sell|buy|redirect|retrieve|access|download|install|execute|run|make|create|leave|move"
    r"|purchase|order|provide|give|email|set|add|remove|book|reserve|visit|invite|say|modify|view|summon|dispatch|arrange|fill|find"
    r"|list|check|use|gather|collect)\b "
    rf"{_ON}{{0,80}}?(?:\b(?:my|the user'?s?|our)\b[^.\n]{{0,80}}?\b(?:accounts?|passwords?|credentials|files?|data|records?|history|location"
    r"|address(?:es)?|contacts?|keys?|front door|doors?|locks?|bank|wallet|payments?|health|medical|genetic|emails?|messages?|inbox"
    r"|holdings|shipment|calendar|repositor(?:y|ies)|notes|photos|devices?|security|alarm|cameras?|home|policy|profile|identity"
    r"|card|tokens?|logs?|documents?|investments?|portfolio|appointments?|transactions?|orders?|channel|prescriptions|residence"
    r"|information)\b"
    r"|[$€£]\s?\d|\b(?:iban|bitcoin|btc|venmo|paypal)\b)",
    re.IGNORECASE,
)
"""An order about somebody's things. A person may give it; a tool result or a fetched page has no business to."""

_MY_ANSWER: Final = r"your (?:\w{1,12} )?(?:answers?|response|reply|replies|output|message)\b"
_ANSWER_ORDER = re.compile(
    rf"{_BEGINS}(?:(?:encode|encrypt|translate|reverse|invert|write|provide|render|modify|adjust|alter|augment|enhance|add|append"
    r"|include|insert|integrate|incorporate|embed|replace|substitute|misspell|scramble|jumble|rearrange|group|shift|use|apply|display"
    rf"|format|end|begin|start|finish|conclude|precede|prefix|give|make)\b{_ON}{{0,100}}?\b{_MY_ANSWER}"
    r"|(?:reply|respond|answer) (?:only |backwards? |always )?(?:in|using|with|as)\b"
    rf"|in {_MY_ANSWER}[, ]{{1,2}}(?:please )?(?:include|mention|suggest|add|say|use|write|recommend|promote|hint|tell|state))",
    re.IGNORECASE,
)
"""An order about how to answer: whoever reads a page has nobody to answer."""
_SENT_ORDER = re.compile(
    rf"{_BEGINS}(?:(?:send|forward|e-?mail|mail|post|upload|share|transfer|wire|pay|submit|copy|concatenate|export|publish|leak)\b"
    r"(?! (?:a |an |the |your |any )?(?:get|put|post|http|pull|bug|issues?|feedback|requests?|questions?|patch))"
    rf"{_ON}{{3,120}}?\b(?:to|with|on|at|into)\b{_ON}{{0,40}}?{_ADDRESS}"
    rf"|(?:send|transfer|wire|pay|donate|refund)\b{_ON}{{0,60}}?\b(?:money|funds|transaction|\d[\d.,]* ?(?:dollars|usd|eur|euros|btc))\b"
    r"|(?:tell|convince|persuade|urge) the (?:user|customer|reader|human)s? (?:that|to|about)\b"
    r"|say that (?:i|the user|you) should\b"
    # First one thing, then what came of it to somebody.
    rf"|(?:find|retri\w{{2,4}}|fetch|list|get|gather|collect|look up|look for|read|check|search|summari[sz]e|concatenate|extract|use|download|generate|once)\b"
    rf"{_ON}{{3,160}}?(?:\b(?:and|then)\b {{0,2}}(?:then )?|, )(?:send|e-?mail|forward|post|share|upload|transmit|text)\b{_ON}{{0,80}}?{_ADDRESS})",
    re.IGNORECASE,
)
"""An order to send something to an address, to move money, or to talk somebody into something."""
_DEED = re.compile(
    rf"{_POLITELY}(?:grant|transfer|send|share|forward|delete|erase|remove|unlock|lock|open|disable|deactivate|enable|move|copy"
    r"|update|change|create|schedule|book|reserve|cancel|dispatch|invite|add|email|post|upload|order|buy|sell|control|turn)\b"
    rf"{_ON}{{0,100}}?"
    r"(?:\((?:id|code|user ?name|patient id)\b|\bid '?[\w-]*\d|~/|'/\w|\bparticipants?\b|\b(?:user|recipient) '?[\w.]+@"
    rf"|\b(?:cloud drive|security code|verification code|one-time code|traffic light)\b|'{_ON}{{1,60}}?@|\b(?:to|with) '[A-Z]\w)",
    re.IGNORECASE,
)
"""Politely asked, and about one thing that is named by its id, path or owner: pages tell their readers how to do such things,
and tools tell what was done."""
_CONFIRMED = re.compile(
    r"\b(?:confirm\w*|verify|check|details|summary|recap|correctly|to be clear|you (?:want|wanted|would like) (?:me )?to)\b"
    r"[^.\n]{0,40}$|\bconfirm(?: the following)?\. {0,2}$",
    re.IGNORECASE,
)
"""Before an order that an assistant repeats, for a person to agree to."""
_TO_CONFIRM = re.compile(
    r"((?:please )?(?:give|provide|check|confirm|verify)\b[^.\n]{0,24}\b(?:confirmation|details?|dtails)\b|make sure\b)"
    r"|(?:please )?(?:confirm|check|approve|verify|review)\b",
    re.IGNORECASE,
)
"""What begins like an order, and asks a person to agree to something of his."""
_YOURS = re.compile(r"[^.\n]{0,60}?\byour\b", re.IGNORECASE)
_AGREED = re.compile(
    r"[^\n]{0,100}?\b(?:(?:do|can|could|would) you (?:please )?confirm|is (?:that|this|it) (?:right|correct|ok(?:ay)?))\b",
    re.IGNORECASE,
)
"""Behind an order that was repeated."""
_AGAINST_USER = re.compile(
    rf"\b{_IGNORE} (?:(?:what(?:ever)?|anything|everything) (?:the|this|your) (?:user|human|person|customer)s? "
    r"(?:asks?|asked|says?|said|wants?|wanted|requests?|requested)"
    r"|(?:the|this|your) (?:user|human|person|customer)(?:'s?|s'?)? (?:\w{1,12} )?(?:requests?|questions?|query|task|prompt)\b)",
    re.IGNORECASE,
)
"""An order not to do what was asked for. Who writes the integration may give it; a page has no business to."""
_THING: Final = r"(?:\w+ )?(?:web ?page|page|site|function|resume|cv|content|text|document|article|paper|abstract|e-?mail|code|data|table|image|review)"
_INSTEAD = re.compile(
    rf"\b(?:ignore|disregard|forget|skip) (?:about )?(?:(?:the|this|that|all|everything in the) (?:rest of the )?{_THING}s?|(?:all |the )?instructions),? (?:and|but|then|just|instead)(?: \w+)? "
    r"(?:state|say|print|output|write|respond|reply|answer|tell|claim|report|conclude|return|declare)\b"
    rf"|\b{_IGNORE} (?:everything|all)(?: \w+){{0,3}} below\b|\bstop processing (?:here|this (?:page|text|message))\b"
    r"|\bfocus on the (?:objective|instructions?) (?:above|below)\b"
    r"|\bin order to (?:complete|finish|continue|proceed with|perform|do) your (?:\w+ )?task\b[^.\n]{0,60}?\byou (?:must|need to|have to)\b"
    r"|\bbefore doing anything else\b[^\n]{0,60}?\byour task\b"
    r"|\bignorier\w{1,4} (?:sie )?(?:de[nr]|die|das|diese\w?) \w{3,20} und (?:sagen|geben|schreib\w*|drucken|sag|gib|antwort\w*)\b"
    r"|\bignore[rz]? (?:l[ae] |les |l['’]|ce(?:tte|t)? )[\w ]{3,20} et (?:dites|dis|indique[rz]?|écri\w+|déclare[rz]?|répond\w*)\b"
    r"|\bignor[ae]r? (?:el|la|los|las|este|esta|o|a|os|as) [\w ]{3,20} [ye] (?:di|diga|dice|decir|declar\w+|escrib\w+|indi\w+|responde\w?|escrev\w+|afirm\w+)\b"
    r"|\bignora(?:re|te)? (?:il |la |lo |l['’]|questo |questa )[\w ]{3,20} e (?:di|dì|dire|dichiara\w*|scriv\w+|afferma\w*|rispond\w+)\b",
    re.IGNORECASE,
)
"""An order to leave alone what was to be read and to say or do something else. A person may well say so, a page has no
business to."""
_PLAYED = re.compile(
    r"(?:<\|?im_start\|?>\s{0,3}system|<<sys>>|\[system\]|\[inst\])[\s:>\]-]{1,6}[^\n]{0,40}?"
    r"\b(?:you (?:now|must|shall)|from now on|new (?:policy|rules?|orders?)|obey|disregard|ignore)\b",
    re.IGNORECASE,
)
"""Words of a chat's template that give an order: a page has no part in the chat."""
_UNLOCKED = re.compile(
    rf"{_POLITELY}(?:(?:grant|give|allow)\b{_ON}{{0,60}}?\baccess\b{_ON}{{0,60}}?{_ADDRESS}|unlock (?:the |my )(?:\w{{1,12}} )?(?:door|gate)s?\b)",
    re.IGNORECASE,
)
_ORDERS: Final = (_PLAYED, _UNLOCKED, _ORDER, _ANSWER_ORDER, _SENT_ORDER, _DEED, _AGAINST_USER, _INSTEAD)

_QUOTED: Final = (
    r"(document|webpage|page|search_results?|tool_results?|tool_response|email|context|article|file)"
)
_OPENING = re.compile(rf"<{_QUOTED}\b[^>\n]{{0,200}}>", re.IGNORECASE)
_CLOSING = re.compile(rf"</{_QUOTED}>", re.IGNORECASE)
_MOST_QUOTED: Final = 100_000
"""Characters of a quotation that are read as one."""

_STEMS: Final = {
    kind: tuple(listed.replace("\n", "").split("|"))
    for kind, listed in {
        "override": """
ignor|ign0r|ignro|ignoer|igner|igonr|ingor|disreg|forget|overr|bypass|neglect|do not f|do not o|do not a|don't f|don't o|stop f|discard|cancel|skip|abandon|
set aside|delete|vergiss|vergessen|missacht|oublie|tiens pas|tenez pas|olvid|descart|omiso|esqueç|desconsider|dimentica|
trascura|negeer|vergeet|zapom|pomiń|glöm|glem|se bort|önceki|yukarıdaki|забудь|игнор|отбрось|ігнор|uită|abaikan|lupakan|
nepaisyk|pamiršk|aizmirst|neņem|figyelmen|felejts|αγν|ξεχ|ξέχ|فراموش|نادیده|ohita|unohda|sivuuta|älä noud|เพิกเฉย|ละเว้น|สนใจ|ลืม|มองข้าม|
bỏ qua|quên|আগের|পূর্বের|পূর্ববর্তী|উপরের|balewalain|huwag p|kalimutan|忽略|无视|無視|忘|不要理会|不用管|破棄|무시|잊|تجاهل|انس|निर्देश|आदेश|התעלם
""",
        "announced": """
instr|important m|important n|important a|before you|question|request|query|task|command|directive|orders|goal|objective|
priority|(system|[[|regardless|system mode|override mode
""",
        "new task": "instr|your new|your real|your true",
        "address": """
assistant| ai|ai:|llm|language model|agent|bot|claude|gpt|gemini|copilot|llama|mistral|deepseek|grok|when you|whenever you
""",
        "reader": "when you|whenever you",
        "spoken to": "dear |hey |hi |hello |attention|you are now",
        "authority": "<|system|inst|<<|override|mode enabled|command",
        "act": """
call|invoke|run|execute|use|delete|erase|wipe|purge|drop|send|forward|post|upload|mail|exfiltrate|leak|transmit|append|
submit|reveal|print|output|disclose|repeat|share|include
""",
        "secrecy": "do not|don't|never|without|hidden|secret|silent",
        "hidden": "\u200b|\u200c|\u2060|<!--",
    }.items()
}
"""Where a signal may be: a text without these holds none, and of a long one only what is near them is read."""


class _Stems:
    """Where signals of some kinds may be in a text."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = tuple(kinds)
        listed = dict.fromkeys(itertools.chain.from_iterable(_STEMS[kind] for kind in self._kinds))
        self._kinds_of = {stem: [kind for kind in self._kinds if stem in _STEMS[kind]] for stem in listed}
        self._finder = WordFinder(listed)

    def near(self, low: str) -> dict[str, list[tuple[int, int]]]:
        """For each kind the parts of a text in which it may stand."""
        places: dict[str, list[int]] = {}
        read: dict[str, int] = {}
        for place, stem in self._finder.places(low):
            # The next one in reach adds nothing: what it is near to is read already.
            if place - read.get(stem, -BEFORE_CHARS) >= BEFORE_CHARS and not _begins_another(
                low, place, stem
            ):
                read[stem] = place
                for kind in self._kinds_of[stem]:
                    places.setdefault(kind, []).append(place)
        return {kind: list(_regions(found)) for kind, found in places.items() if found}


def _begins_another(low: str, place: int, stem: str) -> bool:
    # `both`, `bottle`: common words, in each of which a whole pattern would be tried.
    return stem == "bot" and low[place + 3 : place + 4].isalpha() and low[place + 3] != "s"


_STRANGE_STEMS: Final = _Stems(kind for kind in _STEMS if kind in _STRANGE)
_OTHER_STEMS: Final = _Stems(kind for kind in _STEMS if kind not in _STRANGE)
"""Read only where something strange stands in the same text: alone they are none."""

BEFORE_CHARS: Final = 120
AFTER_CHARS: Final = 300
"""Around a stem; no signal is longer."""

_TAGS = re.compile("[\U000e0020-\U000e007e]")
_INVISIBLE = re.compile("[\u200d\u00ad\ufeff]|(?<=\\w)[\u200b\u200c\u2060](?=\\w)")

_LEET = re.compile(r"\b(?:[1!]gn[0o]r|ign0r|d[1i][5s]r[e3]g|f[0o]rg[e3]t|[0o]v[e3]rr[1i]d)", re.IGNORECASE)
_MIXED = re.compile(r"\b(?=\w{0,20}\d)(?=\w{0,20}[A-Za-z])\w{2,24}\b")
_LETTERS: Final = str.maketrans("013457", "oieast")

_IN_ADDRESS = re.compile(r"(?<![A-Za-z])(?:[A-Za-z]{1,20}[-_+]){9,400}[A-Za-z]{1,20}")
"""Ten words or more with hyphens instead of blanks, as addresses carry them; the name of an article has fewer."""

_DISCUSSED = re.compile(
    r"prompt[- ]?injections?|jailbreak|injection attack|injected (?:text|instructions)|red[- ]?team|adversarial|"
    r"malicious (?:prompt|instruction|text)|attackers?\b|phishing|guardrails?|owasp|(?:detect|block|defend|filter|"
    r"classif)\w{0,8} [^.\n]{0,40}(?:instructions|prompts?|attacks?)",
    re.IGNORECASE,
)
"""Words of people who talk about such attacks, when they stand before one; who carries one out does not name it,
unless to deny it."""

_DENIED = re.compile(r"\b(?:no|not|never|isn'?t|aren'?t|nor|without|hardly)\b[^.\n]{0,16}$", re.IGNORECASE)

_WRITING = re.compile(
    r"\b(?:write|draft|improve|review|rewrite|rephrase|create|edit|fix|shorten|lengthen|translate|test|polish)\b"
    r"[^.\n]{0,40}\b(?:prompts?|instructions for (?:my|our|the|a|an))\b",
    re.IGNORECASE,
)
"""People who ask for a prompt: what follows is its text."""

_REFUSED = re.compile(
    r"\b(?:never|not|don't|doesn't|won't|cannot|can't|may no)\W{1,9}(?:\w{1,20}\W{1,9}){0,2}$", re.IGNORECASE
)
"""Before an act: who forbids it does not ask for it."""

_GREETING = re.compile(
    r"\W*(?:(?:hi|hello|hey|ok(?:ay)?|so|now|please|dear|sorry|there|again|assistant|chatgpt|claude)\b\W*){0,4}",
    re.IGNORECASE,
)
"""Before what a person says first."""
_CURIOUS = re.compile(r"(?:reveal|print|output|disclose|repeat|share|include)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?:\n。！？]")
_OWN_WORDS = re.compile(r"\b(?:my|our|i|we)\b", re.IGNORECASE)
"""In an override: people take back what they said themselves."""


def planted_signals(text: str, *, foreign: bool = False, own: bool = False) -> frozenset[str]:
    """The signals of a planted text, or none.

    One that overrides what the assistant was told, or announces instructions for it, counts alone where it stands
    inside a text. Of the others at least two kinds must stand close together.

    Args:
        foreign: nobody in the conversation wrote the text: a tool gave it, or a page did. Then an override counts at
            the beginning too, and so does an order about somebody's accounts, files or money.
        own: a person wrote it. In a few lines nothing counts that people say to try an assistant out.
    """
    text = text[:SCANNED_CHARS]
    plain = text if text.isascii() else alike(_INVISIBLE.sub("", text))
    if foreign:
        plain = _IN_ADDRESS.sub(lambda match: re.sub("[-_+]", " ", match[0]), plain)
    begins = 0 if foreign else _GREETING.match(plain).end()  # type: ignore[union-attr]
    if _LEET.search(plain):
        # `1gn0re all prev1ous instruct10ns`
        plain = _MIXED.sub(lambda match: match[0].translate(_LETTERS), plain)
    few = own and _is_few_lines(plain)
    hits = sorted(hit for hit in _hits(plain) if not (few and hit[1] in _SAID_TO_IT))
    for index, (place, kind) in enumerate(hits):
        inside = not few and (
            foreign or place - begins >= OPENING_CHARS or _SENTENCE_END.search(plain, begins, place)
        )
        kinds = {kind}
        for later, other in hits[index + 1 :]:
            if later - place > NEAR_CHARS:
                break
            # Who opens with an override and asks for the prompt tries it out.
            if inside or kind != "override" or not _CURIOUS.match(plain, later):
                kinds.add(other)
        if few and not kinds & _NOT_OWN:
            continue
        alone = kind == "announced" or (kind == "override" and inside)
        if ((len(kinds) >= 2 and kinds & _STRANGE) or alone) and not _excused(
            plain[max(0, place - NEAR_CHARS) : place]
        ):
            return frozenset(kinds)
    if foreign and _has_order(plain):
        return frozenset({"order"})
    if not text.isascii() and (written := smuggled(text)):
        signals = planted_signals(written, foreign=True)
        return signals | {"hidden"} if signals else signals
    return frozenset()


def _is_few_lines(text: str) -> bool:
    return len(text) <= OWN_CHARS and text.count("\n") < OWN_LINES and not _PASTED.search(text)


def _has_order(text: str) -> bool:
    return any(
        not _excused(text[max(0, match.start() - NEAR_CHARS) : match.start()])
        and not _is_repeated(text, match)
        for pattern in _ORDERS
        for match in itertools.islice(pattern.finditer(text), SIGNALS_READ)
    )


def _is_repeated(text: str, match: "re.Match[str]") -> bool:
    """Whether an order is one of the person, which an assistant repeats for him to agree to."""
    order = match[0].lstrip(" \t\n.!?:;,'\"]>}")
    begins = match.end() - len(order)
    return bool(
        _CONFIRMED.search(text[max(0, begins - 60) : begins])
        or _asks_to_agree(text, begins)
        or _AGREED.match(text, match.end())
    )


def _asks_to_agree(text: str, begins: int) -> bool:
    asks = _TO_CONFIRM.match(text, begins)
    return bool(asks and (asks[1] or _YOURS.match(text, asks.end())))


def _hits(text: str) -> Iterator[tuple[int, str]]:
    low = text.lower()
    tags = not text.isascii() and _TAGS.search(text)
    near = _STRANGE_STEMS.near(low)
    if tags:
        near["hidden"] = [(0, len(text))]
    strange = list(_in(text, near))
    yield from strange
    if strange:
        yield from _in(text, _OTHER_STEMS.near(low))


def _in(text: str, near: Mapping[str, list[tuple[int, int]]]) -> Iterator[tuple[int, str]]:
    """The signals of each kind in the parts of a text where they may stand."""
    for kind, regions in near.items():
        matches = (match for region in regions for match in _SIGNALS[kind].finditer(text, *region))
        for match in itertools.islice(matches, SIGNALS_READ):
            if _quoted(text, match) or (kind == "act" and _refused(text, match)):
                continue
            if kind == "override" and (_OWN_WORDS.search(match[0]) or _refused(text, match)):
                continue
            yield match.start(), kind


def _regions(places: list[int]) -> Iterator[tuple[int, int]]:
    begin = end = -1
    for place in places:
        if place - BEFORE_CHARS > end:
            if end > 0:
                yield begin, end
            begin = max(0, place - BEFORE_CHARS)
        end = place + AFTER_CHARS
    if end > 0:
        yield begin, end


_QUOTES: Final = {
    '"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019", "\u00ab": "\u00bb", "\u201e": "\u201c",
}  # fmt: skip
QUOTE_CHARS: Final = 60
"""A phrase that somebody talks about ends this soon after it; in quotes around a whole text it goes on."""


def _excused(before: str) -> bool:
    """Whether what stands before the signals says that they are talked about, or belong to a prompt to be written."""
    if _WRITING.search(before):
        return True
    return any(not _DENIED.search(before, 0, match.start()) for match in _DISCUSSED.finditer(before))


def _refused(text: str, match: "re.Match[str]") -> bool:
    return bool(_REFUSED.search(text[max(0, match.start() - 40) : match.start()]))


def _quoted(text: str, match: "re.Match[str]") -> bool:
    start = match.start()
    while start < match.end() and text[start].isspace():
        start += 1
    closing = _QUOTES.get(text[start - 1 : start])
    return bool(closing) and closing in text[match.end() : match.end() + QUOTE_CHARS]


def planted_kinds(item: RequestWithInteractions) -> frozenset[str]:
    """The signals in the first text of a request that seems planted; none for an ordinary one."""
    for turn in item.interactions:
        if is_system(turn.role):
            continue  # a prompt of the integration itself: commanding an assistant is what it is for
        own = is_person(turn.role)
        for text, foreign in _texts(turn, is_foreign(turn.role)):
            stop_if_cancelled(len(text))
            if text and (kinds := planted_signals(text, foreign=foreign, own=own and not foreign)):
                return kinds
    return frozenset()


def _quotations(text: str) -> Iterator[str]:
    """What a message quotes as coming from elsewhere, between a mark and the next one that ends it."""
    ends: dict[str, list[int]] = {}
    for closing in _CLOSING.finditer(text):
        ends.setdefault(closing[1].lower(), []).append(closing.start())
    free = 0
    for opening in _OPENING.finditer(text):
        its = ends.get(opening[1].lower(), [])
        at = bisect_right(its, opening.end())
        if opening.start() >= free and at < len(its) and its[at] - opening.end() <= _MOST_QUOTED:
            free = its[at]
            yield text[opening.end() : free]


def _texts(turn: StoredInteraction, foreign: bool) -> Iterator[tuple[str, bool]]:
    for text in texts_of(turn):
        yield text, foreign
        if not foreign and "</" in text:
            yield from ((part, True) for part in _quotations(text))
    for used in turn.tools_used:
        yield from ((one, True) for _, one in leaves(used.get("tool_data")) if isinstance(one, str))


class Planted(Detector):
    """`planted-instructions`."""

    def request(self, item: RequestWithInteractions) -> None:
        if kinds := planted_kinds(item):
            self.founds[0].add(item.request.request_id, item, note=" + ".join(sorted(kinds)))
