/* Where images come from: the test images, a file, the mouse. Each goes to all runs; between two a slider. */
'use strict';

class Input {
  constructor(data, views) {
    Object.assign(this, { data, views, first: null, second: null });
    this.status = element('p', { 'aria-live': 'polite', class: 'facts', 'data-status': '' });
    this.element = element('section', { id: 'input' }, element('h2', {}, 'An image'));
    const panels = [data.count && this.tests(), ...(data.pictures ? [this.files(), this.drawing()] : [])];
    this.element.append(element('div', { class: 'sources' }, ...panels.filter(Boolean)), this.status, this.between(),
      element('p', { class: 'why' }, 'Whatever you choose is encoded and decoded again, by every run on this page. What the '
        + 'model has never seen, a drawing of yours, comes back as the nearest thing that it knows.', this.drawn()));
  }

  /* What the likelihood does to pixels before the encoder sees them. */
  drawn() {
    const kinds = new Set(this.views.map(({ run }) => run.binarize));
    if (kinds.has('stochastic')) return ' The pixels that the encoder sees are drawn, 0 or 1, with the image’s greys as probabilities.';
    return kinds.has('threshold') ? ' The encoder sees pixels of 0 and 1: those from ½ are 1.' : '';
  }

  /* Pixels as they are in the data, or a test image by its number, to every run. */
  give(pixels, number, told) {
    this.asked = (this.asked || 0) + 1;
    for (const view of this.views) {
      view.show(number === undefined ? observed(pixels, view.run.binarize) : view.state.image(number));
    }
    this.status.textContent = told;
    this.way.disabled = !this.second;
    this.way.value = 0;
  }

  test(number) {
    const chosen = Math.min(this.data.count - 1, Math.max(0, Math.round(number) || 0)), labels = this.data.labels;
    this.number.value = chosen;
    for (const button of this.strip.children) button.setAttribute('aria-pressed', button.dataset.number === String(chosen));
    const told = labels.map(({ name, values, of }) => `${name} ${values[of[chosen]]}`).join(', ');
    this.give(null, chosen, `test image ${chosen}${told && `: ${told}`}`);
  }

  tests() {
    const { count } = this.data, last = count - 1;
    this.number = element('input', { type: 'number', id: 'number', min: 0, max: last, value: 0, onchange: () => this.test(+this.number.value) });
    this.strip = element('div', { class: 'strip' });
    for (let number = 0; number < Math.min(count, 20); number++) {
      const small = picture(this.data, `test image ${number}`, 'thumbnail');
      small.show(this.views[0].state.image(number));
      this.strip.append(element('button', { type: 'button', 'data-number': number, 'aria-label': `test image ${number}`,
        onclick: () => this.test(number) }, small.firstChild));
    }
    return element('div', {}, element('h3', {}, 'A test image'), this.strip,
      element('p', { class: 'field' }, element('label', { for: 'number' }, `number, 0 to ${last}`), this.number));
  }

