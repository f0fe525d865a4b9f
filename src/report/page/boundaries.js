'use strict';
// Lines where neighbours in an array of classes, pieces or regions differ.

// Far away a pixel of the picture is coloured where it differs from its right or lower neighbour; the picture of these.
function boundaryMask({ shape: [height, width], values }, [r, g, b]) {
  const canvas = el('canvas', { width, height });
  const pen = canvas.getContext('2d'),
    image = pen.createImageData(width, height);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const differs =
        (x + 1 < width && values[i] !== values[i + 1]) || (y + 1 < height && values[i] !== values[i + width]);
      if (differs) image.data.set([r, g, b, 255], 4 * i);
    }
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}

// Near by the edges between pixels, of those in sight.
function boundaryPath({ shape: [height, width], values }, view, canvas) {
  const path = new Path2D(),
    { scale, left, top } = view;
  const from = (start) => Math.max(0, Math.floor(-start / scale) - 1);
  const to = (start, length, end) => Math.min(end, Math.ceil((length - start) / scale) + 1);
  for (let y = from(top); y < to(top, canvas.height, height); y++) {
    for (let x = from(left); x < to(left, canvas.width, width); x++) {
      const i = y * width + x,
        [right, bottom] = [left + (x + 1) * scale, top + (y + 1) * scale];
      if (x + 1 < width && values[i] !== values[i + 1]) {
        path.moveTo(right, bottom - scale);
        path.lineTo(right, bottom);
      }
      if (y + 1 < height && values[i] !== values[i + width]) {
        path.moveTo(right - scale, bottom);
        path.lineTo(right, bottom);
      }
    }
  }
  return path;
}

// A set of lines in one colour; the array is asked for when they are first drawn.
function boundaries(array, colour) {
  let mask;
  return (pen, view, ratio) => {
    const { canvas } = pen,
      all = array();
    if (view.scale < 4 * ratio) {
      mask ??= boundaryMask(all, channels(colour));
      pen.drawImage(mask, view.left, view.top, view.scale * mask.width, view.scale * mask.height);
      return;
    }
    const path = boundaryPath(all, view, canvas);
    pen.lineCap = 'square';
    pen.lineWidth = 4 * ratio;
    pen.strokeStyle = '#0006';
    pen.stroke(path);
    pen.lineWidth = 2 * ratio;
    pen.strokeStyle = colour;
    pen.stroke(path);
  };
}
