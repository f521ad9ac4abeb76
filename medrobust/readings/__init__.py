"""What stored cells say further, without a model: one file a reading."""
