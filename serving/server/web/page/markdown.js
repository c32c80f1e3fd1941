// A model card's Markdown as elements: headings, paragraphs, lists, tables, code, links. Nothing in it is taken for HTML.

import { element, table } from './dom.js';

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|!\[[^\]]*\]\([^)]*\)|\[([^\]]+)\]\(([^)\s]+)\)/g;
const FENCE = /^```/;

// What a line begins, by its first characters; the last is everything else.
const KINDS = [
  ['heading', /^#{1,6} /],
  ['code', /^ {4}/],
  ['table', /^\|/],
  ['list', /^[-*] /],
  ['text', /^/],
];

/** Returns the elements of a Markdown text without its front matter. */
export function markdown(text) {
  return blocks(text.replace(/^---\n[\s\S]*?\n---\n/, '').split('\n')).map(({ kind, lines }) => MAKERS[kind](lines));
}

/** Groups lines of one kind that follow each other; a blank line ends a block, unless code goes on after it. */
function blocks(lines) {
  const found = [];
  let block = null;
  let fenced = false;
  lines.forEach((line, index) => {
    if (FENCE.test(line)) {
      fenced = !fenced;
      block = null;
      if (fenced) found.push(block = { kind: 'fenced', lines: [] });
    } else if (fenced) {
      block.lines.push(line);
    } else if (line.trim() === '') {
      const goesOn = block?.kind === 'code' && /^ {4}/.test(lines[index + 1] ?? '');
      if (goesOn) block.lines.push('');
      else block = null;
    } else {
      const [kind] = KINDS.find(([, start]) => start.test(line));
      const continues = block && kind !== 'heading' && (block.kind === kind || (block.kind === 'list' && kind !== 'table'));
      if (continues) block.lines.push(line);
      else found.push(block = { kind, lines: [line] });
    }
  });
  return found;
}

const MAKERS = {
  heading: ([line]) => element(line.startsWith('# ') ? 'h3' : 'h4', {}, ...inline(line.replace(/^#+ /, ''))),
  code: (lines) => element('pre', { tabIndex: 0 }, lines.map((line) => line.slice(4)).join('\n')),
  fenced: (lines) => element('pre', { tabIndex: 0 }, lines.join('\n')),
  text: (lines) => element('p', {}, ...inline(lines.join(' '))),
  list: (lines) => {
    const items = lines.join('\n').split(/\n(?=[-*] )/);
    return element('ul', {}, ...items.map((item) => element('li', {}, ...inline(item.slice(2).replace(/\n\s*/g, ' ')))));
  },
  table: ([first, , ...rest]) => {
    const cells = (line) => line.replace(/^\||\|\s*$/g, '').split('|').map((cell) => element('span', {}, ...inline(cell.trim())));
    return table(cells(first), rest.map(cells));
  },
};

function inline(text) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(at, found.index));
    const [, code, strong, emphasis, label, address] = found;
    if (code) parts.push(element('code', {}, code));
    else if (strong) parts.push(element('strong', {}, strong));
    else if (emphasis) parts.push(element('em', {}, emphasis));
    // Links to the card's own files lead nowhere from here.
    else if (label && /^https?:/.test(address)) parts.push(element('a', { href: address, rel: 'noreferrer' }, label));
    else if (label) parts.push(label);
    at = found.index + found[0].length;
  }
  return [...parts, text.slice(at)];
}
