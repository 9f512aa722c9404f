// Before the page is painted, so that it never flashes in the other theme.
"use strict";
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
