"""The inference core (contract 5): everything that runs a model calls it."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DeviceError, InterfaceError, MissingExtraError, first_line, pip_install
from igan_zoo.images.pixels import MAX_PIXELS
from igan_zoo.machine.cores import cores
from igan_zoo.models.interface import INPUTS, OUTPUTS, RESIZE_KEY
from igan_zoo.models.spec import ModelSpec, Variant
from igan_zoo.models.store import Model
from igan_zoo.serving.onnx_file import check_onnx_file

if TYPE_CHECKING:
    import onnxruntime

Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16"]
Arrays = dict[str, NDArray[Any]]

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}

# From this batch on a graph rewritten for CPUs is the faster one: its transformed weights are read once for all images.
SMALLEST_BATCH = 4
# The axes after the batch that take any size, of every scorer and of the classifiers that resize inside.
_FREE_AXES = ("H", "W")


@dataclass(frozen=True)
class Graph:
    """The description of a loaded ONNX graph: shapes without the batch, and metadata.

    ``free_axes`` names the input's axes after the batch that accept any size; ``input_shape`` is the rest of the
    input's shape, and ``output_shape`` the shape of the first output. ``outputs`` has the shapes of all outputs, with
    -1 for a size that the file does not fix.
    """

    role: str
    input_name: str
    free_axes: tuple[str, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    outputs: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The shape ``[H, W, C]`` to resize photos to; a graph that accepts any size names its internal one."""
        return (*[_size_inside(self.metadata)] * len(self.free_axes), *self.input_shape)

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Returns whether an input may have ``shape``, batch included."""
        first = 1 + len(self.free_axes)
        return len(shape) >= first and shape[first:] == self.input_shape and 0 not in shape[1:first]


class _Session(Protocol):
    """What runs a graph."""

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]], /) -> Sequence[Any]: ...


class Engine:
    """Runs the graphs of one model: ``run(role, {input: array}) -> {output: array}``, batch first, thread-safe.

    ``provider`` is the execution provider actually in use, and ``threads`` the number of threads that share an
    operator.
    """

    def __init__(
        self,
        graphs: Mapping[str, bytes],
        *,
        device: Device = "cpu",
        threads: int | None = None,
        batched: Mapping[str, bytes] | None = None,
        spinning: bool = True,
        precision: Precision = "fp32",
    ) -> None:
        """Loads ONNX bytes by role.

        Without ``spinning``, idle threads sleep: one session alone answers later, but several share the cores.
        ``batched`` are graphs of the same functions that are faster from ``SMALLEST_BATCH`` images on; each is loaded
        with the first such batch. In ``precision`` bf16, OpenVINO runs all batches, and these are not used.

        Raises:
            InterfaceError: the bytes are no ONNX graph, or its inputs or outputs are not those of the role.
            DeviceError: the device is not really there, or has no such precision.
            MissingExtraError: what runs them is not installed.
        """
        self.precision: Precision = precision
        self.threads = threads or cores()
        sessions = {role: _session(role, content, device, threads, spinning) for role, content in graphs.items()}
        self.graphs = {role: _describe(role, session) for role, session in sessions.items()}
        self.provider = _effective_provider(sessions.values(), device)
        self._sessions: Mapping[str, _Session] = sessions
        if precision == "bf16":
            self._sessions, self.provider = _in_bfloat16(graphs, device, threads)
            batched = None
        self._batched: Mapping[str, Callable[[], _Session]] = {
            role: functools.cache(functools.partial(_session, role, content, device, threads, spinning))
            for role, content in (batched or {}).items()
        }
        self._loading = threading.Lock()

    def run(self, role: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Runs a batch through the graph of ``role``.

        Raises:
            InterfaceError: an input has the wrong name, type or shape; or an output has another shape than the file
                says, which onnxruntime lets pass.
        """
        graph = self.graphs[role]
        given = inputs.get(graph.input_name)
        if given is None or not graph.takes(given.shape):
            seen = "missing" if given is None else f"of shape {list(given.shape)}"
            shape = ["N", *graph.free_axes, *graph.input_shape]
            raise InterfaceError(f"The {role} takes {graph.input_name} of shape {shape}; it is {seen}.")
        session, names = self._session(role, len(given)), list(graph.outputs)
        try:
            results = session.run(names, dict(inputs))
        except Exception as error:
            raise InterfaceError(f"The {role} cannot run this input: {first_line(error)}") from error
        outputs = {name: np.asarray(result) for name, result in zip(names, results, strict=True)}
        for name, output in outputs.items():
            if not _fits(output.shape, (len(given), *graph.outputs[name])):
                raise InterfaceError(
                    f"The {role} gave {name} of shape {list(output.shape)} for {counted(len(given), 'input')}, which "
                    "is not what its file says; export it again."
                )
        return outputs

    def _session(self, role: str, batch: int) -> _Session:
        """Returns the session that runs a batch of this size."""
        if batch < SMALLEST_BATCH or role not in self._batched:
            return self._sessions[role]
        with self._loading:
            return self._batched[role]()


