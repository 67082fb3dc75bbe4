"""Curation on two cores: tokka against datatrove, on the same Finnish documents, turn by turn.

    python benchmarks/curation.py --data ../shared/data [--rounds 3] [--megabytes 8]

Near deduplication is the whole of it: signatures, candidates, clusters, and the documents without their
duplicates. datatrove does it as it comes, with its defaults for Finnish. Then the default chain of filters,
against those of datatrove that do the same. Each contender has a process of its own and two workers; what is
shown are medians. Last, how deduplication grows with 4 and 16 times the documents, in time and in memory.

datatrove needs spaCy for Finnish words: pip install spacy. Ends with an error where tokka is not 3 times as
fast at deduplication, or not twice as fast at filtering.
"""

import sys

sys.path.pop(0)  # the folder of this file, which hides the standard library's `tokenize`

import argparse
import gzip
import json
import random
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from tokka.workspace.machine import describe

WANTED = {"deduplicate": 3.0, "filter": 2.0}
"""How many times as fast as datatrove tokka must be."""

SCALES = (1, 4, 16)
WORKERS = 2
PART_MEGABYTES = 2  # of text in a file, at every scale
COPIES = 0.15
"""Of the documents, so many are copies of others with a few words changed."""


def main() -> int:
    options = _options()
    if options.contender:
        print(json.dumps(contend(options)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return compare(options, Path(folder))


def compare(options: argparse.Namespace, folder: Path) -> int:
    """Run everything and print the tables; return how many wishes were not met."""
    from rich.console import Console
    from rich.table import Table

    inputs = {scale: folder / f"{scale}x" for scale in SCALES}
    sizes = {}
    for scale, documents in inputs.items():  # in other processes: memory of this one would count for theirs
        command = ("--data", options.data, "--megabytes", scale * options.megabytes)
        sizes[scale] = _run("documents", documents, folder / "work", *command)["result"]
    console, machine = Console(width=120), describe()
    versions = [f"{package} {version(package)}" for package in ("datatrove", "spacy", "pyarrow", "numpy")]
    console.print(f"{machine.processor}, {machine.cores} cores; {', '.join(versions)}")

    table = Table(
        "work", "MB", "by", "documents kept", "MB/s", "memory of a process", "times as fast", "wanted"
    )
    unmet = 0
    for work, wanted in WANTED.items():
        found: dict[str, list[dict[str, Any]]] = {"tokka": [], "datatrove": []}
        for _ in range(options.rounds):
            for name, results in found.items():
                results.append(_run(f"{work}-{name}", inputs[1], folder / "work"))
        seconds = {name: median(each["seconds"] for each in results) for name, results in found.items()}
        times = seconds["datatrove"] / seconds["tokka"]
        unmet += times < wanted
        for name, results in found.items():
            compared = (f"{times:.1f}", f"{wanted:g}") if name == "tokka" else ()
            table.add_row(work, f"{sizes[1]:.0f}", name, *_figures(results, sizes[1]), *compared)
    console.print(table)

    growth = Table("deduplicate", "MB", "documents kept", "MB/s", "memory of a process", "seconds")
    for scale, size in sizes.items():
        result = _run("deduplicate-tokka", inputs[scale], folder / "work")
        growth.add_row(f"{scale}x", f"{size:.0f}", *_figures([result], size), f"{result['seconds']:.1f}")
    console.print(growth)
    return unmet


def _figures(results: list[dict[str, Any]], megabytes: float) -> tuple[str, str, str]:
    """Return documents kept, MB/s, and the memory of the largest process."""
    seconds = median(result["seconds"] for result in results)
    memory = max(result["bytes"] for result in results)
    return f"{results[0]['result']:,}", f"{megabytes / seconds:.2f}", f"{memory / 1e6:.0f} MB"


def write_documents(folder: Path, texts: list[str], megabytes: float) -> float:
    """Write documents as JSON Lines and as shards of a corpus; return their MB of text.

    They are the real ones; then, as often as needed, the same with each word changed for another one, in
    another way each time, so that none is repeated; and copies of some that differ a little.
    """
    from tokka.data.shards import ShardWriter

    draw = random.Random(0)
    vocabulary = sorted({word for text in texts for word in text.split()})
    documents: list[str] = []
    size = 0
    others = {word: word for word in vocabulary}
    while size < megabytes * 10**6:
        for text in texts:
            fresh = _reworded(text, others.__getitem__)
            documents.append(fresh)
            if draw.random() < COPIES:
                documents.append(_slightly_changed(fresh, vocabulary, draw))
        others = dict(zip(vocabulary, draw.sample(vocabulary, len(vocabulary)), strict=True))
        size = sum(len(text.encode()) for text in documents)
    draw.shuffle(documents)
    del documents[int(len(documents) * megabytes * 10**6 / size) :]
    parts = round(megabytes / PART_MEGABYTES)
    for part in range(parts):
        here = documents[part::parts]
        writer = ShardWriter(folder / "corpus", "train")
        writer.folder.mkdir(parents=True, exist_ok=True)
        writer.shards = part
        with (folder / f"{part}.jsonl").open("w", encoding="utf-8") as lines:
            for number, text in enumerate(here, start=1):
                lines.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                writer.add(text.encode(), f"{part}.jsonl", number)
        writer.close()
    return sum(len(text.encode()) for text in documents) / 1e6


def contend(options: argparse.Namespace) -> dict[str, Any]:
    """Do one piece of work; return its result, its seconds, and the bytes of its largest process."""
    begun = time.perf_counter()
    if options.contender == "documents":
        result: float = write_documents(options.documents, _finnish(options.data), options.megabytes)
    else:
        result = CONTENDERS[options.contender](options.documents, options.work)
    seconds = time.perf_counter() - begun
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"result": result, "seconds": seconds, "bytes": peak * 1024}


def deduplicate(documents: Path, work: Path) -> int:
    """Take near duplicates out as a recipe with ``deduplicate: true`` does."""
    from tokka.data.dedup.duplicates import find_duplicates
    from tokka.data.dedup.minhash import banding_for
    from tokka.data.dedup.remove import remove_documents
    from tokka.data.dedup.signatures import Method, sign_corpus

    corpus, signatures, threshold = documents / "corpus", work / "signatures", 0.7
    banding = banding_for(threshold)
    sign_corpus(corpus, signatures, Method(3, banding), workers=WORKERS)
    found = {"corpus": signatures}
    find_duplicates(found, work / "duplicates", bands=banding.bands, threshold=threshold, workers=WORKERS)
    lists = [work / "duplicates" / "corpus.parquet"]
    return int(remove_documents(corpus, work / "documents", lists, workers=WORKERS)["documents"])


def deduplicate_with_datatrove(documents: Path, work: Path) -> int:
    """Take near duplicates out as datatrove's examples/minhash_deduplication.py does."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import ParquetReader
    from datatrove.pipeline.writers import ParquetWriter

    config, tasks = MinhashConfig(), len(list(documents.glob("*.jsonl")))
    signature = MinhashDedupSignature(str(work / "signatures"), config, language="fi")
    signature._hash_func = _xxh64  # datatrove 0.10 hands texts to xxhash, which since version 4 takes bytes
    reader = ParquetReader(str(documents / "corpus"))
    signatures, buckets, remove, out = (
        str(work / name) for name in ("signatures", "buckets", "remove", "documents")
    )
    stages: list[tuple[list[Any], int]] = [
        ([reader, signature], tasks),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets),
        ([MinhashDedupCluster(buckets, remove, config=config)], 1),
        ([reader, MinhashDedupFilter(remove), ParquetWriter(out)], tasks),
    ]
    for number, (pipeline, ranks) in enumerate(stages):
        logs = str(work / "logs" / str(number))
        LocalPipelineExecutor(pipeline, tasks=ranks, workers=WORKERS, logging_dir=logs).run()
    return _rows(Path(out))


def _xxh64(text: str) -> int:
    import xxhash

    return int(xxhash.xxh64_intdigest(text.encode()))


def filter_documents(documents: Path, work: Path) -> int:
    """Curate as a source with ``curate: true`` is."""
    from tokka.data import group
    from tokka.data.corpus import build_corpus
    from tokka.recipe.sources import Source

    group._GROUP_BYTES = 1  # a part for each worker, however small it is
    source = Source(path="*.jsonl", language="fi", curate=True)
    facts = build_corpus("fi", source, work / "corpus", root=documents, heldout=0, workers=WORKERS)
    return int(facts["documents"])


def filter_with_datatrove(documents: Path, work: Path) -> int:
    """Apply datatrove's own filters of the same kinds, in the same order, and its masking."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import (
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        LambdaFilter,
    )
    from datatrove.pipeline.formatters import FTFYFormatter, PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import ParquetWriter

    from tokka.data.curation.language import find_language

    pipeline = [
        JsonlReader(str(documents), glob_pattern="*.jsonl"),
        FTFYFormatter(),
        LambdaFilter(_is_finnish),  # as LanguageFilter decides, with the model that comes with tokka
        GopherRepetitionFilter(language="fi"),
        GopherQualityFilter(
            language="fi", max_avg_word_length=None, stop_words=list(find_language("fi").stop_words)
        ),
        FineWebQualityFilter(language="fi"),
        PIIFormatter(),
        ParquetWriter(str(work / "documents")),
    ]
    logs = str(work / "logs")
    tasks = len(list(documents.glob("*.jsonl")))
    LocalPipelineExecutor(pipeline, tasks=tasks, workers=WORKERS, logging_dir=logs).run()
    return _rows(work / "documents")


