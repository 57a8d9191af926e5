"""Apply a trained run to a table: detect, classify, encode, forecast, evaluate."""
