// The table of the classes, and the confusion matrix.

const FEW_CLASSES = 16;

function isMany(report) {
  return report.classes.length > FEW_CLASSES;
}

/** One row per class: numbers of videos, precision, recall, and F1 or the average precision. */
function classTable(report) {
  const head = report.multi_label
    ? ["class", "clips", "precision", "recall", "F1", "average precision"]
    : ["class", "clips", "right", "taken for it", "precision", "recall", "F1"];
  const rows = report.by_class.map((entry, index) => {
    const share = report.multi_label ? entry.average_precision : entry.f1;
    const counts = report.multi_label ? [entry.videos] : [entry.videos, entry.right, entry.taken];
    const shares = [entry.precision, entry.recall, ...(report.multi_label ? [entry.f1] : [])];
    return make(
      "tr", {},
      make("th", { scope: "row", class: "name" }, report.classes[index]),
      ...counts.map((count) => make("td", {}, String(count))),
      ...shares.map((value) => make("td", {}, percent(value))),
      make("td", {}, percent(share), bar(share)),
    );
  });
  return make(
    "div", { class: isMany(report) ? "scroll tall" : "scroll", tabindex: "0", role: "region", "aria-label": "Scores of each class" },
    make(
      "table", { class: "wide", id: "classes" },
      make("thead", {}, make("tr", {}, ...head.map((name, n) =>
        make("th", { scope: "col", class: n ? null : "name" }, name)))),
      make("tbody", {}, ...rows),
    ),
    report.multi_label ? make("p", { class: "muted small" },
      "Precision, recall and F1 are of the classes with a probability of at least 50 %.") : null,
  );
}

/**
 * The confusion matrix; a cell that holds clips is a button, and the arrow keys go from one to the next.
 * `choose(label, predicted)` is called with the cell that was pressed.
 */
function confusionTable(report, choose) {
  const { classes, confusion } = report;
  const many = isMany(report);
  const isShort = !many && classes.length <= 6 && classes.every((name) => name.length <= 7);
  const buttons = [];
  const rows = confusion.map((counts, label) => {
    const total = counts.reduce((sum, count) => sum + count, 0);
    return make(
      "tr", {},
      make("th", { scope: "row", title: classes[label] }, classes[label]),
      ...counts.map((count, predicted) => {
        if (!count) return make("td", {}, make("span", { class: "cell none" }, "0"));
        const share = count / total;
        const what = label === predicted ? "recognised" : `taken for ${classes[predicted]}`;
        const button = make("button", {
          type: "button",
          class: share > 0.55 ? "cell strong" : "cell",
          "aria-label": `${count} of ${plural(total, "clip")} of ${classes[label]} ${what}: show`,
          "aria-pressed": "false",
          title: `${classes[label]}, ${what}: ${percent(share)}`,
          tabindex: "-1",
          click: () => choose(label, predicted),
        }, String(count));
        button.style.setProperty("--share", 0.08 + 0.87 * share);
        button.place = [label, predicted];
        buttons.push(button);
        return make("td", {}, button);
      }),
    );
  });
  if (buttons.length) buttons[0].tabIndex = 0;
  const table = make(
    "table", { class: `confusion ${many ? "many" : isShort ? "few" : ""}`, id: "confusion" },
    make("thead", {}, make(
      "tr", {}, make("td", { class: "corner" }),
      ...classes.map((name) => make("th", { scope: "col", title: name, class: isShort ? null : "upright" }, make("span", {}, name))),
    )),
    make("tbody", { keydown: (event) => moveBetween(buttons, event) }, ...rows),
  );
  return {
    element: make(
      "div", {},
      make("p", { class: "muted small" }, "Rows: what the clips are. Columns: what they were taken for. Choose a number to see its clips."),
      make("div", { class: "scroll", role: "region", tabindex: many ? "0" : null, "aria-label": "Confusion matrix" }, table),
    ),
    /** Shows which cell the gallery is limited to, if it is one. */
    press(label, predicted) {
      for (const button of buttons) {
        const on = button.place[0] === label && button.place[1] === predicted;
        button.setAttribute("aria-pressed", String(on));
      }
    },
  };
}

/** Moves the focus to the nearest button in the arrow's direction, the nearest line first. */
function moveBetween(buttons, event) {
  const direction = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  const from = buttons.indexOf(event.target);
  if (!direction || from < 0) return;
  event.preventDefault();
  const [row, column] = buttons[from].place;
  let best = null, shortest = Infinity;
  for (const button of buttons) {
    const away = [button.place[0] - row, button.place[1] - column];
    const ahead = away[0] * direction[0] + away[1] * direction[1];
    const aside = Math.abs(away[0] * direction[1]) + Math.abs(away[1] * direction[0]);
    if (ahead > 0 && ahead + 100 * aside < shortest) [best, shortest] = [button, ahead + 100 * aside];
  }
  if (!best) return;
  for (const button of buttons) button.tabIndex = button === best ? 0 : -1;
  best.focus();
}
