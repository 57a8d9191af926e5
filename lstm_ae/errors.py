"""What can go wrong, in three kinds; the command line turns each into one line and an exit code."""


class LstmAeError(Exception):
    """Base of every error this package raises on purpose; its text is one line that says what to do."""


class ConfigError(LstmAeError, ValueError):
    """A choice that is not allowed: an option out of its range, an unknown key, options that exclude each other."""


class DataError(LstmAeError, ValueError):
    """Data, a run or a model file that cannot be used as it is."""


class InsufficientSkillError(LstmAeError):
    """A forecast is worse than was required."""


class LeakageError(LstmAeError):
    """Something of the future reaches a forecast."""


class DivergedError(LstmAeError, ArithmeticError):
    """The loss became NaN or infinite; the last good weights have been kept."""


class UnprovenError(LstmAeError):
    """An exported model that fails a check of what is served."""
