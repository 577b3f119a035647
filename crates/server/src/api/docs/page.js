// Draws /openapi.json as a page. Text from the description only ever becomes text nodes, never markup.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete", "options", "head"];
const UNKNOWN = "…"; // Stands in examples for a text of which nothing is known.
const DEEPEST = 8; // Schemas may refer to themselves.
let api = {};

main();

async function main() {
  theme();
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`/openapi.json answered ${answer.status}`);
    api = await answer.json();
  } catch (problem) {
    document.getElementById("about").replaceChildren(el("p", { class: "scheme problem" }, `The description cannot be read: ${problem.message}`));
    return;
  }
  introduce();
  const groups = grouped();
  document.getElementById("contents").append(...groups.map(contentsOf));
  document.getElementById("operations").append(...groups.map(sectionOf));
  search(groups);
  keyboard();
  followScrolling();
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView({ behavior: "instant" });
}

// What the page is made of

function introduce() {
  const info = api.info ?? {};
  document.title = info.title ?? document.title;
  document.getElementById("title").textContent = info.title ?? "API";
  document.getElementById("version").textContent = info.version ?? "";
  const schemes = Object.values(api.components?.securitySchemes ?? {}).map(resolve);
  document.getElementById("about").replaceChildren(
    text(info.description),
    ...schemes.filter((scheme) => scheme.type === "apiKey").map((scheme) =>
      el("div", { class: "scheme text" }, el("p", {}, "Requests carry their key in the ", scheme.in, " ", el("code", {}, scheme.name), ". ", inline(scheme.description ?? "")))),
  );
}

/** The operations by their first tag: declared tags first, in their order. */
function grouped() {
  const groups = new Map((api.tags ?? []).map((tag) => [tag.name, { name: tag.name, about: tag.description, operations: [] }]));
  for (const [path, item] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS.filter((method) => item[method])) {
      const operation = item[method];
      const tag = operation.tags?.[0] ?? "Other";
      if (!groups.has(tag)) groups.set(tag, { name: tag, operations: [] });
      const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolve);
      const id = `${method}${path}`.replace(/[^A-Za-z0-9]+/g, "-").replace(/-$/, "");
      const title = (operation.summary ?? `${method.toUpperCase()} ${path}`).replace(/\.$/, "");
      groups.get(tag).operations.push({ ...operation, id, title, method, path, parameters, body: resolve(operation.requestBody ?? null) });
    }
  }
  return [...groups.values()].filter((group) => group.operations.length > 0);
}

function contentsOf(group) {
  group.contents = el("section", {}, el("h2", {}, group.name), el("ul", {}, group.operations.map((operation) => {
    operation.link = el("a", { href: "#" + operation.id }, badge(operation.method), el("span", {}, inline(operation.title)));
    operation.entry = el("li", {}, operation.link);
    return operation.entry;
  })));
  return group.contents;
}

function sectionOf(group) {
  group.section = el("section", { class: "group" }, el("h2", {}, group.name), text(group.about), group.operations.map(operationOf));
  return group.section;
}

function operationOf(operation) {
  const keys = keysOf(operation);
  const path = operation.path.split(/(\{[^}]*\})/).map((part) => (part.startsWith("{") ? el("i", {}, part) : part));
  operation.article = el("article", { class: "operation", id: operation.id, tabindex: "-1" },
    el("header", {},
      el("h3", {}, el("a", { href: "#" + operation.id }, inline(operation.title))),
      el("p", { class: "route" }, badge(operation.method), el("span", { class: "path" }, path), keys.length ? null : el("span", { class: "free" }, "no key"))),
    el("div", { class: "words" }, text(operation.description), parametersOf(operation), bodyOf(operation), answersOf(operation)),
    el("div", { class: "samples" }, sample("curl", curls(operation, keys)), sample("Answer", answerSamples(operation))));
  return operation.article;
}

function badge(method) {
  return el("span", { class: "method " + method }, method.toUpperCase());
}

function parametersOf(operation) {
  const places = [["path", "Path"], ["query", "Query"], ["header", "Headers"], ["cookie", "Cookies"]];
  return places.map(([place, title]) => {
    const those = operation.parameters.filter((parameter) => parameter.in === place);
    if (those.length === 0) return null;
    return [el("h4", {}, title), el("dl", { class: "fields" }, those.map((parameter) =>
      field(parameter.name, { ...parameter.schema, description: parameter.description ?? parameter.schema?.description }, parameter.required, 1)))];
  });
}

