"""`reflexio-mcp install` and `uninstall`: what they do and what they say."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, Final, TextIO, cast
from urllib.parse import urlsplit

from reflexio_mcp.install.clients import BEARER, CLIENTS, KEY, Client, find_client, found_clients
from reflexio_mcp.install.entry import (
    NAME,
    InstallSpec,
    entries,
    entry,
    present,
    prompt,
    with_entry,
    without_entry,
)
from reflexio_mcp.install.errors import ForeignError, InstallError, MalformedError, NotFoundError
from reflexio_mcp.install.files import Original, backups, difference, locked, read, replace
from reflexio_mcp.install.launch import Launch, as_called, find_launch, joined
from reflexio_mcp.install.layout import Layout
from reflexio_mcp.install.ownership import Place, foreign, hidden, is_remote, kept, place_of, variables_of
from reflexio_mcp.settings import HOSTED_URL, OPTIONS, ConfigurationError, did_you_mean, load
from reflexio_mcp.traffic.rules.secret_heuristics import keys_in

__all__ = ["Request", "find_file", "run_install", "run_uninstall", "snippet"]

_PLACEHOLDER = "your-api-key"
_BEARER_PLACEHOLDER = "your-token"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_EXAMPLE: Final = "https://memory.example/mcp"
_ASK = "Then ask it: What have you stored about me today?\n"


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed.

    Args:
        client: the client's name; may be empty with `show`.
        flags: option name to text, as given on the command line.
        name: of the entry.
        dry_run: show the difference and write nothing.
        show: print the entry and write nothing.
        create: write the file even where the client was not found.
        with_key: refer to the key even though it is not set here.
        replace: write the entry anew, whatever has its name.
        remote: the address of a shared server, which the entry names instead of a command.
    """

    client: str = ""
    flags: Mapping[str, str] | None = None
    name: str = NAME
    dry_run: bool = False
    show: bool = False
    create: bool = False
    with_key: bool = False
    replace: bool = False
    remote: str | None = None


def run_install(
    request: Request,
    *,
    layout: Layout | None = None,
    env: Mapping[str, str] | None = None,
    launch: Launch | None = None,
    out: TextIO | None = None,
) -> int:
    """Put the server into a client's configuration.

    Args:
        request: what was typed.
        layout, env, launch, out: this machine's, this process's, this installation's and stdout when `None`.

    Returns:
        0 when the entry is there (or was shown), 1 when it could not be put there.

    Raises:
        ConfigurationError: a client that is not known, or a value that the server would refuse.
    """
    return _told(lambda: _installed(request, layout, os.environ if env is None else env, launch), out)


def _told(work: Callable[[], str], out: TextIO | None) -> int:
    try:
        (out or sys.stdout).write(work())
    except InstallError as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 1
    return 0


def _installed(request: Request, layout: Layout | None, env: Mapping[str, str], launch: Launch | None) -> str:
    if not request.client and not request.show:
        return _listed(layout or Layout.here(), request.name)
    client = _client(request)
    spec = _spec(request, env, launch) if request.remote is None else _remote_spec(request, env)
    if client is not None and spec.remote and not client.url_key:
        raise InstallError(client.elsewhere.format(spec.remote))
    if request.show or client is None:
        return snippet(client, spec)
    with _opened(find_file(client, layout or Layout.here(), create=request.create)) as original:
        return _install(client, spec, original, dry_run=request.dry_run)


