"""A model zoo for *Improved Techniques for Training GANs* (Salimans et al., 2016), served through onnxruntime.

The public interface is ``__all__``; ``docs/api.md`` documents it. Importing this package loads nothing heavy: a name is
imported when it is first used.
"""

import importlib as _importlib
import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from igan_zoo.api import Model, list_models, load, pull
    from igan_zoo.errors import IganZooError

__all__ = ["IganZooError", "Model", "list_models", "load", "pull"]
__version__ = "0.1.0"

# onnxruntime reports the machine to its maker unless it is told not to before it is imported; nothing later stops it.
# Every module that imports it is in this package, or imports this package first. ORT_DISABLE_TELEMETRY=0 turns it on.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _importlib.import_module("igan_zoo.errors" if name == "IganZooError" else "igan_zoo.api")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
