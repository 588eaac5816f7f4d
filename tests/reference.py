"""REFERENCE.md, from where each thing is declared: python -m tests.reference > REFERENCE.md."""

import importlib

from quadnet.cli.main import VERBS
from quadnet.cli.settings import is_list, is_positional, variable_of
from service.rpc.errors import TABLE
from service.rpc.errors import reasons as errors_by_reason
from service.telemetry import metrics

HEAD = """# Reference

Made by `python -m tests.reference > REFERENCE.md` from where each of these is declared; a test
compares.
"""


def cell(text):
    return str(text).replace("|", "\\|")


def table(*rows):
    head, *rest = ("| " + " | ".join(map(cell, row)) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def options(settings):
    """Yield a row for each field: as it is typed, its variable, its default, what it means."""
    for name, field in settings.model_fields.items():
        positional, several = is_positional(field), is_list(field)
        variable = variable_of(name, field)
        default = field.get_default(call_default_factory=True)
        yield (
            f"`{name.upper()}`" if positional else f"`--{name.replace('_', '-')}`",
            f"`{variable}`" if variable else "",
            "" if default in (None, False, "") or several else f"`{default}`",
            field.description,
        )


def verbs():
    for name, verb in VERBS.items():
        module, attribute = verb.settings.split(":")
        settings = getattr(importlib.import_module(module), attribute)
        yield f"### quadnet {name}\n\n{verb.summary[0].upper()}{verb.summary[1:]}.\n"
        yield table(("option", "variable", "default", "meaning"), *options(settings)) + "\n"


def errors():
    reasons = {error: f"the reason `{reason}`" for reason, error in errors_by_reason().items()}
    return table(
        ("situation", "status", "details"),
        *(
            (
                row.what,
                f"`{row.code.name}`",
                row.details.replace("the reason", reasons.get(row.error, "")),
            )
            for row in TABLE
        ),
    )


def measured():
    rows = []
    for collector in metrics.REGISTRY._collector_to_names:
        kind = collector._type
        name = collector._name + ("_total" if kind == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in collector._labelnames)
        rows.append((f"`{name}`", kind, labels, collector._documentation))
    return table(("metric", "kind", "labels", "meaning"), *rows)


NOT_SUPPORTED = """
- Unix sockets: `--host` is a host name or an IP address.
- Lists of revoked certificates: to shut a client out, issue the others new certificates from
  another authority and change `--tls-client-ca`.
- Counting refused TLS handshakes: gRPC does not report them to the server's process.
- ModelStreamInfer, shared memory, loading and unloading, tracing and log settings of Triton's
  protocol: `UNIMPLEMENTED`.
- Behind HAProxy 2.6: the status of a stream that is refused before its messages were read, or of a
  request that gRPC itself refuses for its size. HAProxy drops an answer to half a request; the
  caller sees `CANCELLED`.
"""


def reference():
    return "\n".join(
        [
            HEAD,
            "## Errors\n",
            "What a caller sees. The text stands alone. Details are google.rpc messages in the",
            "trailing metadata, which also hold an `x-request-id`, the call's own or a new one.",
            "A call that gRPC has received and not handed over when the server stops ends with",
            "`UNAVAILABLE` on Linux; elsewhere gRPC may end it with `CANCELLED`.\n",
            errors() + "\n",
            "## Not supported",
            NOT_SUPPORTED,
            "## Metrics\n",
            measured() + "\n",
            "## Options\n",
            *verbs(),
        ]
    ).rstrip()


if __name__ == "__main__":
    print(reference())
