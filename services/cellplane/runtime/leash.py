"""Starts a command that ends when its parent does: ``python leash.py <parent pid> <command> …``.

Run as a file, before anything of ours is imported: the child asks the kernel to kill it with its
parent, then becomes the command. Doing it here and not between fork and exec keeps forks out of a
process that has threads (gRPC's). Where there is no prctl, the command just runs.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # The parent may have died before the request was made.
        if os.getppid() != parent:
            os._exit(0)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"can't start {command[0]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main()
