"""Stars whose places have errors: the density that tells where they are, nodes, and a_z."""

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.catalog.errors import VerticalErrors
from torusimaging.data.mixture import WEIGHTS, Mixture, nodes
from torusimaging.likelihoods.stars import SingleStars
from torusimaging.units import UnitError

KMS = u.km / u.s


def two_normals(n, seed=0):
    """Places drawn of two normals, seen with errors that differ from star to star."""
    rng = np.random.default_rng(seed)
    wide = rng.random(n) < 0.3
    place = rng.standard_normal((2, n)) * np.where(wide, [[0.8], [0.04]], [[0.25], [0.02]])
    sd = rng.uniform(0.1, 0.4, n), rng.uniform(0.01, 0.03, n)
    errors = np.stack([sd[0] ** 2, sd[1] ** 2, 0.5 * sd[0] * sd[1]], axis=1)
    one, two = rng.standard_normal((2, n))
    noise = sd[0] * one, sd[1] * (0.5 * one + np.sqrt(0.75) * two)
    return place, place + noise, errors


def test_the_density_is_freed_of_errors():
    """Of 20,000 stars: variances of the truth, and not of what is seen."""
    place, seen, errors = two_normals(20_000)
    found = Mixture.fitted(*seen, errors)
    mean = found.weights @ found.means
    spread = found.weights @ (found.means**2 + found.spreads[:, :2]) - mean**2
    true = place.var(axis=1)
    np.testing.assert_allclose(spread, true, rtol=0.05)
    assert np.all(seen.var(axis=1) > 1.1 * true)
    assert found.weights.sum() == pytest.approx(1.0)
    again = Mixture.of_table(found.table())
    np.testing.assert_array_equal(again.spreads, found.spreads)


def test_true_places_are_those_of_the_sum_over_normals():
    """Mean and covariance of prior times error, against sums on a fine grid."""
    mixture = Mixture(
        np.array([0.6, 0.4]),
        np.array([[0.1, 0.0], [-0.3, 0.2]]),
        np.array([[0.09, 0.04, 0.01], [0.5, 0.3, -0.1]]),
    )
    seen, errors = np.array([0.4, 0.3]), np.array([[0.08, 0.05, 0.02]])
    mean, spread = mixture.true_places(seen[:1], seen[1:], errors)
    axis = np.linspace(-4, 4, 801)
    x = np.stack(np.meshgrid(axis, axis, indexing="ij"))

    def normal(middle, three):
        cov = np.array([[three[0], three[2]], [three[2], three[1]]])
        off = x - np.reshape(middle, (2, 1, 1))
        chi2 = np.einsum("iab,ij,jab->ab", off, np.linalg.inv(cov), off)
        return np.exp(-0.5 * chi2) / np.sqrt(np.linalg.det(cov))

    prior = sum(w * normal(m, s) for w, m, s in zip(*mixture, strict=True))
    p = prior * normal(seen, errors[0])
    p /= p.sum()
    middle = np.einsum("ab,iab->i", p, x)
    np.testing.assert_allclose(mean[:, 0], middle, atol=1e-8)
    off = x - middle[:, None, None]
    second = [(p * off[i] * off[j]).sum() for i, j in ((0, 0), (1, 1), (0, 1))]
    np.testing.assert_allclose(spread[:, 0], second, atol=1e-8)


def test_nodes_have_the_moments_of_their_normal():
    """All moments up to the fifth; also where one coordinate is exact."""
    mean = np.array([[0.3, 0.0, 1.0], [0.1, 2.0, -1.0]])
    spread = np.array([[0.5, 0.0, 0.2], [0.3, 0.4, 0.0], [-0.2, 0.0, 0.0]])
    places = nodes(mean, spread)
    np.testing.assert_allclose(np.einsum("q,iqn->in", WEIGHTS, places), mean, atol=1e-14)
    off = places - mean[:, None]
    for k, (i, j) in enumerate(((0, 0), (1, 1), (0, 1))):
        np.testing.assert_allclose(WEIGHTS @ (off[i] * off[j]), spread[k], atol=1e-14)
    np.testing.assert_allclose(WEIGHTS @ off[0] ** 4, 3 * spread[0] ** 2, atol=1e-14)
    np.testing.assert_allclose(WEIGHTS @ (off[0] * off[1] ** 2), 0, atol=1e-14)


