"""Training: batches, steps, checkpoints, and the loop over epochs."""
