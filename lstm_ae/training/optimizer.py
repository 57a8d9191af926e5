"""The optimizer and its learning rate schedule."""

import keras

from lstm_ae.config import Config


def make_optimizer(config: Config, steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer that the config selects.

    Args:
        config: optimizer, learning rate, schedule, and clipping.
        steps: training steps per epoch.
    """
    names = {"adam": "Adam", "adamw": "AdamW", "nadam": "Nadam", "rmsprop": "RMSprop", "sgd": "SGD"}
    others: dict[str, object] = {"global_clipnorm": config.clip or None}
    if config.optimizer in ("adam", "adamw", "nadam"):
        others |= {"beta_2": config.beta_2, "epsilon": config.epsilon}
    return getattr(keras.optimizers, names[config.optimizer])(_rate(config, config.epochs * steps), **others)


def _rate(config: Config, steps: int) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Return the learning rate, or its schedule over `steps` steps."""
    if config.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(config.learning_rate, steps)
    return config.learning_rate
