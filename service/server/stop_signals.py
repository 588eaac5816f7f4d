"""The signals that stop this process."""

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that stop this process: SIGTERM, SIGINT and, where it exists, SIGHUP.

    SIGHUP is sent when the terminal closes. A process that was started with ``nohup`` ignores it
    and must keep ignoring it.
    """
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return (signal.SIGTERM, signal.SIGINT)
    return (signal.SIGTERM, signal.SIGINT, hangup)
