"""The source report again: `parts` says what it claims, `journey` trains what is missing, `lstm_ae.significance`
decides."""
