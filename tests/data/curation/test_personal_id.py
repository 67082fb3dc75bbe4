"""Valid Finnish personal identity codes are told from what only looks like one."""

import datetime
import random

import pytest

from tokka.data.curation.masking import mask
from tokka.data.curation.personal_id import is_personal_id

CENTURIES = {1800: "+", 1900: "-YXWVU", 2000: "ABCDEF"}
CHECK = "0123456789ABCDEFHJKLMNPRSTUVWXY"


def code(date, sign, number):
    digits = f"{date:%d%m%y}{number:03d}"
    return f"{digits[:6]}{sign}{digits[6:]}{CHECK[int(digits) % 31]}"


def some_codes(count):
    """Yield valid codes of every century and sign, made by the calendar."""
    chance = random.Random(0)
    first = datetime.date(1800, 1, 1).toordinal()
    for _ in range(count):
        date = datetime.date.fromordinal(first + chance.randrange(250 * 365))
        signs = CENTURIES.get(date.year // 100 * 100)
        if signs:
            yield code(date, chance.choice(signs), chance.randrange(2, 900))


def test_valid_codes_of_every_century_and_sign_are_masked():
    codes = list(some_codes(3000))
    assert {written[6] for written in codes} == set("+-YXWVUABCDEF")
    for written in codes:
        assert is_personal_id(written)
        assert mask(f"Hetu: {written}, Matti", ["personal_id"]) == "Hetu: 000000-0000, Matti"


def test_the_published_example_is_one():
    assert is_personal_id("131052-308T")


@pytest.mark.parametrize("wrong", range(1, 31))
def test_another_check_character_makes_none(wrong):
    for written in some_codes(100):
        other = CHECK[(CHECK.index(written[-1]) + wrong) % 31]
        text = f"tunnus {written[:-1]}{other} on"
        assert mask(text, ["personal_id"]) == text


@pytest.mark.parametrize(
    "text",
    [
        "311152-3084",  # no such day
        "290201-3082",  # 1901 was no leap year
        "131352-308T",  # no such month
        "131052-001Y",  # no such number, whatever its check character
        "131052G308T",  # no such sign
        "131052Z308T",
        "131052_308T",
        "131052308T",
        "12131052-308T",  # the end of a longer number
        "131052-308T1",
        "1.131052-308T",
        "131052-308T-99",
        "A131052-308T",
        "131052-30AT",
        "131052-308G",  # letters that are never check characters
        "versio 131052-308O",
    ],
)
def test_what_only_looks_like_one_stays(text):
    assert mask(text, ["personal_id"]) == text


@pytest.mark.parametrize("text", ["131052-308t", "131052–308T", "131052−308T", "131052—308T", "131052y308T"])
def test_small_letters_and_longer_dashes_hide_nothing(text):
    assert mask(f"({text})", ["personal_id"]) == "(000000-0000)"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("131052-308T/131052-308T", "000000-0000/000000-0000"),
        ("_131052-308T_", "_000000-0000_"),
        ("hakemus_131052-308T.pdf", "hakemus_000000-0000.pdf"),
        ("131052-308T/2020", "131052-308T/2020"),
    ],
)
def test_neither_another_code_nor_an_underscore_hides_one(text, masked):
    assert mask(text, ["personal_id"]) == masked


def test_a_leap_day_is_one_in_its_own_century_only():
    assert is_personal_id(code(datetime.date(2000, 2, 29), "A", 123))
    assert not is_personal_id(code(datetime.date(2000, 2, 29), "-", 123))


def test_masking_twice_is_masking_once():
    for written in some_codes(200):
        once = mask(written, ["personal_id", "phone", "ip", "email"])
        assert mask(once, ["personal_id", "phone", "ip", "email"]) == once
