"""The parts of the bench: each measures contestants side by side and returns its rows."""
