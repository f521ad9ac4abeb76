"""Whether a window of studies comes from the distribution of a reference, and when to say so."""
