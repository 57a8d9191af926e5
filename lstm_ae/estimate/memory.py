"""Peak memory of a process."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int | None:
    """Return the peak main memory of this process in bytes; None if the system does not report it."""
    if STATUS.is_file():  # On Linux ru_maxrss starts at the value of the parent process.
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        if peaks:
            return peaks[0]
    try:
        import resource
    except ImportError:  # The module does not exist on Windows.
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
