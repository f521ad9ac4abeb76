"""How far places are from those of normal images: memory banks, Gaussians, windows."""
