"""Multi-step forecasts of arrays, with or without shocks."""

from typing import Any

import tensorflow as tf

from lstm_ae.forecasting.metrics import ForecastMethod
from lstm_ae.models.inference import input_signature, model_inputs
from lstm_ae.models.rollout import HORIZON, rollout


class Rollout:
    """Multi-step forecast of a model, traced once for any batch size, horizon, and window length."""

    def __init__(self, model: Any) -> None:
        self.model, forecast = model, rollout(model)
        inputs = input_signature(model)
        features = inputs["past"].shape[-1]
        shocks = tf.TensorSpec((None, None, features), tf.float32)
        self.call = tf.function(forecast, input_signature=[inputs, HORIZON])
        self.shocked = tf.function(forecast, input_signature=[inputs, HORIZON, shocks])

    def __call__(self, past: Any, company: Any, ahead: int, shocks: Any = None) -> Any:
        """Return forecasts `(samples, ahead, features)` in original units.

        Args:
            past: `(samples, days, features)` in original units.
            company: `(samples,)` rows of the scale table, or None.
            ahead: days to forecast.
            shocks: `(samples, ahead, features)` scaled values to add to each day's forecast before the next.
        """
        arguments = [model_inputs(self.model, past, company), tf.fill([len(past)], ahead)]
        return (self.call(*arguments) if shocks is None else self.shocked(*arguments, shocks)).numpy()

    def method(self, given: int, ahead: int) -> ForecastMethod:
        """Return the forecast of `ahead` days from windows of `given` days as a forecast method."""
        return ForecastMethod(lambda past, company, _: self(past, company, ahead), given, ahead)
