// Drawing an image with a mouse, a pen or a finger: white on black, as the digits of MNIST.

const SIDE = 280;
const STROKE = 22;

/** Makes a canvas one to draw on; `finished` gets a PNG file after each stroke. */
export function drawOn(canvas, finished) {
  canvas.width = SIDE;
  canvas.height = SIDE;
  const context = canvas.getContext('2d');
  const place = (event) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [((event.clientX - left) * SIDE) / width, ((event.clientY - top) * SIDE) / height];
  };
  let drawing = false;
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    drawing = true;
    context.beginPath();
    context.moveTo(...place(event));
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!drawing) return;
    context.lineTo(...place(event));
    context.stroke();
  });
  for (const name of ['pointerup', 'pointercancel']) {
    canvas.addEventListener(name, () => {
      if (!drawing) return;
      drawing = false;
      canvas.toBlob(finished, 'image/png');
    });
  }
  clear(canvas);
}

/** Begins anew. */
export function clear(canvas) {
  const context = canvas.getContext('2d');
  context.fillRect(0, 0, SIDE, SIDE);
  Object.assign(context, { strokeStyle: 'white', lineWidth: STROKE, lineCap: 'round', lineJoin: 'round' });
}
