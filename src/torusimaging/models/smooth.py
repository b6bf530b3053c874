"""The default form of the mass density: smooth, positive, and as rough as the data ask for."""

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import positive, real_number, shown, truth
from ..data.pixels import require_x64
from ..foliation.density import Side, SmoothSide, middles
from ..foliation.grid import COARSE, OrbitGrid
from ..splines import radial_knots
from ..units import plain_parameter
from .densities import STEEPEST, DensityForm, for_each, of_sides, reference_density

# The knots are even in asinh(|z| / core), with a core of this fraction of the data's height.
CORE = 0.2
# The reference at the plane is half a cold layer, as gas is in the solar neighbourhood's census
# (0.041 of 0.097 Msun/pc^3: McKee et al. 2015, arXiv:1509.05334), a sech^2 of this fraction of the
# data's height; the other half is the disc of `reference_density` with this constant share.
COLD_SHARE, COLD_HEIGHT, BACKGROUND = 0.5, 0.07, 0.16
LEAST_KNOTS, MOST_DOF = 4, 1e6
# sds of ln rho and lengths in x that are taken: beyond these the covariance has no root.
SMALLEST, LARGEST = 1e-3, 1e2
SCALES = ("level_sigma", "amplitude", "length", "asymmetry_sigma")


class SmoothDensity(DensityForm):
    r"""A positive density with a continuous slope; its prior allows a cold or a flat layer.

    The density of each side is a `SmoothSide`: a quadratic spline in the height, even about the
    plane, with the coefficients exp(``ln_rho``), one for each cell between `knots` (Msun/kpc^3).
    With ``asymmetric`` the side below has ``ln_rho_below``, one for each cell but the first, which
    both sides share.

    The prior is a Gaussian process of x = asinh(abs(z) / core): ln rho - ln reference is a constant
    of sd `level_sigma` and a Matern process of order 3/2, sd `amplitude` and length l (`length`),
    whose slope at the plane is 0, as an even function's is.  With a = sqrt(3) / l its covariance is

        k(x, y) = amplitude^2 [(1 + a |x - y|) e^{-a |x - y|} - a^2 x y e^{-a (x + y)}],

    that of the stationary process given that slope (Rasmussen & Williams 2006, equations 4.17,
    A.6 and 9.1).  How rough the density is, is learned: amplitude and level have a common unknown
    factor, whose square is inverse-gamma with `dof` degrees of freedom, integrated out, so that the
    prior is a multivariate Student's t of ``ln_rho``.  ``dof=None`` is the Gaussian process itself.

    In the asymmetric form the ln ratio of the two sides is a random walk of sd `asymmetry_sigma`
    for each unit of x, 0 at the plane.

    Parameters
    ----------
    knots : heights of the cells' edges (kpc), increasing from 0; the density is constant beyond
    reference : ln density (Msun/kpc^3) about which the prior lies, one number or one for each cell
    core : height (kpc) up to which x is linear in abs(z)

    Raises ``ValueError`` for fewer than four knots, knots that do not increase from 0, sds and
    lengths beyond 0.001 to 100, and degrees of freedom that are not above 2.
    """

    knots: Float[Array, " k"]
    reference: Float[Array, " c"]
    whitening: Float[Array, "c c"]
    core: Float[Array, ""]
    scales: Float[Array, " 4"]
    dof: Float[Array, ""] | None
    asymmetric: bool = eqx.field(static=True)

    def __init__(
        self,
        knots,
        reference,
        core: float,
        asymmetric: bool = False,
        level_sigma: float = 1.0,
        amplitude: float = 2.0,
        length: float = 1.0,
        dof: float | None = 10.0,
        asymmetry_sigma: float = 0.5,
    ):
        require_x64()
        edges = radial_knots(knots, u.kpc, "density_knots")
        if edges.size < LEAST_KNOTS:
            raise ValueError(
                f"density_knots must be at least {LEAST_KNOTS} heights, but {edges.size} were "
                "given."
            )
        centre = plain_parameter(reference, "reference")
        if not np.all(np.abs(centre) <= STEEPEST):
            raise ValueError(
                f"reference must be finite logarithms, but {shown(reference)} was given."
            )
        given = (level_sigma, amplitude, length, asymmetry_sigma)
        span = f"from {SMALLEST:g} to {LARGEST:g}"
        scales = [
            real_number(x, name, span, lambda x: SMALLEST <= x <= LARGEST)
            for name, x in zip(SCALES, given, strict=True)
        ]
        self.knots = jnp.asarray(edges)
        self.reference = for_each(centre, edges.size - 1, "reference", "cells")
        core = positive(core, "core")
        self.core = jnp.asarray(core)
        self.scales = jnp.asarray(scales)
        places = np.arcsinh(middles(edges) / core)
        self.whitening = jnp.asarray(_whitening(places, *scales[:3]))
        least = f"more than 2 and at most {MOST_DOF:g}, or None"
        self.dof = (
            None
            if dof is None
            else jnp.asarray(real_number(dof, "dof", least, lambda x: 2 < x <= MOST_DOF))
        )
        self.asymmetric = truth(asymmetric, "asymmetric")

    @classmethod
    def about(cls, knots, omega0: float, height: float, **options) -> "SmoothDensity":
        """The form with a reference of frequency `omega0` for data up to `height` (kpc).

        The reference is a sech^2 disc in a constant background, as that of `FreeDensity`, with a
        colder layer at the plane.
        """
        cells = middles(np.asarray(knots, float))
        core = CORE * height
        return cls(knots, np.log(cold_reference(cells, omega0, height)), core, **options)

    @property
    def _places(self) -> Array:
        """asinh(z / core) at the middles of the cells."""
        return jnp.arcsinh((self.knots[1:] + self.knots[:-1]) / 2 / self.core)

    def sides(self, params: dict) -> tuple[Side, Side | None]:
        """The density above and, where it differs, below the plane."""
        ln_rho = params["ln_rho"]
        above = SmoothSide(self.knots, jnp.exp(ln_rho))
        if not self.asymmetric:
            return above, None
        both = jnp.concatenate([ln_rho[:1], params["ln_rho_below"]])
        return above, SmoothSide(self.knots, jnp.exp(both))

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the prior by parameter, as residuals (of `dofs`: at the factor 1)."""
        out = {"ln_rho": self.whitening @ (params["ln_rho"] - self.reference)}
        if self.asymmetric:
            other = jnp.concatenate([jnp.zeros(1), params["ln_rho_below"] - params["ln_rho"][1:]])
            widths = jnp.diff(self._places)
            out["ln_rho_below"] = jnp.diff(other) / (self.scales[3] * jnp.sqrt(widths))
        return out

    @property
    def dofs(self) -> dict[str, Array]:
        """Degrees of freedom of the factor that is a Student's t."""
        return {} if self.dof is None else {"ln_rho": self.dof}

    @property
    def shape_sd(self) -> float:
        """sd of the largest ln ratio of two cells' densities in the prior, all else unknown."""
        root = np.linalg.inv(np.asarray(self.whitening))
        covariance = root @ root.T
        variances = np.diag(covariance)
        ratio = variances + variances[:, None] - 2 * covariance
        return float(np.sqrt(ratio.max()))

    def start(self) -> dict:
        """The prior's centre."""
        ln_rho = np.array(self.reference)
        return {"ln_rho": ln_rho} | ({"ln_rho_below": ln_rho[1:]} if self.asymmetric else {})

    def smoothed(self, factor: float) -> "SmoothDensity":
        """The form with `amplitude` times `factor`."""
        settings = self.settings()
        settings.pop("form")
        return type(self)(**settings | {"amplitude": factor * settings["amplitude"]})

    @property
    def words(self) -> str:
        """Which form this is, in words."""
        rough = "given" if self.dof is None else "learned"
        cells = self.knots.size - 1
        return f"smooth, {cells} cells, of {rough} roughness{of_sides(self.asymmetric)}"

    def settings(self) -> dict:
        """The arguments that make this form, as numbers and lists."""
        return {
            "form": "smooth",
            "knots": np.asarray(self.knots).tolist(),
            "reference": np.asarray(self.reference).tolist(),
            "core": float(self.core),
            "asymmetric": self.asymmetric,
            "dof": None if self.dof is None else float(self.dof),
        } | dict(zip(SCALES, np.asarray(self.scales).tolist(), strict=True))

    @classmethod
    def from_settings(cls, settings: dict) -> "SmoothDensity":
        """The form of `settings`."""
        return cls(**settings)

    def meaning(self, name: str) -> str:
        """What a parameter such as ``ln_rho[3]`` stands for, in words."""
        leaf, _, index = name.rstrip("]").partition("[")
        below = leaf == "ln_rho_below"
        # Both sides share the first cell, which only the side above counts.
        cell = int(index) + below
        side = " below the plane" if below else " above the plane"
        height = (float(self.knots[cell]) + float(self.knots[cell + 1])) / 2
        return f"the density{side if self.asymmetric and cell else ''} near |z| = {height:.2f} kpc"

    @property
    def places(self) -> Array:
        """The knots."""
        return self.knots

    def grid(self, top: float, n: int = COARSE) -> OrbitGrid:
        """`n` orbits up to the height `top` (kpc)."""
        return OrbitGrid.for_smooth(top, np.asarray(self.knots), n)


