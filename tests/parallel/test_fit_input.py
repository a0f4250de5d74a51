"""Bad input of `fit` and `evaluate`: who, what is required, what was given.

Each line must be refused before anything changes. Good input of every form must
be taken and give the same as plain arrays.
"""

import re

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py import errors

COUNT = 6
ENGINES = ("native", "numpy")


class Model:
    """One input of each kind: floats, rows, ragged rows, sparse rows."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.table = wp.ParameterNode(rng.normal(size=(5, 3)), name="table")
        self.features = wp.ParameterNode(rng.normal(size=(4, 3)), name="features")
        self.x = wp.InputNode(np.zeros((1, 3)), name="x")
        self.row = wp.IndexInputNode([0], name="row")
        self.bag = wp.IndexInputNode([0], capacity=4, name="bag")
        self.csr = wp.SparseInputNode(sparse.csr_array((1, 4)), name="csr")
        rows = self.table.index(self.row) + self.csr.dot(self.features)
        bag = self.table.index(self.bag).sum(axis=0, keepdims=True)
        self.loss = ((rows + bag) * self.x).square().sum(axis=1)
        self.columns = {
            "x": rng.normal(size=(COUNT, 3)).astype(np.float32),
            "row": np.array([0, 4, 2, 2, 1, 3]),
            "bag": [[1], [], [0, 4], [2, 2], [3], [4]],
            "csr": sparse.csr_array(rng.normal(size=(COUNT, 4)).astype(np.float32)),
        }

    def inputs(self, **changed):
        return {getattr(self, k): v for k, v in {**self.columns, **changed}.items()}

    def parameters(self):
        return [self.table.value.copy(), self.features.value.copy()]

    def fit(self, **given):
        usual = dict(inputs=self.inputs(), optimizer=wp.Adagrad(0.1), random_state=0)
        return wp.fit(self.loss, progress=False, **{**usual, **given})

    def evaluate(self, **given):
        return wp.evaluate(self.loss, **{"inputs": self.inputs(), **given})


def refused(model, call, kind, words):
    before = model.parameters()
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    for word in words:
        assert re.search(word, message), f"{word!r} is not in: {message}"
    for held, now in zip(before, model.parameters(), strict=True):
        np.testing.assert_array_equal(held, now)
    assert model.table.block.slots() == {}


def floats(value, place=(3, 1)):
    array = np.ones((COUNT, 3))
    array[place] = value
    return array


def csr(**changed):
    matrix = sparse.csr_array(np.arange(1.0, 25).reshape(COUNT, 4))
    for name, (place, value) in changed.items():
        getattr(matrix, name)[place] = value
    return matrix


BAD_COLUMNS = {
    # floats: shape, dtype, finite
    "x too narrow": ("x", np.ones((COUNT, 2)), "ShapeError", r"\(N, 1, 3\)", r"6, 2"),
    "x flat": ("x", np.ones(COUNT * 3), "ShapeError", r"\(N, 1, 3\)", r"\(18,\)"),
    "x a number": ("x", 1.0, "ShapeError", r"\(N, 1, 3\)", r"\(\)"),
    "x None": ("x", None, "(ShapeError|DTypeError)", "x", "numbers|shape"),
    "x uneven lists": ("x", [[1, 2, 3], [1, 2]], "ShapeError", "x"),
    "x of text": ("x", np.full((COUNT, 3), "a"), "DTypeError", "numbers", "<U1"),
    "x complex": ("x", np.ones((COUNT, 3), complex), "DTypeError", "complex128"),
    "x objects": ("x", np.full((COUNT, 3), None), "DTypeError", "object"),
    "x of dates": ("x", np.zeros((COUNT, 3), "M8[s]"), "DTypeError", "datetime64"),
    "x masked": (
        "x",
        np.ma.masked_array(np.ones((COUNT, 3)), np.eye(COUNT, 3)),
        "DataError",
        "masked",
    ),
    "x sparse": ("x", sparse.csr_array((COUNT, 3)), "DTypeError", "SparseInputNode"),
    "x NaN": ("x", floats(np.nan), "DataError", "nan", "example 3", "finite"),
    "x inf": ("x", floats(-np.inf, (5, 0)), "DataError", "-inf", "example 5"),
    "x over float32": ("x", floats(1e300), "DataError", "example 3", "finite"),
    # row numbers
    "row too large": ("row", [0, 1, 5, 0, 0, 0], "IndexRangeError", "5", r"\[0, 5\)"),
    "row below zero": (
        "row",
        [0, 1, 2, -1, 0, 0],
        "IndexRangeError",
        "-1",
        "example 3",
    ),
    "row huge": ("row", [0, 1, 2, 1 << 40, 0, 0], "IndexRangeError", "1099511627776"),
    "row beyond": (
        "row",
        np.array([0, 1, 2, 1 << 63, 0, 0], np.uint64),
        "IndexRangeError",
        "9223372036854775808",
    ),
    "row floats": (
        "row",
        np.zeros(COUNT),
        "DTypeError",
        "integer",
        "float64",
        "astype",
    ),
    "row booleans": ("row", np.zeros(COUNT, bool), "DTypeError", "integer", "bool"),
    "row text": ("row", ["a"] * COUNT, "DTypeError", "integer", "<U1"),
    "row wide": ("row", np.zeros((COUNT, 2), int), "ShapeError", r"\(N, 1\)", r"6, 2"),
    # ragged
    "bag too large": (
        "bag",
        [[0], [1], [2, 7], [], [], []],
        "IndexRangeError",
        "7",
        "example 2",
    ),
    "bag negative": (
        "bag",
        [[0], [], [], [1, -3], [], []],
        "IndexRangeError",
        "-3",
        "example 3",
    ),
    "bag floats": ("bag", [[0.5]] * COUNT, "DTypeError", "integer", "float64"),
    "bag booleans": ("bag", [[True]] * COUNT, "DTypeError", "integer", "bool"),
    "bag of numbers": ("bag", 3, "DataError|ShapeError|DTypeError", "bag|Ragged"),
    "bag half booleans": ("bag", [[True], [2]] * 3, "DTypeError", "integer", "bool"),
    "bag of mixed depth": ("bag", [[[1]], [2]] * 3, "DTypeError", "one-dim"),
    "bag falling": ("bag", ([1, 2], [0, 2, 1, 1, 1, 1, 2]), "DataError", "fall"),
    "bag overlong": ("bag", ([1, 2], [0, 1, 2, 3, 4, 5, 6]), "DataError", r"\[0, 6\]"),
    "bag nested": ("bag", [[[0, 1]]] * COUNT, "ShapeError|DTypeError", "one-dim"),
    # sparse
    "csr dense": ("csr", np.ones((COUNT, 4)), "DTypeError", "scipy.sparse", "ndarray"),
    "csr too wide": ("csr", sparse.csr_array((COUNT, 5)), "ShapeError", "4 columns"),
    "csr NaN": ("csr", csr(data=(9, np.nan)), "DataError", "nan", "example 2"),
    "csr index": ("csr", csr(indices=(9, 4)), "IndexRangeError", "4", "example 2"),
    "csr negative": ("csr", csr(indices=(9, -1)), "IndexRangeError", "-1", "example 2"),
    "csr falling": ("csr", csr(indptr=(2, 20)), "DataError", "indptr", "fall"),
    "csr beyond": ("csr", csr(indptr=(COUNT, 99)), "DataError", "index pointer"),
    "csr complex": ("csr", csr().astype(complex), "DTypeError", "complex128"),
    # all
    "lengths differ": ("row", np.zeros(5, int), "DataError", "one length", "5", "6"),
    "ragged shorter": ("bag", [[1]] * 4, "DataError", "one length", "4", "6"),
}


def kinds(names):
    return tuple(getattr(errors, name) for name in names.strip("()").split("|"))


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_bad_column_is_refused(case):
    name, given, kind, *words = BAD_COLUMNS[case]
    model = Model()
    inputs = model.inputs(**{name: given})
    words = [rf"\b{name}\b" if len(words) < 2 else name, *words]
    for who in ("fit", "evaluate"):
        call = getattr(model, who)
        refused(model, lambda c=call: c(inputs=inputs), kinds(kind), [who, *words])


@pytest.mark.parametrize("engine", ENGINES)
def test_graph_that_holds_for_one_batch_only_is_refused(engine):
    """A literal length where the batch comes: the message says `batch`."""
    x, w = wp.InputNode(np.zeros((5, 3))), wp.ParameterNode(np.ones((3, 1)))
    loss = (x.dot(w) + np.ones((5, 1))).square().sum(axis=1)
    given = dict(batch_size=5, engine=engine, progress=False)
    with pytest.raises(errors.ShapeError, match=r"\(batch, 1\), \(5, 1\)"):
        wp.fit(loss, wp.SGD(0.1), {x: np.ones((20, 3))}, **given)
    np.testing.assert_array_equal(w.value, 1)


def test_column_of_numbers_says_so():
    x, w = wp.InputNode(0.0), wp.ParameterNode(1.0)
    with pytest.raises(errors.ShapeError, match=r"shape \(N,\).*Got \(4, 2\)"):
        wp.fit(x * w, wp.SGD(0.1), {x: np.ones((4, 2))}, progress=False)


def test_index_out_of_range_is_refused_by_both_engines():
    model = Model()
    inputs = model.inputs(row=[0, 1, 5, 0, 0, 0])
    for engine in ENGINES:
        refused(
            model,
            lambda e=engine: model.fit(inputs=inputs, engine=e),
            errors.IndexRangeError,
            ["fit"],
        )


BAD_INPUTS = {
    "no mapping": (lambda m: [m.x, m.row], "DataError", "mapping", "list"),
    "None": (lambda m: None, "DataError", "mapping", "NoneType"),
    "unknown node": (
        lambda m: {**m.inputs(), wp.InputNode(0.0, name="other"): [1.0]},
        "DataError",
        "other",
        "does not read",
    ),
    "a parameter": (lambda m: {**m.inputs(), m.table: [1]}, "DataError", "table"),
    "a name": (lambda m: {**m.inputs(), "x": [1]}, "DataError", "'x'", "not read"),
    "missing": (lambda m: {m.x: m.columns["x"]}, "MissingColumnError", "row", "csr"),
    "empty": (lambda m: {}, "MissingColumnError", "x", "row"),
    "no examples": (
        lambda m: m.inputs(
            x=np.ones((0, 3)), row=[], bag=[], csr=sparse.csr_array((0, 4))
        ),
        "DataError|DTypeError",
        "empty|integer",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_mapping_is_refused(case):
    make, kind, *words = BAD_INPUTS[case]
    model = Model()
    inputs = make(model)
    for who in ("fit", "evaluate"):
        call = getattr(model, who)
        refused(model, lambda c=call: c(inputs=inputs), kinds(kind), [who, *words])


def test_no_examples_are_told_so():
    model = Model()
    inputs = {
        model.x: np.ones((0, 3)),
        model.row: np.zeros(0, int),
        model.bag: [],
        model.csr: sparse.csr_array((0, 4)),
    }
    for who in ("fit", "evaluate"):
        call = getattr(model, who)
        words = [who, "empty", "at least one"]
        refused(model, lambda c=call: c(inputs=inputs), errors.DataError, words)


BAD_SETTINGS = {
    "n_jobs": [0, 1.5, "2", True, None],
    "backend": ["cluster", None, 1],
    "mode": ["async", None],
    "engine": ["torch", None],
    "batch_size": [0, -3, True, 1.5, "8"],
    "epochs": [-1, 1.5, True, None, "3"],
    "random_state": [-1, 1.5, True, "seed"],
    "optimizer": ["sgd", wp.SGD, None, 0.1],
    "callbacks": [print, [3], None],
}


@pytest.mark.parametrize(
    ("name", "given"),
    [(name, given) for name, several in BAD_SETTINGS.items() for given in several],
)
def test_impossible_setting_is_refused(name, given):
    model = Model()
    call = lambda: model.fit(**{name: given})  # noqa: E731
    refused(model, call, errors.SettingError, [name, re.escape(repr(given))])


@pytest.mark.parametrize("given", [0, -3, True, 1.5, "8"])
def test_evaluate_refuses_impossible_batch_sizes(given):
    model = Model()
    call = lambda: model.evaluate(batch_size=given)  # noqa: E731
    words = ["evaluate", "batch_size", re.escape(repr(given))]
    refused(model, call, errors.SettingError, words)


@pytest.mark.parametrize("given", [0, 1.5, "2", True])
def test_evaluate_refuses_impossible_n_jobs(given):
    model = Model()
    call = lambda: model.evaluate(n_jobs=given)  # noqa: E731
    refused(model, call, errors.SettingError, ["n_jobs", re.escape(repr(given))])


@pytest.mark.parametrize("rule", [wp.SGD, wp.Adagrad])
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("learning_rate", 0),
        ("learning_rate", -0.1),
        ("learning_rate", np.nan),
        ("learning_rate", np.inf),
        ("learning_rate", "0.1"),
        ("l2", -1),
        ("l2", np.nan),
        ("clip", 0),
        ("clip_norm", -1),
    ],
)
def test_impossible_optimizer_setting_is_refused(rule, name, given):
    with pytest.raises(errors.SettingError, match=rf"{rule.__name__}.*{name}.*got"):
        rule(**{name: given})


def test_bad_parameters_are_refused():
    model = Model()
    other = wp.ParameterNode([[1.0]], name="stranger")
    cases = (
        ([other], "stranger"),
        ([], "none"),
        ([model.x], "x"),
        (model.table, "list"),
        (3, "list"),
        (["table"], "'table'"),
        ([np.ones(3)], "array"),
    )
    for given, word in cases:
        refused(
            model,
            lambda g=given: model.fit(parameters=g),
            errors.GraphError,
            ["parameters", word],
        )


@pytest.mark.parametrize("loss", [3.0, None, "loss", [1.0], np.ones(3)])
def test_what_is_no_node_is_refused(loss):
    with pytest.raises(errors.GraphError, match=r"fit.*node"):
        wp.fit(loss, wp.SGD(0.1), {})
    with pytest.raises(errors.GraphError, match=r"evaluate.*node"):
        wp.evaluate(loss, {})


def test_loss_without_parameters_is_refused():
    x = wp.InputNode(0.0)
    with pytest.raises(errors.GraphError, match="no trainable parameters"):
        wp.fit(x * 2.0, wp.SGD(0.1), {x: [1.0]})


@pytest.mark.parametrize("batch", [None, 2])
def test_memory_around_a_table_stays_untouched(batch):
    """Canaries: a table in the middle of other numbers, and only some of its rows."""
    row = wp.IndexInputNode([0])
    table = wp.ParameterNode(np.zeros((5, 3)))
    around = np.full((15, 3), 7, np.float32)
    around[5:10] = 0
    table.block._value = around[5:10]
    table._held(around[5:10])
    loss = (table.index(row) + 1.0).square().sum(axis=1)
    given = dict(batch_size=batch, progress=False)
    for bad in ([4, 5], [-1, 0], [0, 8]):
        with pytest.raises(errors.IndexRangeError):
            wp.fit(loss, wp.SGD(0.1), {row: bad}, **given)
        assert not around[5:10].any()
    wp.fit(loss, wp.SGD(0.1), {row: [4, 0, 4]}, **given)
    assert (around[[*range(5), *range(10, 15)]] == 7).all()
    np.testing.assert_array_equal(around[5:10].any(axis=1), [1, 0, 0, 0, 1])


# -- good input in every form ------------------------------------------------------


def reverse(array):
    """Return the same numbers with negative strides."""
    return array[::-1].copy()[::-1]


def spread(array):
    """Return the same numbers, not contiguous."""
    wide = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    wide[::2] = array
    return wide[::2]


def read_only(array):
    array = np.array(array)
    array.flags.writeable = False
    return array


class Frame:
    """What pandas and others are to us: something with __array__."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


