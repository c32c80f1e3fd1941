"""Every implementation computes the formula: C on each instruction set, the reference, torch's face and numpy's."""

from __future__ import annotations

import subprocess
import sys
import warnings
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from igan_zoo.errors import OperatorError
from igan_zoo.ops import extension
from igan_zoo.ops.minibatch_discrimination import (
    Implementation,
    minibatch_discrimination,
    minibatch_discrimination_reference,
)
from igan_zoo.ops.minibatch_discrimination_numpy import (
    minibatch_discrimination_numpy,
    minibatch_discrimination_numpy_reference,
)

needs_c = pytest.mark.skipif(extension.kernels is None, reason="needs the extension: a C compiler at installation")
IMPLEMENTATIONS: list[object] = ["reference", pytest.param("c", marks=needs_c)]
INSTRUCTION_SETS = extension.kernels.INSTRUCTION_SETS if extension.kernels else ()

SHAPES = [(n, b, c) for n, b, c in product((1, 2, 3, 17, 100), (1, 3, 7), (1, 5, 50)) if n * b * c < 10_000]

# Of the closeness, relative: a distance carries C roundings, and so does its exponential, but closeness is at least 1.
# Of the gradient, absolute, for each example that pulls.
TOLERANCE = {np.float32: 3e-6, np.float64: 3e-15}


def draw(shape: tuple[int, ...], *, scale: float = 0.3, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape) * scale


