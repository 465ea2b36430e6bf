// Runs once in each page, before Streamlit's own scripts: the document's language, Streamlit's own words, the word that it is
// busy, and its lost connection. `settings` is what `app/components/page_script.py` puts before it.
document.documentElement.lang = settings.language;
if (!window.portraitPage) {
  window.portraitPage = true;
  const ATTRIBUTES = ["aria-label", "title", "placeholder", "alt"];
  // Where Streamlit writes text of its own: everything else on a page is ours, or somebody's.
  const TEXTS = settings.places;
  const exact = new Map(settings.words);
  const patterns = settings.patterns.map(([pattern, text]) => [new RegExp(pattern, "s"), text]);

  const translated = (text) => {
    const plain = text.trim();
    if (exact.has(plain)) return exact.get(plain);
    const [pattern, other] = patterns.find(([each]) => each.test(plain)) ?? [];
    if (pattern) return plain.replace(pattern, other);
    return null;
  };
  const translateAttributes = (element) => {
    for (const name of ATTRIBUTES) {
      const text = element.getAttribute(name);
      const other = text && translated(text);
      if (other) element.setAttribute(name, other);
    }
  };
  const translateText = (node) => {
    const other = node.parentElement?.closest(TEXTS) && translated(node.data);
    if (other) node.data = other;
  };
  const translateAll = (node) => {
    if (node.nodeType === Node.TEXT_NODE) translateText(node);
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    translateAttributes(node);
    for (const each of node.querySelectorAll(ATTRIBUTES.map((name) => `[${name}]`).join())) translateAttributes(each);
    const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) translateText(texts.currentNode);
  };
  if (exact.size) {
    new MutationObserver((changes) => {
      for (const change of changes) {
        if (change.type === "attributes") translateAttributes(change.target);
        else if (change.type === "characterData") translateText(change.target);
        else change.addedNodes.forEach(translateAll);
      }
    }).observe(document.body, { attributeFilter: ATTRIBUTES, characterData: true, childList: true, subtree: true });
    translateAll(document.body);
  }

  // The top layer: a dialog that is open leaves these to screen readers.
  const live = document.createElement("div");
  live.className = "p-live";
  live.setAttribute("role", "status");
  const away = document.createElement("div");
  away.className = "p-away";
  away.setAttribute("role", "alert");
  for (const each of [live, away]) each.dataset.reactAriaTopLayer = "true";
  document.body.append(live, away);
  const showAway = () => {
    const title = document.createElement("strong");
    const text = document.createElement("span");
    const reload = document.createElement("button");
    [title.textContent, text.textContent, reload.textContent] = [settings.away, settings.lost, settings.reload];
    reload.type = "button";
    reload.addEventListener("click", () => window.location.reload());
    away.replaceChildren(title, text, reload);
  };

  // Streamlit's own dialog of a lost connection says what only its developers understand.
  const closeDialog = () => {
    for (const title of document.querySelectorAll('[role="dialog"] [slot="title"]')) {
      const dialog = title.closest('[role="dialog"]');
      if (title.textContent === "Connection error") dialog.querySelector("button")?.click();
    }
  };
  new MutationObserver(closeDialog).observe(document.body, { childList: true });

  let busy, lost;
  const follow = (app) => {
    const running = app.dataset.testScriptState === "running";
    const connected = ["CONNECTED", "INITIAL"].includes(app.dataset.testConnectionState);
    if (!running) live.textContent = "";
    if (running !== Boolean(busy)) {
      clearTimeout(busy);
      busy = running ? setTimeout(() => (live.textContent = settings.busy), 500) : undefined;
    }
    if (connected) away.replaceChildren();
    if (connected === Boolean(lost)) {
      clearTimeout(lost);
      lost = connected ? undefined : setTimeout(showAway, 1500);
    }
  };
  new MutationObserver(() => follow(document.querySelector('[data-testid="stApp"]'))).observe(document.body, {
    attributeFilter: ["data-test-script-state", "data-test-connection-state"], subtree: true,
  });
}
