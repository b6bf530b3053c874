"""Catalogues: exact counts, coordinates against Astropy and gala, errors against Monte Carlo."""

import astropy.coordinates as coord
import astropy.table as at
import astropy.units as u
import gala.dynamics as gd
import numpy as np
import pytest
from matplotlib.path import Path as Outline

from torusimaging import catalog, mock
from torusimaging.catalog.errors import _jacobian
from torusimaging.catalog.selection import inside
from torusimaging.catalog.surveys.apogee import LOW_ALPHA_HORTA24, TUTORIAL
from torusimaging.catalog.surveys.registry import BITS, SELECTIONS
from torusimaging.mock.apogee import BITS as MOCK_BITS

KMS = u.km / u.s
CATALOGUE = {"preset": "apogee-dr17"}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A mock survey of 6,000 stars in the tutorial's two files."""
    return mock.write_apogee(tmp_path_factory.mktemp("survey"), 6_000, seed=3)


@pytest.fixture(scope="module")
def sample(survey):
    return catalog.load(CATALOGUE | {"files": [str(f) for f in survey.files]})


def test_each_cut_removes_exactly_the_stars_with_its_fault(survey, sample):
    flow = sample.flow
    bits = {k: n for k, n in survey.removed.items() if isinstance(k, tuple)}
    for (flag, bit), expected in bits.items():
        names = {n: name for name, n in BITS[flag].items()} if bit != "any" else {"any": "any"}
        assert flow[f"{flag} {names[bit]}"].removed == expected, (flag, bit)
    for name, fault in (
        ("parallax > 0", "parallax"),
        ("pmra measured", "proper motion"),
        ("radial velocity measured", "velocity"),
        ("7.3 < R < 9.3 kpc", "R"),
        ("|y| < 1 kpc", "y"),
        ("|R - R_g| < 1.5 kpc", "dR"),
        ("|v_R| < 25 km / s", "vR"),
        ("MG_FE measured", "label"),
    ):
        assert flow[name].removed == survey.removed[fault] > 0, name
    assert flow["MG_FE_ERR measured"].removed == 0
    rows = [step.left for step in flow][:4]
    assert rows == [
        survey.rows["allstar"],
        survey.rows["joined"],
        survey.rows["joined"],
        survey.rows["unique"],
    ]


def test_the_stars_and_labels_are_the_right_ones(survey, sample):
    order = np.argsort(sample.stars.columns["source_id"])
    np.testing.assert_array_equal(sample.stars.columns["source_id"][order], survey.source_id)
    # Rows of lower SNR, and the second of equal ones, have labels of their own.
    np.testing.assert_array_equal(sample.label[order], survey.label)
    # Errors of parallax and motion, in units of those stated: a normal has 1 and 3 within 0.05.
    for true, found, error in (
        (survey.z, sample.places.z, sample.errors.z),
        (survey.v_z, sample.places.v_z, sample.errors.v_z),
    ):
        pull = ((found[order] - true) / error[order]).to_value("")
        assert abs(np.std(pull) - 1) < 0.05 and abs(np.mean(pull)) < 0.06


def test_the_mocks_errors_are_positive_and_second_observations_plausible(survey):
    """Pulls between two spectra of a star are of unit width: 190 pairs know it to 5 %."""
    table = at.Table.read(survey.allstar, hdu=1, unit_parse_strict="silent")
    gaia = at.Table.read(survey.gaia, hdu=1)
    errors = [name for name in table.colnames if name.endswith(("_ERR", "_ERROR", "VERR"))]
    errors += [name for name in ("SNR", "SNREV", "VSCATTER", "NVISITS", "GAIAEDR3_R_MED_GEO")]
    assert len(errors) > 30
    for name in errors:
        values = np.asarray(table[name], dtype=float)
        assert np.nanmin(values) > 0, name
    for name in gaia.colnames:
        if name.endswith("_error") and name != "radial_velocity_error":
            assert np.min(gaia[name]) > 0, name
    assert np.nanmax(np.abs(table["MG_FE"])) < 0.7
    table.sort(["GAIAEDR3_SOURCE_ID", "SNR"], reverse=True)
    same = table["GAIAEDR3_SOURCE_ID"][1:] == table["GAIAEDR3_SOURCE_ID"][:-1]
    best, second = table[:-1][same], table[1:][same]
    assert np.mean(second["SNR"] < 0.9 * best["SNR"]) > 0.4
    for name, error in (
        *((n, f"{n}_ERR") for n in ("MG_FE", "FE_H", "TEFF", "LOGG")),
        ("VHELIO_AVG", "VERR"),
    ):
        pull = (best[name] - second[name]) / np.hypot(best[error], second[error])
        pull = pull[np.isfinite(pull) & (best[name] != -9999)]
        assert pull.size > 150
        assert abs(np.std(pull) - 1) < 0.2 and abs(np.mean(pull)) < 0.25, name