function bodyOf(operation) {
  return contentsOfBody(operation).map(([type, media], index) =>
    [el("h4", {}, "Body", el("code", {}, type), operation.body.required ? null : "optional"), index ? null : text(operation.body.description), schemaView(media.schema ?? {}, 0)]);
}

/** The bodies that are understood; a form, which takes the file itself, first. */
function contentsOfBody(operation) {
  const contents = Object.entries(operation.body?.content ?? {});
  return contents.sort(([a], [b]) => Number(b.startsWith("multipart/")) - Number(a.startsWith("multipart/")));
}

function answersOf(operation) {
  const answers = Object.entries(operation.responses ?? {}).map(([status, answer]) => [status, resolve(answer)]);
  if (answers.length === 0) return null;
  return [el("h4", {}, "Answers"), answers.map(([status, answer]) => {
    const headers = Object.entries(answer.headers ?? {}).map(([name, header]) => [name, resolve(header)]);
    return el("details", { class: "answer" },
      el("summary", {}, el("span", { class: "status " + tone(status) }, status), text(answer.description)),
      el("div", { class: "body" },
        headers.length ? [el("h4", {}, "Headers"), el("dl", { class: "fields" }, headers.map(([name, header]) =>
          field(name, { ...header.schema, description: header.description }, header.required, 1)))] : null,
        Object.entries(answer.content ?? {}).map(([type, media]) => [el("h4", {}, el("code", {}, type)), schemaView(media.schema ?? {}, 0)]),
        answer.content ? null : el("p", {}, "No body.")));
  })];
}

function tone(status) {
  return /^[12]/.test(status) ? "ok" : /^5/.test(status) ? "bad" : "no";
}

// Schemas

