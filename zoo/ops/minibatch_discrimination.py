"""Minibatch discrimination for torch (paper, section 3.2): how close each example is to the others of its batch.

``o[i, b] = Σⱼ exp(-Σ_c |M[i, b, c] - M[j, b, c]|)``, the sum over all examples of the batch, ``i`` itself included.
Shapes: ``N`` examples, ``B`` kernels, ``C`` channels; ``M`` is ``[N, B, C]``, ``o`` is ``[N, B]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from igan_zoo.errors import OperatorError
from igan_zoo.ops import extension

Implementation = Literal["c", "reference"]

_NATIVE = (torch.float32, torch.float64)
_HALF = (torch.float16, torch.bfloat16)

# How many differences the reference holds at a time: 64 MB of float32.
_LARGEST_BROADCAST = 2**24


def minibatch_discrimination(activations: Tensor, impl: Implementation | None = None) -> Tensor:
    """Returns the closeness ``[N, B]``, from 1 to N, of activations ``[N, B, C]``, by the formula above.

    ``impl`` is ``"c"`` (CPU), ``"reference"``, or None: C for tensors on the CPU, where it is built, and the
    reference elsewhere and in ONNX exports. Takes float32 and float64; float16 and bfloat16 are computed in
    float32 and rounded at the end. Differentiable, at ties with ``sign(0) = 0``; in C once only. Raises
    :class:`OperatorError` for arguments that it does not take.
    """
    _check(activations, impl)
    if impl is None:
        impl = "c" if activations.device.type == "cpu" and not _exporting() and _kernels_are_built() else "reference"
    compute = _FORWARD if impl == "c" else minibatch_discrimination_reference
    if activations.dtype in _HALF:
        return compute(activations.float()).to(activations.dtype)
    return compute(activations)


def minibatch_discrimination_reference(activations: Tensor) -> Tensor:
    """The same function by the formula, on any device and in the dtype given, differentiable twice.

    Holds at most 2²⁴ (or ``N · B · C``) differences at a time, forward and backward, by computing some examples ``i``
    after others and, backward, once more.
    """
    rows = max(1, _LARGEST_BROADCAST // activations.numel())
    if _exporting() or rows >= activations.shape[0]:
        return _closeness(activations, activations)
    parts = torch.split(activations, rows)
    return torch.cat(
        [checkpoint(_closeness, part, activations, use_reentrant=False, preserve_rng_state=False) for part in parts]
    )


def _closeness(some: Tensor, every: Tensor) -> Tensor:
    differences = some[:, None] - every  # [some, N, B, C]
    return torch.exp(-differences.abs().sum(dim=3)).sum(dim=1)  # [some, B]


def _check(activations: Tensor, impl: str | None) -> None:
    if impl not in (None, "c", "reference"):
        raise OperatorError(f"impl is {impl!r}: give 'c', 'reference' or None.")
    if activations.ndim != 3:
        raise OperatorError(f"The activations have rank {activations.ndim}: give [examples, kernels, channels].")
    if activations.dtype not in _NATIVE + _HALF:
        raise OperatorError(f"The activations are {activations.dtype}: give float32, float64, float16 or bfloat16.")
    if 0 in activations.shape:
        raise OperatorError(f"The activations have shape {tuple(activations.shape)}: give at least one of each.")
    if impl == "c" and activations.device.type != "cpu":
        raise OperatorError(f"impl='c' runs on the CPU, the activations are on {activations.device}: move them.")
    if impl == "c" and not _kernels_are_built():
        extension.built_kernels()


def _exporting() -> bool:
    return torch.onnx.is_in_onnx_export()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _kernels_are_built() -> bool:
    return extension.kernels_are_built()


def _forward(activations: Tensor) -> Tensor:
    output = activations.new_empty(activations.shape[:2])
    extension.built_kernels().forward(
        _row_major(activations), output.numpy(), torch.get_num_threads(), extension.fastest_instruction_set()
    )
    return output


def _backward(activations: Tensor, grad_output: Tensor) -> Tensor:
    grad_activations = activations.new_empty(activations.shape)
    extension.built_kernels().backward(
        _row_major(activations),
        _row_major(grad_output),
        grad_activations.numpy(),
        torch.get_num_threads(),
        extension.fastest_instruction_set(),
    )
    return grad_activations


def _row_major(tensor: Tensor) -> Any:
    """The tensor's own memory as a numpy array, or a copy of it where it is not contiguous."""
    return tensor.detach().contiguous().numpy(force=True)


def _keep_activations(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001 - torch's signature
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad_output: Tensor) -> Tensor:
    (activations,) = ctx.saved_tensors
    gradient: Tensor = _BACKWARD(activations, grad_output)
    return gradient


def _refuse_to_differentiate_twice(ctx: Any, gradient: Tensor) -> None:  # noqa: ARG001 - torch's signature
    raise OperatorError("Minibatch discrimination in C is differentiable once: use impl='reference' for more.")


def _register(name: str, schema: str, compute: Callable[..., Tensor], fake: Callable[..., Tensor]) -> Any:
    # Not torch.library.custom_op, which does the same and adds 0.1 ms to a forward and backward pass.
    torch.library.define(f"igan_zoo::{name}", schema)
    torch.library.impl(f"igan_zoo::{name}", "cpu", compute)
    torch.library.register_fake(f"igan_zoo::{name}", fake)
    return getattr(torch.ops.igan_zoo, name).default


_FORWARD = _register(
    "minibatch_discrimination",
    "(Tensor activations) -> Tensor",
    _forward,
    lambda activations: activations.new_empty(activations.shape[:2]),
)
_BACKWARD = _register(
    "minibatch_discrimination_backward",
    "(Tensor activations, Tensor grad_output) -> Tensor",
    _backward,
    lambda activations, _: activations.new_empty(activations.shape),
)
torch.library.register_autograd("igan_zoo::minibatch_discrimination", _differentiate, setup_context=_keep_activations)
torch.library.register_autograd("igan_zoo::minibatch_discrimination_backward", _refuse_to_differentiate_twice)
