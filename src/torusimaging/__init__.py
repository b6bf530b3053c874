"""Orbital torus imaging: the Milky Way's vertical acceleration from stellar labels.

The names are those of ``__init__.pyi``; each is imported at its first use, so that the command
answers at once and a script pays for what it uses.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0.dev0"
