"""The tables of the paper as rows of data: what is measured, by which recipe, and what the paper reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import asdict

from igan_zoo.errors import UnknownNameError
from igan_zoo.names import nearest
from igan_zoo.paper import BENCHMARKS, Benchmark, Published
from igan_zoo.training.recipes.experiments import (
    CIFAR10_MBD,
    CIFAR10_MBD_EQUILIBRIUM,
    CIFAR10_SSL,
    CIFAR10_SSL_HALF_WIDTH,
)
from igan_zoo.training.recipes.settings import Recipe

Metric = Literal["errors", "error percent", "Inception score", "pictures"]


@dataclass(frozen=True)
class Variant:
    """A recipe by name, with settings changed as ``--set`` changes them."""

    recipe: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One number of a table, and the recipes that lead to it: the paper's first, and last that of a number of minutes.

    ``labels`` is None where nothing is trained; ``training_images`` are all, with and without labels.
    """

    name: str
    title: str
    variants: tuple[Variant, ...]
    labels: int | None
    published: Published | None
    training_images: int
    ensemble: bool = False

    @property
    def recipes(self) -> tuple[str, ...]:
        """The names of its recipes."""
        return tuple(dict.fromkeys(variant.recipe for variant in self.variants))


@dataclass(frozen=True)
class Table:
    """A table of the paper. ``valuable_first`` are the rows by what a short budget should be spent on first."""

    name: str
    title: str
    source: str
    metric: Metric
    dataset: str
    test_images: int
    rows: tuple[Row, ...]
    valuable_first: tuple[str, ...]
    remark: str = ""

    def find_rows(self, names: Sequence[str]) -> tuple[Row, ...]:
        """Returns the rows of these names in the table's order; all of them for no names.

        Raises:
            UnknownNameError: there is no such row.
        """
        known = {row.name for row in self.rows}
        for name in names:
            if name not in known:
                raise UnknownNameError(f"{self.name} has no row {name!r}; {nearest(name, known)}")
        return tuple(row for row in self.rows if not names or row.name in names)

    def by_value(self, rows: Iterable[Row]) -> tuple[Row, ...]:
        """Returns rows in the order in which a short budget should come to them."""
        return tuple(sorted(rows, key=lambda row: self.valuable_first.index(row.name)))


