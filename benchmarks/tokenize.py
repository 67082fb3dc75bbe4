"""Encoding speed: tokka's ``encode_batch`` against ``tokenizers``' ``encode_batch_fast``, on Finnish text.

    python benchmarks/tokenize.py --data ../shared/data

Trains a tokenizer of each pattern on the texts, checks that both give the same ids for all of them, then
times them in turn, on all cores: ``encode_batch_fast`` with all texts in one call and 1000 in a call, and
tokka. gigatoken remembers words that it has met, so its first pass, with none, is shown as well.
"""

import sys

sys.path.pop(0)  # the folder of this file, which hides the standard library's `tokenize`

import argparse
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.tokenizer.load import load_tokenizer
from tokka.tokenizer.train import train_tokenizer
from tokka.workspace.machine import describe

Result = TypeVar("Result")

BATCH = 1000
NEEDED = {"llama3": 10.0, "bloom": 1.0}
"""How many times as fast as ``tokenizers`` tokka must be."""


def main() -> int:
    options = _options()
    texts = _finnish(options.data)
    size = sum(len(text.encode()) for text in texts)
    table = Table(
        *("pattern", "backend", "one call", f"{BATCH} a call", "tokka", "first pass", "times", "needed"),
        title=f"MB/s, median of {options.repeats} passes in turn",
    )
    slow = []
    for pattern, needed in NEEDED.items():
        with tempfile.TemporaryDirectory() as folder:
            section = TrainedTokenizer(vocab_size=options.vocab_size, pattern=pattern, sample_bytes=size)
            train_tokenizer(section, {"fi": texts}, Path(folder))
            seconds, first, backend = _compare(Path(folder), texts, options.repeats)
        whole, batches, ours = (size / 1e6 / statistics.median(passes) for passes in seconds)
        times = ours / max(whole, batches)
        speeds = [f"{speed:.1f}" for speed in (whole, batches, ours, size / 1e6 / first)]
        table.add_row(pattern, backend, *speeds, f"{times:.1f}", f"{needed:g}")
        slow += [pattern] if times < needed else []
    console = Console()
    console.print(f"{len(texts):,} Finnish texts, {size / 1e6:.1f} MB; {options.vocab_size:,} entries")
    machine = describe()
    versions = [f"{name} {machine.versions.get(name, '-')}" for name in ("python", "tokenizers", "gigatoken")]
    console.print(f"{machine.processor}, {machine.cores} cores; {', '.join(versions)}")
    console.print(table)
    return len(slow)


def _compare(folder: Path, texts: list[str], repeats: int) -> tuple[list[list[float]], float, str]:
    """Return the seconds of every pass, by way of encoding, those of tokka's first, and its backend."""
    tokenizer = load_tokenizer(folder)
    backend = tokenizer.backend
    reference = Tokenizer.from_file(str(folder / "tokenizer.json"))
    reference.encode_special_tokens = True  # as tokka: what a text spells is text

    def in_one_call() -> list[list[int]]:
        return [each.ids for each in reference.encode_batch_fast(texts, add_special_tokens=False)]

    def in_batches() -> list[list[int]]:
        return [
            each.ids
            for start in range(0, len(texts), BATCH)
            for each in reference.encode_batch_fast(texts[start : start + BATCH], add_special_tokens=False)
        ]

    ours, first = _timed(lambda: tokenizer.encode_batch(texts))
    for text, ids, expected in zip(texts, ours, in_one_call(), strict=True):
        if ids.tolist() != expected:
            raise SystemExit(f"different ids for {text[:100]!r}")
    ways = (in_one_call, in_batches, lambda: tokenizer.encode_batch(texts))
    passes = [[_timed(way)[1] for way in ways] for _ in range(repeats)]
    return [list(column) for column in zip(*passes, strict=True)], first, backend


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun


def _finnish(data: Path) -> list[str]:
    texts = []
    for path in sorted((data / "text" / "fi").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    if not texts:
        raise SystemExit(
            f"no Finnish texts in {data / 'text' / 'fi'}; name the folder of the data with --data"
        )
    return texts


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(__file__).parents[1] / "../shared/data"
    parser.add_argument("--data", type=Path, default=data, help="folder with text/fi/*.jsonl.gz")
    parser.add_argument("--vocab-size", type=int, default=65_536)
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
