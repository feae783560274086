// Shows openapi.json by Swagger UI in the element `reference`, light or dark by the browser's colour scheme.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
follow();
dark.addEventListener("change", follow);

// The name of an operation is within the button that opens it, where a link is not allowed.
const namesWithoutLinks = () => ({
  wrapComponents: {
    DeepLink: (_, { React }) => ({ text }) => React.createElement("span", null, text),
  },
});

// A list of values has the name of its parameter.
const nameLists = () => {
  for (const list of document.querySelectorAll("[data-param-name] select:not([aria-label])")) {
    list.ariaLabel = list.closest("[data-param-name]").dataset.paramName;
  }
};
new MutationObserver(nameLists).observe(document.getElementById("reference"), { childList: true, subtree: true });

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  plugins: [namesWithoutLinks],
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  // its colours are too faint
  syntaxHighlight: false,
  // no validator of another site
  validatorUrl: null,
});