def test_the_tutorials_own_way_selects_the_same_stars(survey, sample):
    """astropy.table, pyia and gala, as the published tutorial uses them."""
    from pyia import GaiaData

    t1, t2 = (at.Table.read(f, hdu=1, unit_parse_strict="silent") for f in survey.files)
    joined = at.join(t1, t2, keys_left="APOGEE_ID", keys_right="apogee_id", join_type="inner")
    assert len(joined) == survey.rows["joined"]
    joined.sort(["source_id", "SNR"])
    unique = at.unique(joined, keys="source_id", keep="last")
    g = GaiaData(
        unique.filled(np.nan) if unique.masked else unique,
        radial_velocity_colname="VHELIO_AVG",
        radial_velocity_unit=KMS,
    )
    mask = np.ones(len(g), dtype=bool)
    for flag, bits in MOCK_BITS.items():
        mask &= (g[flag] & np.sum(2 ** np.array(bits))) == 0
    mask &= g["MEMBERFLAG"] == 0
    velocity = np.where(g["VHELIO_AVG"].value == -9999, np.nan, g["VHELIO_AVG"].value) * KMS
    parallax = np.where(g.parallax.value > 0, g.parallax.value, np.nan) * u.mas
    c = coord.SkyCoord(
        ra=g.ra,
        dec=g.dec,
        distance=coord.Distance(parallax=parallax),
        pm_ra_cosdec=g.pmra,
        pm_dec=g.pmdec,
        radial_velocity=velocity,
    )
    galcen = c.transform_to(coord.Galactocentric(galcen_distance=8.3 * u.kpc))
    w0 = gd.PhaseSpacePosition(galcen.data)
    R, v_R = w0.cylindrical.rho, w0.cylindrical.v_rho
    R_g = (np.abs(w0.angular_momentum()[2]) / (229 * KMS)).to(u.kpc)
    mask &= (np.abs(R - 8.3 * u.kpc) < 1 * u.kpc) & (np.abs(w0.y) < 1 * u.kpc)
    mask &= (np.abs(R - R_g) < 1.5 * u.kpc) & (np.abs(v_R) < 25 * KMS)
    mask &= np.isfinite(np.asarray(g["MG_FE"]))
    # Ties in SNR are resolved by the order of rows, which sorting loses: same stars all the same.
    np.testing.assert_array_equal(np.sort(np.asarray(g["source_id"])[mask]), survey.source_id)
    assert mask.sum() == sample.flow["MG_FE measured"].left


def test_the_joined_table_goes_into_pyia_and_gives_the_same_coordinates(survey):
    from pyia import GaiaData

    stars = catalog.read_apogee(*survey.files)
    stars.apply(catalog.measured(stars))
    table = stars.table
    assert isinstance(table, at.Table) and not table.masked
    g = GaiaData(table, radial_velocity_colname="VHELIO_AVG", radial_velocity_unit=KMS)
    there = g.get_skycoord().transform_to(catalog.FRAMES["tutorial"].astropy)
    columns = [
        stars.quantity(k) for k in ("ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity")
    ]
    ours = catalog.to_galactocentric(catalog.FRAMES["tutorial"], *columns)
    # Relative to the Sun's distance and speed, of which small coordinates are differences.
    np.testing.assert_allclose(ours.z.value, there.z.to_value(u.kpc), atol=8.3e-12, rtol=0)
    np.testing.assert_allclose(ours.v_z.value, there.v_z.to_value(KMS), atol=2.5e-10, rtol=0)


@pytest.fixture
def sky():
    """2,000 stars all over the sky, some at the poles, 0.1 to 10 kpc away."""
    rng = np.random.default_rng(1)
    n = 2_000
    dec = np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))
    return {
        "ra": rng.uniform(0, 360, n) * u.deg,
        "dec": dec * u.deg,
        "distance": rng.uniform(0.1, 10, n) * u.mas,
        "pmra": rng.normal(0, 8, n) * u.mas / u.yr,
        "pmdec": rng.normal(0, 8, n) * u.mas / u.yr,
        "radial_velocity": rng.normal(0, 60, n) * KMS,
    }


