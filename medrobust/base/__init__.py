"""What every room stands on: fingerprints, safe files, wording, state of the process."""
