"""What an answer says of the tools that it names and its reader does not have.

Plans, receipts and failures name the tool that helps, whoever reads them. If that tool is left out, one sentence behind
the answer says so and who can change it.
"""

import re
from collections.abc import Collection
from typing import Final

from reflexio_mcp.results.text import outside_fences
from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import CATALOG

__all__ = ["Unoffered"]

BY_OPERATOR: Final = (
    "Not offered here: {}. The operator decides that, with REFLEXIO_MCP_TOOLS or REFLEXIO_MCP_READ_ONLY."
)
BY_SIGN_IN: Final = "Not offered to you: {}. Your sign-in does not allow that."

_NAMES: Final = re.compile(rf"\b(?:{'|'.join(spec.name for spec in CATALOG)})\b")


class Unoffered:
    """The tools that a configuration leaves out or a sign-in does not allow.

    Nobody left out a tool that means nothing here, such as those for learnings if nothing is learned.
    """

    def __init__(self, settings: Settings) -> None:
        self._needed = {spec.name: spec.needed for spec in CATALOG if not spec.needs(settings)}
        self._offered = {spec.name for spec in CATALOG if spec.offered(settings)}

    def needed_for(self, name: str) -> str:
        """What a tool needs that is missing here, as a sentence and a blank; empty for any other name."""
        return f"It needs {self._needed[name]}. " if name in self._needed else ""

    def told(self, text: str, tools: Collection[str]) -> str:
        """What to add to a text for somebody who has `tools`; empty if all tools that it names are among them."""
        named = dict.fromkeys(_NAMES.findall(outside_fences(text)))
        missing = [name for name in named if name not in tools and name not in self._needed]
        by_operator = [name for name in missing if name not in self._offered]
        by_sign_in = [name for name in missing if name in self._offered]
        said = ((BY_OPERATOR, by_operator), (BY_SIGN_IN, by_sign_in))
        return " ".join(sentence.format(", ".join(names)) for sentence, names in said if names)
