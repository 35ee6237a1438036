"""What every worker is told beside its records: cancellations."""
