"""The version, in a file of its own: the build reads it, and `ai-client --version` needs nothing else."""

__version__ = "0.1.0"
