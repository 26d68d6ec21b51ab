// The theme that was chosen, before anything is drawn; without one it is that of the system.
// Not a module: modules run after the first paint.
(function () {
  try {
    const theme = localStorage.getItem("postroom-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // No storage: the theme of the system it is.
  }
})();
