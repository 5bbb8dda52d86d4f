"""Sites as people write them: found, read, completed, and written down again."""

from tbss_hpc.sites.finding import find_site, packaged, packaged_folder
from tbss_hpc.sites.reading import SiteFile, Value, read_site
from tbss_hpc.sites.resolving import Resolved, load_site, resolve
from tbss_hpc.sites.writing import as_yaml

__all__ = [
    "Resolved",
    "SiteFile",
    "Value",
    "as_yaml",
    "find_site",
    "load_site",
    "packaged",
    "packaged_folder",
    "read_site",
    "resolve",
]