  files() {
    const chosen = element('input', { type: 'file', id: 'file', accept: 'image/*', onchange: () => {
      this.read(chosen.files[0]);
      chosen.value = '';  // so that the same file can be chosen again
    } });
    const drop = element('div', { class: 'drop' }, element('label', { for: 'file' }, 'Drop a picture here, or choose one'), chosen);
    for (const name of ['dragenter', 'dragover']) {
      drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add('over'); });
    }
    for (const name of ['dragover', 'drop']) window.addEventListener(name, (event) => event.preventDefault());
    drop.addEventListener('dragleave', () => drop.classList.remove('over'));
    drop.addEventListener('drop', (event) => {
      event.preventDefault();
      drop.classList.remove('over');
      this.read(event.dataTransfer.files[0]);
    });
    return element('div', {}, element('h3', {}, 'A file of yours'), drop);
  }

  async read(file) {
    if (!file) return;
    const asked = this.asked;
    let picture;
    try {
      picture = await createImageBitmap(file);
    } catch {
      this.status.textContent = `${file.name}: not a picture that this browser can read`;
      return;
    }
    const [height, width] = this.data.shape, canvas = document.createElement('canvas');
    Object.assign(canvas, { width, height });
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(picture, 0, 0, width, height);
    const image = context.getImageData(0, 0, width, height);
    if (image.data.some((value, place) => place % 4 === 3 && value < 255)) {
      this.status.textContent = `${file.name}: has transparent pixels, and nothing says what is behind them`;
    } else if (asked === this.asked) {  // nothing else was chosen meanwhile
      this.give(this.pixelsOf(image, 1), undefined, file.name);
    }
  }

  /* The means of squares of `scale` pixels, in the data's range and channels. */
  pixelsOf(image, scale) {
    const [height, width, channels] = this.data.shape, { black, white } = this.data.look;
    const pixels = new Float32Array(height * width * channels), weights = [0.299, 0.587, 0.114];
    for (let y = 0; y < height * scale; y++) {
      for (let x = 0; x < width * scale; x++) {
        const from = 4 * (y * width * scale + x), to = (Math.floor(y / scale) * width + Math.floor(x / scale)) * channels;
        for (let channel = 0; channel < 3; channel++) {
          const share = image.data[from + channel] / 255 / scale ** 2;
          if (channels === 3) pixels[to + channel] += share;
          else pixels[to] += weights[channel] * share;
        }
      }
    }
    return pixels.map((value) => black + (white - black) * value);
  }

  drawing() {
    const [height, width, channels] = this.data.shape, scale = Math.max(1, Math.floor(280 / Math.max(height, width)));
    const canvas = element('canvas', { class: 'drawing', id: 'drawing', role: 'img', 'aria-label': 'draw here' });
    Object.assign(canvas, { width: width * scale, height: height * scale });
    const context = canvas.getContext('2d', { willReadFrequently: true }), ground = this.ground();
    const color = element('input', { type: 'color', id: 'brush', value: ground === '#000000' ? '#ffffff' : '#000000' });
    const clear = () => { context.fillStyle = ground; context.fillRect(0, 0, canvas.width, canvas.height); };
    clear();
    let before = null;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width * canvas.width, (event.clientY - box.top) / box.height * canvas.height];
    };
    const stroke = (event) => {
      const [x, y] = at(event);
      Object.assign(context, { strokeStyle: color.value, lineCap: 'round', lineJoin: 'round', lineWidth: Math.max(scale * 2.2, canvas.width / 14) });
      context.beginPath();
      context.moveTo(...(before || [x, y]));
      context.lineTo(x, y + 0.01);
      context.stroke();
      before = [x, y];
      if (!this.waiting) {
        this.waiting = true;
        requestAnimationFrame(() => {
          this.waiting = false;
          this.give(this.pixelsOf(context.getImageData(0, 0, canvas.width, canvas.height), scale), undefined, 'your drawing');
        });
      }
    };
    let held = false;
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      held = true;
      before = null;
      stroke(event);
    });
    canvas.addEventListener('pointermove', (event) => { if (held) stroke(event); });
    for (const name of ['pointerup', 'pointercancel']) canvas.addEventListener(name, () => { held = false; });
    const brush = channels === 3 ? [element('span', { class: 'field' }, element('label', { for: 'brush' }, 'brush'), color)] : [];
    return element('div', {}, element('h3', {}, 'Draw one'), canvas,
      element('p', { class: 'buttons' }, element('button', { type: 'button', onclick: clear }, 'Clear'), ...brush));
  }

  /* Black or white: whatever the corners of the test images mostly are. */
  ground() {
    const { shape, look } = this.data, state = this.views[0].state, count = Math.min(this.data.count, 50);
    if (!state.images) return '#000000';
    let sum = 0;
    for (let number = 0; number < count; number++) sum += state.image(number)[0];
    return (sum / count - look.black) / (look.white - look.black) > 0.5 ? '#ffffff' : '#000000';
  }

  between() {
    this.way = element('input', { type: 'range', id: 'way', min: 0, max: 1, step: 0.01, value: 0, disabled: true,
      oninput: () => this.walk(+this.way.value) });
    const keep = element('button', { type: 'button', 'data-do': 'keep', onclick: () => this.keep() }, 'Keep this one to go to');
    this.kept = element('output', { for: 'way' }, 'nothing kept yet');
    return element('p', { class: 'buttons' }, keep,
      element('span', { class: 'field wide' }, element('label', { for: 'way' }, 'from the image to the kept one'), this.way, this.kept));
  }

  keep() {
    if (!this.views[0].input) return;
    this.second = this.views.map((view) => view.input);
    this.kept.textContent = `kept: ${this.status.textContent}`;
    this.way.disabled = false;
    this.way.value = 0;
  }

  walk(share) {
    this.views.forEach((view, index) => {
      const { mu } = view.state.encode(this.second[index]);
      view.setCode(view.code.mu.map((value, latent) => (1 - share) * value + share * mu[latent]));
    });
  }
}
