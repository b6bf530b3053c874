"""Single stars: what is checked at the door, and the likelihood against other ways to have it."""

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import QTable
from scipy import stats as law

import torusimaging as oti
from torusimaging.coordinates import Points
from torusimaging.inference.many import Slopes
from torusimaging.inference.problem import Problem, minus_ln_prior
from torusimaging.labels import StarLabels
from torusimaging.likelihoods.stars import BLOCK, SingleStars, StarPrediction
from torusimaging.units import UnitError

KMS = u.km / u.s


def some_stars(n=40, labels=1, seed=0):
    rng = np.random.default_rng(seed)
    names = ["mg_fe", "fe_h", "age"][:labels]
    return (
        rng.normal(0, 0.3, n) * u.kpc,
        rng.normal(0, 20, n) * KMS,
        {name: rng.normal(0, 0.1, n) for name in names},
        {name: rng.uniform(0.01, 0.03, n) for name in names},
    )


# -- at the door ----------------------------------------------------------------------------


def test_stars_are_kept_as_they_were_given():
    pos, vel, labels, errs = some_stars(labels=2)
    R = np.full(40, 8.2) * u.kpc
    stars = oti.Stars(pos, vel, labels, errs, R=R, frame="made up")
    np.testing.assert_allclose(stars.pos.to_value(u.kpc), pos.value)
    np.testing.assert_allclose(stars.vel.to_value(KMS), vel.value)
    np.testing.assert_array_equal(stars.label[:, 1], labels["fe_h"])
    assert len(stars) == 40 and stars.names == ("mg_fe", "fe_h") and stars.frame == "made up"
    assert stars.left_out == {} and stars.points.Lz is None
    assert "mg_fe, fe_h" in repr(stars)
    back = oti.Stars.from_state(*stars.state())
    np.testing.assert_array_equal(back.label_err, stars.label_err)
    assert back.names == stars.names and back.points.R[3] == stars.points.R[3]


def test_what_is_missing_is_counted():
    pos, vel, labels, errs = some_stars(labels=2)
    pos[0], vel[1] = np.nan, np.inf
    labels["mg_fe"][2] = -9999.0
    labels["fe_h"][2] = np.nan
    labels["mg_fe"][3] = np.nan
    errs["fe_h"][4] = np.nan
    stars = oti.Stars(pos, vel, labels, errs)
    assert stars.left_out == {"no finite pos": 1, "no finite vel": 1, "none of the labels": 1}
    assert np.isnan(stars.label[0, 0]) and np.isnan(stars.label[1, 1])
    assert np.isfinite(stars.label_err).sum() == np.isfinite(stars.label).sum() == 72
    one = stars.only("mg_fe")
    assert len(one) == 36 and one.left_out["no mg_fe"] == 1


def test_a_table_its_file_and_a_simulated_survey_are_stars(tmp_path):
    pos, vel, labels, errs = some_stars()
    table = QTable({"z": pos, "v_z": vel, "mg_fe": labels["mg_fe"], "mg_fe_err": errs["mg_fe"]})
    stars = oti.data.stars_of(table, "mg_fe")
    np.testing.assert_array_equal(stars.label_err[:, 0], errs["mg_fe"])
    with pytest.raises(ValueError, match="labels must name the columns"):
        oti.data.stars_of(table)
    with pytest.raises(ValueError, match="no label 'mgfe'; did you mean 'mg_fe'"):
        oti.data.stars_of(table, ["mgfe"])
    path = oti.data.write_table(tmp_path / "stars.parquet", dict(table.columns))
    on_file = oti.data.stars_of(path, "mg_fe")
    np.testing.assert_array_equal(on_file.label, stars.label)
    np.testing.assert_allclose(on_file.pos.value, stars.pos.value)
    (tmp_path / "stars.csv").write_text(
        "z_kpc,vz_kms,R_kpc,x,x_err\n0.1,10,8,0.2,0.01\n-0.2,-5,8.1,,\n0.3,1,8.2,0.3,0.02\n"
    )
    plain = oti.data.stars_of(str(tmp_path / "stars.csv"), "x")
    assert len(plain) == 2 and plain.left_out == {"no label": 1}
    np.testing.assert_allclose(plain.vel.to_value(KMS), [10, 1])
    np.testing.assert_allclose(plain.points.R, [8, 8.2])
    with pytest.raises(FileNotFoundError):
        oti.data.stars_of(tmp_path / "none.fits", "x")
    more = {"z_err": 0.1 * u.kpc + 0 * pos, "v_z_err": 2 * KMS + 0 * vel}
    more["z_v_z_corr"] = np.full(40, 0.3)
    errors = oti.data.stars_of(QTable(dict(table.columns) | more), "mg_fe").errors
    np.testing.assert_allclose(errors[:, 2], 0.3 * np.sqrt(errors[:, 0] * errors[:, 1]))
    del more["z_v_z_corr"]
    with pytest.raises(
        ValueError, match="has z_err and v_z_err, errors of places, but no z_v_z_co"
    ):
        oti.data.stars_of(QTable(dict(table.columns) | more), "mg_fe")
    del table["v_z"]
    with pytest.raises(ValueError, match="must have a column vel or v_z or vz or"):
        oti.data.stars_of(table, "mg_fe")
    survey = oti.mock.draw_stars(100, seed=1)
    assert oti.data.stars_of(survey).names == ("label",)
    with pytest.raises(ValueError, match="stars must be Stars, what catalog.load returns"):
        oti.data.stars_of(3)


