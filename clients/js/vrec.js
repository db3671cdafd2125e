// What shoppers see, click and watch, for vrec: docs/clients.md
(() => {
  const own = document.currentScript.dataset, STORE = "vrec", ITEM = "[data-vrec-video]";
  let queue = [], timer, busy, pause = 1000;
  try { queue = JSON.parse(localStorage[STORE]); } catch {}

  const plan = (ms) => { clearTimeout(timer); timer = setTimeout(send, ms); };
  const save = () => { try { localStorage[STORE] = JSON.stringify(queue.slice(-500)); } catch {} };

  async function send(leaving) {
    if (busy && !leaving || !queue.length) return;
    const events = queue.slice(0, 100), headers = { "Content-Type": "application/json" };
    headers["X-API-Key"] = own.key || "";
    headers["X-Shopper-Token"] = own.token || "";
    if (own.token) headers["X-Shopper-Token"] = own.token;
    const request = { method: "POST", keepalive: true, headers, body: JSON.stringify({ events }) };
    busy = true;
    const status = await fetch(own.url + "/v1/events", request).then((r) => r.status, () => 0);
    busy = false;
    if (!status || status == 429 || status > 499) return plan((pause = Math.min(2 * pause, 60000)));
    queue = queue.filter((e) => !events.includes(e));
    save();
    pause = 1000;
    plan(0);
  }

  function record(kind, item, value) {
    const shown = item.dataset, event = { event_id: crypto.randomUUID(), video_id: shown.vrecVideo, kind, value, at: new Date() };
    event[own.user ? "user_id" : "session_id"] = own.user || own.session;
    event.request_id = shown.vrecRequest;
    event.surface = shown.vrecSurface;
    if (shown.vrecPosition) event.position = +shown.vrecPosition;
    if (shown.vrecPropensity) event.propensity = +shown.vrecPropensity;
    queue.push(event);
    save();
    plan(400);
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(target.vrecWait);
      if (isIntersecting) target.vrecWait = setTimeout(() => {
        observer.unobserve(target);
        record("impression", target);
      }, 500);
    }
  }, { threshold: 0.5 });
  const look = () => document.querySelectorAll(ITEM).forEach((item) => {
    item.vrecLook ||= observer.observe(item) || 1;
  });
  new MutationObserver(look).observe(document, { childList: true, subtree: true });
  look();

  const on = (name, act) => addEventListener(name, (e) => act(e.target), true);
  const itemOf = (target) => target.closest?.(ITEM);
  on("click", (target) => itemOf(target) && record("click", itemOf(target)));

  // Without pauses and jumps.
  const played = new Map();
  on("timeupdate", (video) => {
    const [last, sum] = played.get(video) || [video.currentTime, 0], step = video.currentTime - last;
    played.set(video, [video.currentTime, sum + (step > 0 && step < 1 ? step : 0)]);
  });
  const stop = (video) => {
    const sum = played.get(video)?.[1], item = itemOf(video);
    played.delete(video);
    if (sum && item) record("watch", item, sum);
  };
  on("pause", stop);
  on("pagehide", () => { [...played.keys()].forEach(stop); send(1); });
  plan(0);
})();
