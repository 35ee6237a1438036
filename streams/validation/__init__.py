"""Checks of answers: whether one is what its template asks for. Pure."""

from streams.validation.check import checked, passed, validator_of

__all__ = ["checked", "passed", "validator_of"]
