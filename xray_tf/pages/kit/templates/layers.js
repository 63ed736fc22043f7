"use strict";
for (const figure of document.querySelectorAll("figure.layers")) {
  const layer = figure.querySelector(".layer"), slider = figure.querySelector("input");
  const fade = () => { layer.style.opacity = slider.value / 100; };
  figure.classList.add("live");
  slider.addEventListener("input", fade);
  fade();
}
