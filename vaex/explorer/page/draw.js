/* Pixels on canvases, small charts as SVG, and elements made of text: nothing from the data is ever markup. */
'use strict';

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, '');
    else if (value !== false && value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function vector(name, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shown(value, digits = 2) {
  return Number.isFinite(value) ? value.toFixed(digits).replace('-', '−') : '–';
}

/* A figure with a canvas that shows an image of the data's shape: pixels, or lines over the columns. */
function picture(data, label, name) {
  const [height, width] = data.shape;
  const canvas = element('canvas', { role: 'img', 'aria-label': label, class: data.look.lines ? 'lines' : 'pixels' });
  canvas.width = data.look.lines ? 240 : width;
  canvas.height = data.look.lines ? 120 : height;
  const figure = element('figure', { 'data-picture': name }, canvas, element('figcaption', {}, label));
  figure.show = (pixels) => { paint(canvas, pixels, data); canvas.pixels = pixels; };
  return figure;
}

function paint(canvas, pixels, data) {
  const context = canvas.getContext('2d'), { black, white, lines } = data.look;
  const shade = (value) => Math.min(1, Math.max(0, (value - black) / (white - black))) || 0;
  const [, width, channels] = data.shape;
  if (lines) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.lineWidth = 2;
    context.strokeStyle = getComputedStyle(canvas).getPropertyValue('--accent');
    context.beginPath();
    for (let column = 0; column < width; column++) {
      const x = width > 1 ? column / (width - 1) * canvas.width : 0;
      context.lineTo(x, (1 - shade(pixels[column * channels])) * (canvas.height - 4) + 2);
    }
    context.stroke();
    return;
  }
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i++) {
    for (let channel = 0; channel < 3; channel++) {
      image.data[4 * i + channel] = 255 * shade(pixels[i * channels + (channels === 3 ? channel : 0)]) + 0.5;
    }
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/* μ ± σ of some latents as bars from 0, in their order; what lies beyond ±3.5 is cut off. */
function bars(code, kept) {
  const step = 22, height = 120, reach = 3.5;
  const y = (value) => height / 2 - Math.max(-reach, Math.min(reach, value)) / reach * (height / 2 - 4);
  const svg = vector('svg', { viewBox: `0 0 ${kept.length * step + 34} ${height + 16}`, role: 'img', class: 'bars' });
  svg.setAttribute('aria-label', 'mean and deviation of each latent');
  svg.append(vector('line', { x1: 28, x2: kept.length * step + 32, y1: y(0), y2: y(0), class: 'axis' }));
  for (const value of [-3, 0, 3]) {
    svg.append(vector('text', { x: 22, y: y(value) + 4, 'text-anchor': 'end' }, shown(value, 0)));
  }
  kept.forEach((latent, place) => {
    const x = 28 + (place + 0.5) * step, { mu, sigma } = code;
    const top = Math.min(y(0), y(mu[latent]));
    svg.append(vector('rect', { x: x - 6, width: 12, y: top, height: Math.abs(y(0) - y(mu[latent])), class: 'bar' }));
    svg.append(vector('line', { x1: x, x2: x, y1: y(mu[latent] - sigma[latent]), y2: y(mu[latent] + sigma[latent]), class: 'whisker' }));
    svg.append(vector('text', { x, y: height + 12, 'text-anchor': 'middle' }, String(latent)));
  });
  return svg;
}

const SERIES = ['train/elbo', 'valid/elbo'];

/* The ELBO of each epoch of all runs, and a line at the chosen epoch of each. */
function curves(runs, chosen) {
  const width = 640, height = 220, left = 66, bottom = 24;
  const values = runs.flatMap((run) => SERIES.flatMap((name) => run.curves[name] || [])).filter(Number.isFinite);
  const sorted = [...values].sort((a, b) => a - b), low = sorted[Math.floor(sorted.length * 0.02)], high = sorted.at(-1);
  const epochs = Math.max(2, ...runs.map((run) => run.epochs)), span = high - low || 1;
  const x = (epoch) => left + (epoch - 1) / (epochs - 1) * (width - left - 8);
  const y = (value) => 8 + (1 - Math.max(-0.03, (value - low) / span)) * (height - bottom - 16);
  const svg = vector('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', class: 'curves' });
  svg.setAttribute('aria-label', 'ELBO of each epoch');
  if (!values.length) return svg;
  for (const value of [low, (low + high) / 2, high]) {
    svg.append(vector('line', { x1: left, x2: width - 8, y1: y(value), y2: y(value), class: 'grid' }));
    svg.append(vector('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, shown(value, Math.abs(value) < 1000 ? 1 : 0)));
  }
  for (const epoch of new Set([1, Math.max(1, ...runs.map((run) => run.epochs))])) {
    svg.append(vector('text', { x: x(epoch), y: height - 6, 'text-anchor': epoch === 1 ? 'start' : 'end' }, `epoch ${epoch}`));
  }
  runs.forEach((run, number) => {
    for (const name of SERIES) {
      const points = (run.curves[name] || []).map((value, i) => (Number.isFinite(value) ? `${x(i + 1)},${y(value)}` : null));
      svg.append(vector('polyline', { points: points.filter(Boolean).join(' '), class: `run${number} ${name.split('/')[0]}` }));
    }
    svg.append(vector('line', { x1: x(chosen[number]), x2: x(chosen[number]), y1: 4, y2: height - bottom, class: `run${number} now` }));
  });
  return svg;
}
