// Photos before they are sent: cameras make far more pixels than any model looks at.

// What is smaller is sent as it is, so that the answer is the one of the file itself.
const MOST_BYTES = 4e6;
const MOST_PIXELS = 4e6;
const SIDE = 1024;
const QUALITY = 0.95;

/** Returns the size that pixels of this width and height are sent in: whole, or at most 1024 on the longer side. */
export function size(width, height, bytes) {
  if (bytes <= MOST_BYTES && width * height <= MOST_PIXELS) return [width, height];
  const scale = Math.min(1, SIDE / Math.max(width, height));
  return [width, height].map((side) => Math.max(1, Math.round(side * scale)));
}

/** Returns a file to send for a file: upright, if it is made smaller, as its EXIF orientation says. */
export async function smaller(file) {
  // The server knows formats that a browser does not, such as TIFF.
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' }).catch(() => null);
  if (bitmap === null) return file;
  const [width, height] = size(bitmap.width, bitmap.height, file.size);
  if (width === bitmap.width && height === bitmap.height) return file;
  return encoded(bitmap, width, height, 'image/jpeg');
}

/** Returns an image with black and white exchanged, as a PNG file. */
export async function inverted(file) {
  const bitmap = await createImageBitmap(file);
  return encoded(bitmap, bitmap.width, bitmap.height, 'image/png', (context) => {
    context.globalCompositeOperation = 'difference';
    context.fillStyle = 'white';
    context.fillRect(0, 0, bitmap.width, bitmap.height);
  });
}

async function encoded(bitmap, width, height, type, change = () => null) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  // Transparent pixels are laid on black, as the server does.
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, width, height);
  change(context);
  bitmap.close();
  return canvas.convertToBlob({ type, quality: QUALITY });
}
