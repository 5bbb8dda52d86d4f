"""The controller's side of Dask and dask-jobqueue; nothing else imports them."""
