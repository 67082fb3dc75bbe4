"""Numbers as people read them."""

from collections.abc import Callable

import pytest

from tokka.release import figures
from tokka.release.languages import language_codes, language_name, language_names


@pytest.mark.parametrize(
    ("function", "value", "written"),
    [
        (figures.count, 34_216_949_760, "34.2B"),
        (figures.count, 70_553_706_496, "70.6B"),
        (figures.count, 10_123_456, "10.1M"),
        (figures.count, 999_999, "1M"),
        (figures.count, 999, "999"),
        (figures.count, 0, "0"),
        (figures.significant, 1.5234, "1.52"),
        (figures.significant, 170.3, "170"),
        (figures.significant, 0.012345, "0.0123"),
        (figures.significant, 4.0, "4"),
        (figures.rate, 1.5e-4, "1.5e-4"),
        (figures.rate, 2e-5, "2e-5"),
        (figures.rate, 0.1, "0.1"),
        (figures.rate, 0.0, "0"),
        (figures.duration, 0.42, "0.4 s"),
        (figures.duration, 59.6, "1 min 0 s"),
        (figures.duration, 200, "3 min 20 s"),
        (figures.duration, 18_720, "5 h 12 min"),
        (figures.duration, 66 * 86_400 + 4 * 3600, "66 days 4 h"),
        (figures.size, 812, "812 B"),
        (figures.size, 3_200_000, "3.2 MB"),
    ],
)
def test_a_figure_is_written(function: Callable[[float], str], value: float, written: str) -> None:
    assert function(value) == written


def test_a_total_may_need_more_digits() -> None:
    assert figures.count(541_700_000_000, 4) == "541.7B"


@pytest.mark.parametrize(
    ("code", "name", "codes"),
    [
        ("fi", "Finnish", ["fi"]),
        ("fi-en", "Finnish and English", ["fi", "en"]),
        ("code", "code", []),
        ("math", "mathematics", []),
        ("sme", "Northern Sámi", ["sme"]),
        ("pt-BR", "pt-BR", ["pt"]),
        ("xx", "xx", ["xx"]),
    ],
)
def test_a_language_has_a_name_and_codes(code: str, name: str, codes: list[str]) -> None:
    assert language_name(code) == name
    assert language_codes(code) == codes
    assert " and ".join(language_names(code)) == name
