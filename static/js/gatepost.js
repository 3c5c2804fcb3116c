// Improves pages that work without it. Each module finds its own elements.
import "./bulk.js";
import "./copy.js";
import "./dialogs.js";
import "./focus.js";
import "./forgets.js";
import "./hints.js";
import "./live.js";
import "./reveal.js";
import "./scopes.js";
import "./times.js";
