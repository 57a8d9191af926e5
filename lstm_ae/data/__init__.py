"""Data: disjoint splits, the windows cut from them, and the scales fitted on the training split."""

from lstm_ae.data.scaling import Scale
from lstm_ae.data.windows import Data, Source, Split

__all__ = ["Data", "Scale", "Source", "Split"]
