"""Label spreading over a graph of nearest neighbors, which makes the most of a handful of labels before any network
learns.

Zhou et al., *Learning with Local and Global Consistency*, 2003, with predictions constrained to about the class
frequencies of the labels, or to equal ones if labels are few. Then logistic regression and the graph teach each other:
one sees what a class has in common, the other which photos are similar.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from igan_zoo.training.features.logistic import fit_logistic

_NEIGHBORS = 10
_ROUNDS = 30
_RETENTION = 0.99
_BLOCK = 1024
_LESSONS = 8
_ITERATIONS = 25
# Labels a class that are added in thought before the classes' shares are counted: a few say little about these, and
# labels of photos that were hard, less.
_EQUAL_LABELS = 10.0
# Weight decay of the student, relative to the mean loss per photo.
_DECAY = 1e-4
# With this many labels per class, logistic regression on all features counts as much as the graph.
_AS_SURE = 25.0


def propagated(points: Tensor, labeled: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Returns probabilities ``[N, classes]`` for all points from the labels of some.

    ``points`` are float32 ``[N, D]``; ``labels`` int64 are those of the points ``labeled``. The second result is
    what logistic regression answers after learning the first: how confident it is shows how clear the classes are.
    """
    graph = neighbor_graph(points)
    known = torch.nn.functional.one_hot(labels, classes).float()
    sources = torch.zeros(len(points), classes).index_copy_(0, labeled, known)
    spread = sources
    for _ in range(_ROUNDS):
        spread = _RETENTION * torch.sparse.mm(graph, spread) + (1 - _RETENTION) * sources
    shares = _shares(labels, classes)
    answers, pupil = taught(points, graph, balanced(spread, shares), shares, (labeled, known))
    return answers, pupil(points).softmax(dim=1)


def refined(points: Tensor, labeled: Tensor, labels: Tensor, answers: Tensor) -> Tensor:
    """Returns ``answers``, probabilities ``[N, K]`` from other features, refined on these points and labels."""
    classes = answers.shape[1]
    known = torch.nn.functional.one_hot(labels, classes).float()
    return taught(points, neighbor_graph(points), answers, _shares(labels, classes), (labeled, known))[0]


def taught(
    points: Tensor, graph: Tensor, start: Tensor, shares: Tensor, known: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, nn.Linear]:
    """Returns probabilities ``[N, K]`` refined from ``start`` on points ``[N, D]``, and the last logistic regression.

    In turns, logistic regression learns them and its answers are smoothed over the graph; the classes keep about
    ``shares``. ``known`` are points whose probabilities stay fixed.
    """
    # The first round uses only predicted classes: after spreading over a graph, probabilities are all similar.
    answers = torch.nn.functional.one_hot(start.argmax(dim=1), start.shape[1]).float()
    for lesson in range(_LESSONS + 1):
        if lesson > 0:
            for _ in range(3):
                answers = 0.8 * torch.sparse.mm(graph, answers) + 0.2 * answers
            answers = balanced(answers, shares).square()
            answers = answers / answers.sum(dim=1, keepdim=True)
        if known is not None:
            answers[known[0]] = known[1]
        if lesson < _LESSONS:
            pupil = fit_logistic(points, answers, len(shares), 0.5 / (_DECAY * len(points)), _ITERATIONS)
            answers = balanced(pupil(points).softmax(dim=1), shares)
    return answers, pupil


def agreed(spread: Tensor, linear: Tensor, labeled: Tensor, labels: Tensor) -> Tensor:
    """Returns the weighted product of two predictions ``[N, K]``: the graph's and logistic regression's.

    Spreading is best for a handful of labels. With hundreds per class, a photo's neighbors blur the labels.
    """
    classes = spread.shape[1]
    each = len(labels) / classes
    weight = each / (each + _AS_SURE)
    product = spread.clamp(min=1e-6).pow(1 - weight) * linear.clamp(min=1e-6).pow(weight)
    answers = balanced(product, _shares(labels, classes))
    answers[labeled] = torch.nn.functional.one_hot(labels, classes).float()
    return answers


def neighbor_graph(points: Tensor, neighbors: int = _NEIGHBORS) -> Tensor:
    """Returns the symmetric, normalized affinities of nearest neighbors by angle, sparse ``[N, N]``."""
    neighbors = min(neighbors, len(points) - 1)
    directions = points / points.norm(dim=1, keepdim=True).clamp(min=1e-6)
    rows, columns, values = [], [], []
    for start in range(0, len(points), _BLOCK):
        cosines = directions[start : start + _BLOCK] @ directions.T
        own = torch.arange(len(cosines))
        cosines[own, own + start] = -1.0
        nearest, places = cosines.topk(neighbors, dim=1)
        rows.append((own + start).repeat_interleave(neighbors))
        columns.append(places.flatten())
        values.append(nearest.clamp(min=0).pow(3).flatten())
    row, column, value = torch.cat(rows), torch.cat(columns), torch.cat(values)
    both = torch.cat([torch.stack([row, column]), torch.stack([column, row])], dim=1)
    affinity = torch.sparse_coo_tensor(
        both, value.repeat(2), (len(points), len(points)), check_invariants=False
    ).coalesce()
    first, second = affinity.indices()
    degree = torch.zeros(len(points)).index_add_(0, first, affinity.values()).clamp(min=1e-12).rsqrt()
    normalized = affinity.values() * degree[first] * degree[second]
    return torch.sparse_coo_tensor(affinity.indices(), normalized, affinity.shape, check_invariants=False).coalesce()


def balanced(scores: Tensor, shares: Tensor, rounds: int = 10) -> Tensor:
    """Returns scores ``[N, K]`` as probabilities whose mean over all rows is about ``shares``, ``[K]``."""
    answers = scores / scores.sum(dim=1, keepdim=True).clamp(min=1e-12)
    for _ in range(rounds):
        answers = answers * (shares / answers.mean(dim=0).clamp(min=1e-12))
        answers = answers / answers.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return answers


def _shares(labels: Tensor, classes: int) -> Tensor:
    counts = torch.bincount(labels, minlength=classes).float() + _EQUAL_LABELS
    return counts / counts.sum()
