"""NUTS ends, with a sentence, where it gets nowhere."""

import jax.numpy as jnp
import numpy as np
import pytest

from torusimaging.inference import sample_nuts
from torusimaging.inference.nuts import TOO_MANY


def ridge(u, narrow):
    """A normal whose sds along the diagonals are 1 and `narrow`: no diagonal mass matrix helps."""
    return -0.25 * ((u[0] + u[1]) ** 2 + ((u[0] - u[1]) / narrow) ** 2)


def needle(u, width):
    """A density that is finite next to its start alone."""
    return jnp.where(jnp.max(jnp.abs(u)) < width, -0.5 * u @ u, -jnp.inf)


def test_a_ridge_that_needs_more_steps_than_a_tree_has():
    done = []
    with pytest.raises(RuntimeError, match="chain 1 gets nowhere: .* leapfrog steps of size"):
        sample_nuts(ridge, 1e-6, jnp.zeros((1, 2)), 0, 40, 4000, lambda p: done.append(p.done))
    assert max(done) < 1000


def test_a_step_size_that_collapses():
    with pytest.raises(RuntimeError, match="gets nowhere"):
        sample_nuts(needle, 1e-30, jnp.zeros((1, 2)), 0, 80, 200)


def test_a_ridge_that_is_only_slow_is_sampled():
    chains = sample_nuts(ridge, 0.02, jnp.zeros((1, 2)), 0, 100, 400)
    assert 20 < chains.steps.mean() < TOO_MANY
    spread = np.std(chains.draws[0] @ np.array([1, -1]))
    # Errors of an sd of 400 draws are 4 % where all are independent.
    assert spread == pytest.approx(np.sqrt(2) * 0.02, rel=0.25)
