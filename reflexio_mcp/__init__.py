"""See, audit and safely delete what an assistant has sent to Reflexio, its memory service."""

__all__ = ["__version__"]

__version__ = "0.1.0"
