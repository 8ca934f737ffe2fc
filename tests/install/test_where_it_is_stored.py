"""Where an entry has what is stored: `install` says it, and a key goes to no address that it was not given with."""

from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.backend import default_store
from reflexio_mcp.install.clients import CLIENTS
from reflexio_mcp.settings import HOSTED_URL, load
from tests.install.support import KEY, Home, client_of, entries, variables
from tests.install.test_ownership import holding

OWN = "http://localhost:8061"
OTHER = "https://reflexio.example"
ACCOUNT = {"REFLEXIO_API_KEY": KEY}


def uses(said: str) -> list[str]:
    return [line.removeprefix("It uses: ") for line in said.splitlines() if line.startswith("It uses: ")]


def url_of(home: Home) -> str:
    return variables(entries(client_of(home.client), home.data)["reflexio"]).get("REFLEXIO_URL", "")


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ({"REFLEXIO_URL": f"{OWN}/"}, f"{OWN} (not tried; reflexio-mcp doctor does)"),
        (ACCOUNT, f"{HOSTED_URL} (not tried; reflexio-mcp doctor does)"),
        ({}, "the embedded store, {default}"),
        ({"REFLEXIO_USER_ID": "ada"}, "the embedded store, {default}"),
        ({"REFLEXIO_MCP_STORE": "/data/mine.db"}, "the embedded store, /data/mine.db"),
        ({"REFLEXIO_MCP_STORE": ":memory:"}, "the embedded store, in memory; nothing is kept"),
    ],
)
@pytest.mark.parametrize("client", ["cursor", "codex"])
def test_install_says_where_what_is_stored_goes(
    client: str, typed: dict[str, str], place: str, tmp_path: Path
) -> None:
    home = Home(tmp_path, "linux", client)
    place = place.format(default=default_store())
    assert uses(home.install(typed)[1]) == [place]
    again = place.replace(" (not", ", as before (not")
    assert uses(home.install(typed)[1]) == [again]  # nothing changed
    assert uses(home.install({"REFLEXIO_MCP_TIMEOUT": "9"})[1]) == [again]  # something else did


@pytest.mark.parametrize("client", [one.name for one in CLIENTS])
def test_without_its_key_an_entry_for_an_account_is_not_for_the_embedded_store(
    client: str, tmp_path: Path
) -> None:
    home = Home(tmp_path, "linux", client)
    _, said = home.install(ACCOUNT)
    held = variables(entries(client_of(client), home.data)["reflexio"])
    held.pop("REFLEXIO_API_KEY", None)
    for unset in (held, {**held, "REFLEXIO_API_KEY": ""}):
        assert load(unset).base_url == HOSTED_URL
    filled_in = client in ("claude-desktop", "vscode")  # its file has it, or it asks
    assert ("Where it is not set, every call is refused." in said) is not filled_in