def formula(m: NDArray[np.float64], g: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The closeness and the gradient of Σ g · closeness, in float64, one example at a time."""
    closeness, gradient = np.empty(m.shape[:2]), np.empty(m.shape)
    for i in range(len(m)):
        differences = m[i] - m
        weights = np.exp(-np.abs(differences).sum(axis=2))
        closeness[i] = weights.sum(axis=0)
        gradient[i] = -(((g[i] + g) * weights)[:, :, None] * np.sign(differences)).sum(axis=0)
    return closeness, gradient


def in_c(
    m: NDArray[np.floating], g: NDArray[np.floating], instruction_set: str, threads: int = 1
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    kernels = extension.built_kernels()
    closeness, gradient = np.empty_like(g), np.empty_like(m)
    kernels.forward(m, closeness, threads, instruction_set)
    kernels.backward(m, g, gradient, threads, instruction_set)
    return closeness, gradient


def in_torch(m: Tensor, g: Tensor, impl: Implementation) -> tuple[Tensor, Tensor]:
    m = m.detach().requires_grad_()
    closeness = minibatch_discrimination(m, impl)
    closeness.backward(g)
    assert m.grad is not None
    return closeness.detach(), m.grad


@needs_c
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_c_computes_the_formula(shape: tuple[int, int, int], dtype: type[np.floating], instruction_set: str) -> None:
    m, g = draw(shape).astype(dtype), draw(shape[:2], seed=1).astype(dtype)
    closeness, gradient = in_c(m, g, instruction_set)
    expected, expected_gradient = formula(m.astype(np.float64), g.astype(np.float64))
    tolerance = TOLERANCE[dtype] * shape[0]
    np.testing.assert_allclose(closeness, expected, rtol=TOLERANCE[dtype], atol=0)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=tolerance * np.abs(g).max())


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (17, 7, 5), (100, 3, 5)], ids=str)
def test_the_torch_face_computes_the_formula(
    shape: tuple[int, int, int], dtype: torch.dtype, impl: Implementation
) -> None:
    m, g = torch.from_numpy(draw(shape)).to(dtype), torch.from_numpy(draw(shape[:2], seed=1)).to(dtype)
    closeness, gradient = in_torch(m, g, impl)
    expected, expected_gradient = formula(m.double().numpy(), g.double().numpy())
    tolerance = TOLERANCE[np.float32 if dtype == torch.float32 else np.float64]
    assert closeness.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(closeness.numpy(), expected, rtol=tolerance)
    np.testing.assert_allclose(gradient.numpy(), expected_gradient, rtol=0, atol=tolerance * shape[0])


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_inputs_and_gradients_need_not_be_contiguous(impl: Implementation) -> None:
    m, g = torch.from_numpy(draw((11, 6, 4))), torch.from_numpy(draw((11, 6), seed=1))
    strided = torch.from_numpy(draw((8, 6, 22)))[::2, :, ::2].permute(2, 1, 0).copy_(m)
    assert not strided.is_contiguous()
    results, expected = in_torch(strided, g.T.contiguous().T, impl), in_torch(m, g, impl)
    for result, other in zip(results, expected, strict=True):
        torch.testing.assert_close(result, other, rtol=0, atol=1e-14)
    m.requires_grad_()
    minibatch_discrimination(m, impl).sum().backward()  # an expanded gradient: all strides 0
    assert m.grad is not None
    expected_gradient = formula(m.detach().numpy(), np.ones((11, 6)))[1]
    np.testing.assert_allclose(m.grad.numpy(), expected_gradient, atol=1e-14)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_ties_have_no_gradient(impl: Implementation) -> None:
    m = torch.tensor([[[1.0, 2.0]], [[1.0, 4.0]], [[1.0, 4.0]]])
    closeness, gradient = in_torch(m, torch.ones(3, 1), impl)
    e = float(np.exp(-2.0))
    torch.testing.assert_close(closeness[:, 0], torch.tensor([1 + 2 * e, 2 + e, 2 + e]))
    torch.testing.assert_close(gradient[:, 0], torch.tensor([[0, 4 * e], [0, -2 * e], [0, -2 * e]]))
    assert (gradient[:, 0, 0] == 0).all()


@needs_c
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_examples_far_apart_are_alone_and_have_no_gradient(dtype: type[np.floating], instruction_set: str) -> None:
    for gap in (1e3, 1e6, 1e30):
        m = (np.arange(19)[:, None, None] * np.full((1, 3, 5), gap)).astype(dtype)
        closeness, gradient = in_c(m, np.ones((19, 3), dtype), instruction_set)
        assert (closeness == 1).all()
        assert (gradient == 0).all()


@needs_c
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 87.0), (np.float64, 708.0)])
def test_the_exponential_is_within_two_roundings_and_ends_in_exact_zeros(
    dtype: type[np.floating], largest: float, instruction_set: str
) -> None:
    """Of two examples, the gradient for g = (1, -0.5) is 0.5 exp(-d): exp's own result."""
    distances = np.linspace(0, 1.2 * largest, 5001).astype(dtype)[1:]
    m = np.stack([np.zeros_like(distances), distances])[:, :, None].copy()
    g = np.repeat(np.array([[1], [-0.5]], dtype), len(distances), axis=1)
    _, gradient = in_c(m, g, instruction_set)
    inside = distances <= largest
    expected = 0.5 * np.exp(-distances[inside].astype(np.longdouble))
    np.testing.assert_allclose(gradient[0, inside, 0].astype(np.longdouble), expected, rtol=2 * np.finfo(dtype).eps)
    assert (gradient[0, ~inside, 0] == 0).all()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_tiny_differences_count(impl: Implementation) -> None:
    smallest = torch.finfo(torch.float32).smallest_normal
    m = torch.tensor([[[0.0]], [[smallest]], [[-smallest]]])
    closeness, gradient = in_torch(m, torch.ones(3, 1), impl)
    torch.testing.assert_close(closeness, torch.full((3, 1), 3.0))
    torch.testing.assert_close(gradient[:, 0, 0], torch.tensor([0.0, -4.0, 4.0]))


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FC00001, -1], ids=hex)
def test_a_nan_makes_its_kernel_nan_and_no_other(impl: Implementation, bits: int) -> None:
    m = torch.from_numpy(draw((20, 3, 5))).float()
    m[7, 1, 2] = torch.tensor(bits, dtype=torch.int32).view(torch.float32)
    closeness, gradient = in_torch(m, torch.ones(20, 3), impl)
    assert closeness[:, 1].isnan().all()
    assert gradient[:, 1].isnan().all()
    assert not closeness[:, [0, 2]].isnan().any()
    assert not gradient[:, [0, 2]].isnan().any()