FORMS = {
    "read-only": read_only,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "reversed": reverse,
    "spread": spread,
    "Fortran": np.asfortranarray,
    "frame": Frame,
    "list": lambda a: a.tolist(),
}


@pytest.fixture(scope="module")
def expected():
    model = Model()
    losses = model.fit(epochs=2).losses
    return model.parameters(), losses, model.evaluate()


def same(model, inputs, expected):
    parameters, losses, values = expected
    assert model.fit(epochs=2, inputs=inputs).losses == losses
    for found, wanted in zip(model.parameters(), parameters, strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(model.evaluate(inputs=inputs), values)


@pytest.mark.parametrize("form", FORMS)
def test_arrays_of_any_form_are_taken(form, expected):
    model = Model()
    make = FORMS[form]
    inputs = model.inputs(x=make(model.columns["x"]), row=make(model.columns["row"]))
    same(model, inputs, expected)


@pytest.mark.parametrize(
    "dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", ">i4", ">u8"]
)
def test_rows_of_any_integer_dtype_are_taken(dtype, expected):
    model = Model()
    bag = wp.RaggedColumn.of(model.columns["bag"])
    inputs = model.inputs(
        row=model.columns["row"].astype(dtype),
        bag=(bag.values.astype(dtype), bag.offsets.astype(dtype)),
    )
    same(model, inputs, expected)


