"""Published images with their reports, read from the layouts in which they are published."""
