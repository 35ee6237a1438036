"""How much callers may do: calls a second, requests and bytes a day, bulk jobs at a time."""
