"""Forms of the mass density: their parameters, priors and starts."""

import abc
import inspect
from collections.abc import Callable

import astropy.units as u
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import dictionary, positive, shown, truth
from ..data.pixels import require_x64
from ..foliation.density import FOUR_PI_G, FunctionSide, LinearSide, Side
from ..foliation.grid import COARSE, OrbitGrid
from ..splines import radial_knots
from ..units import plain_parameter
from .functions import values_of

# The default prior's shape: most mass in a layer of this fraction of the data's height, and a
# background of this fraction of the midplane's density.
REFERENCE_HEIGHT, REFERENCE_BACKGROUND = 0.25, 0.12
# Inside this fraction of the data's height the density is a parabola to the prior.
CORE = 0.1
STEEPEST = 500.0  # the largest |ln| that is taken
LOOKED_AT = 513  # heights at which a user's density is looked at


class DensityForm(eqx.Module):
    """A parametrised density above and below the plane, with a prior (abstract)."""

    @abc.abstractmethod
    def sides(self, params: dict) -> tuple[Side, Side | None]:
        """The density above and, where it differs, below the plane."""

    @abc.abstractmethod
    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the prior by parameter, as residuals (see `OrbitModel.prior_factors`)."""

    @abc.abstractmethod
    def start(self) -> dict:
        """The prior's centre."""

    @property
    def dofs(self) -> dict[str, Array]:
        """Degrees of freedom of the factors of the prior that are multivariate Student's t.

        Residuals of such a factor are normal but for one unknown factor of all their sds (see
        `priors.slopes.student_residuals`).
        """
        return {}

    @property
    def shape_sd(self) -> float:
        """sd of the largest ln ratio of the densities at two heights in a prior of many shapes.

        Infinite for a form whose shape is given by its few parameters.
        """
        return np.inf

    @property
    def places(self) -> Array:
        """Heights of the form's knots (kpc); none for one that has none."""
        return jnp.zeros(0)

    @property
    def has_dark_matter(self) -> bool:
        """Whether a part of it counts as dark matter."""
        return False

    def check(self, params: dict) -> None:
        """Raise a ``ValueError`` for parameters that make no density; here all do."""
        return None

    def smoothed(self, factor: float) -> "DensityForm":
        """The form with the sd that keeps it smooth times `factor`; here there is none."""
        return self

    def is_possible(self, params: dict) -> Array:
        """Whether the density is nowhere negative; here it cannot be."""
        return jnp.ones((), bool)

    def grid(self, top: float, n: int = COARSE) -> OrbitGrid:
        """`n` orbits up to the height `top` (kpc) for densities of this form."""
        return OrbitGrid.reaching(top, n=n, nodes=40)

    def dark_sides(self, params: dict) -> tuple[Side, Side] | None:
        """The dark matter above and below the plane, where the form tells it apart."""
        return None

    def meaning(self, name: str) -> str:
        """What a parameter such as ``ln_rho[3]`` stands for, in words."""
        return name

    @property
    @abc.abstractmethod
    def words(self) -> str:
        """Which form this is, in words."""

    def settings(self) -> dict:
        """The arguments that make this form, as numbers and lists; a ``ValueError`` for code."""
        raise ValueError("a density that is a function cannot be saved: it is code, not numbers.")


