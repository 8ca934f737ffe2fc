"""Text as a reader sees it: without what is not seen, letters, digits and blanks of other widths made plain."""

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["alike", "smuggled", "visible"]

_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
"""Zero-width blanks and joiners, soft hyphens, marks of direction: copied along, or put in on purpose."""

_ALIKE: Final = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},  # full width
    **dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "),
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-"),
    # Arabic, Persian, Devanagari, Bengali and Thai digits.
    **{zero + digit: str(digit) for zero in (0x660, 0x6F0, 0x966, 0x9E6, 0xE50) for digit in range(10)},
}
_TAGS: Final = {code: code - 0xE0000 for code in range(0xE0020, 0xE007F)}
_TAGGED = re.compile("[\U000e0020-\U000e007e]+")


def alike(text: str) -> str:
    """The text with each letter, digit, dash and blank that only looks different made plain; as long as before."""
    return text if text.isascii() else text.translate(_ALIKE)


def visible(text: str) -> tuple[str, Sequence[int]]:
    """What of a text is seen, made plain, with the place in the text of each of its characters and of its end."""
    if text.isascii() or not _UNSEEN.search(text):
        return alike(text), range(len(text) + 1)
    places = [place for place, letter in enumerate(text) if not _UNSEEN.match(letter)]
    return alike("".join(text[place] for place in places)), [*places, len(text)]


def smuggled(text: str) -> str:
    """What is written in tag characters, which nobody sees and a model reads."""
    return "\n".join(_TAGGED.findall(text)).translate(_TAGS)
