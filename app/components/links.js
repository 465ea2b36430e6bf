// Runs once in each page, behind `page.js`: it follows links to pages without a reload, and comes back to the place that was left.
if (!window.portraitFollows) {
  window.portraitFollows = true;
  const STEPPING = 15000;
  const pages = () => JSON.parse(document.querySelector(".p-menu")?.dataset.pages ?? "[]");
  const area = () => document.querySelector('[data-testid="stMain"]');
  const pushState = history.pushState.bind(history);
  const push = (state, title, url) => {
    history.replaceState({ ...history.state, top: area()?.scrollTop }, "");
    pushState(state, title, url);
    at = location.pathname;
  };
  const closeMenu = (within) => document.querySelectorAll(".p-menu details[open]").forEach((each) => {
    if (!each.contains(within)) each.open = false;
  });
  // Pages that were left by back and forward since a page was drawn to its end: the run of one that begins late is no step, and
  // would cut off what lies ahead. What changes beside the same page is none either.
  const left = new Set();
  let at = location.pathname, stepped = -STEPPING;
  history.pushState = (state, title, url) => {
    const { pathname } = new URL(url, location.href);
    if (pathname === location.pathname) history.replaceState(state, title, url);
    else if (!left.has(pathname) || Date.now() - stepped > STEPPING) push(state, title, url);
  };
  const follow = (event, link) => {
    const url = new URL(link.href);
    const connected = document.querySelector('[data-test-connection-state="CONNECTED"]');
    if (url.origin !== location.origin || !connected || !pages().includes(url.pathname)) return;
    event.preventDefault();
    if (link.href !== location.href) push({}, "", link.href);
    closeMenu();
    dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  };
  document.addEventListener("click", (event) => {
    const path = event.composedPath();
    closeMenu(path[0]);
    const link = path.find((each) => each.matches?.("a[href]"));
    if (!link || event.defaultPrevented || event.button || link.hasAttribute("download")) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (link.target && link.target !== "_self") return;
    if (link.dataset.language !== undefined) {
      link.search = new URLSearchParams({ back: location.pathname + location.search });
    } else {
      follow(event, link);
    }
  });
  // Back and forward come to the place that was left, once the page is drawn.
  addEventListener("popstate", (event) => {
    const top = event.state?.top;
    const from = Date.now();
    const timer = top && setInterval(() => {
      const drawn = Date.now() - from > 400 && document.querySelector('[data-test-script-state="notRunning"]');
      if (drawn) area().scrollTop = top;
      if ((drawn && area().scrollTop >= top - 2) || Date.now() - from > 5000) clearInterval(timer);
    }, 100);
  });
  // A step that follows before the run of the page before has begun leaves Streamlit on that page: it is told of the step again
  // once the run has ended.
  addEventListener("popstate", (event) => {
    if (!event.isTrusted) return;
    stepped = Date.now();
    left.add(at);
    at = location.pathname;
    left.delete(at);
  });
  new MutationObserver(() => {
    const drawn = document.querySelector('[data-test-script-state="notRunning"] .p-menu')?.dataset.page;
    if (drawn === location.pathname) left.clear();
    const missed = drawn && drawn !== location.pathname && pages().includes(location.pathname);
    if (missed && Date.now() - stepped < STEPPING) dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  }).observe(document.body, { attributeFilter: ["data-test-script-state"], subtree: true });
  // Who signs out is not told that their session has ended.
  document.addEventListener("submit", (event) => {
    if (!event.defaultPrevented && event.target.method === "post") window.portraitLeaves = true;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeMenu();
  });
}
