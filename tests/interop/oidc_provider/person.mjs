// A person at a real browser: Chromium, driven by its own DevTools protocol with real key strokes and clicks.
// Usage: node person.mjs DEVTOOLS JOB; DEVTOOLS is Chromium's WebSocket address, JOB is JSON:
//   url      where to begin
//   fill     what the person types, by CSS selector; a page has some of the fields or none
//   press    what the person presses, by CSS selector, in order of preference; `{text: ".."}` finds a button by its words
//   until    the beginning of the address, or words of the page, where the person stops
//   width, height, scheme ("light", "dark"), shot (a file for a picture of the last page)
// It prints one JSON object: the pages seen, and of the last one address, words, width and the contrast of its texts.
import { writeFileSync } from 'node:fs';

const [devtools, job] = [process.argv[2], JSON.parse(process.argv[3])];
const deadline = Date.now() + 45_000;
const pause = (time) => new Promise((done) => setTimeout(done, time));

const socket = new WebSocket(devtools);
await new Promise((open, fail) => { socket.onopen = open; socket.onerror = () => fail(new Error('no DevTools')); });
const waiting = new Map();
let count = 0;
socket.onmessage = ({ data }) => {
  const { id, result, error } = JSON.parse(data);
  const [done, fail] = waiting.get(id) ?? [];
  waiting.delete(id);
  if (error) fail?.(new Error(error.message)); else done?.(result);
};
const call = (method, params = {}, sessionId = undefined) => new Promise((done, fail) => {
  count += 1;
  waiting.set(count, [done, fail]);
  socket.send(JSON.stringify({ id: count, method, params, sessionId }));
});

const { targetId } = await call('Target.createTarget', { url: 'about:blank' });
const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true });
const page = (method, params) => call(method, params, sessionId);
await page('Page.enable');
const size = { width: job.width ?? 1000, height: job.height ?? 800 };
await page('Emulation.setDeviceMetricsOverride', { ...size, deviceScaleFactor: 1, mobile: (job.width ?? 1000) < 600 });
if (job.scheme) {
  await page('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: job.scheme }] });
}

// what is asked of a page that is just being left has no answer: it is asked again
async function ask(expression) {
  for (;;) {
    const asked = await page('Runtime.evaluate', { expression, returnByValue: true }).catch(() => undefined);
    if (asked && !asked.exceptionDetails) return asked.result.value;
    if (Date.now() > deadline) throw new Error(`the page does not answer ${JSON.stringify(asked)}`);
    await pause(50);
  }
}

// the middle of an element that a person can see and press
const place = (find) => `(() => {
  const element = ${find};
  if (!element || element.disabled) return null;
  element.scrollIntoView({ block: 'center' });
  const box = element.getBoundingClientRect();
  return box.width && box.height ? { x: box.x + box.width / 2, y: box.y + box.height / 2 } : null;
})()`;
const words = (text) =>
  `[...document.querySelectorAll('button, a, input[type=submit]')].find((e) => (e.innerText || e.value || '').trim().startsWith(${JSON.stringify(text)}))`;
const finder = (wanted) => (wanted.text ? words(wanted.text) : `document.querySelector(${JSON.stringify(wanted)})`);

async function press(at) {
  const mouse = { ...at, button: 'left', clickCount: 1 };
  await page('Input.dispatchMouseEvent', { type: 'mousePressed', ...mouse });
  await page('Input.dispatchMouseEvent', { type: 'mouseReleased', ...mouse });
}

async function type(selector, text) {
  const field = finder(selector);
  if (!(await ask(place(field))) || (await ask(`${field}.value`)) === text) return;
  await ask(`(${field}.focus(), ${field}.select(), true)`);
  await page('Input.insertText', { text });
}

const look = () => ask(`({
  ready: document.readyState === 'complete',
  url: location.href,
  title: document.title,
  text: document.body ? document.body.innerText : '',
})`);

const seen = [];
let now;
await page('Page.navigate', { url: job.url });
for (let pressed; ;) {
  now = await look();
  if (Date.now() > deadline) throw new Error(`the person is stuck at ${JSON.stringify({ seen, now })}`);
  if (!now.ready || now.url === 'about:blank') { await pause(50); continue; }
  if (seen.at(-1) !== now.url) seen.push(now.url);
  if (now.url.startsWith(job.until) || now.text.includes(job.until)) break;
  // a page is acted on once; a page that changes without another address is a new one
  const same = `${now.url} ${now.text}`;
  if (same === pressed) { await pause(50); continue; }
  for (const [selector, text] of Object.entries(job.fill ?? {})) await type(selector, text);
  for (const wanted of job.press ?? []) {
    const at = await ask(place(finder(wanted)));
    if (at) { pressed = same; await press(at); break; }
  }
  await pause(100);
}

// WCAG 2.2, 1.4.3: the least contrast between a text and what is behind it
const contrast = await ask(`(() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const texts = [...document.querySelectorAll('body *')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  return texts.reduce((least, e) => {
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    return ratio < least.ratio ? { ratio, text: e.innerText.slice(0, 60) } : least;
  }, { ratio: 21, text: '' });
})()`);
const wide = await ask('({ page: document.documentElement.scrollWidth, window: window.innerWidth })');
if (job.shot) {
  const { data } = await page('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
  writeFileSync(job.shot, Buffer.from(data, 'base64'));
}
await call('Target.closeTarget', { targetId });
socket.close();
console.log(JSON.stringify({ seen, url: now.url, title: now.title, text: now.text, wide, contrast }));
