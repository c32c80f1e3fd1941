"""The images below a folder, and the files beside them that are none."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from igan_zoo.images.files.kinds import SNIFFED_BYTES, image_format, is_image_name, is_unread_image_name
from igan_zoo.images.findings import Finding, Findings
from igan_zoo.machine.files import open_regular

# What systems, network drives and editors leave, in lower case; hidden ones are left out anyway.
_SYSTEM_FOLDERS = {
    *("__macosx", "__pycache__", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "lost+found"),
    *("$recycle.bin", "system volume information", "recycler"),
}
_SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}


@dataclass(frozen=True)
class Listing:
    """The images of a folder, relative to it with ``/`` between and sorted, and what was skipped."""

    files: list[str]
    findings: tuple[Finding, ...]


def is_system_name(name: str) -> bool:
    """Returns whether a file or folder is hidden, or one that systems leave behind; ``name`` is without its folder."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS or name.lower() in _SYSTEM_FILES


def is_system_path(path: str) -> bool:
    """Returns whether a path, with ``/`` between, has a part that ``is_system_name`` knows."""
    return any(is_system_name(part) for part in path.split("/") if part not in (".", ".."))


def list_images(folder: Path) -> Listing:
    """Returns the image files anywhere below ``folder``.

    A file is an image by its suffix, or without any by its first bytes. Hidden files and folders and those that systems
    leave are skipped. Links to folders are followed, each folder once.
    """
    found: list[str] = []
    findings, visited = Findings(), set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in visited:
            folders.clear()
            continue
        visited.add(real)
        prefix = Path(place).relative_to(folder).as_posix() + "/"
        prefix = "" if prefix == "./" else prefix
        for name in [name for name in folders if is_system_name(name)]:
            findings.add("hidden or system folder", "", prefix + name, expected=True)
        folders[:] = sorted(name for name in folders if not is_system_name(name))
        for name in sorted(files):
            if is_system_name(name):
                findings.add("hidden or system file", "", prefix + name, expected=True)
            elif is_image_name(name) or ("." not in name and _begins_as_image(Path(place) / name)):
                found.append(prefix + name)
            else:
                add_other(findings, prefix + name)
    return Listing(sorted(found), findings.listed())


def add_other(findings: Findings, name: str) -> None:
    """Counts a file that is no image by its name."""
    suffix = PurePosixPath(name).suffix
    if is_unread_image_name(name):
        findings.add(f"{suffix} image", " in an unsupported format", name)
    else:
        noun, detail = (f"{suffix} file", "") if suffix else ("file", " without a suffix")
        findings.add(noun, detail, name, expected=True)


def image_files(folder: Path) -> list[str]:
    """Returns the names of ``list_images`` alone."""
    return list_images(folder).files


def _begins_as_image(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return image_format(file.read(SNIFFED_BYTES)) is not None
    except OSError:
        return False
