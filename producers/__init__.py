"""Every write to Kafka."""
