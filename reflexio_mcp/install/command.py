"""`reflexio-mcp install` and `uninstall`: what they do and what they say."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, cast

from reflexio_mcp.install.clients import CLIENTS, KEY, Client, find_client
from reflexio_mcp.install.entry import NAME, PROMPT, Wish, entry, present, with_entry, without_entry
from reflexio_mcp.install.errors import ForeignError, InstallError, MalformedError, NotFoundError
from reflexio_mcp.install.files import Original, copies, read, replace
from reflexio_mcp.install.launch import Launch, find_launch
from reflexio_mcp.install.layout import Layout
from reflexio_mcp.install.ownership import foreign, kept
from reflexio_mcp.install.shown import difference
from reflexio_mcp.settings import OPTIONS, load

__all__ = ["Request", "find_file", "run_install", "run_uninstall", "snippet"]


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
    """

    client: str = ""
    flags: Mapping[str, str] | None = None
    name: str = NAME
    dry_run: bool = False
    show: bool = False
    create: bool = False
    with_key: bool = False
    replace: bool = False


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
        layout: where files are; this machine's when `None`.
        env: where the configuration is read from; the process's own when `None`.
        launch: the command to write; this installation's when `None`.
        out: where to write; stdout when `None`.

    Returns:
        0 when the entry is there (or was shown), 1 when it could not be put there.

    Raises:
        ConfigurationError: a value that the server would refuse.
    """
    screen = out or sys.stdout
    env = os.environ if env is None else env
    try:
        client = _client(request)
        wish = _wish(request, env, launch)
        if request.show or client is None:
            screen.write(snippet(client, wish))
            return 0
        found = find_file(client, layout or Layout.here(), create=request.create)
        original = read(found)
        changed = _guarded(
            original,
            lambda text: with_entry(client, text, wish),
            f"{client.title} has another {wish.name}, {{}}, and it was left alone: choose another name with --name, "
            f"or add --replace to put this one in its place ({found}).",
        )
        old = present(client, original.text, wish.name)
        stays = "" if wish.replace else _kept(kept(old, entry(client, wish)))
        if changed == original.text:
            how = ":" if stays else ", just so:"
            screen.write(f"{client.title} already has {wish.name}{how} {found}\n{stays}")
            return 0
        if request.dry_run:
            shown = difference(
                original, changed, ours=_texts(client, wish, old), secrets=_keys(wish.key, old)
            )
            screen.write(f"{shown}\n{stays}Nothing was written (--dry-run).\n")
            return 0
        in_file = wish.with_key and client.key == "file"
        backup = replace(original, changed, private=in_file)
        screen.write(_done(client, wish, found, backup, new=old is None) + stays)
        screen.write(_left_behind(original.path, _keys("", old)))
        screen.write(f"Next: {client.restart}\n")
    except InstallError as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 1
    return 0


def run_uninstall(request: Request, *, layout: Layout | None = None, out: TextIO | None = None) -> int:
    """Take the server out of a client's configuration.

    Returns:
        0 when the entry is not there any more, 1 when it could not be taken out.
    """
    screen = out or sys.stdout
    try:
        client = _client(request)
        if client is None:
            raise InstallError(f"Which client? {_names()}.")
        removed = 0
        for path in client.paths(layout or Layout.here()):
            original = read(path)
            if original.data is None:
                continue
            changed = _guarded(
                original,
                lambda text: without_entry(client, text, request.name),
                f"{client.title} has another {request.name}, {{}}, which install did not write, and it was left "
                f"alone: take it out of {path} by hand if you mean it.",
            )
            if changed == original.text:
                continue
            removed += 1
            old = present(client, original.text, request.name)
            if request.dry_run:
                shown = difference(original, changed, ours=_texts(client, None, old), secrets=_keys("", old))
                screen.write(shown + "\nNothing was written (--dry-run).\n")
                continue
            backup = replace(original, changed)
            screen.write(f"Removed {request.name} from {path}\nBefore it was: {backup}\n")
            screen.write(_left_behind(original.path, _keys("", old)) + f"Next: {client.restart}\n")
        if not removed:
            screen.write(f"{client.title} has no {request.name}: nothing to remove.\n")
    except InstallError as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 1
    return 0


def find_file(client: Client, layout: Layout, *, create: bool = False) -> Path:
    """The file to edit: the first that exists, else the first whose folder does.

    Raises:
        NotFoundError: the client has no folder here, and `create` was not asked for.
    """
    candidates = client.paths(layout)
    for path in candidates:
        if path.exists():
            return path
    for path in candidates:
        if path.parent.is_dir():
            return path
    if create:
        return candidates[0]
    places = " or ".join(str(path) for path in candidates)
    raise NotFoundError(
        f"{client.title} was not found: there is no {places}. Start it once and run this again, "
        "or add --create to write the file anyway."
    )


def snippet(client: Client | None, wish: Wish) -> str:
    """The entry as text to paste: in a client's own form, or in the one that most clients share."""
    if client is not None and client.format == "toml":
        return with_entry(client, "", wish)
    generic = client or Client("any", "any client", lambda _: [], "", "", key="file")
    if generic.key == "file":
        wish = Wish(wish.launch, wish.env, wish.with_key, "your-api-key" if wish.with_key else "", wish.name)
    made: dict[str, Any] = {wish.name: entry(generic, wish)}
    for key in reversed(generic.section):
        made = {key: made}
    if generic.key == "prompt" and wish.with_key:
        made = {"inputs": [PROMPT], **made}
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _names() -> str:
    return "Known clients: " + ", ".join(client.name for client in CLIENTS)


