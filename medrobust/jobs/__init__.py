"""One job, one sweep, dry runs, records."""
