"""`personal-…`: data that identify a person, each checked by a library that knows its rules.

Cards by their check digit and IBANs by country (python-stdnum), national numbers by the rules of their country
(python-stdnum), phone numbers by the numbering plans (phonenumbers). The libraries are imported when the first text
holds something that could be one of them.
"""

import functools
import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import stored_texts
from reflexio_mcp.traffic.rules.catalog import RULES
from reflexio_mcp.traffic.rules.detector import SCANNED_CHARS, Detector, stop_if_cancelled
from reflexio_mcp.traffic.rules.folding import visible

__all__ = ["KINDS", "NOT_LOOKED_FOR", "PersonalData", "kinds_in", "personal_kinds"]

KINDS: Final = tuple(rule.id for rule in RULES if rule.id.startswith("personal-"))

NOT_LOOKED_FOR: Final = "no rule finds them reliably"
"""Health, and names of people."""

WORD_BEFORE_CHARS: Final = 60
"""How far before a number the word may stand that says what it is."""

WORD_BEHIND_CHARS: Final = 20
"""How far behind a national number: `… is my SSN`."""

CANDIDATES: Final = 2_000
"""Of one kind in one text; who stores more of them in one has a list, and its first ones say so."""

_DIGIT = re.compile(r"\d")
_CARD = re.compile(r"(?<![A-Za-z0-9_.,-])[1-6]\d{3}(?:[ -]?\d{2,6}){2,4}(?![A-Za-z0-9_-]|[.,]\d)")
_CARD_TOLD = re.compile(r"(?<![A-Za-z0-9_.,-])\d(?:[ -]?\d){11,18}(?![A-Za-z0-9_-]|[.,]\d)")
"""Behind a word that says it: whoever issued it, and in whatever groups it is said."""
_SAYS_CARD = re.compile(
    r"(?i)\b(?:card|cc\b|credit|debit|visa|master|maestro|jcb|karte|carte|tarjeta|carta|cart[ãa]o|kaart|kart|карт|卡|カード)"
)
_OF_A_COMPANY = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[0-8]\d{14}|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720|220[0-4])\d{12}|3[47]\d{13}"
    r"|(?:2131|1800)\d{11}|35(?:2[89]|[3-8]\d)\d{12}(?:\d{3})?|3(?:0[0-59]|[689]\d)\d{11}(?:\d\d)?"
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d)\d{12}(?:\d{3})?|(?:5018|5020|5038|5893|6304|67\d\d)\d{8,15}"
)
"""How the numbers of Visa, Mastercard, Mir, American Express, JCB, Diners Club, Discover, UnionPay and Maestro begin and count."""
_SAYS_OTHER = re.compile(
    r"(?i)(?:\b(?:order|parcel|package|shipment|consignment|delivery|tracking|waybill|invoice|receipt|ticket|booking|reservation"
    r"|reference|ref|serial|article|item|batch|isbn|ean|gtin|upc|imei|sku"
    r"|bestell\w*|paket\w*|sendung\w*|rechnung\w*|auftrag\w*|lieferung|buchung\w*|commande|colis|facture|livraison|réservation|suivi"
    r"|pedido|paquete|factura|envío|reserva|ordine|pacco|spedizione|fattura|encomenda|fatura|bestelling|pakket|factuur|zamówieni\w*|paczk\w*"
    r"|faktur\w*|paczki|заказ\w*|посылк\w*|счёт\w*|счет\w*|sipariş\w*|kargo)"
    r"|注文|荷物|订单|包裹|주문|송장)"
    r"(?:[ -]?(?:number|num|no|nr|id|code|nummer|numéro|número|numero|номер|n[°º]))?[\s.:#№=\"'_-]{0,4}$"
)
"""What stands right before a number of something else: an order's or a parcel's may begin and count as a card's."""
_OVERSEAS = re.compile(r"(?:BL|GF|GP|MF|MQ|NC|PF|PM|RE|TF|WF|YT)\d{12}[A-Z0-9]{11}\d\d")
"""Of France's territories, which the registry has under France alone."""
_SAYS_IBAN = re.compile(r"(?i)\biban")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE)
_LETTER: Final = "A-Za-zÀ-ɏ0-9"
"""Of addresses: others may stand right beside one, as in `邮箱anna@firm.cn`."""
_EMAIL = re.compile(
    rf"(?:(?<![{_LETTER}_.+/@:-])|(?<=mail:)|(?<=mailto:))([{_LETTER}][{_LETTER}_.+'-]{{0,63}})"
    rf"@((?:[{_LETTER}][{_LETTER}-]{{0,62}}\.){{1,5}}(?!example\b|test\b|invalid\b|localhost\b)[A-Za-z]{{2,24}})(?![{_LETTER}_@])"
)
_NOBODY = re.compile(
    r"(?i)(?:no-?reply|do-?not-?reply|git|info|support|sales|contact|help|hello|admin|office|team|service|webmaster|desk|reception|orders|customers?|bookings?|hr|mail|news"
    r"|postmaster|abuse|security|press|jobs|billing|newsletter|notifications?|root|user(?:name)?|name|email|you|your\w*)"
)
"""Mailboxes of nobody in particular."""

