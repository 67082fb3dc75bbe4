"""The state of all global random number generators, as JSON content."""

import hashlib
import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_joined(seed: int, *, step: int, rank: int) -> None:
    """Seed the generators of a rank that was not there when the run reached ``step`` with fewer ranks."""
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    seed_all(int.from_bytes(digest[:8], "little") >> 1)


def random_state() -> dict[str, Any]:
    """Return the state of Python's, NumPy's and PyTorch's generators."""
    numbers: dict[str, Any] = np.random.get_state(legacy=False)
    key, place = numbers["state"]["key"], numbers["state"]["pos"]
    state = {
        "python": random.getstate(),
        "numpy": numbers | {"state": {"key": key.tolist(), "pos": place}},
        "torch": _to_hex(torch.get_rng_state()),
    }
    if torch.cuda.is_available():
        state["cuda"] = _to_hex(torch.cuda.get_rng_state())
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Continue from :func:`random_state`."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    numbers = state["numpy"]["state"]
    key = np.array(numbers["key"], dtype=np.uint32)
    np.random.set_state(state["numpy"] | {"state": {"key": key, "pos": numbers["pos"]}})
    torch.set_rng_state(_from_hex(state["torch"]))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(_from_hex(state["cuda"]))


def _to_hex(state: torch.Tensor) -> str:
    return state.numpy().tobytes().hex()


def _from_hex(state: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(state), dtype=torch.uint8)
