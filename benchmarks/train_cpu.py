"""Training throughput on a CPU: tokka's engine against the Hugging Face Trainer, interleaved.

Both train the same Llama of 25M parameters from the same weights, on the same tokens in the same order and
batches, in bf16, each in a process of its own, turn by turn. A step's time includes loading its data. What
is compared is the median over all steps after the first ones, and the process's peak memory.

    python benchmarks/train_cpu.py [--rounds 3] [--steps 12] [--batch 8] [--length 512] [--compile]

Ends with an error unless tokka is at least 1.3 times as fast at no more memory.
"""

import sys

sys.path.pop(0)  # the folder of this file, which hides the standard library's `tokenize`

import argparse
import json
import resource
import subprocess
import tempfile
import time
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from tokka.workspace.machine import describe

SHAPE = {"n_layers": 8, "n_heads": 6, "d_model": 384, "d_ffn": 864, "vocab_size": 32000}
"""24,975,744 parameters, embeddings tied."""

LR, BETAS, WEIGHT_DECAY, CLIP = 3e-4, (0.9, 0.95), 0.1, 1.0
WARM_UP = 3
"""Steps that are not counted."""

WANTED = 1.3


def make_inputs(folder: Path, options: argparse.Namespace) -> None:
    """Write first weights and tokens: a random text in which each token suggests the next."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=SHAPE["vocab_size"],
        hidden_size=SHAPE["d_model"],
        intermediate_size=SHAPE["d_ffn"],
        num_hidden_layers=SHAPE["n_layers"],
        num_attention_heads=SHAPE["n_heads"],
        num_key_value_heads=SHAPE["n_heads"],
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        tie_word_embeddings=True,
        use_cache=False,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    rng = np.random.default_rng(0)
    follows = rng.integers(0, SHAPE["vocab_size"], SHAPE["vocab_size"])
    tokens = rng.integers(0, SHAPE["vocab_size"], options.steps * options.batch * options.length + 1)
    tokens[1::2] = follows[tokens[:-1:2]]
    np.save(folder / "tokens.npy", tokens)


def run_tokka(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train with tokka's engine; return seconds of each step and the mean loss."""
    import numpy as np

    from tokka.data.order import Part
    from tokka.data.sampler import Sampler
    from tokka.models.hugging_face import SpecialTokens
    from tokka.recipe.recipe import Recipe
    from tokka.training.run import Job, run

    class OneDocument:
        def __init__(self) -> None:
            self.ids = np.load(folder / "tokens.npy", mmap_mode="r")
            self.tokens = len(self.ids)

        def __len__(self) -> int:
            return 1

        def sizes(self, documents: Any) -> Any:
            return np.array([self.tokens for _ in documents])

        def read(self, document: int, start: int, stop: int) -> Any:
            return self.ids[start:stop]

    budget = options.steps * options.batch * options.length
    recipe = Recipe.model_validate(
        {
            "name": "benchmark",
            "sources": {"text": {"path": "tokens.npy", "language": "en"}},
            "mixture": {"text": {"percent": 100}},
            "tokenizer": {"load": "none"},
            "model": SHAPE
            | {
                "architecture": "llama",
                "n_kv_heads": SHAPE["n_heads"],
                "tied_embeddings": True,
                "base": str(folder / "base"),
            },
            "training": {
                "sequence_length": options.length,
                "batch_tokens": options.batch * options.length,
                "micro_batch": options.micro_batch,
                "optimizer": {"lr": LR, "betas": BETAS, "weight_decay": WEIGHT_DECAY, "clip": CLIP},
                "schedule": {"shape": "constant"},
                "compile": options.compile,
                "checkpoints": {"revisions": budget},
            },
            "release": {"repo": "tokka/benchmark"},
        }
    )
    parts = [Part.whole({"text": budget})]
    sampler = Sampler({"text": OneDocument()}, parts, seed=0, sequence_length=options.length)
    with tempfile.TemporaryDirectory() as out:
        run(Job(recipe, budget, sampler, SpecialTokens(), {"text": 1}, lambda piece: {}, Path(out)))
        rows = [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]
    # Memory at the last step: the Trainer here saves and publishes nothing either.
    return {
        "seconds": [row["step_seconds"] for row in rows],
        "loss": mean(row["loss"] for row in rows),
        "memory": rows[-1]["peak_memory"],
    }


