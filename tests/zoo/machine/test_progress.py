"""What progress looks like, where a line is short and where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from igan_zoo.machine.progress import new_bar

NOTE = "validation error 0.4210  epoch 12  feature_matching 2.3371  labelled_error 0.0150  labelled 0.0739  more"


@pytest.mark.parametrize("title", ["custom", "mnist-ssl-softplus-then-sigmoid"])
def test_bar_count_and_time_left_stay_at_80_columns(title: str) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=True)
    bar = new_bar("steps", console)
    bar.add_task(title, total=432, completed=10, note=NOTE)
    with console.capture() as captured:
        console.print(bar.get_renderable())
    first, second = captured.get().splitlines()
    for part in (title, "10/432", "steps", "-:--:--"):
        assert part in first
    assert "\u2501" * 5 in first or "-" * 5 in first
    assert second.startswith("validation error 0.4210  epoch 12")
    assert len(second) <= 80
