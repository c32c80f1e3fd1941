"""What ONNX graphs take and give, by role (contract 2), and the keys of what they say of themselves."""

from __future__ import annotations

DISTRIBUTION_KEY = "igan_zoo.latent_distribution"
CLASSES_KEY = "igan_zoo.classes"
CROP_KEY = "igan_zoo.crop"
SCORER_KEY = "igan_zoo.scorer"
RESIZE_KEY = "igan_zoo.resize"
WEIGHTS_KEY = "igan_zoo.weights_sha256"
LOGIT_BIAS_KEY = "igan_zoo.logit_bias"
PRECISION_KEY = "igan_zoo.precision"
LEAST_REALNESS_KEY = "igan_zoo.least_realness"

# Every tensor's type and rank, by role. A discriminator answers as a classifier does, but an answer depends on the
# others of its batch.
_IMAGES = {"images": ("tensor(uint8)", 4)}
_ANSWERS = {"logits": ("tensor(float)", 2), "probabilities": ("tensor(float)", 2), "realness": ("tensor(float)", 1)}
_FEATURES = {"features": ("tensor(float)", 2), "logits": ("tensor(float)", 2)}
INPUTS = {
    "generator": {"latent": ("tensor(float)", 2)},
    "classifier": _IMAGES,
    "discriminator": _IMAGES,
    "scorer": _IMAGES,
}
OUTPUTS = {"generator": _IMAGES, "classifier": _ANSWERS, "discriminator": _ANSWERS, "scorer": _FEATURES}
