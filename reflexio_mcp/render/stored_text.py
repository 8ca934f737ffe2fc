"""The old place of `traffic.stored_text`."""

from reflexio_mcp.traffic.stored_text import (
    NOTICE,
    SAID_CHARS,
    SHOWN_ID_CHARS,
    as_stored,
    beginning,
    clip,
    explained,
    fence,
    hanging,
    label,
    outside_fences,
    quoting,
    shown_id,
    shown_name,
    visible,
)

__all__ = [
    "NOTICE",
    "SAID_CHARS",
    "SHOWN_ID_CHARS",
    "as_stored",
    "beginning",
    "clip",
    "explained",
    "fence",
    "hanging",
    "label",
    "outside_fences",
    "quoting",
    "shown_id",
    "shown_name",
    "visible",
]
