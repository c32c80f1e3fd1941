"""How torch computes: in which format, with how many threads, and what it does with denormal numbers.

Formats are those that matrix products and convolutions multiply in; parameters, losses and statistics are float32 in
each. What holds for the whole process is set for a block and put back after it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch

from igan_zoo.machine.processor import processor
from igan_zoo.training.recipes.settings import Precision

# Flags of a CPU that multiplies in bfloat16, as Linux names them.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
# Ampere is the first generation of NVIDIA's GPUs whose tensor cores take bfloat16.
_AMPERE = (8, 0)


def resolved_precision(precision: Precision | Literal["auto"], device: str) -> Precision:
    """Returns what ``auto`` means on ``device``: bfloat16 where it multiplies in it, else float32."""
    if precision != "auto":
        return precision
    return "bfloat16" if multiplies_in_bfloat16(device) else "float32"


def multiplies_in_bfloat16(device: str) -> bool:
    """Whether the device has instructions for it: AVX-512 BF16 or AMX on CPUs, Ampere or later on CUDA.

    Others can do it, too, but more slowly than float32.
    """
    if device == "cuda":
        return torch.cuda.get_device_capability() >= _AMPERE
    return not _BFLOAT16_FLAGS.isdisjoint(processor().flags)


@contextlib.contextmanager
def float32_as(precision: Precision, device: str) -> Iterator[None]:
    """Sets what float32 means on a GPU inside the block: all digits, or those of TensorFloat-32 with ``tf32``.

    torch's own default is one for matrix products and the other for convolutions. CPUs have float32 only. The shapes of
    a training stay the same, so the fastest convolutions are looked for once.
    """
    if device != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    cudnn.benchmark = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Computes with so many of torch's threads inside the block; None leaves their number as it is."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)


@contextlib.contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Takes denormal numbers for zero inside the block."""
    smallest_normal = torch.tensor(torch.finfo(torch.float32).tiny)
    before = bool(smallest_normal / 2 == 0)  # torch sets this, and does not say how it is set
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def autocast(precision: Precision, device: str) -> contextlib.AbstractContextManager[Any]:
    """Returns the context that networks compute in."""
    return torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
