"""Published sets in the layouts of their makers."""
