"""A worker process ends with its caller, however the caller ends.

A caller that is killed closes its end of the pipe, which the worker sees (`worker_main`). That is
too little where a process forked from the caller holds a copy of that end, or where the worker is
stopped, or within a library that lets no other thread run: hence what stands here.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # of Linux: <sys/prctl.h>


def hold_back_ctrl_c() -> None:
    """Keep Ctrl-C from this thread and from the processes that it starts; it is the caller's."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def ignore_ctrl_c() -> None:
    """Ignore Ctrl-C, which may have been held back while this process was starting."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end_with(caller: int) -> None:
    """Have the system kill this process when its caller ends; where it cannot, do nothing.

    On Linux that is when the caller's thread that started this process ends, so that thread has to
    live as long as the process shall.

    Args:
        caller: number of the process that started this one.
    """
    if sys.platform == "linux":
        import ctypes

        prctl = getattr(ctypes.CDLL(None), "prctl", None)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    end_if_left(caller)  # it may have ended before it was asked for


def end_if_left(caller: int) -> None:
    """End this process at once if its caller is gone."""
    if os.getppid() != caller:
        os._exit(0)
