"""LSTM autoencoders that reconstruct, classify and forecast sequences.

Importing this package loads no TensorFlow; its sub-modules that need it do.
"""

from importlib.metadata import version

__version__ = version("lstm-ae")
