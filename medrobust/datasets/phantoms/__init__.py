"""Synthetic images in several modality-like families."""
