"""Operators with kernels in C, each beside its reference: one module an operator.

Importing this package loads neither torch nor numpy. ``igan_zoo.ops.minibatch_discrimination`` is the face for torch,
``igan_zoo.ops.minibatch_discrimination_numpy`` the one for numpy.
"""