@pytest.mark.parametrize("name", ["tutorial", "horta24", "turned"])
def test_coordinates_are_astropys_and_galas(sky, name):
    turned = catalog.Frame(
        8 * u.kpc, 15 * u.pc, (11, 240, 7) * KMS, 260 * u.deg, -20 * u.deg, 30 * u.deg
    )
    frame = catalog.FRAMES.get(name, turned)
    ours = catalog.to_galactocentric(frame, **sky)
    c = coord.SkyCoord(
        ra=sky["ra"],
        dec=sky["dec"],
        distance=coord.Distance(parallax=sky["distance"]),
        pm_ra_cosdec=sky["pmra"],
        pm_dec=sky["pmdec"],
        radial_velocity=sky["radial_velocity"],
    ).transform_to(frame.astropy)
    w = gd.PhaseSpacePosition(c.data).cylindrical
    # 1e-12 of the largest value: each coordinate is a sum with terms of that size.
    for found, expected, unit in (
        (ours.x, c.x, u.kpc),
        (ours.y, c.y, u.kpc),
        (ours.z, c.z, u.kpc),
        (ours.v_x, c.v_x, KMS),
        (ours.v_y, c.v_y, KMS),
        (ours.v_z, c.v_z, KMS),
        (ours.R, w.rho, u.kpc),
        (ours.v_R, w.v_rho, KMS),
        (ours.v_phi, (w.pm_phi * w.rho).to(KMS, u.dimensionless_angles()), KMS),
    ):
        a, b = found.to_value(unit), expected.to_value(unit)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max())
    turn = np.angle(np.exp(1j * (ours.phi.to_value(u.rad) - w.phi.to_value(u.rad))))
    # The angle of a star at R is good to the rounding of x and y over R.
    assert np.all(np.abs(turn) < 1e-12 * 10 / ours.R.value)


def test_frames_round_trip_and_presets_are_the_published_ones():
    for frame in catalog.FRAMES.values():
        assert catalog.Frame.from_dict(frame.as_dict()) == frame
    with coord.galactocentric_frame_defaults.set("v4.0"):
        default = coord.Galactocentric(galcen_distance=8.3 * u.kpc)
    ours = catalog.FRAMES["tutorial"].astropy
    assert ours.is_equivalent_frame(default)
    assert "8.275 kpc" in str(catalog.FRAMES["horta24"])


def test_errors_are_those_of_monte_carlo(sky):
    """200,000 draws of one star's observables: 0.5 % on errors, 0.01 on the correlation."""
    rng = np.random.default_rng(5)
    frame = catalog.FRAMES["tutorial"]
    for k in (0, 1, 2, 3):
        star = {name: q[k : k + 1] for name, q in sky.items()}
        star["distance"] = 1.2 * u.mas * np.ones(1)
        sigma = {
            "ra": 0.2 * u.mas,
            "dec": 0.3 * u.mas,
            "parallax": 0.012 * u.mas,
            "pmra": 0.02 * u.mas / u.yr,
            "pmdec": 0.03 * u.mas / u.yr,
            "radial_velocity": 0.1 * KMS,
        }
        rho = {"parallax_pmra_corr": 0.4, "parallax_pmdec_corr": -0.3, "pmra_pmdec_corr": 0.5}
        found = catalog.vertical_errors(
            frame, **star, errors=sigma, correlations={n: np.full(1, r) for n, r in rho.items()}
        )
        C = np.eye(6)
        names = list(sigma)
        for name, r in rho.items():
            i, j = (names.index(n) for n in name.removesuffix("_corr").split("_"))
            C[i, j] = C[j, i] = r
        noise = rng.multivariate_normal(np.zeros(6), C, 200_000, method="cholesky").T
        moved = dict(star)
        for row, (name, s) in zip(noise, sigma.items(), strict=True):
            key = "distance" if name == "parallax" else name
            shift = row * s
            if name == "ra":
                shift = shift / np.cos(star["dec"])
            moved[key] = star[key] + shift
        drawn = catalog.to_galactocentric(frame, **moved)
        z, v_z = drawn.z.value, drawn.v_z.value
        # 200,000 draws know an error to 0.16 %; 1 % in parallax curves it by less than 0.1 %.
        assert found.z.value[0] == pytest.approx(np.std(z), rel=6e-3)
        assert found.v_z.value[0] == pytest.approx(np.std(v_z), rel=6e-3)
        assert found.correlation[0] == pytest.approx(np.corrcoef(z, v_z)[0, 1], abs=0.01)


