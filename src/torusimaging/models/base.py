"""What every model of the vertical phase plane is, and the verbs that all of them have."""

import abc
from typing import Any, ClassVar

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable
from jaxtyping import Array

from ..arguments import shown
from ..coordinates import VERTICAL, Plane, Points
from ..data.pixels import VELOCITY, check_names, require_x64
from ..foliation import Foliation, field
from ..foliation.tables import BEYOND, NOT_FINITE, OUTWARD, Orbits
from ..inference.problem import Problem, evaluate, evaluate_label, minus_ln_posterior
from ..labels import Label
from ..likelihoods import GaussianPixels, Likelihood, PoissonPixels
from ..parameters import Bounds, Layout, check_structure, make_bounds, unpack_bounds
from ..priors import joint, named
from ..priors.slopes import student_residuals
from ..splines import plain_radii
from ..units import internal, plain_parameter
from . import verbs
from .extras import Extra, RadialChange

SCALARS = ("pos0", "vel0", "ln_Omega0", RadialChange.name)


class OrbitModel(eqx.Module):
    """A map of a label over the (pos, vel) plane whose contours are orbits (abstract).

    Parameters make a foliation, and a label on its orbits; both have priors.

    `given` holds the user's own priors by the name of what they are for (see `with_priors`).
    """

    given: eqx.AbstractVar[dict[str, named.Distribution]]
    # What pos and vel are, and what the field of the orbits means.
    plane: ClassVar[Plane] = VERTICAL

    def __repr__(self) -> str:
        own = f"priors of {', '.join(self.given)}" if self.given else "default priors"
        return f"{type(self).__name__}({own})"

    @property
    @abc.abstractmethod
    def label(self) -> Label:
        """The label as a function of the orbit."""

    @classmethod
    def auto_init(cls, binned_data: Any, **options: Any) -> tuple["OrbitModel", dict, dict]:
        """A model, bounds and a start for a binned map, which `fit_map` asks for."""
        raise ValueError(f"{cls.__name__} has no start of its own: give the model and parameters.")

    @classmethod
    def from_settings(cls, settings: dict) -> "OrbitModel":
        """The model of `settings`."""
        raise ValueError(f"{cls.__name__} is code, and cannot be read from a file.")

    @abc.abstractmethod
    def foliation(self, params: dict) -> Foliation:
        """The orbits for a set of parameters; at R0 where the field changes with the radius R."""

    @property
    def extras(self) -> tuple[Extra, ...]:
        """What was added to the model (see `models.extras`); nothing here."""
        return ()

    def orbits(self, params: dict) -> Foliation:
        """The orbits with all that was added to the model, so at every radius R."""
        found = self.foliation(params)
        for extra in self.extras:
            found = extra.around(found, params[extra.name])
        return found

    def label_of_radius(self, r: Array, params: dict) -> Array:
        """The label on the orbit of radius r."""
        return self.label.value(r, params["label_params"])

    @abc.abstractmethod
    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the default prior, each a normal distribution of the parameters it names.

        As residuals, whose squares, halved, are minus the ln of the factor.  One may depend on
        parameters of others.  Those of `dofs` are multivariate Student's t.
        """

    @property
    def dofs(self) -> dict[str, Array]:
        """Degrees of freedom of the factors whose residuals have a common unknown sd, if any."""
        return {}

    @abc.abstractmethod
    def template(self) -> dict | None:
        """Parameters of the right shape; None where the model cannot know it."""

    def constraints(self, params: dict) -> Array:
        """Residuals that are zero where the parameters make a possible model; none here."""
        return jnp.zeros(0)

    def is_possible(self, params: dict) -> Array:
        """Whether parameters have any probability, where a model knows more than its prior says."""
        return jnp.ones((), bool)

    @property
    def is_regularized(self) -> bool:
        """Whether `regularization` is a term of the model's own, which is no distribution."""
        return type(self).regularization is not OrbitModel.regularization

    def regularization(self, params: dict) -> Array:
        """A user's own term of minus the ln prior; nothing here."""
        return jnp.zeros(())

    @property
    def is_least_squares(self) -> bool:
        """Whether the prior is a sum of squares between limits, as Levenberg-Marquardt needs."""
        return not self.is_regularized and all(map(named.is_square, self.given.values()))

    def prior_residuals(self, params: dict) -> Array:
        """Terms whose squares, halved, are minus the ln prior but for `penalty`.

        A given prior takes the place of the default factors that it covers, and multiplies one
        of which it names an entry.
        """
        terms = [
            factor if dof is None else student_residuals(factor, dof)
            for factor, dof in self.linear_factors(params)
        ]
        return jnp.concatenate([*terms, self.constraints(params)])

    def linear_factors(self, params: dict) -> list[tuple[Array, Array | None]]:
        """Linear residuals of each factor of the prior, and its degrees of freedom if it is a t."""
        places = [named.Place.of(name) for name in self.given]
        factors = [
            (factor, self.dofs.get(name))
            for name, factor in self.prior_factors(params).items()
            if not any(p.covers(named.Place.of(name)) for p in places)
        ]
        return factors + [
            (named.normal_residuals(given, named.entry(params, name)), None)
            for name, given in self.given.items()
            if named.is_normal(given)
        ]

    def penalty(self, params: dict) -> Array:
        """The terms of minus the ln prior that are no sums of squares."""
        total = self.regularization(params)
        for name, given in self.given.items():
            if not named.is_square(given):
                total -= named.ln_density(given, named.entry(params, name))
        return total

    @property
    def priors(self) -> dict[str, named.Distribution]:
        """The distributions whose product is the prior, by the name of their parameter.

        Default ones as numpyro normals, each marginalised over the others.  Parameters that are
        missing are uniform between their bounds; `constraints` come on top, and so does the
        published regularisation, which is no distribution.
        """
        require_x64(self)
        return joint.marginals(self)

    def with_priors(self, priors: dict[str, named.Distribution]) -> "OrbitModel":
        """The model with further priors, numpyro distributions by the name of their parameter.

        Names are those of `priors`, of any other part of the parameters (``pos0``,
        ``density_params.ln_rho``) or of one entry (``density_params.ln_rho[0]``).  A prior takes
        the place of the default one that it covers; a prior for a single entry multiplies it.
        Raises ``ValueError`` for anything but distributions.
        """
        require_x64(self)
        new = self.given | named.as_arrays(priors)
        return eqx.tree_at(lambda model: model.given, self, new, is_leaf=lambda x: x is self.given)

    @property
    @abc.abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The entries that a set of parameters must have."""

    def check(self, params: dict) -> None:
        """Raise a ``ValueError`` for parameters that make no model; all do here."""
        return None

    def floats(self, params: dict, label: bool = True) -> dict:
        """A copy of the caller's parameters as float arrays; the caller's are never touched.

        Quantities are taken for pos0 and vel0, and ``label_params`` may be missing where no
        `label` is asked for.  Raises ``ValueError`` for a part that is missing,
        unknown, of the wrong shape or not finite, and for parameters that make no model;
        ``RuntimeError`` where JAX or the model is not in double precision.
        """
        require_x64(self)
        if not isinstance(params, dict):
            raise ValueError(f"params must be a dictionary, but {type(params).__name__} was given.")
        parts = tuple(dict.fromkeys((*self.parts, *(("label_params",) if label else ()))))
        if missing := [name for name in parts if name not in params]:
            raise ValueError(
                f"params must have {', '.join(parts)}, but {', '.join(missing)} is missing."
            )
        for name in parts:
            if name.endswith("_params") and not isinstance(params[name], dict):
                raise ValueError(
                    f"{name} of params must be a dictionary, but {shown(params[name])} was given."
                )
        for name in SCALARS:
            if isinstance(params.get(name), dict):
                raise ValueError(f"{name} in params must be one number, but is a dictionary.")
        check_structure(params, self.template(), parts)
        out = jax.tree_util.tree_map_with_path(
            lambda path, x: jnp.asarray(plain_parameter(x, ".".join(str(k.key) for k in path))),
            params,
            is_leaf=lambda x: not isinstance(x, dict),
        )
        for name, x in named.leaves_of(out).items():
            if name in SCALARS and x.ndim:
                raise ValueError(f"{name} in params must be one number, but has shape {x.shape}.")
            if not np.all(np.isfinite(x)):
                raise ValueError(f"params must be finite, but {name} is {np.asarray(x)}.")
        self.check(out)
        return out

    def label_at(self, points: Points, params: dict) -> Array:
        """The label at plain points; their shape."""
        orbits = self.orbits(params)
        radius = orbits.radius(points)
        label = self.label_of_radius(radius, params)
        if self.extras:
            label = label + self.terms(orbits, points, radius, params)[0]
        return label

    def terms(
        self, orbits: Any, points: Points, radius: Array, params: dict, once: bool = False
    ) -> Array:
        """What was added to the labels at points, shape (labels,) + that of the points."""
        total = jnp.zeros((1, *jnp.shape(radius)))
        for extra in self.extras:
            total = total + extra.terms(orbits, points, radius, params[extra.name], once)
        return total

    def ln_gaussian_likelihood(self, params: dict, pos, vel, label, label_err, **means) -> float:
        """Normalised ln likelihood of pixel means with normal errors.

        `means` are ``pos_mean`` and ``vel_mean``, the stars' mean places, if they are known; what
        else a map holds is taken, but not used.
        """
        check_names(means, "ln_gaussian_likelihood")
        data = {"pos": pos, "vel": vel, "label": label, "label_err": label_err}
        return self._ln_likelihood(GaussianPixels.read(data | means), params)

    def ln_poisson_likelihood(self, params: dict, pos, vel, counts, selection=None) -> float:
        """Normalised ln likelihood of pixel counts, whose ln rate is the model's label.

        `selection` is the share of the stars that a survey holds in each pixel (all of them).
        """
        data = {"pos": pos, "vel": vel, "counts": counts, "selection": selection}
        return self._ln_likelihood(PoissonPixels.read(data), params)

    def _ln_likelihood(self, likelihood: Likelihood, params: dict) -> float:
        prediction = evaluate_label(self, self.floats(params), likelihood.points)
        return float(likelihood.ln(prediction))

    def objective_gaussian(self, params: dict, pos, vel, label, label_err, **means) -> float:
        """Minus the ln posterior up to a constant: half chi^2 plus the prior's terms."""
        check_names(means, "objective_gaussian")
        data = {"pos": pos, "vel": vel, "label": label, "label_err": label_err}
        return self._objective(GaussianPixels.read(data | means), params)

    def objective_poisson(self, params: dict, pos, vel, counts, selection=None) -> float:
        """Minus the ln posterior of counts up to a constant; `selection` as for the likelihood."""
        data = {"pos": pos, "vel": vel, "counts": counts, "selection": selection}
        return self._objective(PoissonPixels.read(data), params)

    def _objective(self, likelihood: Likelihood, params: dict) -> float:
        params = self.floats(params)
        problem = Problem.unlimited(self, likelihood, params)
        return float(evaluate(minus_ln_posterior, problem.layout.flatten(params), problem))

    def unlimited(self, params: dict) -> tuple[Layout, Bounds]:
        """The layout and bounds with which the free vector is that of the parameters themselves.

        Raises ``ValueError`` for parameters without probability in the given priors.
        """
        named.check_priors(self.given, params)
        layout = Layout.of(params)
        return layout, make_bounds(layout, params, None)

    def reach(self, params: dict) -> Array:
        """The height (kpc) above the plane's centre up to which the model has values."""
        return self.foliation(params).reach

    @property
    def has_dark_matter(self) -> bool:
        """Whether the density has a part that counts as dark matter."""
        return False

    def settings(self) -> dict:
        """The arguments that make this model, as numbers and lists; for those that files know.

        Raises ``ValueError`` for a model that is code.
        """
        raise ValueError(
            f"a {type(self).__name__} cannot be saved: its functions are code, not numbers."
        )

    @property
    def shape_sd(self) -> float:
        """sd of the largest ln ratio of densities at two heights in the prior (`DensityForm`)."""
        return np.inf

    @property
    def knots(self) -> dict[str, Array]:
        """Knots of the functions that shape the orbits, by the function's name; none here."""
        return {}

    @property
    def form(self) -> str:
        """Which form of the density the model has, in words; empty where it has one alone."""
        return ""

    def meaning(self, name: str) -> str:
        """What a parameter stands for, in words; its name where there are none."""
        first = name.partition(".")[0]
        return next((extra.meaning for extra in self.extras if extra.name == first), name)

    def get_label(self, pos: u.Quantity, vel: u.Quantity, params: dict) -> np.ndarray:
        """The model's label at (pos, vel), quantities of one shape; an array of that shape."""
        return np.asarray(evaluate_label(self, self.floats(params), _points(pos, vel)))

    def eval_label(self, r: Array, params: dict) -> np.ndarray:
        """The label on orbits of plain radius r (kpc Myr^-1/2), which is not negative."""
        require_x64(self)
        radii = jnp.asarray(plain_radii(r, "r"))
        return np.asarray(self.label_of_radius(radii, self.floats(params)))

    def compute_elliptical(
        self, pos: u.Quantity, vel: u.Quantity, params: dict
    ) -> tuple[u.Quantity, u.Quantity]:
        """Elliptical radius (kpc Myr^-1/2) and angle (rad, in [0, 2 pi)) of points."""
        points = _points(pos, vel)
        r_e, theta = self.foliation(self.floats(params, label=False)).elliptical(points)
        return np.asarray(r_e) * u.kpc / u.Myr**0.5, np.asarray(theta) * u.rad

    def get_acceleration(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """The acceleration at `pos` (length), in kpc/Myr^2; NaN beyond the model's last knot."""
        return self._axis(pos, params)[0] * field.ACCELERATION

    def get_acceleration_deriv(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """The derivative da/dpos at `pos`, in 1/Myr^2; NaN beyond the model's last knot."""
        return self._axis(pos, params)[1] / u.Myr**2

    def get_density(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """Mass density -(da/dpos) / (4 pi G), in Msun/kpc^3, by the 1-D Poisson equation."""
        return field.density_of(self._axis(pos, params)[1]) * field.DENSITY

    def get_surface_density(self, height: u.Quantity, params: dict) -> u.Quantity:
        """Mass within +-height of the plane's centre, in Msun/kpc^2.

        [a(-height) - a(height)] / (4 pi G), which is |a| / (2 pi G) for a symmetric field.
        Raises ``ValueError`` for a negative height.
        """
        params, h = self.floats(params, label=False), jnp.asarray(heights_of(height))
        return np.asarray(_surface_density(self, params, h)) * field.SURFACE_DENSITY

    def _axis(self, pos: u.Quantity, params: dict) -> tuple[np.ndarray, np.ndarray]:
        p = jnp.asarray(internal(pos, u.kpc, "pos"))
        a, slope = _axis(self, self.floats(params, label=False), p)
        return np.asarray(a), np.asarray(slope)

    def compute_action_angle(
        self, pos: u.Quantity, vel: u.Quantity, params: dict, R: u.Quantity | None = None
    ) -> QTable:
        """Action, angle, frequency and period of stars, from the contours alone.

        `R` are the stars' Galactocentric radii (length), for a model whose field changes with them;
        without it all stars are taken to be at the model's R0.  A star without a finite R is as one
        without a finite pos.

        Returns a `QTable` with J (kpc^2/Myr), theta (rad, in [0, 2 pi), 0 at pos0 moving up),
        Omega (rad/Myr), T (Myr) and flag: 0 inside the data, 1 beyond the model's last orbit, 2
        input not finite, 3 on an orbit that turns beyond the data: its values are there, but rest
        on the prior's density.  Stars of flag 1 and 2 are NaN; ``meta["n_outside"]``,
        ``meta["n_not_finite"]`` and ``meta["n_outward"]`` count those of 1, 2 and 3.

        Raises ``ValueError`` for places of unequal shapes and for an R of a model whose field is
        the same at all radii; `UnitError` for missing or wrong units.
        """
        require_x64()
        points = _points(pos, vel, R)
        if R is not None and not any(x.name == RadialChange.name for x in self.extras):
            raise ValueError(
                "R was given, but the field of this model does not change with R: leave it out, or "
                "fit stars that have an R (`fit_stars`)."
            )
        columns = [jnp.atleast_1d(x) for x in points if x is not None]
        p = columns[0]
        params = self.floats(params, label=False)
        shape = p.shape
        # Numbers of stars are rounded up to an eighth of a power of two: few programs serve all.
        size = max(p.size, 256)
        step = 2 ** (int(np.log2(size)) - 3)
        extra = -size % step + size - p.size
        stars = [jnp.pad(jnp.ravel(x), (0, extra), mode="edge") for x in columns] if p.size else []
        out = _orbits(self, params, Points(*stars)) if stars else [np.zeros(0)] * 5
        columns = [np.asarray(x)[: p.size].reshape(shape) for x in out]
        table = QTable()
        names = ("J", "theta", "Omega", "T")
        units = (u.kpc**2 / u.Myr, u.rad, u.rad / u.Myr, u.Myr)
        for name, unit, column in zip(names, units, columns, strict=False):
            table[name] = column * unit
        table["flag"] = columns[-1]
        table.meta["n_outside"] = int(np.sum(columns[-1] == BEYOND))
        table.meta["n_not_finite"] = int(np.sum(columns[-1] == NOT_FINITE))
        table.meta["n_outward"] = int(np.sum(columns[-1] == OUTWARD))
        return table

    optimize = verbs.optimize
    mcmc_run_label = verbs.mcmc_run_label
    laplace_run_label = verbs.laplace_run_label
    draw_prior = verbs.draw_prior
    get_crlb = verbs.get_crlb
    get_crlb_uncertainties = verbs.get_crlb_uncertainties
    get_crlb_error_samples = verbs.get_crlb_error_samples
    unpack_bounds = staticmethod(unpack_bounds)


def heights_of(height: u.Quantity) -> np.ndarray:
    """Heights of a layer above its middle in kpc.  Raises ``ValueError`` for negative ones."""
    plain = internal(height, u.kpc, "height")
    if np.any(plain < 0):
        raise ValueError(f"height must not be negative, but {np.nanmin(plain):g} kpc was given.")
    return plain


@eqx.filter_jit
def _orbits(model, params: dict, points: Points) -> Orbits:
    found = model.orbits(params).orbits(points)
    if points.R is None:
        return found
    # Without a radius nothing is known of a star's orbit.
    lost = ~jnp.isfinite(points.R)
    values = (jnp.where(lost, jnp.nan, x) for x in found[:4])
    return Orbits(*values, jnp.where(lost, NOT_FINITE, found.flag))


@eqx.filter_jit
def _axis(model, params: dict, pos: Array) -> tuple[Array, Array]:
    return field.axis(model.foliation(params), pos)


@eqx.filter_jit
def _surface_density(model, params: dict, height: Array) -> Array:
    return field.surface_density(model.foliation(params), height)


def _points(pos: u.Quantity, vel: u.Quantity, R: u.Quantity | None = None) -> Points:
    given = {"pos": internal(pos, u.kpc, "pos"), "vel": internal(vel, VELOCITY, "vel")}
    if R is not None:
        given["R"] = internal(R, u.kpc, "R")
        if np.any(given["R"] <= 0):
            raise ValueError(f"R must be positive, but is {np.nanmin(given['R']):.4g} kpc.")
    try:
        values = np.broadcast_arrays(*given.values())
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in given.values())
        raise ValueError(
            f"{', '.join(given)} must have equal shapes, but {shapes} were given."
        ) from None
    return Points(*map(jnp.asarray, values))
