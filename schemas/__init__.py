"""What travels: the topics, the events on them, and how an event becomes a Kafka record and back."""
