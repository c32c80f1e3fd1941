"""Labels spread to neighbors, and every class gets its share."""

from __future__ import annotations

import torch

from igan_zoo.training.features.propagation import agreed, balanced, neighbor_graph, propagated
from tests.training.features.clouds import clouds


def test_one_label_a_cloud_is_enough() -> None:
    data = clouds(spread=0.2)
    labels = torch.from_numpy(data.labels)
    labeled = torch.stack([torch.nonzero(labels == label)[0, 0] for label in range(3)])
    answers, _ = propagated(torch.from_numpy(data.features), labeled, labels[labeled], 3)
    assert (answers.argmax(dim=1) == labels).all()
    torch.testing.assert_close(answers.sum(dim=1), torch.ones(len(labels)))


def test_more_labels_of_one_class_do_not_draw_photos_of_the_others_to_it() -> None:
    data = clouds(spread=0.3)
    labels = torch.from_numpy(data.labels)
    labeled = torch.cat([torch.nonzero(labels == label)[:count, 0] for label, count in enumerate((2, 2, 8))])
    answers, _ = propagated(torch.from_numpy(data.features), labeled, labels[labeled], 3)
    assert (answers.argmax(dim=1) != labels).sum() <= 2


def test_the_graph_is_symmetric_and_nobody_is_a_neighbor_of_itself() -> None:
    graph = neighbor_graph(torch.from_numpy(clouds(photos=60).features), 5).to_dense()
    torch.testing.assert_close(graph, graph.T)
    assert (graph.diag() == 0).all()
    assert ((graph > 0).sum(dim=1) >= 5).all()


def test_balanced_answers_have_the_shares_asked_for() -> None:
    scores = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 1.0, 1.0])
    shares = torch.tensor([0.2, 0.3, 0.5])
    answers = balanced(scores, shares, rounds=50)
    torch.testing.assert_close(answers.mean(dim=0), shares, atol=1e-2, rtol=0)
    torch.testing.assert_close(answers.sum(dim=1), torch.ones(1000))


def test_a_few_labels_are_spread_and_many_are_learned() -> None:
    by_the_graph = torch.arange(600) % 2
    opinions = [torch.full((600, 2), 0.2).scatter(1, says[:, None], 0.8) for says in (by_the_graph, 1 - by_the_graph)]
    for each, expected in ((2, by_the_graph), (200, 1 - by_the_graph)):
        labeled = torch.arange(2 * each)
        labels = labeled // each
        answers = agreed(*opinions, labeled, labels).argmax(dim=1)
        assert (answers[labeled] == labels).all()
        assert (answers[2 * each :] == expected[2 * each :]).all()
