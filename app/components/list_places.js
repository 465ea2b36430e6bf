// Keeps how far a list was scrolled, by its address, and scrolls there again when somebody comes back to it: by the browser's
// back button, or by the button or key of the page that the list led to, which counts in `data-returned`. A list is a page
// with the mark `.p-place`.
if (!window.portraitLists) {
  window.portraitLists = true;
  const NAME = "portrait-places", PATIENCE = 5000, RECENT = 15000;
  let list, sought, returned = "0", went = -RECENT;
  // Links that are followed within the app send this event, too, which no browser vouches for.
  addEventListener("popstate", (event) => { if (event.isTrusted) went = Date.now(); });
  const running = () => !document.querySelector('[data-test-script-state="notRunning"]');

  const enter = (mark) => {
    const address = mark.dataset.address, stop = new AbortController();
    const main = document.querySelector('[data-testid="stMain"]');
    const places = JSON.parse(sessionStorage.getItem(NAME) || "{}");
    const cameBack = mark.dataset.returned !== returned || Date.now() - went < RECENT;
    returned = mark.dataset.returned;
    // A page that is run again at once gets a new mark: what was sought stays sought.
    if (cameBack && places[address]) sought = { address, place: places[address], until: Date.now() + PATIENCE };
    else if (sought?.address !== address) sought = undefined;

    // What leads away is a click, a key or a step of the browser; the page moves by itself only after that.
    const keep = () => {
      if (sought || !mark.isConnected) return;
      places[address] = main.scrollTop;
      sessionStorage.setItem(NAME, JSON.stringify(places));
    };
    const here = () => address.split("?")[0] === location.pathname;
    for (const name of ["click", "keydown"])
      document.addEventListener(name, () => { if (here()) keep(); }, { signal: stop.signal, capture: true });
    addEventListener("popstate", (event) => { if (event.isTrusted) keep(); }, { signal: stop.signal });
    for (const name of ["wheel", "touchstart"])
      main.addEventListener(name, () => { sought = undefined; }, { signal: stop.signal, passive: true });

    // Cards arrive one after the other: until there are enough, it cannot be scrolled so far.
    const restore = () => {
      if (!sought || stop.signal.aborted) return;
      main.scrollTop = sought.place;
      if (running()) sought.until = Date.now() + PATIENCE;
      else if (Date.now() > sought.until || Math.abs(main.scrollTop - sought.place) <= 1) sought = undefined;
      requestAnimationFrame(restore);
    };
    restore();
    return { mark, stop };
  };
  const settle = () => {
    const mark = document.querySelector(".p-place");
    if (mark === (list?.mark ?? null)) return;
    list?.stop.abort();
    list = mark ? enter(mark) : undefined;
  };
  // The mark may come after the last word on the state of the page's run.
  new MutationObserver(settle).observe(document.body, { childList: true, subtree: true });
}
