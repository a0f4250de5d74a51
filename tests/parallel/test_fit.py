"""`fit` with one worker, against loops written by hand."""

import numpy as np
import pytest
from small_models import WIDTH, Factors, Linear

import wyrm_py as wp
from wyrm_py.errors import DivergenceError, GraphError, SettingError

ENGINES = ("native", "numpy")
BATCHES = (None, 1, 7, 50)  # 23 examples: a shorter last one, and only a shorter one
COUNT = 23


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


def adagrad(weights, total, gradient, rate, l2=0.0, norm=None):
    """Adagrad with an l2 penalty and a cut norm, as its page states it."""
    length = np.sqrt((gradient**2).sum())
    if norm is not None and length > norm:
        gradient = gradient * (norm / length)
    gradient = gradient + l2 * weights
    total += gradient**2
    weights -= rate * gradient / (1e-10 + np.sqrt(total))


@pytest.mark.parametrize("batch", BATCHES)
def test_unshuffled_fit_is_the_loop_by_hand(engine, batch):
    model = Linear(COUNT)
    history = model.fit(
        wp.SGD(0.01, l2=0.1), epochs=2, batch_size=batch, shuffle=False, engine=engine
    )
    weights, means = model.first(), []
    for _ in range(2):
        losses = 0.0
        for begin in range(0, COUNT, batch or 1):
            rows = np.arange(begin, min(begin + (batch or 1), COUNT))
            loss, gradient = model.by_hand(rows, weights)
            losses += loss * len(rows)
            weights -= 0.01 * (gradient + 0.1 * weights)
        means.append(losses / COUNT)
    np.testing.assert_allclose(model.values(), weights, rtol=1e-12)
    np.testing.assert_allclose(history.losses, means, rtol=1e-12)


@pytest.mark.parametrize("batch", [None, 7])
def test_adagrad_and_its_state_are_the_loop_by_hand(engine, batch):
    model = Linear(COUNT)
    optimizer = wp.Adagrad(0.1, l2=0.05, clip_norm=2.0)
    model.fit(optimizer, epochs=2, batch_size=batch, shuffle=False, engine=engine)
    weights = model.first()
    total = np.zeros_like(weights)
    for begin in list(range(0, COUNT, batch or 1)) * 2:
        rows = np.arange(begin, min(begin + (batch or 1), COUNT))
        adagrad(weights, total, model.by_hand(rows, weights)[1], 0.1, 0.05, 2.0)
    np.testing.assert_allclose(model.values(), weights, rtol=1e-12)
    state = [node.block.slot("adagrad.sum").ravel() for node in (model.w, model.b)]
    np.testing.assert_allclose(np.concatenate(state), total, rtol=1e-12)


@pytest.mark.parametrize("batch", BATCHES)
def test_losses_are_the_mean_over_all_examples(engine, batch):
    model = Linear(COUNT)
    history = model.fit(wp.SGD(1e-14), epochs=3, batch_size=batch, engine=engine)
    mean = model.by_hand(np.arange(COUNT), model.first())[0]
    np.testing.assert_allclose(history.losses, [mean] * 3, rtol=1e-9)


@pytest.mark.parametrize("batch", [None, 16, 48])
def test_engines_agree_over_many_blocks(batch, small_blocks):
    given = dict(epochs=3, batch_size=batch, random_state=5)
    native, walked = Linear(203), Linear(203)
    first = native.fit(wp.Adagrad(0.1, l2=0.01), **given)
    second = walked.fit(wp.Adagrad(0.1, l2=0.01), engine="numpy", **given)
    np.testing.assert_allclose(native.values(), walked.values(), rtol=1e-9)
    np.testing.assert_allclose(first.losses, second.losses, rtol=1e-9)


def rows_model(count, dtype=np.float64):
    table = wp.ParameterNode(np.zeros((count, 1)), dtype)
    index = wp.IndexInputNode([0])
    return table, index, table.index(index).sum(axis=1)


@pytest.mark.parametrize("batch", [None, 7])
@pytest.mark.parametrize("count", [1, 15, 100, 1300])
def test_every_epoch_takes_every_example_once(batch, count):
    table, index, loss = rows_model(count)
    rows = np.arange(count)
    wp.fit(loss, wp.SGD(1.0), {index: rows}, 3, batch_size=batch, progress=False)
    np.testing.assert_array_equal(table.value, -3)


def test_order_follows_seed_and_epoch():
    def run(seed, epochs, shuffle=True):
        model = Linear(COUNT)
        model.fit(epochs=epochs, random_state=seed, shuffle=shuffle)
        return model.values()

    plain = run(0, 1, shuffle=False)
    assert not np.array_equal(run(0, 1), plain)
    assert not np.array_equal(run(0, 1), run(1, 1))
    np.testing.assert_array_equal(run(3, 2), run(3, 2))
    # an epoch of its own order: two fits of one epoch repeat the first order
    twice = Linear(COUNT)
    twice.fit(random_state=3), twice.fit(random_state=3)
    assert not np.array_equal(twice.values(), run(3, 2))


