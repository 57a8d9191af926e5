"""Estimators for time series with the interface of scikit-learn. They use the code of the commands `lstmae series`.

The rows of X are consecutive time steps: an array `(rows, features)` or a data frame, with NaN for a missing value. The
sampling interval of a frame comes from the times in its index. Missing time steps are inserted, and no window crosses a
long gap. Results have one row per row of X; a frame gives a frame with the same index. `SequenceClassifier` also takes
arrays `(samples, steps, channels)`.

An estimator keeps its run in memory. `save` writes a run directory like `lstmae series train`, and `load` reads the run
directories of both. TensorFlow is imported when an estimator is fitted or first applied.
"""

from lstm_ae.estimators.autoencoder import SequenceAutoencoder
from lstm_ae.estimators.classifier import SequenceClassifier
from lstm_ae.estimators.detector import AnomalyDetector
from lstm_ae.estimators.forecaster import SequenceForecaster

__all__ = ["AnomalyDetector", "SequenceAutoencoder", "SequenceClassifier", "SequenceForecaster"]
