"""How well a fit describes its map, and whether the label depends on the phase along orbits."""

from dataclasses import dataclass

import astropy.units as u
import numpy as np
from astropy.table import QTable
from numpy.typing import NDArray
from scipy import stats

from ..arguments import choice, whole_number
from ..data.pixels import VELOCITY, read_map, require_x64
from ..inference.linear import Linear, linearise
from ..results.fit import Fitted

RADIUS = u.kpc / u.Myr**0.5
TERMS = ("cos(theta)", "sin(theta)", "cos(2 theta)", "sin(2 theta)")
ORDERS = np.array([1, 1, 2, 2])
SHAPES = ("constant", "radius")
# Relative variances below it are round-off: the parameters can take up all of such a term.
DEGENERATE = 1e-8
RARE = 0.0027  # the chance of leaving 3 sd
NOTABLE = 3.0  # sd


@dataclass(frozen=True)
class Goodness:
    """What `check_goodness` found; ``text``, or ``str()`` of it, says it in sentences.

    Attributes
    ----------
    pixels : QTable of the pixels inside the model: z, v, r (kpc Myr^-1/2, sqrt(2 J)), theta (rad),
        residual (data - model), label_err, and significance, the residual over its own sd,
        label_err sqrt(1 - leverage)
    n_outside : number of pixels outside the model, which are left out
    chi2, n_effective, dof, p : sum of (residual / label_err)^2, effective number of parameters,
        number of pixels - n_effective, and the chance of a larger chi2
    largest, largest_p : row of the largest abs(significance), and the chance of one as large
    by_ring : QTable of rings of equal counts: r_low, r_high, J_low, J_high (kpc^2/Myr), n, chi2,
        dof, p, mean (of residual / label_err) and significance of that mean
    by_angle : the same in bins of theta (theta_low, theta_high, rad); NaN without a pixel
    terms : QTable of label terms in theta: term, amplitude and sd (unit of the label),
        significance, sd_fixed (at fixed parameters of the model) and ratio, sd / sd_fixed;
        amplitude NaN and sd infinite where the parameters can take up all of the term
    joint : QTable of their chi^2 together: terms ("m = 1", "m = 2", "all"), chi2, dof, p
    shape : how the terms depend on r: "constant", or "radius" for r / largest r
    """

    pixels: QTable
    n_outside: int
    chi2: float
    n_effective: float
    dof: float
    p: float
    largest: int
    largest_p: float
    by_ring: QTable
    by_angle: QTable
    terms: QTable
    joint: QTable
    shape: str

    @property
    def text(self) -> str:
        """The findings in a few plain sentences."""
        return " ".join([_chi2_text(self), _angle_text(self), _ratio_text(self)])

    def __str__(self) -> str:
        return self.text


def check_goodness(
    fit: Fitted, n_rings: int = 10, n_angles: int = 12, shape: str = "constant"
) -> Goodness:
    r"""Residuals of a fit, and a test of the steady state: no label may depend on the angle.

    At the optimum, with whitened residuals r, J = d(label)/d(free parameters) / label_err, and
    the prior's gradient g and curvature P, label terms of amplitudes a (whitened: T) minimise

        \|r - J d - T a\|^2 + 2 g^T d + d^T P d

    over a and the shifts d of all parameters at once.  With A = J^T J + P and H = J A^-1 J^T

        S = T^T (1 - H) T,   a = S^-1 T^T [r - J A^-1 (J^T r - g)],   cov(a) = S^-1,

    the inverse Schur complement of A; at fixed parameters it would be (T^T T)^-1.  So what a shift
    of the centre or another frequency can imitate is not counted as evidence.  tr H is the
    effective number of parameters and 1 - H the covariance of r, for noise of the given errors and
    parameters that follow the prior.  Amplitudes above some 3 sd can come out up to a third too
    small where the parameters imitate them, since the shifts are then no longer small.

    Parameters
    ----------
    fit : the fit, of which the optimum is examined
    n_rings, n_angles : numbers of bins in r = sqrt(2 J) (equal counts) and in theta (equal widths)
    shape : radial shape of the terms, "constant" or "radius" (r over the largest r)

    Raises ``ValueError`` for anything else than a fit with data at its optimum, for numbers of
    bins < 1 or above that of the pixels, an unknown shape and a posterior without curvature.

    Sources: Rasmussen & Williams 2006, eqs 2.41-2.42 (linear terms beside a prior); Hastie,
    Tibshirani & Friedman 2009, section 7.6 (tr H); Price-Whelan et al. 2021, ApJ 910, 17 (labels
    do not depend on the angle).
    """
    require_x64()
    if not isinstance(fit, Fitted):
        raise ValueError(f"fit must be a Fit, but {type(fit).__name__} was given.")
    choice(shape, "shape", SHAPES)
    missing = [n for n in ("pos", "vel", "label", "label_err") if n not in fit.data]
    if missing:
        raise ValueError(f"fit must hold its data, but {', '.join(missing)} is missing.")
    fit = fit.mapped
    found = linearise(fit.problem, fit.params)
    return goodness_of(fit, found, n_rings, n_angles, shape)


