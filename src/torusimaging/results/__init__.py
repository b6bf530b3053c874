"""What a fit gave: the fit itself, its file, profiles and published values beside it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
