"""What breaks things on purpose: damaged files, kills, many processes on one store."""