def run_trainer(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train with the Hugging Face Trainer; return seconds of each step and the mean loss."""
    import numpy as np
    import torch
    from torch.utils.data import Dataset, SequentialSampler
    from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    class Sequences(Dataset):
        def __init__(self) -> None:
            self.ids = np.load(folder / "tokens.npy", mmap_mode="r")
            self.tokens = len(self.ids)

        def __len__(self) -> int:
            return (len(self.tokens) - 1) // options.length

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            ids = torch.from_numpy(self.tokens[index * options.length : (index + 1) * options.length].copy())
            return {"input_ids": ids, "labels": ids}

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any) -> SequentialSampler:
            return SequentialSampler(self.train_dataset)

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.ends = [time.perf_counter()]

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.ends = [time.perf_counter()]

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    clock = Clock()
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=options.micro_batch,
        gradient_accumulation_steps=options.batch // options.micro_batch,
        max_steps=options.steps,
        bf16=True,
        use_cpu=True,
        learning_rate=LR,
        lr_scheduler_type="constant",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        weight_decay=WEIGHT_DECAY,
        max_grad_norm=CLIP,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        torch_compile=options.compile,
    )
    model = LlamaForCausalLM.from_pretrained(folder / "base", dtype=torch.float32, attn_implementation="sdpa")
    trainer = InOrder(model=model, args=arguments, train_dataset=Sequences(), callbacks=[clock])
    result = trainer.train()
    return {
        "seconds": [after - before for before, after in pairwise(clock.ends)],
        "loss": result.training_loss,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


ENGINES = {"tokka": run_tokka, "Trainer": run_trainer}


def measure(engine: str, folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Run one engine in a process of its own."""
    command = [sys.executable, __file__, *arguments, "--engine", engine, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{engine} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(options: argparse.Namespace, arguments: list[str]) -> bool:
    """Run both in turns, print the table; return whether tokka is as fast and small as wanted."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ENGINES}
    with tempfile.TemporaryDirectory() as folder:
        make_inputs(Path(folder), options)
        for number in range(options.rounds):
            for name, results in found.items():
                results.append(measure(name, Path(folder), arguments))
                last = options.batch * options.length / median(results[-1]["seconds"][WARM_UP:])
                print(f"round {number + 1}, {name}: {last:,.0f} tokens/s", file=sys.stderr, flush=True)
    rate, memory = {}, {}
    for name, results in found.items():
        steps = [second for result in results for second in result["seconds"][WARM_UP:]]
        rate[name] = options.batch * options.length / median(steps)
        memory[name] = median(result["memory"] for result in results)
    print_table(options, found, rate, memory)
    return rate["tokka"] >= WANTED * rate["Trainer"] and memory["tokka"] <= memory["Trainer"]


def print_table(
    options: argparse.Namespace,
    found: dict[str, list[dict[str, Any]]],
    rate: dict[str, float],
    memory: dict[str, float],
) -> None:
    here = describe()
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "accelerate"))
    print(f"{here.processor}, {here.cores} cores, {here.bf16 or 'no bf16'}; {versions}")
    print(
        f"Llama, 25.0M parameters; {options.batch} x {options.length} tokens a step, {options.micro_batch} "
        f"sequences a pass; compile {options.compile}; {options.rounds} rounds of {options.steps} steps\n"
    )
    print(f"{'':8}  {'tokens/s':>9}  {'peak memory':>11}  {'mean loss':>9}")
    for name, results in found.items():
        loss = mean(result["loss"] for result in results)
        print(f"{name:8}  {rate[name]:9,.0f}  {memory[name] / 2**20:7,.0f} MiB  {loss:9.4f}")
    ratio, share = rate["tokka"] / rate["Trainer"], memory["tokka"] / memory["Trainer"]
    print(f"\ntokka: {ratio:.2f} times the tokens per second, {share:.2f} times the memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8, help="sequences of a step")
    parser.add_argument("--micro-batch", type=int, default=8, help="sequences of a pass")
    parser.add_argument("--length", type=int, default=512, help="tokens of a sequence")
    parser.add_argument("--compile", action="store_true", help="let both use torch.compile")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(ENGINES[options.engine](options.folder, options)))
    elif not compare(options, sys.argv[1:]):
        sys.exit(f"wanted: at least {WANTED} times the tokens per second, at no more memory")


if __name__ == "__main__":
    main()
