"use strict";
// Before the page is painted: what was chosen last time.
try { const chosen = localStorage.getItem("memocache-theme"); if (chosen) document.documentElement.dataset.theme = chosen; } catch { /* no storage: the system's */ }
