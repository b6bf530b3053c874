"""Stars to maps: counts and label means over the (pos, vel) plane.

The names are those of ``__init__.pyi``; each is imported at its first use, so that a fit of a map
does not wait for what bins stars.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
