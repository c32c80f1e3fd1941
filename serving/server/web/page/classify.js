// Classify: an image that was dropped, pasted, chosen, taken by the camera, or an example.

import { available, chosen, place, run } from './device.js';
import { bars, byId, element, kindOf, offer, percent } from './dom.js';
import { clear, drawOn } from './drawing.js';
import { canvases } from './pictures.js';
import { Problem, ask, askJson, attempt } from './server.js';

const EXAMPLES = 8;
const SHOWN = 10;
const EXAMPLE_SEED = 3;
// A larger image is a photo, and no longer shown pixel by pixel.
const PIXELATED = 256;
const DARK_ON_LIGHT = 'dark on light';

const state = { model: null, file: null, answer: null, examples: [], drawn: false, original: null };

/** Offers the models that have a classifier, and examples for the chosen one. */
export async function open(models, wanted) {
  const classifiers = models.filter((model) => model.roles.includes('classifier'));
  offer(byId('classify-model'), classifiers, wanted);
  if (classifiers.length === 0) {
    byId('classify-answer').replaceChildren(element('p', {}, 'No model of this server has a classifier.'));
    return;
  }
  await choose(classifiers.find((model) => model.name === byId('classify-model').value));
}

/** Classifies again after the switch "run on this device" was used. */
export const again = () => attempt(async () => { if (state.file) await classify(state.file, state.drawn); });

/** Lets go of the camera. */
export function close() {
  const video = byId('classify-video');
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.hidden = true;
  byId('classify-camera').textContent = 'Camera';
}

