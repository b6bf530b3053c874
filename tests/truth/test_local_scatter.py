"""The scatter around each pixel against a search of each pixel's own likelihood, star by star."""

import numpy as np
import pytest
from scipy.optimize import brentq

from torusimaging.data.scatter import PRIOR_STARS, Groups, global_scatter, local_scatter

WIDTH = 3.0
SHAPE = (7, 6)


def draw(kind: str, seed: int):
    """Stars: their pixel, label and error."""
    rng = np.random.default_rng(seed)
    n = 60 if kind == "few stars" else 900
    pixel = rng.integers(0, np.prod(SHAPE), n)
    row, column = np.divmod(pixel, SHAPE[1])
    s = {"steep": 0.02 * 3.0**row, "small": 0.004 * (1 + row)}.get(kind, 0.03 * (1 + row))
    error = {
        "no errors": np.zeros(n),
        "few stars": rng.uniform(0.02, 0.08, n),
        "huge range of errors": np.exp(rng.uniform(np.log(1e-5), np.log(30), n)),
        "small": np.exp(rng.uniform(np.log(0.02), np.log(1), n)),
    }.get(kind, rng.uniform(0.02, 0.12, n))
    label = 0.1 * column + rng.normal(0, np.hypot(s, error))
    if kind == "two kinds of stars":
        label += 0.4 * (rng.random(n) < 0.15 * row)
    if kind == "large numbers":
        label, error = 1e9 + 1e8 * label, 1e8 * error
    return pixel, label, error


def in_groups(pixel, label, error) -> Groups:
    """Every star in a class of its own."""
    n = pixel.size
    count = np.zeros((np.prod(SHAPE), n))
    count[pixel, np.arange(n)] = 1
    count = count.reshape(*SHAPE, n)
    return Groups(count, count * label, np.zeros_like(count), error**2)


def around(here: int) -> np.ndarray:
    """The pixels' weights: those of a Gaussian that ends at four standard deviations."""
    row, column = np.divmod(np.arange(np.prod(SHAPE)), SHAPE[1])
    steps = np.arange(-12, 13)
    kernel = np.exp(-0.5 * (steps / WIDTH) ** 2)
    kernel /= kernel.sum()
    return kernel[row - row[here] + 12] * kernel[column - column[here] + 12]


def search(pixel, label, error, here: int, s: float) -> float:
    """The s of largest likelihood around a pixel: looked for, then where the slope is 0."""
    share, size = around(here), np.prod(SHAPE)
    weight = PRIOR_STARS / (4 * np.pi * WIDTH**2)
    alone = np.bincount(pixel, minlength=size)[pixel] == 1

    def parts(ln_s2):
        w = np.where(alone, 0, 1 / (np.exp(ln_s2) + error**2))
        total = np.bincount(pixel, w, size) + (np.bincount(pixel, w, size) == 0)
        mean = np.bincount(pixel, w * label, size) / total
        return w, total, (label - mean[pixel]) ** 2

    def minus_ln_likelihood(ln_s2):
        w, total, squares = parts(ln_s2)
        stars = np.where(alone, 0, np.log(np.where(alone, 1, w)) - w * squares)
        prior = weight * (np.exp(ln_s2) / s**2 - 1) ** 2
        return -0.5 * np.sum(share[pixel] * stars) + 0.5 * share @ np.log(total) + 0.25 * prior

    def slope(ln_s2):
        w, total, squares = parts(ln_s2)
        stars = np.sum(share[pixel] * (w**2 * squares - w))
        means = share @ (np.bincount(pixel, w**2, size) / total)
        return stars + means + weight * (1 - np.exp(ln_s2) / s**2) / s**2

    grid = np.linspace(2 * np.log(0.05 * s), 2 * np.log(50 * s), 300)
    k = np.argmin([minus_ln_likelihood(x) for x in grid])
    low, high = grid[max(k - 1, 0)], grid[min(k + 1, grid.size - 1)]
    if k == 0 and slope(low) < 0:
        return 0.05 * s
    return np.exp(0.5 * brentq(slope, low, high, xtol=1e-12))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    "kind",
    [
        *("plain", "no errors", "few stars", "huge range of errors", "two kinds of stars"),
        *("steep", "small", "large numbers"),
    ],
)
def test_each_pixels_scatter_is_that_of_its_own_search(kind, seed):
    pixel, label, error = draw(kind, seed)
    groups = in_groups(pixel, label, error)
    s = global_scatter(groups)
    assert s > 0
    found = local_scatter(groups, s, WIDTH).ravel()
    pixels = range(0, found.size, 5)
    want = [search(pixel, label, error, k, s) for k in pixels]
    np.testing.assert_allclose(found[pixels], want, rtol=1e-6)
    assert np.ptp(found) > 0.01 * s


def test_a_scale_of_the_labels_is_one_of_the_scatter():
    """Also where the square of a label is beyond the numbers."""
    groups = in_groups(*draw("plain", 3))
    s = global_scatter(groups)
    plain = local_scatter(groups, s)
    for scale in (1e-140, 1e140):
        large = Groups(*groups[:2], groups.square * scale**2, groups.variance * scale**2)
        large = large._replace(mean=groups.mean * scale)
        np.testing.assert_allclose(local_scatter(large, s * scale), scale * plain, rtol=1e-9)
