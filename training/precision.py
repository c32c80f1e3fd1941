"""In which format matrix products and convolutions multiply. Parameters, losses and statistics are float32 in each."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

import torch

from igan_zoo.training.settings import Precision

# Flags of a CPU that multiplies in bfloat16, as Linux names them.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
_CPU_FLAGS = Path("/proc/cpuinfo")
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
    try:
        text = _CPU_FLAGS.read_text()
    except OSError:  # not Linux
        return False
    return not _BFLOAT16_FLAGS.isdisjoint(text.split())


def use_precision(precision: Precision, device: str) -> None:
    """Sets what float32 means on a GPU for this process: all digits, or those of TensorFloat-32 with ``tf32``.

    torch's own default is one for matrix products and the other for convolutions. CPUs have float32 only. The shapes of
    a training stay the same, so the fastest convolutions are looked for once.
    """
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = True


def autocast(precision: Precision, device: str) -> contextlib.AbstractContextManager[Any]:
    """Returns the context that networks compute in."""
    return torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
