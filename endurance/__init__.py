"""Runs that take long: an hour of soak, a hundred thousand cancellations, processes that are killed under load."""
