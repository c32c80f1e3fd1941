"""The experiments by name. A recipe holds only its differences from its parent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from igan_zoo.errors import SpecificationError, UnknownNameError
from igan_zoo.names import nearest

Count = Annotated[int, Meta(ge=1)]
Index = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0, le=1)]
Output = Literal["sigmoid", "softplus"]


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a training run depends on, beside the data and the code. Defaults are the 2016 MNIST script's."""

    name: str
    dataset: str = "ylecun/mnist"  # Hub id of the data that the recipe is meant for
    dataset_license: str = "cc-by-sa-3.0"
    height: Count = 28
    width: Count = 28
    channels: Literal[1, 3] = 1
    latent_size: Count = 100  # uniform [0, 1)
    generator_output: Output = "sigmoid"
    sigmoid_from: Index | None = None  # epoch from which the output is a sigmoid, whatever it was before
    labels: Count = 100  # labelled examples in all, equally many of every class
    unlabelled_weight: Annotated[float, Meta(ge=0)] = 1.0
    batch_size: Count = 100  # of each of: labelled, unlabelled, generated
    epochs: Count = 300
    learning_rate: Rate = 0.003
    decay_from: Annotated[float, Meta(ge=0, le=1)] = 1.0  # share of the run after which the rate falls linearly to 0
    averaging_rate: Rate = 0.0001  # of the parameter average that is tested
    initialization_images: Count = 500  # of the data-dependent initialization
    validation_images: Count = 5000  # training images whose labels only the logged error sees
    seed: Index = 1  # of weights, noise and shuffles
    data_seed: Index | None = None  # of the labelled subset; the seed where not given

    def learning_rate_at(self, epoch: int) -> float:
        """Returns the learning rate of an epoch, counted from 0."""
        start = self.decay_from * self.epochs
        if epoch < start:
            return self.learning_rate
        return self.learning_rate * (self.epochs - epoch) / (self.epochs - start)

    def output_at(self, epoch: int) -> Output:
        """Returns the last nonlinearity of the generator in an epoch, counted from 0."""
        return "sigmoid" if self.sigmoid_from is not None and epoch >= self.sigmoid_from else self.generator_output

    @property
    def subset_seed(self) -> int:
        """The seed of the labelled subset."""
        return self.seed if self.data_seed is None else self.data_seed


MNIST_SSL = Recipe(name="mnist-ssl")

# The sigmoid of the 2016 generator saturates in the first epochs: its gradient vanishes while the discriminator wins,
# and generation helps the classifier only from about iteration 5,000 on. A softplus output never saturates towards
# white, and starts at once. The decay and the faster average let a run of a third of the epochs settle.
MNIST_SSL_FAST = msgspec.structs.replace(
    MNIST_SSL,
    name="mnist-ssl-fast",
    generator_output="softplus",
    epochs=110,
    decay_from=0.5,
    averaging_rate=0.001,
)

# A warm start: once the softplus generator has learned to follow, the 2016 sigmoid takes its place. By then it does not
# saturate any more; its pixels cannot be whiter than white, the discriminator has less to tell them apart by, and the
# error falls on where the softplus alone stands still.
MNIST_SSL_WARM = msgspec.structs.replace(
    MNIST_SSL_FAST,
    name="mnist-ssl-warm",
    sigmoid_from=55,
    epochs=77,
    decay_from=0.8311688,  # from epoch 64
)

RECIPES = {recipe.name: recipe for recipe in (MNIST_SSL, MNIST_SSL_FAST, MNIST_SSL_WARM)}


def find_recipe(name: str) -> Recipe:
    """Returns the recipe of that name.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    if name not in RECIPES:
        raise UnknownNameError(f"There is no recipe {name!r}; {nearest(name, RECIPES)}")
    return RECIPES[name]


def customize(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Returns ``recipe`` with ``key=value`` settings applied, each checked for its name, type and range.

    Raises:
        SpecificationError: a setting is unknown, malformed or out of range.
    """
    values: dict[str, Any] = msgspec.structs.asdict(recipe)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise SpecificationError(f"A setting is key=value, got {setting!r}.")
        if key not in values:
            raise SpecificationError(f"There is no setting {key!r}; {nearest(key, values)}")
        values[key] = None if text == "none" else text
        try:
            # Strings become numbers where the field is a number; everything else is checked as it is.
            values = msgspec.structs.asdict(msgspec.convert(values, Recipe, strict=False))
        except msgspec.ValidationError as error:
            raise SpecificationError(
                f"The setting {setting} is not possible: {str(error).partition(' - at')[0]}."
            ) from error
    return msgspec.convert(values, Recipe)
