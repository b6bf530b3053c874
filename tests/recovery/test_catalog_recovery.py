"""From survey files to the potential that the stars were drawn in."""

import astropy.units as u
import numpy as np
import pytest

import torusimaging as oti

KMS = u.km / u.s


def test_files_to_acceleration(tmp_path):
    """60,000 stars through files, cuts, frame, map file and fit: a_z within its errors."""
    survey = oti.mock.write_apogee(tmp_path, 60_000, seed=1, contamination=0.2)
    config = {
        "preset": "apogee-dr17",
        "files": [str(f) for f in survey.files],
        "bins": {"n_z": 40, "n_vz": 40},
    }
    sample = oti.catalog.load(config)
    oti.data.write_map(sample.binned, tmp_path / "map.csv", "MG_FE", str(sample.frame))
    fit = oti.fit_map(oti.data.read_map(tmp_path / "map.csv")).laplace()
    z = [0.3, 0.5, 0.8] * u.kpc
    draws = fit.draws(100)
    found = np.array([fit.model.get_acceleration(z + survey.pos0, p).value for p in draws])
    unit = fit.model.get_acceleration(z, fit.params).unit
    true = (survey.potential.acceleration(z.value) * u.kpc / u.Myr**2).to_value(unit)
    pull = (np.median(found, axis=0) - true) / np.std(found, axis=0)
    # Three numbers within 3 sigma, and known to 15 %: a wrong frame or cut shows at once.
    assert np.all(np.abs(pull) < 3) and np.all(np.std(found, axis=0) < 0.15 * np.abs(true))
    pos0 = np.array([float(p["pos0"]) for p in draws])
    assert np.mean(pos0) == pytest.approx(survey.pos0.to_value(u.kpc), abs=3 * np.std(pos0))