@pytest.mark.parametrize("batch", [None, 7])
def test_one_worker_and_a_seed_repeat_bit_for_bit_with_samplers(engine, batch):
    def run(seed):
        model = Factors()
        history = model.fit(
            epochs=2, random_state=seed, batch_size=batch, engine=engine
        )
        return model.values(), history.losses

    (first, losses), (again, losses_again) = run(4), run(4)
    np.testing.assert_array_equal(first, again)
    assert losses == losses_again
    assert not np.array_equal(first, run(5)[0])


@pytest.mark.parametrize("batch", [None, 7])
def test_engines_draw_the_same_negatives(batch, small_blocks):
    native, walked = Factors(), Factors()
    given = dict(epochs=2, batch_size=batch)
    losses = native.fit(**given).losses, walked.fit(engine="numpy", **given).losses
    np.testing.assert_allclose(native.values(), walked.values(), atol=2e-6)
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_generator_as_random_state_is_drawn_from():
    def run(generator):
        model = Linear(COUNT)
        model.fit(random_state=generator)
        return model.values()

    generator = np.random.default_rng(8)
    first, second = run(generator), run(generator)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, run(np.random.default_rng(8)))
    run(None)  # a seed from the system


def test_state_stays_with_the_parameter_between_fits():
    once, twice = Linear(COUNT), Linear(COUNT)
    optimizer = wp.Adagrad(0.1)
    once.fit(optimizer, epochs=2, shuffle=False)
    twice.fit(optimizer, shuffle=False)
    twice.fit(wp.Adagrad(0.1), shuffle=False)
    np.testing.assert_array_equal(once.values(), twice.values())


def test_shared_parameter_is_trained_in_place(engine):
    shared = wp.HogwildParameter(np.zeros((40, 1)), np.float64)
    table, index = wp.ParameterNode.shared(shared), wp.IndexInputNode([0])
    loss = table.index(index).sum(axis=1)
    inputs = {index: np.arange(40)}
    wp.fit(loss, wp.SGD(1.0), inputs, 2, engine=engine, progress=False)
    np.testing.assert_array_equal(shared.value, -2)


# -- what a fit leaves alone ------------------------------------------------------


def test_only_the_named_parameters_change(engine):
    model = Linear(COUNT)
    model.fit(parameters=[model.b], engine=engine)
    np.testing.assert_array_equal(model.w.value, model.start[0])
    assert model.b.value != model.start[1]


def test_frozen_parameter_stays_and_gets_no_state(engine):
    model = Linear(COUNT)
    model.w.trainable = False
    model.loss = (model.y - (model.x.dot(model.w) + model.b)).square()
    model.fit(wp.Adagrad(0.1), engine=engine)
    np.testing.assert_array_equal(model.w.value, model.start[0])
    assert model.b.value != model.start[1]
    with pytest.raises(GraphError, match="weights"):
        model.fit(parameters=[model.w])


def test_gradients_and_values_of_nodes_are_left_alone(engine):
    model = Linear(COUNT)
    model.x.set_value([1.0, 2.0, 3.0]), model.y.set_value(4.0)
    inner = model.loss.application.inputs[0]
    model.loss.forward()
    model.loss.backward()
    held = [n.gradient.copy() for n in (model.w, model.b, inner)]
    value, input_value = inner.value.copy(), model.x.value.copy()
    model.fit(engine=engine, batch_size=7)
    np.testing.assert_array_equal(inner.value, value)
    np.testing.assert_array_equal(model.x.value, input_value)
    for node, before in zip((model.w, model.b, inner), held, strict=True):
        np.testing.assert_array_equal(node.gradient, before)
    with pytest.raises(GraphError, match="forward"):
        model.loss.backward()
    model.loss.forward()
    model.loss.backward()


@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
def test_no_epochs_change_nothing(engine, mode):
    model = Linear(COUNT)
    history = model.fit(epochs=0, engine=engine, mode=mode)
    np.testing.assert_array_equal(model.values(), model.first())
    assert history.losses == [] and history.samples_per_second == 0


def test_nothing_is_printed(capfd):
    Linear(COUNT).fit(epochs=2, progress=False)
    Linear(COUNT).fit(epochs=2, progress=True)  # no terminal here
    assert capfd.readouterr() == ("", "")


def test_history_counts_time_workers_and_examples():
    history = Linear(COUNT).fit(epochs=3, n_jobs=1)
    assert history.workers == 1 and history.seconds > 0
    speed = 3 * COUNT / history.seconds
    assert history.samples_per_second == pytest.approx(speed)


# -- callbacks ------------------------------------------------------------------


def test_callbacks_see_the_history_so_far_and_may_stop(engine):
    seen = []

    def callback(history):
        seen.append(list(history.losses))
        return len(seen) == 3

    history = Linear(COUNT).fit(epochs=9, callbacks=[callback], engine=engine)
    assert [len(losses) for losses in seen] == [1, 2, 3]
    assert history.losses == seen[-1]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_optimizer_that_can_no_longer_learn_is_an_error(n_jobs):
    column, weight = wp.InputNode([[0.0]]), wp.ParameterNode([[1.0]], name="slope")
    loss = (column * weight - 1.0).square()
    with pytest.raises(DivergenceError, match="keeps for parameter slope"):
        wp.fit(
            *(loss, wp.Adagrad(0.1), {column: np.full(9, 3.0)}),
            weights=np.full(9, 1e30),  # the sum of squares leaves float32
            n_jobs=n_jobs,
            progress=False,
        )


