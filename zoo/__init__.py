"""A model zoo for *Improved Techniques for Training GANs* (Salimans et al., 2016), served through onnxruntime.

The public interface is ``__all__``; ``docs/api.md`` documents it. Importing this package loads nothing heavy: a name is
imported when it is first used.
"""

import importlib as _importlib
import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from igan_zoo.api import export, list_models, load, pull, score, train
    from igan_zoo.errors import IganZooError
    from igan_zoo.models.export_options import ExportOptions
    from igan_zoo.serving.model import LoadedModel as Model
    from igan_zoo.serving.scoring.scores import ScoreOptions, Scores
    from igan_zoo.training.recipes.requests import TrainOptions
    from igan_zoo.training.runs.directory import Run

__all__ = [
    "ExportOptions",
    "IganZooError",
    "Model",
    "Run",
    "ScoreOptions",
    "Scores",
    "TrainOptions",
    "export",
    "list_models",
    "load",
    "pull",
    "score",
    "train",
]
__version__ = "0.2.0"

# Where a name is defined, if not in igan_zoo.api under the same name.
_PLACES = {
    "ExportOptions": ("igan_zoo.models.export_options", "ExportOptions"),
    "IganZooError": ("igan_zoo.errors", "IganZooError"),
    "Model": ("igan_zoo.serving.model", "LoadedModel"),
    "Run": ("igan_zoo.training.runs.directory", "Run"),
    "ScoreOptions": ("igan_zoo.serving.scoring.scores", "ScoreOptions"),
    "Scores": ("igan_zoo.serving.scoring.scores", "Scores"),
    "TrainOptions": ("igan_zoo.training.recipes.requests", "TrainOptions"),
}

# onnxruntime reports the machine to its maker unless it is told not to before it is imported; nothing later stops it.
# Every module that imports it is in this package, or imports this package first. ORT_DISABLE_TELEMETRY=0 turns it on.
_os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES.get(name, ("igan_zoo.api", name))
    return getattr(_importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
