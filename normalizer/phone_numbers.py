"""Phone numbers as carriers write them -> E.164, and the many ways of withholding one."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

# What carriers and Twilio put in From when the caller withholds the number: the letters of ANONYMOUS, RESTRICTED,
# UNKNOWN and UNAVAILABLE on a keypad, and the words themselves.
_WITHHELD_DIGITS: Final = frozenset(
    {"266696687", "7378742833", "8656696", "86282452253", "464", "2562533", "7748283", "000000000", "0000000000"}
)
_WITHHELD_WORDS: Final = frozenset(
    {
        "anonymous",
        "restricted",
        "unknown",
        "unavailable",
        "private",
        "blocked",
        "withheld",
        "id unavailable",
        "asserted",
    }
)


def canonical_phone(number: str, region: str | None = None) -> str | None:
    """E.164 (`+31201234567`), or None when the number is withheld or cannot be a number.

    `region` (ISO 3166) reads national forms; without it only `+` and `00` forms are numbers.
    """
    text = number.strip()
    text = text.partition(":")[2] if text.lower().startswith(("tel:", "sip:", "whatsapp:", "client:")) else text
    text = text.partition("@")[0].strip()
    digits = "".join(char for char in text if char.isdigit())
    if not digits or len(text) > 40 or text.lower() in _WITHHELD_WORDS:
        return None
    if digits in _WITHHELD_DIGITS or digits[1:] in _WITHHELD_DIGITS:
        return None
    if text.startswith("00") and not region:
        text = "+" + text[2:]
    return _read(text, region.upper() if region else None)


@lru_cache(maxsize=1024)
def _read(text: str, region: str | None) -> str | None:
    """A call is reported in five requests that name the same two numbers, and reading one takes 40 us."""
    import phonenumbers  # noqa: PLC0415  large, and one mail through `frontdesk pipe` has no use for it

    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
