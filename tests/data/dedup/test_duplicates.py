"""Which documents are duplicates, against every pair compared by sets of strings."""

import gzip
import json
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
from dedup_corpora import digests, write_corpus

from tokka.data import shards
from tokka.data.dedup import candidates, duplicates
from tokka.data.dedup.duplicates import find_duplicates
from tokka.data.dedup.minhash import banding_for
from tokka.data.dedup.signatures import Method, sign_corpus

THRESHOLD = 0.7
METHOD = Method(3, banding_for(THRESHOLD))
WORDS = ["poro", "hanki", "tunturi", "kota", "lumi", "jää", "kaamos", "vaara", "suo", "joki", "mänty"]


def deduplicate(base, corpora, method=METHOD, workers=1):
    """Sign corpora and find their duplicates; return the list of each."""
    for corpus in corpora:
        sign_corpus(corpus, base / "signatures" / corpus.name, method, workers=workers)
    find_duplicates(
        {corpus.name: base / "signatures" / corpus.name for corpus in corpora},
        base / "duplicates",
        bands=method.banding.bands if method.banding else 0,
        threshold=THRESHOLD,
        workers=workers,
    )
    return {
        corpus.name: pq.read_table(base / "duplicates" / f"{corpus.name}.parquet").to_pylist()
        for corpus in corpora
    }


def gone(entries, split="train"):
    return [entry["row"] for entry in entries if entry["shard"].startswith(split)]


def story(seed, words=80):
    draw = random.Random(seed)
    return [f"{draw.choice(WORDS)}{draw.randrange(1000)}" for _ in range(words)]


def changed(words, count, seed=0):
    draw = random.Random(seed)
    words = list(words)
    for place in draw.sample(range(len(words)), count):
        words[place] = f"x{draw.randrange(10**6)}"
    return " ".join(words)


def runs(text):
    found = re.findall(r"[^\W_]+", text.lower())
    return {" ".join(found[i : i + 3]) for i in range(max(1, len(found) - 2))}


def all_pairs(texts):
    """Yield every pair of texts with a run in common, and their Jaccard similarity."""
    sets = [runs(text) for text in texts]
    holders = defaultdict(list)
    for number, each in enumerate(sets):
        for run in each:
            holders[run].append(number)
    for number, each in enumerate(sets):
        shared = Counter(other for run in each for other in holders[run] if other > number)
        for other, count in shared.items():
            yield number, other, count / (len(each) + len(sets[other]) - count)


@pytest.fixture(scope="module")
def finnish(shared_data):
    """Real Finnish documents, and copies of many of them that are more or less changed."""
    texts = []
    for name, most in (("wikipedia_fi_train", 500), ("turku_ner_docs", 300), ("kanteletar", 300)):
        with gzip.open(shared_data / "text" / "fi" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in lines][:most]
    draw = random.Random(1)
    vocabulary = [word for text in texts[:100] for word in text.split()]
    copies = []
    for text in draw.sample(texts, 700):
        rate = draw.choice([0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25])
        words = [draw.choice(vocabulary) if draw.random() < rate else word for word in text.split()]
        copies.append(" ".join(words))
    everything = texts + copies
    draw.shuffle(everything)
    return everything


def test_real_near_duplicates_are_found_and_others_stay(finnish, tmp_path):
    half = len(finnish) // 2
    parts = {"a": finnish[:half], "b": finnish[half:]}
    found = deduplicate(tmp_path, [write_corpus(tmp_path / name, texts) for name, texts in parts.items()])
    removed = {*gone(found["a"]), *(half + row for row in gone(found["b"]))}
    best = [0.0] * len(finnish)
    alike = []
    for one, other, similarity in all_pairs(finnish):
        best[one], best[other] = max(best[one], similarity), max(best[other], similarity)
        if similarity >= 0.8:
            alike.append(one in removed or other in removed)
    assert len(alike) > 250
    assert np.mean(alike) >= 0.99  # 0.95 is asked for
    unlike = [number for number, similarity in enumerate(best) if similarity < 0.5]
    assert len(unlike) > 500
    assert not removed.intersection(unlike)  # less than 1% is asked for
    for entry in (*found["a"], *found["b"]):
        assert entry["similarity"] >= 0.5
        kept = half * (entry["source"] == "b") + entry["record"] - 1
        assert kept not in removed


