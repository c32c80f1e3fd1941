"""From a finished run to a model directory: freezing, ONNX graphs, the parity report."""

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """Once a part of this package is imported, ``igan_zoo.export`` is the package, and still the function."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return importlib.import_module("igan_zoo.api").export(*arguments, **named)


sys.modules[__name__].__class__ = _CallablePackage
