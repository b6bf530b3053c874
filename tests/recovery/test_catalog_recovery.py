"""From survey files to the potential that the stars were drawn in."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti


def test_files_to_acceleration(tmp_path):
    """60,000 stars through files, cuts, frame, map file and fit: the force and the midplane.

    The posterior of such a map has errors of 3 %, 3 % and 5 % in a_z at these heights, of 2.6 pc
    and 0.17 pc/Myr in the midplane; three times that is allowed.
    """
    survey = oti.mock.write_apogee(tmp_path, 60_000, seed=1, contamination=0.2)
    config = {
        "preset": "apogee-dr17",
        "files": [str(f) for f in survey.files],
        "bins": {"n_z": 40, "n_vz": 40},
    }
    sample = oti.catalog.load(config)
    oti.data.write_map(sample.binned, tmp_path / "map.csv", "MG_FE", str(sample.frame))
    read = oti.data.read_map(tmp_path / "map.csv")
    fit = oti.fit_map(read, read["frame"])
    z = [0.3, 0.5, 0.8] * u.kpc
    found = fit.model.get_acceleration(z + survey.pos0, fit.params).to_value(u.kpc / u.Myr**2)
    ratio = found / survey.potential.acceleration(z.value)
    assert np.all(np.abs(ratio - 1) < [0.10, 0.10, 0.15])
    assert float(fit.params["pos0"]) == pytest.approx(survey.pos0.value, abs=7.8e-3)
    assert float(fit.params["vel0"]) == pytest.approx(survey.vel0.value, abs=5.1e-4)
    assert "R0 = 8.3 kpc" in fit.frame