def goodness_of(
    fit: Fitted, found: Linear, n_rings: int = 10, n_angles: int = 12, shape: str = "constant"
) -> Goodness:
    """`check_goodness` of a fit that was taken to first order already."""
    data = read_map(fit.data)
    chi, W, step = found.chi, found.W, found.step
    pos, vel = u.Quantity(data.pos, u.kpc), u.Quantity(data.vel, VELOCITY)
    orbits = fit.model.compute_action_angle(pos, vel, fit.params)
    inside = np.isfinite(orbits["J"].value)
    n = int(inside.sum())
    if n == 0:
        raise ValueError(f"fit must have pixels inside its model, but none of {inside.size} is.")
    # No more bins than pixels inside the model.
    n_rings = whole_number(n_rings, "n_rings", 1, n)
    n_angles = whole_number(n_angles, "n_angles", 1, n)

    chi, W, err = chi[inside], W[inside], np.asarray(data.label_err)[inside]
    leverage = np.sum(W**2, axis=1)
    free = 1 - leverage
    # A pixel that alone decides a parameter has a residual of zero and no significance.
    significance = np.where(free > DEGENERATE, chi / np.sqrt(np.maximum(free, DEGENERATE)), np.nan)
    r, theta = np.sqrt(2 * orbits["J"].value[inside]), orbits["theta"].value[inside]
    pixels = QTable(
        [pos[inside], vel[inside].to(u.km / u.s), r * RADIUS, theta * u.rad]
        + [chi * err, err, significance],
        names=("z", "v", "r", "theta", "residual", "label_err", "significance"),
    )
    largest = int(np.argmax(np.nan_to_num(np.abs(significance))))
    single = min(2 * stats.norm.sf(abs(significance[largest])), 1 - 1e-12)
    chi2, n_effective = float(chi @ chi), float(leverage.sum())
    waves = np.stack([f(m * theta) for m in (1, 2) for f in (np.cos, np.sin)], axis=1)
    radial = np.ones(n) if shape == "constant" else r / r.max()
    terms, joint = _angle_terms(chi - W @ step, W, waves * (radial / err)[:, None])
    chances = float(stats.chi2.sf(chi2, n - n_effective)), largest
    # Sidak: 1 - (1 - p)^n, without the loss of digits at small p.
    chances += (float(-np.expm1(n * np.log1p(-single))),)
    bins = _by_ring(r, chi, W, n_rings), _by_angle(theta, chi, W, n_angles)
    totals = int(inside.size - n), chi2, n_effective, n - n_effective
    return Goodness(pixels, *totals, *chances, *bins, terms, joint, shape)


def _by_ring(r: NDArray, chi: NDArray, W: NDArray, n: int) -> QTable:
    rows = np.array_split(np.argsort(r, kind="stable"), n)
    inner = [(r[a[-1]] + r[b[0]]) / 2 for a, b in zip(rows[:-1], rows[1:], strict=True)]
    edges = u.Quantity([r.min(), *inner, r.max()], RADIUS)
    J = edges**2 / 2
    ends = {"r_low": edges[:-1], "r_high": edges[1:], "J_low": J[:-1], "J_high": J[1:]}
    return _bins(ends, rows, chi, W)


def _by_angle(theta: NDArray, chi: NDArray, W: NDArray, n: int) -> QTable:
    edges = u.Quantity(np.linspace(0.0, 2 * np.pi, n + 1), u.rad)
    place = np.minimum((theta / (2 * np.pi) * n).astype(int), n - 1)
    rows = [np.flatnonzero(place == i) for i in range(n)]
    return _bins({"theta_low": edges[:-1], "theta_high": edges[1:]}, rows, chi, W)


