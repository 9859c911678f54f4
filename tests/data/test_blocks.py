"""Orders in blocks: every row once, blocks near each other; frozen for good, for runs that are resumed."""

import numpy as np
import pytest

from vaex.data.blocks import Blocks, windows


@pytest.mark.parametrize(("count", "rows", "window"), [(1, 1, 1), (100, 7, 3), (64, 8, 8), (1000, 16, 4), (17, 16, 1)])
def test_every_row_is_in_one_window_which_holds_whole_blocks(count, rows, window):
    found = list(windows(Blocks(rows, window), count, (5, 6)))
    assert sorted(np.concatenate(found)) == list(range(count))
    for each in found:
        blocks = set(each // rows)
        assert len(blocks) <= window
        assert len(each) == sum(min(rows, count - block * rows) for block in blocks)


def test_the_order_is_of_the_seed_alone():
    order = [np.concatenate(list(windows(Blocks(4, 2), 40, words))) for words in ((1, 2), (1, 2), (1, 3), (2, 1))]
    assert (order[0] == order[1]).all()
    assert all((order[0] != other).any() for other in order[2:])


def test_the_order_as_runs_have_it_that_are_on_disks():
    found = [each.tolist() for each in windows(Blocks(3, 2), 10, (7, 11))]
    assert found == [[5, 3, 2, 0, 4, 1], [6, 7, 8, 9]]


def test_rows_move_far_in_an_epoch():
    order = np.concatenate(list(windows(Blocks(10, 4), 1000, (1, 2))))
    assert abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.2
    neighbours = np.abs(np.diff(order)) == 1
    assert neighbours.mean() < 0.05
