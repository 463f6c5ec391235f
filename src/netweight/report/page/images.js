(() => {
  const original = document.querySelector(".pictures .original img");
  for (const figure of document.querySelectorAll(".pictures .decoded")) {
    const img = figure.querySelector("img"), own = img.src;
    const swap = (on) => { img.src = on ? original.src : own; figure.classList.toggle("showing", on); };
    img.tabIndex = 0;
    img.draggable = false;
    img.addEventListener("pointerdown", () => swap(true));
    for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) img.addEventListener(name, () => swap(false));
    img.addEventListener("keydown", (e) => { if (e.key === " ") { e.preventDefault(); swap(true); } });
    img.addEventListener("keyup", (e) => { if (e.key === " ") swap(false); });
    img.addEventListener("contextmenu", (e) => { if (figure.classList.contains("showing")) e.preventDefault(); });
  }
})();
