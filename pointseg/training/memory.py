"""Memory of this process."""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed() -> None:
    """Keep freed memory for the next step, for the rest of this process; with another C library than glibc, nothing.

    A training step on the processor frees and takes the same hundreds of megabytes of activations. By default
    glibc maps each large tensor afresh, and the kernel clears its pages every time: a fifth to a third of a step of
    the mobile networks (benchmarks/README.md). The price: memory stays at its highest until the process ends.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, -1)
