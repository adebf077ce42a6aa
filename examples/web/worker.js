'use strict';
/* Runs the command in a worker: a small WASI with arguments, two output streams and a clock. Every
   job has an instance of its own, so that memory starts clean. Messages in: {id, module, arguments};
   out: {id, line} for each whole line of standard output while it runs, then {id, status, output,
   error, seconds}. */

function Exit(status) { this.status = status; }

function makeWasi(programArguments, onLine) {
  const encoder = new TextEncoder(), decoders = { 1: new TextDecoder(), 2: new TextDecoder() };
  const texts = { 1: '', 2: '' };
  const words = programArguments.map(word => encoder.encode(word + '\0'));
  let memory, line = '';
  const view = () => new DataView(memory.buffer);
  function write(descriptor, text) {
    texts[descriptor] += text;
    if (descriptor !== 1) return;
    const lines = (line + text).split('\n');
    line = lines.pop();
    lines.forEach(onLine);
  }
  const calls = {
    args_sizes_get(count, bytes) {
      view().setUint32(count, words.length, true);
      view().setUint32(bytes, words.reduce((sum, word) => sum + word.length, 0), true);
      return 0;
    },
    args_get(table, buffer) {
      words.forEach((word, i) => {
        view().setUint32(table + 4 * i, buffer, true);
        new Uint8Array(memory.buffer, buffer, word.length).set(word);
        buffer += word.length;
      });
      return 0;
    },
    environ_sizes_get(count, bytes) {
      view().setUint32(count, 0, true);
      view().setUint32(bytes, 0, true);
      return 0;
    },
    environ_get() { return 0; },
    clock_time_get(which, precision, result) {
      view().setBigUint64(result, BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6)), true);
      return 0;
    },
    fd_write(descriptor, vectors, count, written) {
      let total = 0;
      if (!(descriptor in texts)) return 8; /* bad descriptor */
      for (let i = 0; i < count; i++) {
        const start = view().getUint32(vectors + 8 * i, true), length = view().getUint32(vectors + 8 * i + 4, true);
        write(descriptor, decoders[descriptor].decode(new Uint8Array(memory.buffer, start, length), { stream: true }));
        total += length;
      }
      view().setUint32(written, total, true);
      return 0;
    },
    fd_fdstat_get(descriptor, result) {
      if (!(descriptor in texts)) return 8;
      new Uint8Array(memory.buffer, result, 24).fill(0);
      view().setUint8(result, 2); /* a character device: no seeking */
      view().setBigUint64(result + 8, 64n, true); /* may be written */
      return 0;
    },
    fd_close() { return 0; },
    fd_seek() { return 70; }, /* cannot seek */
    fd_prestat_get() { return 8; },
    proc_exit(status) { throw new Exit(status); }
  };
  return { calls, texts, attach(instance) { memory = instance.exports.memory; } };
}

function run(module, programArguments, onLine) {
  const wasi = makeWasi(['twostep'].concat(programArguments), onLine), imports = {};
  /* What the C library may ask for and the command never uses answers "not supported". */
  for (const want of WebAssembly.Module.imports(module)) {
    imports[want.module] = imports[want.module] || {};
    imports[want.module][want.name] = wasi.calls[want.name] || (() => 52);
  }
  const start = performance.now();
  let status = 0;
  try {
    const instance = new WebAssembly.Instance(module, imports);
    wasi.attach(instance);
    instance.exports._start();
  } catch (error) {
    if (error instanceof Exit) status = error.status;
    else {
      status = 1;
      wasi.texts[2] += 'twostep: stopped: ' + error.message;
    }
  }
  return { status, output: wasi.texts[1], error: wasi.texts[2], seconds: (performance.now() - start) / 1000 };
}

onmessage = function (event) {
  const { id, module, words } = event.data;
  const result = run(module, words, line => postMessage({ id, line }));
  postMessage(Object.assign({ id }, result));
};
