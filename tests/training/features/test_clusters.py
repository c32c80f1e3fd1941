"""Photos that fall into as many clusters as there are classes need one label of each, wherever that label is."""

from __future__ import annotations

import numpy as np
import torch

from igan_zoo.training.features.clusters import assigned, separated, spectral_clusters
from igan_zoo.training.features.preparation import Preparation
from igan_zoo.training.features.propagation import neighbor_graph, propagated
from tests.training.features.clouds import clouds


def test_a_label_at_the_rim_of_another_cloud_misleads_nobody() -> None:
    data = clouds(photos=300, width=8, spread=0.25)
    features, labels = data.features.copy(), torch.from_numpy(data.labels)
    first, second = (features[data.labels == label].mean(axis=0) for label in range(2))
    labeled = torch.stack([torch.nonzero(labels == label)[0, 0] for label in range(3)])
    features[labeled[0]] = 0.4 * first + 0.6 * second
    answers = separated(torch.from_numpy(features), 8, labeled, labels[labeled], 3)[2]
    assert (answers.argmax(dim=1) == labels).all()


def test_features_that_tell_classes_apart_count_for_more() -> None:
    data = clouds(photos=300, width=8, spread=0.25)
    noise = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)
    features = torch.from_numpy(np.concatenate([data.features, noise], axis=1))
    labeled = torch.arange(30)
    labels = torch.from_numpy(data.labels)[labeled]
    weighted, points, _ = separated(features, 16, labeled, labels, 3)
    plain = Preparation.fit(features, 16)
    ratios = weighted.deviation / plain.deviation
    assert ratios[8:].min() > 5 * ratios[:8].median()
    torch.testing.assert_close(points, weighted(features))


def test_without_clear_clusters_features_count_alike_and_labels_are_spread() -> None:
    features = torch.randn(300, 12, generator=torch.Generator().manual_seed(0))
    labeled, labels = torch.arange(9), torch.arange(9) % 3
    preparation, points, answers = separated(features, 8, labeled, labels, 3)
    plain = Preparation.fit(features, 8)
    torch.testing.assert_close(preparation.deviation, plain.deviation)
    torch.testing.assert_close(answers, propagated(points, labeled, labels, 3)[0])


def test_clusters_that_the_labels_contradict_are_not_the_classes() -> None:
    data = clouds(photos=300, width=8, spread=0.2)
    features = torch.from_numpy(data.features)
    labels = torch.arange(300) % 3  # whatever cloud a photo is in
    labeled = torch.arange(60)
    _, points, answers = separated(features, 8, labeled, labels[labeled], 3)
    torch.testing.assert_close(answers, propagated(points, labeled, labels[labeled], 3)[0])


def test_clusters_go_to_classes_together() -> None:
    # Photo 0 is a little likelier in the cluster that photo 1 is in for sure.
    clusters = torch.tensor([[0.45, 0.50, 0.05], [0.01, 0.98, 0.01], [0.05, 0.05, 0.90]])
    assert assigned(clusters, torch.tensor([0, 1, 2])).tolist() == [0, 1, 2]
    assert assigned(clusters, torch.tensor([2, 0, 1])).tolist() == [1, 2, 0]


def test_spectral_clusters_are_the_clouds_and_the_same_each_time() -> None:
    data = clouds(spread=0.2)
    graph = neighbor_graph(torch.from_numpy(data.features))
    found = spectral_clusters(graph, 3)
    labels = torch.from_numpy(data.labels)
    for label in range(3):
        assert len(found[labels == label].argmax(dim=1).unique()) == 1
    torch.rand(3)
    assert torch.equal(found, spectral_clusters(graph, 3))
