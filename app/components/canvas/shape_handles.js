// A portrait in the middle of a canvas of another shape, whose edges are dragged, or typed as numbers. Either the width or the
// height grows, at most to twice the other side: `extended` is the trigger with both in pixels.
export default function ({ parentElement, data: [data], setTriggerValue }) {
  parentElement.stopWatching?.();
  const find = (name) => parentElement.querySelector(name);
  const [area, canvas, img] = [find(".area"), find(".canvas"), find("img")];
  const own = { width: data.width, height: data.height };
  const most = { width: Math.min(data.most, data.aspect * own.height), height: Math.min(data.most, data.aspect * own.width) };
  const other = { width: "height", height: "width" };
  const kept = parentElement.extending;
  const size = kept?.picture === data.picture ? kept.size : { ...own };
  parentElement.extending = { picture: data.picture, size };
  const canGrow = (axis) => most[axis] > own[axis];

  const show = () => {
    const room = Math.min((area.clientWidth - 56) / Math.max(own.width, size.width), (area.clientHeight - 56) / Math.max(own.height, size.height));
    Object.assign(canvas.style, { width: `${size.width * room}px`, height: `${size.height * room}px` });
    Object.assign(img.style, { width: `${own.width * room}px`, height: `${own.height * room}px` });
    for (const axis of ["width", "height"]) {
      find(`input.${axis}`).value = size[axis];
      for (const handle of parentElement.querySelectorAll(`[data-axis=${axis}]`)) {
        handle.setAttribute("aria-valuenow", size[axis]);
        handle.setAttribute("aria-valuetext", `${size.width} × ${size.height}`);
      }
    }
    find(".done").disabled = size.width === own.width && size.height === own.height;
    for (const button of find(".shapes").children) button.setAttribute("aria-pressed", String(button.dataset.size === `${size.width}×${size.height}`));
    return room;
  };
  // The picture stays whole: where one side grows the other is its own again.
  const set = (axis, value) => {
    size[axis] = Math.round(Math.min(most[axis], Math.max(own[axis], value || 0)));
    if (size[axis] > own[axis]) size[other[axis]] = own[other[axis]];
    show();
  };

  img.src = data.picture;
  img.alt = data.alt;
  find(".width-label").textContent = data.words.width;
  find(".height-label").textContent = data.words.height;
  find(".shapes").setAttribute("aria-label", data.words.shapes);
  find(".done").textContent = data.words.done;
  find(".help").textContent = data.words.help;
  for (const axis of ["width", "height"]) {
    const input = find(`input.${axis}`);
    Object.assign(input, { min: own[axis], max: Math.floor(most[axis]), disabled: !canGrow(axis) });
    input.onchange = () => set(axis, Number(input.value));
    for (const handle of parentElement.querySelectorAll(`[data-axis=${axis}]`)) grip(handle, axis);
  }
  find(".shapes").replaceChildren(...data.shapes.map(({ name, width, height }) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: name });
    button.dataset.size = `${width}×${height}`;
    button.onclick = () => { Object.assign(size, { width, height }); show(); };
    return button;
  }));
  find(".done").onclick = () => setTriggerValue("extended", { ...size });

  function grip(handle, axis) {
    const turned = { left: -1, top: -1, right: 1, bottom: 1 };
    const sign = turned[handle.classList[1]];
    const values = { role: "slider", tabindex: 0, "aria-label": data.words[axis], "aria-valuemin": own[axis], "aria-valuemax": Math.floor(most[axis]), "aria-orientation": axis === "width" ? "horizontal" : "vertical" };
    for (const [name, value] of Object.entries(values)) handle.setAttribute(name, value);
    handle.hidden = !canGrow(axis);
    let from;
    handle.onpointerdown = (event) => {
      handle.setPointerCapture(event.pointerId);
      from = { at: axis === "width" ? event.clientX : event.clientY, size: size[axis], room: show() };
    };
    handle.onpointermove = (event) => {
      if (!from) return;
      const moved = (axis === "width" ? event.clientX : event.clientY) - from.at;
      // The picture stays in the middle: both sides move.
      set(axis, from.size + (2 * sign * moved) / from.room);
    };
    handle.onpointerup = handle.onpointercancel = () => { from = undefined; };
    handle.onkeydown = (event) => {
      const steps = { ArrowRight: 16, ArrowUp: 16, ArrowLeft: -16, ArrowDown: -16, PageUp: 128, PageDown: -128, Home: -1e6, End: 1e6 };
      if (!steps[event.key]) return;
      event.preventDefault();
      event.stopPropagation();
      set(axis, size[axis] + steps[event.key]);
    };
  }

  show();
  const watch = new ResizeObserver(() => show());
  watch.observe(area);
  parentElement.stopWatching = () => watch.disconnect();
  return parentElement.stopWatching;
}
