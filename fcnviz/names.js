// Gives the controls of a box the names that ipywidgets leaves out. The box is built bit by bit, so it may have to wait.

function render({ model, el }) {
  el.style.display = "none";
  let waiting = 0;
  const name = () => {
    clearTimeout(waiting);
    const box = el.closest(`.${model.get("box")}`);
    const handles = [...(box?.querySelectorAll(".noUi-handle") ?? [])];
    const picture = box?.querySelector("img");
    const [sliders, alt] = [model.get("sliders"), model.get("picture")];
    sliders.forEach((words, place) => handles[place]?.setAttribute("aria-label", words));
    if (alt && picture) picture.alt = alt;
    if (handles.length < sliders.length || (alt && !picture)) waiting = setTimeout(name, 100);
  };
  model.on("change:picture", name);
  name();
  return () => {
    clearTimeout(waiting);
    model.off("change:picture", name);
  };
}

export default { render };
