"""Observers that record events, and records without the time that they took."""

from lstm_ae.training.observer import FoldObserver


class Recorder(FoldObserver):
    """Observer that keeps the data and the folds, and is stopped by an exception in the trainings of a title."""

    def __init__(self, stop=""):
        self.stop, self.data, self.folds, self.titles = stop, [], [], []

    def prepared(self, data):
        self.data.append(data)

    def progress(self, title, progress):
        self.titles.append(title)
        if title == self.stop:
            raise InterruptedError

    def finished(self, fold):
        self.folds.append(fold)


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]
