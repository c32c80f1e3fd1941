"""torchvision beside any PyTorch."""

from __future__ import annotations

import sys


def load_torchvision() -> None:
    """Imports torchvision, which is to come before the packages that import it.

    The index's torchvision has kernels for the index's PyTorch alone. Nothing here runs them, but beside a PyTorch for
    CPUs its import fails unless they are declared.
    """
    import torch

    try:
        import torchvision
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401