/** What a `$ref` points to, with what stands beside it; anything else as it is. */
function resolve(node) {
  for (let hops = 0; node?.$ref && hops < DEEPEST; hops += 1) {
    const { $ref, ...beside } = node;
    const keys = $ref.replace(/^#\//, "").split("/").map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const target = keys.reduce((from, key) => from?.[key], api);
    node = { ...target, ...beside, named: keys.at(-1) };
  }
  return node;
}

/** One schema for a `$ref`, an `allOf`, or a choice between one thing and null. */
function settled(schema) {
  let node = resolve(schema ?? {});
  if (node.allOf) {
    const { allOf, ...own } = node;
    node = allOf.map(settled).concat(own).reduce((all, part) => ({
      ...all, ...part,
      properties: { ...all.properties, ...part.properties },
      required: [...(all.required ?? []), ...(part.required ?? [])],
    }), {});
    if (Object.keys(node.properties).length === 0) delete node.properties;
  }
  const choices = node.oneOf ?? node.anyOf;
  const real = choices?.filter((choice) => resolve(choice).type !== "null");
  if (choices && real.length === 1) {
    const { oneOf, anyOf, ...own } = node;
    node = { ...settled(real[0]), ...own, orNull: choices.length > 1 || own.orNull };
  }
  return node;
}

function typesOf(schema) {
  return [schema.type ?? []].flat().filter((type) => type !== "null");
}

function typeName(schema) {
  const node = settled(schema);
  const choices = node.oneOf ?? node.anyOf;
  let name = typesOf(node).join(" or ") || (node.properties ? "object" : "any");
  if (choices) name = [...new Set(choices.map(typeName))].join(" or ");
  else if (node.items) name = "array of " + typeName(node.items);
  else if (node.format) name += ` (${node.format})`;
  const orNull = node.orNull || [node.type].flat().includes("null");
  return orNull && !/\bnull$/.test(name) ? name + " or null" : name;
}

function bounds(node) {
  const list = [];
  const one = node.items ? settled(node.items) : node;
  const values = one.const !== undefined ? [one.const] : one.enum;
  if (values) list.push(values.map((value) => JSON.stringify(value)).join(" | "));
  const pairs = [["minimum", "≥"], ["exclusiveMinimum", ">"], ["maximum", "≤"], ["exclusiveMaximum", "<"], ["minLength", "length ≥"], ["maxLength", "length ≤"],
    ["minItems", "items ≥"], ["maxItems", "items ≤"], ["pattern", "matches"], ["default", "default"]];
  for (const [key, words] of pairs) {
    if (node[key] !== undefined && node[key] !== null) list.push(`${words} ${typeof node[key] === "string" ? node[key] : JSON.stringify(node[key])}`);
  }
  return list.length ? el("div", { class: "bounds" }, list.join(" · ")) : null;
}

function field(name, schema, required, depth) {
  const node = settled(schema);
  const inner = insideOf(node);
  return el("div", { class: "field" },
    el("dt", {}, el("span", { class: "name" }, name), el("span", { class: "type" }, typeName(schema)), required ? el("span", { class: "must" }, "required") : null),
    el("dd", {}, text(node.description), bounds(node),
      inner && depth < DEEPEST ? lazily("Fields", () => schemaView(inner, depth + 1)) : null));
}

/** The part of a schema that has fields of its own. */
function insideOf(node) {
  if (node.properties || node.oneOf || node.anyOf) return node;
  if (node.items) return insideOf(settled(node.items));
  if (node.additionalProperties?.$ref || node.additionalProperties?.properties) return insideOf(settled(node.additionalProperties));
  return null;
}

function schemaView(schema, depth) {
  const node = settled(schema);
  const choices = node.oneOf ?? node.anyOf;
  if (choices) {
    return choices.map((choice, index) => {
      const one = settled(choice);
      return [el("h4", {}, index ? "or" : "one of", el("code", {}, one.title ?? one.named ?? typeName(one))), schemaView(one, depth + 1)];
    });
  }
  if (node.properties) {
    const required = new Set(node.required ?? []);
    return el("dl", { class: "fields" }, Object.entries(node.properties).map(([name, property]) => field(name, property, required.has(name), depth)));
  }
  const inner = node.items ? insideOf(settled(node.items)) : null;
  return [el("p", { class: "bounds" }, typeName(node)), depth ? null : text(node.description), bounds(node), inner && depth < DEEPEST ? schemaView(inner, depth + 1) : null];
}

/** What is inside is drawn when it is first opened: schemas are deep and seldom all read. */
function lazily(title, draw) {
  const details = el("details", {}, el("summary", {}, title));
  details.addEventListener("toggle", () => details.append(...[draw()].flat(Infinity).filter(Boolean)), { once: true });
  return details;
}

// Samples

function exampleOf(schema, depth = 0) {
  const node = settled(schema);
  for (const given of [node.example, node.examples?.[0], node.const, node.default, node.enum?.[0]]) {
    if (given !== undefined) return given;
  }
  const choices = node.oneOf ?? node.anyOf;
  if (depth > DEEPEST) return null;
  if (choices) return exampleOf(choices[0], depth + 1);
  if (node.properties) return Object.fromEntries(Object.entries(node.properties).map(([name, property]) => [name, namedExample(name, property, depth + 1)]));
  switch (typesOf(node)[0]) {
    case "array": return [exampleOf(node.items ?? {}, depth + 1)];
    case "object": return {};
    case "integer": case "number": return node.minimum ?? 0;
    case "boolean": return true;
    case "string": return { "date-time": "2026-01-31T12:00:00.000Z", uri: "https://example.com/", binary: "<bytes>" }[node.format] ?? UNKNOWN;
    default: return null;
  }
}

/** Where the schema says no more than "text", the name may. */
function namedExample(name, property, depth) {
  const value = exampleOf(property, depth);
  if (value !== UNKNOWN) return value;
  if (/(^|_)url$/.test(name)) return "https://example.com/" + (name === "url" ? "file.pdf" : "webhooks");
  return /_at$/.test(name) ? "2026-01-31T12:00:00.000Z" : UNKNOWN;
}

/** A body to send: without the optional fields of which nothing is known. */
function requestExample(media) {
  const value = mediaExample(media);
  const required = new Set(settled(media.schema ?? {}).required ?? []);
  if (media.example || typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const known = (part) => !JSON.stringify(part).includes(UNKNOWN) && JSON.stringify(part) !== "{}";
  return Object.fromEntries(Object.entries(value).filter(([name, part]) => required.has(name) || known(part)));
}

function mediaExample(media) {
  const first = Object.values(media.examples ?? {})[0];
  return media.example ?? resolve(first)?.value ?? exampleOf(media.schema ?? {});
}

function keysOf(operation) {
  const names = (operation.security ?? api.security ?? []).flatMap((choice) => Object.keys(choice));
  return [...new Set(names)].map((name) => resolve(api.components?.securitySchemes?.[name])).filter((scheme) => scheme?.type === "apiKey" && scheme.in === "header");
}

function curls(operation, keys) {
  const contents = contentsOfBody(operation);
  const server = new URL(api.servers?.[0]?.url ?? "/", location.href).href.replace(/\/$/, "");
  const query = operation.parameters.filter((parameter) => parameter.in === "query" && parameter.required)
    .map((parameter) => `${encodeURIComponent(parameter.name)}=${encodeURIComponent(String(parameter.example ?? exampleOf(parameter.schema)))}`);
  const path = operation.path.replace(/\{([^}]*)\}/g, (whole, name) => {
    const parameter = operation.parameters.find((one) => one.in === "path" && one.name === name);
    const value = parameter?.example ?? (parameter?.schema && exampleOf(parameter.schema));
    return value && value !== UNKNOWN ? encodeURIComponent(String(value)) : name.toUpperCase();
  });
  const streams = Object.values(operation.responses ?? {}).some((answer) => resolve(answer).content?.["text/event-stream"]);
  const start = ["curl" + (streams ? " -N" : ""), quoted(server + path + (query.length ? "?" + query.join("&") : ""))].join(" ");
  const lines = [start, ...keys.map((scheme) => `-H "${scheme.name}: $FILESAFETY_API_KEY"`)];
  const plain = operation.method === "get" || (operation.method === "post" && contents.length > 0 && !/octet/.test(contents[0][0])) ? [] : [`-X ${operation.method.toUpperCase()}`];
  if (contents.length === 0) return [["", [...lines, ...plain].join(" \\\n  ")]];
  return contents.map(([type, media]) => [type, [...lines, ...dataLines(type, media, plain)].join(" \\\n  ")]);
}

function dataLines(type, media, plain) {
  if (type === "multipart/form-data") return [...plain, ...formLines(settled(media.schema ?? {}))];
  if (/json/.test(type)) return [...plain, `-H "content-type: ${type}"`, `-d ${quoted(JSON.stringify(requestExample(media)))}`];
  return plain.includes("-X PUT") ? ["-T upload.bin"] : [...plain, "--data-binary @upload.bin"];
}

/** The file, and what the description requires or gives an example of. */
function formLines(schema) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const node = settled(property);
    const isFile = node.format === "binary" || node.contentMediaType === "application/octet-stream" || name === "file";
    if (isFile) return [`-F ${name}=@upload.bin`];
    const value = node.example ?? node.examples?.[0];
    if (!required.has(name) && value === undefined) return [];
    return [`-F ${quoted(`${name}=${typeof value === "string" ? value : JSON.stringify(value ?? exampleOf(node))}`)}`];
  });
}

