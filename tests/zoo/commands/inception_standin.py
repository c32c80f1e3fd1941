"""Run by a Python that can import neither torch nor onnx: the command line, with other weights as the published ones.

    python inception_standin.py WEIGHTS_SHA256 PORT ARGUMENTS...

The network is a sixteenth as wide, and the published address answers on a port of this machine.
"""

from __future__ import annotations

import sys
import urllib.request
from dataclasses import replace
from functools import partial
from typing import Any

sys.modules.update(dict.fromkeys(("torch", "onnx", "datasets", "pyarrow")))  # type: ignore[arg-type]

from igan_zoo.cli import main  # noqa: E402
from igan_zoo.serving.scorers.converting import SCORERS  # noqa: E402
from igan_zoo.serving.scorers.inception import inception  # noqa: E402

sha256, port, *arguments = sys.argv[1:]
SCORERS["inception"] = replace(
    SCORERS["inception"], network=partial(inception, divisor=16), size=139, features=128, sha256=sha256
)
plain = urllib.request.urlopen


def redirected(request: urllib.request.Request, **options: Any) -> Any:
    assert request.full_url == SCORERS["inception"].source
    request.full_url = f"http://127.0.0.1:{port}/"
    return plain(request, **options)


urllib.request.urlopen = redirected
import igan_zoo.serving.scoring.network as network  # noqa: E402

network.INCEPTION_WEIGHTS = sha256
main(arguments)
