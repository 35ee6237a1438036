"""Whether a request may be answered at all, and as what it is asked."""

from streams.admission.admission import Admission, AdmissionRules, Refusal, Work

__all__ = ["Admission", "AdmissionRules", "Refusal", "Work"]