@pytest.mark.parametrize(
    "change, error, text",
    [
        ({"pos": np.zeros(40)}, UnitError, "pos has no unit"),
        ({"vel": np.zeros(40) * u.kpc}, UnitError, "vel must have a unit like"),
        ({"vel": np.zeros(39) * KMS}, ValueError, "equal length, but have: pos 40, vel 39"),
        ({"labels": {"mg_fe": np.zeros(3)}}, ValueError, r"labels\['mg_fe'\] 3"),
        ({"labels": np.zeros(40)}, ValueError, "labels must be a dictionary by name"),
        ({"labels": {}}, ValueError, "labels must"),
        ({"label_errs": {"mgfe": np.zeros(40)}}, ValueError, "no label; did you mean 'mg_fe'"),
        ({"label_errs": {"mg_fe": np.full(40, -0.1)}}, ValueError, "negative, but is for 40 stars"),
        ({"label_errs": {"mg_fe": np.ones(40) * u.Gyr}}, UnitError, "must have the label's unit"),
        ({"labels": {"mg_fe": np.full(40, np.nan)}}, ValueError, "no star is left of 40: 40 with"),
        ({"labels": {"mg_fe": ["a"] * 40}}, ValueError, "must be numbers"),
        ({"R": np.full(40, -8.0) * u.kpc}, ValueError, "R must be positive"),
        ({"R": np.full(40, 8.0) * KMS}, UnitError, "R must have a unit like kpc"),
        ({"frame": 3}, ValueError, "frame must be a Frame"),
        ({"pos": np.full(40, 1e9) * u.kpc}, ValueError, "pos of the stars reaches 1e"),
        ({"Lz": np.full(40, 1900) * u.pc * KMS}, ValueError, "guiding radii from 0.0083 to 0.0083"),
        (
            {"labels": {"x": np.zeros(40), "correlation": np.ones(40)}, "label_errs": None},
            ValueError,
            "must not be named 'correlation'",
        ),
    ],
)
def test_bad_stars_are_refused(change, error, text):
    pos, vel, labels, errs = some_stars()
    given = {"pos": pos, "vel": vel, "labels": labels, "label_errs": errs} | change
    with pytest.raises(error, match=text):
        oti.Stars(**given)


# -- the likelihood -------------------------------------------------------------------------


def a_prediction(n, labels, seed=1):
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(np.array([[1, 0.5, -0.2], [0.5, 1, 0.3], [-0.2, 0.3, 1]]))
    return StarPrediction(
        jnp.asarray(rng.normal(0, 0.1, (labels, n))),
        jnp.asarray(rng.normal(-2.5, 0.2, (labels, n))),
        jnp.asarray(root[:labels, :labels]),
        jnp.asarray(rng.normal(0, 0.1, labels)),
        jnp.asarray(rng.uniform(0.3, 0.5, labels)),
        jnp.asarray(-2.0),
    )


@pytest.mark.parametrize("labels", [1, 2, 3])
def test_pointwise_is_the_mixture_of_normals(labels):
    """scipy's multivariate normal of the labels that a star has, star by star."""
    n = 25
    pos, vel, values, errs = some_stars(n, labels)
    rng = np.random.default_rng(5)
    if labels > 1:
        for name in values:
            values[name][rng.random(n) < 0.3] = np.nan
    stars = oti.Stars(pos, vel, values, errs)
    found = a_prediction(len(stars), labels)
    own = SingleStars.read(stars.columns()).pointwise(found)
    scatter, root = np.exp(found.ln_scatter), np.asarray(found.root)
    chance = 1 / (1 + np.exp(2.0))
    for i in range(len(stars)):
        k = np.flatnonzero(np.isfinite(stars.label[i]))
        wide = np.diag(scatter[:, i]) @ root @ root.T @ np.diag(scatter[:, i])
        wide = (wide + np.diag(np.nan_to_num(stars.label_err[i]) ** 2))[np.ix_(k, k)]
        inlier = law.multivariate_normal(np.asarray(found.mean[:, i])[k], wide)
        sd = np.hypot(np.asarray(found.outlier_sd)[k], stars.label_err[i, k])
        outlier = law.norm(np.asarray(found.outlier_mean)[k], sd)
        p = (1 - chance) * inlier.pdf(stars.label[i, k])
        p += chance * np.prod(outlier.pdf(stars.label[i, k]))
        assert float(own[i]) == pytest.approx(np.log(p), rel=1e-10)


