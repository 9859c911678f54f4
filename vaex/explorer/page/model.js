/* What the page holds, unpacked: runs with their states, each an encoder and a decoder; test images. */
'use strict';

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fromHalf(half) {
  const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, mantissa = half & 1023;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (exponent ? (1024 + mantissa) * 2 ** (exponent - 25) : mantissa * 2 ** -24);
}

const BYTES = { bool: 1, uint8: 1, float16: 2, float24: 3, float32: 4 };

/* `count` numbers of a form, from a place in bytes, as Float32Array; uint8 is 0 to 1. */
function numbers(bytes, start, count, form) {
  const found = new Float32Array(count), view = new DataView(bytes.buffer, bytes.byteOffset + start);
  for (let i = 0; i < count; i++) {
    if (form === 'float16') found[i] = fromHalf(view.getUint16(2 * i, true));
    else if (form === 'float32') found[i] = view.getFloat32(4 * i, true);
    else if (form === 'float24') {
      bits.setUint32(0, (view.getUint8(3 * i + 2) << 24 | view.getUint8(3 * i + 1) << 16 | view.getUint8(3 * i) << 8) >>> 0);
      found[i] = bits.getFloat32(0);
    } else found[i] = form === 'uint8' ? view.getUint8(i) / 255 : view.getUint8(i);
  }
  return found;
}

async function constantsOf({ places, bytes }) {
  const content = await unpacked(bytes), found = Object.create(null);
  let start = 0;
  for (const { name, shape, form } of places) {
    const count = size(shape);
    found[name] = array(shape, numbers(content, start, count, form));
    start += count * BYTES[form];
  }
  return found;
}

/* One state of a run: encode an image (observed as the likelihood does), decode a code. */
class State {
  constructor(plain, encoder, decoder, mu, images, data) {
    Object.assign(this, { epoch: plain.epoch, kl: plain.kl, sigma: plain.sigma, active: plain.active });
    Object.assign(this, { graphs: plain.graphs, encoder, decoder, mu, images, data });
    this.latents = plain.kl.length;
    this.order = plain.kl.map((_, latent) => latent).sort((a, b) => (plain.kl[b] ?? -1) - (plain.kl[a] ?? -1));
  }

  encode(pixels) {
    const x = array([1, ...this.data.shape], pixels), found = runGraph(this.graphs.encoder, this.encoder, { x });
    return { mu: found.mu.data, sigma: found.sigma.data, kl: found.kl.data };
  }

  decode(z) {
    return runGraph(this.graphs.decoder, this.decoder, { z: array([1, this.latents], Float32Array.from(z)) }).x.data;
  }

  image(number) {
    const pixels = size(this.data.shape);
    return this.images && this.images.subarray(number * pixels, (number + 1) * pixels);
  }

  meanOf(number) { return this.mu.subarray(number * this.latents, (number + 1) * this.latents); }
}

async function stateOf(plain, data, images) {
  const [encoder, decoder] = await Promise.all(['encoder', 'decoder'].map((part) => constantsOf(plain.constants[part])));
  const mu = numbers(await unpacked(plain.mu), 0, data.scattered * plain.kl.length, 'float32');
  return new State(plain, encoder, decoder, mu, images, data);
}

async function imagesOf({ bytes, form }, data) {
  return numbers(await unpacked(bytes), 0, data.count * size(data.shape), form);
}

/* Pixels that somebody brings, as the run's likelihood observes them. */
function observed(pixels, binarize) {
  if (binarize === 'threshold') return pixels.map((value) => (value >= 0.5 ? 1 : 0));
  if (binarize === 'stochastic') return pixels.map((value) => (Math.random() < value ? 1 : 0));
  return pixels;
}
