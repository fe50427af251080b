"""python tests/no_network.py COMMAND...: becomes COMMAND, which the kernel kills at its first socket.

A filter of system calls (seccomp) stays with the command, its threads and its children: `socket` of any
family but AF_UNIX ends the process with SIGSYS, whether or not there is a network to reach. Exits with 77
where there is no such filter: other systems than Linux, other processors, a kernel or a container without.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

#: The number that the kernel gives a processor's calls (AUDIT_ARCH_*), and that of `socket` on it.
CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
SKIPPED = 77

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
AF_UNIX = 1
#: Where a filter finds the call's number, the processor and the lower half of the first argument.
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16


class Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("operand", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(Instruction)))


def forbid_sockets() -> str | None:
    """Puts the filter on this process, for good; what is in the way if there cannot be one."""
    if sys.platform != "linux" or platform.machine() not in CALLS or sys.byteorder != "little":
        return f"no filter of system calls on {sys.platform} {platform.machine()}"
    architecture, socket = CALLS[platform.machine()]
    steps = (
        (LOAD_WORD, 0, 0, ARCHITECTURE),
        (JUMP_IF_EQUAL, 0, 5, architecture),
        (LOAD_WORD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 2, socket),
        (LOAD_WORD, 0, 0, FIRST_ARGUMENT),
        (JUMP_IF_EQUAL, 0, 1, AF_UNIX),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, KILL_PROCESS),
    )
    program = Program(len(steps), (Instruction * len(steps))(*(Instruction(*step) for step in steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)),
        (PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.byref(program)),
    ):
        if libc.prctl(*call) != 0:
            return f"this kernel refuses a filter of system calls ({os.strerror(ctypes.get_errno())})"
    return None


if __name__ == "__main__":
    if (lacking := forbid_sockets()) is not None:
        print(lacking)
        sys.exit(SKIPPED)
    os.execv(sys.argv[1], sys.argv[1:])
