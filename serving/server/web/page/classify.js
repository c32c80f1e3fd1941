// Classify: an image that was dropped, pasted, chosen, taken by the camera, or an example.

import { available, chosen, place, run } from './device.js';
import { bars, byId, element, offer } from './dom.js';
import { clear, drawOn } from './drawing.js';
import { canvases } from './pictures.js';
import { ask, askJson, attempt } from './server.js';

const EXAMPLES = 8;
const SHOWN = 10;
const EXAMPLE_SEED = 3;

const state = { model: null, file: null, answer: null, examples: [] };

/** Offers the models that have a classifier, and examples for the chosen one. */
export async function open(models, wanted) {
  const classifiers = models.filter((model) => model.roles.includes('classifier'));
  offer(byId('classify-model'), classifiers.map((model) => model.name), wanted);
  if (classifiers.length === 0) {
    byId('classify-answer').replaceChildren(element('p', {}, 'No model of this server has a classifier.'));
    return;
  }
  await choose(classifiers.find((model) => model.name === byId('classify-model').value));
}

/** Classifies again after the switch "run on this device" was used. */
export const again = () => attempt(async () => { if (state.file) await classify(state.file); });

/** Lets go of the camera. */
export function close() {
  const video = byId('classify-video');
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.hidden = true;
  byId('classify-camera').textContent = 'Use the camera';
}

/** Makes the controls work; `models` gives the models of the server, `chose` is told which was chosen. */
export function connect(models, chose) {
  byId('classify-form').addEventListener('submit', (event) => event.preventDefault());
  byId('classify-model').addEventListener('change', (event) => {
    chose(event.target.value);
    attempt(async () => {
      await choose(models().find((model) => model.name === event.target.value));
      if (state.file) await classify(state.file);
    });
  });
  byId('classify-file').addEventListener('change', (event) => {
    take(event.target.files);
    event.target.value = '';
  });
  const drop = byId('classify-drop');
  for (const [name, over] of [['dragover', true], ['dragleave', false], ['drop', false]]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle('over', over);
      if (name === 'drop') take(event.dataTransfer.files);
    });
  }
  document.addEventListener('paste', (event) => {
    if (!byId('classify-view').hidden) take(event.clipboardData.files);
  });
  byId('classify-camera').hidden = !navigator.mediaDevices?.getUserMedia;
  byId('classify-camera').addEventListener('click', () => attempt(useCamera));
  drawOn(byId('classify-pad'), (file) => attempt(() => classify(file)));
  byId('classify-clear').addEventListener('click', () => clear(byId('classify-pad')));
  byId('classify-compare').addEventListener('click', () => attempt(compare));
}

function take(files) {
  if (files.length > 0) attempt(() => classify(files[0]));
}

async function choose(model) {
  state.model = model;
  byId('classify-draw').hidden = model.image.channels !== 1;
  const { examples } = await askJson('examples');
  const files = examples > 0 ? await realExamples(Math.min(examples, EXAMPLES)) : await generatedExamples();
  byId('examples-note').textContent = files.length === 0 ? 'This server has no examples for this model.'
    : `${examples > 0 ? 'Real images of this server' : 'Images that this model generated'}. Choose one.`;
  state.examples = files;
  byId('classify-examples').replaceChildren(...await Promise.all(files.map(example)));
}

async function realExamples(count) {
  const paths = Array.from({ length: count }, (_, index) => `examples/${index + 1}.png?model=${encodeURIComponent(state.model.name)}`);
  return Promise.all(paths.map(async (path) => (await ask(path)).blob()));
}

async function generatedExamples() {
  if (!state.model.roles.includes('generator')) return [];
  const query = new URLSearchParams({ model: state.model.name, seed: EXAMPLE_SEED, n: EXAMPLES, format: 'npy' });
  const file = await (await ask(`latents?${query}`)).arrayBuffer();
  const data = new Float32Array(file.slice(10 + new DataView(file).getUint16(8, true)));
  const latent = { name: 'latent', shape: [EXAMPLES, data.length / EXAMPLES], data };
  const drawn = canvases((await run(state.model, 'generator', latent)).images);
  return Promise.all(drawn.map((canvas) => new Promise((done) => canvas.toBlob(done, 'image/png'))));
}

async function example(file, index) {
  const canvas = element('canvas');
  await drawFile(canvas, file);
  const button = element('button', { type: 'button', 'aria-label': `Example ${index + 1}` }, canvas);
  button.addEventListener('click', () => attempt(() => classify(file)));
  return button;
}

async function drawFile(canvas, file) {
  const bitmap = await createImageBitmap(file);
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext('2d').drawImage(bitmap, 0, 0);
}

async function classify(file) {
  state.file = file;
  state.examples.forEach((its, index) => byId('classify-examples').children[index]?.setAttribute('aria-pressed', its === file));
  const began = performance.now();
  const answer = chosen() ? await classifyHere(file) : await classifyThere(file);
  if (state.file !== file) return;
  state.answer = answer;
  const took = Math.round(performance.now() - began);
  await drawFile(byId('classify-picture'), file).catch(() => null);
  byId('classify-picture').hidden = false;
  byId('classify-invitation').textContent = 'Drop or paste another, or';
  const entries = answer.classes.slice(0, SHOWN).map(({ name, probability }) => [name, probability]);
  byId('classify-answer').replaceChildren(
    bars(entries),
    element('h3', {}, 'Realness'),
    bars([['looks real', answer.realness]]),
    element('p', { className: 'note' }, `D(x) = Z / (Z + 1) of the paper: near 0 for what the network takes for generated, or has never seen. Answered in ${took} ms ${place()}.`),
  );
  document.querySelector('#classify-view .compare').hidden = !(available() && chosen());
  byId('classify-compare').disabled = false;
  byId('classify-agreement').textContent = 'Sends this image to the server.';
}

async function classifyThere(file) {
  const query = new URLSearchParams({ model: state.model.name, top: state.model.classes.length });
  const [answer] = await askJson(`classify?${query}`, { method: 'POST', body: file });
  return answer;
}

async function classifyHere(file) {
  const { prepare } = await import('./resize.js');
  const input = await prepare(file, state.model.image);
  const { probabilities, realness } = await run(state.model, 'classifier', input);
  const classes = state.model.classes.map((name, index) => ({ name, probability: probabilities.data[index] }));
  classes.sort((first, second) => second.probability - first.probability);
  return { classes, realness: realness.data[0] };
}

async function compare() {
  const theirs = await classifyThere(state.file);
  const expected = new Map(theirs.classes.map(({ name, probability }) => [name, probability]));
  const distances = state.answer.classes.map(({ name, probability }) => Math.abs(probability - expected.get(name)));
  const largest = Math.max(...distances, Math.abs(state.answer.realness - theirs.realness));
  const said = largest === 0 ? 'all probabilities are equal' : `probabilities differ by ${largest.toExponential(1)} at most`;
  byId('classify-agreement').textContent = `Device and server: ${said}.`;
}

async function useCamera() {
  const video = byId('classify-video');
  if (!video.srcObject) {
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
    } catch {
      throw new Error('the camera cannot be used, or may not be');
    }
    video.hidden = false;
    byId('classify-picture').hidden = true;
    byId('classify-camera').textContent = 'Take the picture';
    await video.play();
    return;
  }
  const canvas = element('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  close();
  await classify(await new Promise((done) => canvas.toBlob(done, 'image/png')));
}
