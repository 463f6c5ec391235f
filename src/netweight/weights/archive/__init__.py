"""Many payloads and one index in one file."""

from .api import ArchiveReceipt, compress_file, decompress_file, load_file, open, verify_file  # noqa: A004
from .reader import Archive, TensorInfo

__all__ = [
    "Archive",
    "ArchiveReceipt",
    "TensorInfo",
    "compress_file",
    "decompress_file",
    "load_file",
    "open",
    "verify_file",
]
