// What a person sees and presses: the zone, the camera, progress, and a line for each file that was not taken.

// Outlives the page, so that a batch goes on while somebody looks elsewhere.
const senders = (window.portraitSenders ??= new Map());

const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name] ?? "");

class Picker {
  constructor(root) {
    this.root = root;
    this.$ = (selector) => root.querySelector(selector);
    this.camera = new Camera(this.$("video"));
    this.shots = []; // {blob, url} on the strip
    this.shot = null; // the one that is looked at
    this.opened = false;
    this.counting = false;
    this.trouble = "";
    this.listen();
  }

  update(data, report) {
    Object.assign(this, { data, report });
    if (!senders.has(data.address)) senders.set(data.address, new Sender());
    this.sender = senders.get(data.address);
    // What arrives during a batch was not here before it.
    const known = this.sender.busy ? this.sender.settings.known : [...data.known];
    this.sender.settings = { ...data, known };
    this.sender.picker = this;
    this.sender.changed = () => this.draw();
    this.sender.ended = () => this.tell();
    this.draw();
    this.tell();
  }

  // Tell the page of a batch that has ended.
  tell() {
    const finished = this.sender.finished.splice(0);
    if (finished.length) this.report(finished);
  }

  listen() {
    const on = (selector, name, action) => this.$(selector).addEventListener(name, action);
    const zone = this.$(".zone"), input = this.$("input");
    on(".choose", "click", () => input.click());
    input.addEventListener("change", () => { this.sender.add([...input.files]); input.value = ""; });
    for (const name of ["dragenter", "dragover"]) {
      zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
    }
    zone.addEventListener("dragleave", () => zone.classList.remove("over"));
    zone.addEventListener("drop", async (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      this.sender.add(await droppedFiles(event.dataTransfer));
    });
    on(".use-camera", "click", () => this.open());
    on(".take", "click", () => this.take());
    on(".again", "click", () => { this.drop(this.shot); this.shot = null; this.draw(); this.$(".take").focus(); });
    on(".keep", "click", () => { this.keep(); this.draw(); this.$(".take").focus(); });
    on(".switch", "click", async () => { this.trouble = await this.camera.other(); this.draw(); });
    on(".close", "click", () => this.close());
    on(".send", "click", () => this.send());
    on(".retry", "click", () => this.sender.again());
    on(".dismiss-all", "click", () => this.sender.dismiss());
    on(".camera", "keydown", (event) => { if (event.key === "Escape") this.close(); });
    this.leave = () => this.camera.stop();
    window.addEventListener("pagehide", this.leave);
  }

  async open() {
    const touch = matchMedia("(pointer: coarse)").matches;
    if (touch && unavailable()) return this.capture();
    this.opened = true;
    this.trouble = "";
    this.draw();
    this.trouble = await this.camera.start();
    this.draw();
    this.$(".camera").scrollIntoView({ block: "nearest" });
    if (this.camera.stream) this.$(".take").focus({ preventScroll: true });
  }

  // The phone's own camera program, which also works where pages may not use the camera.
  capture() {
    const input = Object.assign(document.createElement("input"), { type: "file", accept: "image/*", capture: "user" });
    input.addEventListener("change", () => this.sender.add([...input.files]));
    input.click();
  }

  close() {
    this.camera.stop();
    for (const each of [...this.shots, this.shot]) this.drop(each);
    Object.assign(this, { opened: false, shots: [], shot: null, counting: false });
    this.draw();
    this.$(".use-camera").focus();
  }

  async take() {
    if (this.counting) return;
    this.counting = true;
    this.draw();
    for (let left = this.data.countdown; left > 0 && this.camera.stream; left -= 1) {
      this.$(".count").textContent = left;
      await pause(1000);
    }
    this.$(".count").textContent = "";
    const blob = this.camera.stream ? await this.camera.take() : null;
    this.counting = false;
    if (blob && this.opened) this.shot = { blob, url: URL.createObjectURL(blob), time: new Date() };
    this.draw();
    if (this.shot) this.$(".keep").focus();
  }

  keep() {
    if (this.shot) this.shots.push(this.shot);
    this.shot = null;
  }

  drop(shot) { if (shot) URL.revokeObjectURL(shot.url); }

