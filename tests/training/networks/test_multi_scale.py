"""The 128x128 networks against slow passes by hand, and the numbers of the 2016 code at full size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from igan_zoo.latents import latents
from igan_zoo.training.networks.multi_scale import MultiScaleDiscriminator, MultiScaleGenerator
from igan_zoo.training.networks.normalization import CrossBatchNorm, virtual_batch_norm_reference

# In float64; both sides add up in different orders.
TOLERANCE = {"rtol": 1e-8, "atol": 1e-10}
REFERENCES = 3


def generator(size: int = 32) -> MultiScaleGenerator:
    """With a bias that matters."""
    torch.manual_seed(0)
    made = MultiScaleGenerator(reference_seed=7, references=REFERENCES, width=1 / 32, size=size).double()
    nn.init.normal_(made.stem.bias)
    return made


def discriminator(size: int = 32) -> MultiScaleDiscriminator:
    """With weights large enough that minibatch features differ from zero and from one another."""
    torch.manual_seed(1)
    made = MultiScaleDiscriminator(classes=4, references=REFERENCES, width=1 / 32, size=size).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        made.projection.weight.mul_(0.1)
    made.noise.stddev = 0.0
    return made


def latent(network: MultiScaleGenerator, count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(latents(network.latent_size, "symmetric-uniform", seed=seed, start=0, count=count)).double()


def images(count: int, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def shapes(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[tuple[int, ...]]:
    """Collects the shape of every output of these layers, without the batch, as they come."""
    found: list[tuple[int, ...]] = []
    for layer in network.modules():
        if isinstance(layer, kinds):
            layer.register_forward_hook(lambda _layer, _inputs, output: found.append(tuple(output.shape[1:])))
    return found


@pytest.fixture(scope="module")
def full_generator() -> MultiScaleGenerator:
    with torch.device("meta"):
        return MultiScaleGenerator(reference_seed=0, references=2)


@pytest.fixture(scope="module")
def full_discriminator() -> MultiScaleDiscriminator:
    with torch.device("meta"):
        return MultiScaleDiscriminator()


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_full_generator_has_the_sizes_of_the_2016_code(full_generator: MultiScaleGenerator) -> None:
    assert full_generator.latent_size == 201_728
    # The 2016 code has about 72.3 million.
    biases = 256 + 128 + 64 + 64 + 64  # before normalizations that take them out again, left out here
    weights = 8192 * 8192 + 8192 + 25 * (576 * 256 + 320 * 128 + 160 * 64 + 80 * 64 + 72 * 64 + 72 * 3) + 3
    gains_and_shifts = 2 * (512 + 256 + 128 + 64 + 64 + 64)
    assert parameters(full_generator) == weights + gains_and_shifts
    assert parameters(full_generator) + biases == pytest.approx(72.3e6, abs=0.05e6)
    found = shapes(full_generator, (nn.Linear, nn.ConvTranspose2d))
    result = full_generator(torch.empty(2, 201_728, device="meta"))
    assert result.shape == (2, 3, 128, 128)
    assert found == [
        (8192,),
        (256, 8, 8),
        (128, 16, 16),
        (64, 32, 32),
        (64, 64, 64),
        (64, 128, 128),
        (3, 128, 128),
    ]
    inputs = [layer.in_channels for layer in full_generator.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert inputs == [576, 320, 160, 80, 72, 72]


def test_the_full_discriminator_has_the_sizes_of_the_2016_code(full_discriminator: MultiScaleDiscriminator) -> None:
    # The 2016 code has about 67.7 million.
    biases = 64 + 128 + 3 * 256 + 2 * 512 + 2560 + 15_000  # before normalizations and differences, left out here
    convolutions = 9 * (3 * 64 + 64 * 128 + 128 * 256 + 2 * 256 * 256 + 256 * 512 + 512 * 512)
    dense = 8192 * 2560 + 2560 * 15_000 + (2560 + 600) * 1001 + 1001
    gains_and_shifts = 2 * (64 + 128 + 3 * 256 + 2 * 512 + 2560)
    assert parameters(full_discriminator) == convolutions + dense + gains_and_shifts
    assert parameters(full_discriminator) + biases == pytest.approx(67.7e6, abs=0.05e6)
    found = shapes(full_discriminator, (nn.Conv2d, nn.Linear, nn.Flatten))
    real, fake = full_discriminator.joint_logits(*torch.empty(2, 4, 3, 128, 128, device="meta"))
    assert real.shape == fake.shape == (4, 1001)
    assert found == [
        (64, 64, 64),
        (128, 32, 32),
        (256, 16, 16),
        (256, 16, 16),
        (256, 16, 16),
        (512, 8, 8),
        (512, 4, 4),
        (8192,),
        (2560,),
        (15_000,),
        (1001,),
    ]
    norms = sum(isinstance(layer, CrossBatchNorm) for layer in full_discriminator.modules())
    assert norms == 8


@pytest.mark.parametrize("size", [32, 64, 128])
def test_every_size_and_width_fits_together(size: int) -> None:
    made, judge = generator(size), discriminator(size)
    result = made(latent(made, 2))
    assert result.shape == (2, 3, size, size)
    assert result.abs().max() < 1
    assert judge.joint_logits(images(2, size), result)[1].shape == (2, 5)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="not of 28"):
        MultiScaleGenerator(reference_seed=0, width=1 / 32, size=28)
    with pytest.raises(ValueError, match="not of 28"):
        MultiScaleDiscriminator(width=1 / 32, size=28)


def test_weights_start_as_in_the_2016_code() -> None:
    torch.manual_seed(0)
    made = MultiScaleGenerator(reference_seed=0, references=1, width=1 / 8, size=32)
    for weight, stddev in (
        (made.stem.weight, 0.02),
        (made.deconvolutions[0].weight, 0.02),
        (made.output.weight, 0.075),
    ):
        assert weight.std().item() == pytest.approx(stddev, rel=0.05)
    assert not made.stem.bias.any()
    assert (made.output.bias == -0.45).all()
    judge = MultiScaleDiscriminator(width=1 / 8, size=32)
    convolution = next(layer for layer in judge.modules() if isinstance(layer, nn.Conv2d))
    assert 0.035 < convolution.weight.abs().max().item() <= 0.04  # truncated at two deviations
    assert judge.projection.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not judge.output.bias.any()


def generated_by_hand(network: MultiScaleGenerator, live: Tensor) -> Tensor:
    """One latent after the other, each scale spelled out."""

    def split(row: Tensor) -> tuple[Tensor, list[Tensor]]:
        position, maps = network.parts[0], []
        for stage, length in enumerate(network.parts[1:]):
            side = 4 * 2**stage
            maps.append(row[position : position + length].reshape(-1, side, side))
            position += length
        return row[: network.parts[0]], maps

    def normalized_references(x: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), correction=0)
        stddev = (1e-5 + variance).sqrt()
        centred = (x - mean[:, None, None]) / stddev[:, None, None]
        return centred * norm.gain[:, None, None] + norm.shift[:, None, None], mean, variance

    references = [split(row) for row in network.reference]
    rows = [split(row) for row in live]
    x_reference, x_live = (
        torch.stack([network.stem.weight @ z + network.stem.bias for z, _ in given]).reshape(len(given), -1, 4, 4)
        for given in (references, rows)
    )
    for stage, norm in enumerate(network.normalizations):
        if stage:
            weight = network.deconvolutions[stage - 1].weight
            x_reference, x_live = (
                F.conv_transpose2d(x, weight, stride=2, padding=2, output_padding=1) for x in (x_reference, x_live)
            )
        x_reference, mean, variance = normalized_references(x_reference, norm)
        x_live = virtual_batch_norm_reference(
            x_live, mean, variance, norm.gain, norm.shift, references=len(references), epsilon=1e-5
        )
        x_reference, x_live = (
            torch.cat([x.relu(), torch.stack([maps[stage] for _, maps in noise])], dim=1)
            for x, noise in ((x_reference, references), (x_live, rows))
        )
    return torch.tanh(F.conv_transpose2d(x_live, network.output.weight, network.output.bias, padding=2))


@torch.no_grad()
def test_the_generator_equals_a_pass_by_hand() -> None:
    network = generator()
    live = latent(network, 2)
    torch.testing.assert_close(network(live), generated_by_hand(network, live), **TOLERANCE)


@torch.no_grad()
def test_a_bias_cancels_where_it_is_left_out_and_only_there() -> None:
    """Before a normalization per channel: those of a channel, not those of the units that become a channel."""
    network = generator()
    live = latent(network, 2)
    expected = network(live)
    for layer in network.deconvolutions:
        layer.bias = nn.Parameter(torch.randn(layer.out_channels, dtype=torch.float64))
    torch.testing.assert_close(network(live), expected, **TOLERANCE)
    nn.init.normal_(network.stem.bias)
    assert (network(live) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_an_image_depends_on_its_own_latent_and_the_references_only() -> None:
    network = generator()
    live = latent(network, 3)
    together = network(live)
    torch.testing.assert_close(network(live[1:2]), together[1:2], **TOLERANCE)
    network.eval()
    torch.testing.assert_close(network(live), together, **TOLERANCE)
    torch.testing.assert_close(network(live[1:2]), together[1:2], **TOLERANCE)
    network.reference[0] *= -1
    assert (network.train()(live) - together).abs().max() > 1e-4


@torch.no_grad()
def test_every_part_of_the_latent_matters() -> None:
    network = generator()
    live = latent(network, 1)
    before, position = network(live), 0
    for length in network.parts:
        changed = live.clone()
        changed[:, position : position + length] *= -1
        assert (network(changed) - before).abs().max() > 1e-4
        position += length
    assert position == network.latent_size


def test_the_references_are_addressed_latents() -> None:
    network = generator()
    expected = latents(network.latent_size, "symmetric-uniform", seed=7, start=0, count=REFERENCES)
    assert torch.equal(network.reference, torch.from_numpy(expected).double())
    assert "reference" in network.state_dict()


@torch.no_grad()
def test_measuring_brings_the_generators_evaluation_up_to_date() -> None:
    network = generator()
    live = latent(network, 2)
    assert network.eval()(live).isnan().all()
    network.measure()
    assert not network.training
    before = network(live)
    network.deconvolutions[0].weight.mul_(-2)
    network.measure()
    after = network(live)
    assert (before - after).abs().max() > 1e-4
    torch.testing.assert_close(network.train()(live), after, **TOLERANCE)


def features_by_hand(network: MultiScaleDiscriminator, joint: Tensor) -> tuple[Tensor, Tensor]:
    """The features and minibatch activations of a joint batch, padding and statistics spelled out."""
    rows = len(joint) // 2

    def normalized(x: Tensor, norm: CrossBatchNorm) -> Tensor:
        columns = []
        for channel in range(x.shape[1]):
            source = x[:rows, channel] if channel < x.shape[1] // 2 else x[rows:, channel]
            stddev = (source.var(correction=0) + 1e-5).sqrt()
            columns.append((x[:, channel] - source.mean()) / stddev * norm.gain[channel] + norm.shift[channel])
        x = torch.stack(columns, dim=1)
        return torch.where(x > 0, x, 0.2 * x)

    norms = iter([layer for layer in network.modules() if isinstance(layer, CrossBatchNorm)])
    x = joint
    for layer in network.body.modules():
        if isinstance(layer, nn.Conv2d):
            stride = layer.stride[0]
            before = 0 if stride == 2 else 1
            side = x.shape[2]
            padded = x.new_zeros(len(x), x.shape[1], side + 2, side + 2)
            padded[:, :, before : before + side, before : before + side] = x
            windows = padded.unfold(2, 3, stride).unfold(3, 3, stride)[:, :, : side // stride, : side // stride]
            x = normalized(torch.einsum("nchwij,ocij->nohw", windows, layer.weight), next(norms))
    linear = next(layer for layer in network.body if isinstance(layer, nn.Linear))
    x = normalized(x.flatten(start_dim=1) @ linear.weight.T, next(norms))
    return x, (x @ network.projection.weight.T).reshape(len(x), -1, 50)


def compared_by_hand(own: Tensor, others: list[Tensor], pairs: int) -> Tensor:
    total = torch.zeros(len(own), dtype=own.dtype)
    for other in others:
        total += torch.exp(-(own - other).abs().sum(dim=1))
    return total / pairs


@torch.no_grad()
def test_joint_logits_equal_a_pass_by_hand() -> None:
    network, count = discriminator(), 4
    real, fake = images(count), images(count, seed=1) * 0.5
    features, activations = features_by_hand(network, torch.cat([real, fake]))
    pairs = 2 * count * count - count
    rows = []
    for index, own in enumerate(activations):
        halves = [[activations[j] for j in range(start, start + count) if j != index] for start in (0, count)]
        compared = [compared_by_hand(own, half, pairs) for half in halves]
        assert compared[0].max() > 1e-6
        rows.append(torch.cat([features[index], *compared]))
    expected = torch.stack(rows) @ network.output.weight.T + network.output.bias
    torch.testing.assert_close(torch.cat(network.joint_logits(real, fake)), expected, **TOLERANCE)


@torch.no_grad()
def test_evaluation_compares_each_image_with_the_stored_references() -> None:
    network, count = discriminator(), 5
    real, fake = images(count), images(count, seed=1) * 0.5
    network.measure(real, fake)
    features, activations = features_by_hand(network, torch.cat([real, fake]))
    references = [list(activations[:REFERENCES]), list(activations[count : count + REFERENCES])]
    pairs = 2 * REFERENCES * REFERENCES
    rows = [
        torch.cat([row, *(compared_by_hand(own, half, pairs) for half in references)])
        for row, own in zip(features, activations, strict=True)
    ]
    expected = torch.stack(rows) @ network.output.weight.T + network.output.bias
    network.eval()
    torch.testing.assert_close(network(torch.cat([real, fake])), expected, **TOLERANCE)
    torch.testing.assert_close(network(real[1:2]), expected[1:2], **TOLERANCE)


def test_gradients_of_joint_logits_reach_all_weights_and_both_halves() -> None:
    network = discriminator()
    real, fake = images(3).requires_grad_(), images(3, seed=1).requires_grad_()
    logits, _ = network.joint_logits(real, fake)
    gradients = torch.autograd.grad(logits[0, 0], [real, fake, *network.parameters()])
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    assert (gradients[1].flatten(start_dim=1).abs().amax(dim=1) > 0).all()


def test_pixel_noise_is_part_of_training_and_not_of_measuring() -> None:
    network = discriminator()
    network.noise.stddev = 0.1
    real, fake = images(3), images(3, seed=1)
    with torch.no_grad():
        first, second = (network.joint_logits(real, fake)[0] for _ in range(2))
        assert (first - second).abs().max() > 1e-4
        network.measure(real, fake)
        before = network.eval()(real)
        network.measure(real, fake)
        torch.testing.assert_close(network(real), before, rtol=0, atol=0)
    assert not network.training


def test_each_mode_refuses_what_it_cannot_do() -> None:
    network = discriminator()
    with pytest.raises(ValueError, match="given 3 and 2"):
        network.joint_logits(images(3), images(2))
    with pytest.raises(ValueError, match="keeps 3 images of either kind, but was given 2"):
        network.measure(images(2), images(2))
    with pytest.raises(RuntimeError, match="evaluation mode"):
        network(images(2))
    with pytest.raises(RuntimeError, match="training mode"):
        network.eval().joint_logits(images(2), images(2))
    assert network(images(2)).isnan().all()


def test_in_evaluation_both_are_graphs_of_any_number_of_images() -> None:
    made, judge = generator(), discriminator()
    with torch.no_grad():
        judge.measure(images(3), made(latent(made, 3)))
        for network, batch in ((made, latent(made, 5)), (judge, images(5))):
            network.eval()
            graph = torch.export.export(network, (batch[:2],), dynamic_shapes=({0: torch.export.Dim("N")},)).module()
            torch.testing.assert_close(graph(batch), network(batch), **TOLERANCE)
