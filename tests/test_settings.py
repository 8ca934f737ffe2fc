"""Configuration: what is read, what wins, and what stops the start."""

import pytest

from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import main
from reflexio_mcp.rest.errors import BadAddress
from reflexio_mcp.settings import LIMITS, OPTIONS, ConfigurationError, Option, Settings, load


def test_nothing_configured_is_the_embedded_store() -> None:
    assert load({}).embedded
    assert load({}) == Settings()


def test_a_key_alone_means_the_hosted_service() -> None:
    settings = load({"REFLEXIO_API_KEY": "k"})
    assert not settings.embedded
    assert settings.base_url == "https://www.reflexio.ai"


def test_a_url_keeps_its_path_and_loses_its_slash() -> None:
    assert (
        load({"REFLEXIO_URL": "http://localhost:8061/reflexio/"}).base_url == "http://localhost:8061/reflexio"
    )


def test_an_empty_variable_is_not_set() -> None:
    assert load({option.env: "" for option in OPTIONS}) == Settings()


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.env)
@pytest.mark.parametrize("blank", [" ", "\t", " \n ", "\u00a0", "\u200b", "\u2060\x07", "\u3164 \ufeff"])
def test_a_blank_value_stops_the_start(option: Option, blank: str) -> None:
    with pytest.raises(ConfigurationError, match="is blank"):
        load({option.env: blank})
    with pytest.raises(ConfigurationError, match="is blank"):
        load({}, {option.name: blank})
    with pytest.raises(ConfigurationError, match="is blank"):
        load({}, {option.name: ""})


@pytest.mark.parametrize(
    "reference",
    [
        "${env:REFLEXIO_API_KEY}", "${REFLEXIO_API_KEY:-}", "$REFLEXIO_API_KEY", "{env:REFLEXIO_API_KEY}",
        "${{ secrets.REFLEXIO_API_KEY }}", "${input:reflexio-api-key}", "${user_config.user_id}", "%REFLEXIO_API_KEY%",
    ],
)  # fmt: skip
def test_a_reference_that_a_client_did_not_fill_in_stops_the_start(reference: str) -> None:
    for option in OPTIONS:
        with pytest.raises(ConfigurationError, match="holds a reference") as refused:
            load({option.env: reference})
        assert option.env in str(refused.value)


@pytest.mark.parametrize("value", ["$ecret", "{env}", "a${b}", "100%", "$", "50% of %x"])
def test_what_only_resembles_a_reference_is_taken_as_it_is(value: str) -> None:
    assert load({"REFLEXIO_API_KEY": value}).api_key == value


