"""The potential family: orbits that obey one gravitational field."""

from collections.abc import Callable, Sequence
from functools import partial

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import (
    check_options,
    choice,
    dictionary,
    positive,
    real_number,
    shown,
    sign,
    truth,
)
from ..coordinates import Points
from ..data.gradient import check_gradient, check_pixels
from ..data.pixels import kind_of, read_map, require_x64
from ..foliation.density import FOUR_PI_G, Side, potential_matrix
from ..foliation.field import DENSITY, SURFACE_DENSITY
from ..foliation.grid import FINE, OrbitGrid
from ..foliation.potential import PotentialFoliation
from ..inference.knots import choose_knots
from ..labels import Label, SplineLabel, StarLabels, of_stars
from ..likelihoods import GaussianPixels
from ..parameters import Layout, start_inside
from ..priors.named import Distribution, as_arrays, from_numbers, to_numbers
from ..splines import radial_knots
from ..units import check_units, internal
from . import extras
from . import start as initial
from .base import OrbitModel, heights_of
from .densities import STEEPEST, DensityForm, FreeDensity, UserDensity, reference_density
from .extras import Extra
from .layers import Layer, LayeredDensity, solar_layers
from .smooth import LEAST_KNOTS, SmoothDensity, smooth_knots

# The orbits' table ends this much beyond the outermost pixel's orbit in the first guess, and at
# most at so many times the data's height.
MARGIN, FARTHEST = 1.25, 5.0
COVERAGE = 0.95
FORMS = {"smooth": SmoothDensity, "free": FreeDensity, "layered": LayeredDensity}
NAMED = ("smooth", "free", "solar")
# The forms with knots, and how many they have by default.
KNOTS = {"smooth": 16, "free": 10}
SPACING_POWER = 0.6  # the knots of a free density are even in |z| to it