_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,/@-])(?:[A-Z]{0,6}\d[A-Z0-9 ./+-]{2,20}[A-Z0-9]|[a-z]{0,6}\d[a-z0-9./+-]{2,20}[a-z0-9])(?![A-Za-z0-9@]|[.,]\d)"
)
_PHONE = re.compile(r"(?<![A-Za-z0-9.,/-])(?:\(?\+|\()?\d[\d ().\-/]{5,22}\d(?![A-Za-wyz0-9@-]|[.,]\d)")
_SAYS_PHONE = re.compile(
    r"(?i)\b(?:phone|tel\b|tel\.|telephone|mobile|cell|call|text|sms|fax|whatsapp|signal|(?:reach|ring) me|(?:my|his|her|their|contact) (?:new )?number|handy|telefon|anruf"
    r"|mobil|rufnummer|téléphone|portable|appel|teléfono|móvil|celular|llam|telefono|cellulare|chiam|telefone|telemóvel|liga"
    r"|telefoon|bel me|numer|komórk|zadzwoń|puhelin|телефон|номер|звони|позвони|τηλ)|電話|携帯|电话|手机|전화|연락처|هاتف|फ़ोन|โทร"
)
_REGIONS: Final = re.findall(
    r"[A-Z]{2}", "US GB DE FR ES IT NL BE AT CH SE NO DK FI PL PT IE AU CA IN BR MX JP CN KR RU TR"
)
_SAYS_NUMBER = re.compile(
    r"(?i)\b(?:(?:national|personal|citizen|resident|residence|government|state|tax|fiscal|voter)[ -]?(?:id|ident\w*|number|no\b|code|card|file"
    r"|insurance|registration|registry|payer)|ids? (?:card|number|no\b|code)|i\.d\.|identity|identification|(?:social|health)[ -](?:security|insurance)"
    r"|insurance (?:number|no\b)|n\.?i\.? (?:number|no\b)|birth number|citizen number|resident regist\w*|permanent resident|personal code|physical person"
    r"|ssn\b|itin\b|sin\b|nas\b|tfn\b|nhs\b|nino\b|aadhaar|aadhar|pan\b|bsn\b|pesel|nip\b|cpf\b|curp\b|rfc\b|dni\b|nie\b|nif\b|nss\b"
    r"|ident(?:idad|idade|ità|ité|ität)|fiscale?\b|steuer-?(?:id|nummer)|sozialvers|sécu|insee|nir\b|niss\b|rrn\b|rijksregister|personnummer|pnr\b"
    r"|fødselsnummer|cpr\b|hetu\b|henkilötunnus|rodné|egn\b|cnp\b|oib\b|amka|pps\b|kennitala|isikukood|asmens|personas kods|tc kimlik|tck\w*"
    r"|kimlik|ahv\b|avs\b|rut\b|c[ée]dula|clave única|emšo|emso|jmbg|matičn|cidad[ãa]o|patient (?:id|no\b|number)|инн\b|снилс|егн\b)"
    r"|身份证|주민|マイナンバー|個人番号|תעודת זהות|ประชาชน"
)
_COUNTRIES: Final = [
    "gb.nhs", "ca.sin", "au.tfn", "nz.ird", "ie.pps", "za.idnr", "in_.aadhaar", "in_.vid", "de.idnr", "at.vnr",
    "ch.ssn", "fr.nir", "be.nn", "nl.bsn", "lu.tva", "es.dni", "es.nie", "pt.nif", "pt.cc", "it.codicefiscale",
    "gr.amka", "se.personnummer", "no.fodselsnummer", "dk.cpr", "fi.hetu", "is_.kennitala", "ee.ik", "lt.asmens",
    "lv.pvn", "pl.pesel", "cz.rc", "sk.rc", "hu.anum", "ro.cnp", "bg.egn", "hr.oib", "si.emso", "rs.pib",
    "tr.tckimlik", "ua.rntrc", "ru.inn", "il.idnr", "br.cpf", "ar.cuit", "cl.rut", "mx.curp", "co.nit",
    "do.cedula", "uy.rut", "ec.ci", "cn.ric", "kr.rrn", "th.pin", "mz.nuit", "mu.nid", "ca.bc_phn",
]  # fmt: skip
"""Modules of python-stdnum for numbers of persons that have a check digit."""

