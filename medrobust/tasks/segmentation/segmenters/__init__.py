"""What gives logits of places: a model's own decoder, a probe on patch features, or words."""
