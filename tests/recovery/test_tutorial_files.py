"""The published tutorial's own calls on the mock's two files, from the join to the force."""

import astropy.coordinates as coord
import astropy.table as at
import astropy.units as u
import gala.dynamics as gd
import numpy as np
import pytest
from gala.units import galactic
from pyia import GaiaData

import torusimaging as oti

KMS = u.km / u.s
# The bits that the tutorial masks.
BITS = {
    "ASPCAPFLAG": [7, 23],
    "STARFLAG": [9, 18, 16, 17, 23],
    "APOGEE_TARGET1": [9, 18, 24, 26],
    "APOGEE_TARGET2": [10, 18],
    "APOGEE2_TARGET1": [9, 18, 20, 21, 22, 23, 24, 26],
    "APOGEE2_TARGET2": [10],
    "APOGEE2_TARGET3": [5, 14, 15],
    "MEMBERFLAG": 0,
}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    return oti.mock.write_apogee(folder, 40_000, seed=6, contamination=0.2)


@pytest.fixture(scope="module")
def sample(survey):
    """The tutorial's selection with Astropy, pyia and gala: places, labels and their errors."""
    t1, t2 = (at.Table.read(path, hdu=1, unit_parse_strict="silent") for path in survey.files)
    t = at.join(t1, t2, keys_left="APOGEE_ID", keys_right="apogee_id", join_type="inner")
    # Whichever row of a star comes first, not that of the highest SNR.
    g = GaiaData(
        at.unique(t, keys="source_id"),
        radial_velocity_colname="VHELIO_AVG",
        radial_velocity_unit=KMS,
    )
    label, error = g.MG_FE.astype(np.float64), g.MG_FE_ERR.astype(np.float64)
    good = np.ones(len(g), dtype=bool)
    for name, bits in BITS.items():
        if isinstance(bits, list):
            good &= (g[name] & np.sum(2 ** np.array(bits))) == 0
        else:
            good &= g[name] == bits
    with pytest.warns(Warning, match="negative parallaxes"):
        sky = g.get_skycoord()
    galcen = sky.transform_to(coord.Galactocentric(galcen_distance=8.3 * u.kpc))
    w0 = gd.PhaseSpacePosition(galcen.data)
    R, v_R = w0.cylindrical.rho, w0.cylindrical.v_rho
    R_g = (np.abs(w0.angular_momentum()[2]) / (229 * KMS)).to(u.kpc)
    mask = (np.abs(R - R_g) < 1.5 * u.kpc) & (np.abs(v_R) < 25 * KMS)
    mask &= (np.abs(R - 8.3 * u.kpc) < 1 * u.kpc) & (np.abs(w0.y) < 1 * u.kpc)
    mask &= np.isfinite(label) & good
    return galcen[mask], np.asarray(label[mask]), np.asarray(error[mask])


@pytest.fixture(scope="module")
def bdata(sample):
    galcen, label, error = sample
    bins = {"pos": np.linspace(-1, 1, 41) * 1.2 * u.kpc, "vel": np.linspace(-1, 1, 41) * 70 * KMS}
    return oti.data.get_binned_label(
        pos=galcen.z.astype("f8"),
        vel=galcen.v_z.astype("f8"),
        label=label,
        label_err=error,
        bins=bins,
        units=galactic,
        s_N_thresh=16,
    )


def test_the_selection_is_the_surveys(survey, sample, bdata):
    """Stars of a missing velocity may stay, as they do there; labels are those of one star each."""
    n = survey.source_id.size
    assert n <= sample[1].size < 1.002 * n
    assert np.abs(sample[1]).max() < 0.7 and sample[2].min() > 0
    # The intrinsic scatter of the mock is 0.06; 20,000 stars know it to 1 %.
    assert float(bdata["s"]) == pytest.approx(0.06, rel=0.05)


def test_it_ends_where_it_should(survey, sample, bdata):
    """The fit's midplane, its force and the stars' actions are the mock's within their errors.

    Such a map's errors are 3 pc and 0.2 pc/Myr in the midplane, and 4 to 7 % in the force: three
    and two of them are allowed.
    """
    model, bounds, init = oti.TorusImaging1DSpline.auto_init(
        bdata,
        label_knots=4,
        e_knots={2: 8, 4: 4},
        label_l2_sigma=1.0,
        label_smooth_sigma=0.5,
        e_l2_sigmas={2: 1.0, 4: 1.0},
        e_smooth_sigmas={2: 0.5, 4: 0.5},
        dacc_strength=1e2,
        e_knots_spacing_power=0.5,
    )
    good = np.isfinite(bdata["label"]) & np.isfinite(bdata["label_err"]) & (bdata["label_err"] > 0)
    clean = {k: bdata[k][good] for k in ("pos", "vel", "label", "label_err")}
    result = model.optimize(init, objective="gaussian", bounds=bounds, **clean)
    assert result.state.success
    assert float(result.params["pos0"]) == pytest.approx(survey.pos0.value, abs=9e-3)
    assert float(result.params["vel0"]) == pytest.approx(survey.vel0.value, abs=6e-4)
    z = [0.3, 0.5, 0.8] * u.kpc
    found = model.get_acceleration(z + survey.pos0, result.params)
    assert np.all(np.abs((found / survey.potential.acceleration(z)).to_value("") - 1) < 0.15)
    galcen = sample[0]
    stars = model.compute_action_angle(galcen.z[:2000], galcen.v_z[:2000], params=result.params)
    inside = np.asarray(stars["flag"]) == 0
    z, v_z = galcen.z[:2000] - survey.pos0, galcen.v_z[:2000] - survey.vel0
    true = survey.potential.action_of(z[inside], v_z[inside])
    assert abs(np.median((stars["J"][inside] / true).to_value("")) - 1) < 0.1
