// What the server does with an image before a classifier sees it, so that a device that runs the classifier itself
// shows it the same pixels: igan_zoo.images.conform, and in it Pillow's bilinear filter. That is met to the bit, or to
// one grey level where a new Pillow takes the columns before the rows.

// Weights are whole numbers of 22 bits after the point, as Pillow's for 8-bit images.
const BITS = 22;

/** Decodes a file and returns the classifier's input, {name, shape: [1, H, W, C], data}. */
export async function prepare(file, { height, width, channels, crop }) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none' });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  // Transparent pixels are laid on black.
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  const [left, top, right, bottom] = crop ? central(bitmap, width, height) : [0, 0, bitmap.width, bitmap.height];
  const pixels = context.getImageData(left, top, right - left, bottom - top);
  const planes = (channels === 1 ? [grey(pixels.data)] : [0, 1, 2].map((channel) => plane(pixels.data, channel)))
    .map((values) => resize(values, pixels.width, pixels.height, width, height));
  const data = new Uint8Array(height * width * channels);
  data.forEach((_, index) => { data[index] = planes[index % channels][Math.floor(index / channels)]; });
  return { name: 'images', shape: [1, height, width, channels], data };
}

/** Returns the mean of the frame, two pixels wide, of a classifier's input: above 127.5 it is dark on light. */
export function frame({ shape: [, height, width, channels], data }) {
  const outside = (at, length) => at < 2 || at >= length - 2;
  const values = data.filter((_, index) => {
    const at = Math.floor(index / channels);
    return outside(at % width, width) || outside(Math.floor(at / width), height);
  });
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function central(bitmap, width, height) {
  const innerWidth = Math.max(1, Math.min(bitmap.width, Math.floor((bitmap.height * width) / height)));
  const innerHeight = Math.max(1, Math.min(bitmap.height, Math.floor((bitmap.width * height) / width)));
  const left = Math.floor((bitmap.width - innerWidth) / 2);
  const top = Math.floor((bitmap.height - innerHeight) / 2);
  return [left, top, left + innerWidth, top + innerHeight];
}

const plane = (rgba, channel) => Uint8Array.from({ length: rgba.length / 4 }, (_, at) => rgba[4 * at + channel]);

/** Pillow's grey of RGB: ITU-R 601-2 in 16 bits. */
const grey = (rgba) => Uint8Array.from({ length: rgba.length / 4 }, (_, at) =>
  (rgba[4 * at] * 19595 + rgba[4 * at + 1] * 38470 + rgba[4 * at + 2] * 7471 + 0x8000) >> 16);

/** Resizes one channel, rows first, with whole grey levels between the two passes. */
export function resize(values, fromWidth, fromHeight, width, height) {
  const rows = fromWidth === width ? values : alongRows(values, fromWidth, fromHeight, width);
  if (fromHeight === height) return rows;
  return transpose(alongRows(transpose(rows, width, fromHeight), fromHeight, width, height), height, width);
}

function transpose(values, width, height) {
  return Uint8Array.from(values, (_, at) => values[(at % height) * width + Math.floor(at / height)]);
}

function alongRows(values, from, rows, to) {
  const taps = weights(from, to);
  const resized = new Uint8Array(rows * to);
  for (let row = 0; row < rows; row += 1) {
    for (let at = 0; at < to; at += 1) {
      const { first, factors } = taps[at];
      let sum = 1 << (BITS - 1);
      for (let tap = 0; tap < factors.length; tap += 1) sum += values[row * from + first + tap] * factors[tap];
      resized[row * to + at] = Math.min(255, Math.max(0, sum >> BITS));
    }
  }
  return resized;
}

function weights(from, to) {
  const scale = from / to;
  const support = Math.max(1, scale);
  return Array.from({ length: to }, (_, at) => {
    const center = (at + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(from, Math.trunc(center + support + 0.5));
    const triangle = Array.from({ length: end - first }, (_, tap) =>
      Math.max(0, 1 - Math.abs((tap + first - center + 0.5) / support)));
    const total = triangle.reduce((sum, weight) => sum + weight, 0);
    return { first, factors: triangle.map((weight) => Math.trunc(0.5 + (weight / total) * 2 ** BITS)) };
  });
}
