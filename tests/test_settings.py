"""Configuration: what is read, what wins, and what stops the start."""

from pathlib import Path

import pytest

from reflexio_mcp.settings import OPTIONS, ConfigurationError, Settings, load, parse_flags

OF = {option.env: option for option in OPTIONS}


def refused(env: dict[str, str], flags: dict[str, str] | None = None) -> str:
    """The one line that stops the start."""
    with pytest.raises(ConfigurationError) as caught:
        load(env, flags)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith((".", "?"))
    return said


LIMITS = {option.env for option in OPTIONS if option.limits}


def test_nothing_configured_is_the_embedded_store() -> None:
    assert load({}) == load(dict.fromkeys(OF.keys() - LIMITS, "")) == Settings()
    assert load({}).embedded


def test_a_key_alone_means_the_hosted_service() -> None:
    settings = load({"REFLEXIO_API_KEY": "k"})
    assert (settings.embedded, settings.base_url) == (False, "https://www.reflexio.ai")


def test_a_flag_wins_over_its_variable() -> None:
    assert load({"REFLEXIO_MCP_CONFIRM": "off"}, {"confirm": "ask"}).confirm == "ask"


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("REFLEXIO_URL", "http://localhost:8061/reflexio/", "http://localhost:8061/reflexio"),
        ("REFLEXIO_API_KEY", "$ecret", "$ecret"),
        ("REFLEXIO_API_KEY", "a${b}", "a${b}"),
        ("REFLEXIO_MCP_READ_ONLY", " Yes ", True),
        ("REFLEXIO_MCP_PERSONAL_DATA", "0", False),
        ("REFLEXIO_MCP_LOG_LEVEL", "debug", "DEBUG"),
        ("REFLEXIO_MCP_TOOLS", "list_requests, get_request", ("list_requests", "get_request")),
        ("REFLEXIO_MCP_AUTH_TOKEN", "ada:one, two,", ("ada:one", "two")),
        ("REFLEXIO_MCP_TIMEOUT", "2.5", 2.5),
        ("REFLEXIO_MCP_STORE", ":memory:", ":memory:"),
        ("REFLEXIO_MCP_OAUTH_ISSUER", "https://id.example/", "https://id.example/"),
    ],
)
def test_a_value_is_read_as_it_is_meant(variable: str, text: str, value: object) -> None:
    assert getattr(load({variable: text}), OF[variable].name) == value


def test_a_blank_value_stops_the_start() -> None:
    for option in OPTIONS:
        for blank in (" ", "\t\n", "\u00a0", "\u200b"):
            assert option.env in refused({option.env: blank})
        assert "is blank" in refused({}, {option.name: ""})


def test_an_empty_variable_that_limits_stops_the_start_and_says_how_to_remove_it() -> None:
    """A shell, a unit or a container has expanded a name that is not set."""
    assert {"REFLEXIO_USER_ID", "REFLEXIO_MCP_STATE"} < LIMITS
    assert {option.env for option in OPTIONS if option.group == "deletion"} < LIMITS
    for name in ("READ_ONLY", "TOOLS", "MASK", "PUBLISH_SECRETS"):
        assert f"REFLEXIO_MCP_{name}" in LIMITS
    for variable in LIMITS:
        said = refused({variable: ""})
        assert f"{variable} is blank" in said
        assert said.endswith(f"remove the flag or the variable (`unset {variable}`).")
    assert load({"REFLEXIO_USER_ID": ""}, {"user_id": "ada"}).user_id == "ada", "a flag takes precedence"