@pytest.mark.parametrize("answer", [True, np.True_])
def test_any_true_stops_and_any_other_answer_does_not(answer):
    assert len(Linear(COUNT).fit(epochs=3, callbacks=[lambda _: answer]).losses) == 1
    for other in (None, False, 1.0, "yes"):
        history = Linear(COUNT).fit(epochs=3, callbacks=[lambda _, o=other: o])
        assert len(history.losses) == 3


def test_changed_learning_rate_takes_effect_in_the_next_epoch(engine):
    optimizer = wp.SGD(0.01)
    model = Linear(COUNT)

    def slower(history):
        optimizer.learning_rate = 0.001

    model.fit(optimizer, epochs=2, shuffle=False, engine=engine, callbacks=[slower])
    weights = model.first()
    for rate in (0.01, 0.001):
        for k in range(COUNT):
            weights -= rate * model.by_hand([k], weights)[1]
    np.testing.assert_allclose(model.values(), weights, rtol=1e-12)


def test_switching_a_setting_on_in_a_run_is_refused():
    optimizer = wp.SGD(0.01)

    def penalise(history):
        optimizer.l2 = 0.1

    with pytest.raises(SettingError, match="l2"):
        Linear(COUNT).fit(optimizer, epochs=3, callbacks=[penalise])


def test_error_of_a_callback_arrives_and_what_was_learned_stays(engine):
    model = Linear(COUNT)

    def fail(history):
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        model.fit(epochs=3, callbacks=[fail], engine=engine, shuffle=False)
    one = Linear(COUNT)
    one.fit(epochs=1, shuffle=False, engine=engine)
    np.testing.assert_array_equal(model.values(), one.values())
    with pytest.raises(GraphError, match="forward"):
        model.loss.backward()


# -- divergence -------------------------------------------------------------------


def test_divergence_names_the_parameter_and_ends_the_run(engine):
    model, epochs = Linear(203), []
    with pytest.raises(DivergenceError, match="parameter weights became NaN"):
        model.fit(wp.SGD(1e10), epochs=50, callbacks=[epochs.append], engine=engine)
    assert not epochs
    assert not np.isfinite(model.values()).any()
    model.w.set_value(model.start[0]), model.b.set_value(model.start[1])
    again = model.fit(epochs=2, engine=engine)
    assert np.isfinite(again.losses).all() and np.isfinite(model.values()).all()


def test_divergence_ends_a_synchronous_run_at_once(engine):
    model = Linear(203)
    with pytest.raises(DivergenceError, match="loss became NaN or infinite in epoch 0"):
        model.fit(wp.SGD(1e10), epochs=50, engine=engine, mode="synchronous")
    assert np.isfinite(model.values()).all()  # the loss overflows before they do


def test_divergence_of_the_loss_alone_names_the_loss(engine):
    w = wp.ParameterNode(np.ones((1, 1)), name="fine")
    x = wp.InputNode(np.ones((1, 1)))
    loss = (w * x).ln()
    column = np.ones(40)
    column[20] = 0  # ln(0)
    with pytest.raises(DivergenceError, match=r"fine|loss"):
        wp.fit(loss, wp.SGD(0.1), {x: column}, engine=engine, progress=False)


# -- workers ----------------------------------------------------------------------


def test_more_workers_than_examples_are_lowered():
    history = Linear(2).fit(n_jobs=50, backend="threads")
    assert history.workers <= 2
    assert Linear(1).fit(n_jobs=-1).workers == 1


def test_numbers_of_numpy_are_numbers():
    history = Linear(COUNT).fit(
        epochs=np.int64(2), n_jobs=np.int32(1), batch_size=np.uint8(7)
    )
    assert len(history.losses) == 2


@pytest.mark.parametrize("first", [2, 5])
def test_length_of_the_first_axis_does_not_matter_in_batches(engine, first):
    """Nodes stand for a batch whatever they were built with."""
    model, plain = Linear(COUNT), Linear(COUNT)
    x, y = (wp.InputNode(np.zeros((first, k)), np.float64) for k in (WIDTH, 1))
    loss = (y - (x.dot(model.w) + model.b)).square()
    given = dict(batch_size=7, random_state=0, engine=engine, progress=False)
    wp.fit(loss, wp.SGD(0.01), {x: model.xs, y: model.ys}, **given)
    plain.fit(batch_size=7, engine=engine)
    np.testing.assert_array_equal(model.values(), plain.values())


def test_huge_batch_is_one_step_over_all():
    model = Linear(COUNT)
    model.fit(batch_size=10**12, shuffle=False)
    weights = model.first()
    weights -= 0.01 * model.by_hand(np.arange(COUNT), weights)[1]
    np.testing.assert_allclose(model.values(), weights, rtol=1e-12)
    assert WIDTH + 1 == len(weights)
