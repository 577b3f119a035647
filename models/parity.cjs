// Compares filesafety with nsfwjs itself, on generated pictures and on any that are given.
//
// usage, in an empty folder:
//   npm install nsfwjs@4.3.0 @tensorflow/tfjs@4 @tensorflow/tfjs-backend-wasm@4 sharp@0.34
//   NODE_PATH=node_modules node MODELS/parity.cjs FILESAFETY [PICTURE|FOLDER ...]
//
// Each picture is decoded by sharp (the first page, upright, over white, colour profiles not applied) and classified by nsfwjs. FILESAFETY, a built program, judges
// the same pixels, as a PNG, and the file itself, which it decodes by other decoders. Ends with 1 where a probability differs by more
// than 0.001 on the same pixels or 0.01 from the file, or where the first class is another though it leads by more than 0.02.
'use strict';
const { execFileSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
const nsfwjs = require('nsfwjs');
const sharp = require('sharp');

const CLASSES = ['Drawing', 'Hentai', 'Neutral', 'Porn', 'Sexy'];
const TOLERANCE = { pixels: 0.001, file: 0.01 };
const MARGIN = 0.02;
const KINDS = /\.(jpe?g|png|gif|webp|bmp|tiff?)$/i;
const FORMATS = ['png', 'jpeg', 'webp', 'tiff', 'gif'];
const OPTIONS = (index) => ({ jpeg: { quality: 50 + index, chromaSubsampling: index % 2 ? '4:2:0' : '4:4:4' }, tiff: { compression: 'lzw' } });

// A generator with a seed, so that every run has the same pictures.
let state = 1;
const random = () => (state = (state * 48271) % 2147483647) / 2147483647;

function synthetic(index) {
  const sizes = [[224, 224], [1, 1], [2, 300], [640, 480], [97, 61], [500, 224], [31, 700], [800, 600], [1920, 1080], [333, 1000]];
  const [width, height] = sizes[index % sizes.length];
  const blobs = Array.from({ length: 1 + (index % 6) }, () => ({
    x: random() * width, y: random() * height, r: random() * width * 0.6 + 1, color: [random() * 255, random() * 255, random() * 255],
  }));
  const data = Buffer.alloc(width * height * 3);
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
  return sharp(data, { raw: { width, height, channels: 3 } });
}

function* pictures(names) {
  for (const name of names) {
    if (!fs.statSync(name).isDirectory()) yield name;
    else yield* pictures(fs.readdirSync(name).sort().map((inside) => path.join(name, inside)).filter((inside) => KINDS.test(inside) || fs.statSync(inside).isDirectory()));
  }
}

// Scores by path.
function judged(program, files) {
  const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FILESAFETY_')));
  let output;
  try {
    output = execFileSync(program, ['scan', '--json', '--types', 'nsfw', ...files], { env: environment, maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'inherit'] });
  } catch (error) {
    // 1 says that something was found.
    if (error.status !== 1) throw error;
    output = error.stdout;
  }
  const lines = output.toString().trim().split('\n').map((line) => JSON.parse(line));
  return new Map(lines.map((line) => [line.path, line.nsfw && line.nsfw.scores]));
}

async function main() {
  const [program, ...given] = process.argv.slice(2);
  wasm.setWasmPaths(path.join(path.dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'dist') + path.sep);
  await tf.setBackend('wasm');
  const reference = await nsfwjs.load('MobileNetV2');
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'parity-'));
  const files = [];
  for (let index = 0; index < 50; index++) {
    const format = FORMATS[index % FORMATS.length];
    const file = path.join(scratch, `synthetic-${index}.${format}`);
    await synthetic(index).toFormat(format, OPTIONS(index)[format]).toFile(file);
    files.push(file);
  }
  files.push(...pictures(given));

  const compared = [];
  for (const file of files) {
    let decoded;
    try {
      decoded = await sharp(file, { limitInputPixels: 120e6, ignoreIcc: true }).rotate().flatten({ background: '#fff' }).toColourspace('srgb').removeAlpha().raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    } catch (error) {
      console.log(`passed over, sharp does not decode it: ${file}`);
      continue;
    }
    const { data, info } = decoded;
    const rgb = info.channels === 3 ? data : Buffer.from(Array.from({ length: info.width * info.height * 3 }, (_, at) => data[Math.floor(at / 3) * info.channels]));
    const tensor = tf.tensor3d(new Uint8Array(rgb), [info.height, info.width, 3], 'int32');
    const expected = Object.fromEntries((await reference.classify(tensor)).map((p) => [p.className, p.probability]));
    tensor.dispose();
    const pixels = path.join(scratch, `${compared.length}.pixels.png`);
    await sharp(rgb, { raw: { width: info.width, height: info.height, channels: 3 } }).png({ compressionLevel: 1 }).toFile(pixels);
    compared.push({ file, pixels, expected });
  }

  let failures = 0;
  const worst = { pixels: 0, file: 0 };
  const tops = { pixels: [0, 0], file: [0, 0] };
  const scores = judged(program, compared.flatMap(({ file, pixels }) => [file, pixels]));
  for (const { file, pixels, expected } of compared) {
    const sorted = CLASSES.map((name) => expected[name]).sort((a, b) => b - a);
    const first = CLASSES.find((name) => expected[name] === sorted[0]);
    for (const [way, name] of [['pixels', pixels], ['file', file]]) {
      const found = scores.get(name);
      if (!found) {
        failures += 1;
        console.log(`not judged: ${name}`);
        continue;
      }
      const difference = Math.max(...CLASSES.map((name) => Math.abs(found[name.toLowerCase()] - expected[name])));
      worst[way] = Math.max(worst[way], difference);
      const same = CLASSES.every((name) => found[name.toLowerCase()] <= found[first.toLowerCase()]);
      if (sorted[0] - sorted[1] > MARGIN) {
        tops[way][0] += same;
        tops[way][1] += 1;
      }
      if (difference > TOLERANCE[way] || (!same && sorted[0] - sorted[1] > MARGIN)) {
        failures += 1;
        console.log(`${difference.toFixed(6)} by its ${way}, ${first} ${sorted[0].toFixed(3)}${same ? '' : ', another first class'}: ${file}`);
      }
    }
  }
  for (const way of ['pixels', 'file']) {
    console.log(`${way}: ${compared.length} pictures, largest difference ${worst[way].toExponential(2)}, same first class ${tops[way][0]} of ${tops[way][1]} where it leads by more than ${MARGIN}`);
  }
  fs.rmSync(scratch, { recursive: true });
  if (failures > 0 || compared.length < 100) process.exit(1);
}

main();
