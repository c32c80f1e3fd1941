"""Versions of packages."""

from __future__ import annotations

import numpy as np

from igan_zoo import __version__
from igan_zoo.machine.versions import installed_versions


def test_installed_packages_are_named_with_their_versions_and_missing_ones_left_out() -> None:
    found = installed_versions(["igan-zoo", "no-such-package", "numpy"])
    assert found == {"igan-zoo": __version__, "numpy": np.__version__}
