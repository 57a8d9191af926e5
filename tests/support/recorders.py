"""Records of trainings without the time that they took."""


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]
