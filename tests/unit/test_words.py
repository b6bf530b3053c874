"""Frames and labels in users' words."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti
from torusimaging.coordinates import doubt_of_label, sun_of

FRAME = oti.catalog.FRAMES["tutorial"]


@pytest.mark.parametrize(
    ("text", "z", "v_z", "unread"),
    [
        (str(FRAME), 20.8, 7.78, None),
        ("z_sun = 0.0208 kpc", 20.8, None, None),
        ("R0 = 8.3 kpc; v_z_sun = 7.25 km/s", None, 7.25, None),
        ("the Sun's own", None, None, None),
        ("z_sun = 20.8", None, None, "z_sun is not stated as a number below 1000 pc"),
        ("z_sun = nan pc", None, None, "z_sun is not stated as a number"),
        ("z_sun = 8.3 kpc", None, None, "z_sun is not stated as a number"),
        ("z_sun = 20.8 pc, Z_SUN = 500 pc", None, None, "z_sun is stated twice"),
        ("z_sun = 20.8 pc (Bennett & Bovy 2019)", 20.8, None, None),
        ("z_sun = 20.8 pc and v_sun = [12.9, 245.6, 7.78] km/s", 20.8, 7.78, None),
        ("v_sun = (1, 2, 7) km/s, v_z_sun = 90 km/s", None, None, "stated twice"),
        ("z_sun = 20,8 pc", None, None, "z_sun is not stated"),
        ("v_sun = (1, 2) km / s", None, None, "three speeds"),
        ("z_sun of Bennett & Bovy", None, None, "z_sun is not stated"),
    ],
)
def test_the_sun_in_a_frame(text, z, v_z, unread):
    sun = sun_of(text)
    assert sun.z == (None if z is None else pytest.approx(z))
    assert sun.v_z == (None if v_z is None else pytest.approx(v_z))
    assert (sun.unread is None) if unread is None else (unread in sun.unread)


def test_the_sun_in_the_table(tmp_path):
    """Its height is that in the frame minus pos0, with the errors turned round; files keep it."""
    survey = oti.mock.draw_stars(30_000, seed=1, midplane=(-10 * u.pc, 1 * u.km / u.s))
    bins = {"pos": np.linspace(-1, 1, 31) * u.kpc, "vel": np.linspace(-60, 60, 31) * u.km / u.s}
    binned = oti.data.get_binned_label(
        survey.pos, survey.vel, survey.label, bins, label_err=survey.label_err
    )
    path = oti.data.write_map(binned, tmp_path / "map.csv", frame=str(FRAME))
    fit = oti.fit_map(oti.data.read_map(path), model="spline").laplace()
    again = oti.load(fit.save(tmp_path / "fit.nc"))
    for one in (fit, again, oti.fit_map(binned, FRAME, model="spline").laplace()):
        rows = {row["quantity"]: row for row in one.derived()}
        pos0, sun = rows["pos0"], rows["z_sun above midplane"]
        for a, b in (("median", "median"), ("p16", "p84"), ("p84", "p16")):
            assert sun[a] == pytest.approx(20.8 - pos0[b])
        assert rows["v_z,sun"]["median"] == pytest.approx(7.78 - rows["vel0"]["median"])
    assert abs(rows["z_sun above midplane"]["median"] - 30.8) < 10
    text = oti.report.describe(fit)
    assert "pc above the fitted midplane" in text and "It moves up at" in text
    words = oti.fit_map(binned, "z_sun = 20.8", model="spline")
    assert "kept as words: z_sun is not stated as a number" in oti.report.describe(words)
    with pytest.raises(ValueError, match="frame must be a Frame or the frame in words"):
        oti.fit_map(binned, 8.3)


@pytest.mark.parametrize("name", ["LOGG", "log_g", "Teff", "T_EFF", "teff_gspphot"])
def test_no_labels(name):
    assert "abundance or an age" in doubt_of_label(name)


@pytest.mark.parametrize("name", ["", "MG_FE", "log_age", "[Mg/Fe]", "logger"])
def test_labels(name):
    assert doubt_of_label(name) is None
