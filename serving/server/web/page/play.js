// Play: the images of a seed, the directions around one of them, the way from one seed to another.

import { available, chosen, place, run, runOnServer } from './device.js';
import { byId, counted, element, offer, percent } from './dom.js';
import { canvases, difference, download, draw, save } from './pictures.js';
import { ask, askJson, attempt } from './server.js';

const STRIP = 9;
// A direction's slider goes as far as this many standard deviations of the latents along it.
const REACH = 4;
const CYCLE_MILLISECONDS = 4000;
const ORDINALS = ['Strongest', 'Second', 'Third', 'Fourth', 'Fifth', 'Sixth'];

const state = { model: null, latents: null, images: null, picked: 0, directions: null, ends: null, playing: null };

/** Draws what the form asks for; `models` are those of the server, `wanted` the name of one. */
export async function open(models, wanted) {
  // Generators that were trained for their images, and not beside a classifier, come first: theirs look best.
  const generators = models.filter((model) => model.roles.includes('generator'))
    .sort((first, second) => second.generator_alone - first.generator_alone);
  offer(byId('play-model'), generators, wanted);
  if (generators.length === 0) {
    byId('play-status').textContent = 'No model of this server has a generator.';
    return;
  }
  await choose(generators.find((model) => model.name === byId('play-model').value));
}

/** Draws again after the switch "run on this device" was used. */
export const again = () => attempt(showSeed);

/** Stops what moves by itself. */
export function close() {
  cancelAnimationFrame(state.playing);
  state.playing = null;
  byId('between-go').setAttribute('aria-pressed', 'false');
  byId('between-go').textContent = 'Animate';
}

/** Makes the controls work; `models` gives the models of the server by name, `chose` is told which was chosen. */
export function connect(models, chose) {
  byId('play-form').addEventListener('submit', (event) => event.preventDefault());
  byId('play-model').addEventListener('change', (event) => {
    chose(event.target.value);
    attempt(() => choose(models().find((model) => model.name === event.target.value)));
  });
  byId('play-seed').addEventListener('change', again);
  byId('play-count').addEventListener('change', again);
  byId('play-another').addEventListener('click', () => {
    byId('play-seed').value = crypto.getRandomValues(new Uint32Array(1))[0] % 100000;
    again();
  });
  byId('play-download').addEventListener('click', () => attempt(saveGrid));
  byId('play-compare').addEventListener('click', () => attempt(compare));
  byId('explore-reset').addEventListener('click', () => attempt(resetSliders));
  for (const id of ['between-from', 'between-to']) {
    byId(id).addEventListener('change', () => attempt(showBetween));
  }
  byId('between-way').addEventListener('input', showWay);
  byId('between-go').addEventListener('click', toAndFro);
  for (const button of document.querySelectorAll('[data-morph]')) {
    button.addEventListener('click', () => attempt(() => saveMorph(button)));
  }
  byId('explore-sliders').addEventListener('input', showExplored);
}

async function choose(model) {
  close();
  state.model = model;
  state.directions = null;
  byId('explore-sliders').replaceChildren();
  byId('explore-note').textContent = 'Looking for the ways in which the images change.';
  byId('play-weakness').textContent = model.weakness ?? '';
  await showSeed();
  await showBetween();
  // The server draws some hundred images for them, once; nobody should wait for that.
  attempt(() => findDirections(model));
}

async function findDirections(model) {
  const { directions } = await askJson(`directions?model=${encodeURIComponent(model.name)}`);
  if (state.model !== model) return;
  state.directions = directions;
  makeSliders();
}

/** Returns the latents of images `start` and following of a seed, float32 `[count, L]`. */
async function latentsOf(seed, start, count) {
  const query = new URLSearchParams({ model: state.model.name, seed, start, n: count, format: 'npy' });
  const file = await (await ask(`latents?${query}`)).arrayBuffer();
  const data = new Float32Array(file.slice(10 + new DataView(file).getUint16(8, true)));
  return { name: 'latent', shape: [count, data.length / count], data };
}

async function showSeed() {
  const seed = byId('play-seed');
  if (!state.model || !seed.reportValidity()) return;
  state.latents = await latentsOf(seed.value, 0, Number(byId('play-count').value));
  const began = performance.now();
  state.images = (await run(state.model, 'generator', state.latents)).images;
  const [count, height, width] = state.images.shape;
  const took = Math.round(performance.now() - began);
  const where = chosen() ? place() : `${place()} (${state.model.provider})`;
  byId('play-status').textContent = `${counted(count, 'image')} of ${width}x${height} in ${took} ms ${where}.`;
  byId('play-agreement').textContent = '';
  document.querySelector('#play-view .compare').hidden = !(available() && chosen());
  byId('play-grid').style.setProperty('--columns', Math.sqrt(count));
  byId('play-grid').replaceChildren(...canvases(state.images).map(choice));
  pick(Math.min(state.picked, count - 1));
}

function choice(canvas, index) {
  const button = element('button', { type: 'button', 'aria-label': `Image ${index}` }, canvas);
  button.addEventListener('click', () => pick(index));
  return button;
}

function pick(index) {
  state.picked = index;
  [...byId('play-grid').children].forEach((button, at) => button.setAttribute('aria-pressed', at === index));
  byId('explore-title').textContent = `Around image ${index} of seed ${byId('play-seed').value}`;
  resetSliders();
}

