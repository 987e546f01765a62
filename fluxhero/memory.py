"""Keeping freed memory for the next batch instead of giving it back to the system after each.

A batch is some fifty megabytes, several times allocated and freed. By default the C library and
Arrow hand such blocks back at once, and the next batch pays for every page of them anew: a fifth of
an archive run's CPU time, most of all on virtual machines.
"""

import ctypes
import functools

import pyarrow as pa

# <malloc.h>: the parameters of mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 1 << 30  # bytes; more than a run has


@functools.cache
def keep_freed_memory() -> None:
    """From now on this process keeps freed memory for itself; for one that ends with its run.

    Its peak stays what it was. Without glibc nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_M_MMAP_THRESHOLD, _KEPT)
    mallopt(_M_TRIM_THRESHOLD, _KEPT)
    pa.set_memory_pool(pa.system_memory_pool())
