/* One run: what its decoder makes of the code that the sliders hold, and what its encoder made of an image. */
'use strict';

const REACH = 4, MOST_BARS = 30;

/* What tells the run from the others here, and where it is. */
function nameOf(run) { return run.differs ? `${run.differs} (${run.title})` : run.title; }

class View {
  constructor(run, states, data, number) {
    Object.assign(this, { run, states, data, number });
    this.state = states.at(-1);
    this.z = new Float32Array(this.state.latents);
    this.input = this.code = null;
    this.decoded = picture(data, 'decoded from the sliders', 'decoded');
    this.original = picture(data, 'the image', 'input');
    this.rebuilt = picture(data, 'its reconstruction', 'reconstruction');
    this.bars = element('div', { class: 'holder' });
    this.table = element('tbody');
    this.sliders = new Map();
    this.holder = element('div');
    this.pad = new Pad(this);
    this.element = element('article', { class: 'run', 'data-run': number });
    this.build();
  }

  build() {
    const test = this.run.test === null ? '' : `ELBO of the test images at its end ${shown(this.run.test, 1)} nats; `;
    const facts = test + this.run.chosen.join(', ');
    const buttons = element('p', { class: 'buttons' },
      element('button', { type: 'button', 'data-do': 'reset', onclick: () => this.reset() }, 'Reset'),
      element('button', { type: 'button', 'data-do': 'random', onclick: () => this.random() }, 'Random sample'),
      this.temperature());
    this.element.append(
      element('h2', {}, element('span', { class: `swatch run${this.number}` }), nameOf(this.run)),
      element('p', { class: 'facts' }, facts),
      element('div', { class: 'pictures' }, this.decoded, this.original, this.rebuilt),
      buttons, this.holder,
      element('p', { class: 'why' }, 'Each slider is one latent, in standard deviations of the prior. The KL says how many nats '
        + 'an image’s code spends on it: latents that spend none are unused, and moving them changes nothing.'),
      element('h3', {}, 'The code of the image, μ ± σ'), this.bars,
      this.state.latents > MOST_BARS ? element('p', { class: 'facts' }, `the ${MOST_BARS} latents of most KL`) : '', this.numbers(),
      element('p', { class: 'why' }, 'The encoder answers with a mean μ and a deviation σ for each latent. A long bar with a short '
        + 'whisker is a latent that the image decides; a whisker from −1 to 1 around 0 is the prior itself.'),
      element('h3', {}, this.state.latents > 1 ? 'Two latents at once' : 'The latent'), this.pad.element);
    this.rows();
    this.draw();
  }

  temperature() {
    const told = element('output', {}, '1.00'), id = `temperature${this.number}`;
    this.heat = element('input', { type: 'range', id, min: 0, max: 2, step: 0.05, value: 1,
      oninput: () => { told.textContent = shown(+this.heat.value); } });
    return element('span', { class: 'field' }, element('label', { for: id }, 'temperature'), this.heat, told);
  }

  /* The sliders of the state, in the order of its KL. */
  rows() {
    const { order, active } = this.state, used = order.filter((latent) => active[latent]);
    const unused = order.filter((latent) => !active[latent]);
    const open = !used.length || (this.folded && this.folded.open);
    this.holder.replaceChildren(element('div', { class: 'sliders' }, ...used.map((latent) => this.slider(latent))));
    if (!unused.length) return;
    this.folded = element('details', { open },
      element('summary', {}, `${unused.length} unused latents`), ...unused.map((latent) => this.slider(latent)));
    this.holder.append(this.folded);
  }

  slider(latent) {
    const { kl, sigma, active } = this.state, id = `z${this.number}-${latent}`, told = element('output', { for: id }, '0.00');
    const input = element('input', { type: 'range', id, min: -REACH, max: REACH, step: 0.01, value: 0, 'data-latent': latent,
      oninput: () => { this.z[latent] = +input.value; this.changed(); } });
    this.sliders.set(latent, { input, told });
    const about = `KL ${shown(kl[latent], 3)} nats, σ ${shown(sigma[latent], 3)}${active[latent] ? '' : ', unused'}`;
    return element('div', { class: active[latent] ? 'slider' : 'slider unused' },
      element('label', { for: id }, `latent ${latent}`, element('small', { 'data-kl': kl[latent], 'data-sigma': sigma[latent] }, about)),
      input, told);
  }

  numbers() {
    const head = ['latent', 'μ', 'σ', 'KL (nats)'].map((name) => element('th', { scope: 'col' }, name));
    return element('details', {}, element('summary', {}, 'in numbers'),
      element('table', {}, element('thead', {}, element('tr', {}, ...head)), this.table));
  }

  /* Another state of the run, on the same image; the sliders follow its code, unless somebody has moved them. */
  choose(state) {
    const moved = this.code && this.z.some((value, latent) => Math.abs(value - this.code.mu[latent]) > 1e-6), z = this.z;
    this.state = state;
    this.rows();
    if (this.input) this.show(this.input);
    if (moved || !this.input) this.setCode(z);
    this.pad.redraw();
  }

  /* An image as the likelihood observes it. */
  show(pixels) {
    this.input = pixels;
    this.code = this.state.encode(pixels);
    this.original.show(pixels);
    this.rebuilt.show(this.state.decode(this.code.mu));
    this.bars.replaceChildren(bars(this.code, this.state.order.slice(0, MOST_BARS)));
    this.table.replaceChildren(...this.state.order.map((latent) => this.row(latent)));
    this.setCode(this.code.mu);
  }

  row(latent) {
    const { mu, sigma, kl } = this.code, cell = (value) => element('td', { 'data-value': value }, shown(value, 4));
    return element('tr', { 'data-latent': latent }, element('th', { scope: 'row' }, String(latent)),
      cell(mu[latent]), cell(sigma[latent]), cell(kl[latent]));
  }

  setCode(z) {
    this.z = Float32Array.from(z);
    this.changed();
  }

  reset() { this.setCode(this.code ? this.code.mu : new Float32Array(this.state.latents)); }

  random() {
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    this.setCode(Float32Array.from(this.z, () => +this.heat.value * normal()));
  }

  /* Draws once a frame, however often it is called. */
  changed() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  draw() {
    const started = performance.now();
    this.decoded.show(this.state.decode(this.z));
    for (const [latent, { input, told }] of this.sliders) {
      if (Math.abs(input.value - this.z[latent]) > 0.006) {
        const reach = Math.max(REACH, Math.ceil(Math.abs(this.z[latent])));
        input.min = -reach;
        input.max = reach;
        input.value = this.z[latent];
      }
      told.textContent = shown(this.z[latent]);
    }
    this.pad.mark();
    this.element.dataset.frame = performance.now() - started;
  }
}
