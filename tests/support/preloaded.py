"""Import what commands and tests need, in a process whose forks start with it."""

import importlib

from lstm_ae.startup import load_tensorflow, pause_garbage_collection

MODULES = ("apply.dataset", "export.saved_model", "fleets.training", "search.search", "watch.mqtt", "watch.sql")

with pause_garbage_collection():
    load_tensorflow()
    for name in ("lstm_ae_cli.app", "matplotlib.pyplot", "watching", *(f"lstm_ae.{module}" for module in MODULES)):
        importlib.import_module(name)
