"""Root without its right to read and write everywhere, as capabilities(7) has it; for others nothing changes."""

import ctypes
import os

_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
_PR_CAPBSET_DROP = 24
_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def lay_down_rights() -> None:
    """Give up, for this process and all it starts, what lets root write where modes forbid it."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for right in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        _check(libc.prctl(_PR_CAPBSET_DROP, right, 0, 0, 0))
    header, words = _Header(_VERSION_3, 0), (_Word * 2)()
    _check(libc.capget(ctypes.byref(header), words))
    mask = ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH) & 0xFFFFFFFF
    words[0].effective &= mask
    words[0].permitted &= mask
    _check(libc.capset(ctypes.byref(header), words))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
