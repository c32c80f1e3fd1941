"""Draws docs/architecture.svg: the rooms of the package and who imports whom, read from the code.

python docs/architecture.py
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "architecture.svg"
PACKAGES = {
    "igan_zoo": "zoo",
    "igan_zoo.training": "training",
    "igan_zoo.serving": "serving",
    "igan_zoo.export": "export",
}
FACE = (
    "__init__",
    "__main__",
    "api",
    "cli",
    "class_scores",
    "diagnosis",
    "scoring",
    "feature_training",
    "scorer_files",
    "evaluation/testing",
)
# Each room: its folders and files, what it is for, and its column in the picture.
ROOMS = {
    "commands": (
        ("zoo/commands", *(f"zoo/{name}.py" for name in FACE)),
        "the command line, and the Python interface",
        2,
    ),
    "reproduction": (("zoo/reproduction",), "the tables of the paper, trained and reported", 1),
    "export": (("export",), "frozen networks as ONNX, checked against PyTorch", 0),
    "training": (("training",), "the games of the paper, recipes, runs", 0),
    "server": (("serving/server",), "HTTP and gRPC, limits, the page, the Turing test", 3),
    "shards": (("serving/shards",), "work in several processes or machines", 2),
    "scorers": (("serving/scorers",), "published weights read and turned into scorers", 1),
    "serving": (("serving",), "the engine: sample, classify, and the scores", 2),
    "evaluation": (("zoo/evaluation",), "errors by class, confusion, calibration", 3),
    "models": (("zoo/models", "zoo/hub"), "what a model is, where it lies, the Hub", 1),
    "images": (("zoo/images",), "references read safely and brought to a shape", 2),
    "operators": (("zoo/ops",), "kernels in C, each beside its reference", 0),
    "machine": (("zoo/machine",), "files, processes, progress, limits", 2),
    "basics": (("zoo",), "errors, names, latents", 1),
}
BOX, HEIGHT, GAP, MARGIN = 220, 74, 44, 24
WIDTH = 4 * BOX + 3 * GAP + 2 * MARGIN


def room_of(path: str) -> str:
    """Returns the room of a file: the one that names the longest part of its path."""
    named = [
        (len(part), room)
        for room, (parts, _, _) in ROOMS.items()
        for part in parts
        if f"{path}/".startswith(f"{part}/")
    ]
    return max(named)[1]


def modules() -> dict[str, str]:
    """Returns the file of every module, both relative to the root and by dotted name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            dotted = ".".join([package, *path.relative_to(ROOT / folder).with_suffix("").parts])
            found[dotted.removesuffix(".__init__")] = path.relative_to(ROOT).as_posix()
    return found


def imported(path: Path) -> Iterator[str]:
    """Yields every name that a file imports, inside functions, too, but not what only a type checker reads."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def imports() -> dict[str, set[str]]:
    """Returns the rooms that each room imports from."""
    files = modules()
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for path in files.values():
        here = room_of(path)
        for name in imported(ROOT / path):
            # The package itself is imported for its version alone.
            if name in files and name != "igan_zoo" and room_of(files[name]) != here:
                found[here].add(room_of(files[name]))
    return found


def height(room: str, below: dict[str, set[str]]) -> int:
    """Returns how many rooms stand below one, on the longest way down."""
    return 1 + max((height(other, below) for other in below[room]), default=-1)


def direct(below: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yields the imports that do not follow from others."""

    def reached(room: str) -> set[str]:
        return below[room] | {far for near in below[room] for far in reached(near)}

    for room, others in below.items():
        for other in sorted(others):
            if not any(other in reached(between) for between in others - {other}):
                yield room, other


def draw() -> str:
    """Returns the picture as SVG."""
    below = imports()
    floors = {room: height(room, below) for room in ROOMS}
    top = max(floors.values())
    places = {
        room: (MARGIN + column * (BOX + GAP), MARGIN + (top - floors[room]) * (HEIGHT + GAP))
        for room, (_, _, column) in ROOMS.items()
    }
    total = 2 * MARGIN + (top + 1) * (HEIGHT + GAP) - GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" font-family="system-ui, sans-serif">',
        "<style>.room{fill:#f6f8fa;stroke:#8c959f}.name{fill:#1f2328;font-size:16px;font-weight:600}"
        ".what{fill:#57606a;font-size:12px}.uses{fill:none;stroke:#8c959f;stroke-width:1.4}"
        "@media (prefers-color-scheme:dark){.room{fill:#161b22}.name{fill:#e6edf3}.what{fill:#9198a1}}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#8c959f"/></marker></defs>',
    ]
    for room, other in direct(below):
        (x, y), (to_x, to_y) = places[room], places[other]
        x, y, to_x = x + BOX // 2, y + HEIGHT, to_x + BOX // 2
        bend = (to_y - y) // 2
        curve = f"M{x} {y}C{x} {y + bend} {to_x} {to_y - bend} {to_x} {to_y}"
        lines.append(f'<path class="uses" marker-end="url(#tip)" d="{curve}"/>')
    for room, (x, y) in places.items():
        lines.append(f'<rect class="room" x="{x}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="8"/>')
        lines.append(f'<text class="name" x="{x + 14}" y="{y + 25}">{escape(room)}</text>')
        for number, line in enumerate(textwrap.wrap(ROOMS[room][1], 30)):
            lines.append(f'<text class="what" x="{x + 14}" y="{y + 44 + 15 * number}">{escape(line)}</text>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