def _install(client: Client, spec: InstallSpec, original: Original, *, dry_run: bool) -> str:
    path, old = original.path, present(client, original.text, spec.name)
    before = place_of(client, None if spec.replace else old)
    typed = spec.env.get("REFLEXIO_URL", "")
    if client.key == "file" and spec.key == _PLACEHOLDER and not spec.replace:
        spec = replaced(spec, key=next(iter(_keys(client, old)), _PLACEHOLDER))
    together = before.key and _has_key(client, old, spec.key)
    if together and spec.with_key and not typed:
        spec = replaced(spec, env={**spec.env, "REFLEXIO_URL": before.url})
    changed = _edited(
        original,
        lambda text: with_entry(client, text, spec),
        f"{client.title} already has a different server named {spec.name}, {{}}. It was left alone. Choose another "
        f"name with --name, or add --replace to put this one in its place ({path}).",
    )
    after = place_of(client, present(client, changed, spec.name))
    if not spec.remote:
        _keep_apart(client, spec, before, after, typed.rstrip("/"), path, together=together)
    stays = _about_earlier(kept(client, old, entry(client, spec)), dropped=spec.replace)
    if changed == original.text:
        uses = "" if spec.remote else f"{_uses(before, after)}\n"
        return f"{client.title} already has {spec.name}, and nothing needs to change: {path}\n{uses}{stays}"
    if dry_run:
        shown = _difference(client, original, changed, old, spec)
        return f"{shown}\n{stays}Nothing was written (--dry-run).\n"
    backup = replace(original, changed, private=spec.with_key and client.key == "file")
    did = "Replaced" if old is not None and spec.replace else "Added" if old is None else "Updated"
    lines = [f"{did} {spec.name} {'to' if old is None else 'in'} {client.title}: {path}"]
    if backup:
        lines.append(f"Backup of the file as it was: {backup}")
    ask = _ASK if old is None else ""
    if spec.remote:
        lines += [f"It connects to: {spec.remote} (not tried)", _about_token(client, spec)]
        return "\n".join(lines) + f"\n{stays}Next: {client.restart}\n{ask}"
    lines.append(f"It runs: {' '.join([spec.launch.command, *spec.launch.args])}")
    lines.append(_uses(before, after))
    if spec.with_key:
        missing = client.key in ("reference", "forward", "inherit") and after.url == HOSTED_URL
        without = " Where it is not set, every call is refused." if missing else ""
        lines.append(f"Key: {client.note}{without}")
        if client.key == "file" and spec.key == _PLACEHOLDER:
            lines.append(f"{KEY} is not set here: replace {_PLACEHOLDER} in the file with your key.")
    return "\n".join(lines) + f"\n{stays}{_key_in_backups(client, path, old)}Next: {client.restart}\n{ask}"


def _keep_apart(
    client: Client, spec: InstallSpec, before: Place, after: Place, typed: str, path: Path, *, together: bool
) -> None:
    """Refuse what would send a key to an address that it was not given with.

    Args:
        before, after: where the entry had what is stored, and where it would have it.
        typed: the address that was given now; may be empty.
        together: the older address was given with the key that is installed, as far as the file tells.
    """
    if typed and after.url != typed:
        raise InstallError(
            f"{client.title}'s entry has its own --url {after.shown}, which comes first. Nothing was changed: take it "
            f"out of {path}, or add --replace to write the entry anew."
        )
    if spec.with_key and not typed and not together and before.url not in ("", HOSTED_URL):
        raise InstallError(
            f"{client.title} uses {before.shown} from an earlier install, and it is not clear whether the key is for "
            f"that. Nothing was changed: add --url {HOSTED_URL} for an account at Reflexio, or the address that the "
            "key is for."
        )
    if before.key and not spec.with_key and before.url != after.url:
        without = (
            f"take {KEY} out of where {client.title} is started and add --replace"
            if client.key == "inherit"
            else "add --replace to write the entry anew without it"
        )
        raise InstallError(
            f"{client.title} has a key for {before.shown}, which would now be sent to {after.shown}. Nothing was "
            f"changed: {without}, or --with-key if the key is for {after.shown}."
        )


def _uses(before: Place, after: Place) -> str:
    """One line on where the entry has what is stored."""
    if after.url:
        same = before.url == after.url
        return f"It uses: {after.shown}{', as before' if same else ''} (not tried; {as_called()} doctor does)"
    if after.store == ":memory:":
        return "It uses: the embedded store, in memory; nothing is kept"
    from reflexio_mcp.backend import default_store

    return f"It uses: the embedded store, {after.store or default_store()}"


def _about_token(client: Client, spec: InstallSpec) -> str:
    if not spec.with_key:
        return (
            f"Token: none, which is right where people sign in. For a bearer token set {BEARER}, "
            "or add --with-key, and run this again."
        )
    if client.key == "prompt":
        return f"Token: {client.title} asks for it once and keeps it in its secret storage."
    if client.key == "forward" or client.token_reference:
        return (
            f"Token: the file holds a reference; set {BEARER}, to one token, where {client.title} is started."
        )
    return (
        f"Token: {client.title} takes it from its file alone, and it was not written there. Sign in instead, or add "
        '"headers": {"Authorization": "Bearer ..."} to the entry by hand.'
    )


def run_uninstall(request: Request, *, layout: Layout | None = None, out: TextIO | None = None) -> int:
    """Take the server out of a client's configuration.

    Returns:
        0 when the entry is not there any more, 1 when it could not be taken out.

    Raises:
        ConfigurationError: a client that is not known.
    """
    return _told(lambda: _uninstalled(request, layout or Layout.here()), out)


