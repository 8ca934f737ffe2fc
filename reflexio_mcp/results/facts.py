"""Facts: what a reader has to know about an answer, without words.

Code below `render/` makes facts and no sentences. `render/words.py` has their words for a model, a person and a shell,
and `explorer/page/words.js` those of the page.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, WithJsonSchema

from reflexio_mcp.results.base import Moment, Row

__all__ = ["Fact", "FactCode"]


class FactCode(StrEnum):
    """The kinds of facts. A code keeps its meaning in all versions; `docs/tools.md` lists them for programs.

    Args:
        meaning: what the fact says, and what its number, names and time are.
    """

    meaning: str

    def __new__(cls, code: str, meaning: str) -> "FactCode":
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    # What a plan selects
    ON_HOLD = (
        "on_hold",
        "`number` items are left out, because a hold keeps them; `names`: its reason; `until`: the end of its last day",
    )
    UNREADABLE = (
        "unreadable",
        "Reflexio fails to return `number` of the requests, so no recovery copy can contain them",
    )

    # Recovery copies and exports
    COPY_HAS_SECRETS = (
        "copy_has_secrets",
        "the recovery copy contains secrets and personal data of what is deleted",
    )
    ONLY_IN_COPIES = (
        "only_in_copies",
        "recovery copies contain `number` selected items that are not stored any more",
    )
    COPIES_OF_REQUEST_GO = (
        "copies_of_request_go",
        "every recovery copy of the request is erased, also of interactions that stay stored",
    )
    EXPORTS_STAY = "exports_stay", "earlier exports are not deleted"


class Fact(Row):
    """Something that a reader has to know.

    Args:
        names: stored names, as results show them. Only `render/` puts them into a text, in a fence or in quotation
            marks.
    """

    # The codes are not in the schemas of tools: each tool would list all of them.
    code: Annotated[FactCode, WithJsonSchema({"type": "string", "description": "docs/tools.md lists them"})]
    number: int | None = None
    names: Annotated[list[str], Field(description="stored names")] = []
    until: Moment | None = None