_UNCHECKED: Final = tuple(
    (name, re.compile(rf"(?i)\b(?:{words})"))
    for name, words in (
        ("us.ssn", r"ssn\b|social[ -]?security"),
        ("us.itin", r"itin\b|taxpayer ident"),
        ("in_.pan", r"pan\b|permanent account"),
        ("my.nric", r"nric\b|mykad|identity card"),
        ("pk.cnic", r"cnic\b|identity card"),
        ("id.nik", r"nik\b|ktp\b|nomor induk"),
        ("pe.cui", r"cui\b|dni\b|cédula única"),
        ("cr.cpf", r"cpf\b|cédula de persona|cédula (?:física|número|no)|persona física|physical person"),
        ("ar.dni", r"dni\b|documento nacional"),
    )
)
"""Numbers without a check digit: any number of their length is one, so only their own name tells."""

_NINO = re.compile(r"\b(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?(?:\d\d ?){3}[A-D]\b")
"""Of the United Kingdom; python-stdnum does not have it, and it has no check digit."""

_PLAIN: Final = (
    ("it.codicefiscale", re.compile(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]", re.IGNORECASE)),
    ("es.dni", re.compile(r"\d{8}-?[A-Z]", re.IGNORECASE)),
    ("es.nie", re.compile(r"[XYZ]-?\d{7}-?[A-Z]", re.IGNORECASE)),
    ("mx.curp", re.compile(r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", re.IGNORECASE)),
    ("fi.hetu", re.compile(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", re.IGNORECASE)),
    ("cn.ric", re.compile(r"\d{17}[\dX]", re.IGNORECASE)),
    ("fr.nir", re.compile(r"[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}")),
    ("br.cpf", re.compile(r"\d{3}\.\d{3}\.\d{3}-\d{2}")),
    ("us.ssn", re.compile(r"\d{3}-\d{2}-\d{4}")),
    ("kr.rrn", re.compile(r"\d{6}-\d{7}")),
    ("se.personnummer", re.compile(r"(?:19|20)?\d{6}[-+]\d{4}")),
    ("za.idnr", re.compile(r"\d{6} ?\d{4} ?\d{3}")),
    ("ch.ssn", re.compile(r"756\.\d{4}\.\d{4}\.\d{2}")),
    ("be.nn", re.compile(r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}")),
    ("cl.rut", re.compile(r"\d{1,2}\.\d{3}\.\d{3}-[\dK]", re.IGNORECASE)),
)
"""Numbers whose form says what they are; of the others a word before them must."""

# These begin with the class of their first letter, and look behind it: so a place where none begins costs least.
_STREET_BEFORE = re.compile(
    r"\d(?<![\w-].)(?:\d{0,4}[a-zA-Z]?(?:[-/]\d{1,4})?,? (?:[NSEW]\.? )?(?:[A-Z0-9][\w'.-]{0,20} ){1,4}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive"
    r"|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Square|Sq|Terrace|Way|Close|Crescent|Highway|Hwy|Parkway|Pkwy|Circle|Cir|Trail)\b\.?"
    r"|\d{0,3}(?: ?(?:bis|ter))?,? (?:rue|avenue|av\.|boulevard|bd|place|impasse|chemin|allée|quai|route) (?:[\w'’-]{1,20} ?){1,5})"
)
_STREET_AFTER = re.compile(
    r"[A-ZÄÖÜÇĞİŞuaуп](?<!\w.)(?:"
    r"(?<=[A-ZÄÖÜ])[\wäöüß.-]{1,30}(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|damm|ufer|straat|laan|plein|gracht|kade|gatan|vägen"
    r"|vej|veien|gata|gate|gade|katu|tie) ?\d{1,4}[a-zA-Z]?(?!\w)"
    r"|(?<=[A-ZÄÖÜ])[\wäöüß-]{1,30} (?:Straße|Strasse|Str\.|Allee|Platz|Weg|Ring|Damm|Ufer|Gasse) \d{1,4}[a-zA-Z]?(?!\w)"
    r"|(?<=[A-ZÇĞİÖŞÜ])[\w']{1,20}(?: [\w']{1,20}){0,2} (?:Cad|Cd|Sok|Sk|Bulv|Mah)\.? ?(?:No[:.]? ?)?\d{1,4}(?!\w)"
    r"|(?<=P)\.? ?O\.? ?Box \d{1,6}(?!\w)"
    r"|(?:(?<=C)(?:alle|orso|/)|(?<=A)(?:venida|vda\.|v\.)|(?<=P)(?:laza|aseo|iazza|raça)|(?<=V)ia(?:le)?|(?<=R)ua|(?<=T)ravessa"
    r"|(?<=u)(?:l\.|lica)|(?<=a)l\.|(?<=у)(?:л\.|лица)|(?<=п)(?:роспект|р\.))"
    r" ?[A-ZÀ-ÝŁŚŻА-Я][\w'’. -]{2,40}?,? (?:n[ºo°.]{1,2} ?|д\. ?|дом )?\d{1,4}[a-zA-Z]?(?!\w))"
)
_NAMED_FIRST = re.compile(r"Calle|C/|Corso|Avenida|Av|Paseo|Piazza|Praça|Via|Rua|Travessa|ul|ул")
"""Streets that no other word begins as: a comma and a town behind their number are enough."""
_TOWN = re.compile(r", (?:[A-ZÀ-ÝŁŚŻА-Я][\w'’-]{2,30})(?=[\s,.;)]|\Z)")
_WITH_TOWN = re.compile(
    # A street, its number, a postcode and a town, whatever streets are called there.
    r"[A-ZÀ-ÝŁŚŻČŠŽ](?<![\w.].)[\w'’.-]{1,30}(?: [\w'’.-]{1,30}){0,4},? \d{1,4}[a-zA-Z]?(?:, [^,\n]{1,12})?, "
    r"(?!(?:19|20)\d\d )(?:\d{5}-\d{3}|\d{4,6}|\d{3} \d{2}|\d{2}-\d{3}|\d{4} ?[A-Z]{2}) [A-ZÀ-ÝŁŚŻČŠŽİ][\w'’-]{2,30}"
)
_IN_OTHER_LETTERS = re.compile(
    r"[\u4e00-\u9fff](?:都|道|府|県|省|市|区|區|县|縣|町|村)[^\s，。,.、]{1,20}?\d{1,4}(?:[-－]\d{1,4}){1,2}(?!\d)"
    r"|[\u4e00-\u9fff](?:市|区|區|县|縣)[^\s，。,.、]{1,16}?(?:路|街|道|巷|弄)\d{1,5}(?:号|號)"
    r"|[가-힣]{1,12}(?:시|군|구) [가-힣]{1,10}(?:로|길)[ ]?\d{1,4}(?:-\d{1,4})?(?!\d)"
    r"|(?:ул\.|улица|проспект|пр\.|пер\.) ?[А-Я][\w. -]{2,40}?,? (?:д\. ?|дом )\d{1,4}[а-я]?(?!\w)"
)
_POSTCODE = re.compile(
    r"\b[A-Z]{2}\.?,? \d{5}(?:-\d{4})?\b|\b[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b|\b\d{4} ?[A-Z]{2}\b|\b[A-Z]\d[A-Z] ?\d[A-Z]\d\b"
    r"|\b\d{2}-\d{3}\b|\b\d{5}(?:-\d{3})?\b,? [A-ZÀ-ÝÄÖÜ]|\b(?!(?:19|20)\d\d\b)\d{4,6},? [A-ZÀ-ÝÄÖÜİŞА-Я][\w-]+|\b(?:NSW|VIC|QLD|SA|WA|TAS|ACT) \d{4}\b|\b[A-Z][a-z]+,? \d{6}\b|,? [A-Z][a-z]+,? [A-Z]{2}\b"
)
_SAYS_ADDRESS = re.compile(
    r"(?i)\b(?:liv(?:e|es|ing)|address|home|moved? to|ship|deliver|mail it|send it|parcel|package|resid|wohn|adresse|liefer|habit|domicil|dirección"
    r"|viv[eo]|indirizzo|abit|endereço|mor[ao]|adres|woon|bor\b|bo(?:r|s)? på|osoite|mieszka|zamieszka|адрес|живу|проживаю)|住所|地址|주소"
)


def personal_kinds(text: str) -> frozenset[str]:
    """The kinds of personal data in the first `SCANNED_CHARS` characters of a text."""
    text, _ = visible(text[:SCANNED_CHARS])
    found: set[str] = set()
    if "@" in text and any(not _NOBODY.fullmatch(match[1]) for match in _some(_EMAIL, text)):
        found.add("personal-email")
    if _DIGIT.search(text):
        for kind, look in _LOOKS:
            if look(text):
                found.add(kind)
    return frozenset(found)


def _some(pattern: "re.Pattern[str]", text: str) -> Iterator["re.Match[str]"]:
    for number, match in enumerate(pattern.finditer(text)):
        if number >= CANDIDATES:
            return
        yield match


@functools.cache
def _library(name: str) -> Any:
    """A module of python-stdnum, or `None` where this version has none of that name."""
    try:
        return importlib.import_module(f"stdnum.{name}")
    except ModuleNotFoundError:
        return None


def _is_valid(name: str, number: str, **options: bool) -> bool:
    module = _library(name)
    return module is not None and bool(module.is_valid(number, **options))


def _has_card(text: str) -> bool:
    for match in _some(_CARD, text):
        digits = "".join(filter(str.isdigit, match[0]))
        told = _said_before(_SAYS_CARD, text, match)
        # Nobody writes the number of an order in a card's groups.
        other = match[0] == digits and (_said_before(_SAYS_OTHER, text, match) or _is_on_goods(digits))
        alone = _OF_A_COMPANY.fullmatch(digits) and not other
        if (told or alone) and _is_card(digits):
            return True
    if not _SAYS_CARD.search(text):
        return False
    return any(
        _said_before(_SAYS_CARD, text, match) and _is_card("".join(filter(str.isdigit, match[0])))
        for match in _some(_CARD_TOLD, text)
    )


def _is_on_goods(digits: str) -> bool:
    return len(digits) == 13 and _is_valid("ean", digits)


def _is_card(digits: str) -> bool:
    return 12 <= len(digits) <= 19 and len(set(digits)) > 1 and _is_valid("luhn", digits)


def _has_iban(text: str) -> bool:
    for match in _some(_IBAN, text):
        compact = re.sub("[ -]", "", match[0]).upper()
        # What follows an IBAN may look like a part of it: its length depends on its country.
        for length in range(15, min(34, len(compact)) + 1):
            # Without the lists of a country's banks: they lag behind, and the check digits tell enough.
            if _is_valid("iban", compact[:length], check_country=False):
                return True
        told = _OVERSEAS.fullmatch(compact) or _said_before(_SAYS_IBAN, text, match)
        # The check digits are right, also of a country that the registry leaves out.
        if told and _is_valid("iso7064.mod_97_10", compact[4:] + compact[:4]):
            return True
    return False


def _has_number(text: str) -> bool:
    if any(_said_before(_SAYS_NUMBER, text, match) for match in _some(_NINO, text)):
        return True
    for match in _some(_NUMBER, text):
        number = match[0].strip(" .-/+")
        if _is_date(number):
            continue
        for name, form in _PLAIN:
            if form.fullmatch(number) and _is_valid(name, number):
                return True
        parts = {part for part in (number, number.split(" ")[0]) if len(part) > 6}
        if not parts:
            continue
        told = _said_before(_SAYS_NUMBER, text, match) or _said_behind(_SAYS_NUMBER, text, match)
        if told and any(_is_valid(name, part) for part in parts for name in _COUNTRIES):
            return True
        for name, word in _UNCHECKED:
            if any(_is_valid(name, part) for part in parts) and _said_before(word, text, match):
                return True
    return False


def _has_phone(text: str) -> bool:
    for match in _some(_PHONE, text):
        number = match[0].replace("(0)", "")
        digits = sum(map(str.isdigit, number))
        if not 7 <= digits <= 15 or _is_date(number):
            continue
        if number.startswith(("+", "(+", "00")):
            if _is_phone(number.replace("00", "+", 1) if number.startswith("00") else number, None):
                return True
        elif re.fullmatch(r"(?:1[-. ]?)?(?:\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}[-.]\d{3}[-.]\d{4})", number):
            if _is_phone(number, "US"):
                return True
        elif _said_before(_SAYS_PHONE, text, match) and any(_is_phone(number, region) for region in _REGIONS):
            return True
    return False


def _is_date(number: str) -> bool:
    return bool(
        re.fullmatch(r"\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?: .*)?|\d{4}[./-]\d{1,2}[./-]\d{1,2}(?: .*)?", number)
    )


def _is_phone(number: str, region: str | None) -> bool:
    phonenumbers: Any = importlib.import_module("phonenumbers")
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(number, region)))
    except phonenumbers.NumberParseException:
        return False


def _has_address(text: str) -> bool:
    if _WITH_TOWN.search(text) or (not text.isascii() and _IN_OTHER_LETTERS.search(text)):
        return True
    for pattern in (_STREET_BEFORE, _STREET_AFTER):
        for match in _some(pattern, text):
            after = text[match.end() : match.end() + WORD_BEFORE_CHARS]
            in_town = _NAMED_FIRST.match(match[0]) and _TOWN.match(text, match.end())
            if in_town or _POSTCODE.search(after) or _said_before(_SAYS_ADDRESS, text, match):
                return True
    return False


def _said_behind(word: "re.Pattern[str]", text: str, match: "re.Match[str]") -> bool:
    return bool(word.search(text, match.end(), match.end() + WORD_BEHIND_CHARS))


def _said_before(word: "re.Pattern[str]", text: str, match: "re.Match[str]") -> bool:
    return bool(word.search(text, max(0, match.start() - WORD_BEFORE_CHARS), match.start()))


_LOOKS: Final[tuple[tuple[str, Callable[[str], bool]], ...]] = (
    ("personal-card", _has_card),
    ("personal-iban", _has_iban),
    ("personal-number", _has_number),
    ("personal-phone", _has_phone),
    ("personal-address", _has_address),
)


def kinds_in(item: RequestWithInteractions) -> frozenset[str]:
    """The kinds of personal data in a request's texts."""
    found: set[str] = set()
    for turn in item.interactions:
        for text in stored_texts(turn):
            stop_if_cancelled(len(text))
            found |= personal_kinds(text)
    return frozenset(found)


class PersonalData(Detector):
    """The rules of `KINDS`: one finding a kind, with how many requests each user has of it."""

    needs = "personal data"

    def request(self, item: RequestWithInteractions) -> None:
        kinds = kinds_in(item)
        for found in self.founds:
            if found.rule.id in kinds:
                found.add(item.request.request_id, item, note=f"of {item.request.user_id}")