def test_a_reference_that_a_client_did_not_fill_in_stops_the_start() -> None:
    for option in OPTIONS:
        for reference in ("${env:NAME}", "${NAME:-}", "$NAME", "{env:NAME}", "%NAME%"):
            assert f"{option.env} is a reference" in refused({option.env: reference})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REFLEXIO_URL", "localhost:8061"),
        ("REFLEXIO_URL", "http://host:99999"),
        ("REFLEXIO_MCP_CONFIRM", "never"),
        ("REFLEXIO_MCP_READ_ONLY", "maybe"),
        ("REFLEXIO_MCP_TIMEOUT", "nan"),
        ("REFLEXIO_MCP_PORT", "70000"),
        ("REFLEXIO_MCP_SOURCE", "My Source"),
        ("REFLEXIO_MCP_TOOLS", " , ,"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_the_flag_and_the_variable(variable: str, value: str) -> None:
    option = OF[variable]
    assert refused({variable: value}) == f"{option.flag} / {variable} takes {option.kind.accepts}."


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REFLEXIO_URL", "https://jo:canary@host"),
        ("REFLEXIO_URL", "https://host/?key=canary"),
        ("REFLEXIO_URL", "http://[::1/canary"),
        ("REFLEXIO_MCP_CONFIRM", "canary"),
        ("REFLEXIO_MCP_STATE", "mysql://canary"),
        ("REFLEXIO_MCP_STATE_KEYS", "canary"),
        ("REFLEXIO_MCP_AUTH_TOKEN", "ada canary"),
        ("REFLEXIO_MCP_AUTH_TOKEN", "ada:one,,bob canary"),
        ("REFLEXIO_MCP_CANARY_", "canary"),
    ],
)
def test_a_refused_value_is_not_repeated(variable: str, value: str) -> None:
    assert "canary" not in refused({variable: value})


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("REFLEXIO_MCP_READONLY", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_MCP_USER_ID", "REFLEXIO_USER_ID"),
        ("reflexio_mcp_read_only", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_READ_ONLY", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_USER", "REFLEXIO_USER_ID"),
        ("REFLEXIO_USER_ID ", "REFLEXIO_USER_ID"),
    ],
)
def test_a_misspelt_variable_stops_the_start_and_names_the_right_one(wrong: str, right: str) -> None:
    said = f"{wrong!r} is not a variable of this server and would have no effect. Did you mean {right}?"
    assert refused({wrong: "1"}) == said


def test_an_unknown_variable_of_ours_stops_the_start_and_one_of_another_program_does_not() -> None:
    assert refused({"REFLEXIO_MCP_QUUX": "1"}).endswith("Remove it.")
    others = ("REFLEXIO_STORAGE", "REFLEXIO_LOG_LEVEL", "REFLEXIO_LLM_SEED", "USER_ID")
    assert load(dict.fromkeys(others, "1")) == Settings()


def test_replicas_need_keys_for_the_database_that_they_share() -> None:
    state = {"REFLEXIO_MCP_STATE": "postgresql://host/reflexio"}
    assert "REFLEXIO_MCP_STATE_KEYS" in refused(state)
    assert load(state | {"REFLEXIO_MCP_STATE_KEYS": "k" * 32}).state_keys == ("k" * 32,)


def test_secrets_have_no_flag_and_never_show_in_a_representation() -> None:
    secret = {option.name for option in OPTIONS if option.secret}
    assert secret == {"api_key", "auth_token", "oauth_client_secret", "state", "state_keys"}
    assert not any(option.flag or option.shown("canary") for option in OPTIONS if option.secret)
    assert "canary" not in repr(load({"REFLEXIO_API_KEY": "canary", "REFLEXIO_MCP_AUTH_TOKEN": "canary"}))


def test_the_options_among_the_arguments_of_an_entry_are_read() -> None:
    assert parse_flags(["--user-id", "ada", "--read-only", "--other"]) == {"user_id": "ada", "read_only": "1"}


@pytest.mark.parametrize(
    "name", ["state.end", "state.db", "State.DB-wal", "fingerprint.key", "http-token", "installed.json"]
)
def test_a_store_with_the_name_of_another_file_of_the_server_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="REFLEXIO_MCP_STORE has the name of a file"):
        load({"REFLEXIO_MCP_STORE": str(tmp_path / name)})
    (tmp_path / "store.db").symlink_to(tmp_path / name)
    with pytest.raises(ConfigurationError, match="REFLEXIO_MCP_STORE has the name of a file"):
        load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")})
    assert load({"REFLEXIO_MCP_STORE": str(tmp_path / "other.db")}).store
