"""Finds e-mail addresses and, checked by libraries, numbers that identify a person.

python-stdnum and phonenumbers are imported for the first text that may contain such a number.
"""

import importlib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from reflexio_mcp.traffic.content import find_all

READ_CHARS: Final = 1_000_000
"""Characters of a text that are looked through."""

CANDIDATES: Final = 2_000
"""How many texts that have the form of a card number are checked, and as many for each other kind."""

WORD_CHARS: Final = 50
"""Characters before a number that may say what it is. They are searched in lower case, which is twice as fast."""

_CARD = re.compile(r"(?<![\w.,-])[1-6]\d{3}(?:[ -]?\d{2,6}){2,4}(?![\w-]|[.,]\d)")
_KNOWN_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[0-8]\d{14}|2[2-7]\d{14}|3[47]\d{13}|35\d{14}|3[0689]\d{12}|6(?:011|[45]\d\d|2\d\d)\d{12}"
)
_SAYS_CARD = re.compile(
    r"\b(?:card|credit|debit|visa|master|amex|karte|carte|tarjeta|carta|cart[ãa]o|kaart|карт)|卡|カード"
)
_SAYS_OTHER = re.compile(
    r"\b(?:order|parcel|package|tracking|invoice|ticket|booking|reference|ref|serial|isbn|ean|imei|sku|bestell\w*|rechnung\w*"
    r"|commande|facture|pedido|factura|ordine)(?:[ -]?(?:number|no|nr|id|code))?[\s.:#=\"'_-]{0,4}$"
)
_IBAN = re.compile(r"(?i)(?<![a-z0-9])[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{2,4}){3,8}(?:[ -]?[a-z0-9]{1,3})?")
_EMAIL = re.compile(
    r"(?<![\w.+/@:-])(?:mailto:)?(?P<box>[\w][\w.+'-]{0,63})@(?:[\w][\w-]{0,62}\.){1,5}(?!example\b|test\b|invalid\b)[A-Za-z]{2,24}(?![\w@])"
)
_NOBODY = re.compile(
    r"(?i)(?:no-?reply|do-?not-?reply|git|info|support|sales|contact|help|hello|admin|office|team|service|webmaster|orders?|mail|news"
    r"|postmaster|abuse|security|press|jobs|billing|newsletter|notifications?|root|user(?:name)?|name|email|you|your\w*)"
)

_NUMBER = re.compile(r"(?<![\w.,/@-])[A-Za-z]{0,6}\d[A-Za-z0-9 ./+-]{4,18}[A-Za-z0-9](?![\w@]|[.,]\d)")
_SAYS_NUMBER = re.compile(
    r"\b(?:(?:national|personal|citizen|tax|fiscal)[ -]?(?:id|ident\w*|number|no\b|code|insurance)|id(?:entity)? (?:card|number|no\b)"
    r"|social security|ssn\b|sin\b|tfn\b|nhs\b|nino\b|aadhaar|pan\b|bsn\b|pesel|cpf\b|curp\b|dni\b|nie\b|nif\b|fiscale?\b|steuer-?(?:id|nummer)"
    r"|sozialvers\w*|sécu\w*|insee|nir\b|personnummer|fødselsnummer|cpr\b|hetu\b|rodné|egn\b|cnp\b|oib\b|amka|pps\b|kennitala|isikukood"
    r"|asmens|kimlik|ahv\b|avs\b|rut\b|c[ée]dula|инн\b|снилс)|身份证|주민|マイナンバー"
)
_COUNTRIES: Final = [
    "us.ssn",
    "gb.nhs",
    "ca.sin",
    "au.tfn",
    "ie.pps",
    "za.idnr",
    "in_.aadhaar",
    "in_.pan",
    "de.idnr",
    "at.vnr",
    "ch.ssn",
    "fr.nir",
    "be.nn",
    "nl.bsn",
    "es.dni",
    "es.nie",
    "pt.nif",
    "it.codicefiscale",
    "gr.amka",
    "se.personnummer",
    "no.fodselsnummer",
    "dk.cpr",
    "fi.hetu",
    "is_.kennitala",
    "ee.ik",
    "lt.asmens",
    "pl.pesel",
    "cz.rc",
    "ro.cnp",
    "bg.egn",
    "hr.oib",
    "si.emso",
    "tr.tckimlik",
    "ua.rntrc",
    "ru.inn",
    "il.idnr",
    "br.cpf",
    "ar.cuit",
    "cl.rut",
    "mx.curp",
    "co.nit",
    "do.cedula",
    "ec.ci",
    "cn.ric",
    "kr.rrn",
]

_BY_FORM: Final = (
    ("it.codicefiscale", re.compile(r"(?i)[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]")),
    ("es.dni", re.compile(r"(?i)\d{8}-?[A-Z]")),
    ("mx.curp", re.compile(r"(?i)[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d")),
    ("cn.ric", re.compile(r"(?i)\d{17}[\dX]")),
    ("br.cpf", re.compile(r"\d{3}\.\d{3}\.\d{3}-\d{2}")),
    ("us.ssn", re.compile(r"\d{3}-\d{2}-\d{4}")),
    ("ch.ssn", re.compile(r"756\.\d{4}\.\d{4}\.\d{2}")),
)
"""Numbers that are recognized by form; others need a word before them."""

LEAST_BY_FORM: Final = 9
"""Characters of the shortest of them."""

