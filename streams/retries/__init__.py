"""Requests that wait until they are due again, and their way back to the request topic."""