def _differences(recipe: Recipe, parent: Recipe, without: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the settings that make ``parent`` into ``recipe``, but for those ``without``."""
    values, of_parent = asdict(recipe), asdict(parent)
    return tuple(
        f"{setting}={value}"
        for setting, value in values.items()
        if value != of_parent[setting] and setting not in ("name", *without)
    )


# What made a training of an hour settle on CIFAR-10, for the other data of its size: all but the smaller networks. And
# the same for the generators of Table 3, whose objective is their own.
_SHORT_CLASSIFIER = _differences(CIFAR10_SSL_HALF_WIDTH, CIFAR10_SSL, without=("network_width",))
_SHORT_GENERATOR = _differences(
    CIFAR10_MBD_EQUILIBRIUM, CIFAR10_MBD, without=("objective", "real_target", "generator_steps")
)

_MNIST = (Variant("mnist-ssl"), Variant("mnist-ssl-softplus"), Variant("mnist-ssl-softplus-then-sigmoid"))
_CIFAR10 = (
    Variant("cifar10-ssl"),
    Variant("cifar10-ssl-self-trained"),
    Variant("cifar10-ssl-consistency"),
    Variant("cifar10-ssl-labels-first"),
    Variant("cifar10-ssl-half-width"),
)
_SVHN = (Variant("svhn-ssl"), Variant("svhn-ssl-half-width", _SHORT_CLASSIFIER))
_MNIST_MBD = (Variant("mnist-mbd"), Variant("mnist-mbd-equilibrium"))


def _classifiers(variants: tuple[Variant, ...], images: int, errors: Benchmark) -> tuple[Row, ...]:
    return (
        *(
            Row(f"{labels}", f"{labels:,} labels", variants, labels, number, images)
            for labels, number in errors.single.items()
        ),
        *(
            Row(f"ensemble-{labels}", f"ensemble ({labels:,} labels)", variants, labels, number, images, ensemble=True)
            for labels, number in errors.ensembles.items()
        ),
    )


def _ablation(name: str, title: str, labels: int, value: float, deviation: float) -> Row:
    recipe = f"cifar10-table3-{name}"
    variants = (Variant(recipe), Variant(recipe, _SHORT_GENERATOR))
    return Row(name, title, variants, labels, Published(value, deviation, 1), 50_000)


TABLE1 = Table(
    name="table1",
    title="MNIST, permutation invariant: wrong test images of 10,000",
    source="Table 1, section 6.1",
    metric=BENCHMARKS["ylecun/mnist"].unit,
    dataset="ylecun/mnist",
    test_images=BENCHMARKS["ylecun/mnist"].test_images,
    rows=_classifiers(_MNIST, 60_000, BENCHMARKS["ylecun/mnist"]),
    valuable_first=("100", "50", "200", "20", "ensemble-100", "ensemble-50", "ensemble-200", "ensemble-20"),
)

TABLE2 = Table(
    name="table2",
    title="CIFAR-10: test error in percent",
    source="Table 2, section 6.2",
    metric=BENCHMARKS["uoft-cs/cifar10"].unit,
    dataset="uoft-cs/cifar10",
    test_images=BENCHMARKS["uoft-cs/cifar10"].test_images,
    rows=_classifiers(_CIFAR10, 50_000, BENCHMARKS["uoft-cs/cifar10"]),
    valuable_first=(
        "4000", "8000", "2000", "1000", "ensemble-4000", "ensemble-8000", "ensemble-2000", "ensemble-1000"
    ),
)  # fmt: skip

SVHN = Table(
    name="svhn",
    title="SVHN: test error in percent",
    source="the table next to Figure 5, section 6.3",
    metric=BENCHMARKS["ufldl-stanford/svhn"].unit,
    dataset="ufldl-stanford/svhn",
    test_images=BENCHMARKS["ufldl-stanford/svhn"].test_images,
    rows=_classifiers(_SVHN, 73_257, BENCHMARKS["ufldl-stanford/svhn"]),
    valuable_first=("1000", "500", "2000", "ensemble-1000"),
)

TABLE3 = Table(
    name="table3",
    title="CIFAR-10: Inception score of 50,000 generated images, one technique left out at a time",
    source="Table 3, section 6.2",
    metric="Inception score",
    dataset="uoft-cs/cifar10",
    test_images=10_000,
    rows=(
        Row("real", "real data", (), None, Published(11.24, 0.12, 1), 50_000),
        _ablation("ours", "our methods", 4000, 8.09, 0.07),
        _ablation("vbn-bn", "-VBN+BN", 4000, 7.54, 0.07),
        _ablation("l-ha", "-L+HA", 0, 6.86, 0.06),
        _ablation("ls", "-LS", 4000, 6.83, 0.06),
        _ablation("l", "-L", 0, 4.36, 0.04),
        _ablation("mbf", "-MBF", 4000, 3.87, 0.03),
    ),
    valuable_first=("ours", "l", "mbf", "vbn-bn", "ls", "l-ha", "real"),
    remark="The paper gives no code for this table; `docs/training.md` says what its rows are taken to be. The "
    "deviations of -VBN+BN, -LS, -L and -MBF are as commonly quoted and could not be checked against the paper's page.",
)

FIGURE3 = Table(
    name="figure3",
    title="MNIST: images of a generator trained by feature matching, and by minibatch discrimination",
    source="Figure 3, section 6.1",
    metric="pictures",
    dataset="ylecun/mnist",
    test_images=10_000,
    rows=(
        Row("feature-matching", "feature matching, during semi-supervised training", _MNIST, 100, None, 60_000),
        Row("minibatch-discrimination", "minibatch discrimination", _MNIST_MBD, 4000, None, 60_000),
    ),
    valuable_first=("minibatch-discrimination", "feature-matching"),
    remark='The paper calls the images of feature matching "not visually appealing" and those of minibatch '
    "discrimination indistinguishable from the data: people told them apart in 52.4 % of 2,000 cases.",
)

TABLES = {table.name: table for table in (TABLE1, TABLE2, SVHN, TABLE3, FIGURE3)}


@dataclass(frozen=True)
class HumanResult:
    """In how many percent of the cases people told generated images from real ones; 50 is chance."""

    title: str
    right_percent: float
    votes: int | None


# Sections 6.1 and 6.2. The second authors' figure is a lower bound: "over 95 %".
HUMAN_RESULTS = (
    HumanResult("MNIST, minibatch discrimination, on MTurk", 52.4, 2000),
    HumanResult("CIFAR-10, the best model, on MTurk", 78.7, None),
    HumanResult("CIFAR-10, the top 1 % of its images by Inception score, on MTurk", 71.4, None),
    HumanResult("CIFAR-10, the best model, by the authors (at least)", 95.0, None),
)
