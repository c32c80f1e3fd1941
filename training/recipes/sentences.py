"""What each recipe trains, in one sentence, for ``igan-zoo recipes``."""

from __future__ import annotations

SENTENCES = {
    "mnist-ssl": "MNIST with 100 labels: dense networks, feature matching (Table 1).",
    "mnist-ssl-softplus": "mnist-ssl with a softplus generator, in a third of the epochs.",
    "mnist-ssl-softplus-then-sigmoid": "mnist-ssl with a softplus generator that becomes a sigmoid at epoch 20.",
    "mnist-ssl-consistency": "MNIST classifier alone: a small residual network and an averaged teacher.",
    "mnist-mbd": "MNIST samples: convolutional networks, minibatch discrimination (Figure 3).",
    "mnist-mbd-equilibrium": "mnist-mbd in half an hour of a CPU: half the filters, another objective.",
    "cifar10-ssl": "CIFAR-10 with 4,000 labels: convolutional networks, feature matching (Table 2).",
    "cifar10-ssl-half-width": "cifar10-ssl with half the filters, in an hour of a CPU.",
    "cifar10-ssl-labels-first": "cifar10-ssl-half-width with augmented images, where the labels alone come first.",
    "cifar10-ssl-consistency": "CIFAR-10 classifier alone: a residual network and an averaged teacher.",
    "cifar10-ssl-self-trained": "CIFAR-10 classifier alone: a fast network that an earlier model teaches.",
    "cifar10-mbd": "CIFAR-10 samples: minibatch discrimination (Table 2).",
    "cifar10-mbd-equilibrium": "cifar10-mbd in half an hour of a CPU: half the filters, another objective.",
    "svhn-ssl": "SVHN with 1,000 labels: convolutional networks, feature matching (Figure 5).",
    "svhn-ssl-half-width": "svhn-ssl with half the filters.",
    "svhn-mbd": "SVHN samples: minibatch discrimination.",
    "svhn-mbd-half-width": "svhn-mbd with half the filters.",
    "imagenet128": "ImageNet at 128x128: multi-scale noise, virtual batch normalization (Figure 6).",
    "imagenet128-half-width": "imagenet128 with half the filters.",
    "imagenet128-ten-classes": "imagenet128 with ten classes and an eighth of the filters, in half an hour of a core.",
    "cifar10-table3-ours": "Table 3, our methods: all techniques together.",
    "cifar10-table3-vbn-bn": "Table 3 with batch normalization instead of virtual batch normalization.",
    "cifar10-table3-l-ha": "Table 3 without labels, with historical averaging.",
    "cifar10-table3-ls": "Table 3 without label smoothing.",
    "cifar10-table3-l": "Table 3 without labels.",
    "cifar10-table3-mbf": "Table 3 without minibatch features.",
    "custom": "Your own images and a few labels: needs --data.",
}
