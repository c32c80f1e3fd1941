// Models: what the server has loaded.

import { byId, element, percent, table } from './dom.js';
import { ask, askPicture, attempt, modelFile } from './server.js';

/** Shows every model of the server. */
export async function open(models) {
  byId('models-list').replaceChildren(...models.map(panel));
}

function panel(model) {
  const facts = element('div', {},
    element('h2', {}, model.name),
    element('p', { className: 'note' }, model.summary),
    element('ul', { className: 'chips', 'aria-label': 'Facts' }, ...chips(model).map((fact) => element('li', {}, fact))),
    ...results(model),
    ...parity(model),
    card(model));
  const shown = element('article', { className: 'panel model', 'aria-label': model.name }, facts);
  if (model.roles.includes('generator')) samples(model, shown);
  return shown;
}

function chips(model) {
  const { height, width, channels } = model.image ?? {};
  // A scorer takes images of any size.
  const size = model.image ? `${width}x${height} ${channels === 1 ? 'gray' : 'RGB'}` : 'any size';
  const latent = model.latent ? [`${model.latent.size} latents, ${model.latent.distribution}`] : [];
  const classes = model.classes ? [`${model.classes.length} classes`] : [];
  return [...model.roles, size, ...latent, ...classes, model.provider];
}

function results(model) {
  if (!model.results?.length) return [];
  const rows = model.results.map(({ dataset, split, variant, wrong, total }) => [
    `${dataset}, ${split}`, variant ?? 'plain', `${wrong} of ${total}`, percent(wrong / total, 2),
  ]);
  return [element('h3', {}, 'Errors'), table(['Data', 'Classifier', 'Wrong', 'Error rate'], rows)];
}

/** The largest differences that the export measured between PyTorch and onnxruntime. */
function parity(model) {
  const rows = Object.entries(model.parity ?? {}).map(([file, outputs]) => {
    const said = Object.entries(outputs).map(([name, max]) => `${name} ${Number.isInteger(max) ? max : max.toExponential(1)}`);
    return [file.replace('onnx/', ''), said.join(', ')];
  });
  if (rows.length === 0) return [];
  return [element('h3', {}, 'Parity with PyTorch'), table(['File', 'Largest difference'], rows)];
}

async function samples(model, shown) {
  await attempt(async () => {
    const address = await askPicture(modelFile(model.name, 'samples.png')).catch((problem) => {
      // A single ONNX file comes without one.
      if (problem.status === 404) return null;
      throw problem;
    });
    if (address === null) return;
    const picture = element('img', { src: address, alt: `Images that ${model.name} generated`, className: 'picture' });
    shown.prepend(element('figure', {}, picture, model.weakness ? element('figcaption', { className: 'note' }, model.weakness) : null));
  });
}

function card(model) {
  const content = element('div', { className: 'card' });
  const details = element('details', {}, element('summary', {}, 'Model card'), content);
  details.addEventListener('toggle', () => attempt(async () => {
    if (!details.open || content.hasChildNodes()) return;
    const text = await (await ask(`models/${encodeURIComponent(model.name)}/card`)).text();
    const { markdown } = await import('./markdown.js');
    content.replaceChildren(...markdown(text));
  }));
  return details;
}
