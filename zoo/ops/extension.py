"""The compiled kernels, which an installation without a C compiler does not have."""

from __future__ import annotations

import functools
import importlib
import logging
from typing import TYPE_CHECKING, Any, Protocol, cast

from igan_zoo.errors import OperatorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


class Kernels(Protocol):
    """The extension module ``igan_zoo.ops._kernels``.

    Arrays are row-major, float32 or float64 alike: activations ``[N, B, C]``, output ``[N, B]``. The last array is
    written. ``INSTRUCTION_SETS`` are those that the kernels are compiled for and this processor has, slowest first.
    ``jpeg_eighth`` is described in ``igan_zoo/ops/jpeg_eighth.py``.
    """

    INSTRUCTION_SETS: tuple[str, ...]

    def jpeg_eighth(self, content: bytes, width: int, height: int, /) -> tuple[tuple[int, int, bytes], ...] | None: ...

    def default_threads(self) -> int: ...

    def forward(self, activations: Array, output: Array, threads: int, instruction_set: str, /) -> None: ...

    def backward(
        self, activations: Array, grad_output: Array, grad_activations: Array, threads: int, instruction_set: str, /
    ) -> None: ...


def _load() -> tuple[Kernels | None, str]:
    try:
        return cast("Kernels", importlib.import_module("igan_zoo.ops._kernels")), ""
    except ImportError as error:
        return None, str(error)


kernels, _reason = _load()


def kernels_are_built() -> bool:
    """Returns whether the operators can run in C; where they cannot, a warning is logged once."""
    if kernels is None:
        _say_that_the_references_are_used()
    return kernels is not None


def built_kernels() -> Kernels:
    """Returns the extension module; raises :class:`OperatorError` where it is not built."""
    if kernels is None:
        raise OperatorError("The C operators are not built: reinstall igan-zoo with a C compiler available.")
    return kernels


def fastest_instruction_set() -> str:
    """Returns the name of the widest instruction set that the kernels are compiled for and this processor has."""
    return built_kernels().INSTRUCTION_SETS[-1]


@functools.cache
def _say_that_the_references_are_used() -> None:
    # Not of the module warnings: a program that turns those into errors must run without a compiler, too.
    logging.getLogger(__name__).warning(
        "The operators in C are not built, so their slower references are used; install igan-zoo again where there is "
        "a C compiler with OpenMP (%s).",
        _reason,
    )
