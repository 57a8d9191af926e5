"""Hyperparameter search: KerasTuner says what to try, an executor trains it, and a journal remembers all of it."""