def _whitening(x: np.ndarray, level: float, amplitude: float, length: float) -> np.ndarray:
    """The inverse root of the covariance of the prior at the places x (see `SmoothDensity`)."""
    a = np.sqrt(3) / length
    apart, total = np.abs(x - x[:, None]), x + x[:, None]
    matern = (1 + a * apart) * np.exp(-a * apart) - a**2 * x * x[:, None] * np.exp(-a * total)
    # Neighbours far closer than the length would differ by nothing: a ten-thousandth of ln rho.
    covariance = amplitude**2 * matern + level**2 + 1e-8 * np.eye(x.size)
    return np.linalg.inv(np.linalg.cholesky(covariance))


def smooth_knots(number: int, height: float, top: float) -> np.ndarray:
    """Knots from 0 to `top`, even in asinh(z / core), for data up to `height`."""
    core = CORE * height
    knots = core * np.sinh(np.linspace(0.0, np.arcsinh(top / core), number))
    knots[-1] = top
    return knots


def cold_reference(z, omega0: float, height: float) -> np.ndarray:
    """A disc with a colder layer, 4 pi G rho(0) = omega0^2, for data up to `height`."""
    warm = reference_density(z, omega0, height, BACKGROUND)
    layer = reference_density(z, omega0, height, 0.0, COLD_HEIGHT)
    return (1 - COLD_SHARE) * warm + COLD_SHARE * layer
