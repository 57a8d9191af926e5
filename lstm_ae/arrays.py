"""Types of arrays by their elements; shapes are given in the docstrings."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BoolArray = NDArray[np.bool_]
Dtype = np.dtype[Any]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
FloatArray = NDArray[np.floating[Any]]
Int64Array = NDArray[np.int64]
StringArray = NDArray[np.str_]
UInt8Array = NDArray[np.uint8]