@pytest.mark.parametrize(
    "option", [one for one in OPTIONS if "comma" in one.accepts], ids=lambda one: one.env
)
def test_a_list_of_nothing_stops_the_start(option: Option) -> None:
    with pytest.raises(ConfigurationError):
        load({option.env: " , ,"})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("REFLEXIO_MCP_READONLY", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_MCP_TOOL", "REFLEXIO_MCP_TOOLS"),
        ("REFLEXIO_MCP_USER_ID", "REFLEXIO_USER_ID"),
        ("reflexio_mcp_read_only", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_READ_ONLY", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_READONLY", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_CONFIRM", "REFLEXIO_MCP_CONFIRM"),
        ("REFLEXIO_TOOLS", "REFLEXIO_MCP_TOOLS"),
        ("REFLEXIO_DELETE_CAP", "REFLEXIO_MCP_DELETE_CAP"),
        ("REFLEXIO_AUTH_TOKEN", "REFLEXIO_MCP_AUTH_TOKEN"),
        ("REFLEXIO_USER", "REFLEXIO_USER_ID"),
        ("REFLEXIO_USERID", "REFLEXIO_USER_ID"),
        ("reflexio_user_id", "REFLEXIO_USER_ID"),
        ("REFLEXO_USER_ID", "REFLEXIO_USER_ID"),
        ("REFELXIO_USER_ID", "REFLEXIO_USER_ID"),
        ("RFLEXO_MCP_READ_ONLY", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO-USER-ID", "REFLEXIO_USER_ID"),
    ],
)
def test_an_unknown_variable_stops_the_start_and_is_led_back(wrong: str, right: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({wrong: "1"})
    assert str(refused.value).startswith(f"{wrong} is not a variable of this server")
    assert str(refused.value).endswith(f"Did you mean {right}?")


@pytest.mark.parametrize(
    "wrong", ["REFLEXIO_USER_ID ", " REFLEXIO_MCP_READ_ONLY", "REFLEXIO_MCP_READ_ONLY\u200b"]
)
def test_a_variable_with_blanks_in_its_name_stops_the_start_and_shows_them(wrong: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({wrong: "1"})
    assert ascii(wrong) in str(refused.value)
    assert "Did you mean REFLEXIO_" in str(refused.value)


def test_every_limit_that_is_named_without_its_middle_stops_the_start() -> None:
    for name in LIMITS:
        option = next(one for one in OPTIONS if one.name == name)
        if (wrong := option.env.replace("_MCP", "")) not in ("REFLEXIO_ALLOWED_ORIGINS", option.env):
            with pytest.raises(ConfigurationError, match=f"Did you mean {option.env}"):
                load({wrong: "1"})


def test_what_others_read_or_limits_nothing_does_not_stop_the_start() -> None:
    others = (
        "REFLEXIO_STORAGE",
        "REFLEXIO_LOG_LEVEL",
        "REFLEXIO_ALLOWED_ORIGINS",
        "REFLEXIO_BASE_URL",
        "USER_ID",
    )
    assert load(dict.fromkeys(others, "1") | {"REFLEXIO_READ_ONLY": ""}) == Settings()


def test_an_unknown_variable_that_is_near_none_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="Remove it"):
        load({"REFLEXIO_MCP_QUUX": ""})


@pytest.mark.parametrize(
    "url",
    [
        "rflx-canary-key",
        "jo:canary@host",
        "https://host/?key=canary",
        "https://host?canary",
        "https://host/#canary",
        "http://[::1/canary",
        "http://host:99999/canary",
    ],
)
def test_a_key_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({"REFLEXIO_URL": url})
    assert "canary" not in str(refused.value)


def test_a_flag_wins_over_its_variable() -> None:
    assert load({"REFLEXIO_MCP_CONFIRM": "off"}, {"confirm": "ask"}).confirm == "ask"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REFLEXIO_URL", "localhost:8061"),
        ("REFLEXIO_URL", "https://user:secret@example.com"),
        ("REFLEXIO_URL", "ftp://example.com"),
        ("REFLEXIO_MCP_CONFIRM", "never"),
        ("REFLEXIO_MCP_READ_ONLY", "maybe"),
        ("REFLEXIO_MCP_TIMEOUT", "nan"),
        ("REFLEXIO_MCP_TIMEOUT", "0"),
        ("REFLEXIO_MCP_PORT", "70000"),
        ("REFLEXIO_MCP_SOURCE", "My Source"),
        ("REFLEXIO_MCP_RECOVERY_DAYS", "-1"),
        ("REFLEXIO_MCP_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_one_sentence_naming_the_flag_and_the_variable(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({variable: value})
    text = str(caught.value)
    assert variable in text
    assert "--" in text
    assert text.count("\n") == 0
    assert text.endswith((".", "?"))


def test_a_wrong_value_stops_the_start_with_exit_code_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_MCP_TOOLS", "list_requests,erase_all")
    assert main(["tools"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "name 2 of 2 is no tool's" in said.err
    assert "list_requests" in said.err


def test_secrets_have_no_flag_and_never_show_in_a_representation() -> None:
    settings = load({"REFLEXIO_API_KEY": "canary-key", "REFLEXIO_MCP_AUTH_TOKEN": "canary-token"})
    assert "canary" not in repr(settings)
    assert all(not option.flag for option in OPTIONS if option.secret)


def test_a_key_that_cannot_be_sent_is_refused_without_repeating_it() -> None:
    # A key with a line break cannot be a header.
    settings = load({"REFLEXIO_API_KEY": "canary\nkey"})
    with pytest.raises(BadAddress) as refused:
        open_client(settings)
    assert "REFLEXIO_API_KEY" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_a_url_with_credentials_is_refused_without_repeating_them() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({"REFLEXIO_URL": "http://jo:p4ssw0rd@127.0.0.1:8061"})
    assert "p4ssw0rd" not in str(refused.value)
    assert "without credentials" in str(refused.value)
