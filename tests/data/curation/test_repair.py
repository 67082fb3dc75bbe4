"""Repair is ftfy's, and the short look beforehand never misses what ftfy would mend."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("datatrove")

from datatrove.pipeline.formatters import FTFYFormatter

from tokka.data.curation.repair import repair

SUSPICIOUS = "aA z.,\n-<&;#x1äöÄÖåÅéüõßàÀÃÂŒœØÙ°²³€£”’–…»«\xa0„‚ВГРвЂ‹›™®¦¤¨¬▄≈√π±½ˆ†¡¿ΒΞâ\x85\x1b\ufeff�ă"


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("PÃ¤ivÃ¤Ã¤ Ã¶itÃ¤", "Päivää öitä"),
        ("hyv&auml;&auml; p&auml;iv&auml;&auml;", "hyvää päivää"),
        ("sana\x00sana\ufeff", "sanasana"),
        ("TÃ¤mÃ¤\nhyvää yötä", "Tämä\nhyvää yötä"),
        ("a < b &amp; c\n&auml;", "a < b &amp; c\n&auml;"),
    ],
)
def test_what_is_broken_is_mended(broken, mended):
    assert repair(broken) == mended


@given(st.text(alphabet=SUSPICIOUS, max_size=40))
@settings(max_examples=600, deadline=None)
def test_suspicious_text_comes_out_as_from_ftfy(text):
    assert repair(text) == FTFYFormatter().format(text)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_out_as_from_ftfy(text):
    assert repair(text) == FTFYFormatter().format(text)


def test_real_finnish_comes_out_as_from_ftfy(shared_data):
    with gzip.open(shared_data / "text/fi/wikipedia_fi_train.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines][:150]
    broken = [text.encode().decode("windows-1252", errors="replace") for text in texts[:20]]
    for text in texts + broken:
        assert repair(text) == FTFYFormatter().format(text)
