"""Finnish personal identity codes: ``131052-308T``."""

import re
from calendar import monthrange

_CENTURIES = {"+": 1800} | dict.fromkeys("-YXWVU", 1900) | dict.fromkeys("ABCDEF", 2000)
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"))
_CHECK_CHARACTERS = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_CODE = re.compile(
    r"""(?<!\w)(?<!\d[-./+:])                                     # not the end of a longer number
        (\d{2}) (\d{2}) (\d{2}) ([-+\u2010-\u2013\u2212A-FU-Y]) (\d{3}) ([0-9A-Y])
        (?!\w)(?![-./:+]\d)                                       # nor the beginning of one""",
    re.VERBOSE | re.IGNORECASE,
)


def is_personal_id(written: str) -> bool:
    """Tell whether this is a Finnish personal identity code.

    Its date exists in the century that its sign stands for (those of 2023 included: Y, X, W, V, U for the
    1900s, B to F for the 2000s), its individual number is 002 or more, and its check character stands for the
    remainder of the nine digits by 31 (Digital and Population Data Services Agency). Case, and how long the
    dash is, do not matter. A date in the future is as good as any, so that no answer depends on the clock.
    """
    match = _CODE.fullmatch(written)
    if match is None:
        return False
    day, month, year, sign, number, check = match.groups()
    century = _CENTURIES.get(sign.translate(_DASHES).upper())
    if century is None or not 1 <= int(month) <= 12 or int(number) < 2:
        return False
    if not 1 <= int(day) <= monthrange(century + int(year), int(month))[1]:
        return False
    return _CHECK_CHARACTERS[int(day + month + year + number) % 31] == check.upper()


def mask_personal_ids(text: str, instead: str) -> str:
    """Return the text with every valid code replaced; what only looks like one stays."""
    return _CODE.sub(lambda match: instead if is_personal_id(match[0]) else match[0], text)
