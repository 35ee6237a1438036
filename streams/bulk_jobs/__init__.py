"""The book of bulk jobs and what is known of their lines, as the gateway reads and keeps them."""