def _bins(ends: dict, rows: list[NDArray], chi: NDArray, W: NDArray) -> QTable:
    found = []
    for k in rows:
        # cov(chi) = 1 - W W^T: the fit has taken up part of the bin's mean and scatter.
        dof, spread = k.size - np.sum(W[k] ** 2), k.size - np.sum(W[k].sum(axis=0) ** 2)
        chi2, total = np.sum(chi[k] ** 2), chi[k].sum()
        mean = total / k.size if k.size else np.nan
        pull = total / np.sqrt(spread) if spread > DEGENERATE * k.size else np.nan
        found.append((k.size, chi2, dof, stats.chi2.sf(chi2, dof), mean, pull))
    names = ("n", "chi2", "dof", "p", "mean", "significance")
    return QTable(ends | dict(zip(names, map(np.array, zip(*found, strict=True)), strict=True)))


def _angle_terms(chi: NDArray, W: NDArray, T: NDArray) -> tuple[QTable, QTable]:
    """Amplitudes of the whitened terms T, and their chi^2 by order."""
    fixed, shared = T.T @ T, W.T @ T
    scale = np.sqrt(np.diag(fixed))
    sizes, vectors = np.linalg.eigh((fixed - shared.T @ shared) / np.outer(scale, scale))
    good = sizes > DEGENERATE
    lost = np.any(np.abs(vectors[:, ~good]) > 1e-3, axis=1)
    cov = (vectors[:, good] / sizes[good]) @ vectors[:, good].T / np.outer(scale, scale)
    amplitude = np.where(lost, np.nan, cov @ (T.T @ chi))
    sd = np.where(lost, np.inf, np.sqrt(np.diag(cov)))
    sd_fixed = np.sqrt(np.diag(np.linalg.pinv(fixed, hermitian=True)))
    terms = QTable(
        [TERMS, amplitude, sd, amplitude / sd, sd_fixed, sd / sd_fixed],
        names=("term", "amplitude", "sd", "significance", "sd_fixed", "ratio"),
    )
    rows = []
    for name, some in (("m = 1", ORDERS == 1), ("m = 2", ORDERS == 2), ("all", ORDERS > 0)):
        k = np.flatnonzero(some & ~lost)
        chi2 = amplitude[k] @ np.linalg.solve(cov[np.ix_(k, k)], amplitude[k])
        rows.append((name, float(chi2), k.size, float(stats.chi2.sf(chi2, k.size))))
    return terms, QTable(rows=rows, names=("terms", "chi2", "dof", "p"))


def _chi2_text(g: Goodness) -> str:
    out = f"; {g.n_outside} more lie outside the model and are left out" if g.n_outside else ""
    more = ""
    if g.p < RARE:
        more = (
            " The map is scattered more than its errors allow: if these are too small, every "
            f"significance here is too large by {np.sqrt(g.chi2 / g.dof):.3g}."
        )
    z, v, pull = (g.pixels[name][g.largest] for name in ("z", "v", "significance"))
    return (
        f"chi^2 is {g.chi2:.0f} for {g.dof:.0f} degrees of freedom ({_p(g.p)}): {len(g.pixels)} "
        f"pixels, {g.n_effective:.1f} effective parameters{out}.{more} The largest residual, "
        f"{pull:+.1f} sd at z = {z.value:.2f} kpc, v = {v.value:.0f} km/s, is "
        f"{'unlikely' if g.largest_p < RARE else 'expected'} among so many ({_p(g.largest_p)})."
    )


def _angle_text(g: Goodness) -> str:
    _, chi2, dof, p = g.joint[-1]
    chance = f"{dof} terms together: chi^2 = {chi2:.1f}, {_p(p)}"
    far = g.terms[np.abs(g.terms["significance"]) > NOTABLE]
    if not len(far) and not p < RARE:
        return f"No dependence of the label on the angle is found ({chance})."
    size = " r / r_max" if g.shape == "radius" else ""
    found = "; ".join(
        f" as {name}{size} with amplitude {a:.2g} +- {sd:.2g}, {abs(pull):.1f} sd"
        for name, a, sd, pull in far.iterrows("term", "amplitude", "sd", "significance")
    )
    return (
        f"The label depends on the angle{found} ({chance}): not a steady state, or a selection "
        "or a shape of the orbits that the model lacks."
    )


def _ratio_text(g: Goodness) -> str:
    name, ratio = g.terms["term", "ratio"][np.argmax(g.terms["ratio"])]
    if not np.isfinite(ratio):
        return f"The model's own parameters can take up all of a term in {name}."
    more = f"with them free its sd is {ratio:.3g} times that at fixed parameters"
    return f"The model's own parameters imitate {name} best: {more}."


def _p(p: float) -> str:
    return f"p = {p:.2g}" if not p < 1e-12 else "p < 1e-12"
