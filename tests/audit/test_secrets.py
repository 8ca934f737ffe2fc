"""Secrets are found by their format, beside a name and in a sentence; look-alikes are not."""

import time

import pytest

from benchmarks.scanning import HOSTILE
from reflexio_mcp.traffic.audit.rules import RULES, findings_in, secrets, select
from reflexio_mcp.traffic.audit.rules.redaction import redact, redact_interactions, without_key
from reflexio_mcp.traffic.audit.rules.secrets import find_secrets
from tests.audit.stored import GITHUB_TOKEN, request


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"use {GITHUB_TOKEN} for it", GITHUB_TOKEN),
        (f"钥匙在这里：{GITHUB_TOKEN} 谢谢", GITHUB_TOKEN),
        ("JIRA_API_TOKEN=f7Kq2pLx9Zr4TbWm8Yc1", "f7Kq2pLx9Zr4TbWm8Yc1"),
        ('setx "DB_PASSWORD" "h8#Kq2pLx9"', "h8#Kq2pLx9"),
        ("mysql -u root -pTr33house!9 shop", "Tr33house!9"),
        ("postgres://app:s3cr3tW0rd@db.internal:5432/shop", "s3cr3tW0rd"),
        ("My wifi password is Sonnenblume42, remember it.", "Sonnenblume42"),
        ("Das Kennwort für den Laptop lautet Tr3ppenhaus", "Tr3ppenhaus"),
        ("La contraseña del wifi es Girasol_2024", "Girasol_2024"),
        ("我的密码是abc_Panda77", "abc_Panda77"),
        ("The door code is 7719#", "7719"),
        ("my PIN is 4827, do not tell", "4827"),
        ("The password is Tulip7Moon!", "Tulip7Moon!"),
        ("PASSWORD=Sommer2024!", "Sommer2024!"),
        (
            "<secret>{jenkins AQAAABAAA siybmtkgho9nsgjhng5yhp92wnir2a9t}</secret>",
            "siybmtkgho9nsgjhng5yhp92wnir2a9t",
        ),
        ("curl -u deploy:yqDVtkqPECriaLRi https://ci.internal", "yqDVtkqPECriaLRi"),
        ("The PIN for the garage at my mother's is 6604.", "6604"),
        (
            "post to https://flow.tines.com/webhook/4j55coiuyiladq9ydaoo4oan89u56vkm/u37txygi11dou8u2ttwe4rl63ax4lnw9",
            "https://flow.tines.com/webhook/4j55coiuyiladq9ydaoo4oan89u56vkm/u37txygi11dou8u2ttwe4rl63ax4lnw9",
        ),
        ("वाईफाई का पासवर्ड Suraj@2024 है", "Suraj@2024"),
    ],
)
def test_a_secret_is_found_where_it_stands(text: str, secret: str) -> None:
    assert [text[one.start : one.end] for one in find_secrets(text) if one.probable] == [secret]
    assert secret not in redact(text)


@pytest.mark.parametrize("word", ["hunter2-XYZ9", "Winter-2024", "Secret-99", "Tr0ub4dor-and-3"])
def test_a_word_with_a_number_behind_a_hyphen_is_redacted_after_any_name_of_a_password(word: str) -> None:
    for before in ("password=", "DB_PASSWORD=", "the password is ", "password: "):
        assert word not in redact(f"{before}{word}")


@pytest.mark.parametrize(
    "text",
    [
        "uses: aws-actions/configure-aws-credentials@8c3f20df09ac63af7b3ae3d7c91f105f857d8497",
        "fn get(key: &Key, _: &Metadata<'_>) -> Option<Token>",
        "debug1: KeyExchange:curve25519-sha256",
        '"js-tiktoken": ["js-tiktoken@1.0.21", "", {}, "sha512-abc"]',
        "_keywords=LAN-B04746",
        'args: ["-port=8080"]',
        "password = os.environ['DB_PASSWORD']",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "Set your_api_key in the file, e.g. API_KEY=xxxxxxxxxxxx",
        "I forgot my password, how do I reset it?",
        "The password is required and must be at least 8 characters.",
        "my task_1 is sk_ip and my PIN is wrong",
        "Apps.tool() owns it; pass resource_uri=/visibility= instead",
        "github.com/pmezard/go-difflib v1.0.0 h1:4DBwDE0NGyQoBHbLQYPwSUPoCMWR5BEzIk/f1lZbAQM=",
    ],
)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert not [one for one in find_secrets(text) if one.probable]


