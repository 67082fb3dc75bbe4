"""The corpus that ships: enough of it, valid, varied, in the language it says, and its sums are right."""

import ast
import json
import operator
import re
import unicodedata
from collections import Counter
from fractions import Fraction

import pytest
from workshop import REPOSITORY

FOLDER = REPOSITORY / "src" / "tokka" / "demo" / "corpus"
FIELDS = {
    "english": ("id", "title", "text"),
    "finnish_a": ("id", "title", "text"),
    "finnish_b": ("id", "title", "text"),
    "mathematics": ("id", "title", "text"),
    "parallel": ("id", "fi", "en"),
}
RECORDS = {
    path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for path in sorted(FOLDER.glob("*.jsonl"))
}


def _texts(language):
    """Return id and text of every document in a language; of sentence pairs that side."""
    whole = [record for name in FIELDS if name != "parallel" for record in RECORDS[name]]
    found = {r["id"]: r["text"] for r in whole if r["id"].startswith((language, f"ma-{language}"))}
    return found | {record["id"]: record[language] for record in RECORDS["parallel"]}


def _all_texts():
    return [
        text
        for records in RECORDS.values()
        for r in records
        for text in (r.get("text"), r.get("fi"), r.get("en"))
        if text
    ]


@pytest.mark.parametrize("language", ["fi", "en"])
def test_there_are_200_kilobytes_of_each_language(language):
    assert sum(len(text.encode()) for text in _texts(language).values()) >= 200_000


def test_every_record_has_its_fields_and_a_number_of_its_own():
    assert RECORDS.keys() == FIELDS.keys()
    for name, records in RECORDS.items():
        assert all(tuple(record) == FIELDS[name] for record in records), name
    numbers = Counter(record["id"] for records in RECORDS.values() for record in records)
    assert max(numbers.values()) == 1


def test_files_are_plain_json_lines_in_composed_unicode():
    for name in FIELDS:
        content = (FOLDER / f"{name}.jsonl").read_bytes()
        text = content.decode("utf-8")
        assert content.endswith(b"}\n")
        assert b"\r" not in content
        assert unicodedata.is_normalized("NFC", text)
        assert "\\u" not in text
        assert "\ufffd" not in text
        assert "\ufeff" not in text


def test_texts_are_tidy():
    for text in _all_texts():
        assert text == text.strip()
        assert "  " not in text, text[:80]
        assert "\n\n\n" not in text
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn") and c != "\n"], (
            text[:80]
        )


def test_no_document_and_no_paragraph_occurs_twice():
    documents = Counter(_all_texts())
    assert max(documents.values()) == 1
    paragraphs = Counter(part for text in documents for part in text.split("\n\n") if len(part) > 40)
    assert max(paragraphs.values()) == 1


def test_no_two_documents_share_fifteen_words_in_a_row():
    seen = {}
    for number, text in enumerate(_all_texts()):
        words = re.findall(r"[^\W\d]+", text.lower())
        for start in range(len(words) - 14):
            sequence = " ".join(words[start : start + 15])
            assert seen.setdefault(sequence, number) == number, sequence


def test_documents_are_of_many_lengths_and_words():
    for language, least in (("fi", 9_000), ("en", 4_500)):
        texts = [text for number, text in _texts(language).items() if not number.startswith("pa")]
        lengths = sorted(map(len, texts))
        assert lengths[0] * 2 < lengths[-1]
        assert len(set(re.findall(r"[^\W\d]+", " ".join(texts).lower()))) > least


# Language, by letters and by the commonest words: a test that knows nothing of how the texts were made

COMMON = {
    "fi": """ja on ei se että oli kun niin mutta hän en joka mitä sen ovat ole sitä kuin vain nyt jos myös
        siitä tai sitten vielä jo siinä hänen minä me he ne ollut olla joita jotka kaikki koska eikä siis""",
    "en": """the of and to a in is it that was for on with as he she they his her at by from are this be not
        have but one which you we had were there or an if so when""",
}


def _share_of_common_words(text, language):
    words = re.findall(r"[^\W\d]+", text.lower())
    common = set(COMMON[language].split())
    return sum(word in common for word in words) / len(words), len(words)


@pytest.mark.parametrize(("language", "other"), [("fi", "en"), ("en", "fi")])
def test_every_document_is_in_its_language(language, other):
    for number, text in _texts(language).items():
        share, words = _share_of_common_words(text, language)
        foreign, _ = _share_of_common_words(text, other)
        if words >= 40 and not number.startswith("ma"):
            assert share > (0.06 if language == "fi" else 0.2), (number, share)
        if words >= 15:
            assert share > foreign, (number, share, foreign)


