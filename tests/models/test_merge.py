"""Merging: against formulas in float64, in bounded memory, and only of models of one shape."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import EXAMPLES, bloom, built, every_architecture, llama, saved

from tokka.models.identity import Identity
from tokka.models.merge import merge_weights, merged
from tokka.models.stored import StoredWeights
from tokka.models.weights import load_hf
from tokka.parallel.weights import save_hf


def pair_of(config, folder, dtype=torch.float32):
    """Two models of one shape and different weights."""
    for name, seed in (("a", 0), ("b", 1)):
        parameters = dict(built(config, seed).named_parameters())
        identity = Identity.of(StoredWeights(saved(config, folder / f"as-{name}", dtype)))
        save_hf(parameters, config, folder / name, identity=identity, shard_bytes=9000)
    return folder / "a", folder / "b"


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Spherical interpolation in float64, written with unit vectors and the arc's tangent."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    angle = (
        math.atan2(
            np.linalg.norm(a / np.linalg.norm(a) - b / np.linalg.norm(b)),
            np.linalg.norm(a / np.linalg.norm(a) + b / np.linalg.norm(b)),
        )
        * 2
    )
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


@every_architecture
@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_each_tensor_lies_between_the_two_as_the_formula_says(config, method, tmp_path):
    first, second = pair_of(config, tmp_path)
    (tmp_path / "m").mkdir()
    count = merge_weights(first, second, tmp_path / "m", weight=0.3, method=method)
    models = [dict(load_hf(folder)[0].named_parameters()) for folder in (first, second, tmp_path / "m")]
    assert count == sum(value.numel() for value in models[2].values())
    for name, value in models[2].items():
        one, other = (model[name].detach().numpy() for model in models[:2])
        expected = (
            0.7 * one.astype(np.float64) + 0.3 * other if method == "linear" else slerp(one, other, 0.3)
        )
        assert np.abs(value.detach().numpy().ravel() - expected.ravel()).max() < 1e-6, name


@pytest.mark.parametrize("method", ["linear", "slerp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weights_zero_and_one_are_the_models_themselves(method, dtype, tmp_path):
    first, second = pair_of(EXAMPLES["llama"], tmp_path, dtype)
    for weight, same in ((0.0, first), (1.0, second)):
        folder = tmp_path / f"m{weight}"
        folder.mkdir()
        merge_weights(first, second, folder, weight=weight, method=method)
        assert StoredWeights(folder).dtype == dtype
        before, after = (dict(load_hf(each)[0].named_parameters()) for each in (same, folder))
        for name, value in after.items():
            assert torch.allclose(value.float(), before[name].float(), rtol=0, atol=1e-7), name


@given(st.floats(0, 1), st.integers(2, 50), st.integers(0, 10**6))
def test_the_arc_keeps_the_length_of_vectors_of_one_length(weight, size, seed):
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.nn.functional.normalize(torch.randn(size, generator=generator), dim=0) for _ in "ab")
    if one @ other > -0.9:
        assert float(merged(one, other, weight, "slerp").norm()) == pytest.approx(1, abs=1e-4)


def test_parallel_and_zero_tensors_are_merged_along_the_line():
    one = torch.randn(10)
    for other in (2 * one, -one, torch.zeros(10)):
        assert torch.equal(merged(one, other, 0.25, "slerp"), torch.lerp(one, other, 0.25))


def test_bfloat16_is_merged_in_fp32():
    one, other = torch.tensor([1.0]).bfloat16(), torch.tensor([1.0078125]).bfloat16()
    assert merged(one, other, 0.5, "linear").item() == 1.00390625


def test_other_shapes_are_refused_with_what_differs(tmp_path):
    first, second = saved(llama(), tmp_path / "a"), saved(llama(d_ffn=48, rope_base=10_000), tmp_path / "b")
    (tmp_path / "m").mkdir()
    with pytest.raises(ValueError, match=r"d_ffn 40 and 48; rope_base 500000\.0 and 10000\.0"):
        merge_weights(first, second, tmp_path / "m", weight=0.5, method="linear")
    with pytest.raises(ValueError, match="architecture llama and bloom"):
        merge_weights(first, saved(bloom(), tmp_path / "c"), tmp_path / "m", weight=0.5, method="linear")


def test_a_weight_out_of_range_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.5"):
        merge_weights(tmp_path, tmp_path, tmp_path, weight=1.5, method="linear")


PEAK = """
import re, sys, threading, time
from pathlib import Path
from tokka.models.merge import merge_weights
*folders, small, small_out = map(Path, sys.argv[1:])
merge_weights(small, small, small_out, weight=0.5, method="slerp")  # imports and allocates what is kept
status, seen = Path("/proc/self/status"), []
def look():
    while True:
        seen.append(int(re.search(r"RssAnon:\\s+(\\d+) kB", status.read_text())[1]) * 1024)
        time.sleep(0.001)
threading.Thread(target=look, daemon=True).start()
time.sleep(0.05)
before = seen[-1]
merge_weights(*folders, weight=0.5, method="slerp")
print(max(seen) - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at private memory as Linux tells it")
def test_memory_is_that_of_a_few_tensors_and_not_of_a_model(tmp_path):
    config = llama(n_layers=8, n_heads=8, n_kv_heads=8, d_model=512, d_ffn=1024, vocab_size=1024)
    first = saved(config, tmp_path / "a")
    size = sum(path.stat().st_size for path in first.glob("*.safetensors"))
    small = saved(llama(), tmp_path / "small")
    for name in ("m", "s"):
        (tmp_path / name).mkdir()
    script = [sys.executable, "-c", PEAK, first, first, tmp_path / "m", small, tmp_path / "s"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(script, capture_output=True, text=True, env=environment, timeout=300, check=True)
    assert int(done.stdout) < 40 * 2**20 < size / 2
