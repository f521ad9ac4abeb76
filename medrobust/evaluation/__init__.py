"""Plan cells, run them, store them."""
