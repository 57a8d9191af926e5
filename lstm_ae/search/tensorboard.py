"""Logs of a search for TensorBoard's HParams page."""

from types import ModuleType
from typing import TYPE_CHECKING

from lstm_ae.config.space import Axis
from lstm_ae.search.directory import SearchDirectory
from lstm_ae.search.plan import SearchPlan
from lstm_ae.search.trial import Trial

if TYPE_CHECKING:
    from tensorboard.plugins.hparams.summary_v2 import Domain


class TensorBoardWriter:
    """Writer of TensorBoard logs, one directory per trial.

    Args:
        folder: the directory of the search.
        plan: the plan of the search.
    """

    def __init__(self, folder: SearchDirectory, plan: SearchPlan) -> None:
        import tensorflow as tf
        from tensorboard.plugins.hparams import api

        self.folder, self.plan, self.api, self.tf = folder, plan, api, tf
        with tf.summary.create_file_writer(str(folder.tensorboard)).as_default():
            domains = [api.HParam(axis.name, _domain(axis, api)) for axis in plan.axes]
            api.hparams_config(hparams=domains, metrics=[api.Metric(plan.objective.name)])

    def write(self, trial: Trial) -> None:
        """Write an ended trial: its setting and the objective after each epoch of its first execution."""
        if not trial.executions:
            return
        name = f"{trial.number:04}"
        with self.tf.summary.create_file_writer(str(self.folder.tensorboard / name)).as_default():
            self.api.hparams(trial.values, trial_id=name)
            for epoch, value in enumerate(trial.executions[0].curve, 1):
                self.tf.summary.scalar(self.plan.objective.name, value, step=epoch)


def _domain(axis: Axis, api: ModuleType) -> "Domain":
    if axis.values:
        return api.Discrete(list(axis.values))
    kind = api.IntInterval if isinstance(axis.low, int) else api.RealInterval
    return kind(axis.low, axis.high)
