"""Pack thousands of short commands into a few long batch jobs, and prove what came of each."""

__version__ = "0.1.0"
