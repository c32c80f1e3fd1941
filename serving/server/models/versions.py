"""The versions of served models: where each lies, what is wanted and loaded of it, and its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from igan_zoo.models import store
from igan_zoo.serving.engine import Device
from igan_zoo.serving.server.models.encoded_images import ImageDecoding
from igan_zoo.serving.server.models.hosted import HostedGraph, HostedModel
from igan_zoo.serving.server.models.origins import (
    LoadOptions,
    Origin,
    Stamp,
    load_role,
    load_single,
    read_stamp,
    roles_of,
    version_folders,
)
from igan_zoo.serving.server.settings import ServerSettings

State = Literal["LOADING", "READY", "UNAVAILABLE"]


@dataclass(frozen=True)
class Listed:
    """A line of the index: a graph by its protocol name, and why it is not ready."""

    name: str
    version: str
    state: State
    reason: str


@dataclass
class Version:
    """One version of one model; ``wanted`` are the roles that shall be loaded, None before they are known."""

    model_name: str
    number: str
    path: Path
    device: Device
    wanted: tuple[str, ...] | None = None
    roles: tuple[str, ...] = ()
    hosted: HostedModel | None = None
    stamp: Stamp = ()
    reason: str = ""
    loading: bool = False

    def listed(self) -> list[Listed]:
        """Returns its lines of the index."""
        return [
            Listed(protocol_name(self.model_name, role), self.number, *self._state(role))
            for role in (self.roles or ("*",))
        ]

    def _state(self, role: str) -> tuple[State, str]:
        if self.hosted is not None and role in self.hosted.graphs:
            return "READY", ""
        return ("LOADING", "") if self.loading else ("UNAVAILABLE", self.reason or "unloaded")

    def load(
        self, threads: int, settings: ServerSettings, pool: ThreadPoolExecutor, decoding: ImageDecoding
    ) -> HostedModel:
        """Returns its graphs, loaded beside those that may be in use; blocks.

        Raises:
            IganZooError: what is wrong with it.
        """
        self.stamp = read_stamp(self.path)
        model = store.resolve(str(self.path))
        options = LoadOptions(threads, settings.variant, settings.precision)
        roles = roles_of(model)
        if roles is None:
            role, engine = load_single(model, self.device, options)
            engines = {role: engine}
        else:
            self.roles = roles
            wanted = [role for role in roles if self.wanted is None or role in self.wanted]
            engines = {role: load_role(model, role, self.device, options) for role in wanted}
        graphs = {
            role: HostedGraph(
                protocol_name(self.model_name, role),
                self.number,
                role,
                model,
                engine,
                self.device,
                settings,
                pool,
                decoding,
            )
            for role, engine in engines.items()
        }
        return HostedModel(self.model_name, self.number, model, graphs)

    def keep(self, graphs: Mapping[str, HostedGraph]) -> None:
        """Forgets all of its graphs but these."""
        self.wanted, self.reason = tuple(graphs), ""
        if self.hosted is not None:
            self.hosted = replace(self.hosted, graphs=graphs) if graphs else None


def protocol_name(model: str, role: str) -> str:
    """Returns what the protocols call a model's graph."""
    return f"{model}-{role}"


def in_folders(origins: Iterable[Origin]) -> list[tuple[Origin, str, Path]]:
    """Returns all versions that the version folders have now."""
    return [
        (origin, number, path)
        for origin in origins
        if origin.path.is_dir()
        for number, path in version_folders(origin.path).items()
    ]


def changed(versions: Iterable[Version]) -> list[Version]:
    """Returns the versions whose files are not those that were loaded or tried last; vanished ones stay."""
    stamps = [(version, read_stamp(version.path)) for version in versions]
    return [version for version, stamp in stamps if stamp and stamp != version.stamp]
