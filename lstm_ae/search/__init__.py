"""Hyperparameter search: KerasTuner proposes trials, an executor trains them, and a journal records them."""