@pytest.mark.parametrize("kind", ["parallax", "distance"])
def test_derivatives_are_those_of_finite_differences(sky, kind):
    frame = catalog.FRAMES["horta24"]
    star = dict(sky)
    if kind == "distance":
        star["distance"] = sky["distance"].to(u.kpc, u.parallax())
    plain = [star[k].to_value(unit) for k, unit in (("ra", u.rad), ("dec", u.rad))]
    plain.append(star["distance"].to_value(u.kpc, u.parallax()))
    plain += [star[k].value for k in ("pmra", "pmdec", "radial_velocity")]
    J = _jacobian(frame.affine[0][2:].repeat(3, 0), kind == "parallax", *plain)
    steps = {
        "ra": 1e-4 * u.deg,
        "dec": 1e-4 * u.deg,
        "distance": 1e-4 * star["distance"],
        "pmra": 1e-2 * u.mas / u.yr,
        "pmdec": 1e-2 * u.mas / u.yr,
        "radial_velocity": 1e-2 * KMS,
    }
    for i, (name, step) in enumerate(steps.items()):
        moved = step / np.cos(star["dec"]) if name == "ra" else step
        up = catalog.to_galactocentric(frame, **(star | {name: star[name] + moved}))
        down = catalog.to_galactocentric(frame, **(star | {name: star[name] - moved}))
        unit = u.mas if name in ("ra", "dec") else step.unit
        width = 2 * (step * np.ones(1)).to_value(unit)
        near_pole = np.abs(star["dec"].value) > 80
        for row, a, b in ((0, up.z, down.z), (1, up.v_z, down.v_z)):
            expected = (a - b).value / width
            # Second differences leave 1e-8; near the poles da = d ra cos(dec) is no small turn.
            scale = np.abs(expected[~near_pole]).max()
            np.testing.assert_allclose(
                J[row, i][~near_pole], expected[~near_pole], rtol=1e-6, atol=2e-6 * scale
            )


def test_guiding_radii():
    """Flat: L / v; sloped: the circular orbit has the star's L; published: v at the star."""
    rng = np.random.default_rng(2)
    R, L = rng.uniform(5, 12, 500) * u.kpc, -rng.uniform(900, 2800, 500) * u.kpc * KMS
    flat = catalog.RotationCurve(229 * KMS).guiding_radius(L)
    np.testing.assert_allclose(flat.value, np.abs(L.value) / 229, rtol=1e-14)
    curve = catalog.RotationCurve(229 * KMS, -1.7 * KMS / u.kpc, 8.275 * u.kpc)
    R_g = curve.guiding_radius(L)
    np.testing.assert_allclose((R_g * curve.speed(R_g)).value, np.abs(L.value), rtol=1e-12)
    published = SELECTIONS["horta24"].rotation.guiding_radius(L, R)
    np.testing.assert_allclose(
        published.value, np.abs(L.value) / (229 - 1.7 * (R.value - 8.275)), rtol=1e-14
    )
    # A curve that is zero at 2 kpc: the star without angular momentum rests there.
    late = catalog.RotationCurve(240 * KMS, 40 * KMS / u.kpc, 8 * u.kpc)
    R_g = late.guiding_radius(np.array([0.0, 10.0, -1900.0]) * u.kpc * KMS)
    assert R_g[0] == 2 * u.kpc
    np.testing.assert_allclose((R_g * late.speed(R_g)).value, [0, 10, 1900], atol=1e-9)
    # A curve that falls too fast has no circular orbit of a large L.
    steep = catalog.RotationCurve(229 * KMS, -20 * KMS / u.kpc, 8.275 * u.kpc)
    assert np.isnan(steep.guiding_radius(9000 * u.kpc * KMS))


def test_polygons_are_matplotlibs_and_the_low_alpha_region_the_published_one():
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-1, 0.8, 20_000), rng.uniform(-0.4, 0.4, 20_000)
    found = inside(LOW_ALPHA_HORTA24, x, y)
    outline = Outline(np.array([*LOW_ALPHA_HORTA24, LOW_ALPHA_HORTA24[0]]))
    np.testing.assert_array_equal(found, outline.contains_points(np.column_stack([x, y])))
    line = 0.12 - 0.167 * x
    published = (
        ((x > -0.8) & (x < -0.4) & (y < 0.185))
        | ((x > -0.4) & (x < -0.05) & (y < line))
        | ((x > -0.05) & (x < 0.6) & (y < 0.12))
    )
    np.testing.assert_array_equal(found, published)


def test_the_tutorials_bits_are_its_numbers():
    for flag, numbers in MOCK_BITS.items():
        assert tuple(catalog.bit(flag, name) for name in TUTORIAL[flag]) == numbers
