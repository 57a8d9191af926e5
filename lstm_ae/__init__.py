"""LSTM autoencoders that reconstruct, classify, and forecast sequences.

Importing this package does not import TensorFlow; the modules that need it do.
"""

from typing import TYPE_CHECKING

__version__: str

if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        """Return the version, which takes longer to look up than the whole package to import."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version

        return version("lstm-ae")
