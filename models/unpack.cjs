// Turns a model of an unpacked nsfwjs package into plain files: model.json (topology and the list of weights) and weights.bin (their
// bytes in that order). The package keeps both as scripts: the topology as an object, the bytes as base64.
//
// usage: node unpack.cjs PACKAGE OUT MODEL      (mobilenet_v2, mobilenet_v2_mid or inception_v3)
'use strict';
const fs = require('fs');
const path = require('path');

const [packageRoot, out, name] = process.argv.slice(2);
if (!packageRoot || !out || !name) {
  console.error('usage: node unpack.cjs PACKAGE OUT MODEL');
  process.exit(2);
}
const folder = path.resolve(packageRoot, 'dist/models', name);
const model = require(path.join(folder, 'model.min.js'));
const shards = model.weightsManifest
  .flatMap((group) => group.paths)
  .map((name) => Buffer.from(require(path.join(folder, `${name}.min.js`)), 'base64'));

fs.mkdirSync(out, { recursive: true });
fs.writeFileSync(path.join(out, 'model.json'), JSON.stringify(model));
fs.writeFileSync(path.join(out, 'weights.bin'), Buffer.concat(shards));
