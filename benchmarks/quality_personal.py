"""Published texts that hold personal data, with labels, that a person fetches. None of it is stored here."""

import ast
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from quality_data import Sample, marked_dialogues

__all__ = ["personal"]

_LABELS = {
    "CREDIT_CARD": "personal-card",
    "IBAN_CODE": "personal-iban",
    "DE_IBAN": "personal-iban",
    "IBAN": "personal-iban",
    "US_SSN": "personal-number",
    "SSN": "personal-number",
    "PHONE_NUMBER": "personal-phone",
    "PHONE": "personal-phone",
    "EMAIL_ADDRESS": "personal-email",
    "EMAIL": "personal-email",
    "STREET_ADDRESS": "personal-address",
    "ADDRESS": "personal-address",
}
"""What the data sets call each kind."""

_RECOGNIZERS = {
    "credit_card": "personal-card",
    "iban": "personal-iban",
    **dict.fromkeys(
        (
            "au_tfn", "ca_sin", "de_tax_id", "es_nie", "es_nif", "fi_personal_identity_code", "in_aadhaar", "in_pan",
            "it_fiscal_code", "kr_rrn", "pl_pesel", "se_personnummer", "th_tnin", "tr_national_id", "uk_nhs", "us_itin",
            "us_ssn", "za_id_number",
        ),
        "personal-number",
    ),
}  # fmt: skip
"""Tests of Presidio about numbers with a check digit or strict form, by the kind of their number."""

_IDENTIFIES_A_PERSON = re.compile(
    r"(?i)person|citizen|resident|social security|identity (?:card|code|number)|national ident|birth"
)
_OF_A_COMPANY = re.compile(
    r"(?i)\b(?:vat|company|companies|business|enterprise|organi[sz]ation|legal|jur[ií]dica|tax number)\b"
)


def personal(folder: Path) -> Iterator[tuple[str, Sample]]:
    """Each rule about personal data with a text and whether it should find something in it."""
    yield from _sentences(folder)
    yield from _recognizers(folder)
    yield from _national(folder)
    yield from _registry(folder)
    yield from _validators(folder)
    yield from _dialogues(folder)


def _of_each(source: str, text: str, labels: set[str]) -> Iterator[tuple[str, Sample]]:
    for rule in sorted(set(_LABELS.values())):
        yield rule, Sample(source, text, rule in labels)


def _sentences(folder: Path) -> Iterator[tuple[str, Sample]]:
    path = folder / "presidio-research/data/synth_dataset_v2.json"
    if path.exists():
        for one in json.loads(path.read_text(encoding="utf-8")):
            labels = {_LABELS.get(span["entity_type"], "") for span in one["spans"]}
            yield from _of_each("presidio-research", one["full_text"], labels)
    for path in sorted(folder.glob("datafog-python/tests/corpus/*.json")):
        for one in json.loads(path.read_text(encoding="utf-8")):
            labels = {_LABELS.get(entity["type"], "") for entity in one["expected_entities"]}
            yield from _of_each("datafog", one["input"], labels)


def _recognizers(folder: Path) -> Iterator[tuple[str, Sample]]:
    for name, rule in _RECOGNIZERS.items():
        path = folder / f"presidio/presidio-analyzer/tests/test_{name}_recognizer.py"
        if not path.exists():
            continue
        for text, count in _cases(path):
            words = re.findall(r"[^\W\d_]{3,}", text)
            told = "a number in a sentence" if len(words) > 1 else "a number alone"
            yield rule, Sample(f"presidio, {told}", text, count > 0)


def _cases(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "parametrize"):
            continue
        for case in getattr(node.args[1] if len(node.args) > 1 else None, "elts", []):
            with suppress(ValueError, IndexError):
                # What stands behind may be no literal: a score, a name.
                text, count = (ast.literal_eval(one) for one in case.elts[:2])
                if isinstance(text, str) and isinstance(count, int) and text:
                    yield text, count


def _national(folder: Path) -> Iterator[tuple[str, Sample]]:
    """Numbers that python-stdnum's own pages and tests give, behind the name that it gives them."""
    for path in sorted(folder.glob("python-stdnum/stdnum/*/*.py")):
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        name, _, about = said.partition("\n\n")
        about = about.split(">>>")[0]
        if _OF_A_COMPANY.search(name) or not _IDENTIFIES_A_PERSON.search(name):
            continue
        module = f"{path.parent.name}.{path.stem}"
        tests = folder / f"python-stdnum/tests/test_{path.parent.name.strip('_')}_{path.stem}.doctest"
        texts = said + (tests.read_text(encoding="utf-8") if tests.exists() else "")
        given = re.compile(r">>> (?:\w+\.)?validate\(u?'([^']+)'\)\n(Traceback|\S)")
        for number, outcome in given.findall(texts):
            yield "personal-number", _named(name, number, outcome != "Traceback", module)
        for block in re.findall(r"numbers = '''(.*?)'''", texts, re.DOTALL):
            for number in filter(None, (line.removeprefix("...").strip() for line in block.splitlines())):
                yield "personal-number", _named(name, number, True, module)


def _named(name: str, number: str, wanted: bool, module: str) -> Sample:
    return Sample(
        "python-stdnum's numbers behind their names",
        f"{name.rstrip('.')}: {number}",
        wanted,
        drawn_by=f"{module} {number}",
    )


def _registry(folder: Path) -> Iterator[tuple[str, Sample]]:
    path = folder / "php-iban/registry.txt"
    if not path.exists():
        return
    head, *rows = (line.split("|") for line in path.read_text(encoding="utf-8").splitlines() if line)
    place, official = head.index("iban_example"), head.index("swift_official")
    for row in rows:
        iban = row[place]
        if iban and row[official] == "1":
            grouped = " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))
            wrong = iban[:2] + f"{(int(iban[2:4]) + 1) % 100:02}" + iban[4:]
            yield "personal-iban", Sample("registry of IBANs", iban, True)
            yield "personal-iban", Sample("registry of IBANs", grouped, True, drawn_by=iban)
            yield "personal-iban", Sample("registry of IBANs", wrong, False)


def _validators(folder: Path) -> Iterator[tuple[str, Sample]]:
    path = folder / "validator.js/test/validators.test.js"
    if not path.exists():
        return
    source = path.read_text(encoding="utf-8")
    for validator, rule in (("isCreditCard", "personal-card"), ("isIBAN", "personal-iban")):
        for begin in re.finditer(rf"validator: '{validator}',", source):
            block = source[begin.end() : source.find("test({", begin.end())]
            if "args:" in block.split("valid:")[0]:
                continue  # one company or country only: the others are wrong there alone
            for key in ("valid", "invalid"):
                if listed := re.search(rf"\b{key}: \[(.*?)\]", block, re.DOTALL):
                    for text in re.findall(r"'([^'\n]*)'", listed[1]):
                        if text.strip():
                            yield rule, Sample("validator.js", text, key == "valid")


def _dialogues(folder: Path) -> Iterator[tuple[str, Sample]]:
    """Turns of a public dialogue set, whose phone numbers and street addresses are marked."""
    slots = {
        "phone_number": "personal-phone",
        "street_address": "personal-address",
        "address": "personal-address",
    }
    for dialogue in marked_dialogues(folder):
        for turn in dialogue["turns"]:
            marked: set[Any] = {
                slots.get(slot["slot"]) for frame in turn["frames"] for slot in frame["slots"]
            }
            for rule in sorted(set(_LABELS.values())):
                yield rule, Sample("dialogues", turn["utterance"], rule in marked)
