"""The dependency table of CONTRIBUTING.md, and what importing the package may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

# Each part of the package, by its first name after `igan_zoo`; what is no part of its own belongs to `zoo`.
FOLDERS = {
    "zoo": "zoo",
    "ops": "zoo/ops",
    "training": "training",
    "serving": "serving",
    "scorers": "serving/scorers",
    "server": "serving/server",
    "export": "export",
    "reproduction": "zoo/reproduction",
}
INSIDE = {
    "zoo": {"ops"},
    "ops": {"zoo"},
    "training": {"zoo", "ops"},
    "serving": {"zoo"},
    "scorers": {"zoo", "serving"},
    "server": {"zoo", "serving"},
    "export": {"zoo", "training", "serving"},
    "reproduction": {"zoo", "training", "serving", "export"},
}
OUTSIDE = {
    "zoo": {"numpy", "click", "onnxruntime", "huggingface_hub", "msgspec", "rich", "PIL", "yaml", "pyarrow"},
    "ops": {"numpy"},
    "training": {"numpy", "msgspec", "torch", "safetensors", "matplotlib", "PIL"},
    "serving": {
        "numpy",
        "msgspec",
        "PIL",
        "onnxruntime",
        "openvino",
        "pyarrow",
        "safetensors",
        "dask",
        "distributed",
        "ray",
    },
    "scorers": {"numpy", "msgspec", "google", "huggingface_hub"},
    "server": {
        "numpy",
        "msgspec",
        "google",
        "grpc",
        "httptools",
        "opentelemetry",
        "prometheus_client",
        "python_multipart",
        "ray",
        "starlette",
        "uvloop",
    },
    "export": {"numpy", "msgspec", "torch", "safetensors", "onnx", "onnxruntime"},
    "reproduction": {"numpy", "msgspec", "torch", "matplotlib", "PIL"},
}
# The commands' own imports, inside functions.
COMMANDS = REPOSITORY / "zoo" / "commands"
# Modules that stand on everything, and on which nothing but the commands stands.
TOP = {
    REPOSITORY / "zoo" / name
    for name in (
        "__init__.py",
        "api.py",
        "class_scores.py",
        "diagnosis.py",
        "evaluation/testing.py",
        "feature_training.py",
        "scorer_files.py",
        "scoring.py",
    )
}
# The operators' faces for torch; those for numpy, and what both share, must do without it.
TORCH_FACES = {REPOSITORY / "zoo" / "ops" / "minibatch_discrimination.py"}

FILES = sorted({path for folder in FOLDERS.values() for path in (REPOSITORY / folder).rglob("*.py")})


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(path: Path) -> str:
    """The part whose folder is the innermost one around the file."""
    parts = [part for part, folder in FOLDERS.items() if path.is_relative_to(REPOSITORY / folder)]
    return max(parts, key=lambda part: len(FOLDERS[part]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_import_only_what_their_folder_may(path: Path) -> None:
    folder = part_of(path)
    outside = OUTSIDE[folder] | ({"torch"} if path in TORCH_FACES else set())
    for name in imports(path):
        package, *rest = name.split(".")
        if package == "igan_zoo":
            target = rest[0] if rest and rest[0] in INSIDE else "zoo"
            assert path.is_relative_to(COMMANDS) or path in TOP or target == folder or target in INSIDE[folder], (
                f"{path} imports {name}"
            )
        else:
            assert package in sys.stdlib_module_names or package in outside, f"{path} imports {name}"


HEAVY = (
    *("torch", "onnx", "onnxruntime", "PIL", "huggingface_hub", "numpy", "rich", "msgspec", "pyarrow"),
    *("distributed", "ray"),
)


def loaded_after(code: str) -> set[str]:
    report = f"{code}\nimport sys; sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", report], check=True, capture_output=True, text=True).stderr.split()
    )


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import igan_zoo") == set()


def test_help_loads_nothing_heavy() -> None:
    assert loaded_after("import igan_zoo.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass") == set()


def test_the_serving_modules_load_no_training_stack() -> None:
    modules = ["engine", "sampling", "classifying", "benchmarking", "scoring.plan", "scoring.statistics_file"]
    modules += ["scorers.opening"]
    modules += ["shards.sampling", "shards.scoring", "shards.dask_cluster", "shards.ray_cluster"]
    code = "\n".join(f"import igan_zoo.serving.{module}" for module in modules)
    assert not loaded_after(code) & {"torch", "onnx", "onnxruntime", "PIL", "pyarrow", "distributed", "ray"}


def test_a_spawned_process_limits_its_threads_before_it_loads_numpy() -> None:
    assert loaded_after("import igan_zoo.serving.shards.processes") == set()


def test_the_operators_load_neither_torch_nor_numpy_before_a_face_is_imported() -> None:
    assert loaded_after("import igan_zoo.ops, igan_zoo.ops.extension") == set()
    assert loaded_after("import igan_zoo.ops.minibatch_discrimination_numpy") == {"numpy"}


def test_every_package_folder_is_listed_for_the_wheel() -> None:
    import tomllib

    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {str(path.parent.relative_to(REPOSITORY)) for path in FILES}
    assert folders == {_folder(package, settings["package-dir"]) for package in settings["packages"]}


def _folder(package: str, roots: dict[str, str]) -> str:
    """The folder of a package: that of the nearest package around it that has one of its own, and the rest."""
    root = max((known for known in roots if f"{package}.".startswith(f"{known}.")), key=len)
    return roots[root] + package.removeprefix(root).replace(".", "/")


def test_the_picture_of_the_architecture_is_drawn_from_this_code() -> None:
    """``python docs/architecture.py`` draws it again. It cannot be drawn where rooms import each other in a circle."""
    import runpy

    script = runpy.run_path(str(REPOSITORY / "docs" / "architecture.py"))
    assert script["PICTURE"].read_text() == script["draw"]()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_and_functions_stay_short(path: Path) -> None:
    """A click command has a parameter for each of its options, and may be long."""
    text = path.read_text()
    assert text.count("\n") <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and not any("click" in ast.unparse(one) for one in node.decorator_list):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            assert (node.end_lineno or 0) - node.lineno < 70, node.name
            assert len([one for one in arguments if one.arg != "self"]) <= 10, node.name


def test_folders_stay_small() -> None:
    for folder in {path.parent for path in FILES}:
        assert len(list(folder.glob("*.py"))) <= 16, folder