def test_simulated_stars_scatter_as_predicted():
    """The covariance of 200,000 stars is known to half a per cent, a share to 0.001."""
    n = 200_000
    one = a_prediction(1, 3)
    found = one._replace(**{k: jnp.repeat(getattr(one, k), n, 1) for k in ("mean", "ln_scatter")})
    pos, vel, values, errs = some_stars(n, 3)
    likelihood = SingleStars.read(oti.Stars(pos, vel, values).columns())
    rng = np.random.default_rng(3)
    label = likelihood.simulate(found._replace(logit=jnp.asarray(-30.0)), rng)["label"]
    s = np.exp(np.asarray(one.ln_scatter))[:, 0]
    expected = np.diag(s) @ np.asarray(one.root @ one.root.T) @ np.diag(s)
    np.testing.assert_allclose(np.cov(label.T), expected, atol=0.02 * expected.max())
    np.testing.assert_allclose(label.mean(axis=0), one.mean[:, 0], atol=1e-3)
    label = likelihood.simulate(found._replace(logit=jnp.asarray(0.0)), rng)["label"]
    far = np.mean(np.abs(label[:, 0] - float(one.mean[0, 0])) > 5 * s[0])
    own = law.norm(float(one.outlier_mean[0]), float(one.outlier_sd[0]))
    ends = float(one.mean[0, 0]) + 5 * s[0] * np.array([-1, 1])
    assert far == pytest.approx(0.5 * (1 - np.diff(own.cdf(ends))[0]), abs=0.005)


def test_partial_correlations_make_a_correlation():
    label = StarLabels(("a", "b", "c"), (), jnp.zeros(1), jnp.zeros((3, 4)))
    root = np.asarray(
        label.correlation_root({"correlation": jnp.arctanh(jnp.array([0.5, -0.4, 0.7]))})
    )
    c = root @ root.T
    np.testing.assert_allclose(np.diag(c), 1.0)
    assert c[0, 1] == pytest.approx(0.5) and c[0, 2] == pytest.approx(-0.4)
    partial = (c[1, 2] - c[0, 1] * c[0, 2]) / np.sqrt((1 - c[0, 1] ** 2) * (1 - c[0, 2] ** 2))
    assert partial == pytest.approx(0.7)


@pytest.fixture(scope="module")
def fitted():
    survey = oti.mock.draw_stars(3000, seed=2, selection="survey")
    stars = oti.Stars(survey.pos, survey.vel, {"mg_fe": survey.label}, {"mg_fe": survey.label_err})
    return oti.fit_stars(stars, label_knots=4, density_knots=8)


def test_blocks_sum_to_the_whole(fitted):
    """Value and slope of blocks are those of one sum over all stars; filling counts nothing."""
    problem, params = fitted.problem, fitted.problem.model.floats(fitted.params)
    few = problem.likelihood
    assert few.blocks.pos.size % 1024 == 0 and few.weighty.sum() == len(fitted.stars)
    columns = {k: np.concatenate([x] * 6) for k, x in fitted.stars.columns().items()}
    many = SingleStars.read(columns).padded()
    assert many.blocks.pos.shape == (3, BLOCK) and int(many.number) == 6 * len(fitted.stars)
    assert float(few.cost_of(problem.model, params)) * 6 == pytest.approx(
        float(many.cost_of(problem.model, params)), rel=1e-12
    )

    def whole(vals):
        new = params | {"label_params": params["label_params"] | {"label_vals": vals}}
        return -many.ln(many.predict(problem.model, new))

    def parts(vals):
        new = params | {"label_params": params["label_params"] | {"label_vals": vals}}
        return many.cost_of(problem.model, new)

    at = params["label_params"]["label_vals"]
    one, two = (jax.jit(jax.value_and_grad(f))(at) for f in (whole, parts))
    np.testing.assert_allclose(one[0], two[0], rtol=1e-12)
    np.testing.assert_allclose(one[1], two[1], rtol=1e-8, atol=1e-6)
    # Shares, of which the last has a block that is beyond the end, are all of them together.
    shares = [float(many.cost_of(problem.model, params, (k, 2))) for k in range(2)]
    assert sum(shares) == pytest.approx(float(one[0]), rel=1e-12)


