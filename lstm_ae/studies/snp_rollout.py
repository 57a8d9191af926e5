"""A model's rollout over arrays, with or without shocks."""

from typing import Any

import tensorflow as tf

from lstm_ae.forecasting.price_metrics import ForecastMethod
from lstm_ae.models.inference import input_signature, model_inputs
from lstm_ae.models.rollout import HORIZON, rollout


class Rollout:
    """The rollout, traced once for every batch size, horizon and length of window."""

    def __init__(self, model: Any) -> None:
        self.model, forecast = model, rollout(model)
        given = input_signature(model)
        features = given["past"].shape[-1]
        shocks = tf.TensorSpec((None, None, features), tf.float32)
        self.call = tf.function(forecast, input_signature=[given, HORIZON])
        self.shocked = tf.function(forecast, input_signature=[given, HORIZON, shocks])

    def __call__(self, past: Any, company: Any, ahead: int, shocks: Any = None) -> Any:
        """Forecast `(samples, ahead, features)` in own units; `shocks` of that shape are scaled."""
        given = [model_inputs(self.model, past, company), tf.fill([len(past)], ahead)]
        return (self.call(*given) if shocks is None else self.shocked(*given, shocks)).numpy()

    def way(self, given: int, ahead: int) -> ForecastMethod:
        """So many days from so many, as a way to forecast."""
        return ForecastMethod(lambda past, company, _: self(past, company, ahead), given, ahead)
