/* Runs a graph of plain operations on Float32Arrays: what vaex/portable/interpreter.py does in NumPy.
   An array is {shape, data}; true and false are 1 and 0. */
'use strict';

function size(shape) { return shape.reduce((product, length) => product * length, 1); }

function array(shape, data) { return { shape, data: data || new Float32Array(size(shape)) }; }

function strides(shape) {
  const found = new Array(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) { found[axis] = step; step *= shape[axis]; }
  return found;
}

/* For each place of an array of `shape`, in order, the places given by strides and starts of others. */
function walk(shape, steps, visit) {
  const index = new Array(shape.length).fill(0), places = new Array(steps.length).fill(0), count = size(shape);
  for (let flat = 0; flat < count; flat++) {
    visit(flat, places);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]++;
      for (let k = 0; k < steps.length; k++) places[k] += steps[k][axis];
      if (index[axis] < shape[axis]) break;
      for (let k = 0; k < steps.length; k++) places[k] -= steps[k][axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

/* NumPy's broadcasting: the common shape, and of each array its steps in it, 0 along what is repeated. */
function broadcast(arrays) {
  const rank = Math.max(...arrays.map((each) => each.shape.length));
  const padded = arrays.map((each) => [...new Array(rank - each.shape.length).fill(1), ...each.shape]);
  const shape = padded[0].map((_, axis) => padded.reduce((most, each) => (each[axis] === 1 ? most : each[axis]), 1));
  const steps = padded.map((each) => strides(each).map((step, axis) => (each[axis] === 1 ? 0 : step)));
  return { shape, steps };
}

function sameShape(a, b) { return a.length === b.length && a.every((length, axis) => length === b[axis]); }

function unary(apply) {
  return (each, batch, x) => array(x.shape, Float32Array.from(x.data, apply));
}

function binary(apply) {
  return (each, batch, a, b) => {
    if (sameShape(a.shape, b.shape)) {
      const out = array(a.shape);
      for (let i = 0; i < out.data.length; i++) out.data[i] = apply(a.data[i], b.data[i]);
      return out;
    }
    const { shape, steps } = broadcast([a, b]), out = array(shape);
    walk(shape, steps, (flat, places) => { out.data[flat] = apply(a.data[places[0]], b.data[places[1]]); });
    return out;
  };
}

function select(each, batch, condition, a, b) {
  const { shape, steps } = broadcast([condition, a, b]), out = array(shape);
  walk(shape, steps, (flat, [c, i, j]) => { out.data[flat] = condition.data[c] ? a.data[i] : b.data[j]; });
  return out;
}

function matmul(each, batch, x, matrix) {
  const [inner, width] = matrix.shape, rows = size(x.shape) / inner, w = matrix.data;
  const out = array([...x.shape.slice(0, -1), width]), sums = new Float64Array(width);
  for (let row = 0; row < rows; row++) {
    sums.fill(0);
    for (let k = 0; k < inner; k++) {
      const value = x.data[row * inner + k];
      if (value === 0) continue;  // weights are finite
      for (let column = 0, at = k * width; column < width; column++, at++) sums[column] += value * w[at];
    }
    out.data.set(sums, row * width);
  }
  return out;
}

function whole(each, batch) { return each.shape.map((length) => (length === -1 ? batch : length)); }

function expand(each, batch, x) {
  const shape = whole(each, batch), out = array(shape);
  const padded = [...new Array(shape.length - x.shape.length).fill(1), ...x.shape];
  const steps = strides(padded).map((step, axis) => (padded[axis] === 1 ? 0 : step));
  walk(shape, [steps], (flat, [place]) => { out.data[flat] = x.data[place]; });
  return out;
}

function transpose(each, batch, x) {
  const steps = strides(x.shape), out = array(each.permutation.map((axis) => x.shape[axis]));
  walk(out.shape, [each.permutation.map((axis) => steps[axis])], (flat, [place]) => { out.data[flat] = x.data[place]; });
  return out;
}

function slice(each, batch, x) {
  const steps = strides(x.shape), limits = each.limits.map((limit, axis) => (limit === -1 ? x.shape[axis] : limit));
  const out = array(limits.map((limit, axis) => Math.ceil((limit - each.starts[axis]) / each.strides[axis])));
  const first = each.starts.reduce((sum, start, axis) => sum + start * steps[axis], 0);
  walk(out.shape, [steps.map((step, axis) => step * each.strides[axis])], (flat, [place]) => {
    out.data[flat] = x.data[first + place];
  });
  return out;
}

function pad(each, batch, x, value) {
  const out = array(x.shape.map((length, axis) => each.low[axis] + length + each.high[axis]));
  out.data.fill(value.data[0]);
  const steps = strides(out.shape), first = each.low.reduce((sum, low, axis) => sum + low * steps[axis], 0);
  walk(x.shape, [steps], (flat, [place]) => { out.data[first + place] = x.data[flat]; });
  return out;
}

function concatenate(each, batch, ...arrays) {
  const axis = each.axis, shape = [...arrays[0].shape];
  shape[axis] = arrays.reduce((sum, one) => sum + one.shape[axis], 0);
  const out = array(shape), outer = size(shape.slice(0, axis)), inner = size(shape.slice(axis + 1));
  let before = 0;
  for (const one of arrays) {
    const run = one.shape[axis] * inner;
    for (let row = 0; row < outer; row++) {
      out.data.set(one.data.subarray(row * run, (row + 1) * run), row * shape[axis] * inner + before);
    }
    before += run;
  }
  return out;
}

function reduce(start, combine) {
  return (each, batch, x) => {
    const kept = x.shape.map((length, axis) => (each.axes.includes(axis) ? 1 : length));
    const steps = strides(kept).map((step, axis) => (each.axes.includes(axis) ? 0 : step));
    const sums = new Float64Array(size(kept)).fill(start);
    walk(x.shape, [steps], (flat, [place]) => { sums[place] = combine(sums[place], x.data[flat]); });
    return array(x.shape.filter((_, axis) => !each.axes.includes(axis)), Float32Array.from(sums));
  };
}

const bits = new DataView(new ArrayBuffer(4));

/* The nearest value of a format with so many bits of mantissa, the even one of two. */
function toBfloat16(value) {
  if (Number.isNaN(value)) return value;
  bits.setFloat32(0, value);
  const raw = bits.getUint32(0);
  bits.setUint32(0, ((raw + 0x7fff + ((raw >>> 16) & 1)) & 0xffff0000) >>> 0);
  return bits.getFloat32(0);
}

function toFloat16(value) {
  const magnitude = Math.abs(value);
  if (!Number.isFinite(value) || magnitude === 0) return value;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14), unit = 2 ** (exponent - 10), share = value / unit;
  const low = Math.floor(share), rest = share - low;
  const nearest = rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
  return Math.abs(nearest * unit) > 65504 ? Math.sign(value) * Infinity : nearest * unit;
}

function round(each, batch, x) {
  return array(x.shape, Float32Array.from(x.data, each.to === 'float16' ? toFloat16 : toBfloat16));
}

function logistic(x) { const small = Math.exp(-Math.abs(x)); return (x < 0 ? small : 1) / (1 + small); }

/* erf to 1e-7: its series where it converges quickly, else erfc's continued fraction. */
function erf(x) {
  const magnitude = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (magnitude > 6) return Math.sign(x);
  if (magnitude < 2.5) {
    let term = x, sum = x;
    for (let n = 1; n < 60; n++) { term *= -x * x / n; sum += term / (2 * n + 1); }
    return sum * 2 / Math.sqrt(Math.PI);
  }
  let tail = 0;
  for (let n = 60; n > 0; n--) tail = n / 2 / (magnitude + tail);
  return Math.sign(x) * (1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / (magnitude + tail));
}

const OPERATIONS = {
  neg: unary((x) => -x), abs: unary(Math.abs), sign: unary(Math.sign), exp: unary(Math.exp), expm1: unary(Math.expm1),
  log: unary(Math.log), log1p: unary(Math.log1p), sqrt: unary(Math.sqrt), rsqrt: unary((x) => 1 / Math.sqrt(x)),
  tanh: unary(Math.tanh), logistic: unary(logistic), erf: unary(erf), floor: unary(Math.floor),
  is_finite: unary((x) => +Number.isFinite(x)), not: unary((x) => +!x),
  add: binary((a, b) => a + b), sub: binary((a, b) => a - b), mul: binary((a, b) => a * b), div: binary((a, b) => a / b),
  max: binary((a, b) => Math.max(a, b)), min: binary((a, b) => Math.min(a, b)), pow: binary((a, b) => a ** b),
  greater: binary((a, b) => +(a > b)), greater_equal: binary((a, b) => +(a >= b)), less: binary((a, b) => +(a < b)),
  less_equal: binary((a, b) => +(a <= b)), equal: binary((a, b) => +(a === b)), not_equal: binary((a, b) => +(a !== b)),
  and: binary((a, b) => +(a && b)), or: binary((a, b) => +(a || b)),
  select, matmul, expand, transpose, slice, pad, concatenate, round,
  reshape: (each, batch, x) => array(whole(each, batch), x.data),
  sum: reduce(0, (sum, value) => sum + value), maximum: reduce(-Infinity, (most, value) => Math.max(most, value)),
};

/* The outputs of a graph for inputs of one batch, by name. */
function runGraph(graph, constants, inputs) {
  const known = Object.assign(Object.create(null), constants, inputs), batch = Object.values(inputs)[0].shape[0];
  for (const each of graph.operations) {
    known[each.output] = OPERATIONS[each.name](each, batch, ...each.inputs.map((name) => known[name]));
  }
  return Object.fromEntries(Object.entries(graph.outputs).map(([name, source]) => [name, known[source]]));
}
