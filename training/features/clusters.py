"""What the photos themselves say of the classes, where they fall into as many clusters as there are classes.

One label of each class then says which cluster is which, even where a labeled photo looks like another class, and the
features that tell classes apart count for more than the others. Where photos are not that clear, labels are spread.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.training.features.preparation import Preparation, in_blocks
from igan_zoo.training.features.propagation import neighbor_graph, propagated, refined, taught

# Clusters are found in so many photos, at least, evenly spread over all.
_SAMPLE = 4000
# Fewer photos a class fall into clusters of any kind.
_LEAST_PHOTOS = 20
# Mean probability of the likeliest class from which on classes stand out: 0.90 to 0.98 for four classes of ImageNet,
# 0.93 to 0.97 for digits, 0.68 to 0.85 for classes of CIFAR-10.
_CLEAR = 0.92
# With this many labels a class, clusters that a fifth of them contradict are not the classes.
_TELLING_LABELS, _CONTRADICTED = 3, 0.2
_ITERATIONS, _STARTS = 20, 10


def separated(
    features: Tensor, dimensions: int, labeled: Tensor, labels: Tensor, classes: int
) -> tuple[Preparation, Tensor, Tensor]:
    """Returns a preparation of features ``[N, F]``, the prepared points ``[N, D]``, and probabilities ``[N, classes]``.

    These are what the ``labels``, int64 of the photos ``labeled``, say of all photos. They come from the labels spread
    over the graph, or from clusters if these are clearer. If either is clear, a feature's weight in the preparation is
    the share of its variance that is between the classes.
    """
    plain = Preparation.fit(features, dimensions)
    points = in_blocks(plain, features)
    answers, opinion = propagated(points, labeled, labels, classes)
    clusters = _clusters(points, classes) if len(points) >= _LEAST_PHOTOS * classes else opinion
    if _clearness(clusters) > max(_CLEAR, _clearness(opinion)):
        weighted, separate = _weighted(plain, features, dimensions, clusters)
        clusters = _clusters(separate, classes, clusters)
        clusters = clusters[:, assigned(clusters[labeled], labels)]
        wrong = (clusters[labeled].argmax(dim=1) != labels).float().mean()
        if len(labels) < _TELLING_LABELS * classes or wrong <= _CONTRADICTED:
            return weighted, separate, refined(separate, labeled, labels, clusters)
    if _clearness(opinion) < _CLEAR:
        return plain, points, answers
    weighted, points = _weighted(plain, features, dimensions, answers)
    return weighted, points, refined(points, labeled, labels, answers)


def assigned(clusters: Tensor, labels: Tensor) -> Tensor:
    """Returns the cluster of each class, ``[K]``, each cluster once, so that the labels are likely together.

    ``clusters`` are the probabilities ``[n, K]`` of the ``n`` photos with ``labels``. Two classes swap clusters as long
    as that makes the labels likelier.
    """
    count = clusters.shape[1]
    likelihoods = F.one_hot(labels, count).float().T @ clusters.clamp(min=1e-6).log()
    order = torch.arange(count)
    for _ in range(count * count):
        of_each = likelihoods[:, order]
        gains = of_each + of_each.T - of_each.diag()[:, None] - of_each.diag()
        first, second = divmod(int(gains.argmax()), count)
        if gains[first, second] < 1e-4:
            break
        order[[first, second]] = order[[second, first]]
    return order


def spectral_clusters(graph: Tensor, count: int) -> Tensor:
    """Returns a cluster of each point as one-hot rows ``[N, count]``: Ng, Jordan and Weiss, *On Spectral Clustering*.

    The eigenvectors come from power iterations, the clusters from the best of several k-means of their rows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vectors = torch.randn(len(graph), count + 6)
        for _ in range(_ITERATIONS):
            for _ in range(5):
                vectors = (torch.sparse.mm(graph, vectors) + vectors) / 2
            vectors, _ = torch.linalg.qr(vectors)
        _, rotation = torch.linalg.eigh(vectors.T @ torch.sparse.mm(graph, vectors))
        rows = F.normalize(vectors @ rotation.flip(1)[:, :count], dim=1)
        tries = [_means(rows, count) for _ in range(_STARTS)]
    return F.one_hot(max(tries, key=lambda tried: tried[0])[1], count).float()


def _means(rows: Tensor, count: int) -> tuple[float, Tensor]:
    """Returns the mean cosine to the nearest of ``count`` spherical means, and which that is, by k-means++."""
    means = rows[torch.randint(len(rows), (1,))]
    for _ in range(count - 1):
        distances = (1 - rows @ means.T).min(dim=1).values.clamp(min=1e-6)
        means = torch.cat([means, rows[torch.multinomial(distances, 1)]])
    for _ in range(_ITERATIONS):
        nearest = F.one_hot((rows @ means.T).argmax(dim=1), count).float()
        means = F.normalize(nearest.T @ rows, dim=1)
    cosines, places = (rows @ means.T).max(dim=1)
    return float(cosines.mean()), places


def _weighted(plain: Preparation, features: Tensor, dimensions: int, answers: Tensor) -> tuple[Preparation, Tensor]:
    weighted = Preparation.fit(features, dimensions, plain.between(features, answers))
    return weighted, in_blocks(weighted, features)


def _clusters(points: Tensor, count: int, start: Tensor | None = None) -> Tensor:
    """Returns probabilities ``[N, count]`` of clusters of about equal size.

    ``start`` are those of other features.
    """
    step = max(1, len(points) // _SAMPLE)
    graph = neighbor_graph(points[::step])
    begin = spectral_clusters(graph, count) if start is None else start[::step]
    _, pupil = taught(points[::step], graph, begin, torch.full((count,), 1 / count))
    answers: Tensor = pupil(points).softmax(dim=1)
    return answers


def _clearness(answers: Tensor) -> float:
    return float(answers.max(dim=1).values.mean())
