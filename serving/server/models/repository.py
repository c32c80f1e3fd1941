"""The served models: loaded, unloaded, and replaced while requests run.

All changes happen in the event loop (or before it runs), by replacing one mapping with a new one. A request keeps the
graph it found, so a replaced graph finishes its work and is then freed.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from igan_zoo.errors import IganZooError, SpecificationError, UnknownNameError
from igan_zoo.machine.cores import cores
from igan_zoo.models import store
from igan_zoo.names import nearest
from igan_zoo.serving.server.errors import NotReadyError
from igan_zoo.serving.server.models.decoding import Decoder
from igan_zoo.serving.server.models.encoded_images import ImageDecoding
from igan_zoo.serving.server.models.hosted import HostedGraph, HostedModel
from igan_zoo.serving.server.models.origins import LoadOptions, Origin, find_origin, read_stamp, roles_of
from igan_zoo.serving.server.models.trial import try_to_load
from igan_zoo.serving.server.models.versions import Listed, Version, changed, in_folders, protocol_name
from igan_zoo.serving.server.settings import ServerSettings

# More than there are graphs: threads are made as they are needed.
_POOL = 256

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Lookup:
    """What requests look names up in: made anew with every change."""

    graphs: Mapping[tuple[str, str | None], HostedGraph] = field(default_factory=dict)
    models: Mapping[str, HostedModel] = field(default_factory=dict)


class Repository:
    """The served models. ``stopping`` is set once the server takes no more requests."""

    def __init__(self, origins: Iterable[Origin], settings: ServerSettings) -> None:
        """Registers the models without loading any.

        Raises:
            SpecificationError: two of them have the same name.
        """
        self.settings = settings
        self.stopping = False
        self.failure: Exception | None = None
        self._started = False
        # Whether the other processes of the server have started too.
        self.all_started = True
        self._pool = ThreadPoolExecutor(_POOL, thread_name_prefix="graph")
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="codec")
        self.decoding = ImageDecoding(Decoder())
        self._changing = asyncio.Lock()
        self._folders: list[Origin] = []
        self._versions: dict[str, dict[str, Version]] = {}
        self._lookup = _Lookup()
        for origin in origins:
            if origin.name in self._versions:
                raise SpecificationError(f"Two models are called {origin.name}; a server can have one of each name.")
            self._add(origin)
        self.threads = settings.threads or max(1, cores() // max(1, settings.workers * self._count_sessions()))

    @classmethod
    def open(cls, references: Sequence[str | Path | None], settings: ServerSettings | None = None) -> Repository:
        """Returns a repository with all models loaded, as :meth:`load_all` does; for tests and other servers."""
        repository = cls(
            [find_origin(str(name) if name else None) for name in references], settings or ServerSettings()
        )
        repository.load_all()
        return repository

    @property
    def ready(self) -> bool:
        """Whether all processes have loaded the initial models, and the server is not stopping."""
        return self._started and self.all_started and not self.stopping

    def graph(self, name: str, version: str | None = None) -> HostedGraph:
        """Returns a graph by its protocol name, by default of the newest version.

        Raises:
            UnknownNameError: there is none of that name, or no such version.
            NotReadyError: it is not loaded.
        """
        found = self._lookup.graphs.get((name, version))
        if found is None:
            raise self._missing(name, version)
        return found

    def still_serves(self, graph: HostedGraph, name: str, version: str | None) -> bool:
        """Returns whether :meth:`graph` gives this graph for a name and version."""
        return self._lookup.graphs.get((name, version)) is graph

    def model(self, name: str, version: str | None = None) -> HostedModel:
        """Returns a model by its own name, by default its newest version.

        Raises:
            UnknownNameError: there is none of that name, or no such version.
            NotReadyError: it is not loaded.
        """
        found = self._lookup.models.get(name) if version is None else self._hosted(name, version)
        if found is None:
            if name not in self._versions or (version is not None and version not in self._versions[name]):
                raise UnknownNameError(f"No model {name!r} is served; {nearest(name, self._versions)}")
            raise NotReadyError(f"The model {name} is not loaded.")
        return found

    def models(self) -> list[HostedModel]:
        """Returns the newest loaded version of every model."""
        return list(self._lookup.models.values())

    def graphs(self) -> list[HostedGraph]:
        """Returns all loaded graphs, of all versions."""
        return [graph for (_, version), graph in self._lookup.graphs.items() if version is not None]

    def versions(self, name: str) -> list[str]:
        """Returns the loaded versions of a graph, oldest first."""
        return [number for graph_name, number in self._lookup.graphs if graph_name == name and number is not None]

    def index(self) -> list[Listed]:
        """Returns every known graph with its state."""
        return [listed for version in self._all() for listed in version.listed()]

    def load_all(self) -> None:
        """Loads every requested model that is not loaded; blocks.

        Raises:
            IganZooError: what is wrong with the first that cannot be loaded.
        """
        for version in self._wanted():
            if version.hosted is None:
                self._install(version, self._loaded(version))
        self._started = True

    async def start(self) -> None:
        """Like :meth:`load_all`, in a thread; until then, ``ready`` is false.

        Raises:
            IganZooError: what is wrong with the first that cannot be loaded.
        """
        async with self._changing:
            for version in self._wanted():
                if version.hosted is None:
                    await self._load(version)
            self._started = True

    async def load(self, name: str) -> None:
        """Loads a graph by its protocol name, or a model with all of its graphs; a loaded one is exchanged.

        Raises:
            UnknownNameError: no model of that name is known here.
            IganZooError: what is wrong with it; what was loaded before stays.
        """
        async with self._changing:
            found = self._find(name)
            if not found:
                self._add(await asyncio.to_thread(_stored, name, self._known()))
                found = self._find(name)
                for version, _ in found:
                    version.wanted = ()
            for version, role in found:
                before = version.wanted
                # None is all of them: a graph that is loaded once more takes none of its siblings away.
                version.wanted = None if role is None or before is None else tuple(dict.fromkeys((*before, role)))
                try:
                    await self._load(version)
                except IganZooError:
                    version.wanted = before if version.hosted else ()
                    raise

    async def unload(self, name: str) -> None:
        """Unloads a graph by its protocol name, or all graphs of a model; requests in progress finish normally.

        Raises:
            UnknownNameError: no model of that name is known here.
        """
        async with self._changing:
            found = self._find(name)
            if not found:
                raise self._missing(name, None)
            for version, role in found:
                kept = {} if version.hosted is None or role is None else dict(version.hosted.graphs)
                kept.pop(role or "", None)
                version.keep(kept)
            self._refresh()
            _forget()

    async def look_for_changes(self) -> list[str]:
        """Replaces models whose files changed, and adds new version folders; returns a sentence for each event.

        If a changed model cannot be loaded, the old one stays, and loading is tried again at the next change.
        """
        events = []
        async with self._changing:
            for origin, number, path in await asyncio.to_thread(in_folders, tuple(self._folders)):
                known = self._versions[origin.name]
                known.setdefault(number, Version(origin.name, number, path, origin.device))
            for version in await asyncio.to_thread(changed, self._wanted()):
                try:
                    await self._load(version)
                    events.append(f"{version.model_name} version {version.number} was loaded from {version.path}.")
                except IganZooError as error:
                    kept = "the old one is still served" if version.hosted else "it is not served"
                    events.append(f"{version.model_name} version {version.number} changed, but {kept}: {error}")
        return events

    async def aside(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Returns ``function(*arguments)``, much decoding or encoding, which the event loop must not wait for.

        One at a time: each takes many times the memory of what it is given, and the interpreter for most of its time.
        """
        return await asyncio.get_running_loop().run_in_executor(self._aside, function, *arguments)

    def close(self) -> None:
        """Ends the threads, when the last requests are done."""
        for pool in (self._pool, self._aside):
            pool.shutdown(wait=False, cancel_futures=True)

    def _add(self, origin: Origin) -> None:
        if set(origin.versions.values()) != {origin.path}:
            self._folders.append(origin)
        versions = self._versions.setdefault(origin.name, {})
        for number, path in origin.versions.items():
            roles = roles_of(store.resolve(str(path))) or ()
            versions[number] = Version(origin.name, number, path, origin.device, roles=roles)

    def _count_sessions(self) -> int:
        return sum(len(version.roles) or 1 for version in self._all())

    def _all(self) -> Iterator[Version]:
        for versions in self._versions.values():
            yield from versions.values()

    def _wanted(self) -> list[Version]:
        return [version for version in self._all() if version.wanted != ()]

    def _known(self) -> set[str]:
        return {listed.name for listed in self.index()}

    def _hosted(self, name: str, number: str) -> HostedModel | None:
        version = self._versions.get(name, {}).get(number)
        return version.hosted if version else None

    def _find(self, name: str) -> list[tuple[Version, str | None]]:
        """Returns the versions that a name stands for, each with the role, or None for all."""
        if name in self._versions:
            return [(version, None) for version in self._versions[name].values()]
        return [
            (version, role)
            for version in self._all()
            for role in version.roles
            if protocol_name(version.model_name, role) == name
        ]

    def _missing(self, name: str, number: str | None) -> IganZooError:
        listed = [line for line in self.index() if line.name == name]
        if not listed:
            if any(version.loading for version in self._all()):
                return NotReadyError(f"The server is still loading models; {name!r} may be among them.")
            return UnknownNameError(f"No model {name!r} is served; {nearest(name, self._known())}")
        if number is None or any(line.version == number for line in listed):
            return NotReadyError(f"The model {name} is not loaded.")
        return UnknownNameError(
            f"{name} has no version {number!r}; it has: {', '.join(line.version for line in listed)}."
        )

    async def _load(self, version: Version) -> None:
        version.loading = version.hosted is None
        try:
            if self._started:
                # Whoever starts a server waits for it; later nobody does, and everybody would suffer.
                version.stamp = await asyncio.to_thread(read_stamp, version.path)
                options = LoadOptions(self.threads, self.settings.variant, self.settings.precision)
                await try_to_load(version.path, version.device, options, self.settings.load_timeout)
            hosted = await asyncio.to_thread(self._loaded, version)
        except IganZooError as error:
            version.reason = str(error)
            raise
        finally:
            version.loading = False
        exchanged = version.hosted is not None
        self._install(version, hosted)
        if exchanged:
            _forget()

    def _loaded(self, version: Version) -> HostedModel:
        return version.load(self.threads, self.settings, self._pool, self.decoding)

    def _install(self, version: Version, hosted: HostedModel) -> None:
        version.hosted, version.reason = hosted, ""
        version.roles = version.roles or tuple(hosted.graphs)
        self._refresh()

    def _refresh(self) -> None:
        graphs: dict[tuple[str, str | None], HostedGraph] = {}
        models: dict[str, HostedModel] = {}
        for versions in self._versions.values():
            for number in sorted(versions, key=int):
                hosted = versions[number].hosted
                if hosted is None:
                    continue
                models[hosted.name] = hosted
                for graph in hosted.graphs.values():
                    graphs[graph.name, number] = graphs[graph.name, None] = graph
        self._lookup = _Lookup(graphs, models)


def _forget() -> None:
    """Frees graphs that are not served any more: tracebacks of refused requests keep them in cycles.

    Such cycles are few beside a model, so that the garbage collector would not look for them for a long time.
    """
    gc.collect()


def _stored(name: str, known: Iterable[str]) -> Origin:
    """Returns a pulled or bundled model: network clients may not name paths."""
    for place in store.local_stores():
        if name in place.names():
            return find_origin(str(place.find(name)))
    raise UnknownNameError(f"No model {name!r} is served or was pulled; {nearest(name, known)}")
