"""From two survey files to a binned map, beside the published tutorial's own way.

    python benchmarks/catalog.py [--stars 700000] [--folder FOLDER]

Writes a mock of APOGEE DR17 x Gaia DR3 to a temporary folder (1.9 GB for 700,000 stars), then runs
each way in a process of its own: read, join, cut, transform, bin.  Prints seconds of each stage
(imports apart), the peak of resident memory and the ratios.  The tutorial's way needs pyia and
gala.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = """
from torusimaging import catalog

mark("import")
sample = catalog.load({"preset": "apogee-dr17", "files": FILES}, lambda stage: mark(stage, True))
mark("binning")
done(len(sample), sample.binned["counts"].sum())
"""
TUTORIAL = """
import astropy.coordinates as coord
import astropy.table as at
import astropy.units as u
import gala.dynamics as gd
import numpy as np
from pyia import GaiaData

import torusimaging as oti
from torusimaging.mock.apogee import BITS

mark("import")
t1, t2 = (at.Table.read(f, hdu=1, unit_parse_strict="silent") for f in FILES)
mark("read")
t = at.join(t1, t2, keys_left="APOGEE_ID", keys_right="apogee_id", join_type="inner")
mark("join")
g = GaiaData(
    at.unique(t, keys="source_id"),
    radial_velocity_colname="VHELIO_AVG",
    radial_velocity_unit=u.km / u.s,
)
mgfe, mgfe_err = (np.asarray(g[k], dtype=float) for k in ("MG_FE", "MG_FE_ERR"))
mark("unique")
mask = g["MEMBERFLAG"] == 0
for name, bits in BITS.items():
    mask &= (g[name] & np.sum(2 ** np.array(bits))) == 0
mark("cut")
c = g.get_skycoord()
galcen = c.transform_to(coord.Galactocentric(galcen_distance=8.3 * u.kpc))
w0 = gd.PhaseSpacePosition(galcen.data)
R, v_R = w0.cylindrical.rho, w0.cylindrical.v_rho
mask &= (np.abs(R - 8.3 * u.kpc) < 1 * u.kpc) & (np.abs(w0.y) < 1 * u.kpc)
Rg = (np.abs(w0.angular_momentum()[2]) / (229 * u.km / u.s)).to(u.kpc)
mask &= (np.abs(R - Rg) < 1.5 * u.kpc) & (np.abs(v_R) < 25 * u.km / u.s) & np.isfinite(mgfe)
mark("transform")
bins = {
    "pos": np.linspace(-1, 1, 81) * 1.2 * u.kpc,
    "vel": np.linspace(-1, 1, 81) * 70 * u.km / u.s,
}
stars = galcen[mask]
binned = oti.data.get_binned_label(
    stars.z.astype("f8"), stars.v_z.astype("f8"), mgfe[mask], bins, label_err=mgfe_err[mask]
)
mark("bin")
done(int(mask.sum()), binned["counts"].sum())
"""
FRAME = """
import json, resource, sys, time, warnings
warnings.simplefilter("ignore")
FILES = {files!r}
stages, last, begun, after = {{}}, [time.perf_counter()], [None], []

def mark(stage, begins=False):
    # A stage is named at its end, or, where `begins`, at its beginning.
    now = time.perf_counter()
    after.append(rss())
    ended = (begun[0] if begins else stage) or stage
    if not (begins and begun[0] is None):
        stages[ended] = stages.get(ended, 0) + now - last[0]
    last[0], begun[0] = now, stage if begins else None

def rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

def done(stars, binned):
    counts = dict(stars=int(stars), binned=int(binned))
    print(json.dumps(dict(stages=stages, peak=rss(), imported=after[0], **counts)))
"""
WRITE = """
from torusimaging import mock
from torusimaging.mock.apogee_files import allstar_dtype

survey = mock.write_apogee({folder!r}, {stars}, seed=0)
sizes = [f.stat().st_size / 1e9 for f in survey.files]
row = allstar_dtype()
print(f"allStar: {{survey.rows['allstar']:,}} rows of {{len(row.names)}} columns, {{row.itemsize}} "
      f"bytes, {{sizes[0]:.2f}} GB; Gaia: {{survey.rows['gaia']:,}} rows, {{sizes[1]:.2f}} GB; "
      f"stars without a fault: {{survey.source_id.size:,}}")
"""
FILES = (
    "allStarLite-dr17-synspec_rev1.fits",
    "allStar-dr17-synspec-gaiadr3-gaiasourcelite.fits",
)


def run(code: str) -> str:
    """What a program prints, run in a fresh process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=700_000)
    parser.add_argument("--folder", help="where the files are or go (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        if not all((folder / name).exists() for name in FILES):
            print(run(WRITE.format(folder=str(folder), stars=options.stars)), end="", flush=True)
        head = FRAME.format(files=[str(folder / name) for name in FILES])
        results = {}
        for name, code in (("torusimaging", OURS), ("tutorial", TUTORIAL)):
            results[name] = result = json.loads(run(head + code).splitlines()[-1])
            stages = result["stages"]
            result["total"] = sum(v for k, v in stages.items() if k != "import")
            words = ", ".join(f"{k} {v:.2f}" for k, v in stages.items())
            print(
                f"{name:<13} {result['total']:7.2f} s  peak {result['peak']:5.2f} GiB "
                f"({result['imported']:.2f} after imports)  "
                f"{result['stars']:,} stars, {result['binned']:,} in pixels  [s: {words}]",
                flush=True,
            )
        ours, theirs = results["torusimaging"], results["tutorial"]
        print(
            f"ratio: {theirs['total'] / ours['total']:.1f} in time, "
            f"{theirs['peak'] / ours['peak']:.1f} in memory"
        )


if __name__ == "__main__":
    main()
