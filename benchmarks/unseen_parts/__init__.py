"""Networks, data and faults of `unseen.py`, which no rule was set on."""
