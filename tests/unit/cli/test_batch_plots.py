"""Pictures are pictures: of the right size, and with something on them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ai_client.batch.report import Bars, Curve, Plot, Steps
from ai_client.cli.batch_plots import draw

PLOTS = (
    Steps("Answers a second", "seconds", "answers/s", 0.1, [1.0, 0.0, 30.0]),
    Curve("Latency", "milliseconds", "%", [1.0, 2.0, 90.0], [50, 95, 99], [("p50", 1.0, 50.0), ("p99", 90.0, 99.0)]),
    Bars("Tokens", "tokens", ["a", "b"], [("input", [5e6, 1.0]), ("output", [0.0, 2.0])], ["5,000,000", "3"]),
    Bars("Cost", "US dollars", ["a"], [("cost", [0.0])], ["$0.0000"]),
)


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.title)
def test_a_plot_is_a_picture(tmp_path: Path, plot: Plot) -> None:
    path = tmp_path / "plot.png"
    draw(path, plot)
    png = path.read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert width == 1200
    assert 200 < height < 600
    assert len(png) > 5000


def test_a_plot_is_the_same_whenever_it_is_drawn(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        draw(tmp_path / name, PLOTS[2])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
