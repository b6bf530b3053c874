from . import literature

__all__ = ["literature"]
