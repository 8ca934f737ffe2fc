"""What the changelog has to say about a version: part of `scripts/release_check.py`."""

import re

_HEADING = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d\d-\d\d))?[ \t]*$", re.MULTILINE)
UNRELEASED = "Unreleased"


def problem(text: str, version: str, *, release: bool) -> str:
    """What is wrong with a changelog.

    Args:
        text: the whole of it, in the form of Keep a Changelog.
        version: the one that the code has.
        release: it is about to be published; else what is not released yet may still become its entry.

    Returns:
        What is wrong, or nothing.
    """
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings), len(text)][1:]
    bodies = {one.group(1): text[one.end() : end] for one, end in zip(headings, ends, strict=True)}
    lines = {name: bool(re.search(r"^[-*] ", body, re.MULTILINE)) for name, body in bodies.items()}
    undated = [one.group(1) for one in headings if one.group(1) != UNRELEASED and not one.group(2)]
    if undated:
        return f"the heading of {undated[0]} has no date"
    released = [name for name in bodies if name != UNRELEASED]
    if version in bodies:
        if released[0] != version:
            return f"{released[0]} stands above {version}, which is the version of the code"
        if not lines[version]:
            return f"{version} has no lines"
        if release and lines.get(UNRELEASED):
            return f"Unreleased still has lines: move them to {version}, or raise the version"
        return ""
    if release or UNRELEASED not in bodies:
        return f"there is no heading for {version}"
    return "" if lines[UNRELEASED] else f"Unreleased has no lines, so {version} would have no entry"
