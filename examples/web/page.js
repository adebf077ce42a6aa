'use strict';
(function () {
const $ = id => document.getElementById(id);
const NS = 'http://www.w3.org/2000/svg';

/* ---- settings ---- */

const ACTIVATIONS = ['shifted-tanh', 'tanh', 'erf', 'sigmoid', 'shifted-sigmoid', 'softplus', 'gelu', 'silu', 'relu',
  'sine', 'cubic', 'hermite'];
const TARGETS = ['linear', 'he2', 'he3', 'he4', 'sign', 'tanh', 'sin', 'relu', 'square', 'wave', 'step3', 'step4',
  'product2', 'product3', 'sign-product3', 'staircase', 'he4-sign-product3', 'hermite'];
const DEFAULTS = { neurons: '512', inputs: '512', samples: '1024', alpha1: '0.4', alpha2: '0.4', scale1: '1', scale2: '2',
  activation: 'shifted-tanh', activationc: '0,1,0.5', target: 'linear', targetc: '0,0,1', noise: '0', batches: 'both',
  init: 'sphere', output: 'mean-field', seed: '1', what: 'all', build: 'auto' };
const PRESETS = {
  question: { neurons: '600', inputs: '600', samples: '3000', alpha1: '0.45', alpha2: '0.45', scale2: '2', target: 'step4' },
  linear: {},
  limit: { neurons: '1e12', inputs: '1e12', samples: '2e12', alpha1: '0.3', alpha2: '0.4', scale2: '1', what: 'theory' }
};
const NAMES = Object.keys(DEFAULTS);
/* Which field an option of the command belongs to. */
const FIELD_OF = { 'output-scale': 'output', kernel: 'build' };

function readFields() {
  const state = {};
  for (const name of NAMES) state[name] = $(name).value.trim();
  return state;
}

function showFields(state) {
  for (const name of NAMES) {
    if ($(name).tagName === 'SELECT' && ![...$(name).options].some(o => o.value === state[name])) continue;
    $(name).value = state[name];
  }
  fieldsChanged();
}

function fromFragment() {
  const state = Object.assign({}, DEFAULTS), given = new URLSearchParams(location.hash.slice(1));
  for (const name of NAMES) if (given.has(name)) state[name] = given.get(name);
  return state;
}

function toFragment(state) {
  const given = new URLSearchParams();
  for (const name of NAMES) if (state[name] !== DEFAULTS[name]) given.set(name, state[name]);
  const text = given.toString();
  history.replaceState(null, '', location.href.split('#')[0] + (text ? '#' + text : ''));
}

/* The settings as arguments of the command. */
function optionsOf(state) {
  const spelled = name => state[name] === 'hermite' ? 'hermite:' + state[name + 'c'] : state[name];
  const words = [];
  for (const name of ['neurons', 'inputs', 'samples', 'alpha1', 'alpha2', 'scale1', 'scale2', 'noise', 'init', 'seed'])
    words.push('--' + name + '=' + state[name]);
  words.push('--activation=' + spelled('activation'), '--target=' + spelled('target'), '--output-scale=' + state.output);
  return words;
}

/* ---- small helpers ---- */

const escape = text => String(text).replace(/[&<>"]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);
const short = (x, digits) => Number(x).toFixed(digits === undefined ? 3 : digits);
const plural = (count, word) => count + ' ' + word + (count === 1 ? '' : 's');
const TITLES = { initial: 'W₀', 'one-step': 'W₁, one step', 'two-steps-fresh': 'W₂, fresh batch',
  'two-steps-reuse': 'W₂, reused batch' };

/* ---- the workers: jobs wait in a queue until one is free ---- */

function bytesOf(id) {
  const text = atob($(id).textContent.trim()), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}
const programs = {}; /* compiled modules by name */
const MOST_WORKERS = Math.max(1, Math.min(3, navigator.hardwareConcurrency || 2));
let workers = [], queue = [], jobs = 0;

async function programFor(build) {
  const name = build === 'plain' || programs.refused ? 'plain' : 'simd';
  try {
    if (!programs[name]) programs[name] = await WebAssembly.compile(bytesOf('program-' + name));
  } catch (error) {
    if (name === 'plain') throw error;
    programs.refused = true; /* a browser without SIMD */
    return programFor('plain');
  }
  return programs[name];
}

/* Idle workers stay for the next run. */
function stopWorkers() {
  const stopped = workers.map(w => w.job).concat(queue);
  workers.forEach(w => { if (w.job) w.worker.terminate(); });
  workers = workers.filter(w => !w.job);
  queue = [];
  for (const job of stopped) if (job) job.reject(new Error('cancelled'));
}

function startWorker() {
  const worker = new Worker(URL.createObjectURL(new Blob([$('worker').textContent], { type: 'text/javascript' })));
  const mine = { worker, job: null };
  worker.onmessage = event => {
    const job = mine.job, message = event.data;
    if (!job || message.id !== job.id) return;
    if ('line' in message) job.onLine(message.line);
    else {
      mine.job = null;
      job.resolve(message);
      nextJobs();
    }
  };
  worker.onerror = event => {
    worker.terminate();
    workers = workers.filter(w => w !== mine);
    if (mine.job) mine.job.reject(new Error(event.message || 'the worker failed'));
    nextJobs();
  };
  workers.push(mine);
  return mine;
}

function nextJobs() {
  while (queue.length) {
    const most = MOST_WORKERS + (queue[0].urgent ? 1 : 0);
    const free = workers.find(w => !w.job) || (workers.length < most ? startWorker() : null);
    if (!free) return;
    free.job = queue.shift();
    free.worker.postMessage({ id: free.job.id, module: free.job.module, words: free.job.words });
  }
}

/* urgent: a moment's work that others wait for; it waits for no free worker. */
function runJob(module, words, onLine, urgent) {
  const done = new Promise((resolve, reject) => queue[urgent ? 'unshift' : 'push'](
    { id: ++jobs, module, words, resolve, reject, urgent, onLine: onLine || (() => {}) }));
  done.catch(() => {}); /* who waits for it hears of it all the same */
  nextJobs();
  return done;
}

/* ---- what a run costs, learned from the runs before ---- */

const speed = { steps: 1.2e10, bulk: 8e9, theory: 0.15 };

function costOf(state) {
  const size = name => Math.min(1e15, Math.max(2, Number(state[name]) || 2)); /* the command judges what is typed */
  const N = size('neurons'), d = size('inputs'), n = size('samples');
  const both = state.batches === 'both', small = Math.min(N, d), large = Math.max(N, d);
  const matrices = both ? 4 : 3;
  const cost = { theory: both ? 2 * speed.theory : speed.theory, stepWork: (both ? 12 : 8) * N * d * n,
    bulkWork: matrices * 4 * small * small * (large - small / 3) };
  if (state.what === 'theory') return { theory: cost.theory, main: 0, bulk: 0, total: cost.theory, stepWork: 0, bulkWork: 0 };
  cost.withBulk = small <= 1600 && small * large <= 8e6; /* all matrices are kept until then */
  cost.main = Math.max(cost.theory, cost.stepWork / speed.steps);
  cost.bulk = cost.withBulk ? cost.bulkWork / speed.bulk : 0;
  cost.total = cost.main + cost.bulk;
  return cost;
}

/* ---- results: one list of cases, whatever the command was ---- */

let shown = null; /* what is on the screen */

function casesOf(answers, state) {
  const cases = [], add = (name, predicted, measured) => cases.push({ name, predicted, measured, values: null, law: null });
  if (answers[0].cases) {
    for (const one of answers[0].cases) add(one.name, one.predicted, one.measured);
    return cases;
  }
  const first = answers[0], measured = step => (first.measured || []).find(m => m.step === step) || null;
  add('initial', null, measured(0));
  add('one-step', first.predicted[0] || null, measured(1));
  for (const answer of answers) add('two-steps-' + answer.config.batches, answer.predicted[1] || null, measured(2));
  return cases;
}

/* ---- drawing: SVG as text, with classes that both the page and a saved file style ---- */

const SVG_STYLE = `text{fill:var(--ink);font:12px system-ui,"DejaVu Sans",sans-serif}
.soft{fill:var(--soft)}.b{font-weight:600}.axis{stroke:var(--soft);fill:none}.grid{stroke:var(--line)}
.bulk{fill:var(--bulk)}.law{stroke:var(--law);stroke-width:1.6;fill:none}.edge{stroke:var(--soft);stroke-dasharray:4 3}
.stem{stroke:var(--out);stroke-width:2}.dash{stroke:var(--out);stroke-dasharray:3 3}.dot{fill:var(--out)}
.ring{fill:var(--paper);stroke:var(--out);stroke-width:2}.chance{stroke:var(--soft);stroke-dasharray:1 3;stroke-width:1.5}`;
/* A saved file holds plain colours, as many programs know no variables. */
const LIGHT = { paper: '#fff', ink: '#1b1f24', soft: '#5a6572', line: '#c9d0d8', bulk: '#a9c9e2', law: '#2b6ca3', out: '#c24e00' };
const DARK = { paper: '#14181d', ink: '#e6eaee', soft: '#9fabb8', line: '#3a444f', bulk: '#33597a', law: '#8fc1ea', out: '#ff9d57' };
const coloured = (style, colours) => style.replace(/var\(--(\w+)\)/g, (all, name) => colours[name]);

const line = (x1, y1, x2, y2, kind) => `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" class="${kind}"/>`;
const label = (x, y, text, anchor, kind) => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor || 'start'}"${kind ? ` class="${kind}"` : ''}>${escape(text)}</text>`;
const diamond = (x, y) => `<path d="M${x.toFixed(1)} ${(y - 6).toFixed(1)}l6 6l-6 6l-6-6z" class="ring"/>`;

/* The density of the singular values of W0 for N/d = c (Marchenko and Pastur). */
function bulkLaw(s, c) {
  const low = Math.abs(1 - Math.sqrt(c)), high = 1 + Math.sqrt(c);
  if (s <= low || s >= high || s <= 0) return 0;
  return Math.sqrt((high * high - s * s) * (s * s - low * low)) / (Math.PI * s * Math.min(1, c));
}

/* Round numbers from low to high, about `wanted` of them. */
function ticks(low, high, wanted) {
  const raw = (high - low) / Math.max(1, wanted), power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw * 0.999), list = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9 * step; t += step) list.push(t);
  return list;
}
const tickText = t => Math.abs(t) >= 1e5 ? t.toExponential(0).replace('+', '') : String(Number(t.toPrecision(6)));

/* One axis for all panels; what lies far beyond the bulk goes to a second, shorter piece. */
function makeAxis(cases, ratio, left, right) {
  let edge = 1 + Math.sqrt(ratio), most = 0;
  for (const c of cases) {
    if (c.predicted) edge = Math.max(edge, c.predicted.edge), most = Math.max(most, ...c.predicted.singular_values, 0);
    if (c.measured) edge = Math.max(edge, c.measured.edge), most = Math.max(most, c.measured.singular_values[0]);
  }
  const near = 1.3 * edge, split = most > near, cut = split ? left + 0.66 * (right - left) : right, gap = split ? 16 : 0;
  const far = [];
  for (const c of cases) {
    const all = (c.measured ? c.measured.singular_values.slice(0, c.measured.outliers) : [])
      .concat(c.predicted ? c.predicted.singular_values : []);
    far.push(...all.filter(s => s > near));
  }
  /* far outliers of very different size want a logarithmic piece */
  const log = split && Math.max(...far) / Math.min(...far) > 8;
  const from = split ? Math.max(near, Math.min(...far) * (log ? 0.7 : 0.9)) : 0, to = split ? Math.max(...far) * (log ? 1.4 : 1.06) : 0;
  const part = s => log ? Math.log(s / from) / Math.log(to / from) : (s - from) / (to - from);
  return { near, split, cut, gap, from, to, log,
    x: s => s <= near || !split ? left + Math.min(s / near, 1) * (cut - left) : cut + gap + part(s) * (right - cut - gap) };
}

function drawPanel(c, axis, ratio, left, right, top, height) {
  const base = top + height, x = axis.x, parts = [];
  const bare = [];
  for (let i = 0; i <= 160; i++) bare.push((1 + Math.sqrt(ratio)) * Math.max(i, 1e-6) / 160);
  const bareLaw = { s: bare, density: bare.map(s => bulkLaw(s, ratio)) }, law = c.name === 'initial' ? bareLaw : c.law;
  const peak = 1.1 * Math.max(0.1, ...[bareLaw, law || bareLaw].flatMap(l => l.density.slice(5)));
  const yDensity = p => base - Math.min(1, p / peak) * (height - 26), yAlign = a => base - a * (height - 26);
  parts.push(label(left, top + 12, TITLES[c.name], 'start', 'b'));
  if (c.values) {
    const bins = 44, width = axis.near / bins, counts = new Array(bins).fill(0);
    for (const s of c.values) if (s < axis.near) counts[Math.min(bins - 1, Math.floor(s / width))]++;
    counts.forEach((count, i) => {
      if (!count) return;
      const y = yDensity(count / c.values.length / width), x0 = x(i * width), x1 = x((i + 1) * width);
      parts.push(`<rect x="${(x0 + 0.4).toFixed(1)}" y="${y.toFixed(1)}" width="${(x1 - x0 - 0.8).toFixed(1)}" height="${(base - y).toFixed(1)}" class="bulk"/>`);
    });
  }
  if (law) parts.push(`<path d="${law.s.map((v, i) => (i ? 'L' : 'M') + x(v).toFixed(1) + ' ' + yDensity(law.density[i]).toFixed(1)).join('')}" class="law"/>`);
  const edge = c.predicted ? c.predicted.edge : c.name === 'initial' ? 1 + Math.sqrt(ratio) : null;
  if (edge) parts.push(line(x(edge), top + 18, x(edge), base, 'edge'), label(x(edge) - 4, top + 28, 'edge ' + short(edge, 2), 'end', 'soft'));
  parts.push(line(left, base, axis.cut, base, 'axis'));
  if (axis.split) parts.push(line(axis.cut + axis.gap, base, right, base, 'axis'), line(axis.cut - 2, base + 4, axis.cut + 2, base - 4, 'axis'),
    line(axis.cut + axis.gap - 2, base + 4, axis.cut + axis.gap + 2, base - 4, 'axis'));
  for (const a of [0.5, 1]) parts.push(label(right + 6, yAlign(a) + 4, String(a), 'start', 'soft'), line(right, yAlign(a), right + 4, yAlign(a), 'axis'));
  parts.push(line(right, yAlign(1), right, base, 'axis'));
  if (c.predicted) c.predicted.singular_values.forEach((s, k) => {
    const a = c.predicted.alignments[k];
    parts.push(`<g><title>predicted: s = ${short(s)}, alignment ${short(a)}</title>`, line(x(s), base, x(s), yAlign(a), 'dash'), diamond(x(s), yAlign(a)), '</g>');
  });
  const labelled = []; /* places of labels: the next one keeps off them */
  if (c.measured) c.measured.singular_values.slice(0, c.measured.outliers).forEach((s, k) => {
    const a = c.measured.alignments[k];
    parts.push(`<g><title>measured: s = ${short(s)}, alignment ${short(a)}</title>`, line(x(s), base, x(s), yAlign(a), 'stem'),
      `<circle cx="${x(s).toFixed(1)}" cy="${yAlign(a).toFixed(1)}" r="4.5" class="dot"/>`);
    const end = x(s) > right - 45;
    let y = Math.max(yAlign(a) - 9, top + 12);
    while (labelled.some(l => Math.abs(l.x - x(s)) < 34 && Math.abs(l.y - y) < 12) && y > top + 24) y -= 4;
    labelled.push({ x: x(s), y });
    if (k < 4) parts.push(label(x(s) + (end ? -4 : 7), y, short(s, s < 100 ? 2 : 0), end ? 'end' : 'start'));
    parts.push('</g>');
  });
  return parts.join('');
}

function drawSpectra(cases, ratio, width) {
  const left = 10, right = width - 34, panel = 128, height = cases.length * panel + 34;
  const axis = makeAxis(cases, ratio, left, right), parts = [];
  cases.forEach((c, i) => parts.push(drawPanel(c, axis, ratio, left, right, i * panel + 2, panel - 14)));
  const base = cases.length * panel - 6, wanted = width < 500 ? 3 : 6;
  for (const t of ticks(0, axis.near, wanted)) parts.push(label(axis.x(t), base + 10, tickText(t), 'middle', 'soft'));
  if (axis.split) {
    const marks = axis.log ? [axis.from * Math.pow(axis.to / axis.from, 0.15), axis.from * Math.pow(axis.to / axis.from, 0.85)].map(t => Number(t.toPrecision(1)))
      : ticks(axis.from, axis.to, 2);
    for (const t of marks) if (t > axis.near) parts.push(label(axis.x(t), base + 10, tickText(t), 'middle', 'soft'));
  }
  parts.push(label((left + right) / 2, base + 28, 'singular value (bulk: density; outliers: height is the alignment with the target, right)', 'middle', 'soft'));
  if (width < 560) parts[parts.length - 1] = label((left + right) / 2, base + 28, 'singular value; heights: alignment (right)', 'middle', 'soft');
  return { height, text: parts.join('') };
}

function drawBars(cases, chance, width) {
  const rows = [], parts = [], left = width < 520 ? 118 : 190, right = width - 44;
  for (const c of cases.slice(1)) {
    const m = c.measured, p = c.predicted, count = Math.max(m ? m.outliers : 0, p ? p.outliers : 0);
    for (let k = 0; k < Math.min(count, 4); k++)
      rows.push({ title: TITLES[c.name], k, first: k === 0, measured: m && k < m.outliers ? m.alignments[k] : null,
        predicted: p && k < p.outliers ? p.alignments[k] : null });
    if (!count) rows.push({ title: TITLES[c.name], k: -1, first: true, measured: null, predicted: null });
  }
  const x = a => left + a * (right - left), step = 24, top = 8;
  rows.forEach((row, i) => {
    const y = top + i * step;
    if (row.first && width >= 520) parts.push(label(0, y + 13, row.title));
    if (row.first && width < 520) parts.push(label(0, y + 13, row.title.replace(', ', ' ').replace('one step', '').replace(' batch', '')));
    parts.push(label(left - 11, y + 13, row.k < 0 ? 'no outlier' : 's' + '₁₂₃₄'[row.k], 'end', 'soft'));
    if (row.measured !== null) parts.push(`<rect x="${left}" y="${y + 2}" width="${(x(row.measured) - left).toFixed(1)}" height="14" class="dot"/>`,
      label(x(row.measured) + (row.predicted !== null && row.predicted - row.measured > -0.02 && row.predicted - row.measured < 0.12 ? 18 : 6), y + 13, short(row.measured, 2)));
    if (row.predicted !== null) parts.push(diamond(x(row.predicted), y + 9));
  });
  const base = top + rows.length * step;
  parts.push(line(x(chance), top, x(chance), base, 'chance'), line(left, base, right, base, 'axis'));
  for (const a of [0, 0.5, 1]) parts.push(label(x(a), base + 15, String(a), 'middle', 'soft'));
  parts.push(label(right, base + 32, 'alignment |B* vₖ|; dotted: a random vector', 'end', 'soft'));
  return { height: base + 40, text: parts.join('') };
}

function summary(cases) {
  return cases.map(c => {
    const m = c.measured, p = c.predicted, parts = [];
    if (m) parts.push('measured ' + plural(m.outliers, 'outlier') + m.singular_values.slice(0, m.outliers).map((s, k) => ', ' + short(s, 2) + ' with alignment ' + short(m.alignments[k], 2)).join(''));
    if (p) parts.push('predicted ' + plural(p.outliers, 'outlier') + p.singular_values.map((s, k) => ', ' + short(s, 2) + ' with alignment ' + short(p.alignments[k], 2)).join(''));
    return TITLES[c.name] + ': ' + (parts.join('; ') || 'a bulk alone');
  }).join('. ');
}

function figure(width) {
  const ratio = Number(shown.state.neurons) / Number(shown.state.inputs);
  const chance = Math.min(1, Math.sqrt(shown.answers[0].config.directions / Number(shown.state.inputs)));
  return { spectra: drawSpectra(shown.cases, ratio, width), bars: drawBars(shown.cases, chance, width) };
}

function redraw() {
  if (!shown) return;
  const width = Math.max(300, Math.round($('spectra').clientWidth)), drawn = figure(width);
  for (const id of ['spectra', 'bars'])
    $(id).innerHTML = `<svg viewBox="0 0 ${width} ${drawn[id].height}" role="img" aria-label="${escape(summary(shown.cases))}"><style>${SVG_STYLE}</style>${drawn[id].text}</svg>`;
}

function svgFile() {
  const style = SVG_STYLE + '.paper{fill:var(--paper)}';
  const width = 760, drawn = figure(width), config = shown.answers[0].config;
  const title = `N = ${config.neurons}, d = ${config.inputs}, n = ${config.samples}, activation ${config.activation}, target ${config.target}, ` +
    `step sizes ${shown.answers[0].eta.map(e => Number(e.toPrecision(4))).join(' and ')}, seed ${config.seed}`;
  const height = 34 + drawn.spectra.height + drawn.bars.height;
  return `<svg xmlns="${NS}" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img"><title>${escape(summary(shown.cases))}</title>` +
    `<style>${coloured(style, LIGHT)}@media(prefers-color-scheme:dark){${coloured(style, DARK)}}</style><rect width="${width}" height="${height}" class="paper"/>` +
    label(10, 20, title, 'start', 'soft') + `<g transform="translate(0 28)">${drawn.spectra.text}</g>` +
    `<g transform="translate(0 ${30 + drawn.spectra.height})">${drawn.bars.text}</g></svg>\n`;
}

/* ---- words and numbers ---- */

function seeing(orders, key) {
  const list = orders.filter(o => o[key]).map(o => o.k);
  return list.length ? (list.length === 1 ? 'order ' : 'orders ') + list.join(', ') : 'no order';
}

function showVerdict() {
  const first = shown.answers[0], limit = first.limit, parts = [];
  parts.push(`<p>In the limit of large N these step sizes make <strong>${plural(limit.outliers, 'direction')}</strong> visible: 1 + ⌊α₂ / (1/2 − α₁)⌋.</p>`);
  const directions = first.config.directions, whole = directions > 1 ? `all of it: ${short(Math.sqrt(directions), 2)}, ` : '';
  for (const c of shown.cases.slice(1)) {
    const p = c.predicted, m = c.measured, chance = Math.sqrt(directions / first.config.inputs);
    const sees = v => v > Math.max(3 * chance, 0.15) ? 'it sees the target' : 'it is blind to the target';
    let text = `<strong>${TITLES[c.name]}.</strong> `;
    text += p ? `The theory expects ${plural(p.outliers, 'outlier')} at this N, holding ${short(p.captured, 2)} of the target: ${sees(p.captured)}. ` : 'No prediction. ';
    if (m) text += `Measured: ${plural(m.outliers, 'outlier')}, holding ${short(m.captured, 2)} (${whole}a random vector: ${short(chance, 2)}).`;
    parts.push(`<p>${text}</p>`);
  }
  if (limit.orders.length) {
    parts.push(`<p>Of the orders of the limit, on a fresh batch ${seeing(limit.orders, 'sees_target_fresh')}, on a reused batch ` +
      `${seeing(limit.orders, 'sees_target_reuse')} can see this target.</p>`);
    parts.push('<p>' + limit.orders.slice(0, 4).map(o => `Order ${o.k} grows like N<sup>${Number(o.exponent.toPrecision(3))}</sup>`).join('; ') + '.</p>');
  }
  const notes = [...new Set(shown.answers.flatMap(a => a.warnings))];
  if (notes.length) parts.push('<ul aria-label="Notes">' + notes.map(n => `<li>${escape(n)}</li>`).join('') + '</ul>');
  $('verdict').innerHTML = parts.join('');
}

function showNumbers() {
  const rows = ['<caption class="hidden">Singular values and alignments, measured and predicted</caption><thead><tr><th scope="col">matrix</th><th scope="col">k</th><th scope="col">measured s</th><th scope="col">predicted s</th>' +
    '<th scope="col">alignment</th><th scope="col">theory</th><th scope="col">readout</th><th scope="col">theory</th></tr></thead><tbody>'];
  for (const c of shown.cases) {
    const m = c.measured, p = c.predicted, count = Math.max(m ? m.outliers : 0, p ? p.outliers : 0);
    const cell = (source, field, k) => source && k < source.outliers ? short(source[field][k]) : '';
    for (let k = 0; k < count; k++)
      rows.push(`<tr><th scope="row">${TITLES[c.name]}</th><td>${k + 1}</td><td>${cell(m, 'singular_values', k)}</td><td>${cell(p, 'singular_values', k)}</td>` +
        `<td>${cell(m, 'alignments', k)}</td><td>${cell(p, 'alignments', k)}</td><td>${cell(m, 'readout_alignments', k)}</td><td>${cell(p, 'readout_alignments', k)}</td></tr>`);
    rows.push(`<tr><th scope="row">${TITLES[c.name]}</th><td>edge</td><td>${m ? short(m.row_edge) : ''}</td><td>${p ? short(p.edge) : ''}</td><td></td><td></td><td></td><td></td></tr>`);
  }
  $('numbers').innerHTML = rows.join('') + '</tbody>';
}

/* What has come of the lines of `simulate` and `law`, for the panels on the screen. */
function attach(details) {
  for (const c of shown.cases) {
    if (details.values[c.name]) c.values = details.values[c.name];
    if (details.laws[c.name]) c.law = details.laws[c.name];
  }
}

function show(state, answers, texts, details) {
  shown = { state, answers, texts, details, cases: casesOf(answers, state) };
  attach(details);
  $('version').textContent = answers[0].version;
  $('svg').disabled = $('json').disabled = false;
  showVerdict();
  showNumbers();
  redraw();
}

function showError(sentence) {
  for (const name of NAMES) $(name).removeAttribute('aria-invalid');
  $('error').hidden = !sentence;
  $('error').textContent = sentence || '';
  const option = /^--([a-z0-9-]+)/.exec(sentence || '');
  if (!option) return;
  let name = FIELD_OF[option[1]] || option[1];
  if ((name === 'activation' || name === 'target') && $(name).value === 'hermite') name += 'c';
  if ($(name)) $(name).setAttribute('aria-invalid', 'true');
}

/* ---- running ---- */

let turn = 0, timer = null;

function setBusy(busy) {
  $('cancel').disabled = !busy;
  $('progress').classList.toggle('idle', !busy);
  $('results').setAttribute('aria-busy', String(busy));
  clearInterval(timer);
  if (!busy) timer = null;
}

/* Says what is going on and moves the bar by the clock and the cost expected. */
function follow(words, start, cost) {
  clearInterval(timer);
  $('status').textContent = words + '.';
  const tell = () => {
    const passed = (performance.now() - start) / 1000;
    $('progress').value = Math.min(0.97, passed / Math.max(cost.total, 0.1));
    if (cost.total > 3) $('status').textContent = `${words}, about ${Math.max(1, Math.ceil(cost.total - passed))} s left.`;
  };
  tell();
  timer = setInterval(tell, 250);
}

function refused(result) {
  return new Error(result.error.replace(/^twostep: /, '').trim() || 'the program stopped with status ' + result.status);
}

async function ask(module, words, urgent) {
  const result = await runJob(module, words, null, urgent);
  if (result.status !== 0) throw refused(result);
  return { text: result.output, data: JSON.parse(result.output), seconds: result.seconds };
}

async function computeTheory(module, state, options) {
  const modes = state.batches === 'both' ? ['fresh', 'reuse'] : [state.batches];
  const words = ['theory'].concat(options.filter(o => !o.startsWith('--seed')));
  return Promise.all(modes.map(mode => ask(module, words.concat(['--batches', mode, '--json', '-']))));
}

/* One matrix of `simulate` or of `law`. */
function take(details, one) {
  if (one.values) details.values[one.name] = one.values;
  else details.laws[one.name] = { s: one.s, density: one.density };
  if (!shown || shown.details !== details) return;
  attach(details);
  redraw();
}

/* The predicted densities up to the predicted edges, by case; W1 has one for both batch modes. */
function computeLaws(module, options, edges, details) {
  const words = options.filter(o => !o.startsWith('--seed')), started = [];
  let one = edges['one-step'];
  for (const two of Object.keys(edges).filter(name => name.startsWith('two-steps-'))) {
    started.push(runJob(module, ['law', String(one || 0), String(edges[two]), '--batches=' + two.slice(10)].concat(words), text => take(details, JSON.parse(text))));
    one = 0;
  }
  const all = Promise.all(started);
  all.catch(() => {});
  return all;
}

const edgesOf = cases => Object.fromEntries(cases.filter(c => c.predicted && c.name !== 'initial').map(c => [c.name, c.predicted.edge]));

/* Experiment and theory run side by side and meet in the report. Beside the experiment, which takes longer, there is time
   for the densities, as soon as the edges are known, and for what needs no step. */
async function compute() {
  const mine = ++turn, state = readFields(), options = optionsOf(state), cost = costOf(state), start = performance.now();
  const details = { values: {}, laws: {} }, both = state.batches === 'both';
  let laws = null, all = null;
  stopWorkers();
  toFragment(state);
  showError('');
  setBusy(true);
  try {
    $('status').textContent = 'Preparing.';
    const module = await programFor(state.build);
    if (mine !== turn) return;
    if (state.what === 'theory' || cost.total > 2) {
      follow('Predicting', start, cost);
      const got = await computeTheory(module, state, options);
      if (mine !== turn) return;
      speed.theory = got.reduce((sum, g) => sum + g.seconds, 0) / got.length;
      show(state, got.map(g => g.data), got.map(g => g.text), details);
      laws = computeLaws(module, options, edgesOf(shown.cases), details);
    }
    if (state.what !== 'theory') {
      follow('Simulating', start, cost);
      const words = both ? ['compare'].concat(options) : ['run', '--batches=' + state.batches].concat(options);
      const experiment = simulate(module, words, details, cost);
      const foreseen = ask(module, ['foresee'].concat(words)).then(theory => {
        if (mine === turn && !laws) laws = computeLaws(module, options, theory.data.edges, details);
        return theory;
      });
      foreseen.catch(() => {}); /* heard of below */
      const bare = cost.withBulk ? runJob(module, ['bare'].concat(words), text => take(details, JSON.parse(text))) : null;
      all = Promise.all([experiment.all, bare]);
      all.catch(() => {});
      const [measured, theory] = await Promise.all([experiment.result, foreseen]);
      const got = await ask(module, ['report', words[0], measured, theory.data.outcome].concat(words.slice(1)), true);
      if (mine !== turn) return;
      speed.steps = cost.stepWork / Math.max(0.02, got.data.seconds.total);
      show(state, [got.data], [got.text], details);
      follow('Counting all singular values', start, cost);
    }
    await Promise.all([laws, all]);
    if (mine !== turn) return;
    const kernel = shown.answers[0].kernel;
    $('status').textContent = `Done in ${short((performance.now() - start) / 1000, 2)} s${kernel ? ' with the ' + kernel + ' kernel' : ''}.`;
  } catch (error) {
    if (mine !== turn) return;
    $('status').textContent = error.message === 'cancelled' ? 'Cancelled.' : 'Not computed.';
    if (error.message !== 'cancelled') showError(error.message);
  }
  if (mine === turn) setBusy(false);
}

/* The experiment. result: its numbers, as soon as they are there; all: when the histograms are, too. */
function simulate(module, words, details, cost) {
  let found, first = 0; /* when the result came */
  const result = new Promise(resolve => { found = resolve; });
  const all = runJob(module, ['simulate', words[0], cost.withBulk ? 'yes' : 'no'].concat(words.slice(1)), text => {
    const one = JSON.parse(text);
    if (!one.result) return take(details, one);
    first = performance.now();
    found(one.result);
  }).then(end => {
    if (end.status !== 0 && !first) throw refused(end);
    if (end.status === 0 && cost.withBulk) speed.bulk = cost.bulkWork / Math.max(20, performance.now() - first) * 1000;
  });
  all.catch(() => {}); /* heard of through result */
  return { all, result: Promise.race([result, all.then(() => result)]) };
}

function cancel() {
  turn++;
  stopWorkers();
  setBusy(false);
  $('status').textContent = 'Cancelled.';
}

/* ---- the map of the step sizes ---- */

const MAP = 230; /* units for 1/2 */
const mapX = a => a / 0.5 * MAP, mapY = a => MAP - a / 0.5 * MAP;

function drawMap() {
  const parts = [], far = k => k < 1 ? [0, 0] : [0.5 - 0.5 / k, 0.5], corner = [0.5, 0];
  const polygon = (points, fill, text) => `<polygon points="${points.map(p => mapX(p[0]).toFixed(1) + ',' + mapY(p[1]).toFixed(1)).join(' ')}" style="fill:var(--z${fill})"><title>${text}</title></polygon>`;
  for (let k = 0; k < 6; k++) {
    const points = k === 5 ? [corner, far(5), [0.5, 0.5]] : [corner, far(k), far(k + 1)];
    parts.push(polygon(points, k + 1, k === 5 ? '6 learned directions and more' : plural(k + 1, 'learned direction')));
  }
  for (let k = 1; k <= 12; k++) parts.push(`<line x1="${mapX(0.5)}" y1="${mapY(0)}" x2="${mapX(far(k)[0]).toFixed(1)}" y2="${mapY(far(k)[1])}" style="stroke:var(--law);stroke-width:${k < 6 ? 1.2 : 0.5}"/>`);
  const at = [[0.16, 0.17], [0.19, 0.42], [0.303, 0.455], [0.355, 0.465], [0.392, 0.468]];
  at.forEach((p, k) => parts.push(`<text x="${mapX(p[0])}" y="${mapY(p[1]) + 4}" text-anchor="middle" style="font-weight:600">${k + 1}</text>`));
  for (const a of [0, 0.1, 0.2, 0.3, 0.4, 0.5]) parts.push(`<text class="soft" x="${mapX(a)}" y="${MAP + 14}" text-anchor="middle" style="font-size:10px">${a}</text>`,
    a ? `<text class="soft" x="-5" y="${mapY(a) + 4}" text-anchor="end" style="font-size:10px">${a}</text>` : '');
  parts.push(`<text class="soft" x="${MAP / 2}" y="${MAP + 29}" text-anchor="middle">α₁</text><text class="soft" x="-34" y="${MAP / 2 + 14}">α₂</text>`,
    `<g class="handle" id="handle" tabindex="0" role="slider" aria-valuemin="1" aria-valuemax="100" aria-label="Step sizes: left and right change alpha 1, up and down alpha 2" aria-describedby="maphint"><circle r="16" style="fill:transparent"/><circle r="7" style="fill:var(--out);stroke:var(--paper);stroke-width:2"/></g>`);
  $('map').innerHTML = parts.join('');
}

/* The point is where the fields say, if they hold numbers. */
function placeHandle() {
  const a1 = Number($('alpha1').value), a2 = Number($('alpha2').value);
  if (!(a1 >= 0 && a1 < 0.5 && a2 >= 0 && a2 < 0.5)) return;
  const count = 1 + Math.floor(a2 / (0.5 - a1) * (1 + 1e-12) + 1e-12);
  $('handle').setAttribute('transform', `translate(${mapX(a1).toFixed(1)} ${mapY(a2).toFixed(1)})`);
  $('handle').setAttribute('aria-valuenow', count);
  $('handle').setAttribute('aria-valuetext', `alpha 1 ${a1}, alpha 2 ${a2}: ${plural(count, 'learned direction')} in the limit`);
  $('maphint').textContent = `${plural(count, 'direction')} in the limit. Drag the point, or focus it and use the arrow keys.`;
}

function movePoint(a1, a2) {
  const clean = a => String(Math.round(Math.min(0.49, Math.max(0, a)) * 200) / 200);
  $('alpha1').value = clean(a1);
  $('alpha2').value = clean(a2);
  fieldsChanged();
  changed();
}

function pointAt(event) {
  const place = new DOMPoint(event.clientX, event.clientY).matrixTransform($('map').getScreenCTM().inverse());
  movePoint(place.x / MAP * 0.5, (MAP - place.y) / MAP * 0.5);
}

function listenMap() {
  let dragging = false;
  $('map').addEventListener('pointerdown', event => {
    if (event.target.closest('#handle')) {
      dragging = true;
      $('map').setPointerCapture(event.pointerId);
      event.preventDefault();
      $('handle').focus();
    }
  });
  $('map').addEventListener('pointermove', event => { if (dragging) pointAt(event); });
  $('map').addEventListener('pointerup', () => { dragging = false; });
  $('map').addEventListener('pointercancel', () => { dragging = false; });
  $('map').addEventListener('click', event => { if (event.target.tagName === 'polygon') pointAt(event); });
  $('handle').addEventListener('keydown', event => {
    const size = event.shiftKey ? 0.05 : 0.01, step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    movePoint(Number($('alpha1').value) + size * step[0], Number($('alpha2').value) + size * step[1]);
  });
}

/* ---- the page ---- */

let pause = null;

function fieldsChanged() {
  for (const name of ['activation', 'target'])
    for (const element of document.querySelectorAll(`[data-for=${name}]`)) element.hidden = $(name).value !== 'hermite';
  placeHandle();
}

/* Computes a moment after the last change; what would take long waits for the button. */
function changed() {
  const state = readFields();
  toFragment(state);
  clearTimeout(pause);
  if (!$('live').checked) return;
  const total = costOf(state).total;
  if (total > 6) {
    $('status').textContent = `Press Run: this takes about ${Math.ceil(total)} s.`;
    return;
  }
  pause = setTimeout(compute, 200);
}

function save(name, type, text) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function copyLink() {
  toFragment(readFields());
  try {
    await navigator.clipboard.writeText(location.href);
    $('status').textContent = 'The link is copied.';
  } catch (error) {
    $('status').textContent = 'The link is in the address bar: ' + location.href;
  }
}

for (const [id, names] of [['activation', ACTIVATIONS], ['target', TARGETS]])
  $(id).innerHTML = names.map(name => `<option value="${name}">${name === 'hermite' ? 'hermite…' : name}</option>`).join('');
$('legend').innerHTML = [['bulk', 'bulk of the singular values, measured'], ['law', 'its predicted density'], ['edge', 'predicted edge'],
  ['out', 'outlier, measured'], ['pred', 'outlier, predicted']].map(([kind, text]) => `<span class="k-${kind}">${text}</span>`).join('');
drawMap();
listenMap();
for (const name of NAMES) $(name).addEventListener('input', () => { fieldsChanged(); changed(); });
$('controls').addEventListener('submit', event => { event.preventDefault(); clearTimeout(pause); compute(); });
$('cancel').addEventListener('click', cancel);
for (const button of document.querySelectorAll('[data-preset]'))
  button.addEventListener('click', () => { showFields(Object.assign({}, DEFAULTS, PRESETS[button.dataset.preset])); clearTimeout(pause); compute(); });
$('svg').addEventListener('click', () => save('twostep.svg', 'image/svg+xml', svgFile()));
$('json').addEventListener('click', () => save('twostep.json', 'application/json', shown.texts.length === 1 ? shown.texts[0] : `[${shown.texts.join(',')}]\n`));
$('link').addEventListener('click', copyLink);
window.addEventListener('hashchange', () => { showFields(fromFragment()); compute(); });
window.twostep = { result: () => shown }; /* for the console */
new ResizeObserver(() => redraw()).observe($('spectra'));
showFields(fromFragment());
compute();
})();