class FreeDensity(DensityForm):
    r"""A positive density that is straight between knots in the height and constant beyond.

    Parameters ``ln_rho``, one for each knot (Msun/kpc^3), and with ``asymmetric`` ``ln_rho_below``,
    one for each knot but the first, which both sides share.  With d_i = ln rho_i - ln reference_i
    the prior is normal: d_0 of sd `level_sigma`, d_i - d_{i-1} of sd `step_sigma` (a number, or
    one for each step), and a random walk of sd `smooth_sigma` in those steps.  In the asymmetric
    form the ratio of the two sides has steps of sd `asymmetry_sigma`.

    Raises ``ValueError`` for knots that do not increase from 0 and for sds that are not positive.
    """

    knots: Float[Array, " k"]
    reference: Float[Array, " k"]
    sigmas: Float[Array, " 3"]
    step_sigmas: Float[Array, " s"]
    asymmetric: bool = eqx.field(static=True)

    def __init__(
        self,
        knots,
        reference,
        asymmetric: bool = False,
        level_sigma: float = 1.0,
        step_sigma=1.0,
        smooth_sigma: float = 0.5,
        asymmetry_sigma: float = 0.3,
    ):
        require_x64()
        knots = radial_knots(knots, u.kpc, "density_knots")
        sigmas = {
            "level_sigma": level_sigma,
            "smooth_sigma": smooth_sigma,
            "asymmetry_sigma": asymmetry_sigma,
        }
        steps = plain_parameter(step_sigma, "step_sigma")
        if not np.all(np.isfinite(steps) & (steps > 0)):
            raise ValueError(f"step_sigma must be positive, but {shown(step_sigma)} was given.")
        centre = plain_parameter(reference, "reference")
        if not np.all(np.abs(centre) <= STEEPEST):
            raise ValueError(
                f"reference must be finite logarithms, but {shown(reference)} was given."
            )
        self.knots = jnp.asarray(knots)
        self.reference = for_each(centre, knots.size, "reference", "knots")
        self.sigmas = jnp.asarray([positive(x, name) for name, x in sigmas.items()])
        self.step_sigmas = for_each(steps, knots.size - 1, "step_sigma", "steps")
        self.asymmetric = truth(asymmetric, "asymmetric")

    @classmethod
    def about(
        cls, knots, omega0: float, height: float, step_sigma: float = 1.0, **options
    ) -> "FreeDensity":
        """The form with a reference of frequency `omega0` for data up to `height` (kpc).

        ln rho is an even, smooth function of z, so its steps near the plane go as the difference
        of z^2: their sd is smaller there by that difference over (0.1 height)^2.
        """
        step_sigma = positive(step_sigma, "step_sigma")
        core = np.diff(np.asarray(knots, float) ** 2) / (CORE * height) ** 2
        steps = step_sigma * np.minimum(core, 1.0)
        return cls(
            knots,
            np.log(reference_density(knots, omega0, height)),
            step_sigma=steps,
            **options,
        )

    def sides(self, params: dict) -> tuple[Side, Side | None]:
        """The density above and, where it differs, below the plane."""
        ln_rho = params["ln_rho"]
        above = LinearSide(self.knots, jnp.exp(ln_rho))
        if not self.asymmetric:
            return above, None
        both = jnp.concatenate([ln_rho[:1], params["ln_rho_below"]])
        return above, LinearSide(self.knots, jnp.exp(both))

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the prior by parameter, as residuals."""
        level, smooth, ratio = self.sigmas
        off = params["ln_rho"] - self.reference
        steps = jnp.diff(off)
        terms = [off[:1] / level, steps / self.step_sigmas, jnp.diff(steps) / smooth]
        out = {"ln_rho": jnp.concatenate(terms)}
        if self.asymmetric:
            other = jnp.concatenate([jnp.zeros(1), params["ln_rho_below"] - params["ln_rho"][1:]])
            out["ln_rho_below"] = jnp.diff(other) / ratio
        return out

    def start(self) -> dict:
        """The prior's centre."""
        ln_rho = np.array(self.reference)
        return {"ln_rho": ln_rho} | ({"ln_rho_below": ln_rho[1:]} if self.asymmetric else {})

    def smoothed(self, factor: float) -> "FreeDensity":
        """The form with `smooth_sigma` times `factor`."""
        return eqx.tree_at(lambda f: f.sigmas, self, self.sigmas * jnp.array([1.0, factor, 1.0]))

    def settings(self) -> dict:
        """The arguments that make this form, as numbers and lists."""
        names = ("level_sigma", "smooth_sigma", "asymmetry_sigma")
        return {
            "form": "free",
            "knots": np.asarray(self.knots).tolist(),
            "reference": np.asarray(self.reference).tolist(),
            "asymmetric": self.asymmetric,
            "step_sigma": np.asarray(self.step_sigmas).tolist(),
        } | dict(zip(names, np.asarray(self.sigmas).tolist(), strict=True))

    @property
    def words(self) -> str:
        """Which form this is, in words."""
        return f"free, straight between {self.knots.size} knots{of_sides(self.asymmetric)}"

    @classmethod
    def from_settings(cls, settings: dict) -> "FreeDensity":
        """The form of `settings`."""
        return cls(**settings)

    def meaning(self, name: str) -> str:
        """What a parameter such as ``ln_rho[3]`` stands for, in words."""
        leaf, _, index = name.rstrip("]").partition("[")
        # Both sides share the first knot, which only the side above counts.
        knot = int(index) + (leaf == "ln_rho_below")
        side = {"ln_rho_below": " below the plane"}.get(
            leaf, " above the plane" if self.asymmetric and knot else ""
        )
        return f"the density{side} at |z| = {float(self.knots[knot]):.2f} kpc"

    @property
    def places(self) -> Array:
        """The knots."""
        return self.knots

    def grid(self, top: float, n: int = COARSE) -> OrbitGrid:
        """`n` orbits up to the height `top` (kpc), with rules split at the knots."""
        return OrbitGrid.for_knots(top, np.asarray(self.knots), n)


def of_sides(asymmetric: bool) -> str:
    """Whether the two sides of the plane may differ, in words to append."""
    return ", with two different sides" if asymmetric else ""


def for_each(values: np.ndarray, n: int, name: str, what: str) -> Array:
    """`n` values, from one or as many; a ``ValueError`` for another number."""
    if values.size not in (1, n):
        raise ValueError(
            f"{name} must be one number or one for each of {n} {what}, but has {values.size}."
        )
    return jnp.broadcast_to(jnp.asarray(np.ravel(values)), n)


