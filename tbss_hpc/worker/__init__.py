"""What runs in an allocation: watchers, slots, records, and the Dask worker of one epoch."""
