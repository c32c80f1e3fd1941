"""A model zoo for *Improved Techniques for Training GANs* (Salimans et al., 2016), served through onnxruntime.

Importing this package loads nothing heavy: models are found with :mod:`igan_zoo.models.store`, run with
:mod:`igan_zoo.serving`, trained with :mod:`igan_zoo.training` and exported with :mod:`igan_zoo.export`.
"""

import os as _os

__version__ = "0.1.0"

# onnxruntime reports the machine to its maker unless it is told not to before it is imported; nothing later stops it.
# Every module that imports it is in this package, or imports this package first. ORT_DISABLE_TELEMETRY=0 turns it on.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
