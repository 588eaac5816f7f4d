"""Run the command line without what Windows lacks: python -m tests.support.windows train quadrants.

It imports the libraries first, because they have their own code for Windows. Then it removes the
names that Windows lacks, and makes opening a directory fail.
"""

import asyncio
import getpass
import multiprocessing
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
import uuid

import joblib
import matplotlib.figure
import matplotlib.font_manager
import matplotlib.image
import matplotlib.style
import pydantic_settings
import rich.progress
import safetensors.numpy
import scipy.optimize
import sklearn.model_selection
import sklearn.neural_network
import threadpoolctl

from quadnet.cli import main

IMPORTED = (
    asyncio, getpass, joblib, matplotlib.figure, matplotlib.font_manager, matplotlib.image,
    matplotlib.style, multiprocessing, platform, pydantic_settings, rich.progress,
    safetensors.numpy, scipy.optimize, sklearn.model_selection, sklearn.neural_network, subprocess,
    threadpoolctl, uuid,
)  # fmt: skip

MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
NAMES = {
    os: (
        "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "chown", "fchmod", "fchown", "fork",
        "geteuid", "getuid", "killpg", "pread", "pwrite", "sched_getaffinity", "statvfs", "uname",
    ),
    signal: ("SIGHUP", "SIGKILL", "SIGALRM", "pthread_sigmask"),
    socket: ("AF_UNIX", "SO_REUSEPORT"),
}  # fmt: skip


def become_windows():
    for module in MODULES:
        sys.modules[module] = None
    for module, names in NAMES.items():
        for name in names:
            delattr(module, name)
    open_any = os.open

    def open_file(path, *flags, **options):
        descriptor = open_any(path, *flags, **options)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise PermissionError(13, "Permission denied", str(path))
        return descriptor

    os.open = open_file
    sys.platform = "win32"


if __name__ == "__main__":
    platform.platform()  # platform caches it; a new query would call Windows
    become_windows()
    main.main()
