"""The optimizer and its learning rate schedule."""

import math

import keras

from lstm_ae.config import Config


def make_optimizer(config: Config, steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer that the config selects.

    Args:
        config: optimizer, learning rate, schedule, warm-up, clipping, and averaging.
        steps: training steps per epoch.
    """
    names = {"adam": "Adam", "adamw": "AdamW", "nadam": "Nadam", "rmsprop": "RMSprop", "sgd": "SGD"}
    others: dict[str, object] = {"global_clipnorm": config.clip or None}
    if config.optimizer in ("adam", "adamw", "nadam"):
        others |= {"beta_2": config.beta_2, "epsilon": config.epsilon}
    if config.optimizer == "adamw":
        others["weight_decay"] = config.weight_decay
    if config.average:
        others |= {"use_ema": True, "ema_momentum": config.average}
    return getattr(keras.optimizers, names[config.optimizer])(_rate(config, config.epochs * steps), **others)


def _rate(config: Config, steps: int) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Return the learning rate, or its schedule over `steps` steps."""
    rising = math.ceil(config.warmup * steps)
    if config.schedule == "cosine":
        if not rising:
            return keras.optimizers.schedules.CosineDecay(config.learning_rate, steps)
        return keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - rising), warmup_target=config.learning_rate, warmup_steps=rising
        )
    if rising:
        return keras.optimizers.schedules.PolynomialDecay(0.0, rising, config.learning_rate)
    return config.learning_rate
