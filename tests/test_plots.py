"""The picture of a run, by matplotlib."""

import sys

import matplotlib.figure
import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.errors import MissingPackageError

HISTORY = wp.History(
    [0.9, 0.5, 0.4],
    validation_losses=[0.8, 0.7, 0.75],
    metrics=[{"recall": 0.1}, {"recall": 0.3}, {"recall": 0.2}],
    best_epoch=1,
    learning_rates=[0.1, 0.05, 0.025],
)


def lines(axes):
    return {line.get_label(): [*line.get_ydata()] for line in axes.get_lines()}


def test_losses_metrics_and_rates_have_their_panels(tmp_path):
    figure = HISTORY.plot(tmp_path / "run.png")
    losses, recall, rate = figure.axes
    found = lines(losses)
    assert found["training"] == HISTORY.losses
    assert found["validation"] == HISTORY.validation_losses
    assert lines(recall)["recall"] == [0.1, 0.3, 0.2]
    assert lines(rate) == {"learning rate": [0.1, 0.05, 0.025]}
    (best,) = [line for line in losses.get_lines() if line.get_linestyle() == "--"]
    assert [*best.get_xdata()] == [2, 2]  # epochs count from 1
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_a_plain_run_is_one_panel_on_clear_ground():
    figure = wp.History([1.0, 0.5], learning_rates=[0.1, 0.1]).plot()
    (axes,) = figure.axes
    assert figure.patch.get_alpha() == axes.patch.get_alpha() == 0


def test_given_axes_are_drawn_into():
    axes = matplotlib.figure.Figure().subplots()
    assert HISTORY.plot(axes=axes) is axes.figure
    assert lines(axes)["training"] == HISTORY.losses


def test_missing_matplotlib_is_named_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'wyrm-py\[plot\]'"):
        HISTORY.plot()


def test_tones_can_be_read_on_white_and_on_black():
    """A contrast of 3 to 1, as WCAG 2.1 asks of graphics."""
    from wyrm_py.plots import FAINT, TONES

    for tone in (*TONES, FAINT):
        parts = np.array([int(tone[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        linear = np.where(
            parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4
        )
        light = linear @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (light + 0.05) >= 3 and (light + 0.05) / 0.05 >= 3, tone
