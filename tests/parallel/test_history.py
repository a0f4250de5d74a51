from wyrm_py.parallel.history import History


def test_fresh_history_is_empty_and_its_own():
    first, second = History(), History()
    first.losses.append(1.0)
    assert second.losses == [] and second.workers == 1


def test_repr_tells_epochs_losses_time_and_speed():
    history = History([0.5, 0.25], 2.0, 1_500_000.0, 2)
    assert repr(history) == (
        "History(2 epochs, loss 0.5 -> 0.25, 2 s, 1,500,000 samples/s, 2 workers)"
    )


def test_repr_of_one_epoch_and_of_none():
    one = repr(History([0.5], 0.125, 8.0, 1))
    assert one == "History(1 epoch, loss 0.5, 0.125 s, 8 samples/s, 1 worker)"
    assert repr(History()) == "History(0 epochs, 0 s, 0 samples/s, 1 worker)"
