// Compares mobilenet_v2.u8.onnx with nsfwjs itself on the same pixels: 24 synthetic pictures of many sizes, and any 24-bit or 32-bit PNG given.
//
// usage, in an empty folder:
//   npm install nsfwjs@4.3.0 @tensorflow/tfjs@4 onnxruntime-web pngjs
//   NODE_PATH=node_modules node MODELS/parity.cjs [PICTURE.png ...]
//
// The ONNX side gets the preprocessing that FileSafety uses (written out below), so that it is compared as well.
'use strict';
const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs');
const nsfwjs = require('nsfwjs');
const ort = require('onnxruntime-web');

const SIDE = 224;
const CLASSES = ['Drawing', 'Hentai', 'Neutral', 'Porn', 'Sexy'];
const TOLERANCE = 0.001;

// A generator with a seed, so that every run has the same pictures.
let state = 1;
const random = () => (state = (state * 48271) % 2147483647) / 2147483647;

function synthetic(index) {
  const sizes = [[224, 224], [1, 1], [2, 300], [640, 480], [97, 61], [500, 224], [31, 700], [800, 600]];
  const [width, height] = sizes[index % sizes.length];
  const blobs = Array.from({ length: 1 + (index % 6) }, () => ({
    x: random() * width, y: random() * height, r: random() * width * 0.6 + 1, color: [random() * 255, random() * 255, random() * 255],
  }));
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      const noise = (index % 3) * 30 * random();
      for (let c = 0; c < 3; c++) {
        let value = (255 * (c === 0 ? x / width : c === 1 ? y / height : 0.5)) + noise;
        for (const blob of blobs) if (Math.hypot(x - blob.x, y - blob.y) < blob.r) value = blob.color[c];
        data[at + c] = Math.max(0, Math.min(255, value));
      }
    }
  }
  return { name: `synthetic ${index} ${width}x${height}`, width, height, data };
}

function readPng(file) {
  const png = require('pngjs').PNG.sync.read(fs.readFileSync(file));
  const data = new Uint8Array(png.width * png.height * 3);
  for (let i = 0; i < png.width * png.height; i++) data.set(png.data.subarray(4 * i, 4 * i + 3), 3 * i);
  return { name: path.basename(file), width: png.width, height: png.height, data };
}

function taps(length) {
  const step = (length - 1) / (SIDE - 1);
  return Array.from({ length: SIDE }, (_, i) => {
    const low = Math.min(Math.floor(i * step), length - 1);
    return { low, high: Math.min(Math.ceil(i * step), length - 1), share: i * step - low };
  });
}

function reduce({ width, height, data }) {
  const out = new Float32Array(3 * SIDE * SIDE);
  const columns = taps(width);
  taps(height).forEach((row, y) => columns.forEach((column, x) => {
    for (let c = 0; c < 3; c++) {
      const pixel = (px, py) => data[(py * width + px) * 3 + c] / 255;
      const top = pixel(column.low, row.low) + (pixel(column.high, row.low) - pixel(column.low, row.low)) * column.share;
      const bottom = pixel(column.low, row.high) + (pixel(column.high, row.high) - pixel(column.low, row.high)) * column.share;
      out[(c * SIDE + y) * SIDE + x] = top + (bottom - top) * row.share;
    }
  }));
  return out;
}

async function main() {
  const reference = await nsfwjs.load('MobileNetV2');
  const session = await ort.InferenceSession.create(path.join(__dirname, 'mobilenet_v2.u8.onnx'));
  const pictures = [...Array.from({ length: 24 }, (_, i) => synthetic(i)), ...process.argv.slice(2).map(readPng)];
  let worst = 0;
  for (const picture of pictures) {
    const tensor = tf.tensor3d(picture.data, [picture.height, picture.width, 3], 'int32');
    const expected = Object.fromEntries((await reference.classify(tensor)).map((p) => [p.className, p.probability]));
    tensor.dispose();
    const input = new ort.Tensor('float32', reduce(picture), [1, 3, SIDE, SIDE]);
    const found = (await session.run({ input })).probs.data;
    const difference = Math.max(...CLASSES.map((name, i) => Math.abs(found[i] - expected[name])));
    worst = Math.max(worst, difference);
    console.log(`${difference.toExponential(1)}  ${picture.name}  ${CLASSES.map((name, i) => `${name} ${found[i].toFixed(3)}`).join(', ')}`);
  }
  console.log(`largest difference of a probability over ${pictures.length} pictures: ${worst.toExponential(2)}`);
  if (!(worst <= TOLERANCE)) process.exit(1);
}

main();