  send() {
    this.keep();
    const files = this.shots.map(({ blob, time }, at) => {
      const name = fill(this.data.words.shot_name, { time: time.toTimeString().slice(0, 8).replaceAll(":", "-") });
      return new File([blob], name, { type: "image/jpeg", lastModified: time.getTime() + at });
    });
    this.close();
    this.sender.add(files);
  }

  draw() {
    const { words } = this.data;
    const set = (selector, text, shown = true) => {
      const element = this.$(selector);
      if (element.textContent !== text) element.textContent = text;
      element.hidden = !shown;
    };
    set(".head", words.drop);
    set(".choose", words.choose);
    set(".note", words.note);
    set(".use-camera", words.use_camera, this.data.camera && !this.opened);
    this.$("input").accept = this.data.accept;
    this.$(".camera").hidden = !this.opened;
    if (this.opened) this.drawCamera(set, words);
    this.drawWork(set, words);
    this.drawLines(words);
    set(".retry", words.retry, this.sender.lines.some((line) => line.code === "offline"));
    set(".dismiss-all", words.dismiss_all, this.sender.lines.length > 2);
  }

  drawCamera(set, words) {
    const live = Boolean(this.camera.stream), count = this.shots.length + (this.shot ? 1 : 0);
    set(".trouble", words[`camera_${this.trouble}`] || "", Boolean(this.trouble));
    this.$(".view").hidden = !live && !this.shot;
    this.$(".view").classList.toggle("mirrored", this.camera.mirrored);
    this.$("video").hidden = Boolean(this.shot);
    this.$("video").setAttribute("aria-label", words.preview);
    Object.assign(this.$(".shot"), { hidden: !this.shot, src: this.shot?.url || "", alt: words.shot_alt });
    const full = count >= this.data.sendLabels.length;
    set(".take", words.take, live && !this.shot && !full);
    this.$(".take").disabled = this.counting;
    set(".again", words.again, Boolean(this.shot));
    set(".keep", words.keep, Boolean(this.shot) && !full);
    set(".switch", words.switch_camera, live && !this.shot && this.camera.devices.length > 1);
    set(".close", words.close_camera);
    set(".send", this.data.sendLabels[count - 1] || "", count > 0);
    this.$(".strip").replaceChildren(...this.shots.map((shot) => this.thumbnail(shot, words)));
  }

  thumbnail(shot, words) {
    const item = document.createElement("li"), image = document.createElement("img");
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    Object.assign(image, { src: shot.url, alt: words.shot_alt });
    button.setAttribute("aria-label", words.remove_shot);
    button.onclick = () => { this.drop(shot); this.shots = this.shots.filter((each) => each !== shot); this.draw(); };
    item.append(image, button);
    return item;
  }

  drawWork(set, words) {
    const { sender } = this, megabytes = (bytes) => (bytes / 1e6).toFixed(1);
    this.$(".work").hidden = !sender.busy;
    if (!sender.busy) return;
    this.$("progress").value = sender.size ? sender.bytes / sender.size : 0;
    this.$("progress").setAttribute("aria-label", words.sending_label);
    const done = Math.min(sender.jobs.length, sender.settled + 1);
    const numbers = { done, total: sender.jobs.length, sent: megabytes(sender.bytes), size: megabytes(sender.size) };
    set(".work p", fill(words.sending, numbers));
  }

  drawLines(words) {
    const { lines } = this.sender, list = this.$(".told ul");
    this.$(".told").hidden = !lines.length;
    list.replaceChildren(...lines.map((line) => {
      const item = document.createElement("li"), text = document.createElement("span"), name = document.createElement("b");
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
      name.textContent = line.name;
      text.append(name, words.dash + (this.data.refusals[line.code] || words.refused));
      button.setAttribute("aria-label", fill(words.dismiss, { name: line.name }));
      button.onclick = () => this.sender.dismiss(line);
      item.append(text, button);
      return item;
    }));
  }
}

const pickers = new WeakMap();

export default function ({ parentElement, data: [data], setTriggerValue }) {
  const root = parentElement.querySelector(".picker");
  if (!pickers.has(root)) pickers.set(root, new Picker(root));
  const picker = pickers.get(root);
  picker.update(data, (files) => setTriggerValue("sent", files));
  return () => {
    picker.camera.stop();
    window.removeEventListener("pagehide", picker.leave);
    if (picker.sender.picker === picker) picker.sender.changed = picker.sender.ended = () => {};
  };
}
