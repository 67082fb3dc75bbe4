"""The real corpora, read as the recipes read them."""

import gzip
import json
import re

import pytest

from tokka.data.documents import Document
from tokka.data.sources.read import read_source
from tokka.recipe.sources import Source

DIRECTIONS = [
    "<|user|>Translate into Finnish: {en} <|assistant|>{fi}",
    "<|user|>Translate into English: {fi} <|assistant|>{en}",
]
TEMPLATES = [
    ("text/", "{text}"),
    ("math/gsm8k", "{question}\n{answer}"),
    ("math/white", "{text}"),
    ("parallel/", "{en}\n{fi}"),
    ("eval/gsm8k/", "{question}\n{answer}"),
    ("eval/arc/", "{query}"),
    ("eval/mmlu/", "{question}"),
    ("eval/hellaswag/", "{ctx}"),
    ("eval/ifeval/", "{prompt}"),
    ("eval/mt_bench/question", "{category}"),
    ("eval/mt_bench/judge", "{prompt_template}"),
    ("sft/", "{instruction}\n{response}"),
    ("pref/", "{chosen}\n{rejected}"),
]


def stated_records(folder):
    """Return the records of every JSON Lines file as SOURCES.md states them."""
    rows = re.findall(r"^\| `(\S+\.jsonl\.gz)` \|[^|]*\| (\d+) \|", (folder / "SOURCES.md").read_text(), re.M)
    return {name: int(records) for name, records in rows}


def test_every_corpus_gives_as_many_records_as_is_stated(shared_data):
    stated = stated_records(shared_data)
    assert len(stated) > 20
    for name, records in stated.items():
        template = next(text for start, text in TEMPLATES if name.startswith(start))
        found = list(read_source(Source(path=name, language="x", template=template), shared_data))
        assert len(found) == records, name
        assert all(isinstance(item, Document) for item in found), name


def test_translations_are_documents_in_both_directions(shared_data):
    path = "parallel/ud_pud_en_fi.jsonl.gz"
    with gzip.open(shared_data / path, "rt", encoding="utf-8") as file:
        pairs = [json.loads(line) for line in file]
    found = list(read_source(Source(path=path, language="fi", template=DIRECTIONS), shared_data))
    assert len(found) == 2 * len(pairs) == 2000
    for number, pair in enumerate(pairs):
        there, back = found[2 * number : 2 * number + 2]
        assert there.text == "<|user|>Translate into Finnish: " + pair["en"] + " <|assistant|>" + pair["fi"]
        assert back.text == "<|user|>Translate into English: " + pair["fi"] + " <|assistant|>" + pair["en"]
        assert there.record == back.record == number + 1


@pytest.mark.parametrize("pattern", ["text/fi", "text/**/*.jsonl.gz"])
def test_folders_and_globs_of_real_text_are_read_whole(shared_data, pattern):
    stated = {
        name: records for name, records in stated_records(shared_data).items() if name.startswith("text/")
    }
    if pattern == "text/fi":
        stated = {name: records for name, records in stated.items() if name.startswith("text/fi/")}
    found = list(read_source(Source(path=pattern, language="x"), shared_data))
    assert len(found) == sum(stated.values())
    assert {item.file for item in found} == set(stated)
