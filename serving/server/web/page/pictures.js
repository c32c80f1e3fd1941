// Images as numbers, uint8 [N, H, W, C], and as something to look at.

import { element } from './dom.js';

/** Draws image `index` of {shape, data} on a canvas, at its own size. */
export function draw(canvas, { shape, data }, index = 0) {
  const [, height, width, channels] = shape;
  const pixels = new ImageData(width, height);
  const start = index * height * width * channels;
  for (let at = 0; at < height * width; at += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      pixels.data[4 * at + channel] = data[start + channels * at + (channels === 1 ? 0 : channel)];
    }
    pixels.data[4 * at + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d').putImageData(pixels, 0, 0);
}

/** Returns new canvases of all images of {shape, data}. */
export function canvases(images) {
  return Array.from({ length: images.shape[0] }, (_, index) => {
    const canvas = element('canvas');
    draw(canvas, images, index);
    return canvas;
  });
}

/** Lets the browser save canvases of one size as one PNG: rows of `columns`, whole pixels enlarged, white between. */
export async function download(drawn, columns, name) {
  const [{ width, height }] = drawn;
  const scale = Math.max(1, Math.floor(1000 / (columns * width)));
  const [right, down] = [width * scale + scale, height * scale + scale];
  const rows = Math.ceil(drawn.length / columns);
  const sheet = element('canvas', { width: columns * right + scale, height: rows * down + scale });
  const context = sheet.getContext('2d');
  context.imageSmoothingEnabled = false;
  context.fillStyle = 'white';
  context.fillRect(0, 0, sheet.width, sheet.height);
  drawn.forEach((canvas, index) => {
    const left = scale + (index % columns) * right;
    context.drawImage(canvas, left, scale + Math.floor(index / columns) * down, width * scale, height * scale);
  });
  save(await new Promise((done) => sheet.toBlob(done, 'image/png')), name);
}

/** Lets the browser save a file under a name. */
export function save(file, name) {
  const address = URL.createObjectURL(file);
  element('a', { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** Returns the largest difference of two equally long arrays of numbers, and the share of them that differ. */
export function difference(first, second) {
  if (first.length !== second.length) throw new Error(`${first.length} numbers against ${second.length}`);
  let [largest, differing] = [0, 0];
  for (let index = 0; index < first.length; index += 1) {
    const distance = Math.abs(first[index] - second[index]);
    largest = Math.max(largest, distance);
    differing += distance > 0;
  }
  return { largest, share: differing / first.length };
}
