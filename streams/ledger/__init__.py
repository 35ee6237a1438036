"""The truth about money: who may call for a key, what was sent, what was paid."""
