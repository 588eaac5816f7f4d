"""Assembles the HTTP server from the methods and the policies that gRPC has, too."""

import socket
from collections.abc import Sequence

from service.inference_v2.methods import InferenceMethods
from service.net.tls import ServerTLSFiles
from service.quadrant_v1.servicer import QuadrantServicer
from service.rest.bodies import BodyReader
from service.rest.http_runner import HttpRunner
from service.rest.http_server import HttpServer
from service.rest.inference_routes import InferenceRoutes
from service.rest.openapi import make_docs_route
from service.rest.quadrant_routes import make_classify_route
from service.rest.routes import Router
from service.rpc.compute_thread import ComputeThread
from service.rpc.policies.policy import CallPolicy
from service.settings import ServeSettings


def make_http_server(
    settings: ServeSettings,
    policies: Sequence[CallPolicy],
    sockets: Sequence[socket.socket],
    *,
    inference: InferenceMethods,
    quadrant: QuadrantServicer,
    compute_thread: ComputeThread,
) -> HttpServer:
    """Return the server of all REST methods.

    Raises
    ------
    FileUnusable
        If the files of TLS are unreadable, or do not match.
    """
    routes = [
        *InferenceRoutes(inference, compute_thread).make_routes(),
        make_classify_route(quadrant, compute_thread),
    ]
    routes.append(make_docs_route(routes))
    runner = HttpRunner(
        Router(routes),
        policies,
        BodyReader(settings.max_message_bytes, compute_thread),
        limit=settings.max_calls,
        message_timeout=settings.message_timeout,
        max_bytes=settings.max_message_bytes,
        connection_age=settings.connection_age,
    )
    tls = ServerTLSFiles.from_paths(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
    return HttpServer(runner, sockets, tls, limit=settings.max_calls)
