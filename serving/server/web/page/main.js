// The page as a whole: which view is shown, the switch, the token.

import * as classify from './classify.js';
import * as device from './device.js';
import { byId } from './dom.js';
import * as models from './models.js';
import * as play from './play.js';
import { askJson, attempt, useToken } from './server.js';
import * as turing from './turing.js';

const VIEWS = { play, classify, turing, models };
let known = [];
let shown = null;

/** Returns view and model of the address: #play or #play/cifar10-ssl. */
function address() {
  const [view, model] = location.hash.slice(1).split('/').map(decodeURIComponent);
  return { view: view in VIEWS ? view : 'play', model };
}

async function show() {
  const { view, model } = address();
  VIEWS[shown]?.close?.();
  shown = view;
  for (const name of Object.keys(VIEWS)) byId(`${name}-view`).hidden = name !== view;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === `#${view}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${byId(`${view}-title`).textContent} - igan-zoo`;
  await attempt(async () => {
    if (known.length === 0) known = await askJson('models');
    await VIEWS[view].open(known, model);
  });
  document.body.dataset.ready = view;
}

/** Puts the chosen model into the address, so that it can be kept and sent; nothing is drawn anew. */
function chose(model) {
  history.replaceState(null, '', `#${shown}/${encodeURIComponent(model)}`);
}

play.connect(() => known, chose);
classify.connect(() => known, chose);
turing.connect(chose);

byId('device').hidden = !device.available();
byId('device').querySelector('input').addEventListener('change', (event) => {
  device.choose(event.target.checked);
  VIEWS[shown].again?.();
});
byId('token').addEventListener('submit', (event) => {
  event.preventDefault();
  useToken(byId('token-field').value);
  show();
});
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  byId('content').focus();
});
window.addEventListener('hashchange', show);
document.addEventListener('server-back', show);
show();
