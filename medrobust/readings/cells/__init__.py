"""What several readings make of cells: those of a model, how sure it is, sets of answers."""