def test_finnish_is_written_in_finnish_letters():
    for number, text in _texts("fi").items():
        letters = [c for c in text.lower() if c.isalpha()]
        assert set(letters) <= set("abcdefghijklmnopqrstuvwxyzåäöšžéü"), (number, set(letters))
        if len(letters) >= 300:
            assert 0.01 < sum(c in "äö" for c in letters) / len(letters) < 0.15, number
            assert sum(c in "bcfqwxzå" for c in letters) / len(letters) < 0.03, number
    everything = Counter("".join(_texts("fi").values()).lower())
    order = [c for c, _ in everything.most_common() if c.isalpha()]
    assert set(order[:6]) == set("aitnes")  # the commonest letters of Finnish


def test_english_is_written_in_english_letters():
    for number, text in _texts("en").items():
        letters = [c for c in text.lower() if c.isalpha()]
        assert sum(c not in "abcdefghijklmnopqrstuvwxyz" for c in letters) <= 0.01 * len(letters), number


# Sums

NUMBER = r"\d+(?:[.,]\d+)?"
TERM = rf"\(*-?{NUMBER}(?:/\d+)?(?:\^\d+)?\)*"
SUM = rf"{TERM}(?: [-+−·×÷:] {TERM})*"
EQUATION = re.compile(rf"(?<![\w.,^/(]){SUM}(?: = {SUM})+(?![\w^²³]|[.,]\d| [-+−·×÷:=/])")
REMAINDER = re.compile(r"(\d+) [÷:] (\d+) = (\d+)(?:,? remainder|, jää) (\d+)")
PART_OF_MORE = re.compile(r"[\w)²³√] [-+−·×÷:=] $")
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def _value(written):
    """Return the exact value of a sum, in the signs of either language: 3/4 is a number, 6 : 2 a division."""
    for sign, operation in {"−": "-", "·": "*", "×": "*", "÷": "/", " : ": " / ", "^": "**"}.items():
        written = written.replace(sign, operation)
    written = re.sub(r"(\d+)/(\d+)", r"(\1 / \2)", re.sub(r"(\d),(\d)", r"\1.\2", written))
    return _evaluated(ast.parse(written, mode="eval").body)


def _evaluated(node):
    if isinstance(node, ast.Constant):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp):
        return -_evaluated(node.operand)
    return OPERATORS[type(node.op)](_evaluated(node.left), _evaluated(node.right))


def _equations():
    for record in RECORDS["mathematics"]:
        for match in EQUATION.finditer(record["text"]):
            whole = match[0].count("(") == match[0].count(")")
            if whole and not PART_OF_MORE.search(record["text"][: match.start()]):
                yield record["id"], match[0]


def test_every_sum_is_right():
    equations = [found for found in _equations() if not REMAINDER.match(found[1])]
    checked = 0
    for number, equation in equations:
        values = {_value(side) for side in equation.split(" = ")}
        if len(values) > 1:
            text = next(r["text"] for r in RECORDS["mathematics"] if r["id"] == number)
            assert any(m[0].startswith(equation) for m in REMAINDER.finditer(text)), (number, equation)
        checked += 1
    assert checked > 1000


def test_every_division_with_a_remainder_is_right():
    found = [map(int, m.groups()) for r in RECORDS["mathematics"] for m in REMAINDER.finditer(r["text"])]
    assert len(found) > 50
    for dividend, divisor, quotient, remainder in found:
        assert dividend == quotient * divisor + remainder
        assert remainder < divisor


def test_drills_hold_nothing_but_sums_and_words_about_them():
    """Each line of a drill that has an equals sign is one that was checked."""
    checked = {equation for _, equation in _equations()}
    for record in RECORDS["mathematics"]:
        for line in record["text"].splitlines():
            if re.fullmatch(r"[\d ()+\-−·×÷:,./^=]+", line) and "=" in line:
                assert line.rstrip(".") in checked, (record["id"], line)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3/4 ÷ 1/8", 6),
        ("2 + 3 × 4", 14),
        ("(2 + 3) · 4", 20),
        ("1,5 + 2,25", Fraction(15, 4)),
        ("12 : 8", Fraction(3, 2)),
        ("18^2", 324),
        ("2 × (-3)", -6),
    ],
)
def test_the_check_of_sums_can_calculate(written, value):
    assert _value(written) == value
