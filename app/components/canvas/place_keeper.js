// Keeps how far a list was scrolled, by its address, and scrolls there again when somebody comes back to it: by the browser's
// back button, or by the button or key of the page that the list led to (`data.returned`).
const NAME = "portrait-places", PATIENCE = 5000, RECENT = 5000;

export default function ({ parentElement, data }) {
  const host = parentElement.host ?? parentElement;
  // The browser's own address may still be that of the page before.
  const address = data.address;
  if (!window.portraitSteps) {
    window.portraitSteps = { went: -RECENT };
    // Links that are followed within the app send this event, too, which no browser vouches for.
    window.addEventListener("popstate", (event) => { if (event.isTrusted) window.portraitSteps.went = Date.now(); });
  }
  const before = window.portraitPlaces;
  if (before?.address === address && before.host === host) return;
  before?.stop.abort();
  const main = document.querySelector('[data-testid="stMain"]');
  const places = JSON.parse(sessionStorage.getItem(NAME) || "{}");
  const stop = new AbortController();
  window.portraitPlaces = { address, host, stop };
  const cameBack = data.returned || Date.now() - window.portraitSteps.went < RECENT;
  const wanted = (cameBack && places[address]) || 0;
  const until = Date.now() + PATIENCE;
  let looking = wanted > 0;

  // What leads away is a click, a key or a step of the browser; the page moves by itself only after that.
  const keep = () => {
    if (looking || !host.isConnected) return;
    places[address] = main.scrollTop;
    sessionStorage.setItem(NAME, JSON.stringify(places));
  };
  const here = () => address.split("?")[0] === window.location.pathname;
  for (const name of ["click", "keydown"])
    document.addEventListener(name, () => { if (here()) keep(); }, { signal: stop.signal, capture: true });
  window.addEventListener("popstate", (event) => { if (event.isTrusted) keep(); }, { signal: stop.signal });
  for (const name of ["wheel", "touchstart"]) main.addEventListener(name, () => { looking = false; }, { signal: stop.signal, passive: true });

  // Cards arrive one after the other: until there are enough, it cannot be scrolled so far.
  const restore = () => {
    if (!looking || stop.signal.aborted) return;
    main.scrollTop = wanted;
    looking = Date.now() < until && Math.abs(main.scrollTop - wanted) > 1;
    if (looking) requestAnimationFrame(restore);
  };
  restore();
}
