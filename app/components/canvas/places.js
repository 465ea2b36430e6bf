// A picture whose faces are marked, and places that are added by a click or the button, moved by dragging or the arrow keys, and
// removed by the delete key or a click without moving. They go to Python as the state `places`: shares of width and height.
const STEP = 0.02, STILL = 0.01;

export default function ({ parentElement, data: [data], setStateValue }) {
  const find = (name) => parentElement.querySelector(name);
  const [stage, img, told, add] = [find(".stage"), find("img"), find(".told"), find(".add")];
  const state = (parentElement.places ??= { places: data.places });
  const words = data.words;
  img.src = data.picture;
  img.alt = data.alt;
  stage.setAttribute("aria-label", words.stage);
  told.textContent = words.help;
  add.textContent = words.add;

  const send = () => setStateValue("places", state.places);
  const change = (places, focus) => {
    state.places = places;
    draw();
    if (focus !== undefined) stage.querySelectorAll(".place")[focus]?.focus();
    send();
  };
  const insert = (x, y) => {
    if (state.places.length < data.most) change([...state.places, { x, y }], state.places.length);
  };
  const remove = (at) => change(state.places.filter((_, number) => number !== at));
  const moved = (at, x, y) => state.places.map((each, number) => (number === at ? { x: clamp(x), y: clamp(y) } : each));

  const draw = () => {
    stage.querySelectorAll(".mark, .place").forEach((each) => each.remove());
    stage.append(...data.marks.map(mark), ...state.places.map(place));
    add.disabled = state.places.length >= data.most;
  };
  const place = ({ x, y }, at) => {
    const made = document.createElement("button");
    Object.assign(made, { type: "button", className: "place", textContent: data.first + at });
    made.setAttribute("aria-label", words.place.replace("{number}", data.first + at));
    Object.assign(made.style, { left: `${100 * x}%`, top: `${100 * y}%` });
    followPointer(made, stage, (x, y, ended) => {
      Object.assign(made.style, { left: `${100 * x}%`, top: `${100 * y}%` });
      if (!ended) return;
      const from = state.places[at];
      if (Math.hypot(x - from.x, y - from.y) < STILL) remove(at);
      else change(moved(at, x, y), at);
    });
    made.onkeydown = (event) => {
      const steps = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
      const { x, y } = state.places[at];
      if (steps[event.key]) change(moved(at, x + steps[event.key][0], y + steps[event.key][1]), at);
      else if (["Delete", "Backspace", "Enter", " "].includes(event.key)) remove(at);
      else return;
      event.preventDefault();
    };
    return made;
  };
  stage.onclick = (event) => {
    if (event.target.closest(".place")) return;
    insert(...share(event, stage));
  };
  stage.onkeydown = (event) => {
    if (event.target === stage && event.key === "Enter") insert(0.5, 0.4);
  };
  add.onclick = () => insert(0.5, 0.4);
  draw();
}

const clamp = (value) => Math.min(1, Math.max(0, value));

function share(event, stage) {
  const box = stage.getBoundingClientRect();
  return [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
}

function followPointer(button, stage, move) {
  button.onpointerdown = (event) => {
    button.setPointerCapture(event.pointerId);
    button.onpointermove = (next) => move(...share(next, stage), false);
    button.onpointerup = (last) => {
      button.onpointermove = button.onpointerup = null;
      move(...share(last, stage), true);
    };
  };
  button.onclick = (event) => event.stopPropagation();
}

function mark({ left, top, right, bottom, label }) {
  const made = document.createElement("span");
  made.className = "mark";
  const name = document.createElement("b");
  name.textContent = label;
  made.append(name);
  const percent = (value) => `${100 * value}%`;
  Object.assign(made.style, { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top) });
  return made;
}
