"""The characters that nobody sees. The strings are written to stand between the brackets of a regular expression."""

from typing import Final

__all__ = ["BLANK_LETTERS", "JOINERS", "UNSEEN", "WITHOUT_GLYPH"]

WITHOUT_GLYPH: Final = (
    "\xad\u034f\u061c\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters that nobody sees: soft hyphen, bidirectional marks, zero-width characters, tags, some selectors, and what
only arranges hieroglyphs, shorthand and musical notes."""

JOINERS: Final = "\u200c\u200d\ufe00-\ufe0f"
"""Characters that only shape emoji and letters. They are shown as they are, and a search ignores them."""

BLANK_LETTERS: Final = (
    "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufff0-\ufff8\U00013441\U00013442\U00016fe4\U0001d159"
)
"""Letters and signs whose glyph is blank, such as fillers of scripts and the braille blank."""

UNSEEN: Final = f"{WITHOUT_GLYPH}{JOINERS}{BLANK_LETTERS}"
"""All characters that are invisible by themselves, besides blanks and control characters."""