_PHONE = re.compile(r"(?<![\w.,/-])(?:\(?\+|\()?\d[\d ().\-/]{5,20}\d(?![\w@-]|[.,]\d)")
_SAYS_PHONE = re.compile(
    r"\b(?:phone|tel\b|tel\.|telephone|mobile|cell|call|text|sms|fax|whatsapp|(?:my|his|her|contact) number|telefon|anruf|mobil|handy"
    r"|téléphone|portable|appel|teléfono|móvil|celular|llam|cellulare|chiam|telefone|telefoon|numer|телефон|звони)|電話|电话|手机|전화"
)
_US_PHONE = re.compile(r"(?:1[-. ]?)?(?:\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}[-.]\d{3}[-.]\d{4})")
_REGIONS: Final = [
    "US",
    "GB",
    "DE",
    "FR",
    "ES",
    "IT",
    "NL",
    "BE",
    "AT",
    "CH",
    "SE",
    "NO",
    "DK",
    "FI",
    "PL",
    "PT",
    "IE",
    "AU",
    "CA",
    "IN",
    "BR",
    "MX",
    "JP",
    "CN",
    "KR",
    "RU",
    "TR",
]
_DATE = re.compile(r"(?:\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2})(?: .*)?")


LEAST_DIGITS: Final = 4
"""Every number that is looked for has at least so many digits."""

_NO_DIGITS: Final = bytes(code for code in range(128) if not chr(code).isdigit())

Line = tuple[int, str]
"""Where a line begins, and its text. No number or address goes on in the next line."""


def personal_in(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and kind of what identifies a person, among the first `CANDIDATES` of each form."""
    text = text[:READ_CHARS]
    addresses, numbers = list[Line](), list[Line]()
    start = 0
    for line in text.split("\n"):
        if "@" in line:
            addresses.append((start, line))
        if _may_have_number(line):
            numbers.append((start, line))
        start += len(line) + 1
    for start, match in _first_matches(_EMAIL, addresses):
        if not _NOBODY.fullmatch(match["box"]):
            yield start, start + len(match[0]), "e-mail"
    # Each function returns its kind if a number is of that kind, and nothing otherwise.
    for pattern, kind_if in (
        (_CARD, _kind_if_card),
        (_IBAN, _kind_if_iban),
        (_NUMBER, _kind_if_national),
        (_PHONE, _kind_if_phone),
    ):
        for start, match in _first_matches(pattern, numbers):
            if kind := kind_if(match[0], text[max(0, start - WORD_CHARS) : start].lower()):
                yield start, start + len(match[0]), kind


def _may_have_number(line: str) -> bool:
    # Other alphabets have digits of their own.
    return not line.isascii() or len(line.encode().translate(None, _NO_DIGITS)) >= LEAST_DIGITS


def _first_matches(
    pattern: "re.Pattern[str]", lines: Iterable[Line]
) -> "Iterator[tuple[int, re.Match[str]]]":
    """Yield the first matches in these lines, each with its place in the text."""
    every = ((start + match.start(), match) for start, line in lines for match in find_all(pattern, line))
    return itertools.islice(every, CANDIDATES)


def _is_valid(name: str, number: str, **options: bool) -> bool:
    module: Any = importlib.import_module(f"stdnum.{name}")
    return bool(module.is_valid(number, **options))


def _kind_if_card(number: str, before: str) -> str:
    digits = "".join(filter(str.isdigit, number))
    if not 12 <= len(digits) <= 19 or len(set(digits)) < 2:
        return ""
    # Digits without blanks after a word such as “order” are something else.
    known = _KNOWN_CARD.fullmatch(digits) and not (digits == number and _SAYS_OTHER.search(before))
    if not known and not _SAYS_CARD.search(before):
        return ""
    return "card" if _is_valid("luhn", digits) else ""


def _kind_if_iban(number: str, before: str) -> str:
    compact = re.sub("[ -]", "", number)
    # Text after an IBAN may look like a part of it. stdnum's bank lists are outdated; check digits suffice.
    lengths = range(15, min(34, len(compact)) + 1)
    valid = any(_is_valid("iban", compact[:length], check_country=False) for length in lengths)
    return "iban" if valid else ""


def _is_known_form(number: str) -> bool:
    return any(form.fullmatch(number) and _is_valid(name, number) for name, form in _BY_FORM)


def _kind_if_national(number: str, before: str) -> str:
    number = number.strip(" .-/+")
    if _DATE.fullmatch(number):
        return ""
    first = number.split(" ")[0]
    if len(first) >= LEAST_BY_FORM and _is_known_form(first):
        return "national number"
    if not _SAYS_NUMBER.search(before):
        return ""
    parts = {part for part in (number, first) if len(part) > 6}
    return "national number" if any(_is_valid(name, part) for part in parts for name in _COUNTRIES) else ""


def _kind_if_phone(number: str, before: str) -> str:
    if not 7 <= sum(map(str.isdigit, number)) <= 15 or _DATE.fullmatch(number):
        return ""
    plain = number.replace("(0)", "")
    if plain.startswith(("+", "(+", "00")):
        regions: list[str | None] = [None]
        plain = "+" + plain[2:] if plain.startswith("00") else plain
    elif _US_PHONE.fullmatch(plain):
        regions = ["US"]
    elif _SAYS_PHONE.search(before):
        regions = [*_REGIONS]
    else:
        return ""
    phonenumbers: Any = importlib.import_module("phonenumbers")
    for region in regions:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(plain, region)):
                return "phone"
        except phonenumbers.NumberParseException:  # 011 leads abroad from one region, and to Turin in another
            continue
    return ""
