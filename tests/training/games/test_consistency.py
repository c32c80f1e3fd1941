"""Pseudo-labels count where the teacher is confident, and the student learns them from another view."""

from __future__ import annotations

import torch

from igan_zoo.training.games.consistency import consistency_loss, pseudo_labels, taught_labels


def test_only_confident_answers_become_labels() -> None:
    probabilities = torch.tensor([[0.95, 0.05], [0.2, 0.8], [0.5, 0.5]])
    labels = pseudo_labels(probabilities.log(), 0.9)
    assert labels.targets[:2].tolist() == [0, 1]
    assert labels.weights.tolist() == [1, 0, 0]


def test_the_loss_is_a_mean_over_all_images_counted_or_not() -> None:
    logits = torch.tensor([[0.0, 0.0], [5.0, -5.0], [1.0, 2.0], [0.0, 0.0]])
    labels = pseudo_labels(torch.tensor([[9.0, 0.0], [0.1, 0.0], [0.0, 0.1], [0.0, 9.0]]), 0.9)
    expected = 2 * torch.log(torch.tensor(2.0)) / 4
    torch.testing.assert_close(consistency_loss(logits, labels), expected)


def test_without_a_confident_answer_nothing_is_learned() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    consistency_loss(logits, pseudo_labels(torch.zeros(3, 4), 0.9)).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_a_teachers_answers_are_softened_and_all_count() -> None:
    logits = torch.tensor([[4.0, 0.0], [0.0, 0.1]])
    labels = taught_labels(logits, None, temperature=2.0, sure=0.97)
    torch.testing.assert_close(labels.targets, torch.tensor([[2.0, 0.0], [0.0, 0.05]]).softmax(dim=1))
    assert labels.weights.tolist() == [1, 1]


def test_the_average_has_half_a_say_where_the_teacher_was_unsure() -> None:
    teacher = torch.tensor([[9.0, 0.0], [0.3, 0.0]])
    average = torch.tensor([[0.0, 6.0], [0.0, 6.0]])
    labels = taught_labels(teacher, average, temperature=1.0, sure=0.97)
    sure, unsure = labels.targets
    torch.testing.assert_close(sure, teacher[0].softmax(dim=0))
    torch.testing.assert_close(unsure, (teacher[1].softmax(dim=0) + (average[1] / 0.6).softmax(dim=0)) / 2)
