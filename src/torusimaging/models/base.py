"""The verbs that every model of the vertical phase plane shares."""

import abc
import os
import time
from collections.abc import Callable

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from astropy.table import QTable
from jaxtyping import Array

from .. import actions, distributions, likelihoods
from ..foliation import FourierFoliation, PotentialFoliation
from ..foliation.density import G
from ..inference import laplace, nuts, optimize
from ..inference.checkpoint import Checkpoint
from ..priors import Bounds, Layout, check_structure, make_bounds, unpack_bounds
from ..units import internal, plain_parameter
from . import prior
from .identity import identity_of
from .objectives import (
    OBJECTIVES,
    RESIDUALS,
    ln_whitened,
    minus_ln_posterior_free,
    minus_ln_prior_free,
)
from .pixels import VELOCITY, Map, pad, read_map, require_x64
from .samples import LaplaceState, Samples, SampleState

ACCELERATION = u.kpc / u.Myr**2


@eqx.filter_jit
def _constrain(bounds: Bounds, z: Array) -> Array:
    return jax.vmap(bounds.constrain)(z)


@eqx.filter_jit
def _orbits(model, params, pos, vel):
    return model.orbits(params, pos, vel)


class OrbitModel(eqx.Module):
    """A map of a label over the (pos, vel) plane whose contours are orbits (abstract).

    `given` holds the user's own priors by the name of what they are for (see `with_priors`).
    """

    given: dict[str, distributions.Distribution]

    @abc.abstractmethod
    def foliation(self, params: dict) -> FourierFoliation | PotentialFoliation:
        """The orbits for a set of parameters."""

    @abc.abstractmethod
    def label_of_radius(self, r: Array, params: dict) -> Array:
        """The label on the orbit of radius r."""

    @abc.abstractmethod
    def prior_factors(self, params: dict) -> dict[str, Array]:
        """Factors of the default prior, each a normal distribution of the parameters it names.

        As residuals, whose squares, halved, are minus the ln of the factor.  One may depend on
        parameters of others.
        """

    @abc.abstractmethod
    def template(self) -> dict | None:
        """Parameters of the right shape; None where the model cannot know it."""

    def constraints(self, params: dict) -> Array:
        """Residuals that are zero where the parameters make a possible model; none here."""
        return jnp.zeros(0)

    def regularization(self, params: dict) -> Array:
        """A user's own term of minus the ln prior; nothing here."""
        return jnp.zeros(())

    @property
    def is_least_squares(self) -> bool:
        """Whether the prior is a sum of squares between limits, as Levenberg-Marquardt needs."""
        return all(map(distributions.is_square, self.given.values()))

    def prior_residuals(self, params: dict) -> Array:
        """Terms whose squares, halved, are minus the ln prior but for `penalty`.

        A given prior takes the place of the default factors that it covers, and multiplies one
        of which it names an entry.
        """
        places = [distributions.Place.of(name) for name in self.given]
        terms = [
            factor
            for name, factor in self.prior_factors(params).items()
            if not any(p.covers(distributions.Place.of(name)) for p in places)
        ]
        terms += [
            distributions.normal_residuals(given, distributions.entry(params, name))
            for name, given in self.given.items()
            if distributions.is_normal(given)
        ]
        return jnp.concatenate([*terms, self.constraints(params)])

    def penalty(self, params: dict) -> Array:
        """The terms of minus the ln prior that are no sums of squares."""
        total = self.regularization(params)
        for name, given in self.given.items():
            if not distributions.is_square(given):
                total -= distributions.ln_density(given, distributions.entry(params, name))
        return total

    @property
    def priors(self) -> dict[str, distributions.Distribution]:
        """The distributions whose product is the prior, by the name of their parameter.

        Default ones as numpyro normals, each marginalised over the others.  Parameters that are
        missing are uniform between their bounds; `constraints` come on top, and so does the
        published regularisation, which is no distribution.
        """
        return prior.marginals(self)

    def with_priors(self, priors: dict[str, distributions.Distribution]) -> "OrbitModel":
        """The model with further priors, numpyro distributions by the name of their parameter.

        Names are those of `priors`, of any other part of the parameters (``pos0``,
        ``density_params.ln_rho``) or of one entry (``density_params.ln_rho[0]``).  A prior takes
        the place of the default one that it covers; a prior for a single entry multiplies it.
        Raises ``ValueError`` for anything but distributions.
        """
        new = self.given | distributions.as_arrays(priors)
        return eqx.tree_at(lambda model: model.given, self, new, is_leaf=lambda x: x is self.given)

    @abc.abstractmethod
    def reach(self, params: dict) -> Array:
        """The height (kpc) above the plane's centre up to which the model has values."""

    @abc.abstractmethod
    def orbits(self, params: dict, pos: Array, vel: Array) -> actions.Orbits:
        """Action-angle variables at plain positions and velocities, shape (n,)."""

    def meaning(self, name: str) -> str:
        """What a parameter stands for, in words; its name where there are none."""
        return name

    @property
    @abc.abstractmethod
    def parts(self) -> tuple[str, ...]:
        """The entries that a set of parameters must have."""

    def check(self, params: dict) -> None:
        """Raise a ``ValueError`` for parameters that make no model; all do here."""
        return None

    def floats(self, params: dict) -> dict:
        """A copy of the caller's parameters as float arrays; the caller's are never touched.

        Quantities are taken for pos0 and vel0.  Raises ``ValueError`` for a part that is missing,
        unknown, of the wrong shape or not finite, and for parameters that make no model.
        """
        if not isinstance(params, dict):
            raise ValueError(f"params must be a dictionary, but {type(params).__name__} was given.")
        if missing := [name for name in self.parts if name not in params]:
            raise ValueError(
                f"params must have {', '.join(self.parts)}, but {', '.join(missing)} is missing."
            )
        check_structure(params, self.template(), self.parts)
        out = jax.tree_util.tree_map_with_path(
            lambda path, x: jnp.asarray(plain_parameter(x, str(path[0].key))), params
        )
        for name, x in distributions.leaves_of(out).items():
            if not np.all(np.isfinite(x)):
                raise ValueError(f"params must be finite, but {name} is {np.asarray(x)}.")
        self.check(out)
        return out

    # -- what a set of parameters says -------------------------------------------------------

    def label_at(self, pos: Array, vel: Array, params: dict) -> Array:
        """The label at plain positions (kpc) and velocities (kpc/Myr); shape of the input."""
        return self.label_of_radius(self.foliation(params).radius(pos, vel), params)

    def get_label(self, pos: u.Quantity, vel: u.Quantity, params: dict) -> np.ndarray:
        """The model's label at (pos, vel), quantities of one shape; an array of that shape."""
        p, v = _plane(pos, vel)
        return np.asarray(_label(self, self.floats(params), p, v))

    def compute_elliptical(
        self, pos: u.Quantity, vel: u.Quantity, params: dict
    ) -> tuple[u.Quantity, u.Quantity]:
        """Elliptical radius (kpc Myr^-1/2) and angle (rad, in [0, 2 pi)) of points."""
        p, v = _plane(pos, vel)
        r_e, theta = self.foliation(self.floats(params)).elliptical(p, v)
        return np.asarray(r_e) * u.kpc / u.Myr**0.5, np.asarray(theta) * u.rad

    def get_acceleration(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """The acceleration at `pos` (length), in kpc/Myr^2; NaN beyond the model's last knot."""
        return self._axis(pos, params)[0] * ACCELERATION

    def get_acceleration_deriv(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """The derivative da/dpos at `pos`, in 1/Myr^2; NaN beyond the model's last knot."""
        return self._axis(pos, params)[1] / u.Myr**2

    def get_density(self, pos: u.Quantity, params: dict) -> u.Quantity:
        """Mass density -(da/dpos) / (4 pi G), in Msun/kpc^3, by the 1-D Poisson equation."""
        return -self._axis(pos, params)[1] / (4 * np.pi * G) * u.Msun / u.kpc**3

    def get_surface_density(self, height: u.Quantity, params: dict) -> u.Quantity:
        """Mass within +-height of the plane's centre, in Msun/kpc^2.

        [a(-height) - a(height)] / (4 pi G), which is |a| / (2 pi G) for a symmetric field.
        """
        h, centre = np.abs(internal(height, u.kpc, "height")), self.floats(params)["pos0"]
        above, below = (self._axis(u.Quantity(centre + x, u.kpc), params)[0] for x in (h, -h))
        return (below - above) / (4 * np.pi * G) * u.Msun / u.kpc**2

    def _axis(self, pos: u.Quantity, params: dict) -> tuple[np.ndarray, np.ndarray]:
        p = jnp.asarray(internal(pos, u.kpc, "pos"))
        a, slope = _axis(self, self.floats(params), p)
        return np.asarray(a), np.asarray(slope)

    def compute_action_angle(self, pos: u.Quantity, vel: u.Quantity, params: dict) -> QTable:
        """Action, angle, frequency and period of stars, from the contours alone.

        Returns a `QTable` with J (kpc^2/Myr), theta (rad, in [0, 2 pi), 0 at pos0 moving up),
        Omega (rad/Myr), T (Myr) and flag: 0 inside the model, 1 beyond its last orbit, 2 input
        not finite.  Flagged stars are NaN; ``meta["n_outside"]`` and ``meta["n_not_finite"]``
        count them.
        """
        require_x64()
        p, v = (jnp.atleast_1d(x) for x in _plane(pos, vel))
        params = self.floats(params)
        shape = p.shape
        # Numbers of stars are rounded up to an eighth of a power of two: few programs serve all.
        size = max(p.size, 256)
        step = 2 ** (int(np.log2(size)) - 3)
        extra = -size % step + size - p.size
        stars = [jnp.pad(jnp.ravel(x), (0, extra), mode="edge") for x in (p, v)] if p.size else None
        out = _orbits(self, params, *stars) if stars else [np.zeros(0)] * 5
        columns = [np.asarray(x)[: p.size].reshape(shape) for x in out]
        table = QTable()
        names = ("J", "theta", "Omega", "T")
        units = (u.kpc**2 / u.Myr, u.rad, u.rad / u.Myr, u.Myr)
        for name, unit, column in zip(names, units, columns, strict=False):
            table[name] = column * unit
        table["flag"] = columns[-1]
        table.meta["n_outside"] = int(np.sum(columns[-1] == actions.BEYOND))
        table.meta["n_not_finite"] = int(np.sum(columns[-1] == actions.NOT_FINITE))
        return table

    # -- likelihoods and objectives ----------------------------------------------------------

    def ln_gaussian_likelihood(self, params: dict, pos, vel, label, label_err, **means) -> float:
        """Normalised ln likelihood of pixel means with normal errors.

        `means` are ``pos_mean`` and ``vel_mean``, the stars' mean places, if they are known.
        """
        data = {"pos": pos, "vel": vel, "label": label, "label_err": label_err}
        data = read_map(data | means)
        fit = _label(self, self.floats(params), data.pos, data.vel)
        return float(likelihoods.ln_gaussian(fit, data.label, data.label_err))

    def ln_poisson_likelihood(self, params: dict, pos, vel, counts) -> float:
        """Normalised ln likelihood of pixel counts, whose ln rate is the model's label."""
        data = read_map({"pos": pos, "vel": vel, "counts": counts}, "poisson")
        fit = _label(self, self.floats(params), data.pos, data.vel)
        return float(likelihoods.ln_poisson(fit, data.label))

    def objective_gaussian(self, params: dict, pos, vel, label, label_err, **means) -> float:
        """Minus the ln posterior up to a constant: half chi^2 plus the prior's terms."""
        data = {"pos": pos, "vel": vel, "label": label, "label_err": label_err}
        return self._objective("gaussian", params, read_map(data | means))

    def objective_poisson(self, params: dict, pos, vel, counts) -> float:
        """Minus the ln posterior of counts up to a constant."""
        data = read_map({"pos": pos, "vel": vel, "counts": counts}, "poisson")
        return self._objective("poisson", params, data)

    def _objective(self, kind: str, params: dict, data: Map) -> float:
        params = self.floats(params)
        layout = Layout.of(params)
        bounds = make_bounds(layout, params, None, self.given)
        x = layout.flatten(params)
        return float(_value(OBJECTIVES[kind], x, (self, bounds, layout, data)))

    # -- inference ---------------------------------------------------------------------------

    def optimize(
        self,
        params0: dict,
        objective: str = "gaussian",
        bounds: dict | tuple | None = None,
        max_steps: int = 256,
        throw: bool = True,
        **data,
    ) -> optimize.OptimizeResult:
        """Maximise the posterior from `params0`; neither it nor `bounds` is changed.

        By Levenberg-Marquardt, for counts on the roots of their deviance; with a user's own
        regularisation, or priors that are not normal, by BFGS.  Both work on the free vector that
        the bounds are mapped to.

        Raises ``ValueError`` for bad input and, unless ``throw=False``, ``RuntimeError`` with the
        state's sentence where the optimiser did not converge.
        """
        require_x64()
        if objective not in OBJECTIVES:
            raise ValueError(
                f"objective must be one of {', '.join(OBJECTIVES)}, but {objective!r} was given."
            )
        pixels = read_map(data, objective)
        params0 = self.floats(params0)
        layout = Layout.of(params0)
        limits = make_bounds(layout, params0, bounds, self.given)
        args = (self, limits, layout, pixels if objective == "poisson" else pad(pixels))
        start = limits.free(layout.flatten(params0))
        if self.is_least_squares:
            z, steps, good = optimize.minimise_squares(RESIDUALS[objective], start, args, max_steps)
        else:
            z, steps, good = optimize.minimise(OBJECTIVES[objective], start, args, max_steps)
        value = _value(OBJECTIVES[objective], z, args)
        # At a bound z runs to infinity: the optimum is then put just inside.
        z, limited = limits.inside(z)
        names = [n for n, end in zip(layout.names(), limited, strict=True) if end]
        state = optimize.describe(float(value), int(steps), bool(good), names)
        if throw and not state.success:
            raise RuntimeError(f"{state.message} (objective {state.value:.6g}, {steps} steps)")
        params = jax.tree.map(np.asarray, layout.unflatten(limits.constrain(z)))
        return optimize.OptimizeResult(params, state)

    def mcmc_run_label(
        self,
        bdata: dict,
        p0: dict,
        bounds: dict | tuple | None = None,
        rng_seed: int = 0,
        num_steps: int = 1000,
        num_warmup: int = 1000,
        num_chains: int = 4,
        progress: bool | Callable[[nuts.Progress], None] = False,
        checkpoint: str | os.PathLike | None = None,
        resume: bool = False,
    ) -> tuple[SampleState, Samples]:
        """Sample the posterior of a binned label with several NUTS chains from near `p0`.

        `p0` should be the optimum: the chains start from, and are preconditioned by, the normal
        approximation there.  Returns (state, samples): samples behave as a list of parameter
        dictionaries, all chains end to end; state holds ``logdensity``, R-hat, effective sample
        sizes, divergences and a verdict in words.  `progress` shows a bar on a terminal, or is
        called with an `inference.Progress`.

        `checkpoint` is a folder that keeps finished blocks of steps: after a kill at any moment
        the same call with ``resume=True`` ends with the same draws, bit by bit.  A folder of other
        data, model or settings is refused.  It is removed at the end.

        Raises ``ValueError`` for numbers below 1, a start of no probability, and checkpoints that
        do not fit; `inference.Interrupted`, a ``KeyboardInterrupt``, on Ctrl-C.
        """
        require_x64()
        numbers = {"num_chains": num_chains, "num_steps": num_steps, "num_warmup": num_warmup}
        for name, n in numbers.items():
            if not isinstance(n, int | np.integer) or n < 1:
                raise ValueError(
                    f"{name} must be a whole number of at least 1, but {n!r} was given."
                )
        if resume and checkpoint is None:
            raise ValueError("resume needs the checkpoint to go on from.")
        kept = None
        if checkpoint is not None:
            identity = identity_of(self, bdata, bounds, numbers | {"seed": rng_seed})
            kept = Checkpoint(checkpoint, identity, resume)
        try:
            state, samples = self._run_nuts(bdata, p0, bounds, rng_seed, numbers, progress, kept)
        finally:
            if kept is not None:
                kept.close()
        if kept is not None:
            kept.remove()
        return state, samples

    def _run_nuts(self, bdata, p0, bounds, rng_seed, numbers, progress, kept):
        num_chains, num_steps, num_warmup = numbers.values()
        layout, limits, centre, factor, args = self._preconditioned(bdata, p0, bounds)
        if kept is not None:
            # The very numbers of the first call: a last bit would change every draw.
            if (found := kept.load("whitening")) is None:
                kept.save("whitening", [np.asarray(centre), np.asarray(factor)])
            else:
                centre, factor = map(jnp.asarray, found)
        key_start, key_run = jax.random.split(jax.random.key(rng_seed))
        starts = jax.random.normal(key_start, (num_chains, layout.size))
        seed = int(jax.random.randint(key_run, (), 0, 2**31 - 1))
        chains = nuts.sample_nuts(
            ln_whitened,
            (centre, factor, args),
            starts,
            seed,
            num_warmup,
            num_steps,
            progress,
            checkpoint=kept,
        )
        free = centre + jnp.asarray(chains.draws) @ factor.T
        draws = np.asarray(_constrain(limits, free.reshape(-1, layout.size)))
        return SampleState.of(chains, draws.reshape(free.shape), layout), Samples(draws, layout)

    def laplace_run_label(
        self,
        bdata: dict,
        p0: dict,
        bounds: dict | tuple | None = None,
        rng_seed: int = 0,
        num_draws: int = 1000,
    ) -> tuple[LaplaceState, Samples]:
        """Draws of the posterior of a binned label by importance sampling about the optimum `p0`.

        Draws of the normal approximation at `p0` are weighted to the posterior, the weights'
        tail is smoothed, and `num_draws` are picked by them, so that all count alike.  Returns
        (state, samples) as `mcmc_run_label` does; the state's Pareto k says whether to trust them.

        Raises ``ValueError`` where the curvature at `p0` is not positive or num_draws < 4.
        """
        require_x64()
        if num_draws < 4:
            raise ValueError(f"num_draws must be at least 4, but {num_draws} was given.")
        begin = time.perf_counter()
        layout, limits, centre, factor, args = self._preconditioned(bdata, p0, bounds)
        found = laplace.weigh_normal(
            ln_whitened, (centre, factor, args), layout.size, max(2 * num_draws, 1000), rng_seed
        )
        # Systematic resampling: a draw of weight w is picked floor or ceil of num_draws w times.
        rng = np.random.default_rng([rng_seed, 1])
        steps = (rng.random() + np.arange(num_draws)) / num_draws
        total = np.cumsum(np.exp(found.ln_weights))
        picks = rng.permutation(np.minimum(np.searchsorted(total, steps), total.size - 1))
        free = centre + jnp.asarray(found.draws[picks]) @ factor.T
        draws = np.asarray(_constrain(limits, free))
        seconds = time.perf_counter() - begin
        state = LaplaceState.of(found.logdensity[picks], found.pareto_k, found.ess, seconds)
        return state, Samples(draws, layout)

    def _problem(self, bdata: dict, params: dict, bounds: dict | tuple | None):
        """(layout, bounds, free parameters, arguments of the objectives) of a binned label."""
        params = self.floats(params)
        layout = Layout.of(params)
        limits = make_bounds(layout, params, bounds, self.given)
        args = (self, limits, layout, pad(read_map(bdata)))
        return layout, limits, limits.free(layout.flatten(params)), args

    def _preconditioned(self, bdata: dict, p0: dict, bounds: dict | tuple | None):
        """The same, with the root of the covariance at the optimum `p0` before the last."""
        layout, limits, centre, args = self._problem(bdata, p0, bounds)
        near, limited = limits.inside(centre, 6.0)
        if any(limited):
            # An optimum at a bound has no curvature there; that of the free vector lies inside.
            centre, _, _ = optimize.minimise(minus_ln_posterior_free, near, args, 256)
        factor = laplace.laplace_factor(minus_ln_posterior_free, centre, args)
        return layout, limits, centre, factor, args

    def draw_prior(
        self, params: dict, bounds: dict | tuple | None, size: int, seed: int = 0
    ) -> Samples:
        """Independent draws of the prior, of the structure of `params`, inside `bounds`.

        Raises ``ValueError`` for a prior that cannot be drawn from: a parameter with neither a
        distribution nor two bounds, a user's regularisation, the published one.
        """
        params = self.floats(params)
        layout = Layout.of(params)
        limits = make_bounds(layout, params, bounds, self.given)
        return Samples(prior.Prior.of(self, params, layout, limits).draw(size, seed), layout)

    def set_by_prior(
        self, params: dict, bdata: dict, bounds: dict | tuple | None = None
    ) -> list[str]:
        """Names of the parameters about which the data say next to nothing, given the others.

        Those along which minus the ln likelihood of the binned label is less than a hundredth as
        curved at the optimum `params` as minus the ln prior.
        """
        layout, _, centre, args = self._problem(bdata, params, bounds)
        prior = laplace.curvature(minus_ln_prior_free, centre, args)
        both = laplace.curvature(minus_ln_posterior_free, centre, args)
        return [n for n, p, b in zip(layout.names(), prior, both, strict=True) if b - p < 0.01 * p]

    def get_crlb(
        self, params: dict, data: dict, objective: str = "gaussian", inv: bool = False
    ) -> np.ndarray:
        """Covariance of the parameters (the inverse curvature of the objective at `params`).

        With ``inv=True`` the curvature (Fisher) matrix itself.  Rows follow
        ``Layout.of(params).names()``.  Raises ``ValueError`` where the curvature is not positive:
        a negative variance is never reported as zero.
        """
        params = self.floats(params)
        layout = Layout.of(params)
        pixels = read_map(data, objective)
        pixels = pixels if objective == "poisson" else pad(pixels)
        args = (self, make_bounds(layout, params, None, self.given), layout, pixels)
        factor = laplace.laplace_factor(OBJECTIVES[objective], layout.flatten(params), args)
        cov = np.asarray(factor @ factor.T)
        return np.linalg.inv(cov) if inv else cov

    def get_crlb_uncertainties(self, params: dict, data: dict, objective: str = "gaussian") -> dict:
        """Standard deviations of the parameters, nested like them (see `get_crlb`)."""
        cov = self.get_crlb(params, data, objective)
        layout = Layout.of(self.floats(params))
        return jax.tree.map(np.asarray, layout.unflatten(jnp.sqrt(jnp.diag(cov))))

    def get_crlb_error_samples(
        self,
        params: dict,
        data: dict,
        size: int = 1,
        seed: int | None = None,
        objective: str = "gaussian",
        list_of_samples: bool = True,
    ):
        """Draws from the normal distribution that `get_crlb` describes, around `params`.

        A sequence of `size` parameter dictionaries, or one dictionary of stacked arrays.
        """
        cov = self.get_crlb(params, data, objective)
        params = self.floats(params)
        layout = Layout.of(params)
        rng = np.random.default_rng(seed)
        draws = rng.multivariate_normal(np.asarray(layout.flatten(params)), cov, size=size)
        return Samples(draws, layout) if list_of_samples else layout.unflatten(draws)

    unpack_bounds = staticmethod(unpack_bounds)


@eqx.filter_jit
def _value(objective, z, args):
    return objective(z, args)


@eqx.filter_jit
def _label(model, params, pos, vel):
    return model.label_at(pos, vel, params)


@eqx.filter_jit
def _axis(model, params, pos):
    foliation = model.foliation(params)
    inside = jnp.abs(pos - foliation.pos0) <= model.reach(params)
    nan = jnp.where(inside, 0.0, jnp.nan)
    return foliation.acceleration(pos) + nan, foliation.acceleration_slope(pos) + nan


def _plane(pos: u.Quantity, vel: u.Quantity) -> tuple[Array, Array]:
    p, v = internal(pos, u.kpc, "pos"), internal(vel, VELOCITY, "vel")
    if p.shape != v.shape:
        try:
            p, v = np.broadcast_arrays(p, v)
        except ValueError:
            raise ValueError(
                f"pos and vel must have equal shapes, but {p.shape} and {v.shape} were given."
            ) from None
    return jnp.asarray(p), jnp.asarray(v)
