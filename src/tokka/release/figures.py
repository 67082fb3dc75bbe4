"""Numbers as cards and reports write them."""

from math import floor, log10


def count(value: float, digits: int = 3) -> str:
    """Return a large count with so many significant digits: ``34.2B``, ``10.1M``, ``812``."""
    for suffix, power in (("T", 12), ("B", 9), ("M", 6), ("K", 3)):
        scaled = float(f"{value / 10**power:.{digits}g}")
        if scaled >= 1:
            return f"{significant(scaled, digits)}{suffix}"
    return significant(value, digits)


def significant(value: float, digits: int = 3) -> str:
    """Return ``value`` with so many significant digits and no exponent: ``34.2``, ``0.0123``, ``170``."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def rate(value: float) -> str:
    """Return a small setting as people write it: ``1.5e-4``, ``0.1``, ``0``."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:g}"
    mantissa, exponent = f"{value:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def signed(value: float, unit: str = "") -> str:
    """Return a difference with its sign, a true minus: ``+1.2%``, ``−31.1%``."""
    return f"{value:+.1f}{unit}".replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    """Return a time: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``5 h 12 min``, ``66 days 4 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"


def size(count_of_bytes: float) -> str:
    """Return a size in bytes, in powers of 1000: ``812 B``, ``3.2 MB``."""
    for suffix, power in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count_of_bytes >= power:
            return f"{significant(count_of_bytes / power)} {suffix}"
    return f"{count_of_bytes:.0f} B"
