"""Settings as JSON: what is written builds the same again, or the error says why."""

import json

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py import errors, nn
from wyrm_py.optim import schedules

RATES = [
    schedules.Step(0.1, 3, 0.5),
    schedules.MultiStep(0.1, [2, 5]),
    schedules.Exponential(0.3, 0.9),
    schedules.Cosine(0.1, 10, 0.001),
    schedules.InverseSqrt(0.1, 2.0),
    schedules.Warmup(0.2, 3) * schedules.Cosine(1.0, 10) * 0.5,
]
OPTIMIZERS = {
    name: kind
    for name, kind in vars(wp.optim).items()
    if isinstance(kind, type) and issubclass(kind, wp.optim.Optimizer)
}
OPTIMIZERS.pop("Optimizer", None)


class Halved(schedules.Schedule):
    """A schedule of one's own."""

    def __init__(self, start):
        self.start = start

    def rate(self, epoch):
        return self.start / 2**epoch


class Scaled(nn.Layer):
    """A layer of one's own, with every kind of argument."""

    def __init__(self, width, *steps, name="x", dtype=np.float64, options=None, **more):
        self.weight = wp.ParameterNode(np.full(width, 2.0), dtype)
        self.steps, self.name, self.options, self.more = steps, name, options, more

    def forward(self, x):
        return x * self.weight


def _settings(optimizer):
    return {n: getattr(optimizer, n) for n in optimizer.bounds}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_comes_back_with_its_settings(name):
    optimizer = OPTIMIZERS[name](0.25)
    optimizer.clip = 0.1 + 0.2  # a number that needs all its digits
    again = wp.from_json(wp.to_json(optimizer))
    assert type(again) is type(optimizer)
    assert _settings(again) == _settings(optimizer)
    assert again.clip == 0.30000000000000004


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: type(rate).__name__)
def test_every_schedule_comes_back_alone_and_within_an_optimizer(rate):
    epochs = np.linspace(0, 12, 25)
    again = wp.from_json(wp.to_json(rate))
    assert [again(e) for e in epochs] == [rate(e) for e in epochs]
    within = wp.from_json(wp.to_json(wp.Adagrad(rate))).learning_rate
    assert type(within) is type(rate)
    assert [within(e) for e in epochs] == [rate(e) for e in epochs]


def test_a_changed_setting_is_written_as_it_is_now():
    optimizer = wp.SGD(0.1)
    optimizer.learning_rate, optimizer.epoch = 0.05, 7
    again = wp.from_json(wp.to_json(optimizer))
    assert (again.learning_rate, again.epoch) == (0.05, 7)


def test_the_text_is_readable():
    text = wp.to_json(wp.SGD(schedules.Exponential(0.1, 0.5), clip=2.0))
    found = json.loads(text)
    assert text.count("\n") > 5
    assert found["format"] == 1
    assert found["class"] == "wyrm_py.SGD"
    assert found["settings"]["clip"] == 2.0
    assert found["settings"]["learning_rate"] == {
        "class": "wyrm_py.Exponential",
        "settings": {"start": 0.1, "gamma": 0.5},
    }


def test_a_layer_is_written_as_it_was_built():
    shared = nn.Dense(2, 2, activation="tanh")
    layer = Scaled(
        3,
        shared,
        nn.Sequential(shared, nn.Dropout(0.25)),
        name="ä",
        options={"window": (3, 2), "list": [1, None, True]},
        rate=np.float32(0.5),
        count=np.int64(4),
    )
    again = wp.from_json(wp.to_json(layer), known=[Scaled])
    assert list(again.named_parameters()) == list(layer.named_parameters())
    assert again.steps[1].steps[0] is again.steps[0]  # one layer in two places
    assert again.steps[1].steps[1].p == 0.25
    assert again.steps[0].activation == "tanh"
    assert (again.name, again.options) == (layer.name, layer.options)
    assert again.more == {"rate": 0.5, "count": 4}
    assert again.weight.dtype == np.float64


def test_a_generator_is_written_as_it_was_when_given():
    rng = np.random.default_rng(5)
    rng.random(3)
    layer = nn.Sequential(
        nn.Dense(3, 2, random_state=rng), nn.Dense(2, 1, random_state=rng)
    )
    again = wp.from_json(wp.to_json(layer))
    for name, node in layer.named_parameters().items():
        np.testing.assert_array_equal(again.named_parameters()[name].value, node.value)


