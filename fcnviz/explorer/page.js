
// On a page of its own: the scene lies in the page, and the address keeps the size and the step.

const scene = JSON.parse(document.getElementById("scene").textContent);

class PageModel {
  constructor(values) { this.values = values; this.heard = new Map(); }
  get(name) { return this.values[name]; }
  on(name, act) { this.heard.set(name, act); }
  off(name) { this.heard.delete(name); }

  set(name, value) {
    const changed = this.values[name] !== value;
    this.values[name] = value;
    if (changed) this.heard.get(`change:${name}`)?.();
  }

  // browsers refuse more than a few addresses a second
  save_changes() { clearTimeout(this.later); this.later = setTimeout(() => this.write(), 250); }

  write() {
    const { height, width, step } = this.values, link = new URLSearchParams({ h: height, w: width, step: scene.columns[step] });
    try { history.replaceState(null, "", `#${link}`); } catch { /* a frame without an address of its own */ }
  }

  read(address) {
    const link = new URLSearchParams(new URL(address).hash.slice(1)), named = scene.columns.indexOf(link.get("step"));
    for (const [name, key] of [["height", "h"], ["width", "w"]]) {
      const size = Number(link.get(key) || NaN);
      if (Number.isFinite(size)) this.set(name, clamp(Math.round(size), 1, scene.within));
    }
    if (named >= 0) this.set("step", named);
  }
}

const model = new PageModel({ scene, height: scene.size[0], width: scene.size[1], step: scene.step ?? 0 });
model.read(location.href);
const place = document.getElementById("explorer");
place.replaceChildren();
render({ model, el: place });
// where nothing else takes the arrow keys they go from step to step
const [lanes] = place.getElementsByClassName("lanes");
addEventListener("keydown", (event) => {
  const free = event.target === document.body && event.key.startsWith("Arrow");
  if (free) lanes.dispatchEvent(new KeyboardEvent("keydown", event));
});
// by the time it is told, the address may have been written over
addEventListener("hashchange", (event) => model.read(event.newURL));
