// The visual Turing test: real or generated?

import { byId, counted, element, kindOf, offer, percent } from './dom.js';
import { askJson, askPicture, attempt, sendJson } from './server.js';

const KEYS = { r: 'real', ArrowLeft: 'real', g: 'generated', ArrowRight: 'generated' };
// Error rates of people in the paper (section 6), each with the data that it is for.
const PAPER = {
  'uoft-cs/cifar10': { rate: 0.213, said: 'the paper, CIFAR-10 on MTurk: 21.3 %' },
  'ylecun/mnist': { rate: 0.476, said: 'the paper, MNIST on MTurk: 47.6 %' },
};
// Seconds for an unhurried answer, and for one whose verdict is read, too.
const SECONDS = 4;
const SECONDS_TOLD = 6;
const MOST_ROUNDS = 200;
const state = { test: null, round: 0, rounds: 0, proposed: 0, model: null, models: [], busy: false, next: null, told: null };

/** Offers the models that have a generator, and shows the results so far. */
export async function open(_, wanted) {
  const facts = await askJson('turing');
  state.models = facts.models;
  offer(byId('turing-model'), facts.models, wanted);
  state.proposed = facts.rounds;
  byId('turing-saved').textContent = facts.saved ? 'Answers are saved in a file of this server, without anything about you.'
    : 'Answers are counted until this server stops, and saved nowhere.';
  prepare();
  await showResults();
}

const chosenModel = () => state.models.find(({ name }) => name === byId('turing-model').value);

/** Offers as many rounds as there are real images for with the chosen model. */
function prepare() {
  const most = Math.min(MOST_ROUNDS, 2 * (chosenModel()?.real_images ?? 0));
  Object.assign(byId('turing-rounds'), { max: most, value: Math.min(state.proposed, most) });
  byId('turing-start').querySelector('.primary').disabled = most === 0;
  sayLength();
}

/** Says how long the test takes, or why there can be none. */
function sayLength() {
  const model = chosenModel();
  const rounds = Number(byId('turing-rounds').value);
  const minutes = Math.round((rounds * (byId('turing-feedback').checked ? SECONDS_TOLD : SECONDS)) / 60);
  const time = minutes === 0 ? 'less than a minute' : `about ${counted(minutes, 'minute')}`;
  let said = `${counted(rounds, 'image')} (${model && kindOf(model)}): ${time}.`;
  if (!model) said = 'No model of this server has a generator.';
  else if (model.real_images === 0) {
    said = `This server has no real ${kindOf(model)} to show. Start it with: igan-zoo turing --model ${model.name} --real ${model.name}=SOURCE`;
  }
  byId('turing-length').textContent = said;
}

/** Makes the controls work; `chose` is told which model was chosen. */
export function connect(chose) {
  byId('turing-model').addEventListener('change', (event) => {
    chose(event.target.value);
    prepare();
  });
  byId('turing-rounds').addEventListener('input', sayLength);
  byId('turing-feedback').addEventListener('change', sayLength);
  byId('turing-start').addEventListener('submit', (event) => {
    event.preventDefault();
    attempt(begin);
  });
  byId('turing-answers').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button) answer(button.dataset.answer);
  });
  byId('turing-next').addEventListener('click', () => attempt(showRound));
  byId('turing-stop').addEventListener('click', () => {
    leave();
    attempt(showResults);
  });
  document.addEventListener('keydown', (event) => {
    const said = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const typing = event.target.matches('input, select, textarea');
    const modified = event.ctrlKey || event.altKey || event.metaKey;
    if (!said || typing || modified || event.repeat || byId('turing-view').hidden || byId('turing-answers').hidden) return;
    event.preventDefault();
    answer(said);
  });
}

function leave() {
  state.test = null;
  byId('turing-test').hidden = true;
  byId('turing-start').hidden = false;
  byId('turing-start').querySelector('.primary').focus();
}

async function begin() {
  const wish = {
    model: byId('turing-model').value,
    rounds: Number(byId('turing-rounds').value),
    feedback: byId('turing-feedback').checked,
  };
  const { test, rounds } = await sendJson('turing', wish);
  Object.assign(state, { test, rounds, round: 0, model: wish.model, busy: false, next: picture(test, 1) });
  byId('turing-start').hidden = true;
  byId('turing-end').hidden = true;
  byId('turing-test').hidden = false;
  byId('turing-bar').max = rounds;
  byId('turing-running').textContent = wish.feedback ? '' : 'The result comes at the end.';
  await showRound();
}

const picture = (test, round) => askPicture(`turing/${test}/${round}.png`);

async function showRound() {
  const shown = byId('turing-picture');
  const next = state.next ?? picture(state.test, state.round + 1);
  state.next = null;
  const address = await next;
  URL.revokeObjectURL(shown.src);
  shown.src = address;
  await shown.decode();
  state.round += 1;
  state.told = null;
  byId('turing-progress').textContent = `Round ${state.round} of ${state.rounds}`;
  byId('turing-bar').value = state.round - 1;
  byId('turing-verdict').textContent = '';
  byId('turing-answers').hidden = false;
  byId('turing-next').hidden = true;
  if (state.round === 1 || document.activeElement === document.body) byId('turing-answers').firstElementChild.focus();
  if (state.round < state.rounds) {
    state.next = picture(state.test, state.round + 1);
    // Whoever waits for it is told; until then a failure is nobody's.
    state.next.catch(() => null);
  }
}

async function answer(said) {
  if (state.busy) return;
  state.busy = true;
  await attempt(async () => {
    // What follows may fail and be tried again; the answer itself is given once.
    state.told ??= await give(said);
    byId('turing-bar').value = state.round;
    if (state.told.finished) await end();
    else if (state.told.correct === undefined) await showRound();
    else feedBack(state.told, said);
  });
  state.busy = false;
}