def test_classes_of_the_reader_are_built_only_if_passed():
    text = wp.to_json(wp.SGD(Halved(0.5)))
    with pytest.raises(errors.UnknownClassError, match=r"'Halved'.*known=\["):
        wp.from_json(text)
    again = wp.from_json(text, known=[Halved])
    assert again.learning_rate(2) == 0.125


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        (lambda: nn.Dense(2, 2, activation=lambda x: x), r"Dense\.activation.*lambda"),
        (
            lambda: nn.Sequential(nn.Activation(lambda x: x)),
            r"steps\[0\]\.activation",
        ),
        (lambda: Scaled(2, options=np.ones(3)), r"Scaled\.options.*ndarray"),
        (lambda: Scaled(2, options={1: 2}), r"Scaled\.options.*dict"),
        (lambda: Scaled(2, options=wp.ParameterNode([1.0])), "ParameterNode"),
        (lambda: Scaled(2, options=[float("nan")]), r"Scaled\.options\[0\] is nan"),
        (lambda: Scaled(2, more=float("inf")), r"Scaled\.more is inf"),
        (lambda: Scaled(2, options=1j), "complex"),
        (
            lambda: wp.SGD(schedules.Lambda(0.1, lambda e: 1.0)),
            "SGD.learning_rate.factor",
        ),
        (lambda: wp.ParameterNode([1.0]), "an optimizer, a schedule or a layer"),
        (lambda: {"class": "wyrm_py.SGD"}, "an optimizer, a schedule or a layer"),
    ],
)
def test_what_no_file_can_hold_is_named_with_its_place(layer, place):
    with pytest.raises(errors.UnsavableError, match=place):
        wp.to_json(layer())


class Forgetful(schedules.Schedule):
    def __init__(self, start):
        self.begin = start

    def rate(self, epoch):
        return self.begin


def test_a_schedule_that_keeps_no_setting_is_refused():
    with pytest.raises(errors.UnsavableError, match="attributes of the same names"):
        wp.to_json(Forgetful(0.1))


def _ones(shape, rng):
    return np.ones(shape)


def normal(x):
    return x


def doubled(x):
    return x + x


def test_functions_of_a_module_go_by_name():
    model = nn.Model(
        nn.Dense(2, 2, activation=doubled), nn.losses.cross_entropy, wp.Adam(0.25)
    )
    text = wp.to_json(model)
    with pytest.raises(errors.UnknownClassError, match="function 'doubled'"):
        wp.from_json(text)
    again = wp.from_json(text, known=[doubled])
    assert again.layer.activation is doubled
    assert again.loss is nn.losses.cross_entropy
    assert again.optimizer.learning_rate == 0.25


class Drawn(nn.Layer):
    def __init__(self, initialiser, bias_initialiser=nn.initialisers.zeros):
        self.weight = nn.initialisers.parameter(initialiser, (2,))


def test_functions_that_only_make_first_values_are_left_out():
    for function in (nn.initialisers.he_normal(), _ones):
        layer = nn.Dense(2, 1, initialiser=function)
        assert "initialiser" not in json.loads(wp.to_json(layer))["settings"]
    kept = json.loads(wp.to_json(nn.Dense(2, 1, initialiser=nn.initialisers.zeros)))
    assert kept["settings"]["initialiser"] == {"function": "wyrm_py.zeros"}
    again = wp.from_json(json.dumps(kept))
    assert not again.weight.value.any()
    with pytest.raises(errors.UnsavableError, match=r"Drawn\.initialiser"):
        wp.to_json(Drawn(nn.initialisers.he_normal()))  # it has no default


def test_names_of_ones_own_do_not_meet_ours():
    class Dense(nn.Layer):
        """A class of a name that wyrm_py has, too."""

        def __init__(self, inner, activation):
            self.inner, self.activation = inner, activation

    text = wp.to_json(Dense(nn.Dense(1, 1), normal))
    with pytest.raises(errors.UnknownClassError):
        wp.from_json(text)
    again = wp.from_json(text, known=[Dense, normal])
    assert type(again) is Dense and type(again.inner) is nn.Dense
    assert again.activation is normal
    other = type("Dense", (nn.Layer,), {})
    with pytest.raises(errors.SettingError, match="two things of the name 'Dense'"):
        wp.from_json(text, known=[Dense, other, normal])


@pytest.mark.parametrize("known", [[int], ["Scaled"], [Scaled(2)], [3]])
def test_known_takes_classes_of_layers_optimizers_and_schedules(known):
    with pytest.raises(errors.SettingError, match="known must be a list of functions"):
        wp.from_json(wp.to_json(wp.SGD()), known=known)


