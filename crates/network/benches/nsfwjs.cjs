// nsfwjs with the wasm backend of tfjs, on a JPEG, end to end. usage: node nsfwjs.cjs FILE SECONDS (see compare.py)
'use strict';
const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
const nsfwjs = require('nsfwjs');
const sharp = require('sharp');

async function main() {
  const [file, seconds] = [process.argv[2], Number(process.argv[3])];
  wasm.setWasmPaths(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm')) + path.sep);
  wasm.setThreadsCount(1);
  // The fastest decoder that Node has, on one thread like the rest.
  sharp.concurrency(1);
  sharp.cache(false);
  await tf.setBackend('wasm');
  await tf.ready();
  const model = await nsfwjs.load('MobileNetV2');
  const bytes = fs.readFileSync(file);
  const times = { decode: [], classify: [] };
  async function once() {
    const start = performance.now();
    const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    const decoded = performance.now();
    const tensor = tf.tensor3d(data, [info.height, info.width, 3], 'int32');
    await model.classify(tensor);
    tensor.dispose();
    times.decode.push(decoded - start);
    times.classify.push(performance.now() - decoded);
  }
  for (let i = 0; i < 3; i++) await once();
  times.decode.length = times.classify.length = 0;
  const start = performance.now();
  while (performance.now() - start < seconds * 1000) await once();
  const elapsed = (performance.now() - start) / 1000;
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  const result = { backend: tf.getBackend(), pictures_per_second: times.decode.length / elapsed, decode: median(times.decode), classify: median(times.classify) };
  console.log(JSON.stringify(result));
}

main();