def test_curvature_by_differences(fitted):
    """Against second derivatives of the sum over all stars, which has them."""
    problem = fitted.problem
    z = problem.free(fitted.params)

    def plain(z):
        prediction = problem.predict(problem.params(z))
        return -problem.likelihood.ln(prediction) + minus_ln_prior(z, problem)

    exact = np.asarray(jax.jit(jax.hessian(plain))(z))
    found = Slopes(problem, minus_ln_prior).curvature(z)
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    np.testing.assert_allclose(found / scale, exact / scale, atol=1e-5)


@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("density", ["smooth", "free"])
def test_the_series_of_the_radius(density, asymmetric):
    """As good as its docstring says, also beyond the last orbit and at the centre."""
    survey = oti.mock.draw_stars(20_000, seed=4)
    edges = {"pos": np.linspace(-1, 1, 21) * u.kpc, "vel": np.linspace(-60, 60, 21) * KMS}
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, edges, label_err=survey.label_err
    )
    fit = oti.fit_map(binned, density=density, asymmetric=asymmetric)
    foliation = fit.model.foliation(fit.params)
    rng = np.random.default_rng(0)
    points = Points(*(jnp.asarray(rng.normal(0, s, 5000)) for s in (0.5, 0.03)))
    exact, series = foliation.radius(points), foliation.prepared().radius(points)
    near = np.asarray(foliation.speed(points)) < float(foliation.prepared().last)
    assert near.mean() > 0.98
    tolerance = 2e-6 if density == "smooth" else 3e-5
    np.testing.assert_allclose(series[near], exact[near], rtol=tolerance)
    # Beyond the last orbit both are guesses, and alike.
    np.testing.assert_allclose(series, exact, rtol=1e-2)
    centre = Points(foliation.pos0, foliation.vel0)
    assert float(foliation.prepared().radius(centre)) == 0.0


def test_the_problem_of_a_star_label(fitted):
    """A fit's settings make the same model again, and what is no spline is refused."""
    model = fitted.model
    again = type(model).from_settings(model.settings())
    points = Points(*map(jnp.asarray, fitted.stars.points[:2]))
    one, two = (m.label_at(points, model.floats(fitted.params)) for m in (model, again))
    np.testing.assert_array_equal(one, two)
    assert isinstance(again.label, StarLabels)
    mapped = fitted.mapped
    assert mapped.stars is None and mapped.problem.approximate
    assert isinstance(mapped.problem, Problem) and mapped.params["pos0"] == fitted.params["pos0"]
    with pytest.raises(ValueError, match="only a fit of single stars has maps"):
        mapped.map_of("mg_fe")
    with pytest.raises(ValueError, match="name must be one of mg_fe"):
        fitted.map_of("fe_h")


@pytest.mark.parametrize(
    "change, text",
    [
        ({"labels": "fe_h"}, "the stars have no label 'fe_h'"),
        ({"model": "disc"}, "model must be one of"),
        ({"knots": "auto"}, 'knots="auto" is for maps'),
        ({"label_knot": 4}, "no 'label_knot'; did you mean"),
        ({"max_steps": 0}, "max_steps must be a whole number"),
        ({"frame": 7}, "frame must be a Frame"),
    ],
)
def test_bad_options_of_a_fit_are_refused(fitted, change, text):
    with pytest.raises(ValueError, match=text):
        oti.fit_stars(fitted.stars, **change)


def test_labels_that_say_nothing_are_refused():
    survey = oti.mock.draw_stars(2000, seed=5)
    noise = np.random.default_rng(0).normal(size=2000)
    of_height = np.abs(survey.pos.value) + 0.1 * noise
    for label, text in (
        (np.full(2000, 0.1), "'x' is 0.1 in all 2000 stars: it says nothing"),
        (noise, "the label 'x' cannot be used"),
        (of_height, "the label 'x' cannot be used: label must change with vel"),
    ):
        for model in ("potential", "spline"):
            with pytest.raises(ValueError, match=text):
                oti.fit_stars(oti.Stars(survey.pos, survey.vel, {"x": label}), model=model)
    for n in (1, 9):
        few = oti.Stars(survey.pos[:n], survey.vel[:n], {"x": survey.label[:n]})
        with pytest.raises(ValueError, match=f"needs at least 50 stars, but {n} were given"):
            oti.fit_stars(few)
