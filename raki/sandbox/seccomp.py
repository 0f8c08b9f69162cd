"""What a process may not ask of the kernel any more, by the numbers of the calls (seccomp, Linux 3.5).

What is forbidden fails as if the caller lacked a permission. Calls newer than those that were looked at don't exist.

Linux kernel documentation, "Seccomp BPF (SECure COMPuting with filters)",
https://docs.kernel.org/userspace-api/seccomp_filter.html; numbers from asm/unistd_64.h and asm-generic/unistd.h.
"""

import ctypes
import errno
import os
import platform
import struct

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
"""SECCOMP_RET_ALLOW and SECCOMP_RET_ERRNO; the latter takes the error in its lower half."""
LOAD, EQUAL, GREATER, ANY_BIT, RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
"""BPF_LD|W|ABS, and of BPF_JMP the kinds JEQ, JGT and JSET with a constant; BPF_RET."""
# struct seccomp_data: number, architecture, instruction pointer, six arguments of 64 bits, their lower halves first.
NUMBER_AT, ARCHITECTURE_AT, FIRST_ARGUMENT_AT = 0, 4, 16
CLONE_THREAD = 0x10000
AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEWEST = 451
"""The newest call that was looked at; from 424 on the numbers are the same everywhere."""
CLONE3 = 435
CLONE = {"x86_64": 56, "aarch64": 220}
TO_ITSELF_ALONE = {"x86_64": (62, 234, 302), "aarch64": (129, 131, 261)}
"""kill, tgkill and prlimit64, whose first argument is a process."""
FORBIDDEN: dict[str, tuple[int, ...]] = {
    "x86_64": (
        *(
            41,
            53,
            42,
            49,
            50,
            43,
            288,
            44,
            46,
            307,
        ),  # the network
        *(
            59,
            322,
            57,
            58,
        ),  # programs and processes
        *(
            101,
            310,
            311,
            440,
            312,
            200,
            129,
            297,
            434,
            438,
            424,
            141,
            251,
            144,
            314,
        ),  # other processes
        *(
            272,
            308,
            165,
            166,
            155,
            161,
            428,
            429,
            430,
            431,
            432,
            433,
            442,
        ),  # other views of the machine
        *(
            321,
            298,
            323,
            248,
            249,
            250,
            425,
            426,
            427,
            303,
            304,
            300,
        ),  # the kernel's own programs and keys
        *(
            319,
            447,
            29,
            30,
            31,
            64,
            66,
            68,
            71,
            240,
            241,
        ),  # memory that no limit counts or that stays
        *(
            246,
            320,
            175,
            313,
            176,
            169,
            167,
            168,
            163,
            179,
            443,
            103,
            164,
            227,
            305,
            159,
            170,
            171,
            135,
            154,
            173,
            172,
        ),  # the machine
        *(
            133,
            259,
            88,
            266,
            86,
            265,
            90,
            91,
            268,
            92,
            93,
            94,
            260,
            188,
            189,
            190,
            197,
            198,
            199,
            132,
            235,
            261,
            280,
        ),  # files other than plain ones, and what Landlock doesn't watch
        *(
            105,
            106,
            113,
            114,
            117,
            119,
            116,
            122,
            123,
            126,
        ),  # identity
    ),
    "aarch64": (
        *(
            198,
            199,
            203,
            200,
            201,
            202,
            242,
            206,
            211,
            269,
        ),  # the network
        *(
            221,
            281,
        ),  # programs and processes
        *(
            117,
            270,
            271,
            440,
            272,
            130,
            138,
            240,
            434,
            438,
            424,
            140,
            30,
            119,
            274,
        ),  # other processes
        *(
            97,
            268,
            40,
            39,
            41,
            51,
            428,
            429,
            430,
            431,
            432,
            433,
            442,
        ),  # other views of the machine
        *(
            280,
            241,
            282,
            217,
            218,
            219,
            425,
            426,
            427,
            264,
            265,
            262,
        ),  # the kernel's own programs and keys
        *(
            279,
            447,
            194,
            196,
            195,
            190,
            191,
            186,
            187,
            180,
            181,
        ),  # memory that no limit counts or that stays
        *(
            104,
            294,
            105,
            273,
            106,
            142,
            224,
            225,
            89,
            60,
            443,
            116,
            170,
            112,
            266,
            171,
            161,
            162,
            92,
        ),  # the machine
        *(
            33,
            36,
            37,
            52,
            53,
            55,
            54,
            5,
            6,
            7,
            14,
            15,
            16,
            88,
        ),  # files other than plain ones, and what Landlock doesn't watch
        *(
            146,
            144,
            145,
            143,
            147,
            149,
            159,
            151,
            152,
            91,
        ),  # identity
    ),
}


def is_there() -> bool:
    """Whether this kernel filters calls, and raki knows their numbers on this processor."""
    if platform.machine() not in FORBIDDEN:
        return False
    # Without a filter to load, the call says what is wrong with it: EFAULT where the kernel would take one.
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, None, 0, 0) == -1 and ctypes.get_errno() == errno.EFAULT


def forbid() -> None:
    """Forbids it to this thread and all that come of it, for good.

    Raises:
        OSError: the kernel didn't take the filter.
    """
    program = _program(platform.machine(), os.getpid())
    instructions = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, described, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel didn't take the filter of system calls")


def _program(machine: str, own_process: int) -> bytes:
    """The filter as the kernel's virtual machine runs it, from the top down; a jump passes over so many lines."""
    refused, unknown = _return(REFUSE | errno.EPERM), _return(REFUSE | errno.ENOSYS)
    lines = [
        _line(LOAD, ARCHITECTURE_AT),
        _line(EQUAL, AUDIT_ARCHITECTURE[machine], over=1),
        refused,
        _line(LOAD, NUMBER_AT),
        _line(GREATER, NEWEST, otherwise_over=1),
        unknown,
        # Its flags stand in memory, where no filter looks. The C library then takes the older call.
        _line(EQUAL, CLONE3, otherwise_over=1),
        unknown,
    ]
    for number in FORBIDDEN[machine]:
        lines += [_line(EQUAL, number, otherwise_over=1), refused]
    # A thread may begin, and no process.
    lines += [_line(EQUAL, CLONE[machine], otherwise_over=4), _line(LOAD, FIRST_ARGUMENT_AT)]
    lines += [_line(ANY_BIT, CLONE_THREAD, otherwise_over=1), _return(ALLOW), refused]
    for number in TO_ITSELF_ALONE[machine]:
        lines += [_line(EQUAL, number, otherwise_over=5), _line(LOAD, FIRST_ARGUMENT_AT)]
        lines += [_line(EQUAL, own_process, over=2), _line(EQUAL, 0, over=1), refused, _return(ALLOW)]
    return b"".join([*lines, _return(ALLOW)])


def _line(code: int, constant: int, *, over: int = 0, otherwise_over: int = 0) -> bytes:
    return struct.pack("<HBBI", code, over, otherwise_over, constant)


def _return(what: int) -> bytes:
    return _line(RETURN, what)
