"""Can an LSTM learn the first hundred digits of pi by heart?

It sees four digits and has to tell the one that follows. An embedding turns digits into
vectors, the LSTM reads them one after another, and a dense layer scores the ten digits
from its last hidden values. The loop over the digits is native code, too.
"""

import wyrm_py as wp
from wyrm_py import nn

PI = (
    "31415926535897932384626433832795028841971693993751"
    "05820974944592307816406286208998628034825342117067"
)
SEEN, EPOCHS = 4, 50


class NextDigit(nn.Layer):
    """Scores of the digit that comes after some others."""

    def __init__(self) -> None:
        self.embedding = nn.Embedding(10, 16, random_state=0)
        self.lstm = nn.LSTM(16, 32, random_state=1)
        self.scores = nn.Dense(32, 10, random_state=2)

    def forward(self, digits: wp.Node) -> wp.Node:
        """Return scores (B, 10) after digits (B, T)."""
        _, (hidden, _) = self.lstm(self.embedding(digits))
        scores: wp.Node = self.scores(hidden)
        return scores


def main() -> None:
    """Train, and print how many digits are told right."""
    windows = wp.data.windows([int(digit) for digit in PI], SEEN, stride=1)
    given, following = windows.records, windows.labels[:, -1]
    model = nn.Model(NextDigit(), nn.losses.cross_entropy, wp.Adam(0.01))

    def accuracy() -> float:
        return wp.evaluation.accuracy(model.predict(given), following)

    print(f"accuracy before {accuracy():.3f}")
    history = model.fit(
        given, following, batch_size=1, epochs=EPOCHS, random_state=0, progress=False
    )
    print(f"accuracy after  {accuracy():.3f}")
    print(f"{EPOCHS} epochs of {len(given)} windows took {history.seconds:.2f} s")


if __name__ == "__main__":
    main()
