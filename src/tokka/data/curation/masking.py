"""Personal data, written over: e-mail and IP addresses, phone numbers, Finnish personal identity codes.

What is put in place is always the same, so that a text depends on nothing but itself (datatrove's
PIIFormatter takes turns), and none of it can belong to anyone: a reserved domain (RFC 2606), reserved
addresses (RFC 5737, RFC 3849), numbers that nobody has.
"""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address

from tokka.data.curation.personal_id import mask_personal_ids
from tokka.recipe.curation import Mask

# As in datatrove's PIIFormatter, but without its rare hosts in brackets, and with letters of any language.
_EMAIL = re.compile(
    r"(?<![\w.+-])[\w!#$%&'*+/=?^`{|}~-]{1,64}(?:\.[\w!#$%&'*+/=?^`{|}~-]{1,64}){0,8}"
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,63}"
)

# These begin with a set of characters, which re finds faster than what may not stand before it.
_IPV4 = re.compile(r"[0-9](?<![\w.,/-][0-9])[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![\w-]|[.,]\d)")
_IPV6 = re.compile(r"[23](?<![\w:.].)[0-9a-fA-F]{3}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{0,4}(?![\w:])")
_SMALL_NUMBER = 32
"""Four numbers below this are more often those of a version or a section."""

_PHONE = re.compile(
    r"""[+(0] (?<![\w.,/:+-].)
    (?: (?:(?<=\+)|(?<=0)0(?=358|[1-9]\d{0,2}[ \u00a0])) [1-9]\d{0,2} (?:[ \u00a0-]?\(0\))?
            (?:[ \u00a0-]?\d{1,12}){2,6}                                    # +358 40 123 4567
      | (?:(?<=\()0)? [1-9]\d{0,3}\)? [ \u00a0-]\d{3,8} (?:[ \u00a0-]\d{2,8}){0,3}  # (09) 1234 567
      | (?<=0) 29\d (?:[ \u00a0]\d{2,3}){2}                                  # 0295 16 001
      | (?<=0) (?:4\d|50)\d{6,8}                                            # 0401234567
    ) (?!\w|[.,:/-]\d)""",
    re.VERBOSE,
)
_PHONE_DIGITS = range(7, 16)  # E.164 allows fifteen
_DATE = re.compile(r"\d{1,2}[- ]\d{1,2}[- ]\d{4}")

_BEFORE = 24
"""So many characters before a number may say what it is."""


def _says(words: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<!\w)(?:{words})(?!\w)[^\w\n]*(?:nro|numero\w*|number|no|on|is)?\W*$", re.IGNORECASE
    )


_IS_HOST = _says(r"ip|ipv4|ip-\w+|osoit\w*|address\w*|hosts?|palveli\w*|server\w*|dns|ping|proxy")
_IS_VERSION = _says(
    r"v|ver|vers?io\w*|versions?|release|rel|build|päivity\w*|luku|luvu\w*|kohd\w+|kohta|kappale\w*|section|chapter|sec|§"
)
_IS_PHONE = _says(r"puh\w*|p|gsm|tel\w*|phone|mob\w*|matkapuh\w*|soit\w*|call|fax|faksi\w*")
_IS_OTHER_NUMBER = _says(
    r"isbn\S*|issn|ean|iban|tilau\w*|order\w*|viite\w*|lasku\w*|asiakas\w*|tuote\w*|koodi\w*|code|articles?"
    r"|artikkeli\w*|diaari\w*|dnro|y-tunnus\w*|versio\w*|versions?|sarja\w*|serial|id|tili\w*|saldo\w*|rekisteri\w*"
)


def mask(text: str, kinds: Collection[Mask]) -> str:
    """Return the text with personal data of these kinds written over."""
    if "personal_id" in kinds:
        text = mask_personal_ids(text, "000000-0000")
    if "email" in kinds and "@" in text:
        text = _EMAIL.sub("email@example.com", text)
    if "ip" in kinds:
        text = _IPV4.sub(_masked_ipv4, text)
        if text.count(":") > 1:
            text = _IPV6.sub(_masked_ipv6, text)
    if "phone" in kinds:
        text = _PHONE.sub(_masked_phone, text)
    return text


def _masked_ipv4(match: re.Match[str]) -> str:
    """Mask a public address that is not said to be a version, nor looks like one."""
    parts = match[0].split(".")
    numbers = [int(part) for part in parts]
    padded = any(len(part) > 1 and part[0] == "0" for part in parts)
    if max(numbers) > 255 or padded or not IPv4Address(match[0]).is_global or _is_said(match, _IS_VERSION):
        return match[0]
    is_likely = max(numbers) >= _SMALL_NUMBER or _is_said(match, _IS_HOST)
    return "192.0.2.1" if is_likely else match[0]


def _masked_ipv6(match: re.Match[str]) -> str:
    try:
        return "2001:db8::1" if IPv6Address(match[0]).is_global else match[0]
    except ValueError:
        return match[0]


def _masked_phone(match: re.Match[str]) -> str:
    written = match[0]
    if sum(map(str.isdigit, written)) not in _PHONE_DIGITS or _DATE.fullmatch(written):
        return written
    if _is_said(match, _IS_OTHER_NUMBER) and not _is_said(match, _IS_PHONE):
        return written
    return "000 000 0000"


def _is_said(match: re.Match[str], what: re.Pattern[str]) -> bool:
    """Tell whether the words right before the match say what it is."""
    return what.search(match.string, max(match.start() - _BEFORE, 0), match.start()) is not None
