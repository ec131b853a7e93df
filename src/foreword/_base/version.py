"""The version of the package, for all who name it."""

__version__ = "0.1.0"