@pytest.mark.parametrize(
    "text",
    [
        "postgres://user:password@localhost/shop",  # a placeholder in an address
        '{"password": "swordfish"}',  # a plain word
        '{"password": "hunter22"}',  # a plain word and digits
        'The default password is "centipede".',  # a plain word in quotes
        '{"token": "mlm9iqkm"}',  # too short to look generated
        "ada:$apr1$FaPYZHMz$jYiw5.ExmVKeLbjex5Jvr34uA/",  # a password as a file of users holds it
        "aio_cQD77DF9SgsYbgWcxJbpLOlR5emX",  # random, and no name says what it is
    ],
)
def test_what_may_be_an_example_is_possible_and_not_probable(text: str) -> None:
    item = request("r", text)
    assert select("possible-secret", [item]) == [item]
    assert not select("probable-secret", [item])


def test_a_bare_answer_to_a_question_for_a_password_is_covered() -> None:
    item = request("r", "Sonnenblume", roles=["User"])
    asked = request("q", "What is your wifi password?", "sunflower", roles=["Assistant", "User"])
    assert redact_interactions(item.interactions)[0].content == "Sonnenblume"
    assert redact_interactions(asked.interactions)[1].content == "[redacted: password]"
    assert select("probable-secret", [asked]) == [asked]


def test_what_a_tool_was_given_is_judged_beside_its_name() -> None:
    item = request("r", "ok")
    interaction = item.interactions[0].model_copy(
        update={
            "tools_used": [{"tool_name": "login", "tool_data": {"password": "h8#Kq2pLx9", "user": "ada"}}]
        }
    )
    (covered,) = redact_interactions([interaction])
    assert covered.tools_used[0]["tool_data"] == {"password": "[redacted: password]", "user": "ada"}


def test_an_id_that_is_a_key_is_not_shown() -> None:
    assert without_key(GITHUB_TOKEN) == "[redacted: github-pat]"
    assert without_key("chat-7f3a") == "chat-7f3a"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_audit_of_a_hostile_text_takes_no_longer_than_of_others(text: str) -> None:
    find_secrets(GITHUB_TOKEN)  # loads the scanner
    assert _audit_seconds(text) < 2.5  # half a second on an idle machine


@pytest.mark.ci
def test_a_text_full_of_passwords_costs_a_few_times_what_the_same_length_of_plain_text_costs() -> None:
    find_secrets(GITHUB_TOKEN)
    plain = min(
        _audit_seconds("The train to Lisbon leaves at 7 from platform 12. " * 2_000) for _ in range(3)
    )
    worst = max(min(_audit_seconds(text) for _ in range(3)) for text in HOSTILE.values())
    assert worst < 14 * plain


def _audit_seconds(text: str) -> float:
    began = time.process_time()
    findings_in([request("r", text)], RULES)
    return time.process_time() - began


@pytest.mark.ci
def test_the_first_text_with_a_key_takes_about_a_second() -> None:
    from reflexio_mcp.traffic.audit.rules import secrets

    secrets._scanner.cache_clear()  # pyright: ignore[reportPrivateUsage] # as in a new process
    began = time.process_time()
    assert find_secrets(GITHUB_TOKEN)
    assert time.process_time() - began < 4


def test_looking_where_names_begin_finds_what_a_search_of_the_whole_text_finds() -> None:
    between = [" ", "_", "-", "", " = ", ": "]
    names = [word.replace("-", " ") for word in sorted(secrets.PASSWORDS | secrets.CODES)]
    others = [
        "my_key",
        "api key",
        "private.key",
        "AUTHORIZATION",
        "recovery phrase",
        "identified by x",
        "compass",
    ]
    texts = [f"{one}{between[index % 6]}{other} {one}" for other in others for index, one in enumerate(names)]
    for text in [*texts, "\n".join(texts)]:
        low = text.lower()
        whole = [match.span() for match in secrets._NAME.finditer(low)]
        assert [match.span() for match in secrets._names_in(low)] == whole


@pytest.mark.parametrize(
    ("text", "may"),
    [
        (f"see {GITHUB_TOKEN}", True),
        ("-----BEGIN PRIVATE KEY-----", True),
        ("https://hooks.example", True),
        ("a sentence of 16 or more short words, in which no word is long", False),
        ("documentation_of_a_long_name", False),
        ("ключ-ключ-ключ-ключ1", False),
    ],
)
def test_the_scanner_is_needed_for_long_words_with_a_digit(text: str, may: bool) -> None:
    assert secrets.could_be_a_key(text) is may
