/* A plane over two latents: the means of the test images, and the code in it, which follows the finger. */
'use strict';

const COLORS = ['#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#8A7F00', '#7F7F7F', '#882255', '#44AA99'];
const SIDE = 360, EDGE = 4, SHARP = 2;  // pixels of the pad, and of the canvas to one of them

function colorOf(index, count) {
  return count <= COLORS.length ? COLORS[index] : `hsl(${250 - 210 * index / (count - 1)} 65% ${40 + 20 * index / (count - 1)}%)`;
}

class Pad {
  constructor(view) {
    this.view = view;
    const { order, latents } = view.state;
    [this.across, this.up] = [order[0], order[1] ?? null];
    this.factor = 0;
    this.canvas = element('canvas', { tabindex: 0, role: 'application', class: 'pad', width: SHARP * SIDE, height: SHARP * SIDE,
      'aria-label': 'two latents: drag, or move by the arrow keys' });
    this.preview = element('div', { class: 'pictures small' });
    this.legend = element('p', { class: 'legend' });
    const axis = (label, name) => latents > 1 && this.axis(label, name);
    const chosen = [axis('across', 'across'), axis('up', 'up'), this.factors()].filter(Boolean);
    this.element = element('div', { class: 'plane' },
      element('div', {}, element('p', { class: 'fields' }, ...chosen), this.canvas, this.legend), this.preview,
      element('p', { class: 'why' }, latents > 1
        ? 'Every point is the mean code of a test image; the circle of radius 2 holds 86 % of the prior. Images that look '
          + 'alike lie close together. Between them the decoder invents.'
        : 'Every point is the mean code of a test image, from left to right; up and down they are only spread out. 95 % of '
          + 'the prior lies between −2 and 2.'));
    this.listen();
    this.redraw();
  }

  axis(label, name) {
    const id = `${name}${this.view.number}`, { order } = this.view.state;
    const select = element('select', { id, onchange: () => { this[name] = +select.value; this.redraw(); } },
      ...order.map((latent) => element('option', { value: latent, selected: latent === this[name] }, `latent ${latent}`)));
    return element('span', { class: 'field' }, element('label', { for: id }, label), select);
  }

  factors() {
    const { labels } = this.view.data, id = `factor${this.view.number}`;
    if (labels.length < 2) return null;
    const select = element('select', { id, onchange: () => { this.factor = +select.value; this.redraw(); } },
      ...labels.map(({ name }, index) => element('option', { value: index }, name)));
    return element('span', { class: 'field' }, element('label', { for: id }, 'colour'), select);
  }

  x(value) { return (value + EDGE) / (2 * EDGE) * SIDE; }

  y(value) { return SIDE - this.x(value); }

  place(number) {
    const mean = this.view.state.meanOf(number);
    const spread = ((number * 0.618034) % 1 - 0.5) * 2;  // of one latent: apart, so that they can be seen
    return [this.x(mean[this.across]), this.y(this.up === null ? spread : mean[this.up])];
  }

  redraw() {
    this.under = undefined;
    this.preview.replaceChildren(element('p', { class: 'facts' }, 'Point at one, or tap it, to see its image.'));
    const { data } = this.view, labels = data.labels[this.factor], back = document.createElement('canvas');
    back.width = back.height = SHARP * SIDE;
    const context = back.getContext('2d'), style = getComputedStyle(document.documentElement);
    context.scale(SHARP, SHARP);
    context.strokeStyle = style.getPropertyValue('--faint');
    context.strokeRect(0.5, 0.5, SIDE - 1, SIDE - 1);
    context.beginPath();
    context.arc(SIDE / 2, SIDE / 2, this.x(2) - this.x(0), 0, 2 * Math.PI);
    context.moveTo(0, SIDE / 2); context.lineTo(SIDE, SIDE / 2);
    context.moveTo(SIDE / 2, 0); context.lineTo(SIDE / 2, SIDE);
    context.stroke();
    for (let number = 0; number < data.scattered; number++) {
      const [x, y] = this.place(number);
      context.fillStyle = labels ? colorOf(labels.of[number], labels.values.length) : style.getPropertyValue('--accent');
      context.globalAlpha = 0.75;
      context.beginPath();
      context.arc(x, y, 3, 0, 2 * Math.PI);
      context.fill();
    }
    this.back = back;
    const values = labels && labels.values.length <= COLORS.length ? labels.values : [];
    this.legend.replaceChildren(...values.map((value, index) => {
      const mark = element('span', { class: 'mark' });
      mark.style.background = colorOf(index, values.length);
      return element('span', {}, mark, value);
    }));
    this.mark();
  }

  /* The code that the sliders hold. */
  mark() {
    if (!this.back) return;
    const context = this.canvas.getContext('2d'), { z } = this.view;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, SHARP * SIDE, SHARP * SIDE);
    context.drawImage(this.back, 0, 0);
    context.scale(SHARP, SHARP);
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue('--ink');
    context.lineWidth = 2;
    context.beginPath();
    context.arc(this.x(z[this.across]), this.y(this.up === null ? 0 : z[this.up]), 7, 0, 2 * Math.PI);
    context.stroke();
  }

  listen() {
    const at = (event) => {
      const box = this.canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE];
    };
    this.canvas.addEventListener('pointerdown', (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      this.held = true;
      this.moveTo(...at(event));
    });
    this.canvas.addEventListener('pointermove', (event) => {
      if (this.held) this.moveTo(...at(event));
      this.nearest(...at(event));
    });
    for (const name of ['pointerup', 'pointercancel']) this.canvas.addEventListener(name, () => { this.held = false; });
    this.canvas.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const { z } = this.view;
      this.set(z[this.across] + 0.1 * step[0], this.up === null ? 0 : z[this.up] + 0.1 * step[1]);
    });
  }

  moveTo(x, y) { this.set(x / SIDE * 2 * EDGE - EDGE, EDGE - y / SIDE * 2 * EDGE); }

  set(across, up) {
    const inside = (value) => Math.min(EDGE, Math.max(-EDGE, value));
    this.view.z[this.across] = inside(across);
    if (this.up !== null) this.view.z[this.up] = inside(up);
    const told = [this.across, this.up].filter((latent) => latent !== null);
    this.canvas.setAttribute('aria-label', told.map((latent) => `latent ${latent} at ${shown(this.view.z[latent])}`).join(', '));
    this.view.changed();
  }

  /* The test image under the pointer, with its reconstruction. */
  nearest(x, y) {
    const { state, data } = this.view;
    let found = -1, closest = 100;
    for (let number = 0; number < data.scattered; number++) {
      const [a, b] = this.place(number), distance = (a - x) ** 2 + (b - y) ** 2;
      if (distance < closest) [found, closest] = [number, distance];
    }
    if (found < 0 || found === this.under) return;
    this.under = found;
    const labels = data.labels[this.factor], label = labels ? `: ${labels.values[labels.of[found]]}` : '';
    const rebuilt = picture(data, 'reconstructed', 'under-rebuilt');
    rebuilt.show(state.decode(state.meanOf(found)));
    const shownHere = [rebuilt];
    if (state.images) {
      const original = picture(data, `test image ${found}${label}`, 'under');
      original.show(state.image(found));
      shownHere.unshift(original);
    }
    this.preview.replaceChildren(...shownHere);
  }
}
