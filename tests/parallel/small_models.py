"""Small models that the tests of training share: the fewer, the fewer compiles.

Their texts do not depend on sizes, so each is compiled once a session.
"""

import numpy as np

import wyrm_py as wp

WIDTH = 3


class Linear:
    """y ~ x . w + b by squares, in float64; the gradients are known by hand."""

    def __init__(self, count, seed=0, noise=0.1):
        rng = np.random.default_rng(seed)
        self.xs = rng.normal(size=(count, WIDTH))
        truth = np.array([[1.0], [-2.0], [0.5]])
        self.ys = self.xs @ truth + 3 + noise * rng.normal(size=(count, 1))
        self.start = rng.normal(size=(WIDTH, 1)), rng.normal(size=(1, 1))
        self.w = wp.ParameterNode(self.start[0], np.float64, name="weights")
        self.b = wp.ParameterNode(self.start[1], np.float64, name="offset")
        self.x = wp.InputNode(np.zeros((1, WIDTH)), np.float64, name="x")
        self.y = wp.InputNode(np.zeros((1, 1)), np.float64, name="y")
        self.loss = (self.y - (self.x.dot(self.w) + self.b)).square()
        self.inputs = {self.x: self.xs, self.y: self.ys}

    def fit(self, optimizer=None, **settings):
        optimizer = wp.SGD(0.01) if optimizer is None else optimizer
        settings = {"progress": False, "random_state": 0, **settings}
        return wp.fit(self.loss, optimizer, self.inputs, **settings)

    def values(self):
        """Return copies of w and b, flat and in one array."""
        return np.concatenate([self.w.value.ravel(), self.b.value.ravel()])

    def by_hand(self, rows, weights):
        """Return the loss and the gradient of some examples: NumPy, no graph."""
        x, y = self.xs[rows], self.ys[rows]
        residual = y - (x @ weights[:WIDTH, None] + weights[WIDTH])
        gradient = np.append(-2 * (x.T @ residual).ravel(), -2 * residual.sum())
        return (residual**2).mean(), gradient

    def first(self):
        """Return the initial parameters as `values` does."""
        return np.concatenate([self.start[0].ravel(), self.start[1].ravel()])


class Factors:
    """BPR by hand over the public API: rows, a sampler, known positives."""

    def __init__(self, users=30, items=20, seed=0, known=None, popular=None):
        rng = np.random.default_rng(seed)
        self.users = wp.ParameterNode(rng.normal(0, 0.3, (users, 4)), name="users")
        self.items = wp.ParameterNode(rng.normal(0, 0.3, (items, 4)), name="items")
        self.user, self.item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        more = {} if known is None else {"known": known, "user": self.user}
        if popular is None:
            self.negative = wp.sample_uniform(self.item, items, **more)
        else:
            self.negative = wp.sample_popular(self.item, popular, **more)
        taste = self.users.index(self.user)
        better = self.items.index(self.item) - self.items.index(self.negative)
        self.loss = -taste.vector_dot(better).sigmoid().ln()
        count = 200
        self.inputs = {
            self.user: rng.integers(0, users, count).astype(np.int32),
            self.item: rng.integers(0, items, count),
        }

    def fit(self, optimizer=None, **settings):
        optimizer = wp.Adagrad(0.1) if optimizer is None else optimizer
        settings = {"progress": False, "random_state": 0, **settings}
        return wp.fit(self.loss, optimizer, self.inputs, **settings)

    def values(self):
        """Return a copy of both tables, flat."""
        return np.concatenate([self.users.value.ravel(), self.items.value.ravel()])