function quoted(words) {
  return /^[\w@%+=:,./-]+$/.test(words) ? words : "'" + words.replaceAll("'", "'\\''") + "'";
}

function answerSamples(operation) {
  return Object.entries(operation.responses ?? {}).flatMap(([status, answer]) => {
    const [type, media] = Object.entries(resolve(answer).content ?? {})[0] ?? [];
    if (!media) return /^2/.test(status) ? [[status, "(no body)"]] : [];
    const value = mediaExample(media);
    return [[status, typeof value === "string" && !/json/.test(type) ? value : JSON.stringify(value, null, 2)]];
  });
}

/** A dark panel of one or several texts, chosen by tabs. */
function sample(title, texts) {
  if (texts.length === 0) return null;
  const code = el("code", {});
  const pre = el("pre", { tabindex: "0", "aria-label": title }, code);
  const tabs = texts.map(([name]) => el("button", { type: "button", role: "tab" }, name.replace(/^application\/|\/form-data$/g, "")));
  const show = (index) => {
    code.replaceChildren(...(/^\s*[[{]/.test(texts[index][1]) ? coloured(texts[index][1]) : [texts[index][1]]));
    tabs.forEach((tab, at) => { tab.setAttribute("aria-selected", String(at === index)); tab.tabIndex = at === index ? 0 : -1; });
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => show(index));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = (index + step + tabs.length) % tabs.length;
      show(next);
      tabs[next].focus();
    });
  });
  show(0);
  const copy = el("button", { type: "button", class: "copy" }, "Copy");
  copy.addEventListener("click", () => copied(pre, copy));
  return el("section", { class: "sample" },
    el("header", {}, title, texts.some(([name]) => name) ? el("div", { class: "tabs", role: "tablist", "aria-label": title }, tabs) : null, copy), pre);
}