@pytest.fixture(scope="module")
def survey():
    return oti.mock.draw_stars(20_000, seed=21, selection="survey")


def seen_at(survey, size, seed=0):
    """The survey with distances that are wrong by a share: heights and proper motions move."""
    rng = np.random.default_rng(seed)
    off = 1 + size * rng.standard_normal(len(survey))
    z, v = survey.pos * off, survey.vel * off
    covariance = (size * z) ** 2, (size * v) ** 2, size**2 * z * v
    return oti.Stars(z, v, {"x": survey.label}, {"x": survey.label_err}, covariance=covariance)


def test_exact_places_are_the_limit_of_small_errors(survey):
    """Errors of a millionth change no likelihood beyond 1e-6, value or slope."""
    few = seen_at(survey, 1e-6).where(np.arange(len(survey)) < 3000, "not drawn")
    fit = oti.fit_stars(few, density_knots=6, label_knots=4)
    columns = fit.stars.columns()
    one = SingleStars.read(columns).padded()
    columns.pop("crowd")
    two = SingleStars.read(columns).padded()
    assert one.blocks.node_pos is not None and two.blocks.node_pos is None

    def cost(likelihood):
        def of(ln):
            label = fit.params["label_params"] | {"ln_scatter": ln}
            params = fit.params | {"label_params": label}
            return likelihood.cost_of(fit.model, jax.tree.map(jnp.asarray, params))

        return jax.value_and_grad(of)(jnp.asarray(fit.params["label_params"]["ln_scatter"]))

    (a, da), (b, db) = cost(one), cost(two)
    np.testing.assert_allclose(a, b, rtol=1e-6)
    np.testing.assert_allclose(da, db, rtol=1e-4, atol=1e-3)
    # In one sum, too, and for draws of labels.
    prediction = one.predict(fit.model, fit.model.floats(fit.params))
    np.testing.assert_allclose(-one.ln(prediction), a, rtol=1e-10)
    drawn = SingleStars.read(fit.stars.columns())
    label = drawn.simulate(
        drawn.predict(fit.model, fit.model.floats(fit.params)), np.random.default_rng(0)
    )["label"]
    assert label.shape == fit.stars.label.shape
    assert np.std(label) == pytest.approx(np.std(fit.stars.label), rel=0.05)