@needs_c
@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_the_bits_do_not_depend_on_the_number_of_threads(instruction_set: str) -> None:
    m, g = draw((33, 7, 5)).astype(np.float32), draw((33, 7), seed=1).astype(np.float32)
    alone = in_c(m, g, instruction_set, threads=1)
    for threads in (1, 2, 3, 16):
        for result, expected in zip(in_c(m, g, instruction_set, threads), alone, strict=True):
            np.testing.assert_array_equal(result, expected)


@needs_c
def test_gradcheck() -> None:
    m = torch.from_numpy(draw((9, 3, 4))).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: minibatch_discrimination(m, "c"), m)


def test_the_reference_is_differentiable_twice_and_c_once() -> None:
    m = torch.from_numpy(draw((5, 2, 3))).requires_grad_()
    assert torch.autograd.gradgradcheck(minibatch_discrimination_reference, m)
    if extension.kernels is not None:
        (gradient,) = torch.autograd.grad(minibatch_discrimination(m, "c").sum(), m, create_graph=True)
        with pytest.raises(OperatorError, match="differentiable once"):
            gradient.sum().backward()


def test_the_reference_in_parts_is_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    m, g = torch.from_numpy(draw((10, 3, 4))), torch.from_numpy(draw((10, 3), seed=1))
    whole = in_torch(m, g, "reference")
    monkeypatch.setattr("igan_zoo.ops.minibatch_discrimination._LARGEST_BROADCAST", 3 * m.numel())
    for result, expected in zip(in_torch(m, g, "reference"), whole, strict=True):
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-14)


@needs_c
def test_the_operators_are_registered_as_torch_wants_them() -> None:
    m = torch.from_numpy(draw((6, 3, 4)))
    torch.library.opcheck(torch.ops.igan_zoo.minibatch_discrimination.default, (m.clone().requires_grad_(),))
    torch.library.opcheck(torch.ops.igan_zoo.minibatch_discrimination_backward.default, (m, torch.ones(6, 3).double()))


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_it_compiles_into_one_graph(impl: Implementation) -> None:
    compiled = torch.compile(lambda m: minibatch_discrimination(m, impl).square(), fullgraph=True, backend="aot_eager")
    m = torch.from_numpy(draw((6, 3, 4))).requires_grad_()
    (gradient,) = torch.autograd.grad(compiled(m).sum(), m)
    (expected,) = torch.autograd.grad(minibatch_discrimination_reference(m).square().sum(), m)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_half_precision_is_float32_rounded_at_the_end(impl: Implementation, dtype: torch.dtype) -> None:
    m, g = torch.from_numpy(draw((20, 3, 5))).to(dtype), torch.ones(20, 3, dtype=dtype)
    closeness, gradient = in_torch(m, g, impl)
    exact, exact_gradient = in_torch(m.float(), g.float(), impl)
    torch.testing.assert_close(closeness, exact.to(dtype), rtol=0, atol=0)
    torch.testing.assert_close(gradient, exact_gradient.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("activations", "impl", "sentence"),
    [
        (torch.ones(2, 3), None, "rank 2"),
        (torch.ones(2, 3, 4, dtype=torch.int64), None, "are torch.int64"),
        (torch.ones(0, 3, 4), None, r"shape \(0, 3, 4\)"),
        (torch.ones(2, 0, 4), None, r"shape \(2, 0, 4\)"),
        (torch.ones(2, 3, 0), None, r"shape \(2, 3, 0\)"),
        (torch.ones(2, 3, 4), "cuda", "impl is 'cuda'"),
        (torch.ones(2, 3, 4, device="meta"), "c", "are on meta"),
    ],
)
def test_the_torch_face_refuses_what_it_does_not_take(
    activations: Tensor, impl: Implementation | None, sentence: str
) -> None:
    with pytest.raises(OperatorError, match=sentence):
        minibatch_discrimination(activations, impl)


