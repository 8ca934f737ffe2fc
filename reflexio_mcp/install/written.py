"""Notes which entries of shared servers `install` has written.

Such an entry can be an address alone. Then nothing in it shows whether `install` or a person wrote it.
"""

import json
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from reflexio_mcp import private_files

_FILE: Final = "installed.json"


def note_shared_server(client_file: Path, name: str, address: str) -> None:
    """Note an entry. If that is not possible, `uninstall` asks for the address."""
    place = _place()
    noted = _noted()
    noted[_key(client_file, name)] = address
    with suppress(OSError):
        private_files.make_folder(place.parent)
        draft = place.with_name(f"{place.name}.{secrets.token_hex(4)}")
        private_files.write_new(draft, json.dumps(noted, indent=2).encode())
        draft.replace(place)


def was_written(client_file: Path, name: str, address: object) -> bool:
    """Whether `install` has written an entry with this address under this name."""
    return isinstance(address, str) and _noted().get(_key(client_file, name)) == address


def _key(client_file: Path, name: str) -> str:
    return f"{name} in {client_file}"


def _noted() -> dict[str, Any]:
    try:
        noted: Any = json.loads(_place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", noted) if isinstance(noted, dict) else {}


def _place() -> Path:
    from reflexio_mcp.backend import default_store  # imports the client of the API

    return default_store().with_name(_FILE)
