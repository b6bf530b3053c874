"""What a symmetric, smooth density may have missed: two different sides, a layer at the plane."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import QTable
from scipy import stats

from ..arguments import whole_number
from ..data.pixels import require_x64
from ..results.fit import BEYOND_CHANCE, Fitted, derive, pixel_height
from .perturbation import add_layer, compare_sides

LAYER_DRAWS = 4000


@dataclass(frozen=True)
class Asymmetry:
    """What `check_asymmetry` found; ``text``, or ``str()`` of it, says it in sentences.

    Attributes
    ----------
    chi2, dof, p : of the differences that the map determines, and the chance of a larger chi2 where
        the two sides are alike
    table : QTable of heights z and ratio, the density above over that below, to first order, with
        ratio_p16 and ratio_p84
    """

    chi2: float
    dof: int
    p: float
    table: QTable

    @property
    def text(self) -> str:
        """The findings in plain sentences."""
        found = f"chi^2 = {self.chi2:.1f} for {self.dof} degrees of freedom, p = {self.p:.2g}"
        if self.dof == 0:
            return "The map cannot tell the two sides of the plane apart."
        if not self.p < BEYOND_CHANCE:
            return f"The two sides of the plane are alike within the errors ({found})."
        row = self.table[int(np.argmax(np.abs(np.log(self.table["ratio"]))))]
        return (
            f"The two sides of the plane differ beyond chance ({found}): the density above is "
            f"{row['ratio']:.2f} times that below at |z| = {row['z'].value:.2f} kpc, to first "
            "order.  Fit with asymmetric=True; stars that are not in a steady state show the same "
            "(see check_goodness)."
        )

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class ThinLayer:
    """What `check_thin_layer` found; ``text``, or ``str()`` of it, says it in a sentence.

    Attributes
    ----------
    pixel : height of the pixels
    mass, mass_sd : surface density of a layer without thickness, beside the fitted density, before
        the limit that it is not negative
    rho0 : (median, 16, 84 percentile) of the mean density within 50 pc with such a layer
    """

    pixel: u.Quantity
    mass: u.Quantity
    mass_sd: u.Quantity
    rho0: u.Quantity

    @property
    def text(self) -> str:
        """The findings in a plain sentence."""
        middle, low, high = np.asarray(self.rho0.to_value(u.Msun / u.pc**3))
        mass, sd = (x.to_value(u.Msun / u.pc**2) for x in (self.mass, self.mass_sd))
        height = self.pixel.to_value(u.pc)
        return (
            f"Pixels are {height:.0f} pc high and do not resolve a thinner layer at the plane: "
            f"with one of unknown mass ({mass:.1f} +- {sd:.1f} Msun/pc^2 by this map), rho(0) is "
            f"{middle:.3f} +{high - middle:.3f} -{middle - low:.3f} Msun/pc^3."
        )

    def __str__(self) -> str:
        return self.text


def check_asymmetry(fit: Fitted) -> Asymmetry:
    """Whether the two sides of the plane differ, by a score test (`perturbation.compare_sides`).

    Nothing is fitted anew: the map's residuals are compared with what a density that differs
    between the sides would leave.  `Fit.problems` asks it of every fit.  Where p is small, fit
    with ``asymmetric=True``; the ratio here is a first order that saturates.

    Raises ``ValueError`` for anything else than a fit of a symmetric density at its optimum, and
    for a posterior without curvature.
    """
    found = compare_sides(*_checked(fit))
    if found is None:
        raise ValueError(_unfit(fit))
    ln_ratio, sd = found.ln_ratio, found.ln_ratio_sd
    columns = [np.exp(ln_ratio + k * sd) for k in (0, -1, 1)]
    table = QTable([found.height * u.kpc, *columns], names=("z", "ratio", "ratio_p16", "ratio_p84"))
    return Asymmetry(found.chi2, found.dof, found.p, table)


def check_thin_layer(fit: Fitted, seed: int = 0) -> ThinLayer:
    """What a layer that the pixels do not resolve could add to the density at the plane.

    A layer without thickness, of unknown mass M >= 0, is added to first order, with all parameters
    free besides (see `perturbation.add_layer`): M is normal about what the map asks for, cut at 0,
    and each draw of the fit takes one such M, with what the other parameters give up for it.

    Raises ``ValueError`` for anything else than a sampled fit of a symmetric density at its
    optimum, and for a posterior without curvature.
    """
    arguments, seed = _checked(fit), whole_number(seed, "seed", 0)
    if fit.samples is None:
        raise ValueError("fit must have draws: call laplace() or sample() first.")
    layer = add_layer(*arguments)
    if layer is None:
        raise ValueError(_unfit(fit))
    rng = np.random.default_rng(seed)
    rho = derive(fit)["rho(0)"] * (u.Msun / u.pc**3).to(u.Msun / u.kpc**3)
    rho = rng.choice(rho, LAYER_DRAWS)
    lowest = stats.norm.cdf(-layer.mass / layer.mass_sd)
    quantiles = stats.norm.ppf(lowest + (1 - lowest) * rng.uniform(1e-12, 1.0, rho.size))
    mass = np.maximum(layer.mass + layer.mass_sd * quantiles, 0.0)
    with_layer = np.percentile(rho + layer.density * mass, [50, 16, 84])
    surface = u.Msun / u.kpc**2
    return ThinLayer(
        pixel_height(fit.data),
        layer.mass * surface,
        layer.mass_sd * surface,
        with_layer * u.Msun / u.kpc**3,
    )


def _unfit(fit: Fitted) -> str:
    """Why a fit has no sides to compare, in a sentence."""
    sides = fit.model.foliation(fit.params).sides
    if sides is None:
        return (
            "fit must be of the potential model, whose orbits know a density on each side, but is "
            f"of {type(fit.model).__name__}."
        )
    if sides[1] is not None:
        return (
            "fit must be of a density that is the same on both sides of the plane, but has two "
            "different ones already."
        )
    return "fit must be of a map that says something of a layer at the plane, but its does not."


def _checked(fit: Fitted) -> tuple:
    """(problem, parameters) of a fit."""
    require_x64()
    if not isinstance(fit, Fitted):
        raise ValueError(f"fit must be a Fit, but {type(fit).__name__} was given.")
    return fit.mapped.problem, fit.mapped.params
