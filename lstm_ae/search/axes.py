"""Temporary."""

from lstm_ae.space import *  # noqa: F403