def test_the_first_source_keeps_its_copy_and_a_held_out_one_before_others(tmp_path):
    text = story(0)
    corpora = [
        write_corpus(
            tmp_path / "a", [" ".join(story(1)), changed(text, 1, 1)], heldout=[changed(text, 1, 2)]
        ),
        write_corpus(tmp_path / "b", [changed(text, 1, 3)], heldout=[changed(text, 1, 4)]),
    ]
    found = deduplicate(tmp_path, corpora)
    assert [(e["shard"], e["row"]) for e in found["a"]] == [("train-00000", 1)]
    assert {(e["shard"], e["row"]) for e in found["b"]} == {("train-00000", 0), ("heldout-00000", 0)}
    for entry in (*found["a"], *found["b"]):
        assert (entry["reason"], entry["source"], entry["file"], entry["record"]) == (
            *("near_duplicate", "a", "a.jsonl"),
            1,
        )
        assert entry["detail"] == f"{entry['similarity']:.2f} like a a.jsonl:1"


def test_no_source_is_changed_by_those_after_it(tmp_path):
    """Not even by a document that is like two of theirs which are not like each other."""
    text = story(0, 100)
    left, right = changed(text[:50] + story(5, 8), 0), changed(story(6, 8) + text[50:], 0)
    bridge = " ".join(text)
    before = [
        write_corpus(tmp_path / "a", [left, " ".join(story(1))]),
        write_corpus(tmp_path / "b", [right, changed(story(1), 2)], heldout=[" ".join(story(9))]),
    ]
    after = write_corpus(tmp_path / "c", [bridge, changed(story(9), 1)], heldout=[changed(story(1), 1)])
    alone = deduplicate(tmp_path / "first", before)
    together = deduplicate(tmp_path / "second", [*before, after])
    assert alone == {name: together[name] for name in ("a", "b")}
    assert gone(together["b"]) == [1]
    assert gone(together["c"], "heldout") == [0]
    assert 1 in gone(together["c"])


def test_only_equal_texts_go_where_near_ones_are_not_asked_for(tmp_path):
    text = " ".join(story(0))
    corpus = write_corpus(tmp_path / "a", [text, text.upper(), text, " ".join(story(1)), text])
    found = deduplicate(tmp_path, [corpus], Method(3, None))["a"]
    assert gone(found) == [2, 4]
    assert {(entry["step"], entry["reason"]) for entry in found} == {("deduplicate", "exact_duplicate")}
    assert gone(deduplicate(tmp_path / "near", [corpus])["a"]) == [1, 2, 4]


def test_texts_without_words_and_short_texts_are_duplicates_of_their_equals_alone(tmp_path):
    texts = ["!!!", "???", "!!!", "poro", "Poro.", "hanki", "poro hanki", "poro", "…"]
    found = deduplicate(tmp_path, [write_corpus(tmp_path / "a", texts)])
    assert {entry["row"]: entry["reason"] for entry in found["a"]} == {
        2: "exact_duplicate",
        4: "near_duplicate",
        7: "exact_duplicate",
    }


def test_a_source_without_documents_is_nobodys_duplicate(tmp_path):
    corpora = [write_corpus(tmp_path / name, texts) for name, texts in (("a", []), ("b", ["x"]), ("c", []))]
    assert deduplicate(tmp_path, corpora) == {"a": [], "b": [], "c": []}


def test_the_documents_of_one_record_are_no_duplicates_of_each_other_and_go_together(tmp_path):
    finnish, english = " ".join(story(0)), " ".join(story(1))
    pair = [f"{finnish} {english}", f"{english} {finnish}"]
    records = [1, 1, 2, 3, 3]
    texts = [*pair, " ".join(story(2)), *pair]
    found = deduplicate(tmp_path, [write_corpus(tmp_path / "a", texts, records=records)])
    assert gone(found["a"]) == [3, 4]
    assert {entry["record"] for entry in found["a"]} == {1}


