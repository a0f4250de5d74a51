"""What the driver of a run may rely on, at whatever moment it looks."""

import math

import pytest

from wyrm_py.parallel.blocks import _collect
from wyrm_py.parallel.page import ControlPage
from wyrm_py.parallel.tally import BlockReport, Tally


def page_of(blocks, epochs):
    page = ControlPage.create(blocks, epochs, workers=2, stepwise=False)
    page.prepare([])
    return page


@pytest.mark.parametrize("loss", [1.5, math.nan])
def test_a_block_is_marked_done_when_all_else_is_written(loss):
    page, seen = page_of(2, 1), []

    class Marks:
        def __setitem__(self, place, mark):
            seen.append((place, mark))
            assert page.examples.tolist() == [0, 3]
            assert page.busy[1] > 0
            assert page.diverged == (None if loss == 1.5 else (0, 1))
            assert page.stopped == (loss != 1.5)
            assert page._sums[0, 1].tolist() == pytest.approx([loss, 3], nan_ok=True)

    page._marks = Marks()
    page.finish(1, 1, loss, 3.0, began=0.0)
    assert seen == [((0, 1), 1)]


def test_the_first_of_several_blocks_that_diverged_is_named():
    page = page_of(3, 2)
    assert page.diverged is None
    page.finish(0, 1, math.nan, 1.0, began=0.0)
    page.finish(1, 4, math.inf, 1.0, began=0.0)  # was under way
    assert page.diverged == (0, 1)


def test_an_epoch_that_diverges_while_it_is_counted_does_not_count(monkeypatch):
    page, tally = page_of(1, 1), Tally(1, 1, None, None, None, BlockReport())
    done = page.done

    def meanwhile(epoch):
        page.finish(0, 0, math.nan, 1.0, began=0.0)
        return done(epoch)

    monkeypatch.setattr(page, "done", meanwhile)
    _collect(page, tally)
    assert tally.report.losses == []