@pytest.mark.parametrize("client", ["cursor", "codex", "claude-desktop", "zed", "opencode"])
def test_a_key_goes_to_no_address_of_an_earlier_install_unasked(
    client: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", client)
    home.install(flags={"url": OWN})
    before = home.text
    for dry_run in (True, False):
        assert home.install(ACCOUNT, dry_run=dry_run)[0] == 1
        said = capsys.readouterr().err
        assert f"uses {OWN} from an earlier install" in said
        assert f"--url {HOSTED_URL} for an account" in said
        assert (home.text, home.backups) == (before, [])
    _, said = home.install(ACCOUNT, flags={"url": OTHER})
    assert uses(said) == [f"{OTHER} (not tried; reflexio-mcp doctor does)"]
    assert url_of(home) == OTHER


@pytest.mark.parametrize("client", ["cursor", "codex", "claude-desktop", "zed", "opencode"])
def test_a_key_of_an_earlier_install_goes_to_no_new_address_unasked(
    client: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", client)
    home.install(ACCOUNT)
    before = home.text
    assert home.install(flags={"url": OWN})[0] == 1
    said = capsys.readouterr().err
    assert f"has a key for {HOSTED_URL}, which would now be sent to {OWN}" in said
    assert KEY not in said
    assert (home.text, home.backups) == (before, [])
    assert home.install(flags={"url": OWN}, replace=True)[0] == 0
    assert (url_of(home), KEY in home.text, "REFLEXIO_API_KEY" in home.text) == (OWN, False, False)


@pytest.mark.parametrize("client", ["cursor", "codex", "claude-desktop", "zed", "opencode"])
def test_a_key_and_an_address_that_were_given_together_stay_together(client: str, tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", client)
    home.install(ACCOUNT, flags={"url": OWN})
    if client == "zed":  # its file has no trace of the key
        return
    for env, flags in ((ACCOUNT, {}), ({}, {"url": OWN}), ({}, {"url": f"{OWN}/"}), ({}, {"user_id": "ada"})):
        code, said = home.install(env, flags=flags)
        assert (code, url_of(home).rstrip("/")) == (0, OWN)
        assert uses(said) == [f"{OWN}, as before (not tried; reflexio-mcp doctor does)"]


def test_a_key_that_no_file_has_is_said_to_be_taken_out_where_the_client_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", "zed")
    home.install(ACCOUNT)
    home.install(flags={"url": OWN})
    said = capsys.readouterr().err
    assert "take REFLEXIO_API_KEY out of where Zed is started and add --replace, or --with-key if" in said
    assert home.install(flags={"url": OWN}, with_key=True)[0] == 0
    assert url_of(home) == OWN


@pytest.mark.parametrize("client", ["claude-desktop", "cursor", "opencode"])
def test_another_key_than_the_one_in_the_file_does_not_go_to_the_address_beside_it(
    client: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {"REFLEXIO_URL": OWN, "REFLEXIO_API_KEY": KEY}
    home = holding(tmp_path, client, {"command": "reflexio-mcp", client_of(client).env_key: env})
    before = home.text
    assert home.install({"REFLEXIO_API_KEY": "rflx-another"})[0] == 1
    said = capsys.readouterr().err
    assert f"uses {OWN} from an earlier install, and it is not clear whether the key is for that" in said
    assert "rflx-another" not in said
    assert KEY not in said
    assert (home.text, home.backups) == (before, [])
    assert home.install(ACCOUNT)[0] == 0  # the same key
    assert home.install({"REFLEXIO_API_KEY": "rflx-another"}, flags={"url": OWN})[0] == 0
    assert url_of(home) == OWN


def test_a_key_in_the_file_stays_where_none_is_set_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", "claude-desktop")
    home.install(ACCOUNT)
    assert home.install(flags={"url": OWN})[0] == 1
    assert f"or --with-key if the key is for {OWN}" in capsys.readouterr().err
    shown = home.install(flags={"url": OWN}, with_key=True, dry_run=True)[1]
    code, said = home.install(flags={"url": OWN}, with_key=True)
    held = variables(entries(client_of("claude-desktop"), home.data)["reflexio"])
    assert (code, held) == (0, {"REFLEXIO_URL": OWN, "REFLEXIO_API_KEY": KEY})
    assert "is not set here" not in said
    assert KEY not in shown + said
    assert home.install(with_key=True)[0] == 0
    assert (url_of(home), KEY in home.text) == (OWN, True)
    assert "replace your-api-key in the file" in home.install(with_key=True, replace=True)[1]


def test_a_key_takes_the_place_of_an_older_one_for_an_account(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "claude-desktop")
    home.install(ACCOUNT)
    assert home.install({"REFLEXIO_API_KEY": "rflx-another"})[0] == 0
    assert (url_of(home), "rflx-another" in home.text, KEY in home.text) == (HOSTED_URL, True, False)


def test_an_address_among_the_entrys_own_arguments_is_not_outdone_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = holding(tmp_path, "cursor", {"command": "reflexio-mcp", "args": ["--url", OWN]})
    before = home.text
    assert home.install(ACCOUNT, flags={"url": OTHER})[0] == 1
    assert f"Cursor's entry has its own --url {OWN}, which comes first" in capsys.readouterr().err
    assert home.install(ACCOUNT)[0] == 1
    assert home.text == before
    assert uses(home.install()[1]) == [f"{OWN}, as before (not tried; reflexio-mcp doctor does)"]


def test_an_address_that_is_a_reference_or_holds_a_secret_is_not_shown(tmp_path: Path) -> None:
    for url in ("${env:MY_REFLEXIO}", "https://jo:s3cr3t@reflexio.example"):
        home = holding(tmp_path, "cursor", {"command": "reflexio-mcp", "env": {"REFLEXIO_URL": url}})
        (place,) = uses(home.install()[1])
        assert place.startswith("the address that REFLEXIO_URL stands for, as before")


def test_one_setting_is_not_spoken_of_as_several(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.install({"REFLEXIO_MCP_TIMEOUT": "9", "REFLEXIO_USER_ID": "ada"})
    said = home.install({"REFLEXIO_USER_ID": "ada"})[1]
    assert "Kept from before: REFLEXIO_MCP_TIMEOUT=9. Add --replace to drop it.\n" in said
    assert "Add --replace to drop them.\n" in home.install()[1]


def stored(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 50_000)
    return path


def test_uninstall_says_where_what_was_stored_still_is(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    folder = default_store().parent

    def said(env: dict[str, str], **options: Any) -> str:
        home.install(env, **options)
        removed = home.uninstall(remote=options.get("remote"))[1]
        return "".join(line for line in removed.splitlines(True) if line.startswith("What was stored"))

    assert said({}) == ""  # nothing was
    stored(default_store())
    rest = "To remove it too, delete that {} after the next step.\n"
    assert said({}) == f"What was stored is still in {folder} (store.db, 49 KB). " + rest.format("folder")
    mine = stored(tmp_path / "mine.db")
    assert said({"REFLEXIO_MCP_STORE": str(mine)}) == (
        f"What was stored is still in {mine} (49 KB). " + rest.format("file")
    )
    assert said({"REFLEXIO_MCP_STORE": ":memory:"}) == ""
    assert said({"REFLEXIO_URL": OWN}) == f"What was stored is still at {OWN}.\n"
    assert said({}, remote=f"{OTHER}/mcp") == f"What was stored is still at {OTHER}/mcp.\n"


def test_a_store_that_another_client_uses_is_not_said_to_be_for_deletion(tmp_path: Path) -> None:
    stored(default_store())
    home, other = Home(tmp_path, "linux", "cursor"), Home(tmp_path, "linux", "codex")
    home.install()
    other.install(name="memory")
    said = home.uninstall()[1]
    assert "(store.db, 49 KB), which Codex CLI uses too.\n" in said
    assert "delete that" not in said
    Home(tmp_path, "linux", "gemini").install()
    home.install()
    assert ", which Codex CLI and Gemini CLI use too.\n" in home.uninstall()[1]
    Home(tmp_path, "linux", "gemini").uninstall()
    home.install()
    other.install({"REFLEXIO_URL": OWN}, name="memory")
    assert "delete that folder" in home.uninstall()[1]


@pytest.mark.parametrize(
    "written", ["{store}", "{folder}/x/../store.db", "{link}/store.db", "{folder}/other.db"]
)
def test_a_store_that_another_client_names_in_other_words_is_not_said_to_be_for_deletion(
    written: str, tmp_path: Path
) -> None:
    store = stored(default_store())
    link = tmp_path / "link"
    link.symlink_to(store.parent)
    home, other = Home(tmp_path, "linux", "cursor"), Home(tmp_path, "linux", "codex")
    home.install()
    other.install({"REFLEXIO_MCP_STORE": written.format(store=store, folder=store.parent, link=link)})
    assert "(store.db, 49 KB), which Codex CLI uses too.\n" in home.uninstall()[1]


def test_a_store_named_in_full_may_be_the_default_one_of_another_client(tmp_path: Path) -> None:
    store = stored(default_store())
    home, other = Home(tmp_path, "linux", "cursor"), Home(tmp_path, "linux", "codex")
    home.install({"REFLEXIO_MCP_STORE": str(store)})
    other.install()
    assert f"is still in {store} (49 KB), which Codex CLI uses too.\n" in home.uninstall()[1]
    home.install({"REFLEXIO_MCP_STORE": str(store)})
    other.install({"REFLEXIO_MCP_STORE": str(tmp_path / "other.db")})
    assert "delete that file" in home.uninstall()[1]
