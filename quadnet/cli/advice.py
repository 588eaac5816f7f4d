"""The command line's advice on errors: options to give, and commands to run.

Messages of the library name no option. What a user of the command line can do about an error is
here, by the error's kind.
"""

from quadnet.errors import ErrorKind, QuadnetError

ADVICE = {
    ErrorKind.REGISTRY_INACCESSIBLE: "Correct that, or name another directory with --registry.",
    ErrorKind.REGISTRY_NOT_EMPTY: "Name an empty or a new directory with --registry.",
    ErrorKind.REGISTRY_WITHOUT_LINKS: ("Name a directory on another file system with --registry."),
    ErrorKind.RUN_FILE_CHANGE: "Correct the option --set.",
    ErrorKind.COLUMN_EXISTS: "Set it with --prefix, as in --prefix predicted_.",
    ErrorKind.OUTPUT_EXISTS: "Name another file, or add --overwrite to replace it.",
    ErrorKind.OUTPUT_UNFINISHED: "Add --resume to finish it, or --overwrite to start again.",
    ErrorKind.OUTPUT_INTERRUPTED: "Correct that, and add --resume to continue.",
    ErrorKind.OUTPUT_NOT_RESUMABLE: "Use --overwrite instead of --resume to start again.",
    ErrorKind.LEDGER_EXISTS: "Add --resume to continue it, or remove the file to start again.",
    ErrorKind.LEDGER_OF_OTHER_SEARCH: "Name another file with --ledger, or remove this one.",
    ErrorKind.LEDGER_UNWRITABLE: (
        "Correct that, or name another file with --ledger. With --resume, no finished fit is "
        "repeated."
    ),
    ErrorKind.LEDGER_UNKNOWN: "Name another file with --ledger.",
    ErrorKind.LEDGER_LINE_DAMAGED: "Remove that line. With --resume, its fit is repeated.",
    ErrorKind.FIT_PROCESS_KILLED: "Continue with --resume, and with fewer --jobs.",
    ErrorKind.GATE_NOT_PASSED: (
        "Train it longer, change its settings, lower the limit in [gate], or publish it anyway "
        "with --force --reason TEXT."
    ),
    ErrorKind.NOT_PROMOTED: (
        "To make it {alias} anyway: quadnet models alias {model} {alias}={version}"
    ),
    ErrorKind.SERVER_ADDRESS: "Choose another with --port or --host.",
    ErrorKind.HTTP_ADDRESS: "Choose another with --http-port or --host.",
    ErrorKind.METRICS_ADDRESS: "Choose another with --metrics-port or --metrics-host.",
    ErrorKind.PAGE_ADDRESS: "Choose another with --page-port or --page-host.",
    ErrorKind.NO_SERVER: "Start one with `quadnet up`, or name another with --host and --port.",
    ErrorKind.NO_SERVER_OVER_TLS: (
        "Start one with `quadnet up`, or name another with --host and --port. Also check --tls-ca, "
        "--tls-client-cert and --tls-client-key."
    ),
    ErrorKind.MODEL_NOT_TRUSTED: "If you do, add --trust.",
    ErrorKind.TOO_MANY_POINTS: "Set --points-a-call to {max_points} or less.",
}


def explain_error(error: QuadnetError) -> str:
    """Return the error's message, and after it the advice on its kind, if there is some."""
    text = str(error)
    if error.kind is None:
        return text
    stop = "" if text.endswith((".", "?", "!")) else "."
    return f"{text}{stop} {ADVICE[error.kind].format(**error.facts)}"
