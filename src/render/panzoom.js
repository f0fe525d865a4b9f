'use strict';
// A picture on a canvas that is dragged, pinched, turned by the wheel and moved by keys. What is in the middle stays within the picture.

// `draw(pen, view)` draws it: `view.scale` pixels of the canvas for one of the picture, whose corner is at `view.left`, `view.top`.
// `point(x, y)` hears where in the picture the pointer is, `point(x, y, true)` what is in the middle when keys move it,
// `point()` that the pointer left.
function panzoom(canvas, { width, height, draw, point }) {
  const pen = canvas.getContext('2d');
  const view = { scale: 1, left: 0, top: 0, fitted: true };
  let wanted = false,
    outside = -Infinity;
  const ratio = () => window.devicePixelRatio || 1;
  const whole = () => Math.min(canvas.width / width, canvas.height / height);

  function redraw() {
    if (wanted) return;
    wanted = true;
    requestAnimationFrame(() => {
      wanted = false;
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.clearRect(0, 0, canvas.width, canvas.height);
      draw(pen, view);
    });
  }

  function settle(fitted = false) {
    view.fitted = fitted;
    view.left = Math.min(canvas.width / 2, Math.max(canvas.width / 2 - view.scale * width, view.left));
    view.top = Math.min(canvas.height / 2, Math.max(canvas.height / 2 - view.scale * height, view.top));
    // At its whole size a touch scrolls the page past the picture.
    canvas.style.touchAction = fitted ? 'pan-y' : 'none';
    redraw();
  }

  view.fit = () => {
    view.scale = whole();
    view.left = (canvas.width - view.scale * width) / 2;
    view.top = (canvas.height - view.scale * height) / 2;
    settle(true);
  };
  view.zoom = (factor, x = canvas.width / 2, y = canvas.height / 2) => {
    const next = Math.min(64 * ratio(), Math.max(whole(), view.scale * factor));
    if (next === whole()) return view.fit();
    view.left = x - ((x - view.left) * next) / view.scale;
    view.top = y - ((y - view.top) * next) / view.scale;
    view.scale = next;
    settle();
  };
  view.move = (x, y) => {
    view.left += x;
    view.top += y;
    settle();
  };
  view.middle = () => [(canvas.width / 2 - view.left) / view.scale, (canvas.height / 2 - view.top) / view.scale];
  view.redraw = redraw;

  const down = new Map();
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * ratio(), (event.clientY - box.top) * ratio()];
  };
  canvas.addEventListener('pointerdown', (event) => {
    if (!(view.fitted && event.pointerType === 'touch')) canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place(event));
    canvas.classList.add('moving');
  });
  canvas.addEventListener('pointermove', (event) => {
    const now = place(event),
      before = down.get(event.pointerId);
    if (before) {
      const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const far = (from) => Math.max(1, Math.hypot(from[0] - other[0], from[1] - other[1]));
        view.zoom(far(now) / far(before), (before[0] + other[0]) / 2, (before[1] + other[1]) / 2);
        view.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      } else {
        view.move(now[0] - before[0], now[1] - before[1]);
      }
      down.set(event.pointerId, now);
    }
    point((now[0] - view.left) / view.scale, (now[1] - view.top) / view.scale);
  });
  const up = (event) => {
    down.delete(event.pointerId);
    if (down.size === 0) canvas.classList.remove('moving');
  };
  canvas.addEventListener('pointerup', up);
  canvas.addEventListener('pointercancel', up);
  canvas.addEventListener('pointerleave', () => point());

  // A turn of the wheel that began elsewhere goes on scrolling the page, and so does one that has nothing left to zoom out of.
  window.addEventListener(
    'wheel',
    (event) => {
      if (event.target !== canvas) outside = event.timeStamp;
    },
    { passive: true },
  );
  canvas.addEventListener(
    'wheel',
    (event) => {
      if (event.timeStamp - outside < 300 && !event.ctrlKey) {
        outside = event.timeStamp;
        return;
      }
      if (view.fitted && event.deltaY > 0) return;
      event.preventDefault();
      view.zoom(
        2 ** ((-event.deltaY * (event.deltaMode === 1 ? 16 : 1)) / (event.ctrlKey ? 100 : 300)),
        ...place(event),
      );
    },
    { passive: false },
  );
  canvas.addEventListener('dblclick', (event) => view.zoom(event.shiftKey ? 0.5 : 2, ...place(event)));

  canvas.addEventListener('keydown', (event) => {
    // With shift one pixel of the picture.
    const step = event.shiftKey ? view.scale : Math.min(canvas.width, canvas.height) / 12;
    const keys = {
      ArrowLeft: () => view.move(step, 0),
      ArrowRight: () => view.move(-step, 0),
      ArrowUp: () => view.move(0, step),
      ArrowDown: () => view.move(0, -step),
      '+': () => view.zoom(2 ** 0.5),
      '=': () => view.zoom(2 ** 0.5),
      '-': () => view.zoom(2 ** -0.5),
      0: view.fit,
      Home: view.fit,
    };
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
    point(...view.middle(), true);
  });

  new ResizeObserver(() => {
    const box = canvas.getBoundingClientRect(),
      middle = view.middle();
    if (box.width === 0) return;
    const before = canvas.width;
    canvas.width = Math.round(box.width * ratio());
    canvas.height = Math.round(box.height * ratio());
    if (view.fitted) return view.fit();
    view.scale = Math.max(whole(), (view.scale * canvas.width) / before);
    view.left = canvas.width / 2 - middle[0] * view.scale;
    view.top = canvas.height / 2 - middle[1] * view.scale;
    settle();
  }).observe(canvas);
  return view;
}
