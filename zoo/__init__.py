"""A model zoo for *Improved Techniques for Training GANs* (Salimans et al., 2016), served through onnxruntime.

Importing this package loads nothing heavy: models are found with :mod:`igan_zoo.store`, run with
:mod:`igan_zoo.serving`, trained with :mod:`igan_zoo.training` and exported with :mod:`igan_zoo.export`.
"""

__version__ = "0.1.0"
