"""What a recipe is made of: every setting with its type and range, and how the command line changes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from igan_zoo.errors import SpecificationError
from igan_zoo.latents import Distribution
from igan_zoo.names import nearest

AnyRecipe = TypeVar("AnyRecipe", bound=Struct)

Count = Annotated[int, Meta(ge=1)]
Index = Annotated[int, Meta(ge=0)]
Rate = Annotated[float, Meta(gt=0, le=1)]
Weight = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Probability = Annotated[float, Meta(ge=0, lt=1)]
Labels = Annotated[str, Meta(pattern=r"^(all|[0-9]{1,9}|[1-9][0-9]{0,8}-per-class)$")]

Network = Literal["mnist-dense", "convolutional", "residual", "whitened", "multi-scale"]
Output = Literal["sigmoid", "softplus"]
PixelRange = Literal["unit", "centred-128", "centred-127.5"]
Precision = Literal["float32", "tf32", "bfloat16"]
Objective = Literal["feature-matching", "feature-matching-absolute", "minimax", "equilibrium"]

# How the networks see a pixel: (value - offset) / scale.
PIXEL_RANGES: dict[PixelRange, tuple[float, float]] = {
    "unit": (0.0, 255.0),
    "centred-128": (127.5, 128.0),
    "centred-127.5": (127.5, 127.5),
}
# Pixels a side of the square images that the networks are made for.
_CONVOLUTIONAL_SIZES = (28, 32, 40, 48, 56, 64, 80, 96, 112, 128)
SIZES: dict[Network, tuple[int, ...]] = {
    "convolutional": _CONVOLUTIONAL_SIZES,
    "residual": _CONVOLUTIONAL_SIZES,
    "whitened": _CONVOLUTIONAL_SIZES,
    "multi-scale": (32, 64, 128),
}


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a training run depends on, beside the data and the code. Defaults are the 2016 MNIST script's."""

    name: str

    # The data that the recipe is meant for.
    dataset: str = "ylecun/mnist"  # Hub id
    dataset_license: str = "cc-by-sa-3.0"
    height: Count = 28
    width: Count = 28
    channels: Literal[1, 3] = 1
    crop: bool = False  # to the central square before resizing; without it the aspect ratio gives way
    # Changes of every image that the discriminator sees, real or generated; the 2016 code has none.
    flips: bool = False  # mirror every second image at random
    shifts: Annotated[int, Meta(ge=0, le=13)] = 0  # move every image at random by up to so many pixels
    cutout: Index = 0  # blank a square of so many pixels per side in every image at random
    pixel_range: PixelRange = "unit"  # [0, 1], or about [-1, 1]
    labels: Labels = "100"  # labelled examples in all, "N-per-class", "all", or "0"
    validation_images: Index = 5000  # training images whose labels only the logged error sees, at most

    # The networks.
    network: Network = "mnist-dense"
    network_width: Annotated[float, Meta(gt=0, le=4)] = 1.0  # multiplies the filters of both; not of mnist-dense
    discriminator_filters: Count = 96  # of the convolutional discriminator's first block
    latent_size: Count = 100  # of the multi-scale network: without its noise maps
    latent_distribution: Distribution = "uniform"
    generator: bool = True  # without one only the labelled examples train the classifier
    mirrored_answers: bool = False  # in use, answer by the mean logits of an image and its mirror image
    generator_from: Index = 0  # epoch from which it plays; before, only the labelled examples train the classifier
    generator_output: Output = "sigmoid"  # of mnist-dense
    sigmoid_from: Index | None = None  # epoch from which that output is a sigmoid, whatever it was before
    input_dropout: Probability = 0.0  # of the convolutional discriminator
    input_noise: Weight = 0.0
    dropout: Probability = 0.5  # after each block of the convolutional discriminator
    logit_stddev: Annotated[float, Meta(gt=0)] = 0.1  # of the convolutional discriminator after its initialization
    initialization_images: Count = 500  # of the data-dependent initialization
    start_from: str | None = None  # a model, by name or directory, whose weights the networks begin with

    # The techniques of the paper, each a switch of its own.
    objective: Objective = "feature-matching"  # of the generator; section 3.1 and the 2016 scripts
    minibatch_discrimination: Literal["2016", "plain", "imagenet"] | None = None  # section 3.2
    historical_averaging: Weight = 0.0  # weight of both players' distance from their past; section 3.3
    real_target: Annotated[float, Meta(gt=0, le=1)] = 1.0  # below 1: one-sided label smoothing; section 3.4
    normalization: Literal["batch", "virtual-batch"] = "batch"  # of the generator; section 3.5
    unlabeled_weight: Weight = 1.0  # of the unsupervised loss; section 5

    # Consistency on unlabeled images, which is not in the paper; see training/games/consistency.py.
    consistency_weight: Weight = 0.0
    consistency_from: Index = 0  # epoch
    consistency_ramp: Index = 0  # epochs in which the weight rises from 0
    consistency_images: Count = 128  # unlabeled images in a step
    consistency_confidence: Share = 0.9  # probability that a pseudo-label needs in order to count
    consistency_cutout: Index = 16  # side of the square that the strong view blanks
    consistency_colors: bool = True  # the strong view changes brightness, contrast and colors
    strong_labels: Share = 0.0  # share of the labelled images of a step that are shown in the strong view
    strong_images: Share = 1.0  # and of the unlabeled ones that consistency is asked on; the rest keeps the weak view
    teacher: str | None = None  # models, separated by commas, whose answers they get; training/teaching.py
    teacher_temperature: Annotated[float, Meta(gt=0)] = 1.0  # above 1: its answers count as less sure
    teacher_until: Share = 1.0  # share of the run after which the average answers where the teacher was unsure

    # The optimization.
    batch_size: Count = 100  # of each of: labelled, unlabelled, generated; for each process
    epochs: Count = 300
    epoch_images: Count | None = None  # unlabelled images an epoch; all of them where not given
    generator_steps: Count = 1  # for each step of the discriminator
    simultaneous: bool = False  # both players step at once, on the same generated images
    optimizer: Literal["adam", "sgd"] = "adam"  # of the discriminator; sgd has Nesterov's momentum 0.9
    weight_decay: Weight = 0.0  # of the discriminator's weights, with sgd
    learning_rate: Rate = 0.003
    shift_rate: Annotated[float, Meta(gt=0)] = 1.0  # times it: of the shifts of batch normalization, with sgd
    warmup: Share = 0.0  # share of the run in which the rate rises, from a fifth
    generator_learning_rate: Rate | None = None  # the same where not given
    decay_from: Share = 1.0  # share of the run after which the rate falls linearly to 0
    adam_epsilon: Literal["inside", "outside"] = "inside"  # of the square root
    averaging_rate: Rate | None = 0.0001  # of the parameter average that is tested; none tests the parameters
    generator_averaging_rate: Rate | None = None  # of the generator's average that is drawn and exported; none: itself
    precision: Precision | Literal["auto"] = "float32"  # of the matrix products and convolutions
    seed: Index = 1  # of weights, noise and shuffles
    # Differs from the 2016 code: there it is 1 where not given, and the seed with minibatch discrimination on CIFAR-10.
    data_seed: Index | None = None  # of the labelled subset; the seed where not given

    def __post_init__(self) -> None:
        sizes = ", ".join(map(str, SIZES.get(self.network, ())))
        for wrong, sentence in (
            (not self.generator and self.unlabeled_weight > 0, "generator=false needs unlabeled_weight=0"),
            (
                self.generator_from > 0 and self.labels == "0",
                "generator_from leaves nothing to learn first with labels=0",
            ),
            (not self.generator and self.labels == "0", "generator=false leaves nothing to learn with labels=0"),
            (
                self.network in SIZES and (self.height != self.width or self.height not in SIZES[self.network]),
                f"{self.network} networks are for square images of {sizes} pixels per side",
            ),
            (
                (self.minibatch_discrimination == "imagenet") != (self.network == "multi-scale"),
                "minibatch_discrimination=imagenet and network=multi-scale go together",
            ),
            (
                self.simultaneous != (self.network == "multi-scale"),
                "simultaneous=true and network=multi-scale go together",
            ),
            (self.simultaneous and self.generator_from > 0, "simultaneous=true needs generator_from=0"),
            (self.simultaneous and self.optimizer != "adam", "simultaneous=true needs optimizer=adam"),
            (self.optimizer == "adam" and self.weight_decay > 0, "weight_decay needs optimizer=sgd"),
            (
                self.consistency_weight > 0 and self.network == "multi-scale",
                "consistency_weight does not work with network=multi-scale",
            ),
            (
                self.generator_averaging_rate is not None and (not self.generator or self.network == "multi-scale"),
                "generator_averaging_rate needs a generator, and does not work with network=multi-scale",
            ),
            (self.consistency_weight > 0 and self.averaging_rate is None, "consistency_weight needs an averaging_rate"),
            (self.consistency_weight > 0 and self.labels == "0", "consistency_weight needs labels"),
            (self.teacher is not None and self.consistency_weight == 0, "teacher needs a consistency_weight"),
            (self.optimizer == "adam" and self.shift_rate != 1, "shift_rate needs optimizer=sgd"),
            (
                self.mirrored_answers and self.network == "mnist-dense",
                "mirrored_answers=true needs a convolutional network",
            ),
            (
                self.network == "mnist-dense" and self.minibatch_discrimination is not None,
                "network=mnist-dense has no minibatch discrimination",
            ),
            (
                self.normalization == "virtual-batch" and self.network == "mnist-dense",
                "network=mnist-dense has no virtual batch normalization",
            ),
            (
                self.normalization == "batch" and self.network == "multi-scale",
                "network=multi-scale needs normalization=virtual-batch",
            ),
        ):
            if wrong:
                raise ValueError(sentence)

    def learning_rate_at(self, epoch: int) -> float:
        """Returns the learning rate of an epoch, counted from 0."""
        rising = self.warmup * self.epochs
        if epoch < rising:
            return self.learning_rate * (0.2 + 0.8 * epoch / rising)
        start = self.decay_from * self.epochs
        if epoch < start:
            return self.learning_rate
        return self.learning_rate * (self.epochs - epoch) / (self.epochs - start)

    def consistency_at(self, epoch: int) -> float:
        """Returns the weight of the consistency loss in an epoch, counted from 0."""
        since = epoch - self.consistency_from
        if since < 0:
            return 0.0
        return self.consistency_weight * min(1.0, (since + 1) / (self.consistency_ramp + 1))

    @property
    def teachers(self) -> tuple[str, ...]:
        """The models, by name or directory, that answer for unlabeled images."""
        return tuple(self.teacher.split(",")) if self.teacher is not None else ()

    def average_answers_at(self, epoch: int) -> bool:
        """Returns whether the averaged network answers for unlabeled images in an epoch, counted from 0."""
        return self.teacher is None or epoch >= self.teacher_until * self.epochs

    def generator_plays_at(self, epoch: int) -> bool:
        """Returns whether the generator and the unlabelled images take part in an epoch, counted from 0."""
        return self.generator and epoch >= self.generator_from

    @property
    def matches_features(self) -> bool:
        """Whether the generator's objective compares generated images with real ones."""
        return self.objective.startswith("feature-matching")

    def output_at(self, epoch: int) -> Output:
        """Returns the last nonlinearity of the mnist-dense generator in an epoch, counted from 0."""
        return "sigmoid" if self.sigmoid_from is not None and epoch >= self.sigmoid_from else self.generator_output

    @property
    def subset_seed(self) -> int:
        """The seed of the labelled subset."""
        return self.seed if self.data_seed is None else self.data_seed

    @property
    def explicit_generated_class(self) -> bool:
        """Whether "generated" has a logit of its own, the last one, and not a fixed zero."""
        return self.network == "multi-scale"