@needs_c
def test_the_extension_refuses_arrays_that_do_not_fit() -> None:
    kernels, m, o = extension.built_kernels(), np.ones((4, 3, 2)), np.ones((4, 3))
    name = extension.fastest_instruction_set()
    for arguments in [
        (m, np.ones((4, 2))),
        (m, np.ones((4, 3), np.float32)),
        (m.astype(np.int64), o),
        (m.astype(">f8"), o),
        (m[:0], o[:0]),
        (o, m),
    ]:
        with pytest.raises(ValueError, match="the arrays must be"):
            kernels.forward(*arguments, 1, name)
        with pytest.raises(ValueError, match="the arrays must be"):
            kernels.backward(*arguments, np.ones(arguments[0].shape, arguments[0].dtype), 1, name)
    with pytest.raises(ValueError, match="the arrays must be"):
        kernels.backward(m, o, np.ones((4, 3, 1)), 1, name)
    with pytest.raises(ValueError, match="contiguous"):
        kernels.forward(m[:, :, ::2], o, 1, name)
    with pytest.raises(ValueError, match="0 threads"):
        kernels.forward(m, o, 0, name)
    with pytest.raises(ValueError, match="instruction set 'mmx'"):
        kernels.forward(m, o, 1, "mmx")
    frozen = o.copy()
    frozen.flags.writeable = False
    with pytest.raises((ValueError, BufferError), match=r"read-only|writable"):
        kernels.forward(m, frozen, 1, name)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_numpy_face_equals_the_torch_face(dtype: type[np.floating]) -> None:
    m = draw((21, 5, 3)).astype(dtype)
    result = minibatch_discrimination_numpy(m)
    assert result.dtype == dtype
    expected = minibatch_discrimination(torch.from_numpy(m)).numpy()
    tolerance = {np.float16: 1e-3, np.float32: 1e-6, np.float64: 1e-14}[dtype]
    np.testing.assert_allclose(result, expected, rtol=0 if extension.kernels else tolerance)
    np.testing.assert_allclose(minibatch_discrimination_numpy_reference(m), result, rtol=10 * tolerance)


def test_the_numpy_face_takes_other_orders_of_axes_and_bytes() -> None:
    m = draw((7, 5, 3))
    expected = minibatch_discrimination_numpy(m)
    np.testing.assert_array_equal(minibatch_discrimination_numpy(np.asfortranarray(m)), expected)
    np.testing.assert_array_equal(minibatch_discrimination_numpy(m.astype(">f8")), expected)


@pytest.mark.parametrize(
    ("activations", "sentence"),
    [(np.ones((2, 3)), "rank 2"), (np.ones((2, 3, 4), np.int64), "are int64"), (np.ones((0, 3, 4)), "shape")],
)
def test_the_numpy_face_refuses_what_it_does_not_take(activations: NDArray[np.floating], sentence: str) -> None:
    with pytest.raises(OperatorError, match=sentence):
        minibatch_discrimination_numpy(activations)


def test_without_the_extension_the_references_compute_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(extension, "kernels", None)
    extension._say_that_the_references_are_used.cache_clear()
    m = torch.from_numpy(draw((6, 3, 4)))
    torch.testing.assert_close(minibatch_discrimination(m), minibatch_discrimination_reference(m))
    minibatch_discrimination(m)
    np.testing.assert_allclose(minibatch_discrimination_numpy(m.numpy()), minibatch_discrimination_reference(m).numpy())
    assert caplog.text.count("are not built, so their slower references are used") == 1
    with pytest.raises(OperatorError, match="C operators are not built"):
        minibatch_discrimination(m, "c")


def test_an_extension_that_does_not_load_is_one_that_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "igan_zoo.ops._kernels", None)
    kernels, reason = extension._load()
    assert kernels is None
    assert "igan_zoo.ops._kernels" in reason


def test_the_numpy_face_runs_without_torch() -> None:
    code = (
        "import sys, numpy; from igan_zoo.ops.minibatch_discrimination_numpy import minibatch_discrimination_numpy;"
        "minibatch_discrimination_numpy(numpy.ones((2, 3, 4))); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_onnx_export_holds_standard_operators_for_any_number_of_examples() -> None:
    class Layer(torch.nn.Module):
        def forward(self, m: Tensor) -> Tensor:
            return minibatch_discrimination(m)

    with warnings.catch_warnings():
        # torch's own exporter, with deprecations of its own.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Layer(), (torch.ones(6, 3, 4),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), dynamo=True, verbose=False
        )
    assert program is not None
    assert {node.domain for node in program.model.graph} == {""}
    assert not isinstance(program.model.graph.inputs[0].shape[0], int)
