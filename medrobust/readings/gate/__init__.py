"""The gate: below which image quality a model must not be used, fitted on stored cells."""