def _client(request: Request) -> Client | None:
    if not request.client:
        if request.show:
            return None
        raise InstallError(f"Which client? {_names()}. For any other, use install --print.")
    client = find_client(request.client)
    if client is None:
        raise InstallError(
            f"There is no client {request.client[:60]!r}. {_names()}. For any other: install --print."
        )
    return client


def _wish(request: Request, env: Mapping[str, str], launch: Launch | None) -> Wish:
    """What the server needs of this configuration, as its variables."""
    flags = dict(request.flags or {})
    settings = load(env, flags)
    wanted: dict[str, str] = {}
    for option in OPTIONS:
        if option.group == "http" or option.secret:
            continue
        text = flags.get(option.name, env.get(option.env, "")).strip()
        # Off is what a switch is without its variable; the nought of a number is a choice.
        if text and not (option.is_switch and not option.parse(text)):
            wanted[option.env] = _lasting(option.name, text)
    return Wish(
        launch or find_launch(env=env),
        env=wanted,
        with_key=request.with_key or bool(settings.api_key),
        key=settings.api_key or "your-api-key",
        name=request.name,
        replace=request.replace,
    )


def _lasting(name: str, text: str) -> str:
    """A path that means the same from any folder."""
    if name in ("store", "audit_log", "recovery_dir") and text != ":memory:":
        return str(Path(text).expanduser().absolute())
    return text


def _guarded(original: Original, edit: Callable[[str], str], taken: str) -> str:
    try:
        return edit(original.text)
    except ForeignError as error:
        raise InstallError(taken.format(error)) from None
    except MalformedError as error:
        raise InstallError(
            f"{original.path} was left alone, because {error}. Correct it and run this again."
        ) from None


def _kept(settings: list[str]) -> str:
    """What is said about settings of an earlier installation that are still there."""
    if not settings:
        return ""
    return f"Kept from before: {', '.join(settings)}. To drop what stays, add --replace.\n"


def _texts(client: Client, wish: Wish | None, old: object) -> list[object]:
    """What may be shown of a file: the names on the way and what is, or was, the entry of ours."""
    shown: list[object] = [*client.section, PROMPT, "inputs"]
    if wish is not None:
        shown += [wish.name, entry(client, wish)]
    return shown if foreign(client, old) else [*shown, old]


def _keys(key: str, old: object) -> set[str]:
    """The key and that of an older entry, where they are the keys themselves and no reference."""
    env = cast("dict[str, Any]", old).get("env") if isinstance(old, dict) else None
    before = cast("dict[str, Any]", env).get(KEY) if isinstance(env, dict) else None
    return {one for one in (key, before) if isinstance(one, str) and one and not one.startswith("$")}


def _left_behind(path: Path, keys: set[str]) -> str:
    """One sentence for the copies in which a key still stands."""
    found = [copy for copy in copies(path) if any(key.encode() in copy.read_bytes() for key in keys)]
    if not found:
        return ""
    which = "that copy" if len(found) == 1 else f"{len(found)} copies like it"
    return (
        f"The key still stands in {which}: delete {'it' if len(found) == 1 else 'them'} when all is well.\n"
    )


def _done(client: Client, wish: Wish, path: Path, backup: Path | None, *, new: bool) -> str:
    did = "Added" if new else "Replaced" if wish.replace else "Updated"
    lines = [f"{did} {wish.name} {'to' if new else 'in'} {client.title}: {path}"]
    if backup:
        lines.append(f"Before it was: {backup}")
    lines.append(f"It runs: {' '.join([wish.launch.command, *wish.launch.args])}")
    if wish.with_key:
        lines.append(f"Key: {client.note}")
        if client.key == "file" and wish.key == "your-api-key":
            lines.append(f"{KEY} is not set here: replace your-api-key in the file by the key.")
    return "\n".join(lines) + "\n"