function makeSliders() {
  const sliders = state.directions.map(({ explained }, index) => element('label', {}, `${ORDINALS[index] ?? index + 1}`, element('input', {
    type: 'range', min: -REACH, max: REACH, step: 0.05, value: 0, 'aria-label': `Direction ${index + 1}, ${percent(explained, 0)} of the change`,
  })));
  byId('explore-sliders').replaceChildren(...sliders);
  const share = state.directions.reduce((sum, { explained }) => sum + explained, 0);
  byId('explore-note').textContent = `The strongest direction comes first. These ${state.directions.length} account for ${percent(share, 0)} of the change that straight steps `
    + `in latent space can make; ${state.model.latent.size - state.directions.length} more share the rest.`;
}

function resetSliders() {
  for (const slider of byId('explore-sliders').querySelectorAll('input')) slider.value = 0;
  if (state.images) draw(byId('explore-picture'), state.images, state.picked);
}

const showExplored = latest(async () => {
  const size = state.latents.shape[1];
  const data = state.latents.data.slice(state.picked * size, (state.picked + 1) * size);
  byId('explore-sliders').querySelectorAll('input').forEach((slider, index) => {
    const { direction, spread } = state.directions[index];
    for (let at = 0; at < size; at += 1) data[at] += slider.value * spread * direction[at];
  });
  const inside = { name: 'latent', shape: [1, size], data: data.map(within) };
  draw(byId('explore-picture'), (await run(state.model, 'generator', inside)).images);
});

/** Keeps a number where latents of this model are: a generator never saw others. */
function within(value) {
  const { distribution } = state.model.latent;
  if (distribution === 'normal') return value;
  return Math.min(1, Math.max(distribution === 'uniform' ? 0 : -1, value));
}

async function showBetween() {
  const ends = [byId('between-from'), byId('between-to')];
  if (!state.model || !ends.every((end) => end.reportValidity())) return;
  state.ends = await Promise.all(ends.map((end) => latentsOf(end.value, 0, 1)));
  const ways = Array.from({ length: STRIP }, (_, index) => index / (STRIP - 1));
  byId('between-strip').replaceChildren(...canvases((await run(state.model, 'generator', between(ways))).images));
  showWay();
}

/** Returns the latents on the way from one end to the other: a line, or for normal latents an arc. */
function between(ways) {
  const [from, to] = state.ends.map((end) => end.data);
  const arc = state.model.latent.distribution === 'normal' ? angle(from, to) : 0;
  const weights = (way) => (arc > 1e-3
    ? [Math.sin((1 - way) * arc) / Math.sin(arc), Math.sin(way * arc) / Math.sin(arc)]
    : [1 - way, way]);
  const data = new Float32Array(ways.length * from.length);
  ways.forEach((way, row) => {
    const [first, second] = weights(way);
    from.forEach((value, at) => { data[row * from.length + at] = first * value + second * to[at]; });
  });
  return { name: 'latent', shape: [ways.length, from.length], data };
}

function angle(first, second) {
  const product = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
  return Math.acos(product(first, second) / Math.sqrt(product(first, first) * product(second, second)));
}

const showWay = latest(async () => {
  const images = await run(state.model, 'generator', between([Number(byId('between-way').value)]));
  draw(byId('between-picture'), images.images);
});

function toAndFro() {
  if (state.playing !== null) {
    close();
    return;
  }
  byId('between-go').setAttribute('aria-pressed', 'true');
  byId('between-go').textContent = 'Pause';
  const began = performance.now();
  const step = (now) => {
    byId('between-way').value = (1 - Math.cos((2 * Math.PI * (now - began)) / CYCLE_MILLISECONDS)) / 2;
    showWay();
    state.playing = requestAnimationFrame(step);
  };
  state.playing = requestAnimationFrame(step);
}

async function saveGrid() {
  const drawn = [...byId('play-grid').querySelectorAll('canvas')];
  if (drawn.length === 0) return;
  await download(drawn, Math.sqrt(drawn.length), `${state.model.name}-seed-${byId('play-seed').value}.png`);
}

/** Saves the animation that the server makes of the way between the two seeds. */
async function saveMorph(button) {
  const [from, to] = ['between-from', 'between-to'].map(byId);
  if (!state.model || ![from, to].every((end) => end.reportValidity())) return;
  const format = button.dataset.morph;
  const query = new URLSearchParams({ model: state.model.name, from: from.value, to: to.value, format });
  button.disabled = true;
  try {
    const file = await (await ask(`morph?${query}`)).blob();
    save(file, `${state.model.name}-${from.value}-to-${to.value}.${format}`);
  } finally {
    button.disabled = false;
  }
}

async function compare() {
  const theirs = (await runOnServer(state.model, 'generator', state.latents)).images;
  const { largest, share } = difference(state.images.data, theirs.data);
  byId('play-agreement').textContent = largest === 0
    ? `Device and server agree: all ${theirs.data.length} values are equal.`
    : `Device and server agree within ${largest} of 255 gray levels; ${percent(share, 4)} of the values differ.`;
}

/** Returns a function that does `action`; calls that come while it is busy are one more when it is done. */
function latest(action) {
  let [busy, wanted] = [false, false];
  return async function act() {
    wanted = true;
    if (busy) return;
    busy = true;
    let well = true;
    while (wanted && well) {
      wanted = false;
      well = await attempt(action);
    }
    busy = false;
    if (!well) close();
  };
}