def _described(name, **settings):
    head = {"format": 1, "library": "0"}
    return json.dumps(head | {"class": f"wyrm_py.{name}", "settings": settings})


def _edited(**changes):
    document = json.loads(wp.to_json(wp.SGD(0.5)))
    document["settings"].update(changes)
    return json.dumps(document)


BAD_SETTINGS = {
    "unknown": _edited(speed=3),
    "NaN": _edited(learning_rate=float("nan")),
    "infinite": _edited(learning_rate=float("inf")),
    "negative": _edited(learning_rate=-1),
    "text": _edited(learning_rate="0.1"),
    "code": _edited(penalty="__import__('os').system('true')"),
    "attribute": _edited(penalty="value.__class__"),
    "missing": json.dumps(
        {
            "format": 1,
            "library": "0",
            "class": "wyrm_py.Step",
            "settings": {"start": 0.1},
        }
    ),
    "wrong kind": json.dumps(
        {
            "format": 1,
            "library": "0",
            "class": "wyrm_py.Sequential",
            "settings": {"steps": [1]},
        }
    ),
    "no list": _described("Sequential", steps=3),
    "too large": _described("Dense", inputs=10**13, outputs=10**13),
    "no integer": _described("Embedding", rows=3, width="4"),
    "of no cell": _described("LSTM", inputs=3, hidden=2, speed=1),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_settings_that_do_not_fit_are_refused(case):
    with pytest.raises(errors.SettingError):
        wp.from_json(BAD_SETTINGS[case])


def test_unknown_and_missing_settings_are_listed():
    with pytest.raises(
        errors.SettingError, match=r"missing: \[\], unknown: \['speed'\]"
    ):
        wp.from_json(BAD_SETTINGS["unknown"])
    with pytest.raises(errors.SettingError, match=r"missing: \['every'\]"):
        wp.from_json(BAD_SETTINGS["missing"])


def _document(description):
    return json.dumps({"format": 1, "library": "0.1", **description})


def _sgd(rate):
    return _document({"class": "wyrm_py.SGD", "settings": {"learning_rate": rate}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[1]",
        "{}",
        "3",
        "[" * 100_000,
        '{"format": "x", "library": "0", "class": "wyrm_py.SGD", "settings": {}}',
        '{"format": 1e999, "library": "0", "class": "wyrm_py.SGD", "settings": {}}',
        '{"format": -1, "library": "0", "class": "wyrm_py.SGD", "settings": {}}',
        _document({}),
        _document({"class": "wyrm_py.SGD"}),
        _document({"class": ["SGD"], "settings": {}}),
        _document({"class": "wyrm_py.SGD", "settings": []}),
        _sgd({}),
        _sgd({"tuple": 3}),
        _sgd({"dict": []}),
        _sgd({"dtype": "evil"}),
        _sgd({"same": 5}),
        _sgd({"same": 0}),
        _sgd({"same": -1}),
        _sgd({"other": 1}),
        _sgd({"tuple": [], "dict": {}}),
        _sgd({"generator": {"bit_generator": "os.system"}}),
        _sgd(
            {"generator": {"bit_generator": "PCG64", "state": {"state": -1, "inc": 0}}}
        ),
        "cos\nsystem\n(S'true'\ntR.",
        None,
        b"\x80\x04K\x01.",
    ],
)
def test_text_that_is_not_ours_is_refused(text):
    with pytest.raises(errors.CorruptCheckpointError):
        wp.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        _document({"class": "Popen", "settings": {"args": "true"}}),
        _document({"class": "os.system", "settings": {}}),
        _document({"class": "SGD", "settings": {}}),
        _document({"class": "wyrm_py.Optimizer", "settings": {}}),
        _document({"class": "wyrm_py.Layer", "settings": {}}),
        _sgd({"function": "system"}),
        _sgd({"function": "wyrm_py._scaled"}),
    ],
)
def test_only_known_classes_and_functions_are_built(text):
    with pytest.raises(errors.UnknownClassError):
        wp.from_json(text)


def test_a_newer_format_asks_for_an_update():
    text = json.dumps({"format": 7, "library": "9.1", "class": "?", "settings": 0})
    with pytest.raises(errors.CorruptCheckpointError, match=r"format 7 .*9\.1.*update"):
        wp.from_json(text)
