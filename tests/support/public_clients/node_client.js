// A client program without this project: Node's @grpc/grpc-js with @grpc/proto-loader.
//
// Reads requests as JSON from the standard input, and prints the answers as JSON: see
// `tests/service/inference_v2/test_public_clients.py`.
const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [proto, address] = process.argv.slice(2);
const definition = loader.loadSync(proto, { keepCase: true, longs: Number, defaults: false });
const { inference } = grpc.loadPackageDefinition(definition);
const client = new inference.GRPCInferenceService(address, grpc.credentials.createInsecure());
const contents = { FP64: "fp64_contents", INT64: "int64_contents", BYTES: "bytes_contents" };
const missing = { FP64: NaN, BYTES: "" };
const dtypes = { FP32: "float32", FP64: "float64", BOOL: "bool", BYTES: "str" };

function makeInput([name, datatype, rows]) {
  const isMatrix = Array.isArray(rows[0]);
  const shape = isMatrix ? [rows.length, rows[0].length] : [rows.length];
  const values = rows.flat().map((value) => value ?? missing[datatype]);
  const encoded = datatype === "BYTES" ? values.map((text) => Buffer.from(text)) : values;
  return { name, datatype, shape, contents: { [contents[datatype]]: encoded } };
}

function decode(output) {
  const [values] = Object.values(output.contents);
  const flat = values.map((value) => (Buffer.isBuffer(value) ? value.toString() : value));
  const width = output.shape[1];
  const rows = width ? flat.flatMap((_, i) => (i % width ? [] : [flat.slice(i, i + width)])) : flat;
  return { dtype: dtypes[output.datatype], values: rows };
}

function infer({ model, inputs }) {
  const request = { model_name: model, inputs: inputs.map(makeInput) };
  return new Promise((resolve, reject) => {
    client.ModelInfer(request, (error, response) => {
      if (error) return reject(error);
      resolve(Object.fromEntries(response.outputs.map((each) => [each.name, decode(each)])));
    });
  });
}

async function main() {
  const requests = JSON.parse(fs.readFileSync(0, "utf8"));
  const answers = [];
  for (const request of requests) answers.push(await infer(request));
  console.log(JSON.stringify(answers));
  client.close();
}

main();
