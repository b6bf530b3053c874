"""NUTS ends, with a sentence, where it gets nowhere, and says how far it is."""

import jax.numpy as jnp
import numpy as np
import pytest

from torusimaging.inference import sample_nuts
from torusimaging.inference.nuts import COLUMNS, TOO_MANY, _check_work, _Watch


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


def test_a_chain_that_has_learnt_its_scales_goes_on():
    """Draws of whole trees before the last window of the warm-up end no run that is quick since."""
    column = COLUMNS.index("steps")

    def blocks(*steps):
        return [[np.full(20, n)] * column + [np.full(20, n)] for n in steps]

    _check_work(0, blocks(1023, 1023, 1023, 7), 0.5, 0)
    _check_work(0, blocks(7, 7, 7, 1023), 0.5, 0)
    with pytest.raises(RuntimeError, match="a draw takes 1023 leapfrog steps"):
        _check_work(0, blocks(7, 1023, 1023, 1023, 1023), 0.5, 20)


def test_a_ridge_that_is_only_slow_is_sampled():
    chains = sample_nuts(ridge, 0.02, jnp.zeros((1, 2)), 0, 100, 400)
    assert 20 < chains.steps.mean() < TOO_MANY
    spread = np.std(chains.draws[0] @ np.array([1, -1]))
    # Errors of an sd of 400 draws are 4 % where all are independent.
    assert spread == pytest.approx(np.sqrt(2) * 0.02, rel=0.25)


def test_chains_that_wait_for_a_core_do_not_hide_the_effective_sample_size():
    """Two of four chains draw already: the state has their ESS, and is not warming up."""
    told = []
    watch = _Watch(4, 10, 60, told.append)
    rng = np.random.default_rng(0)
    for first, n in ((0, 10), (10, 50)):
        for c in range(2):
            watch.looked = -np.inf  # It does not look twice in a second.
            watch.add(c, first, [rng.normal(size=(n, 3)), np.zeros(n), np.zeros(n, bool)])
    assert told[-1].done == 120 and told[-1].ess > 20 and "ESS" in str(told[-1])
    assert "warming up" in str(told[1])
