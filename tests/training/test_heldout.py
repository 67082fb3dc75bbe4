"""Held-out text measured while training goes on: rightly, despite kills, changing no bit of training."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_job import VOCABULARY, assert_same_result, make_job, make_recipe
from transformers import AutoModelForCausalLM

from tokka.training import run as run_module
from tokka.training.heldout import Heldout, HeldoutText
from tokka.training.objectives import Inputs
from tokka.training.run import run

TEXTS = {
    "finnish": HeldoutText("fi", ["Yö on pitkä.", "Päivä"]),
    "english": HeldoutText("en", ["The night is long, and so is this sentence about it."]),
    "verse": HeldoutText("fi", ["Vaka vanha Väinämöinen"]),
    "empty": HeldoutText("en", []),
}


class Bytes:
    """A tokenizer of bytes below the vocabulary of the small job; 2 ends a document."""

    eos_id, begin_id = 2, None

    def encode_batch(self, texts, specials):
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) % VOCABULARY for text in texts]


def heldout_of(recipe) -> Heldout:
    return Heldout.pack(TEXTS, Bytes(), recipe.training)


def job_of(folder: Path, **evaluation):
    recipe = make_recipe()
    recipe = recipe.model_copy(
        update={"evaluation": recipe.evaluation.model_copy(update={"during": 640} | evaluation)}
    )
    job = make_job(folder, recipe)
    return type(job)(**(vars(job) | {"heldout": heldout_of(recipe)}))


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "heldout.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    run(job_of(folder))
    return folder


def test_every_byte_is_scored_once_and_end_tokens_are_not():
    recipe = make_recipe()
    held = heldout_of(recipe)
    texts = {source: text.documents for source, text in TEXTS.items() if text.documents}
    assert held.bytes == {source: len("".join(texts[source]).encode()) for source in texts}
    for source, batches in held.batches.items():
        scored = [t for batch in batches for t in batch.targets.flatten().tolist() if t >= 0]
        expected = np.concatenate(Bytes().encode_batch(TEXTS[source].documents, ()))
        assert scored == expected.tolist()
        for batch in batches:
            assert batch.tokens.shape == batch.targets.shape == (4, 32)


def test_bits_per_byte_add_up_the_sources_of_a_language():
    held = heldout_of(make_recipe())
    bits = held.bits_per_byte(lambda batch: float((batch.targets >= 0).sum()) * math.log(2) * 3, slice(None))
    assert bits == {"fi": pytest.approx(3.0), "en": pytest.approx(3.0)}


def test_it_is_what_transformers_computes_of_the_published_revision(measured: Path):
    (row,) = [row for row in rows_of(measured) if row["tokens"] == 2048]
    model = AutoModelForCausalLM.from_pretrained(measured / "revisions" / "2.048K").double()
    nats, size = 0.0, 0
    held = heldout_of(make_recipe())
    for source in ("finnish", "verse"):
        for batch in held.batches[source]:
            with torch.no_grad():
                logits = model(batch.tokens).logits
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), batch.targets.flatten(), ignore_index=-100, reduction="sum"
            )
            nats += loss.item()
        size += held.bytes[source]
    assert row["languages"]["fi"] == pytest.approx(nats / math.log(2) / size, rel=0.01)  # bf16


def test_it_is_measured_at_the_beginning_at_each_stretch_and_at_the_end(measured: Path):
    assert [row["step"] for row in rows_of(measured)] == [0, 5, 10, 15, 16]
    assert set(rows_of(measured)[0]["languages"]) == {"fi", "en"}


def test_training_ends_in_the_same_bits_as_without(measured: Path, tmp_path: Path):
    run(make_job(tmp_path))
    assert_same_result(measured, tmp_path)


@pytest.mark.parametrize("step", [0, 10])
def test_a_run_killed_while_it_measures_lost_nothing_and_measures_again(
    step: int, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class KilledError(Exception):
        pass

    def record(self, row):
        if row["step"] == step:
            raise KilledError
        return whole(self, row)

    whole = run_module.Metrics.record_heldout
    with monkeypatch.context() as patched:
        patched.setattr(run_module.Metrics, "record_heldout", record)
        with pytest.raises(KilledError):
            run(job_of(tmp_path))
    run(job_of(tmp_path))
    assert rows_of(tmp_path) == rows_of(measured)
    assert_same_result(tmp_path, measured)


def test_ranks_measure_their_own_rows():
    held = heldout_of(make_recipe())
    seen: list[Inputs] = []
    held.bits_per_byte(lambda batch: seen.append(batch) or 0.0, slice(1, 3))
    assert all(batch.tokens.shape == (2, 32) for batch in seen)
