// Everything that is asked of the server, and what to show when it does not do it.

import { byId } from './dom.js';

const TOKEN = 'igan-zoo token';
const POLL_MILLISECONDS = 2000;
let polling = null;

/** What went wrong, as a sentence; `status` is HTTP's, or 0 where nobody answered. */
export class Problem extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** Asks the server; throws a Problem unless it answers with success. Paths are relative to the page. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.set('Authorization', `Bearer ${token}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem('The server does not answer; perhaps it was stopped. This page waits for it.', 0);
  }
  if (!response.ok) throw new Problem(await sentence(response), response.status);
  return response;
}

async function sentence(response) {
  const said = await response.json().catch(() => null);
  return said?.error ?? `The server answers ${response.status} ${response.statusText}.`;
}

/** Returns the answer's JSON. */
export const askJson = async (path, options) => (await ask(path, options)).json();

/** Sends JSON and returns the answer's JSON. */
export const sendJson = (path, value) =>
  askJson(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) });

/** Returns the address of a file of the server for an <img>, which cannot send a token by itself. */
export const askPicture = async (path) => URL.createObjectURL(await (await ask(path)).blob());

/** Returns the path of a file of a model. */
export const modelFile = (model, file) => `models/${encodeURIComponent(model)}/files/${file}`;

/** Does something that may fail, and says so in the page's line for problems; returns whether it went well. */
export async function attempt(action) {
  try {
    await action();
  } catch (error) {
    if (error.name === 'AbortError') return false;
    show(error instanceof Problem ? error : new Problem(`Something went wrong on this page: ${error.message}`, -1));
    return false;
  }
  if (polling === null) byId('problem').replaceChildren();
  return true;
}

function show(problem) {
  byId('problem').textContent = problem.message;
  if (problem.status === 401) {
    byId('token').hidden = false;
    byId('token-field').focus();
  }
  if (problem.status === 0) polling ??= setInterval(lookAgain, POLL_MILLISECONDS);
}

async function lookAgain() {
  const response = await fetch('v2/health/live').catch(() => null);
  if (!response?.ok) return;
  clearInterval(polling);
  polling = null;
  byId('problem').replaceChildren();
  document.dispatchEvent(new Event('server-back'));
}

/** Keeps a token for as long as this tab is open. */
export function useToken(token) {
  sessionStorage.setItem(TOKEN, token);
  byId('token').hidden = true;
  byId('problem').replaceChildren();
}

// The Open Inference Protocol, with tensors as bytes.
const DATATYPES = { latent: 'FP32', images: 'UINT8' };
const ARRAYS = { FP32: Float32Array, UINT8: Uint8Array };

/** Runs a model's graph on the server: {name, shape, data} in, {name: {shape, data}} out. */
export async function run(model, role, input) {
  const bytes = new Uint8Array(input.data.buffer, input.data.byteOffset, input.data.byteLength);
  const tensor = {
    name: input.name,
    shape: input.shape,
    datatype: DATATYPES[input.name],
    parameters: { binary_data_size: bytes.length },
  };
  const header = new TextEncoder().encode(
    JSON.stringify({ inputs: [tensor], parameters: { binary_data_output: true } }),
  );
  const response = await ask(`v2/models/${encodeURIComponent(`${model.name}-${role}`)}/infer`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/octet-stream', 'Inference-Header-Content-Length': header.length },
    body: new Blob([header, bytes]),
  });
  return tensors(await response.arrayBuffer(), Number(response.headers.get('Inference-Header-Content-Length')));
}

function tensors(body, headerLength) {
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 0, headerLength)));
  const found = {};
  let at = headerLength;
  for (const { name, shape, datatype, parameters } of header.outputs) {
    const end = at + parameters.binary_data_size;
    found[name] = { shape, data: new ARRAYS[datatype](body.slice(at, end)) };
    at = end;
  }
  return found;
}
