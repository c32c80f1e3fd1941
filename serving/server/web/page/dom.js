// Building and finding elements.

/** Returns the element with this id. */
export const byId = (id) => document.getElementById(id);

/** Returns a new element: properties, then children (elements or text). */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Returns a table with a row of headings, inside a box that scrolls where it is too wide. */
export function table(headings, rows) {
  const head = element('tr', {}, ...headings.map((heading) => element('th', { scope: 'col' }, heading)));
  // On a narrow screen each cell stands below the other, with its heading before it.
  const cell = (content, at) => element('td', { 'data-heading': headings[at] ?? '' }, content);
  const body = element('tbody', {}, ...rows.map((cells) => element('tr', {}, ...cells.map(cell))));
  return element('div', { className: 'scroll', tabIndex: 0 }, element('table', {}, element('thead', {}, head), body));
}

/** What the images of data sets show, in a word. */
const KINDS = { 'ylecun/mnist': 'digits', 'uoft-cs/cifar10': 'small photos', 'ILSVRC/imagenet-1k': 'photos' };

/** Returns what a model's images show, in a word. */
export const kindOf = (model) => KINDS[model.dataset] ?? 'images';

/** Fills a select with models; the one that is called `wanted` is chosen if it is among them. */
export function offer(select, models, wanted) {
  const named = ({ name, dataset }) => (KINDS[dataset] ? `${name} (${KINDS[dataset]})` : name);
  select.replaceChildren(...models.map((model) => element('option', { value: model.name }, named(model))));
  if (models.some(({ name }) => name === wanted)) select.value = wanted;
}

/** Returns bars: a description list of [name, share] with the share in per cent. */
export function bars(entries) {
  const rows = entries.map(([name, share]) => {
    const bar = element('i');
    bar.style.width = `${100 * share}%`;
    const track = element('div', { className: 'track', 'aria-hidden': 'true' }, bar);
    return element('div', {}, element('dt', {}, name), element('dd', {}, track), element('dd', {}, percent(share)));
  });
  return element('dl', { className: 'bars' }, ...rows);
}

/** Returns a share as text in per cent. */
export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

/** Returns a count with its noun. */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;
