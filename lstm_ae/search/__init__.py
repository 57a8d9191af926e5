"""Hyperparameter search: KerasTuner proposes trials, a pool trains them, and a journal records them."""
