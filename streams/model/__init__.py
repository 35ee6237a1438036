"""Asking the model: one port, its adapters, what a call costs and what its failures mean."""
