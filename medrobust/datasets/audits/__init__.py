"""What is wrong with images and labels: repeats, changed labels, other findings."""
