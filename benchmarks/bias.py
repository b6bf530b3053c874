"""Error of a_z without noise: what each model cannot describe, and what pixels smear.

python benchmarks/bias.py [STARS]        # errors as of a survey of so many stars, default 1e7

The label of each pixel is exact: at the pixel's centre, or the mean over its stars, at their mean
place as binning gives it or, for comparison, at the centre.
"""

import sys

import astropy.units as u
import jax
import numpy as np
from recovery import BINS, FIELDS, HEIGHT, knots

jax.config.update("jax_enable_x64", True)

import torusimaging as oti  # noqa: E402
from torusimaging.mock.survey import POPULATIONS, survey_selection, tanh_label  # noqa: E402

SPEED = u.kpc / u.Myr
ERROR = 0.067  # of one star: the mock's scatter and a typical error of measurement


def distribution(field, z, vz):
    """The mock's distribution function at z (kpc) and vz (kpc/Myr), times its selection."""
    total = 0.0
    for weight, dispersion in POPULATIONS:
        sigma = dispersion.to_value(SPEED)
        height = np.linspace(-20, 20, 20_001) * sigma / field.omega0
        column = np.trapezoid(np.exp(-field.potential(height) / sigma**2), height)
        norm = np.sqrt(2 * np.pi) * sigma * column
        total = total + weight / norm * np.exp(-field.energy(z, vz) / sigma**2)
    return total * survey_selection(z)


WAYS = ("pixel centres", "mean label at centres", "mean label at mean places")


def exact_map(field, stars: float, way: str = WAYS[2], bins: dict = BINS) -> dict:
    """The binned map that infinitely many stars would give, with the errors of `stars`."""
    edges = bins["pos"].to_value(u.kpc), bins["vel"].to_value(SPEED)
    centres = [(e[1:] + e[:-1]) / 2 for e in edges]
    half = [(e[1] - e[0]) / 2 for e in edges]
    z, vz = np.meshgrid(*centres, indexing="ij")
    node, weight = np.polynomial.legendre.leggauss(4)
    number = label = sum_z = sum_v = 0.0
    for x, wx in zip(node, weight, strict=True):
        for y, wy in zip(node, weight, strict=True):
            place = z + x * half[0], vz + y * half[1]
            share = wx * wy * distribution(field, *place)
            number = number + share
            label = label + share * tanh_label(field.action_of(*place))
            sum_z, sum_v = sum_z + share * place[0], sum_v + share * place[1]
    counts = stars * number / number.sum()
    exact = tanh_label(field.action_of(z, vz)) if way == WAYS[0] else label / number
    good = counts > 3
    means = {"pos_mean": sum_z / number * u.kpc, "vel_mean": sum_v / number * SPEED}
    return ({k: x[good] for k, x in means.items()} if way == WAYS[2] else {}) | {
        "pos": z[good] * u.kpc,
        "vel": vz[good] * SPEED,
        "label": exact[good],
        "label_err": ERROR / np.sqrt(counts[good]),
    }


def main(stars: float = 1e7) -> None:
    """Print the relative error of a_z at each height."""
    print("|z| / kpc:", *HEIGHT)
    for name, field in FIELDS.items():
        for way in WAYS:
            data = exact_map(field, stars, way)
            for model in ("potential", "spline"):
                fit = oti.fit_map(data, model=model, **knots(model, int(stars)))
                a = fit.model.get_acceleration(
                    (HEIGHT + float(fit.params["pos0"])) * u.kpc, fit.params
                )
                error = 100 * (a.value / field.acceleration(HEIGHT) - 1)
                print(f"{name}, {way}, {model}: a_z error % {np.round(error, 2)}", flush=True)


if __name__ == "__main__":
    main(*(float(x) for x in sys.argv[1:]))
