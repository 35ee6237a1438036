"""Who may come in: API keys, kept as digests, remembered for seconds."""
