"""What an answer says of the tools that it names and its reader does not have.

Plans, receipts and failures name the tool that helps, whoever reads them. Where it is left out, one sentence behind
the answer says so and who can change it, in place of a condition in each of them.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from reflexio_mcp.render.stored_text import outside_fences
from reflexio_mcp.settings import Settings
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.tools.catalog import CATALOG

__all__ = ["Unoffered"]

BY_OPERATOR: Final = (
    "Not offered here: {names}. The operator left {it} out with {setting}, and can offer {it}."
)
BY_SIGN_IN: Final = "Not offered to you: {names}. Your sign-in does not allow {it}."

_NAMES: Final = re.compile(rf"\b(?:{'|'.join(spec.name for spec in CATALOG)})\b")


class Unoffered:
    """The tools that a configuration leaves out or a sign-in does not allow.

    Args:
        settings: what the operator decided. A tool that means nothing there, such as those for learnings where nothing
            is learned, is not one that somebody left out.
    """

    def __init__(self, settings: Settings) -> None:
        self._sentences = {
            spec.name: BY_SIGN_IN
            if spec.offered(settings)
            else BY_OPERATOR.replace("{setting}", _left_out_by(spec, settings))
            for spec in CATALOG
            if spec.needs(settings)
        }
        self._needed = {spec.name: spec.needed for spec in CATALOG if not spec.needs(settings)}

    def needed_for(self, name: str) -> str:
        """What a tool needs that is missing here, as a sentence and a blank; empty for any other name."""
        return f"It needs {self._needed[name]}. " if name in self._needed else ""

    def told(self, text: str, tools: Collection[str]) -> str:
        """What to add to a text for somebody who has `tools`; empty where all that it names are among them."""
        missing = self._sentences.keys() - tools
        if not missing:
            return ""
        named = [name for name in dict.fromkeys(_NAMES.findall(outside_fences(text))) if name in missing]
        said: list[str] = []
        for sentence in sorted(
            {self._sentences[name] for name in named}, key=lambda one: (one == BY_SIGN_IN, one)
        ):
            if of_it := [name for name in named if self._sentences[name] == sentence]:
                it = "it" if len(of_it) == 1 else "them"
                said.append(sentence.format(names=", ".join(of_it), it=it))
        return " ".join(said)


def _left_out_by(spec: ToolSpec, settings: Settings) -> str:
    """The settings that keep a tool from being offered."""
    writes = settings.read_only and not spec.read_only
    unnamed = not spec.offered(replace(settings, read_only=False))
    return " and ".join(["REFLEXIO_MCP_TOOLS"] * unnamed + ["REFLEXIO_MCP_READ_ONLY"] * writes)
