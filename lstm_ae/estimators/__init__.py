"""Models of one's own table as scikit-learn's estimators, by the same code as the commands of `lstmae series`.

Rows are moments, in their order: an array `(rows, features)` or a data frame, NaN where a value is missing. Times in a
frame's index tell the step from row to row; missing moments are put in, and long gaps crossed by no window. A row in is
a row out: a frame for a frame, with its index.

An estimator keeps its run in memory. `save` writes it as `lstmae series train` does, and `load` reads what either has
written. TensorFlow is loaded when an estimator is fitted or first applied.
"""

from lstm_ae.estimators.autoencoder import SequenceAutoencoder
from lstm_ae.estimators.classifier import SequenceClassifier
from lstm_ae.estimators.detector import AnomalyDetector
from lstm_ae.estimators.forecaster import SequenceForecaster

__all__ = ["AnomalyDetector", "SequenceAutoencoder", "SequenceClassifier", "SequenceForecaster"]