async function copied(pre, button) {
  try {
    await navigator.clipboard.writeText(pre.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(pre); // Without a secure origin there is no clipboard: leave it selected.
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

function coloured(json) {
  const parts = json.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d[\d.eE+-]*|[^"\w-]+|[\w-]/g);
  return Array.from(parts, ([whole, string, colon, word]) => {
    if (string) return colon ? [el("span", { class: "key" }, string), colon] : el("span", { class: "string" }, string);
    if (word) return el("span", { class: "word" }, whole);
    return /^-?\d/.test(whole) ? el("span", { class: "number" }, whole) : whole;
  }).flat();
}

// Finding one's way

function search(groups) {
  const box = document.getElementById("search");
  const operations = groups.flatMap((group) => group.operations);
  for (const operation of operations) {
    const fields = [operation.body, operation.responses].map((part) => JSON.stringify(part ?? {}) + namesIn(part));
    operation.words = [operation.method, operation.path, operation.title, operation.description, JSON.stringify(operation.parameters), ...fields].join(" ").toLowerCase();
  }
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const operation of operations) {
      const hit = wanted.every((word) => operation.words.includes(word));
      operation.article.hidden = operation.entry.hidden = !hit;
      shown += hit ? 1 : 0;
    }
    for (const group of groups) group.section.hidden = group.contents.hidden = group.operations.every((operation) => operation.article.hidden);
    document.getElementById("top").hidden = wanted.length > 0;
    document.getElementById("count").textContent = wanted.length ? `${shown} of ${operations.length} calls` : "";
  });
}

/** The field names and values of every schema that this part refers to. */
function namesIn(part, seen = new Set()) {
  const refs = [...JSON.stringify(part ?? {}).matchAll(/"\$ref":"([^"]*)"/g)].map((match) => match[1]).filter((ref) => !seen.has(ref));
  return refs.map((ref) => {
    seen.add(ref);
    const target = resolve({ $ref: ref });
    return JSON.stringify(target) + namesIn(target, seen);
  }).join(" ");
}

function keyboard() {
  const box = document.getElementById("search");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === box) {
      if (event.key === "Escape") { box.value = ""; box.dispatchEvent(new Event("input")); box.blur(); }
      if (event.key === "Enter" || event.key === "ArrowDown") { event.preventDefault(); visibleLinks()[0]?.focus(); }
      return;
    }
    if (event.key === "/") { event.preventDefault(); box.focus(); box.select(); }
    if (event.key === "t") document.getElementById("theme").click();
    if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    const inContents = document.activeElement?.closest(".contents");
    if (inContents && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      const links = visibleLinks();
      const to = links.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
      if (to < 0) box.focus(); else links[Math.min(to, links.length - 1)]?.focus();
    }
  });
}

function visibleLinks() {
  return [...document.querySelectorAll(".contents a")].filter((link) => !link.closest("[hidden]"));
}

function step(by) {
  const articles = [...document.querySelectorAll(".operation")].filter((article) => !article.closest("[hidden]"));
  const at = articles.findIndex((article) => article.getBoundingClientRect().bottom > 90);
  const onIt = at >= 0 && articles[at].getBoundingClientRect().top < 90;
  const next = articles[by > 0 && !onIt ? at : at + by];
  next?.scrollIntoView();
  next?.focus({ preventScroll: true });
}

function followScrolling() {
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((entry) => entry.isIntersecting)) {
      links.forEach((link) => link.removeAttribute("aria-current"));
      const link = links.get(entry.target.id);
      link?.setAttribute("aria-current", "location");
      if (link && !link.closest(".contents").contains(document.activeElement)) link.scrollIntoView({ block: "nearest" });
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll(".operation").forEach((article) => observer.observe(article));
}

function theme() {
  const root = document.documentElement;
  const kept = localStorage.getItem("theme");
  if (kept) root.dataset.theme = kept;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
}

// Elements

function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Paragraphs, lists, `code` and **strong** of a description. */
function text(source) {
  if (!source) return null;
  const blocks = source.trim().split(/\n\s*\n/).map((block) => {
    const lines = block.split("\n");
    if (!lines.every((line) => /^\s*[-*] |^\s{2,}/.test(line))) return el("p", {}, inline(block));
    const items = block.split(/^\s*[-*] /m).filter((item) => item.trim());
    return el("ul", {}, items.map((item) => el("li", {}, inline(item.trim()))));
  });
  return el("div", { class: "text" }, blocks);
}

function inline(source) {
  return source.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map((part) => {
    if (part.length > 2 && part.startsWith("`")) return el("code", {}, part.slice(1, -1));
    if (part.length > 4 && part.startsWith("**")) return el("strong", {}, part.slice(2, -2));
    return part;
  });
}
