"""Memory and time of weights from and to Hugging Face folders, a model as large as Llama 3.2 3B.

A model of random bf16 weights is written, then each of these happens in processes of its own: one process
imports it and exports it again, and two ranks do, each holding half of every parameter. What counts is the
peak of resident memory, mapped pages of files included, above what the process had before and the parameters
that it must hold.

    python benchmarks/weights.py [--layers 28] [--width 3072] [--vocabulary 128256] [--shard-gb 5]

Ends with an error unless every peak is at most the largest file and 1 GB above what must be held, and every
tensor comes back bit for bit. Needs Linux, and disk for three times the model.
"""

import sys

sys.path.pop(0)  # the folder of this file, which hides the standard library's `tokenize`

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

from tokka.models.hugging_face import SpecialTokens
from tokka.models.identity import Identity
from tokka.models.spec import spec_for
from tokka.models.stored import StoredWeights
from tokka.parallel.weights import load_into, save_hf
from tokka.recipe.model import Llama

MARGIN = 10**9
"""Bytes that a peak may be above the largest file."""


class RandomWeights(dict[str, Tensor]):
    """Parameters by name, each drawn when it is asked for."""

    def __init__(self, config: Llama) -> None:
        shapes = spec_for(config).build_meta(config).named_parameters()
        super().__init__((name, parameter) for name, parameter in shapes)

    def __getitem__(self, name: str) -> Tensor:
        shape = super().__getitem__(name).shape
        return torch.empty(shape, dtype=torch.bfloat16).uniform_(-0.02, 0.02)


def write_model(options: argparse.Namespace, folder: Path) -> None:
    config = Llama(
        architecture="llama",
        n_layers=options.layers,
        n_heads=options.width // 128,
        n_kv_heads=max(1, options.width // 384),
        d_model=options.width,
        d_ffn=options.width * 8 // 3 // 256 * 256,
        vocab_size=options.vocabulary,
        tied_embeddings=True,
    )
    identity = Identity.new(config, SpecialTokens(), torch.bfloat16)
    shard_bytes = int(options.shard_gb * 1e9)
    save_hf(RandomWeights(config), config, folder, identity=identity, shard_bytes=shard_bytes)


def empty_parameters(stored: StoredWeights, ranks: int) -> dict[str, Tensor]:
    """Return room for this rank's rows of every parameter."""
    if ranks == 1:
        return {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in stored.shapes.items()}
    mesh = init_device_mesh("cpu", (ranks,))
    return {
        name: DTensor.from_local(
            torch.zeros(shape[0] // ranks, *shape[1:], dtype=torch.bfloat16),
            mesh,
            [Shard(0)],
            run_check=False,
        )
        for name, shape in stored.shapes.items()
    }


def there_and_back(rank: int, ranks: int, base: str, copy: str, shard_bytes: int, results: Any) -> None:
    """Import ``base`` and export it as ``copy``; report seconds and peaks of both."""
    torch.set_num_threads(1)
    if ranks > 1:
        store = dist.FileStore(f"{copy}.store", ranks)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    stored = StoredWeights(Path(base))
    parameters = empty_parameters(stored, ranks)
    imported = measured(lambda: load_into(parameters, stored))
    identity = Identity.of(stored)
    exported = measured(
        lambda: save_hf(parameters, stored.config, Path(copy), identity=identity, shard_bytes=shard_bytes)
    )
    results.put({"rank": rank, "import": imported, "export": exported})
    if ranks > 1:
        dist.destroy_process_group()


def measured(work: Callable[[], None]) -> tuple[float, int]:
    """Return the seconds of ``work``, and by how many bytes resident memory rose above what it was before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what there is
    before, begun = resident("VmRSS"), time.perf_counter()
    work()
    return time.perf_counter() - begun, resident("VmHWM") - before


def resident(key: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{key}:"))


def tensors_of(folder: Path) -> Iterator[tuple[str, Tensor]]:
    stored = StoredWeights(folder)
    for name in stored.shapes:
        yield from stored.read({name: ()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--width", type=int, default=3072)
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--shard-gb", type=float, default=5.0)
    parser.add_argument("--margin-gb", type=float, default=MARGIN / 1e9)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        write_model(options, base)
        files = [path.stat().st_size for path in base.glob("*.safetensors")]
        allowed = max(files) + int(options.margin_gb * 1e9)
        print(json.dumps({"bytes": sum(files), "largest_file": max(files), "allowed_above": allowed}))
        for ranks in (1, 2):
            copy, results = Path(temporary) / f"copy{ranks}", context.Queue()
            arguments = (ranks, str(base), str(copy), int(options.shard_gb * 1e9), results)
            processes = [context.Process(target=there_and_back, args=(r, *arguments)) for r in range(ranks)]
            for process in processes:
                process.start()
            found = [results.get(timeout=1200) for _ in processes]
            for process in processes:
                process.join()
            for row in sorted(found, key=lambda row: row["rank"]):
                report(ranks, row, allowed)
            for (name, before), (_, after) in zip(tensors_of(base), tensors_of(copy), strict=True):
                if not torch.equal(before.view(torch.int16), after.view(torch.int16)):
                    raise SystemExit(f"{name} came back changed")


def report(ranks: int, row: dict[str, Any], allowed: int) -> None:
    for what in ("import", "export"):
        seconds, above = row[what]
        print(
            json.dumps(
                {"ranks": ranks, "rank": row["rank"], "what": what, "seconds": round(seconds, 2)}
                | {"above": above}
            )
        )
        if above > allowed:
            raise SystemExit(f"{what} took {above / 1e9:.2f} GB, {allowed / 1e9:.2f} are allowed")


if __name__ == "__main__":
    main()
