"""The model card: ``README.md`` and ``.eval_results/`` of a model directory, from its specification alone."""

from __future__ import annotations

from pathlib import Path

from igan_zoo.hub.client import TAG
from igan_zoo.models.parity import FileParity, ParityReport, largest
from igan_zoo.models.spec import VARIANTS, ModelSpec, ResultSpec, TrainingSpec, graph_file
from igan_zoo.paper import BENCHMARKS

PAPER = "1606.03498"

_TESTED = """\
The test images were read only after training had ended. The errors logged during training, which may guide choices,
are on training images whose labels are hidden from training."""

# How a latent is drawn in Python and, number by number, in JavaScript.
_DRAWS = {
    "uniform": ("numpy.random.uniform(0, 1, ({shape}))", "Math.random()"),
    "symmetric-uniform": ("numpy.random.uniform(-1, 1, ({shape}))", "2 * Math.random() - 1"),
    "normal": (
        "numpy.random.normal(0, 1, ({shape}))",
        "Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random())",
    ),
}


def write_card(directory: Path, spec: ModelSpec, parity: ParityReport) -> None:
    """Writes the card and, where there are results, ``.eval_results/`` in the Hub's form."""
    (directory / "README.md").write_text(_metadata(spec) + _body(spec, parity))
    if spec.results:
        (directory / ".eval_results").mkdir()
        (directory / ".eval_results" / f"{spec.name}.yaml").write_text(_eval_results(spec))


def _metadata(spec: ModelSpec) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=result.dataset,
            dataset_name=result.dataset,
            dataset_split=result.split,
            metric_type="accuracy",
            metric_value=round(1 - result.error, 6),
        )
        for result in spec.results
        if result.variant is None
    ]
    data = ModelCardData(
        license=spec.license,
        library_name="onnx",
        pipeline_tag="image-classification" if spec.classes else "unconditional-image-generation",
        tags=[TAG, "onnx", "gan", "semi-supervised", "improved-gan", f"arxiv:{PAPER}"],
        datasets=[spec.dataset.id],
        metrics=["accuracy"] if spec.classes else None,
        model_name=spec.name,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n"


def _eval_results(spec: ModelSpec) -> str:
    import yaml
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = [
        EvalResultEntry(
            dataset_id=result.dataset,
            task_id="image-classification",
            value=round(1 - result.error, 6),
            notes=f"accuracy on the {result.split} split: {result.wrong} errors of {result.total}",
        )
        for result in spec.results
        if result.variant is None
    ]
    text: str = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)
    return text


def _body(spec: ModelSpec, parity: ParityReport) -> str:
    training = spec.training
    return f"""# {spec.name}

{spec.summary}, trained with igan-zoo by the method of *Improved Techniques for Training GANs* (Salimans et al., 2016).
{_picture(spec)}
## Result

{_results(spec)}

## How it was made

    {training.command}

{_recipe(training)}

{_time(training)}, on {_images(training)}. {_versions(training.versions)}

{_generator_training(spec)}## Use

Inputs and outputs are plain arrays; the preprocessing is inside the graphs.

{_interfaces(spec, parity)}

{_client(spec)}

## Limits

The model was trained on images like those of {spec.dataset.id}: {_pixels(spec)}.{_outside(spec)}
It reproduces a research experiment and is not a tested product: do not use it for decisions about people.

## Exactness

{_parity(parity)}

## License and citation

Weights: {spec.license}. Data: {spec.dataset.id}, {spec.dataset.license}.

    @inproceedings{{salimans2016improved,
      title = {{Improved Techniques for Training GANs}},
      author = {{Salimans, Tim and Goodfellow, Ian and Zaremba, Wojciech and
                Cheung, Vicki and Radford, Alec and Chen, Xi}},
      booktitle = {{Advances in Neural Information Processing Systems}},
      year = {{2016}}
    }}
"""


def _generator_training(spec: ModelSpec) -> str:
    """Returns how the generator was made, if it comes from another run."""
    training = spec.generator_training
    if training is None:
        return ""
    return f"""The generator comes from another run:

    {training.command}

{_recipe(training)}

{_time(training)}.

"""


