// Sends files to the app: one request each, three at once, in the order in which they were given.

const AT_ONCE = 3;
const PAUSES = [1000, 2000, 4000]; // milliseconds before another try of a connection that broke
const LONGEST_WAIT = 15; // seconds that a server may ask to wait; what takes longer is told instead
const AGAIN = new Set([0, 429, 502, 503, 504]);

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

// Resolves to {status, code, id, wait}; status 0 where no answer came.
function post(address, file, name, onBytes) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("X-File-Name", encodeURIComponent(name));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => onBytes(Math.min(event.loaded, file.size));
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { answer = {}; }
      const wait = Number(request.getResponseHeader("Retry-After") || 0);
      const code = answer.code ?? (request.status === 401 ? "unauthenticated" : "bad_answer");
      done({ status: request.status, code, id: answer.id || "", wait });
    };
    request.onerror = request.onabort = () => done({ status: 0, code: "offline", id: "", wait: 0 });
    request.send(file);
  });
}

class Sender {
  constructor() {
    this.jobs = []; // of this batch, in order
    this.lines = []; // what is told of files until it is dismissed: {name, code, job}
    this.finished = []; // what the page was not told yet
    this.active = 0;
    this.settings = { address: "", most: 0, kinds: [], known: [], repeat: true };
    this.changed = () => {};
    this.ended = () => {};
  }

  get busy() { return this.jobs.length > 0; }
  get bytes() { return this.jobs.reduce((sum, job) => sum + job.sent, 0); }
  get size() { return this.jobs.reduce((sum, job) => sum + job.file.size, 0); }
  get settled() { return this.jobs.filter((job) => job.settled).length; }

  add(files) {
    for (const file of files) {
      const job = { file, name: file.name, sent: 0, started: false, settled: false };
      this.jobs.push(job);
      const fault = this.fault(file);
      if (fault) this.settle(job, fault, "");
    }
    this.next();
  }

  // What is known to be wrong with a file before it is sent.
  fault(file) {
    if (file.size === 0) return "unreadable";
    if (file.size > this.settings.most) return "too_large";
    const kind = file.name.split(".").pop().toLowerCase();
    return file.type.startsWith("image/") || this.settings.kinds.includes(kind) ? "" : "not_a_photo";
  }

  next() {
    while (this.active < AT_ONCE) {
      const job = this.jobs.find((each) => !each.started && !each.settled);
      if (!job) break;
      job.started = true;
      this.active += 1;
      this.send(job).finally(() => { this.active -= 1; this.next(); });
    }
    this.changed();
    if (this.jobs.length && this.settled === this.jobs.length) this.finish();
  }

  async send(job) {
    const { address, repeat } = this.settings;
    const onBytes = (bytes) => { job.sent = bytes; this.changed(); };
    for (let attempt = 0; ; attempt += 1) {
      const answer = await post(address, job.file, job.name, onBytes);
      // A picture whose answer was lost may be there already: only photos are known again by their bytes.
      const lost = answer.status === 0 && !repeat;
      if (attempt === PAUSES.length || lost || !AGAIN.has(answer.status) || answer.wait > LONGEST_WAIT) {
        this.settle(job, answer.code, answer.id);
        return;
      }
      onBytes(0);
      await pause(Math.max(PAUSES[attempt], answer.wait * 1000));
    }
  }

  settle(job, code, id) {
    const known = Boolean(id) && this.settings.known.includes(id);
    if (id && !known) this.settings.known.push(id);
    Object.assign(job, { settled: true, sent: job.file.size, code, id, known });
    if (code || known) this.lines.push({ name: job.name, code: code || "known", job });
    this.changed();
  }

  finish() {
    const told = this.jobs.map(({ name, code, id, known }) => ({ name, code, id, known }));
    this.finished.push(...told);
    this.jobs = [];
    this.changed();
    this.ended();
  }

  dismiss(line) {
    this.lines = line ? this.lines.filter((each) => each !== line) : [];
    this.changed();
  }

  // Files whose connection broke are still here.
  again() {
    const broken = this.lines.filter((line) => line.code === "offline");
    this.lines = this.lines.filter((line) => line.code !== "offline");
    this.add(broken.map((line) => line.job.file));
  }
}

// Files of what was dropped; those of folders too, without what systems hide in them.
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  const walk = async (entry, inside) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed)).catch(() => null);
      const hidden = inside && /^(\.|thumbs\.db$|desktop\.ini$)/i.test(entry.name);
      if (file && !hidden) found.push(file);
      return;
    }
    const reader = entry.createReader();
    const read = () => new Promise((done) => reader.readEntries(done, () => done([])));
    for (let some = await read(); some.length; some = await read()) {
      some.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
      for (const each of some) await walk(each, true);
    }
  };
  for (const entry of entries) await walk(entry, false);
  return found;
}
