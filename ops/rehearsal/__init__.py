"""A rehearsal of the model: a loopback server with the wire format of the Messages API, its faults and its bill."""
