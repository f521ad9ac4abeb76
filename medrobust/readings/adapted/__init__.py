"""What the reading of adaptations is made of."""