class TorusImaging1DPotential(OrbitModel):
    r"""Orbits in the potential of a positive density; labels are a function of r = sqrt(2 J).

    Density, acceleration, actions, angles and frequencies belong to one field: contours cannot
    cross and a_z has no jumps.  ``params`` holds pos0 (kpc), vel0 (kpc/Myr), ``density_params``
    (see the form) and ``label_params["label_vals"]``: the label at r = 0 and, at the other knots,
    the ln-slopes of label_sign * label or, with ``label_monotone=False``, the slopes in units of
    exp(label_reference).

    Parameters
    ----------
    label_knots : array, increasing, from 0 (unit of r: kpc Myr^-1/2)
    density : the form: `SmoothDensity`, `FreeDensity`, `LayeredDensity` or `UserDensity`
    height : height (kpc) up to which accelerations and densities are given
    top : height (kpc) of the last orbit; stars beyond it are NaN
    label_sign : +1 for a label that rises outwards, -1 for one that falls
    label_monotone : whether the label may only rise, or only fall
    label_reference : ln-slope at the centre of the label's prior
    label_l2_sigma, label_smooth_sigma : sd of the slopes about it, and of their random walk
    priors : numpyro distributions by the name of their parameter (see `with_priors`)

    Raises ``ValueError`` for knots that are not increasing or do not start at 0, a bad sign,
    height, top or sd.
    """

    on_orbits: SplineLabel | StarLabels
    density: DensityForm
    grid: OrbitGrid
    fine: OrbitGrid
    height: Float[Array, ""]
    given: dict[str, Distribution]
    added: tuple[Extra, ...]

    def __init__(
        self,
        label_knots,
        density: DensityForm,
        height: float,
        top: float,
        *,
        label_sign: int = 1,
        label_monotone: bool = True,
        label_reference: float = 0.0,
        label_l2_sigma: float = 1.0,
        label_smooth_sigma: float = 0.5,
        priors: dict | None = None,
    ):
        require_x64()
        knots = radial_knots(label_knots, initial.RADIUS, "label_knots")
        if not isinstance(density, DensityForm):
            raise ValueError(
                "density must be a SmoothDensity, FreeDensity, LayeredDensity or UserDensity, but "
                f"{shown(density)} was given."
            )
        height = positive(internal(height, u.kpc, "height", allow_plain=True), "height")
        most = f"at least height ({height:g} kpc) and at most 1000 times that"
        end = internal(top, u.kpc, "top", allow_plain=True)
        top = real_number(end, "top", most, lambda x: height <= x <= 1e3 * height)
        sigmas = {"label_l2_sigma": label_l2_sigma, "label_smooth_sigma": label_smooth_sigma}
        reference = real_number(
            label_reference, "label_reference", "finite", lambda x: abs(x) <= STEEPEST
        )
        widths = [positive(x, name) for name, x in sigmas.items()]
        self.on_orbits = SplineLabel(
            jnp.asarray(knots, float),
            jnp.asarray(reference, float),
            jnp.asarray(widths, float),
            sign(label_sign, "label_sign"),
            truth(label_monotone, "label_monotone"),
        )
        self.density = density
        self.grid = density.grid(top)
        self.fine = density.grid(top, FINE)
        self.height = jnp.asarray(height, float)
        self.given = as_arrays(priors)
        self.added = ()

    @classmethod
    def auto_init(
        cls,
        binned_data: dict,
        label_knots=6,
        density_knots=None,
        density: str | Sequence[Layer] | Callable = "smooth",
        density_params: dict | None = None,
        asymmetric: bool = False,
        units=None,
        label_knots_spacing_power: float = 1.0,
        density_knots_spacing_power: float | None = None,
        density_options: dict | None = None,
        knots: str | None = None,
        **options,
    ) -> tuple["TorusImaging1DPotential", dict, dict]:
        """A model, bounds and a start for a binned map.

        Parameters
        ----------
        label_knots : number of knots in r, or the knots (kpc Myr^-1/2, from 0)
        density_knots : of a smooth or free density, the number of knots in |z| (16; 10), or the
            knots (kpc, from 0, or a length).  By number those of a smooth one are even in
            asinh(|z| / core) up to the outermost orbit (see `SmoothDensity`), of a free one even in
            |z| to the `density_knots_spacing_power` (0.6) up to the data's height, and the last is
            at the outermost orbit
        density : "smooth" (`SmoothDensity`), "free" (`FreeDensity`), "solar" (`solar_layers`), a
            sequence of `Layer`, or a function ``density(z, **params)`` of the height in kpc that
            returns Msun/kpc^3
        density_params : the start and prior sd of each parameter of such a function
        asymmetric : whether the density below the plane may differ from that above
        density_options : further arguments of `SmoothDensity`, `FreeDensity` or `LayeredDensity`
        knots : "auto" picks the numbers of knots and the smoothness by the ln evidence: 4, 6, 8 or
            10 knots of the label, then 8, 10 or 12 of a free density, then the given sds
            `amplitude` or `smooth_sigma` and `label_smooth_sigma` times 0.5, 1 or 2; numbers that
            are given are where it begins, and knots that are given are kept.  It compiles and fits
            up to 6 models, half a minute to two
        options : further arguments of the class
        units : a unit system, for scripts that give one, without effect

        Raises ``ValueError`` for fewer pixels than parameters, a label that says nothing of the
        orbits (see `data.gradient.changes`), density knots that do not cover the data, or bad
        options.
        """
        require_x64()
        set_here = ("density", "height", "top")
        check_options(options, (cls.__init__, cls.auto_init), "the model", set_here)
        check_units(units)
        asymmetric = truth(asymmetric, "asymmetric")
        _check_form(density, density_params, density_options)
        density_knots = _knots_of(density, density_knots, density_knots_spacing_power)
        if knots is not None:
            make = partial(
                cls.auto_init,
                binned_data,
                density=density,
                density_params=density_params,
                asymmetric=asymmetric,
                label_knots_spacing_power=label_knots_spacing_power,
                density_knots_spacing_power=density_knots_spacing_power,
                density_options=density_options,
                **options,
            )
            sizes = {"label_knots": label_knots}
            if density == "free":
                sizes["density_knots"] = density_knots
            elif _has_knots(density):
                make = partial(make, density_knots=density_knots)
            return choose_knots(make, sizes, GaussianPixels.read(binned_data), knots)
        guess = initial.guess(binned_data)
        data = read_map(binned_data, kind_of(binned_data))
        pos, vel = np.asarray(data.pos)[guess.pixels], np.asarray(data.vel)[guess.pixels]
        heights, speeds = np.abs(pos - guess.pos0), np.abs(vel - guess.vel0)
        reach = float(heights.max())
        omega0 = float(np.exp(guess.ln_omega0))
        top = _outermost(heights, speeds, omega0, reach)
        more = {} if density_options is None else density_options
        if _has_knots(density):
            ends = _density_knots(density, density_knots, reach, top, density_knots_spacing_power)
            form = FORMS[density].about(ends, omega0, reach, asymmetric=asymmetric, **more)
            top = max(top, float(ends[-1]))
        elif density == "solar":
            form = LayeredDensity(solar_layers(), asymmetric, **more)
        elif callable(density):
            form = UserDensity(density, density_params or {}, top, asymmetric)
            form.check(form.start())
        else:
            form = LayeredDensity(density, asymmetric, **more)
        start = {
            "pos0": np.float64(guess.pos0),
            "vel0": np.float64(guess.vel0),
            "density_params": form.start(),
        }
        shape = initial.make_knots(label_knots, 1.0, label_knots_spacing_power, "label_knots")
        check_pixels(guess.pixels.size, Layout.of(start).size + len(shape))
        check_gradient(binned_data)
        # A pixel that is there twice changes no largest radius, but the number is one of few.
        extra = (0, -pos.size % 1024)
        points = Points(*(jnp.asarray(np.pad(x, extra, mode="edge")) for x in (pos, vel)))
        pull, r_max = map(float, _look(form, form.grid(top), start, jnp.asarray(reach), points))
        _check_mass(pull, omega0**2 * reach)
        radii = initial.make_knots(label_knots, r_max, label_knots_spacing_power, "label_knots")
        reference = float(np.log(guess.label_range / r_max))
        options = {"label_sign": guess.label_sign, "label_reference": reference} | options
        model = cls(radii, form, reach, top, **options)
        start["label_params"] = model.label.start(guess.label0)
        return model, *start_inside(model.given, _bounds(start, guess), start)

    def with_label(self, label: Label) -> "TorusImaging1DPotential":
        """The model with another label on the same orbits."""
        return eqx.tree_at(lambda model: model.on_orbits, self, label)

    def smoothed(self, factor: float) -> "TorusImaging1DPotential":
        """The model with the sds that keep its label and density smooth times `factor`."""
        factor = positive(factor, "factor")
        return eqx.tree_at(
            lambda m: (m.on_orbits.sigmas, m.density),
            self,
            (self.label.sigmas * jnp.array([1.0, factor]), self.density.smoothed(factor)),
        )

    def settings(self) -> dict:
        """The arguments that make this model, as numbers, lists and dictionaries of them.

        Raises ``ValueError`` for a user's own density, which is code.
        """
        label = self.label.first
        return {
            "label_knots": np.asarray(label.knots).tolist(),
            "density": self.density.settings(),
            "height": float(self.height),
            "top": float(self.grid.top),
            "label_sign": label.sign,
            "label_monotone": label.monotone,
            "label_reference": float(label.reference),
            "label_l2_sigma": float(label.sigmas[0]),
            "label_smooth_sigma": float(label.sigmas[1]),
            "priors": {name: to_numbers(given) for name, given in self.given.items()},
            **extras.settings(self.added),
        } | of_stars(self.label)

    @classmethod
    def from_settings(cls, settings: dict) -> "TorusImaging1DPotential":
        """The model of `settings`."""
        settings = dict(settings)
        stars, more = settings.pop("stars", None), settings.pop("extras", {})
        form = dict(settings["density"])
        density = FORMS[form.pop("form")].from_settings(form)
        priors = {name: from_numbers(own) for name, own in settings["priors"].items()}
        model = cls(**(settings | {"density": density, "priors": priors}))
        model = model if stars is None else model.with_label(StarLabels.from_settings(stars))
        return model.with_extras(extras.from_settings(more))

    @property
    def parts(self) -> tuple[str, ...]:
        """The entries that a set of parameters must have."""
        own = (extra.name for extra in self.added)
        return ("pos0", "vel0", "density_params", "label_params", *own)

    @property
    def label_knots(self) -> Array:
        """The label's knots in r (kpc Myr^-1/2)."""
        return self.label.places

    @property
    def _label_knots(self) -> np.ndarray:
        return np.asarray(self.label.places)

    def is_possible(self, params: dict) -> Array:
        """Whether the density is nowhere negative."""
        return self.density.is_possible(params["density_params"])

    def check(self, params: dict) -> None:
        """Raise a ``ValueError`` for a user's density that is negative somewhere."""
        self.density.check(params["density_params"])

    @property
    def label(self) -> SplineLabel | StarLabels:
        """The label as a function of the orbit."""
        return self.on_orbits

    @property
    def extras(self) -> tuple[Extra, ...]:
        """What was added to the model."""
        return self.added

    def with_extras(self, added: tuple[Extra, ...]) -> "TorusImaging1DPotential":
        """The model with these additions alone."""
        return eqx.tree_at(lambda m: m.added, self, added, is_leaf=lambda x: x is self.added)

    def foliation(self, params: dict) -> PotentialFoliation:
        """The orbits for a set of parameters."""
        above, below = self.density.sides(params["density_params"])
        centre = jnp.asarray(params["pos0"]), jnp.asarray(params["vel0"])
        return PotentialFoliation(*centre, above, below, self.grid, self.fine, self.height)

    @property
    def form(self) -> str:
        """Which form of the density the model has, in words."""
        return self.density.words

    def meaning(self, name: str) -> str:
        """What a parameter stands for, in words."""
        first, _, rest = name.partition(".")
        if first == "density_params":
            return self.density.meaning(rest)
        return super().meaning(name)

    def template(self) -> dict:
        """Parameters of the right shape, at the centre of the default prior where it has one."""
        return {
            "pos0": jnp.zeros(()),
            "vel0": jnp.zeros(()),
            "density_params": jax.tree.map(jnp.asarray, self.density.start()),
            "label_params": self.label.template(),
            **extras.templates(self.added),
        }

    @property
    def dofs(self) -> dict[str, Array]:
        """Degrees of freedom of the density's factor that is a Student's t, if it is one."""
        own = {f"density_params.{name}": dof for name, dof in self.density.dofs.items()}
        return own | extras.dofs(self.added)

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """The density's prior and the label's smoothness."""
        parts = {"density_params": self.density, "label_params": self.label}
        return {
            f"{part}.{name}": factor
            for part, own in parts.items()
            for name, factor in own.prior_factors(params[part]).items()
        } | extras.prior_factors(self.added, params)

    @property
    def shape_sd(self) -> float:
        """sd of the largest ln ratio of densities at two heights in the prior."""
        return self.density.shape_sd

    @property
    def knots(self) -> dict[str, Array]:
        """Heights of the density's knots (kpc)."""
        return {"density": self.density.places}

    @property
    def has_dark_matter(self) -> bool:
        """Whether the density has a part that counts as dark matter."""
        return self.density.has_dark_matter

    def dark_density_at(self, pos: Array, params: dict) -> Array:
        """The dark matter's density (Msun/kpc^3) at plain positions; NaN beyond the model's end."""
        q = pos - params["pos0"]
        above, below = self._dark(params)
        x = jnp.abs(q)
        rho = jnp.where(q >= 0, above.density(x), below.density(x))
        return jnp.where(x <= self.height, rho, jnp.nan)

    def dark_surface_density_at(self, height: Array, params: dict) -> Array:
        """Dark matter within +-height (Msun/kpc^2); NaN beyond the model's end."""
        above, below = self._dark(params)
        mass = (above.force(height) + below.force(height)) / FOUR_PI_G
        return jnp.where(height <= self.height, mass, jnp.nan)

    def get_dark_density(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """The dark matter's density at `pos`, in Msun/kpc^3; NaN beyond the model's end.

        Raises ``ValueError`` for a form without dark matter.
        """
        z = jnp.asarray(internal(pos, u.kpc, "pos"))
        return np.asarray(self.dark_density_at(z, self.floats(params))) * DENSITY

    def get_dark_surface_density(self, height: u.Quantity, params: dict) -> u.Quantity:
        """Dark matter within +-height of the plane's centre, in Msun/kpc^2.

        Raises ``ValueError`` for a form without dark matter.
        """
        params, x = self.floats(params), jnp.asarray(heights_of(height))
        return np.asarray(self.dark_surface_density_at(x, params)) * SURFACE_DENSITY

    def _dark(self, params: dict) -> tuple[Side, Side]:
        sides = self.density.dark_sides(params["density_params"])
        if sides is None:
            raise ValueError("this model's density has no part that counts as dark matter.")
        return sides


def _check_form(density, params: dict | None, options: dict | None) -> None:
    """Raise a ``ValueError`` for an unknown form, and for arguments that another form takes."""
    if isinstance(density, str):
        choice(density, "density", NAMED)
    elif not (callable(density) or isinstance(density, list | tuple)):
        raise ValueError(
            f"density must be one of {', '.join(NAMED)}, a list of layers or a function, but "
            f"{shown(density)} was given."
        )
    if callable(density):
        if dictionary(options, "density_options"):
            raise ValueError(
                "density_options are of a smooth or free density and of layers, but density is a "
                "function."
            )
        return
    if params is not None:
        raise ValueError(
            f"density_params are of a density that is a function, but density is {shown(density)}."
        )
    maker = FORMS[density] if _has_knots(density) else LayeredDensity
    taken = ("knots", "reference", "core", "layers", "asymmetric")
    check_options({} if options is None else options, (maker.__init__,), "density_options", taken)


def _check_mass(pull: float, expected: float) -> None:
    """Raise a ``ValueError`` for a density whose pull is of another order than the map's."""
    if not 1e-4 * expected < pull < 1e4 * expected:
        raise ValueError(
            f"density must be in Msun/kpc^3 and within 1e4 of what the map suggests, but its start "
            f"pulls {pull / expected:.3g} times as strongly."
        )


@eqx.filter_jit
def _look(
    form: DensityForm, grid: OrbitGrid, start: dict, reach: Array, points: Points
) -> tuple[Array, Array]:
    """The pull at the data's height and the largest radius of the pixels' orbits at the start."""
    above, below = form.sides(jax.tree.map(jnp.asarray, start["density_params"]))
    centre = jnp.asarray(start["pos0"]), jnp.asarray(start["vel0"])
    orbits = PotentialFoliation(*centre, above, below, grid, grid, reach)
    return above.force(reach), jnp.max(orbits.radius(points))


def _outermost(heights: np.ndarray, speeds: np.ndarray, omega0: float, reach: float) -> float:
    """Height (kpc) where the outermost pixel's orbit turns in the reference density, and more."""
    z = np.linspace(0.0, FARTHEST * reach, 501)
    phi = potential_matrix(z, z) @ reference_density(z, omega0, reach)
    energy = speeds**2 / 2 + np.interp(heights, z, phi)
    return float(max(1.05 * reach, min(MARGIN * np.interp(energy.max(), phi, z), z[-1])))


def _has_knots(density) -> bool:
    """Whether this is the name of a form that has knots."""
    return isinstance(density, str) and density in KNOTS


def _knots_of(density, knots, power):
    """The given knots, or the form's number of them.

    Raises ``ValueError`` for knots, or a power for their spacing, that the form has not.
    """
    if not _has_knots(density):
        if knots is not None or power is not None:
            raise ValueError(
                "density_knots are of a smooth or free density, but density is "
                f"{'a function' if callable(density) else shown(density)}."
            )
        return None
    if power is not None and density != "free":
        raise ValueError(
            "density_knots_spacing_power is of a free density: the knots of a smooth one are even "
            "in asinh(|z| / core)."
        )
    return KNOTS[density] if knots is None else knots


def _density_knots(density: str, knots, reach: float, top: float, power) -> np.ndarray:
    if initial.are_knots(knots):
        plain = radial_knots(knots, u.kpc, "density_knots")
        if plain[-1] > FARTHEST * reach or np.sum(plain <= reach) < 2:
            raise ValueError(
                "density_knots must be heights in kpc, two of them within the data's "
                f"{reach:.4g} kpc and the last within {FARTHEST:g} times that, but "
                f"{plain.tolist()} was given."
            )
        if plain[-1] < COVERAGE * reach:
            raise ValueError(
                f"density_knots must cover the data, which reach |z| = {reach:.4g} kpc, but end "
                f"at {plain[-1]:.4g} kpc."
            )
        return plain
    if density == "smooth":
        return smooth_knots(
            initial.number_of_knots(knots, LEAST_KNOTS, "density_knots"), reach, top
        )
    number = initial.number_of_knots(knots, 3, "density_knots")
    power = SPACING_POWER if power is None else power
    return np.r_[initial.make_knots(number - 1, reach, power, "density_knots"), top]


def _bounds(start: dict, guess: initial.Guess) -> dict:
    """Wide limits about the start, nested like the parameters: ``(lower, upper)`` each."""
    wide = 12.0

    def around(tree):
        if isinstance(tree, dict):
            return {k: around(v) for k, v in tree.items()}
        return (np.full(np.shape(tree), -np.inf), np.full(np.shape(tree), np.inf))

    label = start["label_params"]["label_vals"]
    low, high = label - wide, label + wide
    low[0], high[0] = label[0] - 5 * guess.label_range, label[0] + 5 * guess.label_range
    return {
        "pos0": (guess.pos0 - 0.25 * guess.pos_range, guess.pos0 + 0.25 * guess.pos_range),
        "vel0": (guess.vel0 - 0.25 * guess.vel_range, guess.vel0 + 0.25 * guess.vel_range),
        "density_params": around(start["density_params"]),
        "label_params": {"label_vals": (low, high)},
    }
