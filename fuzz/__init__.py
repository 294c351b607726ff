"""Coverage-guided fuzzing of whatever reads bytes that others wrote. `targets.py` says what must hold."""
