// A picture on which is painted what shall be drawn anew: strokes of a round brush, some of which erase. The mask goes to Python
// as the trigger `painted`, a PNG as a data URL whose painted part is white on black.
const COLOR = "#e0287d", SIDE = 768, STEP = 0.02;

export default function ({ parentElement, data: [data], setTriggerValue }) {
  const find = (name) => parentElement.querySelector(name);
  const [stage, canvas, brush, range] = [find(".stage"), find("canvas"), find(".brush"), find("input")];
  const state = parentElement.painting?.picture === data.picture ? parentElement.painting : { picture: data.picture, steps: [[]], at: [0.5, 0.5], erase: false };
  parentElement.painting = state;
  const [wide, tall] = data.ratio > 1 ? [SIDE, Math.round(SIDE / data.ratio)] : [Math.round(SIDE * data.ratio), SIDE];
  [canvas.width, canvas.height] = [wide, tall];
  stage.style.setProperty("--ratio", data.ratio);
  find("img").src = data.picture;
  find("img").alt = data.alt;
  canvas.setAttribute("aria-label", data.words.canvas);
  find(".tools").setAttribute("aria-label", data.words.tools);
  find("label span").textContent = data.words.size;
  find(".help").textContent = data.words.help;
  for (const name of ["paint", "erase", "undo", "clear", "done"]) find(`.${name}`).textContent = data.words[name];

  const strokes = () => state.steps[state.steps.length - 1];
  const draw = (context, color, list) => {
    context.clearRect(0, 0, wide, tall);
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = context.fillStyle = color;
    for (const { erase, width, points } of list) {
      context.globalCompositeOperation = erase ? "destination-out" : "source-over";
      context.lineWidth = width * wide;
      context.beginPath();
      points.forEach(([x, y]) => context.lineTo(x * wide, y * tall));
      // A line without length is drawn by no browser: a dab is a point twice.
      if (points.length === 1) context.lineTo(points[0][0] * wide + 0.01, points[0][1] * tall);
      context.stroke();
    }
    context.globalCompositeOperation = "source-over";
  };
  const show = (all = strokes()) => {
    draw(canvas.getContext("2d"), COLOR, all);
    find(".paint").setAttribute("aria-pressed", String(!state.erase));
    find(".erase").setAttribute("aria-pressed", String(state.erase));
    find(".undo").disabled = state.steps.length < 2;
    find(".clear").disabled = find(".done").disabled = !strokes().length;
    const size = (range.value / 100) * stage.clientWidth;
    brush.style.cssText = `left: ${state.at[0] * 100}%; top: ${state.at[1] * 100}%; width: ${size}px; height: ${size}px`;
  };
  const begin = () => ({ erase: state.erase, width: range.value / 100, points: [state.at] });
  const keep = (list) => { state.steps.push(list); show(); };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    state.at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };

  let stroke;
  canvas.onpointerdown = (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    place(event);
    stroke = begin();
    show([...strokes(), stroke]);
  };
  canvas.onpointermove = (event) => {
    place(event);
    if (stroke) stroke.points.push(state.at);
    show(stroke ? [...strokes(), stroke] : strokes());
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (stroke) keep([...strokes(), stroke]);
    stroke = undefined;
  };
  canvas.onkeydown = (event) => {
    const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    if (moves[event.key]) state.at = state.at.map((at, axis) => Math.min(1, Math.max(0, at + moves[event.key][axis])));
    else if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    if (moves[event.key] && !event.shiftKey) show();
    else keep([...strokes(), begin()]);
  };
  range.oninput = () => show();
  find(".paint").onclick = () => { state.erase = false; show(); };
  find(".erase").onclick = () => { state.erase = true; show(); };
  find(".undo").onclick = () => { state.steps.pop(); show(); };
  find(".clear").onclick = () => keep([]);
  find(".done").onclick = () => {
    const [mask, white] = [new OffscreenCanvas(wide, tall), document.createElement("canvas")];
    [white.width, white.height] = [wide, tall];
    draw(mask.getContext("2d"), "#fff", strokes());
    const context = white.getContext("2d");
    context.fillRect(0, 0, wide, tall);
    context.drawImage(mask, 0, 0);
    setTriggerValue("painted", white.toDataURL("image/png"));
  };
  show();
}