def customize(recipe: AnyRecipe, settings: Sequence[str]) -> AnyRecipe:
    """Returns ``recipe`` with ``key=value`` settings applied, each checked for its name, type and range.

    Raises:
        SpecificationError: a setting is unknown, malformed, out of range or contradicts another.
    """
    values: dict[str, Any] = msgspec.structs.asdict(recipe)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise SpecificationError(f"A setting must be key=value, not {setting!r}.")
        if key not in values:
            raise SpecificationError(f"There is no setting {key!r}; {nearest(key, values)}")
        values[key] = None if text == "none" else text
        _check_setting(type(recipe), setting, key, values[key])
    try:
        # Strings become numbers where the field is a number; everything else is checked as it is.
        return msgspec.convert(values, type(recipe), strict=False)
    except msgspec.ValidationError as error:
        raise SpecificationError(f"The settings contradict each other: {_reason(error)}.") from error


def _check_setting(kind: type[Struct], setting: str, key: str, value: str | None) -> None:
    """Checks one value for its type and range alone; only together can settings contradict each other."""
    field = next(field for field in msgspec.structs.fields(kind) if field.name == key)
    try:
        msgspec.convert(value, field.type, strict=False)
    except msgspec.ValidationError as error:
        reason = _reason(error) if key != "labels" else "write a number, such as 100, or 25-per-class, all or 0"
        raise SpecificationError(f"The setting {setting} is not possible: {reason}.") from error


def _reason(error: msgspec.ValidationError) -> str:
    return str(error).partition(" - at")[0]
