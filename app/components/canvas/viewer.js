// A picture that can be zoomed and moved, with the pictures before and after it. What it was asked for goes to Python as a
// trigger: `go` is the id of another portrait, `close` the list.
const MOST = 8, STEP = 1.4, CLICKED = 2.5, SWIPE = 50, STILL = 5;
const TYPED = "input, textarea, select, [contenteditable], [role=slider], [role=listbox], [role=option], [role=combobox], [role=radiogroup], [role=tablist], [role=dialog]";

export default function ({ parentElement, data: [data], setTriggerValue }) {
  parentElement.stopViewer?.();
  const find = (name) => parentElement.querySelector(name);
  const [stage, img, told] = [find(".stage"), find("img"), find(".told")];
  const stop = new AbortController();
  const on = (target, name, action, options = {}) => target.addEventListener(name, action, { signal: stop.signal, ...options });
  const view = { scale: 1, x: 0, y: 0 };
  parentElement.stopViewer = () => stop.abort();

  const show = () => {
    const { width, height } = stage.getBoundingClientRect();
    view.x = Math.min(0, Math.max(width * (1 - view.scale), view.x));
    view.y = Math.min(0, Math.max(height * (1 - view.scale), view.y));
    img.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    stage.classList.toggle("zoomed", view.scale > 1);
    find(".scale").textContent = `${Math.round(view.scale * 100)} %`;
    find(".smaller").disabled = view.scale <= 1;
    find(".larger").disabled = view.scale >= MOST;
    // Details that the smaller picture lacks are fetched when somebody looks for them.
    if (view.scale > 1.2 && img.dataset.whole !== data.whole) {
      img.dataset.whole = data.whole;
      const whole = new Image();
      whole.onload = () => { if (img.dataset.whole === data.whole) img.src = data.whole; };
      whole.src = data.whole;
    }
  };
  const zoom = (scale, at) => {
    const box = stage.getBoundingClientRect();
    const [x, y] = at ? [at.clientX - box.left, at.clientY - box.top] : [box.width / 2, box.height / 2];
    const next = Math.min(MOST, Math.max(1, scale));
    view.x = x - ((x - view.x) * next) / view.scale;
    view.y = y - ((y - view.y) * next) / view.scale;
    view.scale = next;
    show();
  };
  const move = (x, y) => { view.x += x; view.y += y; show(); };
  const go = (id) => {
    if (!id) return;
    // The address changes in place: one step back leads to the list, however many portraits were looked at.
    const address = new URL(window.location.href);
    address.search = address.search.replace(/([?&]id=)[^&]*/, `$1${encodeURIComponent(id)}`);
    window.history.replaceState(window.history.state, "", address);
    setTriggerValue("go", id);
  };

  stage.style.setProperty("--ratio", data.ratio);
  img.dataset.whole = "";
  img.src = data.picture;
  img.alt = data.alt;
  find(".viewer").setAttribute("aria-label", data.words.viewer);
  find(".place").textContent = data.place;
  told.hidden = true;
  for (const name of ["previous", "next", "smaller", "larger"]) find(`.${name}`).setAttribute("aria-label", data.words[name]);
  for (const name of ["previous", "next"]) {
    find(`.${name}`).hidden = !data[name];
    on(find(`.${name}`), "click", () => go(data[name]));
  }
  on(find(".smaller"), "click", () => zoom(view.scale / STEP));
  on(find(".larger"), "click", () => zoom(view.scale * STEP));
  show();

  followPointers(stage, on, view, { zoom, move, go, data });
  on(stage, "wheel", (event) => {
    // A wheel scrolls the page, unless somebody is zooming already.
    if (view.scale === 1 && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(view.scale * Math.exp(-event.deltaY / 300), event);
  }, { passive: false });
  on(document, "keydown", (event) => {
    const target = event.composedPath()[0];
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || target.closest?.(TYPED)) return;
    if (document.querySelector('[data-testid="stPopoverBody"]')) return;
    const zoomed = view.scale > 1;
    const actions = {
      ArrowLeft: () => (zoomed ? move(60, 0) : go(data.previous)),
      ArrowRight: () => (zoomed ? move(-60, 0) : go(data.next)),
      ArrowUp: zoomed && (() => move(0, 60)),
      ArrowDown: zoomed && (() => move(0, -60)),
      "+": () => zoom(view.scale * STEP),
      "=": () => zoom(view.scale * STEP),
      "-": () => zoom(view.scale / STEP),
      0: () => zoom(1),
      Escape: () => (zoomed ? zoom(1) : setTriggerValue("close", true)),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });
  offerSharing(find(".share"), on, data, (text) => { told.textContent = text; told.hidden = !text; });
  return () => stop.abort();
}

// One finger or the mouse moves a picture that is zoomed, and turns the page of one that is not; two fingers zoom; a click zooms.
function followPointers(stage, on, view, { zoom, move, go, data }) {
  const fingers = new Map();
  let begun, spread;
  const apart = () => {
    const [one, other] = [...fingers.values()];
    return { away: Math.hypot(one.x - other.x, one.y - other.y), clientX: (one.x + other.x) / 2, clientY: (one.y + other.y) / 2 };
  };
  on(stage, "pointerdown", (event) => {
    if (event.target.closest("button") || (event.pointerType === "mouse" && event.button)) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 1) begun = { x: event.clientX, y: event.clientY, moved: 0 };
    if (fingers.size === 2) spread = { ...apart(), scale: view.scale };
  });
  on(document, "pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const [x, y] = [event.clientX - finger.x, event.clientY - finger.y];
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    begun.moved = Math.max(begun.moved, Math.hypot(event.clientX - begun.x, event.clientY - begun.y));
    if (fingers.size === 2) {
      begun.moved = Infinity;
      zoom((spread.scale * apart().away) / spread.away, apart());
    } else if (view.scale > 1) move(x, y);
  });
  const end = (event) => {
    if (!fingers.delete(event.pointerId) || fingers.size || event.type === "pointercancel") return;
    const [x, y] = [event.clientX - begun.x, event.clientY - begun.y];
    if (begun.moved <= STILL) zoom(view.scale > 1 ? 1 : CLICKED, event);
    else if (view.scale === 1 && begun.moved < Infinity && Math.abs(x) > SWIPE && Math.abs(x) > 1.5 * Math.abs(y))
      go(x > 0 ? data.previous : data.next);
  };
  on(document, "pointerup", end);
  on(document, "pointercancel", end);
}

// The button that hands the file to another app; only browsers that can do so show it.
function offerSharing(button, on, data, tell) {
  const probe = new File(["x"], "x.jpg", { type: "image/jpeg" });
  button.hidden = !navigator.canShare?.({ files: [probe] });
  button.querySelector("span").textContent = data.words.share;
  let file;
  on(button, "click", async () => {
    tell("");
    try {
      if (!file) {
        const answer = await fetch(data.file);
        if (!answer.ok) throw new Error(String(answer.status));
        const content = await answer.blob();
        file = new File([content], `${data.name}.${content.type.split("/")[1].replace("jpeg", "jpg")}`, { type: content.type });
      }
      await navigator.share({ files: [file], title: data.name });
    } catch (error) {
      // Fetching can take longer than a click counts: the file is there at the next one.
      if (error.name !== "AbortError") tell(error.name === "NotAllowedError" && file ? data.words.share_again : data.words.share_failed);
    }
  });
}
