"""Every read from Kafka, and what happens to a record."""
