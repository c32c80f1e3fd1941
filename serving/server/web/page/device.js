// Running a model on this device with onnxruntime-web, or on the server: the same inputs, the same outputs.

import { ask, modelFile, run as runOnServer } from './server.js';

const VENDOR = new URL('vendor/', import.meta.url);
const sessions = new Map();
let onDevice = false;
let runtime = null;

/** Whether this server brings the runtime along (`make web`). */
export const available = () => document.documentElement.dataset.device === 'present';

/** Whether models run on this device. */
export const chosen = () => onDevice;

/** Chooses where models run. */
export function choose(value) {
  onDevice = value;
}

/** Says where models run, for a sentence. */
export const place = () => (onDevice ? 'on this device' : 'on the server');

/** Runs a model's graph where the switch says: {name, shape, data} in, {name: {shape, data}} out. */
export const run = (model, role, input) => (onDevice ? runHere : runOnServer)(model, role, input);

export { runOnServer };

async function runHere(model, role, input) {
  const { Tensor } = await load();
  const session = await sessionOf(model, role);
  const type = input.name === 'latent' ? 'float32' : 'uint8';
  const outputs = await session.run({ [input.name]: new Tensor(type, input.data, input.shape) });
  return Object.fromEntries(
    Object.entries(outputs).map(([name, output]) => [name, { shape: output.dims, data: output.data }]),
  );
}

async function load() {
  runtime ??= import(new URL('ort.wasm.min.mjs', VENDOR)).then((ort) => {
    ort.env.wasm.wasmPaths = VENDOR.href;
    ort.env.wasm.numThreads = 1;
    return ort;
  });
  return runtime;
}

function sessionOf(model, role) {
  const key = `${model.name} ${role}`;
  if (!sessions.has(key)) {
    const made = create(model, role);
    // What failed once, perhaps for want of a network, may be tried again.
    made.catch(() => sessions.delete(key));
    sessions.set(key, made);
  }
  return sessions.get(key);
}

async function create(model, role) {
  const { InferenceSession } = await load();
  const graph = await (await ask(modelFile(model.name, `onnx/${role}.onnx`))).arrayBuffer();
  return InferenceSession.create(graph, { executionProviders: ['wasm'] });
}
