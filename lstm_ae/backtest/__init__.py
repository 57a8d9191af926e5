"""Train and test many times over: rolling origins and folds."""