def _is_finnish(document: Any) -> bool:
    labels, scores = _model().predict(document.text.replace("\n", " "), k=-1)
    return dict(zip(labels, scores, strict=True)).get("__label__fi", 0) > 0.65


@cache
def _model() -> Any:
    import fasttext

    from tokka.data.curation.identify import bundled_model

    return fasttext.load_model(str(bundled_model()))


CONTENDERS: dict[str, Callable[[Path, Path], int]] = {
    "deduplicate-tokka": deduplicate,
    "deduplicate-datatrove": deduplicate_with_datatrove,
    "filter-tokka": filter_documents,
    "filter-datatrove": filter_with_datatrove,
}


def _run(contender: str, documents: Path, work: Path, *more: object) -> dict[str, Any]:
    """Let a contender work in a process of its own."""
    shutil.rmtree(work, ignore_errors=True)
    arguments = ("--contender", contender, "--documents", documents, "--work", work, *more)
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _rows(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))


def _reworded(text: str, other: Callable[[str], str]) -> str:
    return re.sub(r"\S+", lambda found: other(found[0]), text)


def _slightly_changed(text: str, vocabulary: list[str], draw: random.Random) -> str:
    rate = draw.choice((0.0, 0.01, 0.03, 0.06, 0.1, 0.2))
    return _reworded(text, lambda word: draw.choice(vocabulary) if draw.random() < rate else word)


def _finnish(data: Path) -> list[str]:
    """Return Finnish documents; what comes as single sentences is put together to documents of sixteen."""
    documents: list[str] = []
    for path in sorted((data / "text" / "fi").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        step = 16 if path.name.startswith("eduskunta") else 1
        documents += [" ".join(texts[start : start + step]) for start in range(0, len(texts), step)]
    if not documents:
        raise SystemExit(f"no Finnish texts in {data / 'text' / 'fi'}; name the folder with --data")
    return documents


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(__file__).parents[1] / "../shared/data"
    parser.add_argument("--data", type=Path, default=data, help="folder with text/fi/*.jsonl.gz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=float, default=8, help="text of 1x")
    parser.add_argument("--contender", choices=[*CONTENDERS, "documents"], help=argparse.SUPPRESS)
    parser.add_argument("--documents", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
