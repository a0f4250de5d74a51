"""Can a recommender be written by hand in ten lines, and train on every core?

Bayesian personalised ranking (Rendle et al., UAI 2009) over planted tastes: a user of
group g likes items of group g. After training, a random liked item that was held out
should score above a random other one; the AUC says how often it does.
"""

import numpy as np
from scipy import sparse

import wyrm_py as wp

USERS, ITEMS, GROUPS, WIDTH, EACH = 1_000, 500, 5, 16, 30

rng = np.random.default_rng(0)


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Return user and item of EACH likes a user, nine in ten of the user's group."""
    users = np.repeat(np.arange(USERS), EACH)
    groups = np.where(
        rng.random(users.size) < 0.9,
        users % GROUPS,
        rng.integers(GROUPS, size=users.size),
    )
    items = groups + GROUPS * rng.integers(ITEMS // GROUPS, size=users.size)
    return users, items


def auc(users: np.ndarray, items: np.ndarray, tables: list[wp.ParameterNode]) -> float:
    """Return how often a held-out liked item scores above a random one."""
    user_table, item_table = (table.value for table in tables)
    others = rng.integers(ITEMS, size=users.size)
    better = (user_table[users] * item_table[items]).sum(1)
    worse = (user_table[users] * item_table[others]).sum(1)
    return float((better > worse).mean())


def main() -> None:
    users, items = planted()
    held_out = rng.random(users.size) < 0.2
    train_users, train_items = users[~held_out], items[~held_out]
    known = sparse.csr_array(
        (np.ones(train_users.size), (train_users, train_items)), shape=(USERS, ITEMS)
    )

    U = wp.ParameterNode(rng.normal(scale=0.1, size=(USERS, WIDTH)), name="users")
    V = wp.ParameterNode(rng.normal(scale=0.1, size=(ITEMS, WIDTH)), name="items")
    user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
    negative = wp.sample_uniform(item, ITEMS, known=known, user=user)
    score = U.index(user).vector_dot(V.index(item) - V.index(negative))
    loss = -score.sigmoid().ln()

    tables = [U, V]
    print(f"AUC before {auc(users[held_out], items[held_out], tables):.3f}")
    history = wp.fit(
        loss,
        wp.Adagrad(learning_rate=0.1),
        inputs={user: train_users, item: train_items},
        epochs=20,
        n_jobs=2,
        random_state=0,
    )
    print(f"AUC after  {auc(users[held_out], items[held_out], tables):.3f}")
    first, last = history.losses[0], history.losses[-1]
    print(f"loss {first:.3f} to {last:.3f} with {history.workers} workers, ", end="")
    print(f"{history.samples_per_second:,.0f} examples a second")


if __name__ == "__main__":
    main()
