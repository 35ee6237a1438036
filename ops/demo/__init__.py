"""`headrace demo`: a fleet answered on the real servers of this machine, and the books compared."""
