"""What the gateway reads: rows of requests, Idempotency-Keys, how much waits. Its ports are in `producers/gateway`."""
