"""The signals that stop a server, and which of them apply to this process."""

import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that this process obeys: SIGTERM, SIGINT and, where it exists, SIGHUP.

    SIGHUP comes from a terminal that closes. A process started with ``nohup`` ignores it, and must
    go on ignoring it.
    """
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return (signal.SIGTERM, signal.SIGINT)
    return (signal.SIGTERM, signal.SIGINT, hangup)
