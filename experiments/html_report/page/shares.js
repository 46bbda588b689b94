// Plots whose axes are both shares between 0 and 1: reliability, accuracy against coverage, ROC, precision and recall.

const SHARES_HEIGHT = 250;

class SharePlot {
  /**
   * title: above the plot. x, y: names of the axes. diagonal: the name of the line y = x, null for none.
   * series: see `show`. note: below the plot.
   */
  constructor({ title, x, y, series, diagonal = null, note = null }) {
    Object.assign(this, { title, names: { x, y }, diagonal, series: [] });
    this.plot = draw("svg", { class: "plot still", height: SHARES_HEIGHT, role: "img" });
    this.legend = make("ul", { class: "legend" });
    this.element = make(
      "figure", { class: "panel" }, make("figcaption", {}, title), this.plot, this.legend,
      note && make("p", { class: "muted small" }, note),
    );
    this.width = 0;
    this.show(series);
    new ResizeObserver(() => this.resize()).observe(this.element);
  }

  resize() {
    const width = Math.round(this.plot.getBoundingClientRect().width);
    if (width > 0 && width !== this.width) {
      this.width = width;
      this.render();
    }
  }

  /** series: [{name, points: [[x, y], …], said}], where `said` is what the curve says in words. */
  show(series) {
    this.series = series;
    this.plot.setAttribute("aria-label", [this.title, ...series.map(({ name, said }) => `${name}: ${said}`)].join("; "));
    this.legend.replaceChildren(
      ...series.map(({ name, said }, n) => make("li", {}, sample(`line series-${n % 4}`), said ? `${name}: ${said}` : name)),
      ...(this.diagonal ? [make("li", { class: "muted" }, sample("reference"), this.diagonal)] : []),
    );
    if (this.width) this.render();
  }

  render() {
    const right = this.width - RIGHT, bottom = SHARES_HEIGHT - BOTTOM;
    const x = (share) => LEFT + share * (right - LEFT), y = (share) => bottom - share * (bottom - TOP);
    const parts = [];
    for (let n = 0; n <= 4; n++) {
      parts.push(draw("line", { class: n ? "grid" : "axis", x1: LEFT, x2: right, y1: y(n / 4), y2: y(n / 4) }));
      parts.push(draw("text", { x: LEFT - 6, y: y(n / 4) + 4, "text-anchor": "end" }, `${25 * n} %`));
      parts.push(draw("text", { x: x(n / 4), y: bottom + 16, "text-anchor": n === 4 ? "end" : n ? "middle" : "start" }, `${25 * n} %`));
    }
    parts.push(draw("text", { x: LEFT, y: TOP - 9 }, this.names.y));
    parts.push(draw("text", { x: right, y: SHARES_HEIGHT - 3, "text-anchor": "end" }, this.names.x));
    if (this.diagonal) parts.push(draw("line", { class: "reference", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
    this.series.forEach(({ points }, n) => {
      const path = points.map(([px, py], i) => `${i ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
      parts.push(draw("path", { class: `line series-${n % 4}`, d: path }));
      if (points.length <= 40) {
        parts.push(...points.map(([px, py]) => draw("circle", { class: `series-${n % 4}`, cx: x(px), cy: y(py), r: 2.5 })));
      }
    });
    this.plot.replaceChildren(...parts);
  }
}

/** How far the probabilities can be trusted, and what is answered where less sure answers are rejected. */
function calibrationSection(report) {
  const { calibration } = report;
  if (!calibration) return null;
  const { before, after, temperature, fitted_on, coverage, curve } = calibration;
  const error = (scores) => percent(scores.expected_calibration_error);
  const points = (scores) => scores.reliability.map((bin) => [bin.confidence, bin.accuracy]);
  const what = report.multi_label
    ? "Every class of a clip is a question by itself, answered with its probability."
    : "An answer is the most probable class of a clip, its confidence that class’s probability.";
  const fitted = fitted_on
    ? `The temperature ${temperature.toFixed(2)} was fitted on ${plural(fitted_on, "held-out clip")}, and is part of the probabilities of the clips below.`
    : "This checkpoint has no held-out clips to fit a temperature on: probabilities are as the model gives them.";
  const few = report.scores.num_videos < 100
    ? ` Of ${plural(report.scores.num_videos, "clip")}, the calibration error is above 0 even for true probabilities.` : "";
  const reliability = new SharePlot({
    title: "Reliability", x: "confidence", y: "right", diagonal: "as often right as it says",
    series: [
      ...(fitted_on ? [{ name: "with the temperature", points: points(after), said: `error ${error(after)}` }] : []),
      { name: fitted_on ? "without" : "as they are", points: points(before), said: `error ${error(before)}` },
    ],
    note: "A point is a bin of answers of similar confidence. Above the line the model is right more often than it says.",
  });
  const answered = new SharePlot({
    title: "Accuracy against coverage", x: "clips answered", y: "of these right",
    series: [{ name: "accuracy", points: curve, said: `${percent(curve[curve.length - 1][1])} where all are answered` }],
    note: "From the right to the left, the least sure answers are rejected (--reject_below).",
  });
  const rows = coverage.map((entry) => make(
    "tr", {}, make("th", { scope: "row" }, entry.reject_below.toFixed(2)),
    make("td", {}, percent(entry.coverage)), make("td", {}, percent(entry.accuracy)),
  ));
  return make(
    "section", { id: "calibration" }, make("h2", {}, "How far its probabilities can be trusted"),
    make("p", { class: "muted" }, `${what} ${fitted}${few}`),
    make("div", { class: "charts" }, reliability.element, answered.element, make(
      "figure", { class: "panel" }, make("figcaption", {}, "What --reject_below costs and gives"),
      make("table", { class: "wide", id: "coverage" },
        make("thead", {}, make("tr", {}, ...["reject below", "answered", "of these right"].map((name) => make("th", { scope: "col" }, name)))),
        make("tbody", {}, ...rows)),
    )),
  );
}

/** With several labels: the curves of one class, or of all pooled, over all thresholds. */
function curvesSection(report) {
  if (!report.curves?.length) return null;
  const { curves } = report;
  const receiver = new SharePlot({
    title: "ROC", x: "false positive rate", y: "true positive rate (recall)", diagonal: "chance", series: [],
  });
  const precision = new SharePlot({ title: "Precision and recall", x: "recall", y: "precision", series: [] });
  const choose = (index) => {
    const { name, points, roc_area, average_precision } = curves[index];
    receiver.show([{ name, points: [[0, 0], ...points.map(([rate, recall]) => [rate, recall])], said: `area ${short(roc_area)}` }]);
    precision.show([{ name, points: points.map(([, recall, share]) => [recall, share]), said: `average precision ${percent(average_precision)}` }]);
  };
  const options = curves.map(({ name }, index) => [index, name]);
  const choice = select("Curves of", options, 0, (event) => choose(Number(event.target.value)));
  choose(0);
  return make(
    "section", { id: "curves" }, make("h2", {}, "Over all thresholds"),
    make("div", { class: "tools" }, choice),
    make("div", { class: "charts" }, receiver.element, precision.element),
  );
}
