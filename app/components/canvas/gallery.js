// Cards that are chosen by a click. What is chosen goes to Python as the state `picked`: the ids in the order in which they were
// chosen, and the number of the click, by which older answers are told from newer ones; `remove` is the id of a card.
const TICK = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 13l4 4L19 7"/></svg>';

export default function ({ parentElement, data: [data], setStateValue, setTriggerValue }) {
  const root = parentElement.querySelector(".gallery");
  const state = (parentElement.gallery ??= { chosen: [], clicks: -1, drawn: "" });
  if (data.clicks >= state.clicks) Object.assign(state, { chosen: data.chosen, clicks: data.clicks });

  const mark = () => {
    for (const card of root.querySelectorAll(".card")) card.setAttribute("aria-pressed", state.chosen.includes(card.dataset.id));
  };
  const choose = (id) => {
    const without = state.chosen.filter((each) => each !== id);
    state.chosen = without.length < state.chosen.length ? without : [...without, id];
    state.clicks += 1;
    mark();
    setStateValue("picked", { chosen: state.chosen, clicks: state.clicks });
  };
  // Cards that did not change stay, with the focus that one of them may have.
  const content = JSON.stringify(data.sections);
  if (state.drawn !== content) {
    state.drawn = content;
    root.replaceChildren(...data.sections.map(section));
  }
  root.onclick = (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.classList.contains("remove")) setTriggerValue("remove", button.dataset.id);
    else choose(button.dataset.id);
  };
  mark();
}

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

function section({ title, note, cards }) {
  const made = document.createElement("section");
  if (title) made.append(element("h3", "", title));
  if (note) made.append(element("p", "soft", note));
  const list = document.createElement("ul");
  list.append(...cards.map(item));
  made.append(list);
  return made;
}

function item(card) {
  const made = document.createElement("li");
  const button = element("button", "card");
  button.type = "button";
  button.dataset.id = card.id;
  button.setAttribute("aria-label", card.label);
  button.append(frame(card), words(card));
  made.append(button);
  if (card.remove) {
    const remove = element("button", "remove", card.remove);
    remove.type = "button";
    remove.dataset.id = card.id;
    remove.setAttribute("aria-label", card.removeLabel);
    made.append(remove);
  }
  return made;
}

function frame(card) {
  const made = element("span", card.boxes ? "frame boxed" : "frame");
  const img = document.createElement("img");
  Object.assign(img, { loading: "lazy", decoding: "async", alt: card.alt, src: card.picture });
  const marked = card.boxes ? element("span", "marked") : made;
  marked.append(img, ...(card.boxes ?? []).map(box));
  if (card.boxes) made.append(marked);
  const tick = element("span", "tick");
  tick.innerHTML = TICK;
  made.append(tick);
  return made;
}

function box({ left, top, right, bottom }) {
  const made = document.createElement("i");
  const share = (value) => `${100 * value}%`;
  Object.assign(made.style, { left: share(left), top: share(top), width: share(right - left), height: share(bottom - top) });
  return made;
}

function words(card) {
  const made = element("span", "text");
  made.append(element("span", "title", card.title));
  if (card.note) made.append(element("span", "note", card.note));
  return made;
}
