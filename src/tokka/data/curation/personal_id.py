"""Finnish personal identity codes: ``131052-308T``."""

import re
from calendar import monthrange

_CENTURIES = {"+": 1800} | dict.fromkeys("-YXWVU", 1900) | dict.fromkeys("ABCDEF", 2000)
_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))
_CHECK_CHARACTERS = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_TAIL = r"[0-9]{5} [-+\u2010-\u2015\u2212A-FU-Ya-fu-y] [0-9]{3} [0-9A-Ya-y]"
_CODE = re.compile(
    # It begins with a set of characters, which re finds faster than what may not stand before it.
    rf"""[0-9] (?<![^\W_][0-9])                                # not the end of a longer number,
        (?: (?<!\d[-./+:][0-9]) | (?<=[0-9]{_TAIL}[-./+:][0-9]) )  # though perhaps the second of two codes
        {_TAIL}
        (?![^\W_]) (?![-./:+](?![0-9]{_TAIL})\d)               # nor the beginning of one""",
    re.VERBOSE,
)
_FIELDS = ((0, 2), (2, 4), (4, 6), (7, 10))


def is_personal_id(written: str) -> bool:
    """Tell whether this is a Finnish personal identity code.

    Its date exists in the century that its sign stands for (those of 2023 included: Y, X, W, V, U for the
    1900s, B to F for the 2000s), its individual number is 002 or more, and its check character stands for the
    remainder of the nine digits by 31 (Digital and Population Data Services Agency). Case, and how long the
    dash is, do not matter. A date in the future is as good as any, so that no answer depends on the clock.
    """
    if _CODE.fullmatch(written) is None:
        return False
    code = written.translate(_DASHES).upper()
    day, month, year, number = (int(code[start:stop]) for start, stop in _FIELDS)
    century = _CENTURIES.get(code[6])
    if century is None or not 1 <= month <= 12 or number < 2:
        return False
    if not 1 <= day <= monthrange(century + year, month)[1]:
        return False
    return _CHECK_CHARACTERS[int(code[:6] + code[7:10]) % 31] == code[10]


def mask_personal_ids(text: str, instead: str) -> str:
    """Return the text with every valid code replaced; what only looks like one stays."""
    return _CODE.sub(lambda match: instead if is_personal_id(match[0]) else match[0], text)
