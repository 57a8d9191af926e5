"""The command line, installed as `lstm_ae_cli`: options and printing; the work is done by `lstm_ae`."""

from .app import app, main

__all__ = ["app", "main"]
