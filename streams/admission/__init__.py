"""Whether a request may be answered at all, and as what it is asked."""

from streams.admission.admission import Admission, FreshSince, Refusal, Work

__all__ = ["Admission", "FreshSince", "Refusal", "Work"]
