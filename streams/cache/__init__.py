"""Answers already paid for: the port, what is stored, and the tiers."""