def _uninstalled(request: Request, layout: Layout) -> str:
    client = _client(request)
    if client is None:
        return _having(layout, request.name)
    said = ""
    for path in client.paths(layout):
        with _opened(path) as original:
            said += _uninstall(client, request, original, layout)
    return said or f"{client.title} has no server named {request.name}: there is nothing to remove.\n"


def _uninstall(client: Client, request: Request, original: Original, layout: Layout) -> str:
    if original.data is None:
        return ""
    path, remote = original.path, "" if request.remote is None else _address(request.remote)
    old = present(client, original.text, request.name)
    command, address = _removal(client, request.name, old)
    named = f"The entry {request.name} in {client.title}"
    changed = _edited(
        original,
        lambda text: without_entry(client, text, request.name, remote),
        f"{named} is {f'a server at {address}' if address else 'a server that the client starts'}. "
        f"Nothing was changed. To take it out: {command}"
        if command
        else f"{named} is {{}}. It is none that install writes, so it was left alone: take it out of {path} by hand if "
        "you mean it.",
    )
    if changed == original.text:
        return ""
    if request.dry_run:
        return (
            _difference(client, original, changed, old, remote=remote)
            + "\nNothing was written (--dry-run).\n"
        )
    backup = replace(original, changed)
    left = "" if entries(client, changed) else ", which now names no server"
    older = len(backups(path)) - 1
    others = f" (besides {older} older {'one' if older == 1 else 'ones'})" if older else ""
    return (
        f"Removed {request.name} from {path}{left}\nBackup of the file as it was: {backup}{others}\n"
        f"{_key_in_backups(client, path, old)}{_what_stays(place_of(client, old), address, layout)}"
        f"Next: {client.restart}\n"
    )


def _what_stays(place: Place, address: str, layout: Layout) -> str:
    """Where what was stored is still, and how to remove it where that is up to this person."""
    if address or place.url:
        return f"What was stored is still at {address or place.shown}.\n"
    store = _store_file(place)
    if not store.is_file():
        return ""
    size = f"{max(1, round(store.stat().st_size / 1024)):,} KB"
    where = f"{store} ({size})" if place.store else f"{store.parent} ({store.name}, {size})"
    going = store if place.store else store.parent
    users = [client.title for client in CLIENTS if _uses_store(client, layout, going)]
    if users:
        use = "use" if len(users) > 1 else "uses"
        return f"What was stored is still in {where}, which {' and '.join(users)} {use} too.\n"
    what = "file" if place.store else "folder"
    return f"What was stored is still in {where}. To remove it too, delete that {what} after the next step.\n"


def _uses_store(client: Client, layout: Layout, going: Path) -> bool:
    """Whether a client has an entry, under any name, whose embedded store is this file or in this folder."""
    for held in _servers(client, layout).values():
        if _is_ours(client, held):
            other = place_of(client, held)
            on_disk = not other.url and other.store != ":memory:"
            if on_disk and _real(_store_file(other)).is_relative_to(_real(going)):
                return True
    return False


def _store_file(place: Place) -> Path:
    """The file of an entry's embedded store."""
    from reflexio_mcp.backend import default_store

    # Unlike the method of `Path`, it takes the name of a user who does not exist.
    return Path(os.path.expanduser(place.store)) if place.store else default_store()  # noqa: PTH111


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _removal(client: Client, name: str, entry: object) -> tuple[str, str]:
    """The command that takes an entry out, and the address of the shared server that the entry is for.

    Both are empty for what `uninstall` does not take out, and for an address that may hold a secret.
    """
    address = ""
    if is_remote(entry):
        text = str(cast("dict[str, Any]", entry).get(client.url_key, ""))
        with contextlib.suppress(ConfigurationError):
            address = text if _address(text) == text and not keys_in(text) else ""
    if foreign(client, entry, address):
        return "", ""
    named = "" if name == NAME else f" --name {joined([name])}"
    return f"{as_called()} uninstall {client.name}{named}{f' --remote {address}' if address else ''}", address