def test_distance_errors_of_a_tenth(survey, tmp_path):
    """a_z within 3.5 sd of the truth, an honest chi^2, and a file that holds the errors."""
    stars = seen_at(survey, 0.1)
    stars.distance_err = np.full(len(stars), 0.1)
    fit = oti.fit_stars(stars).laplace(num_draws=1000)
    z = np.array([0.1, 0.3, 0.6, 1.0]) * u.kpc
    table = oti.profiles(fit, z)
    true = [survey.potential.acceleration(x) for x in z.value] * u.kpc / u.Myr**2
    sd = (table["a_z_p84"] - table["a_z_p16"]) / 2
    assert np.max(np.abs((table["a_z_median"] - true) / sd).to_value("")) < 3.5
    assert 0.8 < fit.mapped.chi2_per_pixel < 1.25
    assert not any("of the height itself" in problem for problem in fit.problems)
    back = oti.load(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(back.stars.errors, fit.stars.errors)
    np.testing.assert_array_equal(back.stars.distance_err, fit.stars.distance_err)
    np.testing.assert_allclose(back.stars.crowd.means, fit.stars.crowd.means)
    one, two = (f.problem.likelihood.cost_of(f.model, fit.params) for f in (fit, back))
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_errors_of_distances_have_their_own_law():
    """Mean and sd of true heights over a disc, with errors of a quarter, against the drawn ones.

    Of 200,000 stars seen between two heights the mean is known to 0.3 %; a covariance of one size
    puts them 10 % nearer to the plane.
    """
    rng = np.random.default_rng(4)
    n, f = 1_000_000, 0.25
    z, v = rng.normal(0, 0.4, n), rng.normal(0, 0.02, n)
    off = 1 + f * rng.standard_normal(n)
    z, v, off = (x[off > 0.25] for x in (z, v, off))
    seen = z * off
    some = (np.abs(seen) > 0.5) & (np.abs(seen) < 0.7)
    mixture = Mixture(np.ones(1), np.zeros((1, 2)), np.array([[0.16, 4e-4, 0.0]]))
    errors = np.stack([(f * seen) ** 2, 0 * z, 0 * z], axis=1)[some]
    shares = np.full(some.sum(), f)
    mean, spread = mixture.true_places(seen[some], v[some], errors, shares)
    side = np.sign(seen[some])
    true = (side * z[some]).mean()
    assert (side * mean[0]).mean() == pytest.approx(true, rel=0.01)
    chi2 = np.mean((z[some] - mean[0]) ** 2) / np.mean(spread[0])
    assert chi2 == pytest.approx(1.0, abs=0.02)
    plain = (side * mixture.true_places(seen[some], v[some], errors)[0][0]).mean()
    assert plain < 0.95 * true
    every = np.stack([(f * seen) ** 2, 0 * z, 0 * z], axis=1)
    found = Mixture.fitted(seen, v, every, np.full(z.size, f))
    sd = np.sqrt(found.weights @ (found.spreads[:, 0] + found.means[:, 0] ** 2))
    assert sd == pytest.approx(0.4, rel=0.08)


def test_larger_distance_errors_are_named(survey):
    """A covariance of one size is not what an error of a fifth of the distance is."""
    few = seen_at(survey, 0.2).where(np.arange(len(survey)) < 3000, "not drawn")
    fit = oti.fit_stars(few, density_knots=6, label_knots=4)
    assert any("Errors of pos are 20 % of the height itself" in text for text in fit.problems)


def test_bad_covariances_are_refused(survey):
    few = slice(0, 50)
    pos, vel, label = survey.pos[few], survey.vel[few], {"x": survey.label[few]}
    one, two = np.full(50, 0.01) * u.kpc**2, np.full(50, 4.0) * KMS**2
    both = np.zeros(50) * u.kpc * KMS

    def stars(*covariance):
        return oti.Stars(pos, vel, label, covariance=covariance)

    assert stars(one, two, both).errors.shape == (50, 3)
    off = both.copy()
    off[[17, 30]] = 1.0 * u.kpc * KMS
    with pytest.raises(ValueError, match="for 2 of 50 stars, the first of them number 17"):
        stars(one, two, off)
    with pytest.raises(ValueError, match="must be positive definite, but is not for 50 of 50"):
        stars(-one, two, both)
    with pytest.raises(ValueError, match="errors of pos .* are as large as the stars' spread"):
        stars(one * 1e4, two, both)
    with pytest.raises(ValueError, match="three quantities, the variance of pos"):
        stars(one, two)
    with pytest.raises(UnitError, match="covariance of vel"):
        stars(one, one, both)
    with pytest.raises(ValueError, match="equal length"):
        stars(one[:9], two, both)
    with pytest.raises(ValueError, match="distance_err needs the covariance"):
        oti.Stars(pos, vel, label, distance_err=np.full(50, 0.1))
    with pytest.raises(ValueError, match="relative errors from 0 to 0.5, but is 10 "):
        oti.Stars(pos, vel, label, covariance=(one, two, both), distance_err=np.full(50, 10))
    lost = one.copy()
    lost[0] = np.nan
    assert stars(lost, two, both).left_out == {"no finite covariance": 1}
    survey_errors = VerticalErrors(one**0.5, two**0.5, np.full(50, 0.3))
    same = oti.Stars(pos, vel, label, covariance=survey_errors)
    root = np.sqrt(same.errors[:, 0] * same.errors[:, 1])
    np.testing.assert_allclose(same.errors[:, 2] / root, 0.3)