def reference_density(
    z,
    omega0: float,
    height: float,
    background: float = REFERENCE_BACKGROUND,
    scale: float = REFERENCE_HEIGHT,
) -> np.ndarray:
    """A disc in a background with 4 pi G rho(0) = omega0^2, for data up to `height`; Msun/kpc^3.

    sech^2 of `scale` times the height, and a constant share `background` of rho(0).
    """
    x = np.asarray(z, dtype=float) / (scale * height)
    disc = (1 - background) / np.cosh(np.minimum(x, 300.0)) ** 2
    return omega0**2 / FOUR_PI_G * (disc + background)


class UserDensity(DensityForm):
    """A user's own smooth density ``function(z, **params)``, element by element, in Msun/kpc^3.

    z is the height above the plane in kpc; with ``asymmetric`` it is negative below, otherwise the
    function is called with |z| alone.  `params` maps each parameter to its start and the sd of
    its normal prior about it.  A set of parameters whose density is negative at one of 513 heights
    up to `height` (kpc) has no probability; structure finer than that is not seen.

    Raises ``ValueError`` for a function that cannot be called and priors that are no such pairs.
    """

    function: Callable = eqx.field(static=True)
    centre: dict
    sigma: dict
    height: Float[Array, ""]
    asymmetric: bool = eqx.field(static=True)

    def __init__(self, function: Callable, params: dict, height: float, asymmetric: bool = False):
        require_x64()
        if not callable(function):
            raise ValueError(f"density must be a function of z, not {shown(function)}.")
        params = dictionary(params, "density_params")
        for name, pair in params.items():
            if not isinstance(name, str):
                raise ValueError(f"density_params must have names, but has {shown(name)}.")
            try:
                values = plain_parameter(pair, name)
                good = values.shape == (2,) and np.all(np.isfinite(values)) and values[1] > 0
            except ValueError:
                good = False
            if not good:
                raise ValueError(
                    f"density_params[{name!r}] must be a pair (start, sd > 0), but {shown(pair)} "
                    "was given."
                )
        try:
            inspect.signature(function).bind(0.0, **params)
        except TypeError as error:
            raise ValueError(
                f"density_params must name the arguments of the density that follow z, but "
                f"{', '.join(params) or 'none'} was given: {error}."
            ) from None
        self.function = function
        self.centre = {k: jnp.asarray(v[0], float) for k, v in params.items()}
        self.sigma = {k: jnp.asarray(v[1], float) for k, v in params.items()}
        self.height = jnp.asarray(positive(height, "height"))
        self.asymmetric = truth(asymmetric, "asymmetric")

    @property
    def words(self) -> str:
        """Which form this is, in words."""
        name = getattr(self.function, "__name__", "without a name")
        return f"a function of the user's, {name}{of_sides(self.asymmetric)}"

    def sides(self, params: dict) -> tuple[Side, Side | None]:
        """The density above and, where it differs, below the plane; NaN where one is negative."""
        veto = jnp.where(self.is_possible(params), 1.0, jnp.nan)
        guarded = [FunctionSide(self.function, params, sign, veto) for sign in self._signs]
        return guarded[0], guarded[1] if self.asymmetric else None

    def is_possible(self, params: dict) -> Array:
        """Whether the density is nowhere negative."""
        found = [FunctionSide(self.function, params, sign) for sign in self._signs]
        x = self.height * jnp.linspace(0.0, 1.0, LOOKED_AT)
        return jnp.min(jnp.stack([jnp.min(side.density(x)) for side in found])) >= 0

    @property
    def _signs(self) -> tuple[int, ...]:
        return (1, -1) if self.asymmetric else (1,)

    def check(self, params: dict) -> None:
        """Raise a ``ValueError`` where the density is negative, with the first such height."""
        x = self.height * jnp.linspace(0.0, 1.0, LOOKED_AT)
        for sign in self._signs:
            rho = values_of(self.function, sign * x, params, "density", "heights")
            bad = ~(np.isfinite(rho) & (rho >= 0))
            if bad.any():
                first = int(np.argmax(bad))
                raise ValueError(
                    "the density must be finite and not be negative, but is "
                    f"{rho[first]:.4g} Msun/kpc^3 at z = {sign * float(x[first]):.4g} kpc."
                )
            if not rho[0] > 0:
                raise ValueError("the density must be positive at z = 0 kpc, but is 0.")

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the prior by parameter, as residuals."""
        off = {k: (params[k] - self.centre[k]) / self.sigma[k] for k in self.centre}
        return {k: jnp.reshape(v, 1) for k, v in off.items()}

    def start(self) -> dict:
        """The given start."""
        return {k: np.float64(v) for k, v in self.centre.items()}