def _images(training: TrainingSpec) -> str:
    settings = training.settings or {}
    if settings.get("labels") == "all":
        return f"{training.labels} images, all of them labeled"
    seed = settings.get("data_seed")
    chosen = f"chosen by seed {training.seed if seed is None else seed}"
    return f"{training.labels} labeled images, {chosen}, and all other training images\nwithout their labels"


def _time(training: TrainingSpec) -> str:
    minutes = training.seconds / 60
    time = f"{minutes:.0f} minutes" if minutes < 180 else f"{minutes / 60:.1f} hours"
    return f"Trained for {training.epochs} epochs in {time} of wall-clock time"


def _picture(spec: ModelSpec) -> str:
    if spec.latent is None:
        return ""
    weakness = f"\nWhat is wrong with these images: {spec.weakness}\n" if spec.weakness else ""
    return f"\n![generated images](samples.png)\n{weakness}"


def _recipe(training: TrainingSpec) -> str:
    if training.experiment is None:
        return f"The recipe is `{training.recipe}`."
    if not training.departures:
        return f"The recipe is the paper's `{training.experiment}`, unchanged."
    settings = ", ".join(f"`{setting}`" for setting in training.departures)
    return (
        f"The recipe `{training.recipe}` differs from the paper's `{training.experiment}` in these settings, with the "
        f"paper's values in parentheses: {settings}."
    )


def _client(spec: ModelSpec) -> str:
    image = spec.image
    shape = f"{image.height}, {image.width}, {image.channels}"
    if spec.classes is None and spec.latent is not None:
        in_python, in_javascript = _DRAWS[spec.latent.distribution]
        return f"""In Python, with `pip install onnxruntime numpy`:

    import numpy, onnxruntime
    session = onnxruntime.InferenceSession("onnx/generator.onnx", providers=["CPUExecutionProvider"])
    latent = {in_python.format(shape=f"1, {spec.latent.size}")}.astype(numpy.float32)
    (images,) = session.run(None, {{"latent": latent}})

In JavaScript, with `npm install onnxruntime-node` (in a browser: `onnxruntime-web`):

    import * as ort from "onnxruntime-node";
    const session = await ort.InferenceSession.create("onnx/generator.onnx");
    const latent = Float32Array.from({{ length: {spec.latent.size} }}, () => {in_javascript});
    const {{ images }} = await session.run({{ latent: new ort.Tensor("float32", latent, [1, {spec.latent.size}]) }});"""
    return f"""In Python, with `pip install onnxruntime numpy`:

    import numpy, onnxruntime
    session = onnxruntime.InferenceSession("onnx/classifier.onnx", providers=["CPUExecutionProvider"])
    images = numpy.zeros((1, {shape}), numpy.uint8)
    logits, probabilities, realness = session.run(None, {{"images": images}})

In JavaScript, with `npm install onnxruntime-node` (in a browser: `onnxruntime-web`):

    import * as ort from "onnxruntime-node";
    const session = await ort.InferenceSession.create("onnx/classifier.onnx");
    const pixels = new Uint8Array({image.height} * {image.width} * {image.channels});
    const {{ probabilities }} = await session.run({{ images: new ort.Tensor("uint8", pixels, [1, {shape}]) }});

`realness` is D(x) = Z / (Z + 1), where Z is the sum of the exponentials of the logits: the discriminator's probability
that the image is real."""


def _pixels(spec: ModelSpec) -> str:
    return f"{spec.image.height}x{spec.image.width} pixels, black is 0"


def _outside(spec: ModelSpec) -> str:
    if spec.classes is None:
        return ""
    return (
        f"\nIt assigns every image to one of its {len(spec.classes)} classes. A low `realness` suggests that an image "
        "is unlike the training images, but does not prove it."
    )


