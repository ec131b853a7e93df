// Before the first paint: the theme that was chosen last time. A plain script, so that no page flashes.
try {
  const theme = localStorage.getItem("foreword-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // storage is switched off: the system's theme is as good
}
