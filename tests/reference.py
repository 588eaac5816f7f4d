"""Generates docs/reference.md from the code: python -m tests.reference > docs/reference.md."""

import importlib

from quadnet.cli.settings import is_list, is_positional, variable_of
from quadnet.cli.verbs import VERBS
from service.rpc.error_documentation import SITUATIONS
from service.telemetry import metrics

HEAD = """# Reference

Generated from the code by `python -m tests.reference > docs/reference.md`; do not edit. A test
compares.

- [Errors](#errors) of the service, with their statuses and details
- [Not supported](#not-supported)
- [Metrics](#metrics)
- [Options](#options) of every verb, with environment variables and defaults
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
    rows = (
        (
            row.what,
            f"`{row.code.name}`" if "grpc" in row.transports else "-",
            row.http or "-",
            row.details,
        )
        for row in SITUATIONS
    )
    return table(("situation", "gRPC", "HTTP", "details"), *rows)


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
- Certificate revocation lists: to exclude a client, issue new certificates to the others from
  another authority and change `--tls-client-ca`.
- A count of refused TLS handshakes: gRPC does not report them to the server's process.
- `ModelStreamInfer`, shared memory, loading and unloading of models, tracing and log settings of
  Triton's protocol: `UNIMPLEMENTED`.
- The status of some refusals behind HAProxy 2.6, which drops an answer to half a request: of a
  stream that is refused before its messages were read, and of a request that gRPC itself refuses
  for its size. The caller sees `CANCELLED`.
"""


def reference():
    return "\n".join(
        [
            HEAD,
            "## Errors\n",
            "What a caller sees. The text of an error stands alone. Details are google.rpc",
            "messages in the trailing metadata, where every answer also has an `x-request-id`:",
            "the call's own, or a new one. A call that still waits inside gRPC when the server",
            "stops ends with `UNAVAILABLE` on Linux; elsewhere gRPC may end it with `CANCELLED`.\n",
            "Over HTTP the body of an error is JSON: `error` is the text, `code` the gRPC status.",
            "`reason` and `facts` stand for `ErrorInfo`, `violations` for `BadRequest`, the header",
            "`Retry-After` for `RetryInfo`. Every answer has the header `X-Request-Id`.\n",
            errors() + "\n",
            "## Not supported",
            NOT_SUPPORTED,
            "## Metrics\n",
            measured() + "\n",
            "## Options\n",
            "An option wins over its environment variable, and the variable over the default. An",
            "empty variable counts as not set. Positional words are in capitals.\n",
            "`QUADNET_REPLAY=0` belongs to no option: every verb and the estimator then train",
            "without [the compiled part](estimator.md#the-compiled-part).\n",
            *verbs(),
        ]
    ).rstrip()


if __name__ == "__main__":
    print(reference())
