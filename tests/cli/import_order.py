"""Import the modules named, one after another, and then use the package: any order must do.

``lazy:NAME`` leaves a module that loads itself at its first use in ``sys.modules``, as arviz-base
does for numpyro and jax.
"""

import importlib
import sys

import lazy_loader

for name in sys.argv[1:]:
    lazy, _, module = name.rpartition(":")
    lazy_loader.load(module) if lazy else importlib.import_module(module)

import jax  # noqa: E402
import numpyro.distributions as dist  # noqa: E402

import torusimaging as oti  # noqa: E402
from torusimaging.priors import named as distributions  # noqa: E402

jax.config.update("jax_enable_x64", True)
given = distributions.as_arrays({"pos0": dist.TruncatedNormal(0.0, 1.0, low=0.0)})["pos0"]
again = distributions.from_numbers(distributions.to_numbers(given))
assert distributions.is_normal(again) and distributions.limits(again)[0] == 0
print(oti.fit_map.__name__, oti.load.__name__)
