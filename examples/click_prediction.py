"""Who clicks on which advertisement, when every day brings some never seen before?

Events come day by day; the models first say what they think of a day and then learn
from it. A feature is a word such as "ad=17". Words are hashed to columns, so no list of
them is kept and new ones need no room. Who likes what is planted: a visitor's group has
a taste, and an advertisement a topic. A line adds what each word says by itself, a
factorisation machine also what two of them say together.
"""

import numpy as np
from sklearn.feature_extraction import FeatureHasher
from sklearn.metrics import log_loss

from wyrm_py.models import FactorizationMachine, SparseLinear

DAYS, EVENTS, COLUMNS = 12, 5_000, 2**16
GROUPS, TOPICS, NEW_ADS = 12, 8, 10

rng = np.random.default_rng(0)
taste = rng.normal(0, 1.5, (GROUPS, TOPICS))
topic = rng.integers(TOPICS, size=DAYS * NEW_ADS)  # of each advertisement
appeal = rng.normal(0, 0.5, DAYS * NEW_ADS)


def events(day: int) -> tuple[list[list[str]], np.ndarray]:
    """Return the words of each event of a day, and whether there was a click."""
    group = rng.integers(GROUPS, size=EVENTS)
    ad = rng.integers(max(0, day - 2) * NEW_ADS, (day + 1) * NEW_ADS, size=EVENTS)
    hour = rng.integers(24, size=EVENTS)
    score = taste[group, topic[ad]] + appeal[ad] - 1.0 + 0.5 * (hour > 18)
    words = [
        [f"group={g}", f"ad={a}", f"topic={topic[a]}", f"hour={h}"]
        for g, a, h in zip(group, ad, hour, strict=True)
    ]
    return words, rng.random(EVENTS) < 1 / (1 + np.exp(-score))


def main() -> None:
    hasher = FeatureHasher(COLUMNS, input_type="string", alternate_sign=False)
    models = {
        "line": SparseLinear(optimizer="ftrl", learning_rate=0.1, l1=0.5),
        "machine": FactorizationMachine(width=8, learning_rate=0.1, random_state=0),
    }
    seen = clicked = 0
    print("log loss on a day before learning from it")
    print("day     rate     line  machine")
    for day in range(DAYS):
        words, clicks = events(day)
        X = hasher.transform(words)
        if day:
            rate = np.full(EVENTS, clicked / seen)
            guesses = [rate, *(m.predict_proba(X)[:, 1] for m in models.values())]
            losses = [log_loss(clicks, guess) for guess in guesses]
            print(f"{day:3}" + "".join(f"{loss:9.4f}" for loss in losses))
        for model in models.values():
            model.partial_fit(X, clicks, classes=[False, True])
        seen, clicked = seen + EVENTS, clicked + int(clicks.sum())
    used = np.count_nonzero(models["line"].coef_)
    print(f"The line uses {used} of {COLUMNS} columns.")


if __name__ == "__main__":
    main()
