"""Who is asked before something is destroyed, and how."""

import time
from dataclasses import dataclass
from typing import Literal

from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic.codes import CodeMaker, read_code
from reflexio_mcp.traffic.plans import Plan

__all__ = ["Verdict", "weigh"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a plan may be carried out.

    Args:
        act: carry it out.
        code: what a second call brings, when it must first be shown.
        lead: why nothing was deleted, as the first sentence of the answer.
        following: what to do next.
    """

    act: bool
    mode: Literal["off", "preview", "ask"]
    code: str = ""
    lead: str = ""
    following: str = ""


def weigh(
    settings: Settings, codes: CodeMaker, plan: Plan, confirm: str, *, now: float | None = None
) -> Verdict:
    """Decide by the operator's mode, the code the call brought and the set as it is now.

    Args:
        confirm: the code of an earlier plan, or empty.
        now: epoch seconds (the clock when `None`).
    """
    if settings.confirm == "off":
        return Verdict(True, "off")
    now = time.time() if now is None else now
    code = codes.make(plan.ids, flags="", now=now)
    again = f"To delete exactly these, call again with the same arguments and confirm={code}"
    if not confirm.strip():
        return Verdict(False, "preview", code, "Nothing is deleted yet. This would go:", again)
    given = read_code(confirm)
    if given is not None and codes.fits(given, plan.ids, flags=""):
        return Verdict(True, "preview")
    return Verdict(
        False, "preview", code, "Nothing was deleted: confirm does not fit this set. Now it is:", again
    )
