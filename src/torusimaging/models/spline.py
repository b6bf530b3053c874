"""The Fourier family with monotone quadratic splines for the label and the distortions."""

from functools import partial

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..arguments import (
    check_options,
    choice,
    dictionary,
    nearest,
    positive,
    real_number,
    shown,
    sign,
)
from ..data.gradient import check_gradient, check_pixels
from ..data.pixels import require_x64
from ..foliation import FourierFoliation
from ..inference.knots import choose_knots
from ..labels import Label, SplineLabel, StarLabels, of_stars
from ..likelihoods import GaussianPixels
from ..parameters import Layout, start_inside
from ..priors.named import Distribution, as_arrays, from_numbers, to_numbers
from ..priors.slopes import published_slope_residuals, slope_residuals
from ..splines import QuadraticSpline, plain_radii, radial_knots
from ..units import check_units, plain_parameter
from . import extras
from . import start as initial
from .base import OrbitModel
from .contours import CONVENTIONS, PARTS, by_order, check_e_funcs
from .extras import Extra

PRIORS = ("default", "price-whelan25")
# sd of the mean ln-slope of a distortion about its reference where an amplitude carries its scale.
LEVEL_SIGMA = 0.1


class TorusImaging1DSpline(OrbitModel):
    r"""Orbits and labels from splines of the ln-slopes at knots.

    ``params`` holds pos0 (kpc), vel0 (kpc/Myr), ln_Omega0 (rad/Myr),
    ``e_params[m]["vals"]``, the ln-slopes of sign_m e_m / amplitude at all knots but the first,
    where e_m(0) = 0, ``e_params[m]["amplitude"]``, by which e_m is multiplied (1 where it is left
    out; 0 makes circles, as a harmonic field has, and it may be negative), and
    ``label_params["label_vals"]``, the label at r = 0 and the ln-slopes of label_sign * label at
    the other knots.

    Parameters
    ----------
    label_knots : array, increasing, from 0 (unit of r: kpc Myr^-1/2)
    e_knots : ``{m: array}``, increasing, from 0 (unit of r_e: kpc Myr^-1/2)
    e_signs : ``{m: +1 or -1}``, the sign of e_m; default +1 for m = 2, -1 otherwise
    label_sign : +1 for a label that rises outwards, -1 for one that falls
    convention : the elliptical angle, "pv" or "vp"
    prior : "default", normal priors on the amplitudes and on ln-slopes about `references`, and a
        random walk between knots (with amplitudes the mean of a distortion's ln-slopes is held to
        0.1), or "price-whelan25", normal priors on the slopes themselves
    label_l2_sigma, label_smooth_sigma, e_l2_sigmas, e_smooth_sigmas : their standard deviations
    dacc_strength : strength of the prior against negative density (0: none)
    amplitude_sigma : sd of the default prior of each amplitude about 1; None for distortions that
        keep their sign and cannot vanish, without amplitudes, as with "price-whelan25"
    references : ``{"label": ln-slope, m: ln-slopes}``, centres of the default prior (a number, or
        one for each knot but the first)
    priors : numpyro distributions by the name of their parameter (see `with_priors`)
    units : a unit system, for scripts that give one, without effect

    Raises ``ValueError`` for knots that are not increasing or do not start at 0, an unknown
    order, sign, convention or prior.

    Source: Price-Whelan et al. 2025 (arXiv:2401.07903); the default prior is this package's own.
    """

    on_orbits: SplineLabel | StarLabels
    e_knots: dict
    e_references: dict
    e_sigmas: dict
    dacc_strength: Float[Array, ""]
    amplitude_sigma: Float[Array, ""] | None
    orders: tuple[int, ...] = eqx.field(static=True)
    e_signs: tuple[int, ...] = eqx.field(static=True)
    convention: str = eqx.field(static=True)
    prior: str = eqx.field(static=True)
    given: dict[str, Distribution]
    added: tuple[Extra, ...]

    def __init__(
        self,
        label_knots,
        e_knots: dict,
        e_signs: dict | None = None,
        units=None,
        *,
        label_sign: int = 1,
        convention: str = "pv",
        prior: str = "default",
        label_l2_sigma: float = 1.0,
        label_smooth_sigma: float = 0.5,
        e_l2_sigmas: dict | None = None,
        e_smooth_sigmas: dict | None = None,
        dacc_strength: float = 1e2,
        amplitude_sigma: float | None = 1.0,
        references: dict | None = None,
        priors: dict | None = None,
    ):
        require_x64()
        check_units(units)
        label_knots = radial_knots(label_knots, initial.RADIUS, "label_knots")
        e_knots = {
            m: radial_knots(k, initial.RADIUS, f"e_knots[{m}]")
            for m, k in by_order(e_knots, "e_knots").items()
        }
        e_signs, e_l2_sigmas, e_smooth_sigmas = (
            _for_orders(given, e_knots, name)
            for name, given in (
                ("e_signs", e_signs),
                ("e_l2_sigmas", e_l2_sigmas),
                ("e_smooth_sigmas", e_smooth_sigmas),
            )
        )
        signs = {m: (1 if m == 2 else -1) for m in e_knots} | e_signs
        signs = {m: sign(value, f"e_signs[{m}]") for m, value in signs.items()}
        self.orders = tuple(sorted(e_knots))
        self.e_knots = {m: jnp.asarray(e_knots[m], float) for m in self.orders}
        self.e_signs = tuple(signs[m] for m in self.orders)
        label_sign = sign(label_sign, "label_sign")
        self.convention = choice(convention, "convention", CONVENTIONS)
        self.prior = choice(prior, "prior", PRIORS)
        _check_references(references, self.e_knots)
        centres = initial.reference_slopes(label_knots, self.e_knots) | (references or {})
        self.e_references = {
            m: jnp.broadcast_to(jnp.asarray(centres[m], float), len(self.e_knots[m]) - 1)
            for m in self.orders
        }
        sigma = {m: 1.0 for m in self.orders} | e_l2_sigmas
        smooth = {m: 0.4 for m in self.orders} | e_smooth_sigmas
        for name, value in [
            ("label_l2_sigma", label_l2_sigma),
            ("label_smooth_sigma", label_smooth_sigma),
            *((f"e_l2_sigmas[{m}]", v) for m, v in sigma.items()),
            *((f"e_smooth_sigmas[{m}]", v) for m, v in smooth.items()),
        ]:
            positive(value, name)
        strength = "a number of at least 0"
        dacc_strength = real_number(dacc_strength, "dacc_strength", strength, lambda x: x >= 0)
        self.on_orbits = SplineLabel(
            jnp.asarray(label_knots, float),
            jnp.asarray(centres["label"], float),
            jnp.asarray([label_l2_sigma, label_smooth_sigma], float),
            label_sign,
            published=self.prior != "default",
        )
        self.e_sigmas = {m: jnp.asarray([sigma[m], smooth[m]], float) for m in self.orders}
        self.dacc_strength = jnp.asarray(dacc_strength, float)
        if prior == "price-whelan25" or amplitude_sigma is None:
            self.amplitude_sigma = None
        else:
            allowed = "positive or None"
            sd = real_number(amplitude_sigma, "amplitude_sigma", allowed, lambda x: x > 0)
            self.amplitude_sigma = jnp.asarray(sd)
        self.given = as_arrays(priors)
        self.added = ()

    @classmethod
    def auto_init(
        cls,
        binned_data: dict,
        label_knots=6,
        e_knots: dict | None = None,
        e_signs: dict | None = None,
        units=None,
        label_knots_spacing_power: float = 1.0,
        e_knots_spacing_power: float = 0.5,
        re_max_factor: float = 1.0,
        knots: str | None = None,
        **options,
    ) -> tuple["TorusImaging1DSpline", dict, dict]:
        """A model, bounds and a start for a binned map (see `models.start.guess`).

        `label_knots` and the values of `e_knots` are numbers of knots, or the knots themselves;
        `options` go to the class.  The data decide the sign of the label's slope, the centre, the
        frequency and the range of the knots: the largest r_e of a pixel times `re_max_factor`.
        Knots are even in r_e to the `*_spacing_power`.

        ``knots="auto"`` picks the numbers of knots and the smoothness by the ln evidence: 4, 6, 8
        or 10 knots of the label, then three quarters, all or five quarters of `e_knots`, then the
        given smoothness sds times 0.5, 1 or 2; numbers that are given are where it begins, and
        knots that are given are kept.  It compiles and fits up to 6 models, half a minute to two.
        Raises ``ValueError`` for fewer pixels than parameters, a label that says nothing of the
        orbits (see `data.gradient.changes`), and ``prior="price-whelan25"`` with it, which has no
        evidence.
        """
        require_x64()
        e_knots = by_order({2: 8, 4: 4} if e_knots is None else e_knots, "e_knots")
        check_options(options, (cls.__init__, cls.auto_init), "the model")
        check_units(units)
        factor = "a number from 0.01 to 100"
        real_number(re_max_factor, "re_max_factor", factor, lambda x: 0.01 <= x <= 100)
        if knots is not None:
            make = partial(
                cls.auto_init,
                binned_data,
                e_signs=e_signs,
                label_knots_spacing_power=label_knots_spacing_power,
                e_knots_spacing_power=e_knots_spacing_power,
                re_max_factor=re_max_factor,
                **options,
            )
            sizes = {"label_knots": label_knots, "e_knots": e_knots}
            return choose_knots(make, sizes, GaussianPixels.read(binned_data), knots)
        guess = initial.guess(binned_data)
        r_max = guess.r_e_max * re_max_factor
        label = initial.make_knots(label_knots, r_max, label_knots_spacing_power, "label_knots")
        radii = {
            m: initial.make_knots(k, r_max, e_knots_spacing_power, f"e_knots[{m}]")
            for m, k in e_knots.items()
        }
        references = initial.reference_slopes(label, radii) | {
            "label": np.log(guess.label_range / r_max)
        }
        options = {"label_sign": guess.label_sign, "references": references} | options
        model = cls(label, radii, e_signs, units, **options)
        params = initial.start(model, guess)
        check_pixels(guess.pixels.size, Layout.of(params).size)
        check_gradient(binned_data)
        return model, *start_inside(model.given, initial.bounds(params, guess), params)

    def with_label(self, label: Label) -> "TorusImaging1DSpline":
        """The model with another label on the same orbits."""
        return eqx.tree_at(lambda model: model.on_orbits, self, label)

    def smoothed(self, factor: float) -> "TorusImaging1DSpline":
        """The model with the smoothness sds of its label and distortions times `factor`."""
        scale = jnp.array([1.0, positive(factor, "factor")])
        sigmas = [self.label.sigmas * scale, {m: s * scale for m, s in self.e_sigmas.items()}]
        return eqx.tree_at(lambda m: [m.on_orbits.sigmas, m.e_sigmas], self, sigmas)

    def settings(self) -> dict:
        """The arguments that make this model, as numbers and lists."""
        knots = {m: np.asarray(k).tolist() for m, k in self.e_knots.items()}
        label = self.label.first
        return {
            "label_knots": np.asarray(label.knots).tolist(),
            "e_knots": knots,
            "e_signs": dict(zip(self.orders, self.e_signs, strict=True)),
            "label_sign": label.sign,
            "convention": self.convention,
            "prior": self.prior,
            "label_l2_sigma": float(label.sigmas[0]),
            "label_smooth_sigma": float(label.sigmas[1]),
            "e_l2_sigmas": {m: float(s[0]) for m, s in self.e_sigmas.items()},
            "e_smooth_sigmas": {m: float(s[1]) for m, s in self.e_sigmas.items()},
            "dacc_strength": float(self.dacc_strength),
            "amplitude_sigma": None
            if self.amplitude_sigma is None
            else float(self.amplitude_sigma),
            "references": {"label": float(label.reference)}
            | {m: np.asarray(v).tolist() for m, v in self.e_references.items()},
            "priors": {name: to_numbers(given) for name, given in self.given.items()},
            **extras.settings(self.added),
        } | of_stars(self.label)

    @classmethod
    def from_settings(cls, settings: dict) -> "TorusImaging1DSpline":
        """The model of `settings`; those written before there were amplitudes have none."""
        settings = dict(settings)
        stars, more = settings.pop("stars", None), settings.pop("extras", {})
        priors = {name: from_numbers(own) for name, own in settings["priors"].items()}
        model = cls(**({"amplitude_sigma": None} | settings | {"priors": priors}))
        model = model if stars is None else model.with_label(StarLabels.from_settings(stars))
        return model.with_extras(extras.from_settings(more))

    @property
    def label_knots(self) -> Array:
        """The label's knots in r (kpc Myr^-1/2)."""
        return self.label.places

    @property
    def _label_knots(self) -> np.ndarray:
        return np.asarray(self.label.places)

    @property
    def knots(self) -> dict[str, Array]:
        """Knots of the distortions in r_e (kpc Myr^-1/2)."""
        return {f"e_{m}": k for m, k in self.e_knots.items()}

    @property
    def parts(self) -> tuple[str, ...]:
        """The entries that a set of parameters must have."""
        return (*PARTS, *(extra.name for extra in self.added))

    @property
    def dofs(self) -> dict[str, Array]:
        """Degrees of freedom of factors that are a Student's t, if any."""
        return extras.dofs(self.added)

    check_e_funcs = check_e_funcs

    @property
    def label(self) -> SplineLabel | StarLabels:
        """The label as a function of the orbit."""
        return self.on_orbits

    @property
    def extras(self) -> tuple[Extra, ...]:
        """What was added to the model."""
        return self.added

    def with_extras(self, added: tuple[Extra, ...]) -> "TorusImaging1DSpline":
        """The model with these additions alone."""
        return eqx.tree_at(lambda m: m.added, self, added, is_leaf=lambda x: x is self.added)

    def foliation(self, params: dict) -> FourierFoliation:
        """The orbits for a set of parameters."""
        splines = tuple(
            QuadraticSpline(
                self.e_knots[m],
                jnp.zeros(()),
                sign
                * jnp.asarray(params["e_params"][m].get("amplitude", 1.0))
                * jnp.exp(jnp.asarray(params["e_params"][m]["vals"])),
            )
            for m, sign in zip(self.orders, self.e_signs, strict=True)
        )
        return FourierFoliation(
            jnp.exp(jnp.asarray(params["ln_Omega0"])),
            jnp.asarray(params["pos0"]),
            jnp.asarray(params["vel0"]),
            splines,
            self.orders,
            self.convention,
            self.r_e_max(params),
        )

    def get_es(self, r_e: Array, params: dict) -> dict[int, np.ndarray]:
        """``{m: e_m(r_e)}`` at plain radii (kpc Myr^-1/2), which are not negative."""
        require_x64(self)
        splines = self.foliation(self.floats(params, label=False)).e_funcs
        radii = jnp.asarray(plain_radii(r_e, "r_e"))
        return {m: np.asarray(e(radii)) for m, e in zip(self.orders, splines, strict=True)}

    def r_e_max(self, params: dict) -> Array:
        """The last knot that all distortions share."""
        if not self.orders:
            return self.label.places[-1]
        return jnp.min(jnp.stack([k[-1] for k in self.e_knots.values()]))

    def template(self) -> dict:
        """Parameters of the right shape, at the centre of the default prior where it has one."""
        zero = jnp.zeros(())
        return {
            "pos0": zero,
            "vel0": zero,
            "ln_Omega0": zero,
            "e_params": {m: {"vals": self.e_references[m]} | self._amplitude for m in self.orders},
            "label_params": self.label.template(),
            **extras.templates(self.added),
        }

    @property
    def _amplitude(self) -> dict[str, Array]:
        """The entry of an order's amplitude at the centre of its prior, where the model has one."""
        return {} if self.amplitude_sigma is None else {"amplitude": jnp.ones(())}

    def floats(self, params: dict, label: bool = True) -> dict:
        """A copy of the caller's parameters as float arrays, with the amplitudes that they lack.

        Sets in the published exchange format have none: theirs are 1.  Raises ``ValueError`` as
        every model does.
        """
        orders = params.get("e_params") if isinstance(params, dict) else None
        if isinstance(orders, dict) and (text := [m for m in orders if isinstance(m, str)]):
            raise ValueError(
                f"e_params of params must be by order m, an integer, but has {shown(text[0])}."
            )
        if isinstance(orders, dict) and all(isinstance(own, dict) for own in orders.values()):
            params = params | {"e_params": {m: self._amplitude | own for m, own in orders.items()}}
        return super().floats(params, label)

    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Smoothness of the label and of the distortions."""
        own = self.label.prior_factors(params["label_params"])
        factors = {f"label_params.{name}": factor for name, factor in own.items()}
        for m in self.orders:
            vals, sigmas = params["e_params"][m]["vals"], self.e_sigmas[m]
            factors[f"e_params.{m}.vals"] = (
                slope_residuals(vals, self.e_references[m], *sigmas)
                if self.prior == "default"
                else published_slope_residuals(vals, *sigmas)
            )
        for name, residual in self._amplitude_factors(params).items():
            factors[name] = jnp.append(factors.get(name, jnp.zeros(0)), residual)
        return factors | extras.prior_factors(self.added, params)

    def _amplitude_factors(self, params: dict) -> dict[str, Array]:
        """Normals of the amplitudes about 1 and of the mean ln-slopes about their references.

        The scale of a distortion is its amplitude's: without the second both would share it.
        """
        if self.amplitude_sigma is None:
            return {}
        out = {}
        for m in self.orders:
            own = params["e_params"][m]
            out[f"e_params.{m}.vals"] = jnp.mean(own["vals"] - self.e_references[m]) / LEVEL_SIGMA
            out[f"e_params.{m}.amplitude"] = (own["amplitude"] - 1.0) / self.amplitude_sigma
        return out

    def constraints(self, params: dict) -> Array:
        """Positive density and nested contours."""
        foliation = self.foliation(params)
        # Both grids are fixed in r_e: one table of the splines serves them.
        u = jnp.linspace(0.0, 1.0, 25)[1:] * self.r_e_max({})
        jets = foliation.jets(u)
        return jnp.concatenate(
            [self._density_terms(foliation, u, jets), _nesting_terms(foliation, u, jets)]
        )

    def _density_terms(self, foliation: FourierFoliation, u: Array, jets: list) -> Array:
        """sqrt(strength) max(da/dz, 0) / Omega0^2 at u, zero where the density is positive."""
        if not foliation.has_force:
            return jnp.zeros(0)
        slope = -foliation.axis_ratio(u, foliation.axis_cosines(u), jets)[1]
        return jnp.sqrt(self.dacc_strength) * jnp.maximum(slope, 0.0)


def _for_orders(given: dict | None, e_knots: dict, name: str) -> dict:
    """What is given for some of the orders; a ``ValueError`` where e_knots has no such order."""
    given = by_order({} if given is None else given, name)
    if unknown := [m for m in given if m not in e_knots]:
        raise ValueError(
            f"{name} must be for the orders {', '.join(map(str, e_knots))} of e_knots, but has "
            f"{', '.join(map(str, unknown))}."
        )
    return given


def _check_references(references: dict | None, e_knots: dict) -> None:
    """Raise a ``ValueError`` for centres of the prior that are no numbers, or of no spline."""
    for name, given in dictionary(references, "references").items():
        if name != "label" and name not in e_knots:
            raise ValueError(f"references has no {shown(name)}{nearest(name, ['label', *e_knots])}")
        size = 1 if name == "label" else len(e_knots[name]) - 1
        values = plain_parameter(given, f"references[{name!r}]")
        if not np.all(np.isfinite(values)) or values.shape not in ((), (size,)):
            raise ValueError(
                f"references[{name!r}] must be a finite number{f', or {size}' * (size > 1)}, but "
                f"{shown(given)} was given."
            )


def _nesting_terms(foliation: FourierFoliation, u: Array, jets: list) -> Array:
    """10 max(0.1 - dr/dr_e, 0) at every third u and some angles, zero where contours nest."""
    theta = np.linspace(0.0, np.pi / 2 if foliation.even else np.pi, 5 if foliation.even else 9)
    slope = jnp.ones((u[2::3].size, theta.size))
    for m, (f0, f1, _) in zip(foliation.orders, jets, strict=True):
        slope = slope + (f0 + u * f1)[2::3, None] * np.cos(m * theta)
    return 10.0 * jnp.ravel(jnp.maximum(0.1 - slope, 0.0))
