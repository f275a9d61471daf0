"""Being told when the wall's clock is set: a timer of the kernel that a step cancels.

timerfd_create(2), TFD_TIMER_CANCEL_ON_SET; Python has it from 3.13 on only, hence ctypes.  The end
of a suspension counts as a step too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from typing import Final

_ABSTIME: Final = 1
_CANCEL_ON_SET: Final = 2
_FAR_S: Final = 1 << 40
"""The timer itself never goes off: it is some 30,000 years away."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """struct itimerspec: interval, then value, each in seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class ClockSteps:
    """Its descriptor `fd` is readable once somebody has set the clock; `note` arms it again."""

    def __init__(self) -> None:
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self.fd: int = _libc.timerfd_create(time.CLOCK_REALTIME, flags)
        if self.fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        self._arm()

    def note(self) -> None:
        """The step has been dealt with: wait for the next."""
        with contextlib.suppress(OSError):  # ECANCELED says that there was one
            os.read(self.fd, 8)
        self._arm()

    def _arm(self) -> None:
        spec = _Spec(0, 0, _FAR_S, 0)
        flags = _ABSTIME | _CANCEL_ON_SET
        if _libc.timerfd_settime(self.fd, flags, ctypes.byref(spec), None) < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def close(self) -> None:
        """Let go of the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