def _interfaces(spec: ModelSpec, parity: ParityReport) -> str:
    images = f"`images` uint8 [N, {spec.image.height}, {spec.image.width}, {spec.image.channels}]"
    lines = ["| file | input | outputs |", "|---|---|---|"]
    if spec.classes is not None:
        outputs = f"`logits` and `probabilities` float32 [N, {len(spec.classes)}], `realness` float32 [N]"
        lines.append(f"| {_files('classifier', parity)} | {images} | {outputs} |")
    if spec.latent is not None:
        latent = f"`latent` float32 [N, {spec.latent.size}], {spec.latent.distribution}"
        lines.append(f"| {_files('generator', parity)} | {latent} | {images} |")
    return "\n".join(lines)


def _files(role: str, parity: ParityReport) -> str:
    variants = [file for variant in VARIANTS if (file := graph_file(role, variant)) in parity.variants]
    return ", ".join(f"`{file}`" for file in (graph_file(role), *variants))


def _results(spec: ModelSpec) -> str:
    if spec.classes is None:
        return "This model has no classifier, so there is no test error."
    if not spec.results:
        return " ".join(["Not measured: `igan-zoo export` was given no test data.", *_temperature(spec)])
    lines = ["| data | errors | the paper (mean of 10 runs) |", "|---|---|---|"]
    remarks = []
    for result in spec.results:
        published = _published(spec, result)
        variant = f"`{graph_file('classifier', result.variant)}`, " if result.variant else ""
        data = f"{variant}{result.dataset}, {result.split} split, {spec.training.labels} labels"
        paper = f"{published[0]:g} ± {published[1]:g}" if published else "-"
        lines.append(f"| {data} | {result.wrong} of {result.total} ({result.error:.2%}), one run | {paper} |")
        if published and result.wrong > published[0]:
            more = f"{result.wrong - published[0]:g} more errors than the paper's mean"
            close = result.wrong <= sum(published)
            remarks.append(f"This run made {more}{', within its standard deviation' if close else ''}.")
    remarks += _temperature(spec)
    remarks += [spec.note] if spec.note else []
    return "\n\n".join(["\n".join(lines), *([" ".join(remarks)] if remarks else []), _TESTED])


def _temperature(spec: ModelSpec) -> list[str]:
    if spec.temperature is None:
        return []
    return [f"The class logits are divided by {spec.temperature:g}, which changes no predicted class."]


def _published(spec: ModelSpec, result: ResultSpec) -> tuple[float, float] | None:
    """The paper's number of errors, mean and standard deviation, for the same data and number of labels."""
    benchmark = BENCHMARKS.get(result.dataset)
    if benchmark is None or (result.total, result.variant) != (benchmark.test_images, None):
        return None
    number = benchmark.single.get(spec.training.labels)
    if number is None or number.deviation is None:
        return None
    scale = benchmark.test_images / 100 if benchmark.unit == "error percent" else 1
    return round(number.value * scale, 1), round(number.deviation * scale, 1)


def _versions(versions: dict[str, str]) -> str:
    return "Versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()) + "."


def _parity(parity: ParityReport) -> str:
    differences = (
        "Largest difference between onnxruntime and PyTorch in evaluation mode, batches of 1, 2, 7 and 64: "
        f"{_differences(list(parity.files.values()))} (images in gray levels of 255, pixels before rounding in "
        "the network's units)."
    )
    variants = [f"`{file}`: {_differences([report])}" for file, report in parity.variants.items()]
    deliberate = f" The variants are less exact by design: {'; '.join(variants)}." if variants else ""
    tested = [
        f"On the {test.images:,} test images, `{file}` and PyTorch agree on "
        f"{test.argmax_agreement:.2%} of the classes; PyTorch makes {test.wrong.torch} errors."
        for file, report in {**parity.files, **parity.variants}.items()
        if (test := report.test)
    ]
    return "\n\n".join([f"{differences}{deliberate} Details in `parity.json`.", *tested])


def _differences(files: list[FileParity]) -> str:
    return ", ".join(f"{name} {value:.2g}" for name, value in largest(files).items())