@pytest.mark.parametrize("dtype", ["f2", ">f4", "f8", "i4", "u1", "i8", "?"])
def test_floats_of_any_dtype_are_taken(dtype):
    whole = np.arange(COUNT * 3).reshape(COUNT, 3) % 2
    wanted, model = Model(), Model()
    wanted.fit(inputs=wanted.inputs(x=whole.astype(np.float32)))
    model.fit(inputs=model.inputs(x=whole.astype(dtype)))
    for a, b in zip(model.parameters(), wanted.parameters(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(COUNT, 3), (COUNT, 1, 3), (COUNT, 3, 1)])
def test_axes_of_length_one_may_be_left_out(shape, expected):
    model = Model()
    inputs = model.inputs(
        x=model.columns["x"].reshape(shape), row=model.columns["row"][:, None]
    )
    same(model, inputs, expected)


@pytest.mark.parametrize(
    "form", ["csc", "coo", "lil", "matrix", "float64", "read-only"]
)
def test_sparse_rows_of_any_format_are_taken(form, expected):
    model = Model()
    matrix = model.columns["csr"]
    if form == "matrix":
        given = sparse.csr_matrix(matrix)
    elif form == "float64":
        given = matrix.astype(np.float64)
    elif form == "read-only":
        parts = (matrix.data, matrix.indices, matrix.indptr)
        given = sparse.csr_array(tuple(map(read_only, parts)), shape=matrix.shape)
    else:
        given = matrix.asformat(form)
    same(model, model.inputs(csr=given), expected)


def test_columns_are_not_written_to(expected):
    model = Model()
    copies = {k: np.array(v) for k, v in model.columns.items() if k in ("x", "row")}
    model.fit(epochs=2, n_jobs=1)
    for name, before in copies.items():
        np.testing.assert_array_equal(model.columns[name], before)
