"""A peer that begins calls and resets them: python -m tests.benchmarks.resets PORT CALLS."""

import argparse

from service.stubs.quadrant.v1 import quadrant_pb2 as pb
from tests.support.raw_http2 import RawConnection, message


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("calls", type=int)
    given = parser.parse_args()
    body = message(pb.ClassifyRequest(x=[0.5] * 100, y=[0.5] * 100).SerializeToString())
    with RawConnection(f"127.0.0.1:{given.port}") as connection:
        for _ in range(given.calls):
            connection.begin_and_reset(body)


if __name__ == "__main__":
    main()
