// The page from top to bottom.

function header(report) {
  const title = `${report.name}: ${report.split} clips`;
  document.title = `${title} – attention_ar`;
  const sections = [["Scores", "scores"], ["Trust", "calibration"], ["Learning", "learning"], ["Attention", "health"], ["Clips", "gallery"], ["The run", "run"]];
  return [
    make("h1", {}, report.name),
    make("p", { class: "muted" }, `${report.facts[0][1]}. ${plural(report.scores.num_videos, `${report.split} clip`)}, ${report.classes.length} classes.`),
    report.random_network && make("p", { class: "banner", role: "note" },
      "The features are of a RANDOM network: this report shows how things work, not how well."),
    make("nav", { "aria-label": "Parts of this report" }, ...sections
      .filter(([, id]) => (id !== "health" || report.has_attention) && (id !== "calibration" || report.calibration))
      .map(([name, id]) => make("a", { href: `#${id}` }, name))),
  ].filter(Boolean);
}

function tiles(report) {
  const { scores } = report;
  const score = scores[scores.score_name];
  const right = report.by_class.reduce((sum, entry) => sum + (entry.right ?? 0), 0);
  const entries = report.multi_label
    ? [["Mean average precision", percent(score), `${scores.num_videos} clips`]]
    : [
      ["Accuracy", percent(score), `${right} of ${plural(scores.num_videos, "clip")}`],
      ["Mean class accuracy", percent(scores.mean_class_accuracy), "every class counts once"],
    ];
  if (report.calibration) {
    const { before, after, fitted_on } = report.calibration;
    entries.push(["Calibration error", percent(after.expected_calibration_error),
      fitted_on ? `${percent(before.expected_calibration_error)} before the temperature` : "without a temperature"]);
  }
  entries.push(
    ["Cross-entropy", short(scores.cross_entropy), `nats a block, of ${plural(scores.num_blocks, "block")}`],
    [`${report.checkpoint === "best" ? "Best" : "Latest"} epoch`, String(report.epoch), report.epochs.length ? `of ${report.epochs.length}` : "imported"],
  );
  if (scores.attention) {
    const { entropy, movement, largest_mass } = scores.attention;
    entries.push(["Entropy of the attention", entropy.toFixed(2),
      `of ${Math.log(report.num_cells).toFixed(2)} nats; moves ${short(movement)} a step, largest mass ${short(largest_mass)}`]);
  }
  return make("dl", { class: "tiles" }, ...entries.map(([name, value, more], n) => make(
    "div", { class: n ? "tile" : "tile first" }, make("dt", {}, name), make("dd", {}, value, make("small", {}, more)),
  )));
}

function curveSections(report) {
  if (!report.epochs.length) {
    return [make("section", { id: "learning" }, make("h2", {}, "Learning"),
      make("p", { class: "muted" }, "This run has no record of its training: there is no metrics.jsonl in its folder."))];
  }
  const { learning, health } = curves(report);
  const all = [];
  const choose = (index) => all.forEach((chart) => chart.show(index));
  const panel = (chart) => {
    all.push(new Chart(chart, choose));
    return all[all.length - 1].element;
  };
  const sections = [make(
    "section", { id: "learning" }, make("h2", {}, "Learning"),
    make("div", { class: "charts" }, ...learning.map(panel)),
    make("details", {}, make("summary", {}, "All numbers as a table"), epochTable(report, [...learning, ...health])),
  )];
  if (report.has_attention) {
    sections.push(make(
      "section", { id: "health" }, make("h2", {}, "Attention health"),
      health.length ? make("div", { class: "charts" }, ...health.map(panel))
        : make("p", { class: "muted" }, "Its health was not recorded in training."),
    ));
  }
  const index = report.epochs.findIndex((line) => line.epoch === report.epoch);
  choose(index < 0 ? report.epochs.length - 1 : index);
  return sections;
}

function about(report) {
  const list = (entries) => make("dl", { class: "facts" }, ...entries.flatMap(([name, value]) => [
    make("dt", {}, name), make("dd", {}, typeof value === "string" ? value : JSON.stringify(value)),
  ]));
  return make(
    "section", { id: "run" }, make("h2", {}, "The run"),
    make("div", { class: "panel" },
      list(report.facts),
      make("details", {}, make("summary", {}, "All flags"), list(Object.entries(report.flags).map(([name, value]) => [`--${name}`, value]))),
      make("details", {}, make("summary", {}, "Recipe of the features"), list(Object.entries(report.recipe))),
    ),
  );
}

function show(report) {
  let matrix = null;
  const gallery = new Gallery(report, (label, predicted) => matrix?.press(label, predicted));
  const toGallery = (label, predicted) => {
    gallery.filter(label, predicted);
    gallery.element.scrollIntoView({ behavior: gallery.calm.matches ? "auto" : "smooth" });
    gallery.element.focus({ preventScroll: true });
  };
  matrix = report.confusion && confusionTable(report, toGallery);
  const scores = make(
    "section", { id: "scores" }, tiles(report),
    make("div", { class: matrix && !isMany(report) ? "pair" : "pair single" },
      matrix && make("div", { class: "panel" }, make("h2", {}, "Confusion matrix"), matrix.element),
      make("div", { class: "panel" }, make("h2", {}, "Classes"), classTable(report)),
    ),
  );
  document.getElementById("top").replaceChildren(...header(report));
  document.getElementById("main").replaceChildren(
    ...[scores, curvesSection(report), calibrationSection(report)].filter(Boolean), ...curveSections(report), gallery.element, about(report),
  );
  document.getElementById("end").replaceChildren(
    make("p", {}, `Made by attention_ar’s experiments.report on ${report.date}. Loads nothing from the network.`));
  return gallery;
}

const gallery = show(JSON.parse(document.getElementById("contents").textContent));
