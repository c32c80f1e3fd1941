"""The Inception network: the published names and shapes, and what makes it TensorFlow's."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import nn

from igan_zoo.export.scorers.inception import Inception
from tests.export.calibrated import calibrate

# Of the lines "name [shape]", sorted, of the state dict that pytorch-fid 0.3.0 and torch-fidelity 0.4.0 load.
PUBLISHED = "e3dd03f9cf965828e1bbc1d9d1172fe1de37b53d8b23591dfcb566b2db60e00b"


@pytest.fixture(scope="module")
def narrow() -> Inception:
    network = Inception(divisor=16)
    calibrate(network, torch.rand(4, 3, 139, 139, generator=torch.Generator().manual_seed(1)) * 2 - 1)
    return network


def test_names_and_shapes_are_those_of_pytorch_fids_state_dict() -> None:
    with torch.device("meta"):
        network = Inception()
    state = network.state_dict()
    listing = "".join(f"{name} {list(tensor.shape)}\n" for name, tensor in sorted(state.items()))
    assert len(state) == 566
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_850_960
    assert hashlib.sha256(listing.encode()).hexdigest() == PUBLISHED


def test_every_norm_has_tensorflows_epsilon(narrow: Inception) -> None:
    norms = [layer for layer in narrow.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 94
    assert {norm.eps for norm in norms} == {1e-3}


def test_average_pools_ignore_the_padding_and_the_last_block_takes_the_maximum(narrow: Inception) -> None:
    pools = {name: layer for name, layer in narrow.named_modules() if name.endswith(".pool")}
    averages = {name for name, layer in pools.items() if isinstance(layer, nn.AvgPool2d)}
    assert averages == {f"Mixed_{block}.pool" for block in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b")}
    assert not any(pools[name].count_include_pad for name in averages)
    assert isinstance(pools["Mixed_7c.pool"], nn.MaxPool2d)
    one = pools["Mixed_7b.pool"](torch.ones(1, 1, 3, 3))
    assert torch.equal(one, torch.ones(1, 1, 3, 3))


def test_the_logits_have_no_bias(narrow: Inception) -> None:
    x = torch.rand(2, 3, 139, 139) * 2 - 1
    features, logits = narrow(x)
    torch.testing.assert_close(logits, features @ narrow.fc.weight.T)
    assert float((narrow.fc(features) - logits).abs().max()) > 0.1
