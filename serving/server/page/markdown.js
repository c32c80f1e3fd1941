// A model card's Markdown as elements: headings, paragraphs, lists, tables, code, links. Nothing in it is taken for HTML.

import { element, table } from './dom.js';

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|!\[[^\]]*\]\([^)]*\)|\[([^\]]+)\]\((https?:[^)\s]+|[^)\s]*)\)/g;

/** Returns the elements of a Markdown text without its front matter. */
export function markdown(text) {
  const blocks = text.replace(/^---\n[\s\S]*?\n---\n/, '').split(/\n{2,}(?! {4})|\n(?=#)|(?<=^#.*)\n/m);
  return blocks.map((block) => block.replace(/^\n+|\s+$/g, '')).filter(Boolean).map(one);
}

function one(block) {
  const lines = block.split('\n');
  if (/^#{1,6} /.test(block)) return element(block.startsWith('# ') ? 'h3' : 'h4', {}, ...inline(block.replace(/^#+ /, '')));
  if (block.startsWith('```')) return element('pre', {}, lines.slice(1).filter((line) => line !== '```').join('\n'));
  if (lines.every((line) => /^( {4}|$)/.test(line))) return element('pre', {}, lines.map((line) => line.slice(4)).join('\n'));
  if (lines.length > 1 && /^\|[-:| ]+\|$/.test(lines[1])) {
    const [headings, ...rows] = [lines[0], ...lines.slice(2)].map((line) => line.slice(1, -1).split('|').map(cell));
    return table(headings, rows);
  }
  if (/^[-*] /.test(block)) {
    const items = block.split(/\n(?=[-*] )/).map((item) => element('li', {}, ...inline(item.slice(2))));
    return element('ul', {}, ...items);
  }
  return element('p', {}, ...inline(block));
}

const cell = (text) => element('span', {}, ...inline(text.trim()));

function inline(text) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(INLINE)) {
    parts.push(text.slice(at, found.index));
    const [, code, strong, emphasis, label, address] = found;
    if (code) parts.push(element('code', {}, code));
    else if (strong) parts.push(element('strong', {}, strong));
    else if (emphasis) parts.push(element('em', {}, emphasis));
    else if (address?.startsWith('http')) parts.push(element('a', { href: address, rel: 'noreferrer' }, label));
    else if (label) parts.push(label);
    at = found.index + found[0].length;
  }
  return [...parts, text.slice(at)];
}