def load_engine(
    model: Model,
    roles: Sequence[str],
    *,
    device: Device = "cpu",
    threads: int | None = None,
    variant: Variant | None = None,
    spinning: bool = True,
    precision: Precision = "fp32",
) -> Engine:
    """Verifies and loads the named parts of a model, or of one of its variants.

    Parts without the variant are loaded in plain form, if another part has it.
    """
    forms = {role: model.form(role, variant, roles) for role in roles}
    graphs = {role: model.graph(role, form) for role, form in forms.items()}
    rewritten = {role: model.graph_for_cpus(role) for role, form in forms.items() if device == "cpu" and form is None}
    batched = {role: content for role, content in rewritten.items() if content is not None}
    engine = Engine(graphs, device=device, threads=threads, batched=batched, spinning=spinning, precision=precision)
    check_specification(model, engine)
    return engine


def check_specification(model: Model, engine: Engine) -> None:
    """Checks that loaded graphs have the sizes in the model's ``config.json``, if it has one.

    Raises:
        InterfaceError: a graph has others.
    """
    if model.directory is None:
        return
    for role, graph in engine.graphs.items():
        for name, actual, expected in _sizes(graph, model.directory.spec):
            if actual != expected:
                raise InterfaceError(
                    f"The {role} of {model.path} has {name} of size {list(actual)}, but config.json says "
                    f"{list(expected)}; export it again."
                )


def _sizes(graph: Graph, spec: ModelSpec) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Returns each tensor whose size a specification fixes: its name, its actual size, and the specified one."""
    image = (spec.image.height, spec.image.width, spec.image.channels)
    if graph.role == "generator" and spec.latent is not None:
        return [("latent", graph.input_shape, (spec.latent.size,)), ("images", graph.output_shape, image)]
    if graph.role == "classifier" and spec.classes is not None:
        outputs = [(name, graph.outputs[name], (len(spec.classes),)) for name in ("logits", "probabilities")]
        return [("images", graph.image_shape, image), *outputs]
    return []


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(e in (-1, size) for size, e in zip(shape, expected, strict=True))


def _session(
    role: str, content: bytes, device: Device, threads: int | None, spinning: bool
) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(f"Running models needs onnxruntime: {pip_install('cpu')}.") from None

    check_onnx_file(content, role)
    provider = PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise DeviceError(
            f"This onnxruntime has no {provider}; for --device {device} install the extra "
            f"{'gpu' if device == 'cuda' else 'cpu'} in a separate environment."
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # What was checked is ONNX; onnxruntime would also take its own format, which was not.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Weights stand inside the file. Without a folder onnxruntime would look for others from the working directory on.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    # Left to itself, onnxruntime takes the machine's cores, whatever the process may use.
    options.intra_op_num_threads = threads or cores()
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device == "cuda":
        # Finds the CUDA libraries of the gpu extra; what it prints is no result of ours.
        with contextlib.redirect_stdout(sys.stderr):
            onnxruntime.preload_dlls()
        # Without this, a missing CUDA library silently gives a session on the CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[provider])
    except Exception as error:
        if device == "cuda":
            raise DeviceError(f"CUDA cannot be used: {first_line(error)}") from error
        raise InterfaceError(f"The {role} is not an ONNX graph that onnxruntime loads: {_reason(error)}") from error
    try:
        given = {node.name for node in session.get_outputs()} if role == "scorer" else set()
        # A scorer gives features, logits, or both.
        expected = {name: kind for name, kind in OUTPUTS[role].items() if name in given} or OUTPUTS[role]
        _check("inputs", role, session.get_inputs(), INPUTS[role])
        _check("outputs", role, session.get_outputs(), expected)
        _ = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError as error:
        raise InterfaceError(f"The {role} has names or metadata that are not UTF-8; export it again.") from error
    return session


def _in_bfloat16(
    graphs: Mapping[str, bytes], device: Device, threads: int | None
) -> tuple[Mapping[str, _Session], str]:
    """Returns OpenVINO's sessions and its name and version."""
    from igan_zoo.serving.bfloat16 import Bfloat16Session, provider

    if device != "cpu":
        raise DeviceError(f"--precision bf16 runs on CPUs: remove it or --device {device}.")
    return {role: Bfloat16Session(content, threads or cores()) for role, content in graphs.items()}, provider()