def find_file(client: Client, layout: Layout, *, create: bool = False) -> Path:
    """The file to edit: the first that exists, else the first whose folder does.

    Raises:
        NotFoundError: the client has no folder here, and `create` was not asked for.
    """
    candidates = client.paths(layout)
    found = [path for path in candidates if os.path.lexists(path)]
    found += [path for path in candidates if client.is_here(path, layout) or path.parent.is_dir()]
    if found or create:
        return (found or candidates)[0]
    places = " or ".join(str(path) for path in candidates)
    raise NotFoundError(
        f"{client.title} was not found: there is no {places}. Start it once and run this again, "
        "or add --create to write the file anyway."
    )


def snippet(client: Client | None, spec: InstallSpec) -> str:
    """The entry as text to paste: in a client's own form, or in the one that most clients share."""
    if client is not None and client.format == "toml":
        return with_entry(client, "", spec)
    generic = client or Client("any", "any client", lambda _: [], "", "", key="file")
    if spec.with_key and (generic.key == "file" or (spec.remote and not generic.token_reference)):
        spec = replaced(spec, key=_BEARER_PLACEHOLDER if spec.remote else _PLACEHOLDER)
    made: dict[str, Any] = {spec.name: entry(generic, spec)}
    for key in reversed(generic.section):
        made = {key: made}
    if generic.key == "prompt" and spec.with_key:
        made = {"inputs": [prompt(spec)], **made}
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _client(request: Request) -> Client | None:
    if not request.client:
        return None
    client = find_client(request.client)
    if client is None:
        known = [one.name for one in CLIENTS]
        meant = did_you_mean(request.client.lower(), known)
        raise ConfigurationError(
            f"There is no such client{meant or '.'} Known clients: {', '.join(known)}. For any other client, use "
            "install --print."
        )
    return client


def _listed(layout: Layout, name: str) -> str:
    """The clients of this machine, with what each has, and the others that are known."""
    here = found_clients(layout)
    lines = ["Clients found on this machine:"] if here else ["No client was found on this machine."]
    first = ""
    for client in here:
        has = _servers(client, layout).get(name) is not None
        first = first or ("" if has else client.name)
        lines.append(f"  {client.name:16}{client.title:18}{f'has {name}' if has else ''}".rstrip())
    others = [client.name for client in CLIENTS if client not in here]
    about = "Others that install knows" if here else "Clients that install knows"
    lines += [f"{about}: {', '.join(others)}."] if others else []
    command = as_called()
    lines.append(f"For any other client: {command} install --print")
    lines.append(
        f"Next: start your client once and run this again, or: {command} install cursor --create"
        if not here
        else f"Next: {command} install {first}"
        if first
        else f"Next: {command} doctor"
    )
    return "\n".join(lines) + "\n"


def _having(layout: Layout, name: str) -> str:
    """The clients that have the entry, and the command that takes it out of the first of which it can be taken."""
    rows: list[str] = []
    first = ""
    for client in CLIENTS:
        for named, held in _servers(client, layout).items():
            # Of another name only what is ours beyond doubt: any server at a URL may be somebody else's.
            ours = _is_ours(client, held)
            if not named.isprintable() or (named != name and not (ours and name == NAME)):
                continue
            command, address = _removal(client, named, held)
            first = first or command
            about = [f"as {named[:60]}"] if named != name else []
            about += [address] if address else [] if command else ["none that install writes"]
            rows.append(f"  {client.name:16}{client.title:20}{', '.join(about)}".rstrip())
    if not rows:
        return f"No client has {name}.\n"
    then = [f"Next: {first}"] if first else []
    return "\n".join([f"Clients that have {name if name != NAME else 'this server'}:", *rows, *then]) + "\n"


def _is_ours(client: Client, held: object) -> bool:
    return isinstance(held, dict) and "command" in held and not foreign(client, cast("object", held))


def _servers(client: Client, layout: Layout) -> dict[str, object]:
    """All servers in a client's files, by name; of two of one name the one in the better file."""
    found: dict[str, object] = {}
    for path in client.paths(layout):
        with contextlib.suppress(InstallError):
            found = entries(client, read(path).text) | found
    return found


def _spec(request: Request, env: Mapping[str, str], launch: Launch | None) -> InstallSpec:
    """What the server needs of this configuration, as its variables."""
    flags = dict(request.flags or {})
    settings = load(env, flags)
    wanted: dict[str, str] = {}
    for option in OPTIONS:
        if option.group == "http" or option.secret:
            continue
        text = flags.get(option.name, env.get(option.env, "")).strip()
        # A switch that is as it would be anyway needs no variable; a number that is 0 does.
        if text and not (option.is_switch and option.parse(text) == option.is_on):
            if option.is_path and text != ":memory:":
                text = str(Path(text).expanduser().absolute())  # the same from any working folder
            wanted[option.env] = text
    return InstallSpec(
        launch or find_launch(env=env),
        env=wanted,
        with_key=request.with_key or bool(settings.api_key),
        key=settings.api_key or _PLACEHOLDER,
        name=request.name,
        replace=request.replace,
    )


