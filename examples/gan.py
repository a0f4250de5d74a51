"""Can two networks with opposite aims be trained on one graph?

A generator turns noise into points of a plane, a discriminator tells them from points
of the data (Goodfellow et al., "Generative adversarial nets", 2014). Each has a loss,
an optimizer and a compiled step that moves its own parameters and no others. In the
end the generated points have the mean, the spread and the correlation of the data.
"""

import numpy as np

import wyrm_py as wp
from wyrm_py import nn

BATCH, NOISE, STEPS = 128, 2, 6_000
MEAN, COVARIANCE = (2.0, -1.0), ((1.0, 0.6), (0.6, 0.5))


def describe(points: np.ndarray) -> str:
    """Return what is known about points of shape (N, 2)."""
    (x, y), (dx, dy) = points.mean(axis=0), points.std(axis=0)
    both = np.corrcoef(points.T)[0, 1]
    return f"mean {x:.2f} {y:.2f}  spread {dx:.2f} {dy:.2f}  correlation {both:.2f}"


def main() -> None:
    """Let both play against each other, and look at the points now and then."""
    generator = nn.Sequential(
        nn.Dense(NOISE, 16, "tanh", random_state=0), nn.Dense(16, 2, random_state=1)
    )
    discriminator = nn.Sequential(
        nn.Dense(2, 32, "leaky_relu", random_state=2),
        nn.Dense(32, 32, "leaky_relu", random_state=3),
        nn.Dense(32, 1, random_state=4),
    )
    rng = np.random.default_rng(0)
    noise = wp.InputNode(np.zeros((BATCH, NOISE)))
    real = wp.InputNode(np.zeros((BATCH, 2)))
    fake = generator(noise)
    looks_real = discriminator(fake)
    told = nn.losses.bce_with_logits(discriminator(real), 1.0)
    told = told + nn.losses.bce_with_logits(looks_real, 0.0)
    fooled = nn.losses.bce_with_logits(looks_real, 1.0)

    # The discriminator learns faster than what it judges (Heusel et al., 2017).
    rules = [
        wp.Adam(wp.schedules.Cosine(rate, STEPS), beta1=0.5) for rate in (0.004, 0.001)
    ]
    discriminate = wp.compile(told, rules[0], discriminator.parameters())
    generate = wp.compile(fooled, rules[1], generator.parameters())

    data = rng.multivariate_normal(MEAN, COVARIANCE, 10_000)
    shown = generator(wp.InputNode(rng.standard_normal((2_000, NOISE))))
    print(f"data        {describe(data)}")
    for step in range(STEPS + 1):
        if step % (STEPS // 3) == 0:
            print(f"step {step:6d} {describe(shown.forward().value)}")
        real.set_value(data[rng.integers(len(data), size=BATCH)])
        noise.set_value(rng.standard_normal((BATCH, NOISE)))
        for rule in rules:
            rule.epoch = step
        discriminate()
        generate()


if __name__ == "__main__":
    main()
