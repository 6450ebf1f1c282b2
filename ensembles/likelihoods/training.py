"""How members are trained where the loss is no square and the user names no trainer."""

from __future__ import annotations

from ensembles.trainers.adam import Adam, adam

SMALL_DATA = 512


def first_order_trainer(n_points: int) -> Adam:
    """Return Adam for a loss that the second-order trainer does not take.

    Chosen on held-out training rows: benchmarks/class_defaults.py.

    Args:
        n_points: number of training rows.

    Returns:
        200 steps of 64 rows for up to 512 rows; for more, 20 epochs, 1,000 to 5,000 steps.
    """
    if n_points <= SMALL_DATA:
        return adam(steps=200, batch_size=64)
    batch_size = 128 if n_points < 20_000 else 1024
    return adam(steps=max(1000, min(20 * n_points // batch_size, 5000)), batch_size=batch_size)
