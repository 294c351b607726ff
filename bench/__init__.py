"""What produces every figure that the README quotes: `python -m bench`, from the root of the project."""
