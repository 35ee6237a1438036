"""From the topics into the stores: batches, written whole, committed after the write."""
