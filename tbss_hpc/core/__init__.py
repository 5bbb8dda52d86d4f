"""The pure heart: no files, no clock, no subprocess, no Dask."""
