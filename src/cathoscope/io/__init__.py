"""Raw files of beamlines and microscopes as labelled, lazy Datasets."""

from cathoscope.io.registry import READERS, Reader, open_raw
from cathoscope.io.stxm import read_spectrum

__all__ = ["READERS", "Reader", "open_raw", "read_spectrum"]
