"""Use cases: where the pure core meets files, schedulers and people."""