def _reason(error: Exception) -> str:
    newer = re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", str(error))
    if newer is None:
        return first_line(error)
    return (
        f"its IR version is {newer[1]}, but this onnxruntime supports at most {newer[2]}; update it, or export again."
    )


def _check(side: str, role: str, nodes: Sequence[Any], expected: Mapping[str, tuple[str, int]]) -> None:
    actual = {node.name: (node.type, len(node.shape)) for node in nodes}
    if actual != expected:
        raise InterfaceError(
            f"The ONNX file is not a {role}: its {side} are {_listed(actual)}, but a {role} has {_listed(expected)}."
        )


def _listed(tensors: Mapping[str, tuple[str, int]]) -> str:
    return ", ".join(f"{name} {kind} of rank {rank}" for name, (kind, rank) in tensors.items()) or "none"


def _describe(role: str, session: onnxruntime.InferenceSession) -> Graph:
    shapes = {node.name: node.shape[1:] for node in (*session.get_inputs(), *session.get_outputs())}
    (input_name,) = INPUTS[role]
    outputs = {name: shapes[name] for name in OUTPUTS[role] if name in shapes}
    taken, given = shapes[input_name], next(iter(outputs.values()))
    resizes = role == "scorer" or (role == "classifier" and not any(isinstance(size, int) for size in taken[:2]))
    free_axes = _FREE_AXES if resizes else ()
    free, fixed = taken[: len(free_axes)], taken[len(free_axes) :]
    for shape, sizes in ((taken, fixed), (given, given)):
        if not all(isinstance(size, int) for size in sizes):
            beside = ", ".join(("the batch", *free_axes))
            raise InterfaceError(f"The {role} must have a fixed shape apart from {beside}: {['N', *shape]}.")
    image = next(shapes[name][-3:] for name in (input_name, *OUTPUTS[role]) if name == "images")
    if image[2] not in (1, 3) or any(isinstance(size, int) and not 1 <= size <= MAX_PIXELS for size in image[:2]):
        raise InterfaceError(f"The {role} has images [H, W, C] of {list(image)}; C is 1 or 3.")
    if any(isinstance(size, int) for size in free):
        raise InterfaceError(
            f"The {role} takes images of one size only, {['N', *taken]}: export it with the resize inside."
        )
    sizes = {name: tuple(size if isinstance(size, int) else -1 for size in shape) for name, shape in outputs.items()}
    if "probabilities" in sizes:
        # There are as many as logits, whether the file says so or not.
        sizes["probabilities"] = sizes["logits"]
    metadata = session.get_modelmeta().custom_metadata_map
    if role == "classifier" and free_axes and not 1 <= _size_inside(metadata) ** 2 <= MAX_PIXELS:
        raise InterfaceError(
            f"The classifier takes images of any size, but its metadata ({RESIZE_KEY}) does not say to which size it "
            "resizes them; export it again."
        )
    return Graph(role, input_name, free_axes, tuple(fixed), tuple(given), sizes, metadata)


def _size_inside(metadata: Mapping[str, str]) -> int:
    """Returns the pixels per side that a graph resizes to, as in ``bilinear-224``; 0 if it does not say."""
    said = metadata.get(RESIZE_KEY, "").rpartition("-")[2]
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 6 else 0


def _effective_provider(sessions: Any, device: Device) -> str:
    providers = {session.get_providers()[0] for session in sessions}
    if providers != {PROVIDERS[device]}:
        raise DeviceError(f"--device {device} was asked for, but onnxruntime uses {', '.join(sorted(providers))}.")
    return PROVIDERS[device]
