"use strict";

// Elements and numbers. All contents are text: nothing here or elsewhere in the page parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an HTML element. Attributes that are functions are listeners; children are elements or texts. */
function make(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** Makes an SVG element. */
function draw(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A share as text: 0.917 is "91.7 %". */
function percent(share, digits = 1) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`;
}

/** A number with three significant digits. */
function short(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return value.toFixed(digits);
}

function plural(count, what) {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** A bar that is filled up to a share. */
function bar(share) {
  const filled = make("i");
  filled.style.width = `${100 * Math.min(1, Math.max(0, share || 0))}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, filled);
}

/** Decodes base64 to bytes. */
function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
