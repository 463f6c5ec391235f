"""Every error that netweight raises on purpose.

    NetweightError
    ├── FormatError            bytes that are not what they claim to be
    │   ├── TruncatedError       they end before what they announce
    │   ├── ChecksumError        they were altered
    │   ├── VersionError         written by a newer netweight
    │   └── BombError            they announce far more than they could hold
    ├── InputError             what we were asked to read can't be used
    │   ├── UnsupportedError     a dtype, codec or file that this build doesn't know
    │   ├── InputChangedError    the file changed while it was being read
    │   └── NotFoundError        no such file, tensor or codec
    ├── BaseMismatchError        the receiver lacks, or has another, base checkpoint
    ├── PeerError              another rank died, hung, failed or works with other settings
    ├── GuaranteeError         a codec broke its promise: a bug of the codec, never of the data
    ├── OutputError            the result can't be written (exists, disk full, read-only)
    └── MissingExtraError      an optional dependency isn't installed; says how to install it

A message names the file, the tensor and what was expected, and says what to do.
"""

from __future__ import annotations


class NetweightError(Exception):
    """Base of the tree; the command line prints it without a traceback."""


class FormatError(NetweightError):
    """Bytes that are not what they claim to be."""


class TruncatedError(FormatError):
    """The bytes end before what they announce."""


class ChecksumError(FormatError):
    """The bytes were altered after they were written."""


class VersionError(FormatError):
    """The bytes were written by a format version that this build doesn't read."""


class BombError(FormatError):
    """The bytes announce a result far larger than the limit for their length."""


class InputError(NetweightError):
    """What we were asked to read can't be used."""


class UnsupportedError(InputError):
    """A dtype, codec or file kind that this build doesn't know."""


class InputChangedError(InputError):
    """The input changed while it was being read."""


class NotFoundError(InputError):
    """No such file, tensor or codec."""


class BaseMismatchError(NetweightError):
    """The receiver lacks what the bytes were coded against, or holds another one."""


class GuaranteeError(NetweightError):
    """A codec broke its promise."""


class PeerError(NetweightError):
    """Another rank died, hung, failed, or works with other settings than this one."""


class OutputError(NetweightError):
    """The result can't be written."""


class MissingExtraError(NetweightError, ImportError):
    """An optional dependency isn't installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"this needs the package {package!r}: install it with  pip install 'netweight[{extra}]'")
