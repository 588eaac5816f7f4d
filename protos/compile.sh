#!/bin/sh
# Compiles protos/ into service/stubs/. Run it after every change of a .proto file.
#
# An old grpcio-tools makes the stubs, that of the oldest supported protobuf: generated code runs on
# newer runtimes, but refuses to be imported on older ones. Its setuptools must still have
# pkg_resources.
set -eu
cd "$(dirname "$0")/.."

compile() {
    uv run --isolated --no-project --python 3.11 \
        --with grpcio-tools==1.76.0 --with 'setuptools<81' \
        python -W ignore -m grpc_tools.protoc -Iprotos \
        --python_out=service/stubs --pyi_out=service/stubs "$@"
}

compile --grpc_python_out=service/stubs quadrant/v1/quadrant.proto
compile inference/v2/inference.proto

# protoc imports from the root of its include path; ours are one package deeper.
sed -i 's/^from quadrant\.v1 import/from service.stubs.quadrant.v1 import/' \
    service/stubs/quadrant/v1/quadrant_pb2_grpc.py

# Every package for the Open Inference Protocol has these names, and the process ends where two put
# them into the default pool. Ours are in a pool of their own.
sed -i 's/_descriptor_pool\.Default()/_descriptor_pool.DescriptorPool()/' \
    service/stubs/inference/v2/inference_pb2.py