def test_many_alike_and_many_that_only_share_a_key_cost_little(tmp_path, monkeypatch):
    """A template with a few words filled in: every two of them share much, but not enough."""
    template = story(0, 40)
    alike = [changed(template, 1, seed) for seed in range(3000)]
    unlike = [" ".join(template[:24] + story(seed, 16)) for seed in range(1000, 4000)]
    compared = []
    similarity = duplicates.Signed.similarity

    def counted(self, first, second, workers):
        compared.append(len(first))
        return similarity(self, first, second, workers)

    monkeypatch.setattr(duplicates.Signed, "similarity", counted)
    found = deduplicate(tmp_path, [write_corpus(tmp_path / "a", alike + unlike)])
    assert set(range(1, 3000)) <= set(gone(found["a"]))
    assert not set(range(3001, 6000)) & set(gone(found["a"]))
    assert sum(compared) < 60 * 6000


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Two corpora of many shards with duplicates within and across them."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 20_000)
    monkeypatch.setattr(shards, "_ROW_GROUP_BYTES", 10_000)
    texts = [" ".join(story(seed)) for seed in range(200)]
    texts += [changed(story(seed), seed % 9, seed) for seed in range(0, 200, 2)]
    random.Random(0).shuffle(texts)
    return [
        write_corpus(tmp_path / "a", texts[:150]),
        write_corpus(tmp_path / "b", texts[150:], heldout=texts[:9]),
    ]


def test_workers_shards_and_ranges_of_keys_change_no_byte(copies, tmp_path, monkeypatch):
    deduplicate(tmp_path / "one", copies)
    monkeypatch.setattr(candidates, "_RANGE_DOCUMENTS", 37)
    monkeypatch.setattr("tokka.data.dedup.records._WORTH_A_PROCESS", 1)
    deduplicate(tmp_path / "other", copies, workers=3)
    assert digests(tmp_path / "one") == digests(tmp_path / "other")
    assert len(digests(tmp_path / "one" / "signatures" / "a")) >= 40


KILLED = """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from tokka.data.dedup.duplicates import find_duplicates
from tokka.data.dedup.minhash import banding_for
from tokka.data.dedup.signatures import Method, sign_corpus
base, out = Path(sys.argv[1]), Path(sys.argv[2])
method = Method(3, banding_for(0.7))
print("begins", flush=True)
for name in "ab":
    sign_corpus(base / name, out / "signatures" / name, method, workers=1)
find_duplicates({name: out / "signatures" / name for name in "ab"}, out / "duplicates",
                bands=method.banding.bands, threshold=0.7, workers=2)
"""


def test_killed_and_called_again_it_ends_with_the_same_bytes(copies, tmp_path):
    deduplicate(tmp_path / "whole", copies)
    out, delays, kills = tmp_path / "killed", [0.0, 0.05, 0.15], 0
    while True:
        command = [sys.executable, "-c", KILLED, tmp_path, out]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout.readline() == b"begins\n"
        try:
            process.wait(delays[kills] if kills < len(delays) else 60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills >= 2
    assert digests(out) == digests(tmp_path / "whole")


@pytest.mark.parametrize("moment", range(1, 4))
def test_stopped_at_any_source_it_ends_with_the_same_bytes(copies, tmp_path, monkeypatch, moment):
    deduplicate(tmp_path / "whole", copies)
    calls = []

    def stops(function):
        def wrapped(*arguments):
            calls.append(1)
            if len(calls) == 1 + 9 * moment:
                raise KeyboardInterrupt
            return function(*arguments)

        return wrapped

    with monkeypatch.context() as patched:
        patched.setattr(duplicates, "_join_alike", stops(duplicates._join_alike))
        patched.setattr(duplicates, "_write_list", stops(duplicates._write_list))
        with pytest.raises(KeyboardInterrupt):
            deduplicate(tmp_path / "stopped", copies)
    deduplicate(tmp_path / "stopped", copies)
    assert digests(tmp_path / "stopped") == digests(tmp_path / "whole")