async function give(said) {
  try {
    return await sendJson(`turing/${state.test}/${state.round}`, { answer: said });
  } catch (problem) {
    // The server has the answer; only its own was lost on the way.
    if (problem.status === 409) return askJson(`turing/${state.test}`);
    throw problem;
  }
}

function feedBack(told, said) {
  const other = said === 'real' ? 'generated' : 'real';
  const verdict = byId('turing-verdict');
  verdict.className = `verdict ${told.correct ? 'right' : 'wrong'}`;
  verdict.textContent = `${told.correct ? 'Right' : 'Wrong'}: it is ${told.correct ? said : other}.`;
  byId('turing-running').textContent = `${told.errors} of ${told.answers} wrong: ${rate(told)}.`;
  byId('turing-answers').hidden = true;
  byId('turing-next').hidden = false;
  byId('turing-next').firstElementChild.focus();
}

const rate = ({ error_rate: its, low, high }) => `${percent(its)} (95 %: ${percent(low)} to ${percent(high)})`;

async function end() {
  const result = await askJson(`turing/${state.test}`);
  const items = await Promise.all(result.truth.map(async (kind, index) => {
    const right = kind === result.given[index];
    const shown = element('img', { src: await picture(state.test, index + 1), alt: `Round ${index + 1}`, className: 'picture' });
    return element('li', { className: right ? 'right' : 'wrong' }, shown, kind, element('b', {}, right ? 'right' : 'wrong'));
  }));
  const again = element('button', { type: 'button', className: 'primary' }, 'Another test');
  again.addEventListener('click', () => { byId('turing-end').hidden = true; leave(); });
  byId('turing-end').replaceChildren(
    element('h2', { className: 'headline' }, `You got ${result.errors} of ${result.answers} wrong: ${percent(result.error_rate)}`),
    element('p', { className: 'note' }, `From these answers alone, your error rate lies between ${percent(result.low)} and ${percent(result.high)} (95 %, Wilson's interval). Someone who guesses is wrong 50 % of the time.`),
    scale(result, PAPER[dataset()]),
    element('ul', { className: 'gallery', 'aria-label': 'All rounds' }, ...items),
    again,
  );
  byId('turing-test').hidden = true;
  byId('turing-end').hidden = false;
  byId('turing-end').focus();
  await showResults();
}

const dataset = () => state.models.find((model) => model.name === state.model)?.dataset;

/** Returns a line from 0 to 100 % with the error rate, its interval, the paper's where it applies, and chance. */
function scale({ error_rate: its, low, high }, paper) {
  const placed = (className, share, text) => {
    const made = element('span', { className }, element('i'), text ? element('span', {}, text) : null);
    made.style.setProperty('--at', share);
    return made;
  };
  const interval = element('span', { className: 'interval' });
  interval.style.setProperty('--at', low);
  interval.style.setProperty('--to', high);
  const label = `Your error rate ${percent(its)}, between ${percent(low)} and ${percent(high)}; chance 50 %${paper ? `; ${paper.said}` : ''}`;
  return element('div', { className: 'scale', role: 'img', 'aria-label': label },
    interval,
    placed('mark above', 0.5, 'chance: 50 %'),
    paper ? placed('mark below', paper.rate, paper.said) : null,
    placed('rate', its));
}

/** Shows the error rate of each model beside those of the paper, on one scale. */
async function showResults() {
  const { results } = await askJson('turing/results');
  const trained = new Set(state.models.map((model) => model.dataset));
  const papers = Object.entries(PAPER).filter(([data]) => trained.has(data)).map(([, { rate: its, said }]) =>
    line('The paper', said.replace('the paper, ', '').split(':')[0], { error_rate: its }, null, 'paper'));
  byId('turing-results').replaceChildren(
    ...(results.length === 0 ? [element('p', { className: 'note' }, 'No test has been taken yet.')] : []),
    element('ul', { className: 'rates' }, ...results.map(ownLine), ...papers),
    element('p', { className: 'note' }, 'How often people were wrong. The line in the middle is chance, 50 %; pale bars are 95 % intervals (Wilson). '
      + "The paper's figures come from other models and people, so take them only as a rough comparison."),
  );
}

function ownLine(row) {
  const unfinished = row.unfinished ? `, ${row.unfinished} unfinished` : '';
  const fooled = row.fooled === null ? '' : `; ${percent(row.fooled, 0)} of the generated images passed as real`;
  const note = `${counted(row.tests, 'test')}${unfinished}, ${counted(row.answers, 'answer')}${fooled}`;
  return line(row.model, row.feedback ? 'told after each answer' : 'not told', row.answers ? row : {}, note);
}

/** Returns a line of the comparison; without an `error_rate` it has no point, without `low` and `high` no interval. */
function line(name, condition, its, note, className = '') {
  const placed = (kind, at, to) => {
    const made = element('i', { className: kind });
    made.style.setProperty('--at', at);
    made.style.setProperty('--to', to);
    return made;
  };
  const track = element('span', { className: 'rate-track', 'aria-hidden': 'true' }, placed('chance', 0.5));
  if (its.low !== undefined) track.append(placed('interval', its.low, its.high));
  if (its.error_rate !== undefined) track.append(placed('point', its.error_rate));
  const figure = its.low !== undefined ? rate(its) : its.error_rate === undefined ? '-' : percent(its.error_rate);
  return element('li', { className }, element('b', {}, name), element('span', { className: 'condition' }, condition), track,
    element('span', { className: 'figure' }, figure), note ? element('span', { className: 'note' }, note) : null);
}
