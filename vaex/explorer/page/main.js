/* The page: unpack, then a view a run, side by side, on one input. */
'use strict';

/* Why there is nothing to scrub. */
function kept(run) {
  return run.left_out ? `one state in this page; ${run.left_out} earlier ones were kept (vaex explore --states)` : 'one state';
}

function training(data, views, states) {
  const chart = element('div', { class: 'holder' }), chosen = views.map((view) => view.state.epoch);
  const redraw = () => chart.replaceChildren(curves(data.runs, chosen));
  const scrubbers = views.map((view, index) => {
    const own = states[index];
    if (own.length < 2) return element('p', { class: 'facts' }, `${nameOf(view.run)}: ${kept(view.run)}`);
    const id = `state${index}`, told = element('output', { for: id }, `epoch ${own.at(-1).epoch}`);
    const input = element('input', { type: 'range', id, min: 0, max: own.length - 1, step: 1, value: own.length - 1, oninput: () => {
      const state = own[+input.value];
      chosen[index] = state.epoch;
      told.textContent = `epoch ${state.epoch}`;
      view.choose(state);
      redraw();
    } });
    const left = view.run.left_out ? ` (${view.run.left_out} more checkpoints are not in this page)` : '';
    return element('p', { class: 'field wide' }, element('label', { for: id },
      element('span', { class: `swatch run${index}` }), `${nameOf(view.run)}: state`), input, told, left);
  });
  redraw();
  return element('section', { id: 'training' }, element('h2', {}, 'Training'), chart, ...scrubbers,
    element('p', { class: 'why' }, 'The ELBO of each epoch, in nats per image: thin lines on the images that were trained on, thick '
      + 'ones on images held back. Where a run kept several states, the slider shows the pictures of an earlier one.'));
}

function words(data) {
  const parts = data.runs.map((run) => element('div', {}, element('h3', {}, nameOf(run)), element('pre', {}, run.about)));
  return element('section', { id: 'words' }, element('h2', {}, 'What the encoder’s second answer means'),
    element('p', {}, 'A variational autoencoder is trained to make ELBO = E[log p(x|z)] − KL large: images that can be rebuilt from '
      + 'codes that stay near N(0, 1). With K latents the KL is a sum over them: by Eq. 17-3 of Géron’s book, where the network '
      + 'answers with σ itself, KL = −½ Σ [1 + log σ² − σ² − μ²]; by Eq. 17-4, where it answers with γ = log σ², '
      + 'KL = −½ Σ [1 + γ − exp γ − μ²]. The same number, from another quantity: σ may come out negative or 0, where log σ² and '
      + 'its slope have no bound; γ may be anything, and exp γ is always positive. That is why γ trains more smoothly.'),
    ...parts);
}

/* How far the page's numbers may be from those of the run. */
function exactness(run) {
  const { form, error } = run.states.at(-1), steps = { bfloat16: '1/32', float16: '1/256' };
  const low = run.precision.map((name) => `; it computes in ${name}, whose numbers agree within ${steps[name]} of the largest`);
  return `${nameOf(run)}: weights as ${form}, which changes no number of ${run.checked} test images by more than ${error.toExponential(0)}${low.join('')}.`;
}

async function main() {
  const data = JSON.parse(document.getElementById('data').textContent), root = document.querySelector('main');
  if (typeof DecompressionStream === 'undefined') {
    root.append(element('p', {}, 'This browser cannot unpack the page; one of 2023 or later can.'));
    return;
  }
  const images = await Promise.all(data.images.map((each) => imagesOf(each, data)));
  const unpackAll = (run) => Promise.all(run.states.map((state) => stateOf(state, data, images[run.images] || null)));
  const states = await Promise.all(data.runs.map(unpackAll));
  const views = data.runs.map((run, index) => new View(run, states[index], data, index));
  const input = new Input(data, views);
  root.replaceChildren(input.element, element('div', { class: `runs of${Math.min(views.length, 3)}` }, ...views.map((view) => view.element)),
    training(data, views, states), words(data));
  if (data.count) input.test(0);
  document.querySelector('footer').append(...data.runs.map((run) => element('p', {}, exactness(run))));
  document.body.dataset.ready = 'yes';
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    views.forEach((view) => { view.pad.redraw(); view.changed(); });
  });
}

main().catch((error) => document.querySelector('main').replaceChildren(`This page could not be shown here: ${error.message}`));
