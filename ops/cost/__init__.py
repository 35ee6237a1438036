"""`headrace cost`: what was spent, what a file would cost, whether spending looks wrong."""
