"""The wire between a controller and its workers: Dask's settings, and the run's certificate."""

from __future__ import annotations

import logging

import dask
from distributed.security import Security

from tbss_hpc.store.folder import RunFolder

#: Each setting is one that a user's file or environment must not change.
SETTINGS = {
    # No prefetch: a command that waits behind a running one cannot use a slot that idles.
    "distributed.scheduler.worker-saturation": 1.0,
    # A lost worker fails its attempts at once; only our records may say what became of them.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # A worker on a busy node may be silent for long; what ends it is its own connection.
    "distributed.scheduler.worker-ttl": None,
    # Each connection would keep its last 1000 messages: gigabytes with hundreds of workers.
    "distributed.admin.low-level-log-length": 0,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.http.routes": [],
    # Commands are other processes; the memory of ours says nothing about them.
    **{
        f"distributed.worker.memory.{key}": False
        for key in ("target", "spill", "pause", "terminate")
    },
    # A token guards the dashboard; this route would hand requests on to other hosts.
    "distributed.scheduler.http.routes": [
        "distributed.http.scheduler.prometheus",
        "distributed.http.scheduler.info",
        "distributed.http.scheduler.json",
        "distributed.http.health",
        "distributed.http.statics",
    ],
}


def configure() -> None:
    """Set what Dask must do in this process."""
    # Dask reads the files of /etc/dask and of the home directory wherever DASK_CONFIG points, and
    # any setting there (a preload, a timeout) may undo what our mechanisms lean on.
    dask.config.refresh(paths=[])
    dask.config.set(SETTINGS)
    # Dask tells of every connection; what matters of it we say ourselves, in sentences.
    for name in ("distributed", "tornado"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Of a page that was refused tornado would log the address, and a token in it.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    # bokeh warns that any origin may connect; the door in front of it asks for the token.
    logging.getLogger("bokeh").setLevel(logging.ERROR)


def security(run: RunFolder) -> Security:
    """Encrypt every connection, and let in only those who can read the run folder."""
    files = {
        f"tls_{role}_{part}": str(path)
        for role in ("scheduler", "worker", "client")
        for part, path in (("cert", run.certificate), ("key", run.key))
    }
    return Security(tls_ca_file=str(run.certificate), require_encryption=True, **files)
