"""Shrinkage of a trained forecaster towards the baseline that it starts at.

Part of what a network learns beyond its baseline holds for the training period only. The forecast is the
baseline plus a share of the network's correction: the one with the smallest squared error on the validation windows.
This is stacking with one weight (Breiman 1996, "Stacked regressions"). As the best epoch has a smaller error than the
baseline, the share is between 1/2 and 1.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np

# Shares are rounded, so that the stored share is exact.
DIGITS = 2


class Correction:
    """Learned change of the layers that the output of a network is linear in.

    Args:
        variables: variables of these layers before the training.
    """

    def __init__(self, variables: Sequence[keras.Variable]) -> None:
        self.variables = variables
        self.start = [np.array(variable) for variable in variables]

    def shrink(self, share: float) -> None:
        """Reduce the change of the variables to a share of it."""
        if share == 1:
            return
        for variable, start in zip(self.variables, self.start, strict=True):
            variable.assign(start + np.float32(share) * (np.array(variable) - start))

    def shrink_to_best(self, loss: Callable[[], float], before: float) -> float:
        """Reduce the change to the share with the smallest squared error, and return the share.

        The error is a quadratic function of the share, so that three values determine it. For layers that the output
        is not exactly linear in, the share is 1 if the error at the minimum of the quadratic function is not smaller.

        Args:
            loss: returns the mean squared error of the network as it is.
            before: the error before the training, which is larger than now.
        """
        trained = [np.array(variable) for variable in self.variables]

        def loss_at(share: float) -> float:
            for variable, value in zip(self.variables, trained, strict=True):
                variable.assign(value)
            self.shrink(share)
            return loss()

        now = loss_at(1.0)
        curvature = 2 * (before + now - 2 * loss_at(0.5))
        share = 1.0
        if curvature > 0:
            share = round(min((before + curvature - now) / (2 * curvature), 1.0), DIGITS)
        if share == 1 or not loss_at(share) < now:
            share = 1.0
            loss_at(share)
        return share