def _remote_spec(request: Request, env: Mapping[str, str]) -> InstallSpec:
    """An entry for a shared server. What that server does is decided where it runs."""
    if request.flags:
        named = [option.flag for option in OPTIONS if option.name in request.flags]
        raise ConfigurationError(
            f"--remote goes with no {' and no '.join(named)}: that is set where the shared server runs."
        )
    return InstallSpec(
        Launch(""),
        with_key=request.with_key or bool(env.get(BEARER, "").strip()),
        name=request.name,
        replace=request.replace,
        remote=_address(request.remote or ""),
    )


def _address(text: str) -> str:
    """The address of a shared server, as clients take it. A refusal does not repeat it: it may hold a password."""
    try:
        parts = urlsplit(text.strip())
        local = parts.hostname in _LOOPBACK
        good = (
            bool(parts.hostname)
            and parts.port != 0
            and not ("@" in parts.netloc or parts.query or parts.fragment)
        )
    except ValueError:
        good = local = False
        parts = urlsplit("")
    if not good or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise ConfigurationError(
            f"--remote takes the https address at which clients reach the server, as in {_EXAMPLE}; "
            "http is accepted for this machine alone."
        )
    path = parts.path.rstrip("/")
    if path.endswith("/sse"):
        raise ConfigurationError(f"--remote takes the address that ends with /mcp, as in {_EXAMPLE}.")
    return f"{parts.scheme}://{parts.netloc}{path or '/mcp'}"


def _edited(original: Original, edit: Callable[[str], str], taken: str) -> str:
    try:
        return edit(original.text)
    except ForeignError as error:
        raise InstallError(taken.format(error)) from None


@contextlib.contextmanager
def _opened(path: Path) -> Generator[Original]:
    """A client's file, which no other process edits meanwhile, and which is left alone where it is malformed."""
    with locked(path):
        original = read(path)
        try:
            yield original
        except MalformedError as error:
            raise InstallError(
                f"{original.path} was left alone, because {error}. Correct it and run this again."
            ) from None


def _about_earlier(settings: list[str], *, dropped: bool) -> str:
    """What is said about settings of an earlier installation, which a replacement leaves out."""
    if not settings:
        return ""
    if dropped:
        return f"Dropped with the old entry: {', '.join(settings)}.\n"
    them = "it" if len(settings) == 1 else "them"
    return f"Kept from before: {', '.join(settings)}. Add --replace to drop {them}.\n"


def _difference(
    client: Client,
    original: Original,
    changed: str,
    old: object,
    spec: InstallSpec | None = None,
    remote: str = "",
) -> str:
    """The change, with names and our own entries readable and everything else masked."""
    remote = spec.remote if spec else remote
    known = None if foreign(client, old) and foreign(client, old, remote) else old
    shown: list[object] = [*client.section, "inputs", known]
    secret = hidden(client, old)
    if spec:
        new = entry(client, spec)
        shown += [spec.name, new, prompt(spec)]
        secret |= hidden(client, new) | {spec.key}
    return difference(original, changed, shown=shown, hidden=secret)


def _keys(client: Client, old: object) -> set[str]:
    """The key in an entry, where it is the key itself and no reference."""
    key = variables_of(client, old).get(KEY)
    return {key} if isinstance(key, str) and key and not key.startswith(("$", "{")) else set()


def _has_key(client: Client, old: object, key: str) -> bool:
    """Whether an entry has this key, or a reference that may stand for it."""
    return key in (_keys(client, old) or ([] if client.key == "file" else [key]))


def _key_in_backups(client: Client, path: Path, old: object) -> str:
    """One sentence for the backups in which the key of the old entry still stands."""
    keys = _keys(client, old)
    found = [copy for copy in backups(path) if any(key.encode() in copy.read_bytes() for key in keys)]
    if not found:
        return ""
    where, it = f"{len(found)} backups beside the file", "them"
    if len(found) == 1:
        where, it = found[0].name, "that backup"
    return f"The key still stands in {where}: delete {it} when everything works.\n"
