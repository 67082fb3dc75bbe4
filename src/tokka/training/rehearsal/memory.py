"""How much memory computing takes, and for what, counted as storage comes and goes."""

import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, UntypedStorage
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Kind = Literal["parameters", "gradients", "optimizer", "gathered", "activations", "temporary"]
"""What storage is for:

- ``parameters``, ``gradients``, ``optimizer``: what stays from step to step;
- ``gathered``: whole parameters while they are computed with, and buffers for gathering and reducing them;
- ``activations``: what a forward pass makes, kept for the backward pass or not;
- ``temporary``: what a backward pass or an update makes, recomputed activations among it.
"""

_BLOCK = 512
"""Bytes to multiples of which PyTorch's allocator for GPUs rounds."""

_GATHERING = ("unshard", "wait_for_unshard", "pre_backward", "post_backward", "finalize_backward")
"""Methods in which sharded parameters are gathered and gradients reduced."""


class MemoryRecord(TorchDispatchMode):
    """Records what storage is held while it is entered, on real tensors or on fake ones.

    Attributes:
        held: bytes held now, by kind.
        peak: bytes by kind at the moment at which most were held in all.
    """

    def __init__(self, known: Mapping[Kind, Iterable[Tensor]]) -> None:
        """Begin with the tensors that are ``known`` to be held."""
        super().__init__()
        self.held: dict[Kind, int] = {}
        self.peak: dict[Kind, int] = {}
        self._storages: dict[int, tuple[Kind, int]] = {}
        self._inside: list[Kind] = []
        self._undo: list[tuple[type, str, Any]] = []
        for kind, tensors in known.items():
            with self._as(kind):
                for tensor in tensors:
                    self._note(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # what it does to the local tensors comes here next
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        return result

    def __enter__(self) -> Self:
        for name in _GATHERING:
            self._wrap(FSDPParamGroup, name, lambda _: self._as("gathered"))
        self._wrap(UntypedStorage, "resize_", lambda storage: self._resizing(storage))
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        while self._undo:
            owner, name, original = self._undo.pop()
            setattr(owner, name, original)

    @contextmanager
    def _as(self, kind: Kind) -> Iterator[None]:
        self._inside.append(kind)
        yield
        self._inside.pop()

    @contextmanager
    def _resizing(self, storage: UntypedStorage) -> Iterator[None]:
        """Count ``storage`` anew: sharded parameters are freed and come back by changing its size."""
        yield
        if storage._cdata in self._storages:
            kind, before = self._storages[storage._cdata]
            now = _rounded(storage.nbytes())
            self._storages[storage._cdata] = kind, now
            self._change(kind, now - before)

    def _wrap(self, owner: type, name: str, around: Any) -> None:
        """Have the method ``name`` of ``owner`` run inside ``around(self)`` until this record is left."""
        original = getattr(owner, name, None)
        if original is None:  # another version of PyTorch: its storage counts as activations then
            return

        def wrapped(this: Any, *args: Any, **kwargs: Any) -> Any:
            with around(this) or nullcontext():
                return original(this, *args, **kwargs)

        setattr(owner, name, wrapped)
        self._undo.append((owner, name, original))

    def _note(self, tensor: Tensor) -> None:
        local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        storage = local.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        kind, size = self._kind(), _rounded(storage.nbytes())
        self._storages[key] = kind, size
        self._change(kind, size)
        weakref.finalize(storage, self._gone, key).atexit = False

    def _kind(self) -> Kind:
        if self._inside:
            return self._inside[-1]
        in_backward = torch._C._current_graph_task_id() != -1
        return "temporary" if in_backward or not torch.is_grad_enabled() else "activations"

    def _gone(self, key: int) -> None:
        kind, size = self._storages.pop(key)
        self._change(kind, -size)

    def _change(self, kind: Kind, size: int) -> None:
        self.held[kind] = self.held.get(kind, 0) + size
        if sum(self.held.values()) > sum(self.peak.values()):
            self.peak = cast(dict[Kind, int], dict(self.held))


def _rounded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
