// Drives the example in a real browser: `node browser.mjs http://127.0.0.1:3000 [folder for pictures of the page]`.
// Needs the service and the example running, Chromium (CHROMIUM, or /usr/bin/chromium), and `npm install playwright-core`.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { chromium } from "playwright-core";

const [address, pictures] = process.argv.slice(2);
const fixture = (name) => readFile(new URL(`../../crates/cli/tests/fixtures/${name}`, import.meta.url));
const eicar = Buffer.from(String.raw`X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*");
const dot = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPj/HwADBwIAMCbHYQAAAABJRU5ErkJggg==", "base64");

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const page = await browser.newPage({ viewport: { width: 800, height: 900 } });
const faults = [];
page.on("pageerror", (error) => faults.push(`script: ${error}`));
page.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()}`));
page.on("request", (request) => request.url().startsWith(address) || faults.push(`foreign: ${request.url()}`));
const snap = (name) => pictures && page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });

async function upload(name, buffer) {
  await page.getByLabel("Your picture").setInputFiles({ name, mimeType: "application/octet-stream", buffer });
  await page.getByRole("button", { name: "Upload" }).click();
  await page.waitForURL(`${address}/`);
  return page.getByRole("listitem").filter({ hasText: name }).first();
}

await page.goto(address);
assert.equal(await page.getByRole("heading", { level: 1 }).textContent(), "Avatars");
await snap("empty");

// What is clean is published, without a reload by hand, and shown as the picture it is.
const clean = await upload("dot.png", dot);
await clean.getByText("Published").waitFor();
assert.equal(await clean.getByRole("img").evaluate(async (img) => (await img.decode(), img.naturalWidth)), 1);

// What is infected is shown to nobody; its name stays text.
const name = `"><img src=x onerror=alert(1)>\u202egpj.com`;
await upload(name, eicar);
const infected = page.getByRole("listitem").filter({ hasText: "Quarantined" });
await infected.getByText("EICAR-Test-File").waitFor();
assert.match(await infected.getByRole("heading").textContent(), /onerror=alert\(1\)>\\u\{202e\}gpj\.com/);
assert.equal(await infected.getByRole("img").count(), 0);

// What may not be safe to show waits for a person.
const first = await upload("first.png", await fixture("porn_ellipse.png"));
await first.getByText("In review").waitFor();
const second = await upload("second.png", await fixture("hentai_ellipse.png"));
await second.getByText("In review").waitFor();
assert.equal((await page.request.get(await page.getByRole("link", { name: "Look at first.png" }).evaluate((link) => link.href))).status(), 200);
await snap("review");
await page.getByRole("button", { name: "Approve first.png" }).press("Enter");
await first.getByText("Published").waitFor();
await page.getByRole("button", { name: "Reject second.png" }).click();
await second.getByText("Rejected").waitFor();

// A problem is said, at the field that it is about.
await page.getByLabel("Your picture").setInputFiles({ name: "large.png", mimeType: "image/png", buffer: Buffer.alloc(5 * 1024 * 1024 + 1) });
await page.getByRole("button", { name: "Upload" }).click();
await page.getByRole("alert").waitFor();
assert.match(await page.getByRole("alert").textContent(), /larger than 5 MB/);
assert.match(await page.getByLabel("Your picture").getAttribute("aria-describedby"), /problem/);
assert.match(faults.pop() ?? "", /413/); // the browser's own note of that answer
await snap("problem");

await page.goto(address);
await page.emulateMedia({ colorScheme: "dark" });
await page.setViewportSize({ width: 360, height: 800 });
assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "it fits a small screen");
await snap("small-and-dark");
assert.deepEqual(faults, []);
await browser.close();
console.log("as it should be");
