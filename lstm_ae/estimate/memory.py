"""How much main memory a process has taken."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int | None:
    """The most main memory that this process has had so far, in bytes; None where the system does not tell."""
    if STATUS.is_file():  # on Linux ru_maxrss begins at what the process had that started this one
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        held = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        if held:
            return held[0]
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
