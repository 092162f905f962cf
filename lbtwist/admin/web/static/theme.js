// Chooses light or dark before anything is drawn, so that nothing flashes. Without a choice
// it is the system's.
"use strict";

(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem("lbtwist.theme");
  } catch (_denied) {
    // Without storage the system's choice stands.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
