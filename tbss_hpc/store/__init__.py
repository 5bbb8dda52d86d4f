"""The run folder on disk: the only code that knows its file names."""
