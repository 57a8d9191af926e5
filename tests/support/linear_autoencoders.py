"""Linear autoencoders at which networks start."""

import numpy as np

from lstm_ae.detection.baselines import LinearAutoencoder


def random_linear_autoencoder(steps: int, features: int, size: int) -> LinearAutoencoder:
    random = np.random.default_rng(5)
    mean, encoder, decoder = (
        random.normal(size=shape).astype(np.float32)
        for shape in ((steps, features), (steps * features, size), (size, steps * features))
    )
    return LinearAutoencoder(mean, encoder / np.float32(steps * features), decoder)