/** Makes the controls work; `models` gives the models of the server, `chose` is told which was chosen. */
export function connect(models, chose) {
  byId('classify-form').addEventListener('submit', (event) => event.preventDefault());
  byId('classify-model').addEventListener('change', (event) => {
    chose(event.target.value);
    attempt(async () => {
      await choose(models().find((model) => model.name === event.target.value));
      if (state.file) await classify(state.file, state.drawn);
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
  drawOn(byId('classify-pad'), (file) => attempt(() => classify(file, true)));
  byId('classify-clear').addEventListener('click', forget);
  byId('classify-compare').addEventListener('click', () => attempt(compare));
}

function take(files) {
  // The list is emptied as soon as this returns.
  const [given] = files;
  if (!given) return;
  attempt(async () => {
    const { smaller } = await import('./photos.js');
    await classify(await smaller(given));
  });
}

/** Empties the frame: to draw in, where the model knows gray images. */
function forget() {
  close();
  Object.assign(state, { file: null, answer: null, drawn: false, original: null });
  const draws = state.model.image.channels === 1;
  clear(byId('classify-pad'));
  byId('classify-pad').hidden = !draws;
  byId('classify-picture').hidden = true;
  byId('classify-clear').hidden = !draws;
  byId('classify-clear').textContent = 'Clear';
  byId('classify-invitation').textContent = draws
    ? 'Draw one here with mouse, pen or finger. Or drop, paste or choose an image.' : 'Drop or paste an image, or choose one.';
  byId('classify-answer').replaceChildren(element('p', { className: 'note' }, `${draws ? 'Draw a digit, or choose' : 'Choose'} an image.`));
  byId('classify-compare').disabled = true;
  mark();
}

/** Marks the example that is shown, if it is one. */
function mark() {
  state.examples.forEach((its, index) => byId('classify-examples').children[index]?.setAttribute('aria-pressed', its === state.file));
}

async function choose(model) {
  state.model = model;
  if (!state.file) forget();
  const { examples, own } = await askJson(`examples?model=${encodeURIComponent(model.name)}`);
  // Real images of another kind would only mislead, where the model can make some of its own.
  const real = examples > 0 && (own || !model.roles.includes('generator'));
  const files = real ? await realExamples(Math.min(examples, EXAMPLES)) : await generatedExamples();
  if (state.model !== model) return;
  byId('examples-note').textContent = files.length === 0 ? 'This server has no examples for this model.'
    : `${real ? 'Real images of this server.' : `Not real: this model generated these ${kindOf(model)} itself (seed ${EXAMPLE_SEED}).`} Choose one.`;
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
  canvas.classList.toggle('smooth', Math.max(bitmap.width, bitmap.height) > PIXELATED);
  bitmap.close();
}

/** Classifies a file; `drawn` is whether it is what stands on the pad, and `original` what it was inverted from. */
async function classify(file, drawn = false, original = null) {
  Object.assign(state, { file, answer: null, drawn, original });
  mark();
  const began = performance.now();
  try {
    const answer = chosen() ? await classifyHere(file) : await classifyThere(file);
    if (state.file !== file) return;
    state.answer = answer;
  } catch (problem) {
    if (state.file === file) forget();
    throw problem;
  }
  const took = Math.round(performance.now() - began);
  if (!drawn) await showPicture(file);
  showAnswer(state.answer, took);
}

async function showPicture(file) {
  const picture = byId('classify-picture');
  // The server reads formats that browsers do not show.
  const shown = await drawFile(picture, file).then(() => true, () => false);
  picture.hidden = !shown;
  byId('classify-pad').hidden = true;
  const draws = state.model.image.channels === 1;
  byId('classify-clear').hidden = !draws;
  byId('classify-clear').textContent = 'Draw';
  byId('classify-invitation').textContent = shown ? 'Drop or paste another, or choose one.'
    : `This browser cannot show ${file.name || 'this image'}; the server can read it.`;
  // On a phone the examples are below the answer, which is below the picture.
  if (byId('classify-drop').getBoundingClientRect().top < 0) byId('classify-drop').scrollIntoView();
}

function showAnswer(answer, took) {
  const entries = answer.classes.slice(0, SHOWN).map(({ name, probability }) => [name, probability]);
  byId('classify-answer').replaceChildren(
    bars(entries),
    ...hints(answer),
    element('h3', {}, 'Realness'),
    bars([['looks real', answer.realness]]),
    element('p', { className: 'note' }, 'How sure the network is that this is a real image and not a generated one: D(x) = Z / (Z + 1) of the paper. '
      + `Answered in ${took} ms ${place()}.`),
    ...(state.model.note ? [element('p', { className: 'note' }, state.model.note.replaceAll('`', ''))] : []),
  );
  document.querySelector('#classify-view .compare').hidden = !(available() && chosen());
  byId('classify-compare').disabled = false;
  byId('classify-agreement').textContent = 'Sends this image to the server.';
}

/** What to know before one believes the answer: the image is of another kind, or dark on light. */
function hints(answer) {
  const button = (text, action) => {
    const made = element('button', { type: 'button' }, text);
    made.addEventListener('click', () => attempt(action));
    return made;
  };
  const hint = (...content) => element('div', { className: 'hint' }, ...content);
  const kind = kindOf(state.model);
  const found = [];
  if (state.original) {
    const { original } = state;
    found.push(hint(element('p', {}, 'Black and white were exchanged.'), button('As it was', () => classify(original))));
  }
  if (answer.note?.startsWith(DARK_ON_LIGHT) && !state.original) {
    const { file } = state;
    found.push(hint(
      element('p', {}, `This is dark on light, but the model was trained only on ${kind} that are light on dark. Do not trust the answer.`),
      button('Exchange black and white', async () => {
        const { inverted } = await import('./photos.js');
        await classify(await inverted(file), false, file);
      })));
  } else if (answer.note) {
    found.push(hint(element('p', {}, `This does not look like the ${kind} the model was trained on (realness ${percent(answer.realness)}). `
      + 'It must name one of its classes all the same: do not trust the answer.')));
  }
  return found;
}

async function classifyThere(file) {
  const query = new URLSearchParams({ model: state.model.name, top: state.model.classes.length });
  try {
    return (await askJson(`classify?${query}`, { method: 'POST', body: file }))[0];
  } catch (problem) {
    if (!(problem instanceof Problem) || !problem.message.startsWith('The body is not')) throw problem;
    throw new Problem(`${file.name || 'This file'} is not a readable image; choose a photo or a drawing.`, problem.status);
  }
}

async function classifyHere(file) {
  const { frame, prepare } = await import('./resize.js');
  const input = await prepare(file, state.model.image);
  const { probabilities, realness } = await run(state.model, 'classifier', input);
  const classes = state.model.classes.map((name, index) => ({ name, probability: probabilities.data[index] }));
  classes.sort((first, second) => second.probability - first.probability);
  const expected = state.model.expected;
  const odd = realness.data[0] < (expected.least_realness ?? -1) ? 'unlike' : undefined;
  const note = expected.light_on_dark && frame(input) > 127.5 ? DARK_ON_LIGHT : odd;
  return { classes, realness: realness.data[0], note };
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
    byId('classify-pad').hidden = true;
    byId('classify-camera').textContent = 'Take the picture';
    await video.play();
    return;
  }
  const canvas = element('canvas', { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  close();
  const { smaller } = await import('./photos.js');
  await classify(await smaller(await new Promise((done) => canvas.toBlob(done, 'image/png'))));
}
